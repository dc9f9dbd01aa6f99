"""Clean Pose: what a detector gets wrong over a clip, put right. Swapped sides, leaping points, gaps, jitter, in this order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from . import filters
from .keypoints import (
    FACE,
    L_ANKLE,
    L_EAR,
    L_ELBOW,
    L_EYE,
    L_HIP,
    L_KNEE,
    L_SHOULDER,
    L_WRIST,
    LEFT_HAND,
    NECK,
    NOSE,
    R_ANKLE,
    R_EAR,
    R_ELBOW,
    R_EYE,
    R_HIP,
    R_KNEE,
    R_SHOULDER,
    R_WRIST,
    RIGHT_HAND,
    SCORE_THRESHOLD,
    PoseClip,
    PoseError,
)

Array = np.ndarray

FILTERS = ("one-euro", "savitzky-golay", "none")
LONG_GAPS = ("hold", "hide")

# Rough lengths between two points in body heights, to tell the scale of thresholds by; no more exact than that needs
SPANS = ((R_SHOULDER, L_SHOULDER, 0.23), (R_SHOULDER, R_ELBOW, 0.17), (L_SHOULDER, L_ELBOW, 0.17), (R_ELBOW, R_WRIST, 0.146),
         (L_ELBOW, L_WRIST, 0.146), (R_SHOULDER, R_HIP, 0.288), (L_SHOULDER, L_HIP, 0.288), (R_HIP, R_KNEE, 0.245), (L_HIP, L_KNEE, 0.245),
         (R_KNEE, R_ANKLE, 0.246), (L_KNEE, L_ANKLE, 0.246), (FACE.start, FACE.start + 16, 0.09),
         (LEFT_HAND.start, LEFT_HAND.start + 12, 0.108), (RIGHT_HAND.start, RIGHT_HAND.start + 12, 0.108))

# The right and left points of a group that detectors swap as a whole, and what each pair counts: a hand or a foot about as a joint
SWAP_GROUPS: tuple[tuple[str, tuple[int, ...], tuple[int, ...], tuple[float, ...]], ...] = (
    ("arms", (R_SHOULDER, R_ELBOW, R_WRIST, *range(RIGHT_HAND.start, RIGHT_HAND.stop)),
     (L_SHOULDER, L_ELBOW, L_WRIST, *range(LEFT_HAND.start, LEFT_HAND.stop)), (1.0,) * 3 + (0.1,) * 21),
    ("legs", (R_HIP, R_KNEE, R_ANKLE, 21, 22, 23), (L_HIP, L_KNEE, L_ANKLE, 18, 19, 20), (1.0,) * 3 + (0.3,) * 3),
    ("face", (R_EYE, R_EAR), (L_EYE, L_EAR), (1.0,) * 2),
)


def hangs_on() -> tuple[tuple[list[int], list[int]], ...]:
    """Points and the points that they hang on, outwards from the neck, which hangs on none: each step's parents are done before it."""
    steps: list[dict[int, int]] = [
        {NOSE: NECK, R_SHOULDER: NECK, L_SHOULDER: NECK, R_HIP: NECK, L_HIP: NECK},
        {R_ELBOW: R_SHOULDER, L_ELBOW: L_SHOULDER, R_KNEE: R_HIP, L_KNEE: L_HIP, R_EYE: NOSE, L_EYE: NOSE, R_EAR: NOSE, L_EAR: NOSE,
         **dict.fromkeys(range(FACE.start, FACE.stop), NOSE)},
        {R_WRIST: R_ELBOW, L_WRIST: L_ELBOW, R_ANKLE: R_KNEE, L_ANKLE: L_KNEE},
        {**dict.fromkeys((18, 19, 20), L_ANKLE), **dict.fromkeys((21, 22, 23), R_ANKLE),
         **dict.fromkeys(range(LEFT_HAND.start, LEFT_HAND.stop), L_WRIST),
         **dict.fromkeys(range(RIGHT_HAND.start, RIGHT_HAND.stop), R_WRIST)},
    ]
    return tuple((list(step), list(step.values())) for step in steps)


