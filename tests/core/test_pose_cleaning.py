"""Clean Pose against what is known: the procedural characters' true joints under made faults, cases worked out by hand, closed formulas."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest

from animate_core.demo.character import HELD_OUT_SEED, make_character
from animate_core.demo.motion import FRAMED_MOTIONS, MOTIONS, keypoints, make_moves
from animate_core.pose.cleaning import CleanReport, CleanSettings, clean
from animate_core.pose.filters import find_leaps, jitter, local_polynomial, smooth
from animate_core.pose.keypoints import (
    BODY,
    L_ANKLE,
    L_HIP,
    L_KNEE,
    L_WRIST,
    LEFT_HAND,
    NECK,
    NUM_POINTS,
    R_ANKLE,
    R_HIP,
    R_KNEE,
    R_WRIST,
    RIGHT_HAND,
    SWAP_GROUPS,
    PoseClip,
    PoseError,
    body_clip,
)

Array = np.ndarray

WIDTH, HEIGHT, FRAMES, PERIOD = 512, 768, 96, 24
OFF = CleanSettings(fix_swaps=0, remove_outliers=0, max_gap=0, long_gaps="hide", smooth=0)
FAULTS = ("jitter", "missing", "empty", "outliers", "swaps", "all")


def truth(motion: str, style: int = 0, frames: int = FRAMES, period: float = PERIOD) -> Array:
    """True joints `[F, 18, 3]` of a character about 600 pixels high; one motion a second at 24 frames per second."""
    seed = HELD_OUT_SEED + style
    return keypoints(make_character(seed), make_moves(motion, seed, frames, period), WIDTH, HEIGHT)


def spoil(points: Array, fault: str, rng: np.random.Generator) -> Array:
    """2 px jitter, 5% of the points 100 px off, 5% of the frames swapped in each group, 10% of the points and 5% of the frames empty."""
    out, shape = points.copy(), points.shape[:2]
    if fault in ("jitter", "all"):
        out[..., :2] += rng.normal(0, 2, (*shape, 2))
    if fault in ("outliers", "all"):
        angle = rng.uniform(0, 2 * np.pi, shape)
        out[..., :2] += 100 * (rng.random(shape) < 0.05)[..., None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    if fault in ("swaps", "all"):
        for group in range(len(SWAP_GROUPS)):
            for frame in np.flatnonzero(rng.random(shape[0]) < 0.05).tolist():
                _, right, left, _ = SWAP_GROUPS[group]
                pairs = [(a, b) for a, b in zip(right, left, strict=True) if a < 18]
                for a, b in pairs:
                    out[frame, [a, b]] = out[frame, [b, a]]
    if fault in ("missing", "all"):
        out[rng.random(shape) < 0.1] = 0
    if fault in ("empty", "all"):
        out[rng.random(shape[0]) < 0.05] = 0
    return out


def errors(points: Array, true: Array) -> Array:
    return np.linalg.norm(points[..., :2] - true[..., :2], axis=-1)


def cleaned(points: Array, settings: CleanSettings | None = None) -> tuple[Array, CleanReport]:
    clip, report = clean(body_clip(points, WIDTH, HEIGHT), settings)
    return clip.points[:, 0, BODY], report


# -------------------------------------------------------------------------------------------------------- against the characters' truth

# mean error in pixels that is reached, with a margin of about a fifth
REACHED = {"jitter": 1.8, "missing": 0.16, "empty": 0.1, "outliers": 0.75, "swaps": 0.05, "all": 3.7}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_mended(fault: str, measured: Callable[[str], None]) -> None:
    rng = np.random.default_rng(5)
    before, after = [], []
    for motion in FRAMED_MOTIONS:  # the others leave the picture in places
        for style in range(2):
            true = truth(motion, style)
            points = spoil(true, fault, rng)
            found, _ = cleaned(points, CleanSettings())
            # every point is there, and drawn, but a hand that reached for the border in the last frame
            assert (found[:-1, :, 2] > 0.3).all() and (found[-1, :, 2] > 0.3).sum() >= 17
            before.append(errors(points, true)[points[..., 2] > 0].mean())
            after.append(errors(found, true)[found[..., 2] > 0].mean())
    measured(f"Clean Pose, {fault}: mean error {np.mean(before):.2f} px, cleaned {np.mean(after):.2f} px")
    assert np.mean(after) < REACHED[fault]
    if fault not in ("missing", "empty"):
        assert np.mean(after) < 0.8 * np.mean(before)


@pytest.mark.parametrize("motion", MOTIONS)
def test_true_motion_is_kept(motion: str) -> None:
    """Wrists, ankles and the root keep their swings; 24 frames a cycle."""
    for style in range(4):
        true = truth(motion, style)
        found, report = cleaned(true, CleanSettings())
        assert not report.outliers.any() and not report.swaps.any() and not report.filled.any()
        assert errors(found, true).mean() < 0.7
        swings = np.ptp(true[..., :2], axis=0)
        for point in (R_WRIST, L_WRIST, NECK):
            wide = swings[point] > 30
            kept = np.ptp(found[:, point, :2], axis=0)[wide] / swings[point][wide]
            assert (kept > 0.95).all(), (style, point, kept)


def test_jitter_at_rest_goes_and_low_scores_count_less() -> None:
    still = np.repeat(truth("walk")[:1], 240, axis=0)
    jitter = np.random.default_rng(0).normal(0, 2, (240, 18, 2))

    def trembling(settings: CleanSettings, unsure: float = 1) -> float:
        """Every third sight errs three times as much."""
        points = still.copy()
        points[..., :2] += jitter
        points[::3, :, :2] += 2 * jitter[::3]
        points[::3, :, 2] = unsure
        return float(np.diff(cleaned(points, settings)[0][..., :2], axis=0).std())

    before = trembling(CleanSettings(smooth=0))
    weak, default, strong = (trembling(CleanSettings(smooth=s)) for s in (0.25, 0.5, 1))
    assert strong < default < weak < before
    assert default < 0.3 * before
    assert trembling(CleanSettings(), 0.35) < 0.9 * default


def test_the_figures_size_does_not_matter() -> None:
    points = spoil(truth("dance"), "all", np.random.default_rng(2))
    large = points * np.float32([4, 4, 1])
    small_found, small_report = cleaned(points)
    large_clip, large_report = clean(body_clip(large, 4 * WIDTH, 4 * HEIGHT))
    assert np.allclose(large_clip.points[:, 0, BODY, :2], 4 * small_found[..., :2], atol=0.02)
    assert large_report.text() == small_report.text()


# ---------------------------------------------------------------------------------------------------------------------------------- swaps

def turning(points: Array, start: int, frames: int) -> Array:
    """The figure turns its back to us: all that is at its sides crosses the middle."""
    angle = ((np.arange(len(points)) - start) / frames).clip(0, 1) * np.pi
    root = points[:, [R_HIP, L_HIP], 0].mean(axis=1, keepdims=True)
    out = points.copy()
    out[..., 0] = root + (points[..., 0] - root) * np.cos(angle)[:, None]
    return out


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize("length", [1, 3, 8])
def test_swaps_are_undone(motion: str, length: int) -> None:
    true = truth(motion)
    points = true.copy()
    frames = np.zeros((len(SWAP_GROUPS), FRAMES), bool)
    for group, (name, right, left, _) in enumerate(SWAP_GROUPS):
        for start in (10 + 3 * group, 40 + 7 * group, 75):
            frames[group, start:start + length] = True
        for a, b in zip(right, left, strict=True):
            if a < 18:
                points[np.ix_(frames[group], [a, b])] = points[np.ix_(frames[group], [b, a])]
        assert not np.array_equal(points, true), name
    found, report = cleaned(points, CleanSettings(remove_outliers=0, smooth=0))
    assert np.array_equal(report.swaps.T, frames)
    assert np.array_equal(found, true)


def test_hands_and_feet_go_with_their_limbs() -> None:
    rng = np.random.default_rng(0)
    points = np.zeros((30, 1, NUM_POINTS, 3), np.float32)
    points[:, 0, BODY] = truth("dance", frames=30)
    for part, root in ((LEFT_HAND, L_WRIST), (RIGHT_HAND, R_WRIST), (slice(18, 21), L_ANKLE), (slice(21, 24), R_ANKLE)):
        points[:, 0, part] = points[:, 0, root, None]
        points[:, 0, part, :2] += rng.uniform(-20, 20, (part.stop - part.start, 2))
    true = points.copy()
    for first, second in ((range(92, 113), range(113, 134)), (range(18, 21), range(21, 24)),
                          ((2, 3, 4, 8, 9, 10), (5, 6, 7, 11, 12, 13))):
        points[np.ix_([12, 13], [0], [*first, *second])] = points[np.ix_([12, 13], [0], [*second, *first])]
    found, report = clean(PoseClip(points, WIDTH, HEIGHT), CleanSettings(remove_outliers=0, smooth=0))
    assert np.array_equal(found.points, true)
    assert report.swaps.sum(axis=0).tolist() == [2, 2, 0]


@pytest.mark.parametrize("frames", [6, 12, 24, 48])
@pytest.mark.parametrize("motion", MOTIONS)
def test_a_turn_is_no_swap(motion: str, frames: int) -> None:
    points = turning(truth(motion), 30, frames)
    points[..., :2] += np.random.default_rng(1).normal(0, 2, (FRAMES, 18, 2))
    assert np.sign(points[-1, R_HIP, 0] - points[-1, L_HIP, 0]) != np.sign(points[0, R_HIP, 0] - points[0, L_HIP, 0])
    assert not cleaned(points)[1].swaps.any()


@pytest.mark.parametrize("period", [14.3, 17.1, 24.7, 32.2])
def test_crossing_legs_are_no_swap(period: float) -> None:
    """A walk seen from the side: legs pass each other twice a cycle, at up to 60 pixels a frame. The same walk's swaps are found."""
    points = truth("walk")
    points[..., 0] = 256 + 0.05 * (points[..., 0] - 256)
    swing = 120 * np.sin(2 * np.pi * np.arange(FRAMES) / period)
    for side, knee, ankle in ((1, R_KNEE, R_ANKLE), (-1, L_KNEE, L_ANKLE)):
        points[:, knee, 0] += side * swing / 2
        points[:, ankle, 0] += side * swing
    points[..., :2] += np.random.default_rng(4).normal(0, 2, (FRAMES, 18, 2))
    assert not cleaned(points)[1].swaps.any()
    widest = np.abs(swing[10:-10]).argmax() + 10
    legs, other = [R_HIP, R_KNEE, R_ANKLE, L_HIP, L_KNEE, L_ANKLE], [L_HIP, L_KNEE, L_ANKLE, R_HIP, R_KNEE, R_ANKLE]
    points[widest, legs] = points[widest, other]
    assert np.flatnonzero(cleaned(points)[1].swaps[:, 1]).tolist() == [widest]


