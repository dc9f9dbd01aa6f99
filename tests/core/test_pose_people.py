"""Choice of person. The truth is made here: boxes that move by formulas, in rows shuffled frame by frame."""

from __future__ import annotations

import numpy as np
import pytest

from animate_core.pose.keypoints import BODY, FACE, NOSE, NUM_POINTS, PoseClip, PoseError
from animate_core.pose.people import (
    PERSON_CHOICES,
    best_pairs,
    body_scores,
    boxes,
    choose_person,
    duplicates,
    follow,
    overlaps,
    similarity,
    tracks,
)
from benchmarks.detections import Detections, Detector, detect
from benchmarks.footage import REPORTING, film

Array = np.ndarray
WIDTH, HEIGHT = 640, 360
FIGURE = np.random.default_rng(0).uniform(0, 1, (NUM_POINTS, 2))
FIGURE[0], FIGURE[1] = (0, 0), (1, 1)  # the box of the points is the whole unit square


def person(x: float, y: float, width: float = 60, height: float = 160, score: float = 0.9) -> Array:
    """One person `[134, 3]` whose box is centred at x, y."""
    points = np.full((NUM_POINTS, 3), score, np.float32)
    points[:, :2] = (FIGURE - 0.5) * (width, height) + (x, y)
    return points


def clip_of(frames: list[list[Array | None]]) -> PoseClip:
    rows = max(map(len, frames))
    points = np.zeros((len(frames), rows, NUM_POINTS, 3), np.float32)
    for f, people in enumerate(frames):
        for p, points_of_one in enumerate(people):
            if points_of_one is not None:
                points[f, p] = points_of_one
    return PoseClip(points, WIDTH, HEIGHT)


def shuffled(clip: PoseClip, seed: int = 1) -> tuple[PoseClip, Array]:
    """The clip with its rows in another order in every frame, and which person is in which row `[F, P]`."""
    rng = np.random.default_rng(seed)
    order = np.stack([rng.permutation(clip.points.shape[1]) for _ in range(len(clip))])
    return clip.of(np.take_along_axis(clip.points, order[..., None, None], 1)), order


def test_boxes_hold_the_seen_points() -> None:
    one = person(100, 100, 40, 80)
    one[5] = (600, 300, 0.2)  # badly seen: outside, and left out
    unseen = person(300, 100, 20, 30, score=0.2)
    found = boxes(clip_of([[one, unseen, None]]))
    assert found[0].tolist() == [[80, 60, 120, 140], [290, 85, 310, 115], [0, 0, 0, 0]]


def test_overlap_by_hand() -> None:
    a = np.array([[0, 0, 9, 9]], float)
    b = np.array([[0, 0, 9, 9], [5, 0, 14, 9], [9, 9, 18, 18], [10, 0, 19, 9]], float)
    assert overlaps(a, b)[0] == pytest.approx([1, 50 / 150, 1 / 199, 0])


def test_best_pairs_take_each_once() -> None:
    value = np.array([[5, 4.0], [4.5, 1], [3, 2]])
    allowed = np.ones((3, 2), bool)
    assert best_pairs(value, allowed) == [(0, 0), (2, 1)]
    allowed[2, 1] = False
    assert best_pairs(value, allowed) == [(0, 0), (1, 1)]
    assert best_pairs(np.zeros((0, 2)), np.zeros((0, 2), bool)) == []


def test_largest_central_best() -> None:
    large, central, best = person(100, 180, 120, 300, 0.6), person(330, 180, 30, 60, 0.5), person(500, 100, 50, 100, 0.95)
    clip, _ = shuffled(clip_of([[large, central, best]] * 6))
    for how, wanted in (("largest", large), ("most central", central), ("best score", best)):
        assert np.array_equal(choose_person(clip, how).points, clip_of([[wanted]] * 6).points)


def test_best_score_is_the_mean_of_the_body_alone() -> None:
    a, b = person(100, 100, score=0.5), person(300, 100, score=0.4)
    b[FACE, 2] = 1  # more score in all, less in the body
    b[NOSE, 2] = 1
    clip = clip_of([[b, a]])
    assert body_scores(clip)[0] == pytest.approx([(0.4 * 17 + 1) / 18, 0.5])
    assert np.array_equal(choose_person(clip, "best score").points[0, 0], a)
    a[BODY, 2] = 0.43
    assert np.array_equal(choose_person(clip_of([[a, b]]), "best score").points[0, 0], b)


@pytest.mark.parametrize("how", ["largest", "most central", "followed"])
def test_a_ghost_over_the_whole_picture_is_not_taken(how: str) -> None:
    ghost, real = person(320, 180, 640, 360, 0.2), person(100, 180, 50, 100)
    for people in ([ghost, real], [real, ghost]):
        assert boxes(choose_person(clip_of([people]), how))[0, 0, 0] == 75
    assert choose_person(clip_of([[ghost, None]]), how).present.all(), "but nobody else being there, it is"


