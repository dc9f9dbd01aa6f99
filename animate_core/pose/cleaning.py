"""Clean Pose: what a detector gets wrong over a clip, put right. Swapped sides, leaping points, jitter, gaps, in this order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from . import filters
from .keypoints import BODY, FEET, HANGS_ON, HEAD_POINTS, NECK, NUM_POINTS, SCORE_THRESHOLD, SPANS, SWAP_GROUPS, PoseClip, PoseError
from .swaps import find_swaps

Array = np.ndarray

LONG_GAPS = ("hold", "hide")

RARE = 0.25  # a point seen in a smaller share of the person's frames within a second is none of theirs, unless for LASTING at a time
LASTING = 0.2  # seconds
OFTEN = 0.5  # a point must be seen in such a share of the person's frames to be held
BORDER = 0.03  # body heights: a point last seen so near the border, or about to be within SOON, left the picture
SOON = 0.1  # seconds

BONES = [bone for step in HANGS_ON for bone in step.items()]
PARENTS = np.full(NUM_POINTS, -1)
PARENTS[[point for point, _ in BONES]] = [parent for _, parent in BONES]
# Points and what they move with: what they hang on, in body and feet what hangs on them, and the same joint of the other side
COMPANY = np.array([*BONES, *((parent, point) for point, parent in BONES if point < FEET.stop),
                    *(pair for _, right, left, _ in SWAP_GROUPS for a, b in zip(right, left, strict=True) for pair in ((a, b), (b, a)))])


@dataclass(frozen=True)
class CleanSettings:
    """How much is done. Strengths are 0 (off) to 1.

    fix_swaps: how little it takes for a swap. remove_outliers: how short a leap is taken out: at 0.5 from 5 % of body height on.
    max_gap: longest gap in seconds that is filled by interpolation; 0 fills none. long_gaps: longer ones are hidden (`hide`), or a point
    that is often seen and did not leave the picture holds its nearest sight (`hold`). smooth: against jitter. score_threshold: a point of
    at most this score counts as not seen. fps: frames per second of the clip. Raises PoseError for values out of range.
    """

    fix_swaps: float = 0.5
    remove_outliers: float = 0.5
    max_gap: float = 0.5
    long_gaps: str = "hold"
    smooth: float = 0.5
    score_threshold: float = SCORE_THRESHOLD
    fps: float = 24.0

    def __post_init__(self) -> None:
        strength = "0 (off) to 1"
        for name, valid, wanted in (
                ("fix_swaps", 0 <= self.fix_swaps <= 1, strength), ("remove_outliers", 0 <= self.remove_outliers <= 1, strength),
                ("smooth", 0 <= self.smooth <= 1, strength), ("score_threshold", 0 <= self.score_threshold < 1, "0 up to less than 1"),
                ("max_gap", self.max_gap >= 0, "0 seconds or more"),
                ("long_gaps", self.long_gaps in LONG_GAPS, " or ".join(LONG_GAPS)), ("fps", 0 < self.fps < np.inf, "above 0")):
            if not valid:
                raise PoseError(f"{name} must be {wanted}; got {getattr(self, name)!r}")


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

    def text(self) -> str:
        """A summary, and below it the frames in which something happened; frames are counted from 0."""
        numbers = {"outliers removed": self.outliers, "points filled": self.filled, "points hidden": self.hidden}

        def events(frame: int) -> list[str]:
            told = ["no person, " + ("filled" if self.filled[frame] else "left empty")] if self.nobody[frame] else []
            told += [f"{name} swap corrected" for (name, *_), count in zip(SWAP_GROUPS, self.swaps[frame], strict=True) if count]
            return told + [name for name, counts in numbers.items() if counts[frame] and not self.nobody[frame]]

        lines = [f"{len(self.nobody)} frames: {self.nobody.sum()} without a person, {self.swaps.sum()} swaps corrected, "
                 f"{self.outliers.sum()} outliers removed, {self.filled.sum()} points filled, {self.hidden.sum()} hidden"]
        for told, group in groupby(range(len(self.nobody)), key=events):
            first, *_, last = (*group,) * 2
            if told:
                counted = [f"{numbers[event][first:last + 1].sum()} {event}" if event in numbers else event for event in told]
                lines.append(f"frame{f' {first}' if first == last else f's {first}-{last}'}: {', '.join(counted)}")
        return "\n".join(lines)


def clean(clip: PoseClip, settings: CleanSettings | None = None,
          on_frame: Callable[[], None] = lambda: None) -> tuple[PoseClip, CleanReport]:
    """Swaps undone, outliers taken out, jitter smoothed, gaps filled; each row of people by itself.

    A row must be one person throughout. Points that are never seen stay missing, and so does a row in which nobody is ever seen. A clip
    of one frame comes back as it is. on_frame is called once a frame of every person. Raises PoseError if nobody is seen in the whole
    clip.
    """
    settings = settings or CleanSettings()
    seen = clip.scores > settings.score_threshold
    if not seen.any():
        raise PoseError(f"no person in any of the {len(clip)} frames: no point has a score above {settings.score_threshold:g}. Use a "
                        "clip with a person in at least one frame, or lower score_threshold")
    frames = len(clip)
    outliers, filled, hidden = np.zeros((3, frames), int)
    report = CleanReport(np.zeros((frames, len(SWAP_GROUPS)), int), outliers, filled, hidden, nobody=np.asarray(~seen.any(axis=(1, 2))))
    if frames == 1:
        return clip, report
    points = np.zeros_like(clip.points)
    for row in np.flatnonzero(seen.any(axis=(0, 2))).tolist():
        size = body_height(clip.person(row), seen[:, row]) or clip.height
        points[:, row] = clean_person(clip, row, seen[:, row], size, settings, report)
        for _ in range(frames):
            on_frame()
    return clip.of(points), report


def clean_person(clip: PoseClip, row: int, seen: Array, size: float, settings: CleanSettings, report: CleanReport) -> Array:
    """One person's new points `[F, 134, 3]`. seen `[F, 134]`; size: body height in pixels. Adds to the report."""
    points, seen, fps = clip.person(row), seen.copy(), settings.fps
    places, scores = points[..., :2].astype(float) / size, points[..., 2:].astype(float)
    if settings.fix_swaps:
        swaps = find_swaps(places, scores[..., 0], seen, fps, settings.fix_swaps)
        report.swaps[:] += swaps
        for group, (_, right, left, _) in enumerate(SWAP_GROUPS):
            both, other = np.array(right + left), np.array(left + right)
            for values in (places, scores, seen):
                values[np.ix_(swaps[:, group], both)] = values[np.ix_(swaps[:, group], other)]
    scale, sights = zoom(places, seen, fps), seen.copy()
    if settings.remove_outliers:
        # at 0.5 four times the usual leap, as in Hampel's test
        floor, factor = 0.025 / settings.remove_outliers, 2 / settings.remove_outliers
        seen &= ~filters.find_leaps(places, seen, scale, PARENTS, COMPANY, fps, floor, factor)
        seen &= ~rare(seen, fps)
        report.outliers[:] += (sights & ~seen).sum(axis=1)
    if settings.smooth:
        places = filters.smooth(places, seen, scale, 0.3 + 0.7 * scores[..., 0], fps, settings.smooth)
    gaps = filters.gap_lengths(seen)
    long = gaps > settings.max_gap * fps + 1e-6  # what a number of frames was made seconds of
    border = leaving(places * size, seen, scale * size, (clip.width, clip.height), fps)
    one_sided = (filters.last_seen(seen) < 0) | (filters.next_seen(seen) >= len(seen))
    known = seen | (~long & ~(one_sided & border))
    if settings.long_gaps == "hold":
        known |= held(seen, known, border)
    report.filled[:] += (known & ~seen).sum(axis=1)
    report.hidden[:] += (sights.any(axis=0) & ~known).sum(axis=1)
    places = fill_places(places, seen, long)
    scores = np.where(long[..., None], filters.hold(scores, seen), filters.fill(scores, seen))
    return np.where(known[..., None], np.concatenate([places * size, scores], axis=-1), 0).astype(np.float32)


