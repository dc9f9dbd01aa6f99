"""Edits by hand: blending between key frames, gaps, hidden points, other lengths and canvases, what hangs on a moved point, bad JSON."""

from __future__ import annotations

import cmath
import json
from typing import Any

import numpy as np
import pytest

from animate_core.pose.editing import edit_pose, empty_clip, of_length, read_edits, shown_poses
from animate_core.pose.keypoints import (
    BODY,
    FACE,
    FEET,
    L_ANKLE,
    L_EYE,
    L_KNEE,
    L_WRIST,
    LEFT_HAND,
    NECK,
    NOSE,
    NUM_POINTS,
    R_ELBOW,
    R_EYE,
    R_WRIST,
    RIGHT_HAND,
    PoseClip,
    PoseError,
)

WIDTH, HEIGHT = 400, 600


def moving_clip(frames: int, seed: int = 0) -> PoseClip:
    """One person, all points seen, who drifts to the right by 3 pixels a frame."""
    rng = np.random.default_rng(seed)
    points = np.empty((frames, 1, NUM_POINTS, 3), np.float32)
    points[..., :2] = rng.uniform(100, 300, (NUM_POINTS, 2)) + 3 * np.arange(frames)[:, None, None, None] * [1, 0]
    points[..., 2] = 0.8
    return PoseClip(points, WIDTH, HEIGHT)


def without(clip: PoseClip, joint: int, *frames: int) -> PoseClip:
    points = clip.points.copy()
    points[list(frames), 0, joint] = 0
    return clip.of(points)


def edits(*keys: dict[str, Any], width: int = WIDTH, height: int = HEIGHT) -> str:
    return json.dumps({"version": 1, "width": width, "height": height, "keys": list(keys)})


def edited(clip: PoseClip, *keys: dict[str, Any], **canvas: int) -> np.ndarray:
    """`[F, 134, 3]`."""
    return edit_pose(clip, read_edits(edits(*keys, **canvas))).person(0)


def shift(before: PoseClip, after: np.ndarray, joint: int) -> list[list[float]]:
    return (after[:, joint, :2] - before.person(0)[:, joint, :2]).round(3).tolist()


def test_no_edits_change_nothing() -> None:
    clip = moving_clip(3)
    for nothing in (None, "", " \n", edits(), json.loads(edits())):
        assert edit_pose(clip, read_edits(nothing)) is clip
    assert np.array_equal(edited(clip, {"frame": 1}), clip.person(0))


def test_one_key_holds_in_every_frame() -> None:
    clip = moving_clip(4)
    after = edited(clip, {"frame": 2, "move": {"4": [7, -5]}})
    assert shift(clip, after, R_WRIST) == [[7, -5]] * 4
    assert np.allclose(after[:, R_WRIST, 2], 0.8), "its score is the incoming one"
    others = [i for i in range(18) if i != R_WRIST]
    assert np.array_equal(after[:, others], clip.person(0)[:, others])


def test_moves_are_blended_between_keys_and_held_beyond_them() -> None:
    clip = moving_clip(9)
    # not in order; the key at 6 moves nothing
    after = edited(clip, {"frame": 6}, {"frame": 2, "move": {"4": [8, -4], "0": [2, 0]}}, {"frame": 1, "move": {"4": [4, 0]}})
    assert shift(clip, after, R_WRIST) == [[4, 0], [4, 0], [8, -4], [6, -3], [4, -2], [2, -1], [0, 0], [0, 0], [0, 0]]
    assert shift(clip, after, NOSE)[:4] == [[0, 0], [0, 0], [2, 0], [1.5, 0]]


def test_a_placed_point_fills_the_gap_of_its_key_alone() -> None:
    clip = without(moving_clip(14), L_ANKLE, 4, 5, 6, 7, 8, 11, 12)
    after = edited(clip, {"frame": 5, "place": {"13": [50, 500]}}, {"frame": 7, "place": {"13": [60, 480]}})[:, L_ANKLE]
    assert after[4:9].tolist() == [[50, 500, 1], [50, 500, 1], [55, 490, 1], [60, 480, 1], [60, 480, 1]]
    assert not after[11:13].any(), "another gap"
    seen = [0, 1, 2, 3, 9, 10, 13]
    assert np.array_equal(after[seen], clip.person(0)[seen, L_ANKLE])