# ------------------------------------------------------------------------------------------------------------------------------- outliers

def leaps(x: Array, seen: Array, fps: float = 24) -> Array:
    """Of points that hang on each other in a row."""
    points = np.arange(x.shape[1])
    company = np.concatenate([np.stack([points[1:], points[:-1]], -1), np.stack([points[:-1], points[1:]], -1)])
    return find_leaps(x, seen, np.ones((len(x), 1)), points - 1, company, fps, 0.05, 4)


def test_single_leaps_go_and_fast_motion_stays() -> None:
    frames = np.arange(72)
    # a hand waving three times a second, 30% of body height wide
    x = np.stack([0.15 * np.sin(2 * np.pi * frames / 8), 0.01 * frames], axis=-1)[:, None]
    seen = np.ones((72, 1), bool)
    assert not leaps(x, seen).any()
    step = np.where(frames < 30, 0.0, 0.5)  # a leap that does not come back is a move
    assert not leaps(np.stack([step, step], axis=-1)[:, None], seen).any()
    wrong = np.zeros((72, 1), bool)
    wrong[[0, 9, 31, 50, 71]] = True
    seen[[8, 20, 33]] = False
    assert np.array_equal(leaps(x + 0.4 * wrong[..., None], seen), wrong)


def test_a_leap_of_three_frames_in_a_calm_scene_goes() -> None:
    x = np.random.default_rng(0).normal(0, 0.003, (60, 1, 2))
    x[30:33] += 0.2
    assert np.flatnonzero(leaps(x, np.ones((60, 1), bool))).tolist() == [30, 31, 32]


