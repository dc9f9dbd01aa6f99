"""Users' drawings: the figure is found on every paper, stands where the model wants it, gets a skeleton, and goes back to its place."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from animate_core.demo.character import HELD_OUT_SEED
from animate_core.demo.clip import HEIGHT, WIDTH, DemoClip, demo_clip, reference_frame
from animate_core.demo.fitting import BACKGROUNDS, FIGURE, GROUND, OWN, SAMPLE, WHITE, figure_in, fit_drawing, put_back, sample_drawing
from animate_core.demo.motion import MOTIONS
from animate_core.demo.paper import MOST_SIDE, DrawingError, read_sheet
from animate_core.demo.skeleton import standing_skeleton

FOLDER = Path(__file__).resolve().parents[1] / "data" / "drawings"
NAMES = ("stick", "crayon", "mascot", "robot", "animal", "princess", "pixel_hero", "inked", "cut_paper", "pencil")
# Mean error of the first skeleton in per cent of the figure's height; the outline tells nothing of what a dress and a cape hide
SKELETON_LIMITS = {"princess": 8.0, "inked": 8.0}
Array = np.ndarray


@cache
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("drawings", FOLDER / "draw.py")
    assert spec and spec.loader
    module = sys.modules["drawings"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def truth(name: str) -> Any:
    return script().DRAWINGS[name]() if name in NAMES else script().sample()


def stored(name: str) -> tuple[Array, Array | None]:
    """The kept picture `[H, W, 3]`, and Load Image's mask of it where it is transparent."""
    path = SAMPLE if name == "sample" else next(FOLDER.glob(f"{name}.*"))
    with Image.open(path) as picture:
        mask = 1 - np.asarray(picture.getchannel("A"), np.float32) / 255 if picture.mode == "RGBA" else None
        return np.asarray(picture.convert("RGB"), np.float32) / 255, mask


def sized(mask: Array, like: Array) -> Array:
    return np.asarray(Image.fromarray(mask).resize((like.shape[1], like.shape[0]), Image.Resampling.NEAREST))


def overlap(a: Array, b: Array) -> float:
    return float((a & b).sum() / (a | b).sum())


def page(figures: list[tuple[int, int, float]], size: tuple[int, int] = (480, 480), paper: Any = "white", ink: Any = "navy") -> Array:
    """Plain dolls at (x, soles' y, size) on a sheet."""
    sheet = Image.new("RGB", size, paper)
    pen = ImageDraw.Draw(sheet)
    for x, y, s in figures:
        pen.ellipse((x - 20 * s, y - 150 * s, x + 20 * s, y - 108 * s), fill=ink)
        pen.rectangle((x - 6 * s, y - 110 * s, x + 6 * s, y - 98 * s), fill=ink)
        pen.rectangle((x - 20 * s, y - 100 * s, x + 20 * s, y - 50 * s), fill=ink)
        for side in (-1, 1):
            pen.line((x + side * 18 * s, y - 95 * s, x + side * 42 * s, y - 55 * s), fill=ink, width=max(1, round(9 * s)))
            pen.line((x + side * 12 * s, y - 52 * s, x + side * 14 * s, y), fill=ink, width=max(1, round(12 * s)))
    return np.asarray(sheet, np.float32) / 255


# ---------------------------------------------------------------------------------------------------------------------------- drawings

@pytest.mark.parametrize("name", [*NAMES, "sample"])
def test_the_kept_pictures_are_the_scripts(name: str) -> None:
    made = truth(name).picture
    assert np.abs(np.asarray(made.convert("RGB"), np.float32) / 255 - stored(name)[0]).mean() < 0.02
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.suffix in (".png", ".webp")) < 400_000


@pytest.mark.parametrize("name", [*NAMES, "sample"])
def test_the_figure_is_found(name: str, measured: Any) -> None:
    picture, mask = stored(name)
    sheet = read_sheet(picture, mask)
    found = overlap(sheet.mask > 0.5, sized(truth(name).mask, sheet.mask))
    limit = 0.88 if name == "stick" else 0.92  # of strokes, a pixel at the edge is a large part
    measured(f"{name}: overlap of the found figure with the true one {found:.3f} (limit {limit})")
    assert found > limit and sheet.found == 1


