"""The procedural characters: what is drawn is where the keypoints say, moves as a body can, and differs from seed to seed."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import maximum_filter

from animate_core.demo.character import FINISHES, HELD_OUT_SEED, LAST_SEED, PAPERS, make_character
from animate_core.demo.clip import demo_clip, draw_clip, reference_frame
from animate_core.demo.motion import FRAMED_MOTIONS, MOTIONS, joints, keypoints, make_moves
from animate_core.demo.world import BUILDS, make_drawing
from training.demo_data import DemoSet, draw

TURNING = ("run", "spin", "free")  # a body that turns is narrower
LIMBS = {"upper_arm": ((2, 3), (5, 6)), "forearm": ((3, 4), (6, 7)), "shoulder": ((1, 2), (1, 5))}


@pytest.mark.parametrize("motion", MOTIONS)
def test_joints_belong_to_one_body(motion: str) -> None:
    for seed in range(20):
        body = make_character(seed).body
        points = joints(body, make_moves(motion, seed + 50, 32))
        for name, pairs in LIMBS.items():
            for a, b in pairs:
                length = np.linalg.norm(points[:, a] - points[:, b], axis=-1)
                expected = getattr(body, name)
                expected = np.hypot(expected, 0.025) if name == "shoulder" else expected
                assert (length <= expected + 1e-9).all()
                assert motion in TURNING or np.allclose(length, expected, atol=1e-9)
        for hip in (8, 11):
            leg = np.linalg.norm(points[:, hip] - points[:, hip + 1], axis=-1) + np.linalg.norm(points[:, hip + 1] - points[:, hip + 2],
                                                                                                axis=-1)
            assert (leg <= 1.12 * (body.thigh + body.shin)).all(), "a leg is longer than it is"
            assert motion == "lie_down" or (points[:, hip + 2, 1] <= 1e-9).all(), "a foot is under the ground"


@pytest.mark.parametrize("motion", MOTIONS)
def test_motions_are_smooth_move_and_loop(motion: str) -> None:
    for seed in range(20):
        points = joints(make_character(seed).body, make_moves(motion, seed, 33, period=16))
        step = np.linalg.norm(np.diff(points, axis=0), axis=-1)
        assert step.max() < 0.25, "a joint leaps by a quarter of the body's height between two frames"
        assert np.ptp(points, axis=0).max() > 0.02, "nothing moves"
        assert np.allclose(points[0], points[16], atol=1e-9) and np.allclose(points[16], points[32], atol=1e-9)


def test_every_joint_lies_on_the_drawn_character() -> None:
    for seed in range(12):
        clip = demo_clip(seed, FRAMED_MOTIONS[seed % len(FRAMED_MOTIONS)], 4, make=make_character)
        for points, mask in zip(clip.keypoints, clip.masks, strict=True):
            x, y = points[:14, 0].astype(int), points[:14, 1].astype(int)
            inside = (x >= 0) & (x < clip.size[0]) & (y >= 0) & (y < clip.size[1])
            assert inside.sum() >= 10
            on = mask[y[inside], x[inside]] > 200
            assert on.all(), f"seed {seed}: joint {np.flatnonzero(inside)[~on]} is off"


def test_every_joint_lies_on_a_drawing() -> None:
    for seed in range(45):
        clip = demo_clip(seed, list(MOTIONS)[seed % len(MOTIONS)], 2)
        for points, mask in zip(clip.keypoints, clip.masks, strict=True):
            x, y = points[:14, 0].astype(int), points[:14, 1].astype(int)
            inside = (x >= 0) & (x < clip.size[0]) & (y >= 0) & (y < clip.size[1])
            assert inside.sum() >= 6
            # a stick figure is a pixel or two wide
            near = maximum_filter(mask, 5)[y[inside], x[inside]]
            assert (near > 150).all(), f"seed {seed}: joint {np.flatnonzero(inside)[near <= 150]} is off"


def test_the_world_is_wide() -> None:
    """Every build, finish and paper in some hundred seeds, and bodies from three heads to seven."""
    drawn = [make_drawing(seed) for seed in range(600)]
    assert {c.looks.build for c in drawn} == set(BUILDS)
    assert {c.style.finish for c in drawn} == set(FINISHES)
    assert set(PAPERS) <= {c.background.kind for c in drawn}
    heads = np.array([c.body.head for c in drawn])
    assert heads.min() < 0.15 and heads.max() > 0.42
    heights = np.array([c.height for c in drawn])
    assert heights.min() < 0.5 and heights.max() > 1.0
    lengths = [c.body.head + c.body.neck + c.body.torso + c.body.thigh + c.body.shin + c.body.foot for c in drawn]
    assert np.allclose(lengths, 1, atol=1e-9), "a body is as tall as it says"


def test_mask_is_what_hides_the_background() -> None:
    """One character before two backgrounds: the pictures agree where the mask is full and are the backgrounds where it is empty."""
    character = make_character(3)
    points = keypoints(character, make_moves("dance", 3, 2), 128, 192)
    other = replace(character, background=make_character(4).background)
    a, b = (draw_clip(c, points, 128, 192) for c in (character, other))
    assert np.array_equal(a.masks, b.masks)
    full, empty = a.masks == 255, a.masks == 0
    assert full.mean() > 0.08 and empty.mean() > 0.5 and (~full & ~empty).any()
    assert np.array_equal(a.frames[full], b.frames[full])
    assert (np.abs(a.frames[empty].astype(int) - b.frames[empty]).max(-1) > 0).mean() > 0.9
    assert np.array_equal(a.frames[0][empty[0] & empty[1]], a.frames[1][empty[0] & empty[1]]), "the background moves"


def test_characters_differ() -> None:
    """1,000 seeds give 1,000 pictures; by kinds alone (hair, clothes ...), before colours and proportions, there are over 10^5."""
    seen = {hashlib.sha256(reference_frame(seed, width=64, height=96).frames.tobytes()).hexdigest() for seed in range(1000)}
    assert len(seen) == 1000
    kinds = {(c.looks.hair, c.looks.sleeves, c.looks.pattern, c.looks.lower, c.looks.headwear, c.looks.beard, c.looks.glasses,
              c.looks.boots,
              c.background.kind, c.looks.belt is None, c.looks.scarf is None) for c in map(make_character, range(4000))}
    assert len(kinds) > 3500


def test_same_seed_same_clip_and_reference_in_another_pose() -> None:
    a, b = demo_clip(11, "jump", 3), demo_clip(11, "jump", 3)
    assert np.array_equal(a.frames, b.frames) and np.array_equal(a.keypoints, b.keypoints)
    assert np.abs(reference_frame(11).keypoints[0, :, :2] - a.keypoints[0, :, :2]).max() > 3
    assert not np.array_equal(demo_clip(11, "jump", 3, motion_seed=12).keypoints, a.keypoints)


def test_picture_size_scales_keypoints() -> None:
    small, large = (demo_clip(5, "walk", 1, width=width, height=height) for width, height in ((128, 192), (256, 384)))
    assert large.frames.shape == (1, 384, 256, 3)
    assert np.allclose(large.keypoints[..., :2], 2 * small.keypoints[..., :2], atol=1e-3)


@pytest.mark.parametrize(("arguments", "message"), [
    ((-1, "walk", 4), "seed: .*got -1"), ((LAST_SEED + 1, "walk", 4), "seed"), ((1, "fly", 4), "'fly' is unknown; choose from: walk"),
    ((1, "walk", 0), "frames must be at least 1; got 0"), ((True, "walk", 1), "seed: .*got True"),
])
def test_bad_arguments_are_named(arguments: tuple[int, str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        demo_clip(*arguments)


def test_bad_period_is_named() -> None:
    with pytest.raises(ValueError, match="period must be .*got 2"):
        demo_clip(1, "walk", 4, period=2)


def test_training_never_sees_the_held_out() -> None:
    with pytest.raises(ValueError, match="held out"):
        draw(DemoSet(10, 1, moving=False, first_seed=HELD_OUT_SEED - 5), 5)