def test_what_a_limb_carries_stays_and_a_stretched_limb_does_not() -> None:
    """At 12 frames per second, a kick of two frames: the ankle with the knee. The same leap of the ankle alone."""
    x = np.zeros((36, 2, 2))
    x[:, 1, 1] = 0.25
    seen = np.ones((36, 2), bool)
    alone = x.copy()
    alone[20, 1] += (0.3, 0)
    assert np.argwhere(leaps(alone, seen, 12)).tolist() == [[20, 1]]
    kick = x.copy()
    kick[20:22, 0] += (0.22, 0)
    kick[20:22, 1] += (0.35, -0.2)
    assert not leaps(kick, seen, 12).any()


def test_a_limb_seen_for_an_instant_is_no_limb() -> None:
    """A half figure, with an ankle seen in two frames of 96; but a clip that shows little is not emptied."""
    points = truth("wave")
    legs = [R_KNEE, R_ANKLE, L_KNEE, L_ANKLE]
    ankle = points[40:42, R_ANKLE].copy()
    points[:, legs] = 0
    points[40:42, R_ANKLE] = ankle
    found, report = cleaned(points)
    assert not found[:, legs].any()
    assert report.outliers.nonzero()[0].tolist() == [40, 41]
    rare = truth("wave")
    rare[np.arange(FRAMES) % 30 != 10] = 0
    found, report = cleaned(rare)
    assert not report.outliers.any() and (found[..., 2] == 1).all()