@pytest.mark.parametrize("how", PERSON_CHOICES)
def test_nobody_and_one_person(how: str) -> None:
    empty = choose_person(clip_of([[None, None]] * 3), how)
    assert empty.points.shape[:2] == (3, 1) and not empty.present.any()
    one = clip_of([[person(100, 100)], [None], [person(600, 300)]])
    assert choose_person(one, how) is one
    some = choose_person(clip_of([[None, person(100, 100)], [None, None], [person(100, 100), None]]), how)
    assert some.present[:, 0].tolist() == [True, False, True]


def walk(frames: int, start: float, step: float, y: float, size: tuple[float, float] = (60, 160)) -> list[Array | None]:
    return [person(start + step * i, y, *size) for i in range(frames)]


def together(*people: list[Array | None]) -> PoseClip:
    return clip_of([list(frame) for frame in zip(*people, strict=True)])


def assert_rows_are_people(found: PoseClip, truth: PoseClip) -> None:
    """Every person of the truth has one row of their own."""
    assert found.points.shape == truth.points.shape
    places = {found.person(i).tobytes() for i in range(found.points.shape[1])}
    assert places == {truth.person(i).tobytes() for i in range(truth.points.shape[1])}


@pytest.mark.parametrize("seed", range(5))
def test_rows_keep_people_who_cross(seed: int) -> None:
    """Two walk through one another, a third stands; the boxes of the two lie on one another in the middle."""
    truth = together(walk(41, 100, 10, 180), walk(41, 505, -10, 185), walk(41, 560, 0, 120))
    clip, _ = shuffled(truth, seed)
    assert_rows_are_people(follow(clip), truth)


@pytest.mark.parametrize("gap", [1, 3, 8])
def test_rows_survive_gaps(gap: int) -> None:
    truth = together(walk(40, 100, 8, 180), walk(40, 500, -2, 180))
    points = truth.points.copy()
    points[12:12 + gap, 0] = 0
    points[30:30 + gap, 1] = 0
    truth = truth.of(points)
    assert_rows_are_people(follow(shuffled(truth)[0]), truth)


def test_rows_survive_steps_without_overlap() -> None:
    """A small figure at few frames a second: each box is past the last one."""
    truth = together(walk(15, 60, 40, 180, (30, 60)), walk(15, 600, -40, 60, (30, 60)))
    assert_rows_are_people(follow(shuffled(truth)[0]), truth)


def test_a_stranger_far_away_is_somebody_else() -> None:
    one: list[Array | None] = [*walk(5, 100, 2, 180), None, None]
    other: list[Array | None] = [None] * 6 + walk(1, 560, 0, 180)
    found = tracks(together(one, other))
    assert found[:5, 0].tolist() == [0] * 5 and found[6, 1] == 1
    assert follow(together(one, other)).points.shape[1] == 2


def test_followed_stays_when_another_becomes_larger() -> None:
    comes_near = [person(500, 180, 30 + 6 * i, 80 + 14 * i) for i in range(20)]
    truth = together(walk(20, 100, 3, 180), comes_near)
    clip, _ = shuffled(truth)
    assert np.array_equal(choose_person(clip, "followed").points[:, 0], truth.points[:, 0])
    largest = choose_person(clip, "largest").points[:, 0]
    assert np.array_equal(largest[0], truth.points[0, 0]) and np.array_equal(largest[-1], truth.points[-1, 1])


def test_followed_leaves_gaps_empty_and_comes_back() -> None:
    truth = together(walk(30, 100, 3, 180, (80, 200)), walk(30, 500, 0, 180))
    points = truth.points.copy()
    points[10:15, 0] = 0
    clip, _ = shuffled(truth.of(points))
    chosen = choose_person(clip, "followed")
    assert np.array_equal(chosen.points[:, 0], points[:, 0])


def test_a_passer_by_is_not_followed() -> None:
    passing: list[Array | None] = [*walk(3, 500, 20, 180, (150, 300)), *[None] * 27]
    truth = together(passing, walk(30, 100, 3, 180))
    assert np.array_equal(choose_person(shuffled(truth)[0], "followed").points[:, 0], truth.points[:, 1])


def test_a_ghost_does_not_begin() -> None:
    """The first frames hold a badly scored detection alone; the person comes later."""
    ghost: list[Array | None] = [person(320, 180, 640, 360, 0.2) for _ in range(10)]
    late: list[Array | None] = [*[None] * 4, *walk(6, 100, 3, 180)]
    clip = together(ghost, late)
    assert choose_person(clip, "followed").present[:, 0].tolist() == [False] * 4 + [True] * 6


def test_guesses_over_the_whole_picture_do_not_lead_astray() -> None:
    """While the detector misses a walker, the whole picture stands for a person; found again, far on, it is the same walker."""
    frames: list[list[Array | None]] = []
    for i in range(24):
        guess = person(320, 180, 640, 360, 0.2)
        frames.append([guess, None] if 8 <= i < 13 else [person(60 + 16 * i, 180, 40, 100), person(600, 180, 40, 100)])
    found = tracks(clip_of(frames))
    assert (found[:8, 0] == 0).all() and (found[13:, 0] == 0).all() and (found[13:, 1] == 1).all()


def test_the_most_prominent_row_comes_first() -> None:
    small, large = walk(10, 100, 2, 180, (30, 60)), walk(10, 400, 2, 180, (90, 250))
    assert np.array_equal(follow(together(small, large)).points, together(large, small).points)


