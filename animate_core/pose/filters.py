"""Filters over time for points that come and go: neighbours in time, running median, gaps, One-Euro and Savitzky-Golay.

Arrays are `[F, N, 2]` (frames, points, x and y), with `seen [F, N]` bool beside them: where a point was seen. What stands where it was
not seen does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from .keypoints import PoseError

Array = np.ndarray

DERIVATIVE_CUTOFF = 3.0  # Hz, for One-Euro's speed
MEDIAN_BLOCK = 512  # frames at a time: every frame's window is laid out in memory


# ------------------------------------------------------------------------------------------------------------------- neighbours in time

def last_seen(seen: Array) -> Array:
    """`[F, N]`: the frame at or before this one in which the point was last seen; -1 for none."""
    return np.maximum.accumulate(np.where(seen, np.arange(len(seen))[:, None], -1), axis=0)


def next_seen(seen: Array) -> Array:
    """`[F, N]`: the frame at or after this one in which the point is next seen; F for none."""
    return len(seen) - 1 - last_seen(seen[::-1])[::-1]


def seen_before(seen: Array) -> Array:
    """As `last_seen`, this frame itself left out."""
    return np.concatenate([np.full((1, seen.shape[1]), -1), last_seen(seen)[:-1]])


def seen_after(seen: Array) -> Array:
    """As `next_seen`, this frame itself left out."""
    return np.concatenate([next_seen(seen)[1:], np.full((1, seen.shape[1]), len(seen))])


def take(x: Array, frames: Array) -> Array:
    """x `[F, N, ...]` at other frames `[F, N]`, those out of range taken as the first or the last."""
    frames = frames.clip(0, len(x) - 1)
    return np.take_along_axis(x, frames[..., None] if x.ndim == 3 else frames, axis=0)


# --------------------------------------------------------------------------------------------------------------------------------- gaps

def ever_seen(seen: Array) -> Array:
    """`[N, 1]`: whether a point is seen in any frame."""
    return np.any(seen, axis=0, keepdims=True).T


def gap_lengths(seen: Array) -> Array:
    """`[F, N]`: how many frames long the gap is that this frame lies in; 0 where the point is seen, F where it never is."""
    return np.where(seen, 0, np.minimum(next_seen(seen) - last_seen(seen) - 1, len(seen)))


def fill(x: Array, seen: Array) -> Array:
    """Every gap filled by a straight line in time, whatever its length; at the clip's ends the nearest sight is held.

    x `[F, N, C]` of any C. Points that are never seen come out as 0.
    """
    before, after = last_seen(seen), next_seen(seen)
    before, after = np.where(before < 0, after, before), np.where(after >= len(x), before, after)
    way = np.divide(np.arange(len(x))[:, None] - before, after - before, out=np.zeros(seen.shape), where=after > before)[..., None]
    return np.where(ever_seen(seen), (1 - way) * take(x, before) + way * take(x, after), 0)


def hold(x: Array, seen: Array) -> Array:
    """Every gap filled with the nearest sight, the earlier of two equally near. Points that are never seen come out as 0."""
    frames = np.arange(len(x))[:, None]
    before, after = last_seen(seen), next_seen(seen)
    nearest = np.where((after >= len(x)) | ((before >= 0) & (frames - before <= after - frames)), before, after)
    return np.where(ever_seen(seen), take(x, nearest), 0)


# ----------------------------------------------------------------------------------------------------------------------------- outliers

def running_median(x: Array, seen: Array, half: int) -> Array:
    """Median over the seen frames among 2 half + 1, along time. x `[F, N, C]` or `[F, N]`; 0 where none is seen."""
    width = 2 * half + 1
    known = np.where(seen if x.ndim == 2 else seen[..., None], x, np.nan)
    padded = np.pad(known, [(half, half)] + [(0, 0)] * (x.ndim - 1), constant_values=np.nan)
    out = np.zeros(x.shape)
    for start in range(0, len(x), MEDIAN_BLOCK):
        block = padded[start:start + MEDIAN_BLOCK + 2 * half]
        window = np.sort(np.lib.stride_tricks.sliding_window_view(block, width, axis=0), axis=-1)  # NaN comes last
        count = np.isfinite(window).sum(axis=-1, keepdims=True)
        low, high = (np.take_along_axis(window, np.maximum(place, 0), axis=-1) for place in ((count - 1) // 2, count // 2))
        out[start:start + MEDIAN_BLOCK] = np.where(count > 0, (low + high) / 2, 0)[..., 0]
    return out


def surprise(x: Array, seen: Array) -> Array:
    """`[F, N]`: how far a point lies from where its neighbours in time would have it: the least of the distances to the lines through the
    sights before and after, through the two before and through the two after, and to the cubic through all four. 0 where none is known.

    Halved for the first and the last sight, of which only a line from one side tells.
    """
    before, after = seen_before(seen), seen_after(seen)
    further, later = take(before, before), take(after, after)
    least = np.full(seen.shape, np.inf)
    lines: tuple[tuple[Array, ...], ...] = ((before, after), (further, before), (after, later))
    for times in (*lines, (further, before, after, later)):
        known = seen & (times[0] >= 0) & (times[-1] < len(x)) & (times[0] < times[-1])
        least = np.where(known, np.minimum(least, np.linalg.norm(x - through(x, times, known), axis=-1)), least)
    return np.where(np.isfinite(least), least, 0) * np.where((before < 0) | (after >= len(x)), 0.5, 1)


def through(x: Array, times: tuple[Array, ...], known: Array) -> Array:
    """Lagrange's polynomial through x at other frames, times `[F, N]` each, read off at every frame; of no use where not `known`."""
    out = np.zeros(x.shape)
    for i, time in enumerate(times):
        weight = np.ones(known.shape)
        for other in times[:i] + times[i + 1:]:
            weight *= np.divide(np.arange(len(x))[:, None] - other, time - other, out=np.zeros(known.shape), where=known & (time != other))
        out += weight[..., None] * take(x, time)
    return out