# ----------------------------------------------------------------------------------------------------------------------------------- gaps

def single(values: list[float | None], point: int = NECK, score: float = 1.0) -> Array:
    """A clip of one point that moves along x; None: not seen."""
    points = np.zeros((len(values), 18, 3), np.float32)
    for frame, value in enumerate(values):
        if value is not None:
            points[frame, point] = 200 + value, 300, score
    return points


def filled(values: list[float | None], max_gap: int, long_gaps: str, point: int = NECK) -> list[float | None]:
    settings = CleanSettings(0, 0, max_gap / 24, long_gaps, 0)
    found, _ = cleaned(single(values, point), settings)
    return [round(float(x) - 200, 3) if score else None for x, _, score in found[:, point]]


@pytest.mark.parametrize(("values", "max_gap", "long_gaps", "expected"), [
    ([10, None, 20], 1, "hide", [10, 15, 20]),
    ([10, None, None, 40], 2, "hide", [10, 20, 30, 40]),
    ([10, None, None, 40], 1, "hide", [10, None, None, 40]),
    ([10, None, None, 40], 1, "hold", [10, 10, 40, 40]),
    ([10, None, None, None, 50], 2, "hold", [10, 10, 10, 50, 50]),
    ([None, None, 10, 20, None], 2, "hide", [10, 10, 10, 20, 20]),
    ([None, None, 10, 20, None], 1, "hide", [None, None, 10, 20, 20]),
    ([None, None, None, 10, None, None], 1, "hold", [10] * 6),
    ([10, None, 20], 0, "hold", [10, 10, 20]),
    ([10, None, 20], 0, "hide", [10, None, 20]),
])
def test_gap_rules(values: list[float | None], max_gap: int, long_gaps: str, expected: list[float | None]) -> None:
    for point in (NECK, R_WRIST):  # one that hangs on nothing, and one that hangs on points that are never seen
        assert filled(values, max_gap, long_gaps, point) == expected


def test_what_is_held_moves_with_the_body() -> None:
    """A wrist lost for good, 30 pixels below an elbow that goes on: it stays below it."""
    points = np.zeros((20, 18, 3), np.float32)
    frames = np.arange(20)
    points[:, 3] = np.stack([100 + 5 * frames, 200 + 0 * frames, 1 + 0 * frames], axis=-1)
    points[:12, 4] = points[:12, 3] + (0, 30, 0)
    found, _ = cleaned(points, CleanSettings(0, 0, 4 / 24, "hold", 0))
    assert np.allclose(found[:, 4, :2], points[:, 3, :2] + (0, 30), atol=1e-3)


def test_scores_of_filled_points() -> None:
    points = single([10, None, None, 40])
    points[0, NECK, 2], points[3, NECK, 2] = 0.9, 0.6
    found, _ = cleaned(points, CleanSettings(0, 0, 2 / 24, "hide", 0))
    assert found[:, NECK, 2].tolist() == pytest.approx([0.9, 0.8, 0.7, 0.6])
    points[1, NECK] = 215, 300, 0.3  # a score at the threshold counts as not seen
    assert cleaned(points, CleanSettings(0, 0, 2 / 24, "hide", 0))[0][1, NECK].tolist() == pytest.approx([220, 300, 0.8], abs=1e-4)
    assert cleaned(points, CleanSettings(0, 0, 2 / 24, "hide", 0, 0.25))[0][1, NECK].tolist() == pytest.approx([215, 300, 0.3], abs=1e-4)