HANGS_ON = hangs_on()


@dataclass(frozen=True)
class CleanSettings:
    """How much is done. Strengths are 0 (off) to 1.

    fix_swaps: how little it takes for a swap. remove_outliers: how short a leap is taken out: at 0.5 from 5% of body height on.
    max_gap: longest gap in frames that is filled by interpolation; 0 fills none. long_gaps: longer ones `hold` the nearest sight or
    `hide` the point. smooth: against jitter. filter: one of FILTERS. score_threshold: a point of at most this score counts as not seen.
    fps: frames per second of the clip. Raises PoseError for values out of range.
    """

    fix_swaps: float = 0.5
    remove_outliers: float = 0.5
    max_gap: int = 12
    long_gaps: str = "hold"
    smooth: float = 0.5
    filter: str = "one-euro"
    score_threshold: float = SCORE_THRESHOLD
    fps: float = 24.0

    def __post_init__(self) -> None:
        for name in ("fix_swaps", "remove_outliers", "smooth"):
            if not 0 <= getattr(self, name) <= 1:
                raise PoseError(f"{name}: {getattr(self, name)} is no strength; 0 (off) to 1 is wanted")
        if not 0 <= self.score_threshold < 1:
            raise PoseError(f"score_threshold: {self.score_threshold} is no score; 0 up to less than 1 is wanted")
        if self.max_gap < 0:
            raise PoseError(f"max_gap: {self.max_gap} is no number of frames; 0 or more is wanted")
        if not (self.fps > 0 and np.isfinite(self.fps)):
            raise PoseError(f"fps: {self.fps} is no frame rate; the video's frames per second are wanted")
        for name, choices in (("filter", FILTERS), ("long_gaps", LONG_GAPS)):
            if getattr(self, name) not in choices:
                raise PoseError(f"{name}: {getattr(self, name)!r} is unknown; there are: {', '.join(choices)}")


@dataclass(frozen=True)
class CleanReport:
    """What was done, per frame, all people together.

    swaps `[F, 3]`: groups (SWAP_GROUPS) whose sides were put back. outliers, filled, hidden `[F]`: points taken out; points without a
    sight that have a place now; points of the clip that are missing still. nobody `[F]` bool: frames in which nobody was found.
    """

    swaps: Array
    outliers: Array
    filled: Array
    hidden: Array
    nobody: Array

    def events(self, frame: int) -> list[str]:
        """What happened in a frame, without numbers."""
        told = ["nobody found, " + ("filled" if self.filled[frame] else "left empty")] if self.nobody[frame] else []
        told += [f"{name} swapped back" for (name, *_), count in zip(SWAP_GROUPS, self.swaps[frame], strict=True) if count]
        for name, counts in (("outliers removed", self.outliers), ("points filled", self.filled), ("points hidden", self.hidden)):
            if counts[frame] and not self.nobody[frame]:
                told.append(name)
        return told

    def text(self) -> str:
        """A summary, and below it the frames in which something happened; frames are counted from 0."""
        lines = [f"{len(self.nobody)} frames: {self.nobody.sum()} with nobody, {self.swaps.sum()} swaps undone, {self.outliers.sum()} "
                 f"outliers removed, {self.filled.sum()} points filled, {self.hidden.sum()} hidden"]
        for events, group in groupby(range(len(self.nobody)), key=self.events):
            frames = list(group)
            span = slice(frames[0], frames[-1] + 1)
            numbers = {"outliers removed": self.outliers, "points filled": self.filled, "points hidden": self.hidden}
            told = [f"{numbers[event][span].sum()} {event}" if event in numbers else event for event in events]
            if told:
                where = f"frame {frames[0]}" if len(frames) == 1 else f"frames {frames[0]}-{frames[-1]}"
                lines.append(f"{where}: {', '.join(told)}")
        return "\n".join(lines)