def find_outliers(x: Array, seen: Array, half: int, factor: float, floor: float) -> Array:
    """`[F, N]` bool: points that leap away and come back.

    Two tests, each against factor times its own running spread (the median of the deviations, over 1.4826 for a normal spread's sigma)
    and against `floor`, in units of x. `surprise`, the worst of neighbours first, finds single leaps in fast motion too; the running
    median of 2 half + 1 frames (Hampel's) finds leaps of a few frames in slow motion. What is fast but steady passes both.
    """
    left = seen.copy()
    for _ in range(3):
        apart = surprise(x, left)
        apart = np.where(left & (apart > limit(apart, left, 4 * half, factor, floor)), apart, 0)
        worst = (apart > 0) & (apart >= take(apart, seen_before(left))) & (apart >= take(apart, seen_after(left)))
        if not worst.any():
            break
        left &= ~worst
    apart = np.linalg.norm(x - running_median(x, left, half), axis=-1)
    left &= apart <= limit(apart, left, half, factor, floor)
    return seen & ~left


def limit(apart: Array, seen: Array, half: int, factor: float, floor: float) -> Array:
    return np.maximum(floor, factor * 1.4826 * running_median(apart, seen, half))


def strays(seen: Array, longest: int, loneliest: int) -> Array:
    """`[F, N]` bool: sights of at most `longest` frames with more than `loneliest` frames without a sight before and after.

    Only in frames that show other points too: a clip of which the detector saw little is not emptied.
    """
    gone = ~seen
    gaps, before, after = gap_lengths(seen), last_seen(gone), next_seen(gone)
    found = seen & (before >= 0) & (after < len(seen)) & (after - before - 1 <= longest)
    found &= (take(gaps, before) > loneliest) & (take(gaps, after) > loneliest)
    return found & (seen & ~found).any(axis=1, keepdims=True)


# ------------------------------------------------------------------------------------------------------------------------------- jitter

def alpha(cutoff: Array | float, fps: float) -> Array:
    """Weight of the new value in a low-pass of the first order: 1 / (1 + tau / Te), tau = 1 / (2 pi cutoff), Te = 1 / fps."""
    return 1 / (1 + fps / (2 * np.pi * np.asarray(cutoff, float)))