@pytest.mark.parametrize("name", [*NAMES, "sample"])
def test_the_light_is_even(name: str) -> None:
    """What is left of the lamp on bare paper, away from the printed lines."""
    picture, mask = stored(name)
    sheet = read_sheet(picture, mask)
    bare = np.median(sheet.bare().reshape(-1, 3), axis=0)
    assert np.abs(bare - sheet.paper).max() < 0.03
    blocks = [np.median(block, axis=(0, 1)) for row in np.array_split(sheet.bare(), 4) for block in np.array_split(row, 4, axis=1)]
    sun = 1 if name == "crayon" else 0
    assert sum(np.abs(block - sheet.paper).max() > 0.06 for block in blocks) <= sun


@pytest.mark.parametrize("name", [*NAMES, "sample"])
def test_a_first_skeleton(name: str, measured: Any) -> None:
    """On the canvas, against the joints that the script drew by."""
    picture, mask = stored(name)
    drawn = truth(name)
    fitted = fit_drawing(picture, mask)
    rows, columns = (np.flatnonzero(drawn.mask.any(axis)) for axis in (1, 0))
    canvas = fitted.mask > 0.5
    low, left = np.flatnonzero(canvas.any(1))[-1] + 1, np.flatnonzero(canvas.any(0))[0]
    scale = (low - np.flatnonzero(canvas.any(1))[0]) / (rows[-1] + 1 - rows[0])
    joints = (drawn.joints - (columns[0], rows[-1] + 1)) * scale + (left, low)
    error = np.linalg.norm(fitted.pose.points[0, 0, :14, :2] - joints, axis=-1).mean() / ((rows[-1] - rows[0]) * scale) * 100
    measured(f"{name}: the first skeleton's mean error {error:.1f} % of the figure's height (limit {SKELETON_LIMITS.get(name, 4.5)} %)")
    assert error < SKELETON_LIMITS.get(name, 4.5)


def skeleton_errors(clip: DemoClip) -> list[float]:
    """Mean over the 18 points, in per cent of the body's height, of each frame."""
    return [float(np.linalg.norm(standing_skeleton(mask / 255)[0][:, :2] - points[:, :2], axis=-1).mean()
                  / (clip.character.height * clip.size[1]) * 100) for mask, points in zip(clip.masks, clip.keypoints, strict=True)]


@pytest.mark.parametrize("motion", ["reference", *(motion for motion in MOTIONS if motion != "lie_down")])
def test_skeletons_of_the_training_world(motion: str, measured: Any) -> None:
    """People, animals, robots and stick figures. Whoever lies has no skeleton of one who stands."""
    limit = 6.0 if motion in ("bow", "run", "crouch", "free") else 4.0
    errors = [error for seed in range(HELD_OUT_SEED, HELD_OUT_SEED + 16)
              for error in skeleton_errors(reference_frame(seed) if motion == "reference" else demo_clip(seed, motion, 3, period=9))]
    measured(f"{motion}: the first skeleton's mean error {np.mean(errors):.2f} % of the body's height (limit {limit} %)")
    assert np.mean(errors) < limit


# -------------------------------------------------------------------------------------------------------------------------------- canvas

@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (192, 288), (256, 384), (384, 256)])
def test_it_stands_as_the_models_characters_do(size: tuple[int, int]) -> None:
    fitted = fit_drawing(sample_drawing(), width=size[0], height=size[1])
    assert fitted.picture.shape == (size[1], size[0], 3) and fitted.background.shape == fitted.picture.shape
    rows = np.flatnonzero((fitted.mask > 0.5).any(1))
    assert abs((rows[-1] + 1 - rows[0]) / size[1] - FIGURE) < 0.02 and abs((rows[-1] + 1) / size[1] - GROUND) < 0.01
    across = fitted.mask.sum(0) / fitted.mask.sum() @ np.arange(size[0])
    assert abs(across / size[0] - 0.5) < 0.03
    assert (fitted.pose.width, fitted.pose.height) == size


def test_a_wide_figure_keeps_within_the_canvas() -> None:
    wide = page([(300, 300, 1.0)], (600, 400))
    wide[140:160, 60:540] = (0.2, 0.2, 0.5)
    columns = np.flatnonzero((fit_drawing(wide).mask > 0.5).any(0))
    assert columns[0] >= 1 and columns[-1] < WIDTH - 1


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_what_is_behind(background: str) -> None:
    picture, _ = stored("pencil")
    fitted = fit_drawing(picture, background=background)
    colours = fitted.background.reshape(-1, 3)
    outside = fitted.mask < 0.01
    assert np.abs(fitted.picture - fitted.background)[outside].max() < 0.011
    if background == OWN:
        assert colours.std(0).max() > 0.01, "its squares are there"
    else:
        assert np.ptp(colours, axis=0).max() == 0 and (background != WHITE or (colours == 1).all())