def test_a_doubtful_point_counts_as_missing() -> None:
    points = moving_clip(2).points.copy()
    points[:, 0, R_WRIST, 2] = (0.3, 0.31)
    after = edited(PoseClip(points, WIDTH, HEIGHT), {"frame": 0, "place": {"4": [9, 8]}, "move": {"4": [5, 5]}})[:, R_WRIST]
    assert after[0].tolist() == [9, 8, 1]
    assert np.allclose(after[1], points[1, 0, R_WRIST] + (5, 5, 0))
    kept = edited(PoseClip(points, WIDTH, HEIGHT), {"frame": 0, "move": {"4": [5, 5]}})[:, R_WRIST]
    assert np.array_equal(kept[0], points[0, 0, R_WRIST]) and not np.array_equal(kept[1], points[1, 0, R_WRIST])


def test_what_the_page_shows() -> None:
    points = moving_clip(2).points.copy()
    points[0, 0, :3, 2] = (0.3, 0.31, 0)
    shown = np.array(shown_poses(PoseClip(points, WIDTH, HEIGHT))).reshape(2, 18, 3)
    assert shown[0, :4, 2].tolist() == [0.1, 1, 0, 1] and shown[0, 2].tolist() == [0, 0, 0]
    assert np.abs(shown[1, :, :2] - points[1, 0, BODY, :2]).max() <= 0.00501


def test_a_body_is_placed_on_nobody() -> None:
    clip = of_length(empty_clip(WIDTH, HEIGHT), 3)
    after = edited(clip, {"frame": 0, "place": {"0": [10, 20]}}, {"frame": 2, "place": {"0": [30, 60]}})
    assert after[:, NOSE].tolist() == [[10, 20, 1], [20, 40, 1], [30, 60, 1]]
    assert not after[:, 1:].any()


def test_keys_beyond_the_end_count_as_if_the_clip_went_on() -> None:
    """The first frames of a clip that was cut after it was edited stay as they were."""
    keys = ({"frame": 0, "move": {"4": [0, 0]}, "place": {"7": [100, 100]}},
            {"frame": 8, "move": {"4": [16, 8]}, "place": {"7": [180, 20]}})
    long, short = (without(moving_clip(frames), L_WRIST, *range(frames)) for frames in (9, 5))
    for joint in (R_WRIST, L_WRIST):
        assert np.allclose(edited(short, *keys)[:, joint], edited(long, *keys)[:5, joint])
    assert shift(short, edited(short, *keys), R_WRIST)[4] == [8, 4]
    assert edited(short, *keys)[4, L_WRIST].tolist() == [140, 60, 1]


def test_hidden_from_one_key_up_to_the_next() -> None:
    clip = moving_clip(7)
    after = edited(clip, {"frame": 2, "hide": [4]}, {"frame": 4, "move": {"4": [6, 0]}}, {"frame": 6, "hide": [4, 16]})
    assert [bool(score) for score in after[:, R_WRIST, 2]] == [False, False, False, False, True, True, False]
    # on its way from 0 at frame 2: hiding is no place
    assert shift(clip, after, R_WRIST)[4:6] == [[6, 0], [3, 0]]
    assert [bool(score) for score in after[:, 16, 2]] == [True] * 6 + [False]
    assert not after[:2, RIGHT_HAND].any() and after[4:6, RIGHT_HAND, 2].all() and after[:, LEFT_HAND, 2].all()