def one_euro(x: Array, seen: Array, fps: float, min_cutoff: float, beta: float, derivative_cutoff: float = 1.0,
             on_frame: Callable[[], None] | None = None) -> tuple[Array, Array]:
    """The One-Euro filter (Casiez, Roussel, Vogel 2012, algorithm 1), its speed that of the point in the plane.

    Cutoffs in Hz; beta in Hz per unit of speed (units of x a second). It starts anew after frames in which the point is not seen.
    on_frame is called once a frame. Returns the filtered `[F, N, 2]` and the speeds `[F, N]`.
    """
    out, speeds = np.array(x, float), np.zeros(seen.shape)
    velocity = np.zeros(x.shape[1:])
    weight = alpha(derivative_cutoff, fps)
    for t in range(len(x)):
        if t:
            goes_on = (seen[t] & seen[t - 1])[:, None]
            velocity = np.where(goes_on, velocity + weight * ((x[t] - out[t - 1]) * fps - velocity), 0)
            speeds[t] = np.hypot(velocity[:, 0], velocity[:, 1])
            kept = 1 - alpha(min_cutoff + beta * speeds[t], fps)[:, None]
            out[t] += np.where(goes_on, kept * (out[t - 1] - x[t]), 0)
        if on_frame:
            on_frame()
    return out, speeds


def both_ways(x: Array, weight: Array, seen: Array) -> Array:
    """A low-pass of the first order run forward and then backward, so that it does not lag. weight `[F, N]`: of each new value."""
    seen = seen[..., None]
    joined = np.zeros_like(seen)
    joined[1:] = seen[1:] & seen[:-1]
    kept = np.where(joined, 1 - weight[..., None], 0)  # of the frame before
    out = np.array(x, float)
    for t in range(1, len(x)):
        out[t] += kept[t] * (out[t - 1] - out[t])
    kept = np.where(joined[1:], 1 - weight[:-1, :, None], 0)  # of the frame after
    for t in range(len(x) - 2, -1, -1):
        out[t] += kept[t] * (out[t + 1] - out[t])
    return out


def smooth_one_euro(x: Array, seen: Array, fps: float, min_cutoff: float, beta: float, trust: Array,
                    on_frame: Callable[[], None] | None = None) -> Array:
    """One-Euro for a clip that is known to its end: no lag, and little taken from the motion.

    The filter's own speeds, forward and backward, the greater of the two, set each frame's cutoff, times trust `[F, N]` in 0..1. With
    these cutoffs the points are filtered both ways, and what that took away is filtered once more and given back (Tukey's twicing): a
    swing's amplitude survives, jitter does not. Units as in `one_euro`.
    """
    forward = one_euro(x, seen, fps, min_cutoff, beta, DERIVATIVE_CUTOFF, on_frame)[1]
    backward = one_euro(x[::-1], seen[::-1], fps, min_cutoff, beta, DERIVATIVE_CUTOFF)[1][::-1]
    weight = alpha((min_cutoff + beta * np.maximum(forward, backward)) * trust, fps)
    once = both_ways(x, weight, seen)
    return once + both_ways(x - once, weight, seen)


def runs(seen: Array) -> Iterator[tuple[slice, Array]]:
    """(frames, points `[n]`) of every stretch in which points are seen without a break; points that come and go together in one."""
    patterns, which = np.unique(seen, axis=1, return_inverse=True)
    for i, pattern in enumerate(patterns.T):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], pattern.astype(int), [0]])))
        for start, end in edges.reshape(-1, 2).tolist():
            yield slice(start, end), np.flatnonzero(which.ravel() == i)


def smooth_savgol(x: Array, seen: Array, half: int, trust: Array) -> Array:
    """Savitzky-Golay of the second order over 2 half + 1 frames, stretch by stretch; a point of trust 0 gets twice the window.

    Stretches shorter than a window are filtered with the longest that they hold. Raises PoseError if scipy is missing.
    """
    try:
        from scipy.signal import savgol_filter
    except ImportError as error:
        raise PoseError("filter: savitzky-golay needs the package scipy; install it (pip install scipy) or choose one-euro") from error
    out = np.array(x, float)
    for frames, points in runs(seen):
        length = frames.stop - frames.start
        near, far = (min(2 * h + 1, (length - 1) // 2 * 2 + 1) for h in (half, 2 * half))
        if near < 5:  # three points lie on a parabola
            continue
        part, share = x[frames, points], trust[frames, points, None]
        out[frames, points] = share * savgol_filter(part, near, 2, axis=0) + (1 - share) * savgol_filter(part, far, 2, axis=0)
    return out