def test_following_twice_changes_nothing() -> None:
    clip, _ = shuffled(together(walk(20, 100, 10, 180), walk(20, 500, -10, 180), walk(20, 300, 0, 60)))
    once = follow(clip)
    assert np.array_equal(follow(once).points, once.points)


def test_an_unknown_choice() -> None:
    with pytest.raises(PoseError, match="'tallest' is unknown; choose from: followed, largest"):
        choose_person(clip_of([[person(1, 1)]]), "tallest")


def test_any_clip_is_sorted_without_loss() -> None:
    """Random people: every point of the input is in one row of the output, in its frame."""
    rng = np.random.default_rng(3)
    for _ in range(50):
        points = rng.uniform(0, 300, (12, 4, NUM_POINTS, 3)).astype(np.float32)
        points[..., 2] = rng.uniform(0, 1, points.shape[:3]) * (rng.random((12, 4, 1)) > 0.4)
        clip = PoseClip(points, 300, 300)
        found = follow(clip)
        for before, after in zip(clip.points, found.points, strict=True):
            assert sorted(p.tobytes() for p in before if p.any()) == sorted(p.tobytes() for p in after if p.any())
        for how in PERSON_CHOICES:
            assert choose_person(clip, how).points.shape == (12, 1, NUM_POINTS, 3)


# --------------------------------------------------------------------------------------------------- the same person over again


def test_similarity_by_hand() -> None:
    """COCO's formula: exp(-d^2 / (2 area k^2)) with k twice the annotators' deviation, over what both show."""
    a = np.zeros((18, 3))
    a[[0, 1, 4, 10]] = (0, 0, 1), (10, 20, 1), (99, 20, 1), (50, 79, 1)  # a box of 100 x 80 pixels
    b = a + (3, 4, 0)
    b[10, 2], b[3] = 0, (5, 5, 1)
    expected = [np.exp(-25 / (2 * 0.53 * 8000 * (2 * sigma) ** 2)) for sigma in (0.026, 0.079, 0.062)]
    assert similarity(a, b) == similarity(b, a) == pytest.approx(np.mean(expected))
    assert similarity(a, a) == 1
    b[4, 2] = 0.3
    assert similarity(a, b) == 0, "two points tell nothing"


def twice(found: Detections, frame: int, seed: int, place: int) -> PoseClip:
    """The clip with its person once more in one frame, 1.5 pixels off, in front of the first or behind."""
    rng = np.random.default_rng(seed)
    points = np.concatenate([found.clip.points, np.zeros_like(found.clip.points)], axis=1)
    twin = points[frame, 0].copy()
    twin[:, :2] += rng.normal(0, 1.5, (NUM_POINTS, 2)) * (twin[:, 2:] > 0)
    twin[:, 2] *= rng.uniform(0.95, 1.05)
    points[frame] = np.stack([twin, points[frame, 0]] if place == 0 else [points[frame, 0], twin])
    return found.clip.of(points)


@pytest.mark.parametrize("motion", ["walk", "dance"])
def test_a_duplicate_in_one_frame_costs_no_other(motion: str) -> None:
    for seed in range(10):
        found = detect(film(motion, REPORTING[seed], 24, 4), seed, Detector(lost=0))
        frame = int(np.random.default_rng(seed).integers(96))
        clip = twice(found, frame, seed, seed % 2)
        assert duplicates(clip).sum() == 1 and duplicates(clip)[frame].any()
        chosen = choose_person(clip, "followed")
        assert chosen.present.all()
        same = (chosen.points == found.clip.points).all((1, 2, 3))
        assert same.sum() >= 95, "and nothing changes in the other frames"
        assert follow(clip).points.shape[1] == 1


def test_who_stands_close_beside_is_nobodys_duplicate() -> None:
    """Two dancers in step, a shoulder's width apart."""
    clip = detect(film("dance", REPORTING[3], 24, 2), 3, Detector(jitter=0, lost=0)).clip
    pair = np.repeat(clip.points, 2, axis=1).copy()
    seen = pair[:, 1, :, 2] > 0
    width = np.median(np.ptp(clip.points[:, 0, [2, 5], 0], axis=1))
    pair[:, 1, :, 0] += width * seen
    assert width > 30 and not duplicates(clip.of(pair)).any()
    assert follow(clip.of(pair)).points.shape[1] == 2


@pytest.mark.parametrize("fps", [8, 24])
def test_people_who_cross_stay_themselves(fps: float) -> None:
    """Two walk through one another, reported by a detector with all its errors, in the order of their scores."""
    changed = 0
    for seed in range(20, 30):
        found = detect(film("crossing", REPORTING[seed], fps, 5), seed, Detector(duplicates=0.03))
        ids = np.where(found.row >= 0, np.take_along_axis(tracks(found.clip), found.row.clip(0), 1), -1)
        third = len(ids) // 3
        before, after = ([np.bincount(one[one >= 0]).argmax() for one in part.T] for part in (ids[:third], ids[-third:]))
        changed += before != after
    assert changed <= 1
