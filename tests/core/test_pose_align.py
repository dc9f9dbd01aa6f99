"""MusePose's pose_align against its formulas (docs/method.md H.6), worked out point by point here and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from animate_core.pose.keypoints import BODY, FACE, FEET, LEFT_HAND, NUM_POINTS, RIGHT_HAND, Array, PoseClip, PoseError
from animate_core.pose.pose_align import in_heights, pose_align, pose_scales

HEADING = {0: (1, "neck"), 14: (0, "face"), 15: (0, "face"), 16: (0, "face"), 17: (0, "face"), 2: (1, "shoulder"), 5: (1, "shoulder"),
           3: (2, "upper arm"), 4: (3, "lower arm"), 6: (5, "upper arm"), 7: (6, "lower arm"), 8: (1, "body"), 11: (1, "body"),
           9: (8, "upper leg"), 10: (9, "lower leg"), 12: (11, "upper leg"), 13: (12, "lower leg")}


def random_clip(seed: int, frames: int, width: int, height: int) -> PoseClip:
    rng = np.random.default_rng(seed)
    places, scores = rng.uniform(1, (width, height), (frames, 1, NUM_POINTS, 2)), rng.uniform(0.4, 1, (frames, 1, NUM_POINTS, 1))
    return PoseClip(np.concatenate([places, scores], axis=-1), width, height)


def distance(a: Array, b: Array) -> float:
    return math.hypot(a[0] - b[0], a[1] - b[1])


def expected_scales(p: Array, r: Array) -> dict[str, float]:
    def ratio(a: int, b: int) -> float:
        return distance(r[a], r[b]) / distance(p[a], p[b])

    upper, lower = (ratio(2, 3) + ratio(5, 6)) / 2, (ratio(3, 4) + ratio(6, 7)) / 2
    fingers = [ratio(root, root + k) for root in (92, 113) for k in (1, 5, 9, 13, 17)]
    return {"neck": ratio(0, 1), "face": ratio(16, 17), "shoulder": ratio(2, 5), "upper arm": upper, "lower arm": lower,
            "body": distance(r[1], (r[8] + r[11]) / 2) / distance(p[1], (p[8] + p[11]) / 2),
            "upper leg": (ratio(8, 9) + ratio(11, 12)) / 2, "lower leg": (ratio(9, 10) + ratio(12, 13)) / 2,
            "hand": (sum(fingers) / 10 + upper + lower) / 3}


def test_identity_where_the_reference_is_the_first_frame() -> None:
    clip = random_clip(0, 5, 300, 200)
    out = pose_align(clip, clip.of(clip.points[:1]))
    expected = clip.points.copy()
    expected[:, :, FEET] = 0  # MusePose has none
    assert np.allclose(out.points, expected, atol=1e-3)


def test_every_point_by_the_formulas() -> None:
    clip, reference = random_clip(1, 4, 320, 200), random_clip(2, 1, 90, 160)
    # units are picture heights: x of the canvas's width, times width over height
    p, r = clip.person(0)[..., :2].astype(float) / 200, reference.person(0)[0, :, :2].astype(float) / 160
    scales = expected_scales(p[0], r)
    assert pose_scales(p[0], r) == pytest.approx(scales)
    out = pose_align(clip, reference)
    assert (out.width, out.height) == (90, 160)
    for frame in range(4):
        q = {1: p[frame, 1]}
        for point, (parent, name) in HEADING.items():
            q[point] = q[parent] + scales[name] * (p[frame, point] - p[frame, parent])
        for start, wrist in ((92, 7), (113, 4)):
            for point in range(start, start + 21):
                q[point] = q[wrist] + scales["hand"] * (p[frame, point] - p[frame, wrist])
        for point in range(24, 92):
            q[point] = p[frame, point]
        for point, place in q.items():
            assert out.points[frame, 0, point, :2] == pytest.approx((place + r[1] - p[0, 1]) * 160, abs=2e-3), (frame, point)
    assert np.array_equal(out.scores[:, :, :18], clip.scores[:, :, :18])


def figure(width: int, height: int, **points: tuple[float, float]) -> PoseClip:
    out = np.zeros((1, 1, NUM_POINTS, 3))
    for name, place in points.items():
        out[0, 0, int(name[1:])] = (*place, 1)
    return PoseClip(out, width, height)


def test_by_hand() -> None:
    """Driver 200x100, reference 100x200: a neck-to-nose of 20 px is 0.2 heights there, 40 px are 0.2 here."""
    driver = figure(200, 100, p1=(100, 50), p0=(100, 30), p2=(90, 50), p5=(110, 50), p3=(90, 60), p6=(110, 60), p4=(90, 80), p7=(110, 70))
    reference = figure(100, 200, p1=(50, 80), p0=(50, 60), p2=(20, 80), p5=(80, 80), p3=(20, 120), p6=(80, 100), p4=(20, 160), p7=(80, 120))
    # neck 0.1 / 0.2; shoulders 0.3 / 0.2; upper arms (0.2 / 0.1 + 0.1 / 0.1) / 2; lower arms (0.2 / 0.2 + 0.1 / 0.1) / 2; no hands: 1.25
    scales = pose_scales(in_heights(driver.person(0)[0], 200, 100), in_heights(reference.person(0)[0], 100, 200))
    assert {name: scales[name] for name in ("neck", "shoulder", "upper arm", "lower arm", "hand")} == pytest.approx(
        {"neck": 0.5, "shoulder": 1.5, "upper arm": 1.5, "lower arm": 1.0, "hand": 1.25})
    # legs and ears are -1 in both: 0 / 0 counts as 1; so does the face
    assert scales["upper leg"] == scales["lower leg"] == scales["face"] == 1
    out = pose_align(driver, reference).points[0, 0]
    assert np.allclose(out[:5, :2], [(50, 60), (50, 80), (20, 80), (20, 110), (20, 150)], atol=1e-3)
    assert not out[8:18].any() and not out[24:].any()


def test_hands_count_as_a_third() -> None:
    driver = figure(100, 100, p2=(10, 10), p3=(10, 20), p4=(10, 30), p5=(50, 10), p6=(50, 20), p7=(50, 30), p92=(50, 30), p93=(50, 32),
                    p97=(50, 34))
    larger = driver.points.copy()
    larger[0, 0, 93, 1] = 36  # three times as long; the second finger as it was
    scales = pose_scales(in_heights(driver.person(0)[0], 100, 100), in_heights(larger[0, 0], 100, 100))
    # three fingers are at -1, as far from the root in both; the other hand's distances are 0 and do not count
    assert scales["hand"] == pytest.approx(((3 + 1 + 3 * 1) / 5 + 1 + 1) / 3)


def test_nothing_over_nothing_is_one_and_something_over_nothing_loses_the_limb() -> None:
    driver = figure(100, 100, p1=(50, 20), p2=(40, 20), p5=(60, 20), p3=(40, 20), p6=(60, 30), p4=(40, 40), p7=(60, 40))
    same = pose_align(driver, figure(100, 100, p1=(50, 20), p2=(40, 20), p5=(60, 20), p3=(40, 20), p6=(60, 40), p4=(40, 40), p7=(60, 50)))
    # 0 / 0 on the right makes the mean of both sides 1, whatever the left says
    assert same.points[0, 0, 6, :2].tolist() == [60, 30]
    lost = pose_align(driver, figure(100, 100, p1=(50, 20), p2=(40, 20), p5=(60, 20), p3=(40, 30), p6=(60, 30), p4=(40, 40), p7=(60, 40)))
    assert lost.points[0, 0, [1, 2, 5], 2].tolist() == [1, 1, 1]
    assert not lost.points[0, 0, [3, 4, 6, 7]].any(), "an infinite scale"


def test_a_missing_neck_is_at_minus_one() -> None:
    driver = figure(200, 100, p0=(100, 30), p4=(10, 20))
    reference = figure(100, 100, p1=(50, 50), p0=(50, 20))
    out = pose_align(driver, reference)
    # offset: (0.5, 0.5) - (-2, -1); the wrist hangs, by scales of 1, on points at -1
    first, theirs = np.array([1.0, 0.3]), np.array([0.5, 0.2])
    neck = np.array([-2.0, -1.0])
    scale = distance(theirs, np.array([0.5, 0.5])) / distance(first, neck)
    assert out.points[0, 0, 0, :2] == pytest.approx((neck + scale * (first - neck) + (2.5, 1.5)) * 100, abs=1e-3)
    assert not out.points[0, 0, 1].any()


def test_align_frame_drops_what_is_before() -> None:
    clip = random_clip(3, 6, 100, 100)
    reference = clip.of(clip.points[4:5])
    out = pose_align(clip, reference, 4)
    assert len(out) == 2
    for part in (BODY, FACE, LEFT_HAND, RIGHT_HAND):
        assert np.allclose(out.points[:, :, part], clip.points[4:, :, part], atol=1e-3)
    with pytest.raises(PoseError, match="must be 0 to 5"):
        pose_align(clip, reference, 6)


def test_a_hand_of_a_low_score_is_missing_a_body_point_is_not() -> None:
    clip = random_clip(5, 3, 100, 100)
    points = clip.points.copy()
    points[..., LEFT_HAND, 2], points[..., 3, 2], points[0, 0, 30, 2] = 0.2, 0.2, 0.3
    reference = clip.of(clip.points[:1])
    out = pose_align(clip.of(points), reference)
    assert not out.points[:, 0, LEFT_HAND].any()
    assert np.allclose(out.points[:, 0, [3, 30]], points[:, 0, [3, 30]], atol=1e-3)
    # the left fingers lie in one point: five ratios less, and the others are 1
    first, theirs = (in_heights(people[0, 0], 100, 100) for people in (points, reference.points))
    assert pose_scales(first, theirs)["hand"] == pytest.approx(1)


def test_the_second_persons_left_hand_is_taken_for_a_right_one() -> None:
    one, other = random_clip(6, 2, 100, 80), random_clip(7, 2, 100, 80)
    two = PoseClip(np.concatenate([one.points, other.points], axis=1), 100, 80)
    out = pose_align(two, two.of(two.points[:1]))
    assert np.allclose(out.points[:, 0, RIGHT_HAND], other.points[:, 0, LEFT_HAND], atol=1e-3)
    for part in (BODY, LEFT_HAND):
        assert np.allclose(out.points[:, 0, part], one.points[:, 0, part], atol=1e-3)