def test_lines_go_on_behind_the_figure() -> None:
    """The sheet without the figure is the same sheet with nothing drawn on it."""
    made = script()
    blank = np.asarray(made.paper((480, 640), (246, 246, 242), 1, "lined"), np.float32) / 255
    drawn = blank.copy()
    figure = page([(240, 560, 2.4)], (480, 640), paper="white", ink="maroon")
    drawn[figure.min(-1) < 0.9] = figure[figure.min(-1) < 0.9]
    sheet = read_sheet(drawn)
    assert overlap(sheet.mask > 0.5, figure.min(-1) < 0.9) > 0.97
    assert np.abs(sheet.bare() - blank)[sheet.hidden].mean() < 0.02


# -------------------------------------------------------------------------------------------------------------------------------- back

@pytest.mark.parametrize("name", ["crayon", "pencil", "pixel_hero", "cut_paper"])
def test_there_and_back(name: str) -> None:
    """A frame that is the picture itself comes back to where it was drawn, in its colours."""
    picture, mask = stored(name)
    sheet = read_sheet(picture, mask)
    fitted = fit_drawing(picture, mask, width=384, height=576)
    placed, figure = put_back(fitted.picture, fitted, longer_side=2048)
    assert abs(fitted.sheet.shape[0] - placed.shape[0]) <= 1 and all(side % 2 == 0 for side in placed.shape[:2])
    rows, columns = (np.flatnonzero((figure > 0.5).any(axis)) for axis in (1, 0))
    there = [np.flatnonzero((sheet.mask > 0.5).any(axis)) for axis in (1, 0)]
    for ours, its in zip((rows, columns), there, strict=True):
        assert abs((ours[-1] - ours[0]) - (its[-1] - its[0])) < 6
    part = placed[rows[0]:rows[-1], columns[0]:columns[-1]]
    was = sheet.levelled[there[0][0]:there[0][-1], there[1][0]:there[1][-1]]
    was = np.stack([np.asarray(Image.fromarray(was[..., i]).resize((part.shape[1], part.shape[0]))) for i in range(3)], -1)
    assert np.abs(part - was).mean() < 0.06


def test_another_background_and_an_enlarged_frame() -> None:
    fitted = fit_drawing(sample_drawing())
    large = np.asarray(Image.fromarray((fitted.picture * 255).round().astype(np.uint8)).resize((2 * WIDTH, 2 * HEIGHT)), np.float32) / 255
    beach = np.full((300, 900, 3), (0.1, 0.5, 0.9), np.float32)
    placed, figure = put_back(large, fitted, beach, longer_side=400)
    assert max(placed.shape) == 400 and np.abs(placed[figure == 0] - beach[0, 0]).max() < 0.03
    assert 0.1 < (figure > 0.5).mean() < 0.5
    assert np.abs(placed[figure > 0.99] - beach[0, 0]).mean() > 0.2, "the figure hides it"
    edge = (figure > 0.2) & (figure < 0.8)
    assert placed[edge].min(-1).max() < 0.93, "no white seam of the paper"


def test_the_figure_of_a_frame() -> None:
    behind = np.full((60, 40, 3), 0.9, np.float32)
    frame = behind + np.random.default_rng(0).normal(0, 0.01, behind.shape).astype(np.float32)
    frame[10:50, 10:30] = 0.2
    frame[20:40, 15:25] = 0.9  # its white shirt
    frame[2, 2] = 0.5
    found = figure_in(frame, behind)
    assert (found[11:49, 11:29] == 1).all() and found[2, 2] == 0 and found[:8].max() == 0


# ----------------------------------------------------------------------------------------------------------------------------- bad input

def test_the_largest_of_several_and_another() -> None:
    picture = page([(150, 430, 2.2), (370, 430, 1.7)])
    first, second = fit_drawing(picture), fit_drawing(picture, which=2)
    assert "2 figures found; using number 1" in first.report and "number 2" in second.report
    assert first.left < second.left
    with pytest.raises(DrawingError, match="which: figure 3 .* 2 found"):
        fit_drawing(picture, which=3)


@pytest.mark.parametrize(("picture", "words"), [
    (np.full((300, 200, 3), 0.9, np.float32), "one colour"),
    (np.zeros((300, 200, 3), np.float32), "one colour"),
    (np.tile(np.linspace(0.5, 1, 200, dtype=np.float32)[None, :, None], (300, 1, 3)), "one colour"),
    (page([(8, 17, 0.1)], (16, 18)), "too small"),
    (page([(400, 400, 0.1)], (800, 800)), "too little"),
    (np.ones((40, 4000, 3), np.float32), "strip"),
])
def test_no_figure_is_said(picture: Array, words: str) -> None:
    with pytest.raises(DrawingError, match=words):
        fit_drawing(picture)