def test_another_canvas_scales_the_edits() -> None:
    clip = without(moving_clip(2), L_WRIST, 0, 1)
    after = edited(clip, {"frame": 0, "move": {"4": [10, 10]}, "place": {"7": [50, 60]}}, width=WIDTH // 2, height=HEIGHT * 2)
    assert shift(clip, after, R_WRIST) == [[20, 5]] * 2
    assert after[0, L_WRIST].tolist() == [100, 30, 1]


def as_complex(points: np.ndarray) -> list[complex]:
    return [complex(x, y) for x, y in points[..., :2].astype(np.float64)]


@pytest.mark.parametrize(("part", "joint", "root"), [(RIGHT_HAND, R_WRIST, R_ELBOW), (slice(FEET.start, FEET.start + 3), L_ANKLE, L_KNEE)])
def test_hands_and_feet_go_and_turn_with_their_limb(part: slice, joint: int, root: int) -> None:
    clip = moving_clip(1)
    before = clip.person(0)[0]
    after = edited(clip, {"frame": 0, "move": {str(joint): [40, -70], str(root): [-15, 20]}})[0]
    old_end, old_root, new_end, new_root = (as_complex(p[None])[0] for p in (before[joint], before[root], after[joint], after[root]))
    factor = cmath.exp(1j * (cmath.phase(new_end - new_root) - cmath.phase(old_end - old_root)))
    for old, new in zip(as_complex(before[part]), as_complex(after[part]), strict=True):
        assert abs(new - (new_end + factor * (old - old_end))) < 1e-3
    assert np.array_equal(after[LEFT_HAND], before[LEFT_HAND])


def test_without_its_elbow_a_hand_only_moves_along() -> None:
    clip = without(moving_clip(1), R_ELBOW, 0)
    after = edited(clip, {"frame": 0, "move": {"4": [40, -70]}})
    assert np.allclose(after[:, RIGHT_HAND, :2], clip.person(0)[:, RIGHT_HAND, :2] + (40, -70), atol=1e-3)


def test_the_face_goes_with_the_head() -> None:
    clip = moving_clip(1)
    before = clip.person(0)[0]
    head = [0, 14, 15, 16, 17]
    turned = {}
    centre, factor = 200 + 150j, cmath.exp(0.6j)
    for joint, old in zip(head, as_complex(before[head]), strict=True):
        way = centre + factor * (old - centre) + (12 - 9j) - old
        turned[str(joint)] = [way.real, way.imag]
    after = edited(clip, {"frame": 0, "move": turned})[0]
    for old, new in zip(as_complex(before[FACE]), as_complex(after[FACE]), strict=True):
        assert abs(new - (centre + factor * (old - centre) + 12 - 9j)) < 1e-2
    one = edited(clip, {"frame": 0, "move": {"14": [5, 0]}})
    assert 0.5 < np.abs(one[0, FACE, :2] - before[FACE, :2]).mean() < 5, "one point of five takes the face along a little"
    assert not edited(clip, {"frame": 0, "hide": head})[0, FACE].any()
    assert edited(clip, {"frame": 0, "hide": [NOSE, R_EYE, L_EYE]})[0, FACE, 2].all()


def test_what_was_never_seen_stays_away() -> None:
    clip = moving_clip(2)
    points = clip.points.copy()
    points[:, :, FACE] = points[:, :, RIGHT_HAND] = 0
    after = edited(clip.of(points), {"frame": 0, "move": {"4": [40, 0], "0": [5, 5]}})
    assert not after[:, FACE].any() and not after[:, RIGHT_HAND].any()
    assert after[:, BODY, 2].all()


def test_a_point_far_out_is_kept_in_range() -> None:
    after = edited(moving_clip(1), {"frame": 0, "move": {"1": [1e6, -1e6]}}, width=1, height=1)
    assert np.isfinite(after).all() and after[0, NECK, 0] == 1e6


def test_length_of_a_clip() -> None:
    clip = moving_clip(3)
    assert len(of_length(clip, 0)) == 3
    assert np.array_equal(of_length(clip, 5).points, clip.points[[0, 1, 2, 2, 2]])
    assert np.array_equal(of_length(clip, 2).points, clip.points[:2])


def test_several_people_are_refused() -> None:
    clip = moving_clip(2)
    with pytest.raises(PoseError, match="one person, but the clip has 2"):
        edit_pose(clip.of(clip.points.repeat(2, axis=1)), read_edits(edits({"frame": 0})))


@pytest.mark.parametrize(("value", "complaint"), [
    ("{", "not JSON"),
    ("[" * 100_000, "not JSON"),
    ("7", "must be an object.*an int .7."),
    (b"{}", "must be an object"),
    ({}, "version: .*got None"),
    ({"version": 2, "width": 9, "height": 9, "keys": []}, "newer release"),
    ({"version": True, "width": 9, "height": 9, "keys": []}, "version"),
    ({"version": 1, "width": 0, "height": 9, "keys": []}, "canvas of 0x9"),
    ({"version": 1, "width": "9", "height": 9, "keys": []}, "width: .* must be a number"),
    ({"version": 1, "width": 9, "height": 9}, "keys: .*None"),
    ({"version": 1, "width": 9, "height": 9, "keys": [], "frames": 3}, "'frames' is unknown; choose from: version, width"),
    ('{"version": 1, "width": 9, "height": 1e999, "keys": []}', "height: .*inf"),
    (edits({}), "key 0, frame: .*None"),
    (edits({"frame": -1}), "key 0, frame: .*-1"),
    (edits({"frame": 1.5}), "key 0, frame"),
    (edits({"frame": 0}, {"frame": 0}), "frame 0 has two keys"),
    (edits({"frame": 0, "moves": {}}), "'moves' is unknown"),
    (edits({"frame": 0}, {"frame": 1, "move": [1, 2]}), "key 1, move: .*a list of 2"),
    (edits({"frame": 0, "move": {"18": [1, 2]}}), "key 0, move: .* from 0 to 17.*18"),
    (edits({"frame": 0, "move": {"wrist": [1, 2]}}), "from 0 to 17.*'wrist'"),
    (edits({"frame": 0, "move": {"4": [1, 2, 3]}}), "point 4: .*.x, y.; got a list of 3"),
    (edits({"frame": 0, "place": {"4": [1, None]}}), "place, point 4: .*number of pixels; got None"),
    (edits({"frame": 0, "place": {"4": [1, 2e6]}}), "place, point 4"),
    ('{"version": 1, "width": 9, "height": 9, "keys": [{"frame": 0, "move": {"4": [NaN, 1]}}]}', "move, point 4: .*nan"),
    (edits({"frame": 0, "hide": 4}), "hide: .*an int"),
    (edits({"frame": 0, "hide": [4, 99]}), "hide: .*99"),
])
def test_bad_edits_are_refused(value: Any, complaint: str) -> None:
    with pytest.raises(PoseError, match=f"edits.*{complaint}"):
        read_edits(value)


def test_no_value_breaks_the_reader() -> None:
    """Random trees of what JSON can hold, some of them nearly right: read, or refused as a PoseError."""
    rng = np.random.default_rng(3)
    words = ["version", "width", "height", "keys", "frame", "move", "place", "hide", "4", "-1", "", "99", "\u0664"]
    leaves = [None, True, False, 0, 1, 4, -7, 10**400, 0.5, float("nan"), float("inf"), "4", "x", [], {}]

    def tree(depth: int) -> Any:
        kind = rng.integers(4) if depth else 0
        if kind < 2:
            return leaves[rng.integers(len(leaves))]
        if kind == 2:
            return [tree(depth - 1) for _ in range(rng.integers(4))]
        return {words[rng.integers(len(words))]: tree(depth - 1) for _ in range(rng.integers(6))}

    read = 0
    for _ in range(4000):
        value: Any = tree(4)
        if rng.random() < 0.7:
            value = {"version": 1, "width": 10, "height": 20,
                     "keys": [{"frame": int(rng.integers(9)), words[rng.integers(5, 8)]: tree(2)} for _ in range(rng.integers(1, 3))]}
        try:
            edit_pose(moving_clip(2), read_edits(value))
            read += 1
        except PoseError:
            pass
    assert 100 < read < 3900