def clean(clip: PoseClip, settings: CleanSettings | None = None,
          on_frame: Callable[[], None] | None = None) -> tuple[PoseClip, CleanReport]:
    """Swaps undone, outliers taken out, gaps filled, jitter smoothed; each row of people by itself.

    A row must be one person throughout. Points that are never seen stay missing, and so does a row in which nobody is ever seen. A clip
    of one frame comes back as it is. on_frame is called once a frame of every person. Raises PoseError if nobody is seen in the whole
    clip.
    """
    settings = settings or CleanSettings()
    seen = clip.scores > settings.score_threshold
    if not seen.any():
        raise PoseError(f"none of the {len(clip)} frames shows anybody: no point has a score above {settings.score_threshold:g}. A clip "
                        "with a person in at least one frame is wanted; or lower score_threshold")
    frames = len(clip)
    outliers, filled, hidden = np.zeros((3, frames), int)
    report = CleanReport(np.zeros((frames, len(SWAP_GROUPS)), int), outliers, filled, hidden, nobody=np.asarray(~seen.any(axis=(1, 2))))
    if frames == 1:
        return clip, report
    points = np.zeros_like(clip.points)
    for row in np.flatnonzero(seen.any(axis=(0, 2))).tolist():
        size = body_height(clip.person(row), seen[:, row]) or clip.height
        points[:, row] = clean_person(clip.person(row), seen[:, row], size, settings, report, on_frame or (lambda: None))
    return clip.of(points), report


def clean_person(points: Array, seen: Array, size: float, settings: CleanSettings, report: CleanReport,
                 on_frame: Callable[[], None]) -> Array:
    """One person's points `[F, 134, 3]`, seen `[F, 134]`, size: body height in pixels. Adds to the report; returns new points."""
    places, scores, seen = points[..., :2].astype(float) / size, points[..., 2:].astype(float), seen.copy()
    if settings.fix_swaps:
        for group, (_, right, left, weights) in enumerate(SWAP_GROUPS):
            swapped = find_swaps(places, seen, right, left, weights, settings.fix_swaps)
            report.swaps[:, group] += swapped
            both, other = np.array(right + left), np.array(left + right)
            for values in (places, scores, seen):
                values[np.ix_(swapped, both)] = values[np.ix_(swapped, other)]
    if settings.remove_outliers:
        # at 0.5 the usual four sigma of Hampel's test; a quarter of a second is the window, a tenth the longest stray sight
        half = max(1, round(settings.fps / 8))
        wrong = filters.find_outliers(places, seen, half, factor=2 / settings.remove_outliers, floor=0.025 / settings.remove_outliers)
        wrong |= filters.strays(seen & ~wrong, max(1, round(settings.fps / 10)), max(settings.max_gap, 1))
        report.outliers[:] += wrong.sum(axis=1)
        seen &= ~wrong
    gaps = filters.gap_lengths(seen)
    known = seen.any(axis=0) & (np.ones_like(seen) if settings.long_gaps == "hold" else gaps <= settings.max_gap)
    report.filled[:] += (known & ~seen).sum(axis=1)
    report.hidden[:] += (seen.any(axis=0) & ~known).sum(axis=1)
    places = fill_places(places, seen, gaps > settings.max_gap)
    scores = np.where((gaps > settings.max_gap)[..., None], filters.hold(scores, seen), filters.fill(scores, seen))
    places = smooth(places, known, scores[..., 0], settings, on_frame)
    return np.where(known[..., None], np.concatenate([places * size, scores], axis=-1), 0).astype(np.float32)


def body_height(points: Array, seen: Array) -> float:
    """Height in pixels of a person `[F, 134, 3]` standing upright, judged by the limbs that are seen; 0 if it cannot be told."""
    heights = []
    for a, b, share in SPANS:
        both = seen[:, a] & seen[:, b]
        if both.any():
            heights.append(np.median(np.linalg.norm(points[both, a, :2] - points[both, b, :2], axis=-1)) / share)
    return float(np.median(heights)) if heights else 0.0