def limb_lengths(places: Array, seen: Array) -> Array:
    """`[F, up to len(SPANS)]`: the body height that each limb seen in the clip would have in an upright figure; NaN where it is not."""
    a, b, share = (list(values) for values in zip(*SPANS, strict=True))
    both = seen[:, a] & seen[:, b]
    return np.where(both, np.linalg.norm(places[:, a] - places[:, b], axis=-1) / share, np.nan)[:, both.any(axis=0)]


def body_height(points: Array, seen: Array) -> float:
    """Height in pixels of a person `[F, 134, 3]` standing upright, judged by the limbs that are seen; 0 if it cannot be told."""
    lengths = limb_lengths(points[..., :2], seen)
    return float(np.median(np.nanmedian(lengths, axis=0))) if lengths.size else 0.0


def zoom(places: Array, seen: Array, fps: float) -> Array:
    """`[F, 1]`: how large the person is in each frame, beside their size over the clip; limbs turned away hardly count."""
    lengths = limb_lengths(places, seen)
    if not lengths.size:
        return np.ones((len(places), 1))
    lengths /= np.maximum(np.nanmedian(lengths, axis=0), 1e-6)
    known = np.isfinite(lengths)
    size, some = filters.quantile(lengths.T, known.T, 0.75)[:, None], known.any(axis=1, keepdims=True)
    return np.asarray(filters.fill(filters.running_median(size, some, max(1, round(fps / 2)))[..., None], some)[..., 0].clip(0.2, 5))


