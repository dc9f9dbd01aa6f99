"""Clean Pose: what a detector gets wrong over a clip, put right. Swapped sides, leaping points, jitter, gaps, in this order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from . import filters
from .keypoints import (
    BODY,
    FACE,
    FEET,
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
    NUM_POINTS,
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
from .swaps import SWAP_GROUPS, find_swaps

Array = np.ndarray

LONG_GAPS = ("hold", "hide")

# Rough lengths between two points in body heights, to tell the scale of thresholds by; no more exact than that needs
SPANS = ((R_SHOULDER, L_SHOULDER, 0.23), (R_SHOULDER, R_ELBOW, 0.17), (L_SHOULDER, L_ELBOW, 0.17), (R_ELBOW, R_WRIST, 0.146),
         (L_ELBOW, L_WRIST, 0.146), (R_SHOULDER, R_HIP, 0.288), (L_SHOULDER, L_HIP, 0.288), (R_HIP, R_KNEE, 0.245), (L_HIP, L_KNEE, 0.245),
         (R_KNEE, R_ANKLE, 0.246), (L_KNEE, L_ANKLE, 0.246), (FACE.start, FACE.start + 16, 0.09),
         (LEFT_HAND.start, LEFT_HAND.start + 12, 0.108), (RIGHT_HAND.start, RIGHT_HAND.start + 12, 0.108))

HEAD_POINTS = (NOSE, R_EYE, L_EYE, R_EAR, L_EAR, *range(FACE.start, FACE.stop))

RARE = 0.25  # a point seen in a smaller share of the person's frames within a second is none of theirs, unless for LASTING at a time
LASTING = 0.2  # seconds
OFTEN = 0.5  # a point must be seen in such a share of the person's frames to be held
BORDER = 0.03  # body heights: a point last seen so near the border, or about to be within SOON, left the picture
SOON = 0.1  # seconds


# The point that each hangs on, outwards from the neck, which hangs on none: each step's parents are done before it
HANGS_ON: tuple[dict[int, int], ...] = (
    {NOSE: NECK, R_SHOULDER: NECK, L_SHOULDER: NECK, R_HIP: NECK, L_HIP: NECK},
    {R_ELBOW: R_SHOULDER, L_ELBOW: L_SHOULDER, R_KNEE: R_HIP, L_KNEE: L_HIP, **dict.fromkeys(HEAD_POINTS[1:], NOSE)},
    {R_WRIST: R_ELBOW, L_WRIST: L_ELBOW, R_ANKLE: R_KNEE, L_ANKLE: L_KNEE},
    {**dict.fromkeys((18, 19, 20), L_ANKLE), **dict.fromkeys((21, 22, 23), R_ANKLE),
     **dict.fromkeys(range(LEFT_HAND.start, LEFT_HAND.stop), L_WRIST), **dict.fromkeys(range(RIGHT_HAND.start, RIGHT_HAND.stop), R_WRIST)},
)
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
        for name in ("fix_swaps", "remove_outliers", "smooth"):
            if not 0 <= getattr(self, name) <= 1:
                raise PoseError(f"{name}: {getattr(self, name)} is no strength; 0 (off) to 1 is wanted")
        if not 0 <= self.score_threshold < 1:
            raise PoseError(f"score_threshold: {self.score_threshold} is no score; 0 up to less than 1 is wanted")
        if not self.max_gap >= 0:
            raise PoseError(f"max_gap: {self.max_gap} is no time; 0 seconds or more are wanted")
        if not (self.fps > 0 and np.isfinite(self.fps)):
            raise PoseError(f"fps: {self.fps} is no frame rate; the video's frames per second are wanted")
        if self.long_gaps not in LONG_GAPS:
            raise PoseError(f"long_gaps: {self.long_gaps!r} is unknown; there are: {', '.join(LONG_GAPS)}")


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
    """Swaps undone, outliers taken out, jitter smoothed, gaps filled; each row of people by itself.

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
        points[:, row] = clean_person(clip, row, seen[:, row], size, settings, report, on_frame or (lambda: None))
    return clip.of(points), report