def test_points_never_seen_stay_missing_and_off_is_off() -> None:
    points = truth("jump")
    points[:, [R_ANKLE, L_WRIST]] = 0
    found, _ = cleaned(points)
    assert not found[:, [R_ANKLE, L_WRIST]].any()
    assert np.array_equal(np.delete(cleaned(points, OFF)[0], [R_ANKLE, L_WRIST], axis=1), np.delete(points, [R_ANKLE, L_WRIST], axis=1))


def test_people_are_cleaned_each_by_themselves() -> None:
    points = np.zeros((FRAMES, 3, NUM_POINTS, 3), np.float32)
    rng = np.random.default_rng(3)
    for row, motion in ((0, "dance"), (2, "jump")):  # nobody is ever in row 1
        points[:, row, BODY] = spoil(truth(motion, row), "all", rng)
    found, report = clean(PoseClip(points, WIDTH, HEIGHT))
    assert not found.points[:, 1].any()
    singles = [clean(PoseClip(points[:, [row]], WIDTH, HEIGHT)) for row in (0, 2)]
    for row, (alone, _) in zip((0, 2), singles, strict=True):
        assert np.array_equal(found.points[:, row], alone.points[:, 0])
    assert np.array_equal(report.filled, singles[0][1].filled + singles[1][1].filled)
    assert np.array_equal(report.nobody, singles[0][1].nobody & singles[1][1].nobody)


# -------------------------------------------------------------------------------------------------------------------------------- filters

def test_parabolas_pass_and_the_weights_are_clevelands() -> None:
    t = np.arange(40.0)
    x = np.stack([0.01 * t**2 - t, 3 + 0 * t], axis=-1)[:, None]
    weight = np.random.default_rng(0).random((40, 1)) + 0.1
    weight[[7, 20, 21]] = 0
    assert np.allclose(local_polynomial(x, weight, 5), x, atol=0.01)
    # by numpy's own least squares, at a middle frame and at the first one
    noisy = x + np.random.default_rng(1).normal(0, 1, x.shape)
    out = local_polynomial(noisy, weight, 5)
    for frame in (0, 13, 30):
        window = np.arange(max(0, frame - 5), frame + 6)
        tricube = (1 - np.abs((window - frame) / 6) ** 3) ** 3
        root = np.sqrt(tricube * weight[window, 0])
        assert np.polyval(np.polyfit(window - frame, noisy[window, 0, 0], 2, w=root), 0) == pytest.approx(out[frame, 0, 0], abs=0.05)


@pytest.mark.parametrize("fps", [8, 12, 24, 60])
def test_smoothing_is_never_nothing_and_knows_jitter_from_motion(fps: int) -> None:
    """A swing of 1 Hz, 20% of body height wide, under jitter of 0.5%: less error than before at every rate, and no motion lost."""
    t = np.arange(10 * fps) / fps
    true = np.stack([0.1 * np.sin(2 * np.pi * t), 0.3 * np.sin(0.7 * t)], axis=-1)[:, None].repeat(20, axis=1)
    seen, scale = np.ones(true.shape[:2], bool), np.ones((len(t), 1))
    noisy = true + np.random.default_rng(fps).normal(0, 0.005, true.shape)
    out = smooth(noisy, seen, scale, np.ones(seen.shape), fps, 0.5)
    assert np.std(out - true) < {8: 0.95, 12: 0.8, 24: 0.6, 60: 0.45}[fps] * 0.005
    clean = smooth(true, seen, scale, np.ones(seen.shape), fps, 0.5)
    assert np.abs(clean - true).max() < 0.005
    assert np.sqrt(jitter(noisy, seen, 24)).mean() == pytest.approx(0.005, rel=0.35)


def test_nothing_lags() -> None:
    """Played backwards, a clip is cleaned to nearly the same; and a swing's turning points stay in their frames."""
    points = truth("swing")
    forth, back = cleaned(points)[0], cleaned(points[::-1].copy())[0][::-1]
    assert errors(forth, back).mean() < 0.1
    shift = [np.abs(np.roll(forth[:, R_WRIST, 1], k) - points[:, R_WRIST, 1])[5:-5].mean() for k in (-1, 0, 1)]
    assert shift[1] < min(shift[0], shift[2]) / 4