def find_swaps(places: Array, seen: Array, right: Sequence[int], left: Sequence[int], weights: Sequence[float], strength: float) -> Array:
    """`[F]` bool: the frames in which a group's right and left are exchanged, in the cheapest reading of the whole clip.

    A reading costs what all points travel from frame to frame, in units of the distance between right and left, plus a little for each
    frame read as swapped and for each change: so the majority is right, and a person who turns, whose sides cross without a leap, stays
    as they are. Two states a frame; exact by dynamic programming. places `[F, 134, 2]` in body heights.
    """
    sides = np.stack([filters.fill(places[:, list(s)], seen[:, list(s)]) for s in (right, left)])
    trust = np.stack([np.where(seen[:, list(s)], 1, 0.25) for s in (right, left)]) * weights  # a place between two sights says less
    both = seen[:, list(right)] & seen[:, list(left)]
    if not both.any():
        return np.zeros(len(seen), bool)
    apart = np.where(both, np.linalg.norm(sides[0] - sides[1], axis=-1), np.nan)[:, both.any(axis=0)]
    unit = max(0.02, float(np.nanmedian(apart, axis=0) @ np.asarray(weights)[both.any(axis=0)]))
    travel = np.zeros((len(seen) - 1, 2))  # by whether right and left change places
    for change in (0, 1):
        for side in (0, 1):
            way = np.linalg.norm(sides[side, 1:] - sides[side ^ change, :-1], axis=-1).clip(max=1)
            travel[:, change] += (way * np.minimum(trust[side, 1:], trust[side ^ change, :-1])).sum(axis=-1) / (2 * unit)
    travel[:, 1] += 0.1 / strength
    swapped_costs = 0.015 / strength
    cost, came_from = np.array([0, swapped_costs]), np.zeros((len(seen), 2), int)
    for t, (stay, change_) in enumerate(travel.tolist(), start=1):
        ways = cost[:, None] + [[stay, change_], [change_, stay]]
        came_from[t] = ways.argmin(axis=0)
        cost = ways.min(axis=0) + (0, swapped_costs)
    states = np.zeros(len(seen), bool)
    state = int(cost.argmin())
    for t in range(len(seen) - 1, -1, -1):
        states[t], state = state, came_from[t, state]
    return states


def fill_places(places: Array, seen: Array, long: Array) -> Array:
    """All gaps filled: by a straight line in time, and where `long [F, 134]`, with the nearest sight.

    What is held is the way from the point that a point hangs on (a wrist on its elbow), so that it moves along with the body; held in
    the picture, it would tear off. places `[F, 134, 2]`.
    """
    out = np.where(long[..., None], filters.hold(places, seen), filters.fill(places, seen))
    for points, parents in HANGS_ON:
        base = out[:, parents]
        held = base + filters.hold(places[:, points] - base, seen[:, points])
        out[:, points] = np.where(long[:, points, None], held, out[:, points])
    return out


def smooth(places: Array, known: Array, scores: Array, settings: CleanSettings, on_frame: Callable[[], None]) -> Array:
    """Jitter taken out of places `[F, 134, 2]` (body heights); the less a point's score, the more."""
    active = known.any(axis=0)
    x, known, trust = places[:, active], known[:, active], 0.3 + 0.7 * scores[:, active]
    if settings.smooth and settings.filter == "one-euro":
        # at rest 1 Hz for a strength of 0.5; at a body height a second, 20 Hz more
        x = filters.smooth_one_euro(x, known, settings.fps, 0.5 / settings.smooth, 10 / settings.smooth, trust, on_frame)
    else:
        if settings.smooth and settings.filter == "savitzky-golay":
            x = filters.smooth_savgol(x, known, max(1, round(settings.smooth * settings.fps / 4)), trust)
        for _ in range(len(places)):
            on_frame()
    out = places.copy()
    out[:, active] = x
    return out