def test_noise_is_no_figure() -> None:
    noise = np.random.default_rng(1).uniform(0, 1, (300, 300, 3)).astype(np.float32)
    with pytest.raises(DrawingError):
        fit_drawing(noise)


@pytest.mark.parametrize("margin", [0, 8])
def test_a_picture_without_paper_round_the_figure(margin: int) -> None:
    """Something of many colours everywhere, as a photograph is."""
    full = np.kron(np.random.default_rng(3).uniform(0, 1, (12, 12, 3)), np.ones((40, 40, 1))).astype(np.float32)
    full = np.pad(full[margin:480 - margin, margin:480 - margin], ((margin, margin), (margin, margin), (0, 0)), constant_values=1)
    with pytest.raises(DrawingError, match="needs a margin of plain paper"):
        fit_drawing(full)


@pytest.mark.parametrize("factor", [0.15, 12.0])
def test_tiny_and_huge_pictures(factor: float) -> None:
    """The same figure, whatever the picture's size; the work is done at a size that a laptop bears."""
    size = round(480 * factor)
    picture = page([(round(240 * factor), round(440 * factor), 2.4 * factor)], (size, size))
    fitted = fit_drawing(picture)
    assert max(fitted.sheet.shape) <= 1.5 * MOST_SIDE
    same = fit_drawing(page([(240, 440, 2.4)]))
    assert overlap(fitted.mask > 0.5, same.mask > 0.5) > 0.85


@pytest.mark.parametrize("paper", ["white", "#f6d66e", "#203040", "#a8d6f0"])
def test_paper_of_any_colour(paper: str) -> None:
    ink = "white" if paper == "#203040" else "#802040"
    picture = page([(240, 440, 2.4)], paper=paper, ink=ink)
    drawn = np.abs(picture - picture[2, 2]).max(-1) > 0.1
    assert overlap(read_sheet(picture).mask > 0.5, drawn) > 0.97


def test_a_sheet_on_a_table() -> None:
    """The sheet is cut out first; the figure on it is the same."""
    child = truth("sample")
    table = Image.new("RGB", (700, 900), (120, 84, 52))
    table.paste(child.picture, (110, 130))
    truth_there = Image.new("L", table.size)
    truth_there.paste(Image.fromarray(child.mask), (110, 130))
    askew = [np.asarray(image.rotate(3, Image.Resampling.BICUBIC, fillcolor=fill))
             for image, fill in ((table, (120, 84, 52)), (truth_there, 0))]
    fitted = fit_drawing(askew[0].astype(np.float32) / 255)
    assert "the sheet was cut out of the image" in fitted.report and "no neck" not in fitted.report
    straight = fit_drawing(stored("sample")[0])
    assert overlap(fitted.mask > 0.5, straight.mask > 0.5) > 0.75


def test_a_ground_line_is_not_the_figures() -> None:
    drawn = page([(240, 400, 2.2)])
    drawn[400:406] = (0.2, 0.5, 0.2)
    columns = np.flatnonzero((read_sheet(drawn).mask > 0.5).any(0))
    assert columns[0] > 100 and columns[-1] < 380


def test_transparency_and_a_mask_of_the_figure_say_the_same() -> None:
    picture, transparent = stored("pixel_hero")
    assert transparent is not None
    assert np.allclose(fit_drawing(picture, transparent).mask, fit_drawing(picture, 1 - transparent).mask)
    alone = np.asarray(page([(240, 440, 2.4)]))
    assert np.allclose(fit_drawing(alone, np.zeros((64, 64), np.float32)).mask, fit_drawing(alone).mask), "an opaque picture's mask"


@pytest.mark.parametrize(("arguments", "words"), [
    ({"background": "sea"}, "background: 'sea'"), ({"figure_height": 1.5}, "figure_height"),
    ({"mask": np.eye(64, 32, dtype=np.float32)}, "mask: .* shape of the image"),
])
def test_bad_arguments(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        fit_drawing(page([(240, 440, 2.4)]), **arguments)


@pytest.mark.parametrize("package", ["scipy.ndimage", "kornia.color"])
def test_without_a_package(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DrawingError, match=f"pip install {package.split('.')[0]}"):
        fit_drawing(page([(240, 440, 2.4)]))