def test_without_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.ndimage", None)
    with pytest.raises(PoseError, match="pip install scipy"):
        cleaned(truth("walk"))


# ------------------------------------------------------------------------------------------------------------------- report, errors, edges

def test_report_text() -> None:
    points = truth("wave")
    points[12:16] = 0
    points[[30, 31, 33], NECK] = 0
    _, report = cleaned(points, CleanSettings(max_gap=4 / 24, smooth=0))
    assert report.text().splitlines() == [
        "96 frames: 4 without a person, 0 swaps corrected, 0 outliers removed, 75 points filled, 0 hidden",
        "frames 12-15: no person, filled",
        "frames 30-31: 2 points filled",
        "frame 33: 1 points filled",
    ]
    points[50, [R_HIP, R_KNEE, R_ANKLE, L_HIP, L_KNEE, L_ANKLE]] = points[50, [L_HIP, L_KNEE, L_ANKLE, R_HIP, R_KNEE, R_ANKLE]]
    points[60, R_WRIST, 0] += 200
    lines = cleaned(points, CleanSettings(max_gap=3 / 24, long_gaps="hide"))[1].text().splitlines()
    assert lines[1] == "frames 12-15: no person, left empty"
    assert lines[-2:] == ["frame 50: legs swap corrected", "frame 60: 1 outliers removed, 1 points filled"]
    assert cleaned(truth("wave"))[1].text() == ("96 frames: 0 without a person, 0 swaps corrected, 0 outliers removed, "
                                                "0 points filled, 0 hidden")


def test_nobody_at_all_is_refused() -> None:
    points = truth("walk")
    points[..., 2] = 0.3
    for empty in (points, np.zeros_like(points), np.zeros((1, 18, 3), np.float32)):
        with pytest.raises(PoseError, match=r"no person in any of the .*above 0\.3.*score_threshold"):
            cleaned(empty)
    assert cleaned(points, CleanSettings(score_threshold=0.1))[0].any()


@pytest.mark.parametrize("frames", [1, 2, 3, 4])
def test_short_clips(frames: int) -> None:
    points = truth("walk", frames=frames)
    found, _ = cleaned(points, CleanSettings())
    assert errors(found, points).max() < 6
    if frames == 1:
        assert np.array_equal(found, points)


@pytest.mark.parametrize(("changes", "message"), [
    ({"fix_swaps": 1.5}, "fix_swaps"), ({"smooth": -0.1}, "smooth"), ({"remove_outliers": float("nan")}, "remove_outliers"),
    ({"max_gap": -1}, "max_gap"), ({"max_gap": float("nan")}, "max_gap"), ({"fps": 0.0}, "fps"), ({"fps": float("inf")}, "fps"),
    ({"long_gaps": "guess"}, "hold or hide"), ({"score_threshold": 1.0}, "score_threshold"),
])
def test_settings_out_of_range(changes: dict, message: str) -> None:
    with pytest.raises(PoseError, match=message):
        CleanSettings(**changes)


def test_anything_comes_out_finite() -> None:
    """Random clips, random settings: no exception, no NaN, a canvas as before."""
    rng = np.random.default_rng(11)
    for _ in range(60):
        frames, people = int(rng.integers(1, 24)), int(rng.integers(1, 3))
        points = rng.normal(300, rng.choice([0, 5, 1e4]), (frames, people, NUM_POINTS, 3)).clip(-9e5, 9e5)
        points[..., 2] = rng.random(points.shape[:3]) * (rng.random(points.shape[:3]) < rng.random())
        points[0, 0, 0, 2] = 1
        settings = CleanSettings(*rng.random(2), rng.uniform(0, 0.5), str(rng.choice(["hold", "hide"])), rng.random(), 0.3,
                                 float(rng.choice([1, 12, 24, 120])))
        done = []
        found, report = clean(PoseClip(points, WIDTH, HEIGHT), settings, on_frame=lambda done=done: done.append(1))
        assert found.points.shape == points.shape and np.isfinite(found.points).all()
        assert (found.width, found.height) == (WIDTH, HEIGHT)
        assert report.text()
        assert frames == 1 or len(done) in (frames, 2 * frames)
