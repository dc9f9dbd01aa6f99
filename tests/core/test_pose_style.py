"""What skeleton pictures look to be, on the reference renderer's own pictures; and the moves for a start."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from animate_core.demo.clip import demo_clip, draw_pose
from animate_core.demo.motion import MOTIONS
from animate_core.families import FAMILIES
from animate_core.pose.drawing import STYLES, draw_people
from animate_core.pose.guidance import guidance_pictures
from animate_core.pose.keypoints import BODY, L_ANKLE, NECK, R_ANKLE, PoseClip, PoseError, body_clip
from animate_core.pose.moves import MOVES, move_clip
from animate_core.pose.style import complaints, look_of, telling_frames

GOLDEN = Path(__file__).parents[1] / "parity" / "golden" / "dwpose"
PICTURES = sorted(GOLDEN.glob("*.png"))


def picture(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))[None]


def test_there_are_golden_pictures() -> None:
    assert len(PICTURES) >= 10


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_the_look_of_the_references_own_pictures(path: Path) -> None:
    look = look_of(picture(path))
    assert look.channels == "RGB" and look.face == ("body" not in path.stem) and look.black > 0.8
    assert look_of(picture(path)[..., ::-1]).channels == "BGR"
    small = np.asarray(Image.open(path).convert("RGB").resize((192, 256), Image.Resampling.LANCZOS))[None]
    assert look_of(small).channels == "RGB", "also reduced"


def test_complaints_name_what_is_other_than_trained() -> None:
    moore, musepose = FAMILIES["Moore"], FAMILIES["MusePose"]
    full = look_of(picture(GOLDEN / "draw_00.png"))
    assert complaints(full, moore) == []
    assert any("RGB order, but MusePose" in c for c in complaints(full, musepose)) and any("face" in c for c in complaints(full, musepose))
    swapped_body = look_of(picture(GOLDEN / "draw_00_body.png")[..., ::-1])
    assert complaints(swapped_body, musepose) == []
    assert any("BGR order, but Moore" in c for c in complaints(swapped_body, moore))
    photograph = np.random.default_rng(0).integers(60, 255, (1, 64, 64, 3), dtype=np.uint8)
    assert any("do not look like skeletons" in c for c in complaints(look_of(photograph), moore))


def test_half_a_figure_tells_its_channels_too() -> None:
    clip = demo_clip(3, "wave", 4)
    points = clip.keypoints.copy()
    points[:, 8:14, 2] = 0
    drawn = np.stack([draw_pose(p, *clip.size) for p in points])
    assert look_of(drawn).channels == "RGB" and look_of(drawn[..., ::-1]).channels == "BGR"


def test_nothing_to_see_is_nothing_to_complain_of_but_emptiness() -> None:
    empty = look_of(np.zeros((3, 64, 64, 3), np.uint8))
    assert empty.channels is None and not empty.face and empty.black == 1


def test_telling_frames() -> None:
    assert telling_frames(1) == [0]
    assert telling_frames(5) == [0, 1, 2, 3, 4]
    chosen = telling_frames(1000)
    assert len(chosen) == 16 and chosen[0] == 0 and chosen[-1] == 999


@pytest.mark.parametrize("motion", MOTIONS)
def test_keypoints_are_drawn_for_the_built_in_model_as_it_was_trained(motion: str) -> None:
    """The trained pictures are draw_pose's; by keypoints the same picture must come about."""
    for width, height in ((192, 288), (128, 192), (288, 192)):
        clip = demo_clip((1 << 24) + 5, motion, 3, width=width, height=height)
        made = list(guidance_pictures(body_clip(clip.keypoints, width, height), FAMILIES["Demo"], width, height))
        for drawn, wanted in zip(made, clip.poses, strict=True):
            assert np.abs(np.asarray(drawn).astype(int) - wanted).max() <= 1, "two ways of rounding the mean of four pixels"


def test_moores_trained_size_is_drawn_without_resizing() -> None:
    clip = move_clip("wave", 1, width=512, height=768)
    drawn = next(guidance_pictures(clip, FAMILIES["Moore"], 512, 768))
    assert np.array_equal(np.asarray(drawn), draw_people(clip.points[0], 512, 768, STYLES["Moore"]))


def test_families_are_drawn_in_their_styles() -> None:
    clip = move_clip("wave", 4, width=512, height=768)
    for name in ("Moore", "MusePose", "novita"):
        preset = FAMILIES[name]
        for width, height in ((512, 768), (768, 768), (256, 384)):
            drawn = np.stack([np.asarray(p) for p in guidance_pictures(clip, preset, width, height)])
            assert drawn.shape == (4, height, width, 3)
            assert look_of(drawn).channels == preset.colour_order
    with pytest.raises(PoseError, match="aspect ratio of the canvas"):
        next(guidance_pictures(dataclasses.replace(clip, width=10_000), FAMILIES["Moore"], 512, 512))


@pytest.mark.parametrize("motion", MOVES)
def test_moves_loop_and_stay_in_the_picture(motion: str) -> None:
    clip = move_clip(motion, 25, seed=3, period=24, width=512, height=768)
    body = clip.person(0)[:, BODY]
    assert np.allclose(body[0], body[24], atol=1e-2), "after a period it is where it was"
    assert np.abs(body[0] - body[8]).max() > 5, "and in between it moved"
    assert (body[..., :2] > 0).all() and (body[..., 0] < 512).all() and (body[..., 1] < 768).all()
    assert motion == "lie_down" or (body[:, NECK, 1] < body[:, R_ANKLE, 1]).all() and (body[:, NECK, 1] < body[:, L_ANKLE, 1]).all()
    assert isinstance(clip, PoseClip) and len(move_clip(motion, 0, period=10)) == 10


@pytest.mark.parametrize(("arguments", "message"), [
    ({"motion": "fly"}, "'fly' is unknown"), ({"motion": "walk", "size": 0.0}, "size"), ({"motion": "walk", "period": 1}, "period"),
    ({"motion": "walk", "frames": -1}, "frames"), ({"motion": "walk", "width": 0}, "canvas"), ({"motion": "walk", "seed": -4}, "seed"),
])
def test_bad_moves_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(PoseError, match=message):
        move_clip(**arguments)
