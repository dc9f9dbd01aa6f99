"""The worlds that the model is measured on away from home: strangers to training, and drawn where their keypoints and masks say."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.elsewhere import polygons, strokes
from training.elsewhere.body import ANKLES, ELBOWS, HIPS, KNEES, MOTIONS, NECK, NOSE, SHOULDERS, WRISTS, joints, make_body, moves
from training.elsewhere.record import SMOOTH, Canvas
from training.worlds import HOME, WORLDS

ROOT = Path(__file__).resolve().parents[2]
ELSEWHERE = sorted((ROOT / "training" / "elsewhere").glob("*.py"))
MEASURING = {"training.__main__", "training.evaluate", "training.worlds", "training.report"}
WIDTH, HEIGHT = 96, 144
AWAY = pytest.mark.parametrize("world", [polygons, strokes], ids=["polygons", "strokes"])


def imports(path: Path) -> set[str]:
    """Modules of the pack and names in them that a file imports anywhere: `training.loop`, `training.loop.Plan`."""
    package = ["training", *path.relative_to(ROOT / "training").parent.parts]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = [*package[:len(package) - node.level + 1]] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


def test_strangers_to_the_training_world() -> None:
    """Only the skeleton drawing that the model reads comes from there."""
    assert len(ELSEWHERE) == 5
    for path in ELSEWHERE:
        ours = {name for name in imports(path) if name.split(".")[0] in ("animate_core", "training")}
        ours = {name for name in ours if not name.startswith("training.elsewhere")}
        assert ours <= {"animate_core.demo.clip", "animate_core.demo.clip.draw_pose"}, f"{path.name}: {ours}"


def test_nothing_that_trains_knows_them() -> None:
    for path in (ROOT / "training").glob("*.py"):
        if f"training.{path.stem}" not in MEASURING:
            known = {name for name in imports(path) if name.startswith("training.elsewhere") or name in MEASURING}
            assert not known, f"{path.name} imports {known}"
    assert "training.elsewhere.polygons" in imports(ROOT / "training" / "worlds.py"), "the reader itself sees nothing"


@pytest.mark.parametrize("motion", MOTIONS)
def test_bodies_keep_their_lengths_and_move_smoothly(motion: str) -> None:
    for seed in range(12):
        body = make_body(np.random.default_rng(seed), thin=seed % 3 == 0)
        points = joints(body, moves((1, seed), motion, 24))
        for pairs, length in (((SHOULDERS, ELBOWS), body.arm), ((ELBOWS, WRISTS), body.arm), ((HIPS, KNEES), body.leg),
                              ((KNEES, ANKLES), body.leg)):
            for a, b in zip(*pairs, strict=True):
                assert np.allclose(np.linalg.norm(points[:, a] - points[:, b], axis=-1), length)
        assert np.allclose(np.linalg.norm(points[:, NECK] - points[:, list(HIPS)].mean(axis=1), axis=-1), body.torso)
        assert points[:, list(ANKLES), 1].min() >= body.foot - 1e-9, "a foot is under the ground"
        assert (points[:, NOSE, 2] > points[:, list(SHOULDERS), 2].mean(axis=1)).all(), "the face is turned away"
        step = np.linalg.norm(np.diff(points, axis=0), axis=-1)
        assert 0.01 < step.max() < 0.35, f"seed {seed}: steps of up to {step.max():.2f} body heights"


@AWAY
def test_every_joint_lies_on_the_figure(world: object) -> None:
    for seed in range(16):
        clip = world.clip(seed, 3, WIDTH, HEIGHT)  # type: ignore[attr-defined]
        assert clip.keypoints.shape == (3, 18, 3) and clip.reference_keypoints.shape == (18, 3)
        for points, mask in zip(clip.keypoints, clip.masks, strict=True):
            # the ears' points are the head's flanks, where an angular one may be narrower
            x, y = points[:16, 0].round().astype(int), points[:16, 1].round().astype(int)
            inside = (x >= 1) & (x < WIDTH - 1) & (y >= 1) & (y < HEIGHT - 1)
            near = np.array([mask[b - 1:b + 2, a - 1:a + 2].max() if ok else 255 for a, b, ok in zip(x, y, inside, strict=True)])
            assert inside.sum() >= 14 and (near > 200).all(), f"seed {seed}: joint {np.flatnonzero(near <= 200)} is off"


@AWAY
def test_masks_are_what_hides_the_background(world: object) -> None:
    """One figure before black and before white: where both agree it hides, by as much as its mask says."""
    for seed in range(8):
        painter = world.Painter(seed, WIDTH, HEIGHT)  # type: ignore[attr-defined]
        points = joints(painter.body, moves((1, seed), "jack", 1))[0] * (100, -100, 100) + (WIDTH / 2, 130, 0)
        drawn = []
        for grey in (0, 255):
            canvas = Canvas(Image.new("RGB", (WIDTH * SMOOTH, HEIGHT * SMOOTH), (grey,) * 3))
            painter(canvas, points, 100)
            drawn.append(canvas.reduced())
        (black, mask), (white, _) = drawn
        assert np.abs(255.0 - (white.astype(float) - black) - mask[..., None]).max() <= 2
        assert 0.05 < (mask > 127).mean() < 0.6


@AWAY
def test_clips_are_their_seeds_own(world: object) -> None:
    one, again, other = (world.clip(seed, 4, WIDTH, HEIGHT) for seed in (3, 3, 4))  # type: ignore[attr-defined]
    assert (one.frames == again.frames).all() and (one.reference == again.reference).all()
    assert np.abs(one.frames.astype(float) - other.frames).mean() > 10
    assert np.abs(one.frames.astype(float) - one.reference).mean() > 1, "the reference is in the clip's pose"
    assert np.abs(np.diff(one.keypoints, axis=0)).max() > 1
    still = (one.masks == 0).all(axis=0)
    assert still.mean() > 0.2 and (one.frames[:, still] == one.frames[0][still]).all(), "the background flickers"


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("size", [(64, 64), (144, 96), (128, 192)])
def test_every_world_draws_clips_of_any_size(world: str, size: tuple[int, int]) -> None:
    width, height = size
    clip, moved = (WORLDS[world](2, 3, width, height, motion) for motion in (2, 4))
    assert clip.size == size and clip.reference.shape == (height, width, 3)
    for pictures in (clip.frames, clip.poses):
        assert pictures.shape == (3, height, width, 3) and pictures.dtype == np.uint8
    assert clip.masks.shape == (3, height, width) and 0.02 < (clip.masks > 127).mean() < 0.6
    assert (clip.poses.max(axis=(1, 2, 3)) > 200).all()
    assert (moved.reference == clip.reference).all() and (moved.poses != clip.poses).any()
    assert set(WORLDS) == {HOME, "polygons", "strokes"}


@AWAY
@pytest.mark.parametrize(("changes", "told"), [({"width": 100}, "multiples of 8"), ({"frames": 0}, "at least one frame"),
                                               ({"motion": "fly"}, "'fly' is unknown; there are: jack")])
def test_bad_requests_are_refused(world: object, changes: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        world.clip(**{"seed": 1, "frames": 1, "width": 64, "height": 64, **changes})  # type: ignore[attr-defined]