def clean_person(clip: PoseClip, row: int, seen: Array, size: float, settings: CleanSettings, report: CleanReport,
                 on_frame: Callable[[], None]) -> Array:
    """One person's new points `[F, 134, 3]`. seen `[F, 134]`; size: body height in pixels. Adds to the report."""
    points, seen, fps = clip.person(row), seen.copy(), settings.fps
    places, scores = points[..., :2].astype(float) / size, points[..., 2:].astype(float)
    if settings.fix_swaps:
        swaps = find_swaps(places, scores[..., 0], seen, fps, settings.fix_swaps, on_frame)
        report.swaps[:] += swaps
        for group, (_, right, left, _) in enumerate(SWAP_GROUPS):
            both, other = np.array(right + left), np.array(left + right)
            for values in (places, scores, seen):
                values[np.ix_(swaps[:, group], both)] = values[np.ix_(swaps[:, group], other)]
    else:
        for _ in range(len(seen)):
            on_frame()
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
    """`[F, len(SPANS)]`: the body height that each limb would have in an upright figure; NaN where it is not seen."""
    a, b, share = (list(values) for values in zip(*SPANS, strict=True))
    return np.where(seen[:, a] & seen[:, b], np.linalg.norm(places[:, a] - places[:, b], axis=-1) / share, np.nan)


def body_height(points: Array, seen: Array) -> float:
    """Height in pixels of a person `[F, 134, 3]` standing upright, judged by the limbs that are seen; 0 if it cannot be told."""
    lengths = limb_lengths(points[..., :2], seen)
    lengths = lengths[:, np.isfinite(lengths).any(axis=0)]
    return float(np.median(np.nanmedian(lengths, axis=0))) if lengths.size else 0.0


def zoom(places: Array, seen: Array, fps: float) -> Array:
    """`[F, 1]`: how large the person is in each frame, beside their size over the clip; limbs turned away hardly count."""
    lengths = limb_lengths(places, seen)
    lengths = lengths[:, np.isfinite(lengths).any(axis=0)]
    lengths /= np.maximum(np.nanmedian(lengths, axis=0), 1e-6)
    known = np.isfinite(lengths).any(axis=1)
    out = np.ones((len(places), 1))
    if known.any():
        out[known, 0] = np.nanquantile(lengths[known], 0.75, axis=1)
        steady = filters.running_median(out, known[:, None], max(1, round(fps / 2)))
        out = filters.fill(steady[..., None], known[:, None])[..., 0]
    return np.asarray(out.clip(0.2, 5))


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
    soon, edge = max(1, round(SOON * fps)), BORDER * height[..., None]

    def out_at(frames: Array, others: Array) -> Array:
        """Whether the point leaves at a sight, going on as since (or until) another one."""
        here, away = filters.take(places, frames), np.abs(frames - others)[..., None]
        ahead = here + soon * np.divide(here - filters.take(places, others), away, out=np.zeros(here.shape), where=away > 0)
        outside = [((at < edge) | (at > np.array(canvas) - edge)).any(axis=-1) for at in (here, ahead)]
        return np.asarray((outside[0] | outside[1]) & (frames >= 0) & (frames < len(seen)))

    last, following = filters.last_seen(seen), filters.next_seen(seen)
    clipped = last.clip(0), following.clip(max=len(seen) - 1)
    before = np.take_along_axis(filters.last_seen(seen), (last - soon).clip(0), axis=0)
    later = np.take_along_axis(filters.next_seen(seen), (following + soon).clip(max=len(seen) - 1), axis=0)
    before, later = np.where(before < 0, clipped[0], before), np.where(later >= len(seen), clipped[1], later)
    return ~seen & (out_at(last, before) | out_at(following, later))


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