def rare(seen: Array, fps: float) -> Array:
    """`[F, 134]` bool: sights of a point that is hardly ever seen about then, while others are: RARE, LASTING.

    A point of the clip's most frames that is back in its last ones (or leaves in its first) may have lasted, had the clip gone on.
    """
    half = max(1, round(fps))
    share = filters.window_mean(seen, half) / np.maximum(filters.window_mean(np.any(seen, axis=1, keepdims=True), half), 1e-9)
    often = seen.sum(axis=0) >= OFTEN * np.any(seen, axis=1).sum()
    cut = often & ((filters.next_seen(~seen) >= len(seen)) | (filters.last_seen(~seen) < 0))
    return seen & (share < RARE) & (filters.gap_lengths(~seen) < max(2, round(LASTING * fps))) & ~cut


def leaving(places: Array, seen: Array, height: Array, canvas: tuple[int, int], fps: float) -> Array:
    """`[F, 134]` bool: gaps at whose beginning or end the point is at the border, or on its way there. In pixels; height `[F, 1]`."""
    soon, edge, out = max(1, round(SOON * fps)), BORDER * height[..., None], np.zeros(seen.shape, bool)
    last, following = filters.last_seen(seen), filters.next_seen(seen)
    for at, other in ((last, filters.take(last, last - soon)), (following, filters.take(following, following + soon))):
        other = np.where((other >= 0) & (other < len(seen)), other, at)
        here, away = filters.take(places, at), np.maximum(np.abs(at - other), 1)[..., None]
        both = np.stack([here, here + soon * (here - filters.take(places, other)) / away])  # now, and going on as it went
        out |= (at >= 0) & (at < len(seen)) & ((both < edge) | (both > np.array(canvas) - edge)).any(axis=(0, -1))
    return ~seen & out


def held(seen: Array, known: Array, left: Array) -> Array:
    """`[F, 134]` bool: long gaps in which a point's nearest sight is held.

    The point is often seen, did not leave the picture, and what it hangs on is there. Nobody is held of whom a third was leaving when
    they were lost, and no point of a head that hides it from us by turning. A point lost together with all others did not leave alone.
    """
    there = np.any(seen, axis=1, keepdims=True)
    often = seen.sum(axis=0) >= OFTEN * there.sum()
    gone = ~np.any(known, axis=1, keepdims=True)
    together = gone & (filters.last_seen(seen) == filters.last_seen(there)) & (filters.next_seen(seen) == filters.next_seen(there))
    went = 3 * (left & often)[:, BODY].sum(axis=1, keepdims=True) >= max(1, often[BODY].sum())
    allowed = ~seen & often & (~left | together) & ~(gone & went)
    allowed[:, HEAD_POINTS] &= ~known[:, [NECK]]
    out = known | allowed
    for step in HANGS_ON:
        points, parents = list(step), list(step.values())
        out[:, points] &= known[:, points] | out[:, parents] | ~seen[:, parents].any(axis=0)
    return out


def fill_places(places: Array, seen: Array, long: Array) -> Array:
    """All gaps filled: by a straight line in time, and where `long [F, 134]`, with the nearest sight.

    What is held is the way from the point that a point hangs on (a wrist on its elbow), so that it moves along with the body; held in
    the picture, it would tear off. places `[F, 134, 2]`.
    """
    out = np.where(long[..., None], filters.hold(places, seen), filters.fill(places, seen))
    for step in HANGS_ON:
        points, parents = list(step), list(step.values())
        base = out[:, parents]
        along = base + filters.hold(places[:, points] - base, seen[:, points])
        out[:, points] = np.where(long[:, points, None], along, out[:, points])
    return out
