"""Poses between poses, against closed forms and the drawn characters' own in-between poses."""

from __future__ import annotations

import numpy as np
import pytest

from animate_core.demo.character import HELD_OUT_SEED, make_character
from animate_core.demo.motion import FRAMED_MOTIONS, keypoints, make_moves
from animate_core.pose.interpolation import interpolate_pose
from animate_core.pose.keypoints import FACE, L_ELBOW, L_HIP, L_WRIST, LEFT_HAND, NOSE, NUM_POINTS, PoseClip, PoseError, body_clip

Array = np.ndarray
SIZE = 512


def moving(frames: int, way: tuple[float, float] = (6, -4)) -> PoseClip:
    """Everything moves steadily, with scores that change evenly; no point where another is."""
    rng = np.random.default_rng(1)
    t = np.arange(frames)[:, None, None]
    places = rng.uniform(100, 400, (1, NUM_POINTS, 2)) + t * np.array(way)
    return PoseClip(np.concatenate([places, 0.5 + 0.05 * t + np.zeros((frames, NUM_POINTS, 1))], -1)[:, None], SIZE, SIZE)


def without(clip: PoseClip, frame: int, *points: int) -> PoseClip:
    left = clip.points.copy()
    left[frame, 0, list(points)] = 0
    return clip.of(left)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_steady_motion_is_exact(factor: int) -> None:
    clip, out = moving(5), interpolate_pose(moving(5), factor)
    t = np.arange(4 * factor + 1) / factor
    assert len(out) == 4 * factor + 1
    expected = clip.points[0, 0] + t[:, None, None] * np.array([6, -4, 0.05])
    assert np.allclose(out.person(0), expected, atol=1e-3)
    assert np.array_equal(out.points[::factor], clip.points), "the clip's own frames stay"


def test_a_parabola_is_exact_inside() -> None:
    """Of the points before and after, Catmull and Rom's slope is a parabola's own."""
    t = np.arange(6.0)
    points = moving(6).points.copy()
    points[:, 0, :, 0] = 100 + 3 * t[:, None] ** 2
    out = interpolate_pose(PoseClip(points, SIZE, SIZE), 4).person(0)
    inside = np.arange(4, 17)
    assert np.allclose(out[inside, :, 0], 100 + 3 * (inside[:, None] / 4) ** 2, atol=1e-3)


def test_a_loop_goes_on_into_its_beginning() -> None:
    clip = moving(4, (0, 0))
    points = clip.points.copy()
    points[:, 0, NOSE, 0] = [100, 110, 120, 110]
    out = interpolate_pose(clip.of(points), 2, closed_loop=True)
    assert len(out) == 8 and np.array_equal(out.points[::2], clip.of(points).points)
    # cubics through 100 110 120 110 100 ...: the slope is 10 on the sides and 0 at the turns, so that halves lie 1.25 further out
    assert np.allclose(out.person(0)[1::2, NOSE, 0], [103.75, 116.25, 116.25, 103.75], atol=1e-3)
    again = interpolate_pose(clip.of(np.roll(points, 1, axis=0)), 2, closed_loop=True)
    assert np.allclose(again.points, np.roll(out.points, 2, axis=0), atol=1e-3), "no frame is the first"


def test_a_missing_point_stays_for_half_the_way_and_is_carried() -> None:
    """The wrist is not seen in frame 2: it goes with the elbow until half way there, and again from half way on."""
    clip = without(moving(5), 2, L_WRIST, *range(LEFT_HAND.start, LEFT_HAND.stop))
    out, whole = interpolate_pose(clip, 4).person(0), interpolate_pose(moving(5), 4).person(0)
    for point in (L_WRIST, LEFT_HAND.start + 7):
        seen = out[:, point, 2] > 0
        assert seen.tolist() == [True] * 7 + [False] * 4 + [True] * 6
        assert np.allclose(out[seen, point, :2], whole[seen, point, :2], atol=1e-3), "it moves as the elbow does"
        assert np.allclose(out[5:7, point, 2], clip.points[1, 0, point, 2]), "with its last score"
    assert np.allclose(out[:, L_ELBOW], whole[:, L_ELBOW], atol=1e-3)


def test_a_hand_without_an_arm_is_held() -> None:
    clip = without(moving(2), 1, *range(NUM_POINTS))
    out = interpolate_pose(clip, 4).person(0)
    assert np.allclose(out[:3], clip.points[0, 0]) and not out[3:].any()


def test_a_point_never_seen_stays_missing() -> None:
    clip = moving(5)
    points = clip.points.copy()
    points[:, :, FACE] = points[:, :, L_HIP:L_HIP + 1] = 0
    out = interpolate_pose(clip.of(points), 3).person(0)
    assert not out[:, FACE].any() and not out[:, L_HIP].any()


def test_people_who_change_places_in_the_list_are_followed() -> None:
    one, two = moving(4, (2, 0)).points, moving(4, (2, 0)).points + np.float32([60, 0, 0])
    rows = np.concatenate([one, two], axis=1)
    rows[2] = rows[2, ::-1]
    out = interpolate_pose(PoseClip(rows, SIZE, SIZE), 2)
    steps = np.linalg.norm(np.diff(out.points[..., :2], axis=0), axis=-1)
    assert np.allclose(steps, 1, atol=1e-3), "nobody jumps to the other's place"


@pytest.mark.parametrize("factor", [2, 4])
def test_nearer_to_the_true_poses_than_straight_lines(factor: int) -> None:
    """Drawn characters at half and a quarter of the frames."""
    errors = []
    for seed, motion in enumerate(FRAMED_MOTIONS):
        character = make_character(HELD_OUT_SEED + seed)
        true = keypoints(character, make_moves(motion, HELD_OUT_SEED + seed, 16 * factor + 1, 16 * factor), 128, 192)
        few = true[::factor]
        share = (np.arange(len(true)) / factor)[:, None, None]
        first = np.minimum(share.astype(int), len(few) - 2)[:, 0, 0]
        straight = few[first] + (share - first[:, None, None]) * (few[first + 1] - few[first])
        ours = interpolate_pose(body_clip(few, 128, 192), factor).person(0)[:, :18]
        errors.append([np.linalg.norm((x - true)[..., :2], axis=-1).mean() for x in (ours, straight)])
    ours, straight = np.mean(errors, axis=0)
    assert ours < 0.6 * straight


def test_one_frame_and_bad_factors() -> None:
    assert len(interpolate_pose(moving(1), 4)) == 1 and len(interpolate_pose(moving(1), 4, closed_loop=True)) == 4
    with pytest.raises(PoseError, match="factor must be at least 1; got 0"):
        interpolate_pose(moving(2), 0)
