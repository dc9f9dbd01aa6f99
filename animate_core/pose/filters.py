"""Filters over time for points that come and go: neighbours in time, gaps, leaps, and a local polynomial against jitter.

Arrays are `[F, N, 2]` (frames, points, x and y), with `seen [F, N]` bool beside them: where a point was seen. What stands where it was
not seen does not matter. `scale [F, 1]`: a body's height in each frame, the unit of all thresholds.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .keypoints import BODY, PoseError

Array = np.ndarray

MEDIAN_BLOCK = 512  # frames at a time: every frame's window is laid out in memory

LEAP_SECONDS = 0.15  # a leap is back after at most this; what stays longer is a move
FASTEST = 40.0  # body heights / s^2 (about 7 g): hands and feet seldom accelerate more by themselves
TOGETHER = 2.5  # what leaps at most so many times as far as another point that it moves with is carried by it
STRAIN = 1.2  # a limb so many times as long as it mostly is does not exist

DIFFERENCES = 4  # order of the differences in time that tell jitter from motion: of a swing of 2 Hz at 24 frames per second they leave 1 %
CALM = 0.25  # their quantile that is taken: nobody moves fast for three quarters of a clip
JITTER_LIMIT = 0.01  # body heights: the jitter of a bad detector; more is motion. Below 28 frames per second less, see `jitter`
JITTER_USUAL = 0.004  # body heights: where a clip is too short to tell
LEAST_HALF = 2  # frames on each side: a parabola needs three points, a filter more


# ------------------------------------------------------------------------------------------------------------------- neighbours in time

def scipy_filters() -> Callable[..., Array]:
    """scipy's correlation along an axis. Raises PoseError if the package is missing."""
    try:
        from scipy.ndimage import correlate1d
    except ImportError as error:
        raise PoseError("smoothing needs the Python package scipy, which is part of ComfyUI's requirements: pip install scipy") from error
    return correlate1d


def last_seen(seen: Array) -> Array:
    """`[F, N]`: the frame at or before this one in which the point was last seen; -1 for none."""
    return np.maximum.accumulate(np.where(seen, np.arange(len(seen))[:, None], -1), axis=0)


def next_seen(seen: Array) -> Array:
    """`[F, N]`: the frame at or after this one in which the point is next seen; F for none."""
    return len(seen) - 1 - last_seen(seen[::-1])[::-1]


def take(x: Array, frames: Array) -> Array:
    """x `[F, N, ...]` at other frames `[F, N]`, those out of range taken as the first or the last."""
    frames = frames.clip(0, len(x) - 1)
    return np.take_along_axis(x, frames[..., None] if x.ndim == 3 else frames, axis=0)


def gap_lengths(seen: Array) -> Array:
    """`[F, N]`: how many frames long the gap is that this frame lies in; 0 where the point is seen, F where it never is."""
    return np.where(seen, 0, np.minimum(next_seen(seen) - last_seen(seen) - 1, len(seen)))


def around(seen: Array) -> tuple[Array, Array]:
    """`[F, N]` each: the frames of the sights before and after this frame; beyond the first and the last, that one twice."""
    before, after = last_seen(seen), next_seen(seen)
    return np.where(before < 0, after, before), np.where(after >= len(seen), before, after)


def fill(x: Array, seen: Array) -> Array:
    """Every gap filled by a straight line in time, whatever its length; at the clip's ends the nearest sight is held.

    x `[F, N, C]` of any C. Points that are never seen come out as 0.
    """
    before, after = around(seen)
    way = np.divide(np.arange(len(x))[:, None] - before, after - before, out=np.zeros(seen.shape), where=after > before)[..., None]
    return np.where(np.any(seen, axis=0)[:, None], (1 - way) * take(x, before) + way * take(x, after), 0)


def hold(x: Array, seen: Array) -> Array:
    """Every gap filled with the nearest sight, the earlier of two equally near. Points that are never seen come out as 0."""
    frames, (before, after) = np.arange(len(x))[:, None], around(seen)
    return np.where(np.any(seen, axis=0)[:, None], take(x, np.where(frames - before <= after - frames, before, after)), 0)


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


def quantile(x: Array, known: Array, share: float) -> Array:
    """`[N]`: of the known values of each column of x `[F, N]`, the one above so many; inf where none is known."""
    ranked = np.sort(np.where(known, x, np.inf), axis=0)
    return ranked[(share * (known.sum(axis=0) - 1).clip(0)).astype(int), np.arange(x.shape[1])]


def window_mean(x: Array, half: int) -> Array:
    """Mean of x `[F, N]` over 2 half + 1 frames; at its ends the clip is taken to go back."""
    return scipy_filters()(x.astype(float), np.full(2 * half + 1, 1 / (2 * half + 1)), axis=0, mode="reflect")


# ---------------------------------------------------------------------------------------------------------------------------------- leaps

def find_leaps(x: Array, seen: Array, scale: Array, parents: Array, company: Array, fps: float, floor: float, factor: float) -> Array:
    """`[F, N]` bool: sights of a point that leaps away by itself and is back within LEAP_SECONDS.

    How far a point leaps is its distance from the straight line in time between the sights before and after. It is wrong beyond `floor`
    (body heights) with what FASTEST allows in that time, `factor` times what is usual for it within a second, and TOGETHER times the leap
    of the points that it moves with: so fast motion, which carries whole limbs or both arms, stays at any frame rate. Less is allowed to
    a limb that the leap stretches. parents `[N]`: the point that each hangs on, or -1. company `[C, 2]`: points and what they move with.
    """
    left, half, children = seen.copy(), max(3, round(fps / 2)), np.flatnonzero(parents >= 0)
    length = np.linalg.norm(x[:, children] - x[:, parents[children]], axis=-1) / scale
    both, stretched = seen[:, children] & seen[:, parents[children]], np.zeros(seen.shape, bool)
    stretched[:, children] = both & (length > STRAIN * quantile(length, both, 0.9) + 0.02)
    longest = min(max(1, round(LEAP_SECONDS * fps)), len(x) - 2)
    for frames in 2 * list(range(longest, 0, -1)):  # twice, as one leap hides others
        y, end = fill(x, left), int(frames == 1)
        if end:  # the first and the last frame against the line through the next two
            y = np.concatenate([3 * y[1:2] - 2 * y[2:3], y, 3 * y[-2:-1] - 2 * y[-3:-2]])
        starts = len(y) - frames - 1
        way, before, after = np.linspace(0, 1, frames + 2), y[:starts], y[frames + 1:]
        away = np.stack([y[k:k + starts] - before - way[k] * (after - before) for k in range(1, frames + 1)])
        leap = np.linalg.norm(away, axis=-1).min(axis=0)
        inside = [slice(k - end, k - end + starts) for k in range(1, frames + 1)]
        unit, strained = scale[inside[0]], np.min([stretched[k] for k in inside], axis=0)
        fast, usual = FASTEST * ((frames + 1) / fps) ** 2 / 8, window_mean(np.sqrt(leap), half) ** 2 / unit
        own = np.where(strained, floor + fast / 2, np.maximum(floor + fast, factor * usual)) * unit
        if end:
            own[[0, -1]] *= 2  # beyond two points a line tells half as much as between them
        limit = np.maximum(own, np.where(strained, 0.5, TOGETHER) * carried(leap, away.mean(axis=0), company))
        found = (leap > limit) & (leap > 0.75 * np.linalg.norm(after - before, axis=-1))
        for k in inside:
            left[k] &= ~found
    return seen & ~left


def carried(leap: Array, way: Array, company: Array) -> Array:
    """The farthest leap, within 60 degrees of its own, among what a point moves with. leap `[F, N]`: how far; way `[F, N, 2]`: where to."""
    points, others = company.T
    a, b, out = way[:, points], way[:, others], np.zeros_like(leap)
    alike = (a * b).sum(axis=-1) > 0.5 * np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    np.maximum.at(out.T, points, (leap[:, others] * alike).T)
    return out


# ------------------------------------------------------------------------------------------------------------------------------- jitter

def tricube(half: int) -> tuple[Array, Array]:
    """Frames from -half to half in units of the first outside, and Cleveland's weights for them."""
    u = np.arange(-half, half + 1) / (half + 1)
    return u, (1 - np.abs(u) ** 3) ** 3


def local_polynomial(x: Array, weight: Array, half: int) -> Array:
    """LOESS (Cleveland 1979) of the second order: the parabola through 2 half + 1 frames by weighted least squares, at its middle.

    weight `[F, N]`: 0 where a point is not seen. Slopes and curves are damped a little, so that one or two sights give no wild parabola.
    """
    correlate = scipy_filters()
    u, kernel = tricube(half)
    sums = np.stack([correlate(weight, kernel * u**power, axis=0, mode="constant") for power in range(5)], axis=-1)
    moments = np.stack([correlate(weight[..., None] * x, kernel * u**power, axis=0, mode="constant") for power in range(3)], axis=-2)
    damping = (1e-5 * sums[..., :1, None] + 1e-9) * np.diag([0, 1, 1]) + 1e-12 * np.diag([1, 0, 0])
    return np.linalg.solve(sums[..., [[0, 1, 2], [1, 2, 3], [2, 3, 4]]] + damping, moments)[..., 0, :]


def jitter(x: Array, seen: Array, fps: float) -> Array:
    """`[N]`: variance of each coordinate's jitter, from the fourth differences of the calmest quarter of a clip. x in body heights.

    A point trembles at most twice as much as half of the body's points do, and at most by JITTER_LIMIT; at a low frame rate, at which
    motion too makes differences, by less.
    """
    out = np.full(x.shape[1], np.inf)
    if len(x) > DIFFERENCES:
        known = np.asarray(np.lib.stride_tricks.sliding_window_view(seen, DIFFERENCES + 1, axis=0).all(axis=-1))
        squares = (np.diff(x, DIFFERENCES, axis=0) ** 2).sum(axis=-1) / (2 * math.comb(2 * DIFFERENCES, DIFFERENCES))
        calm = quantile(squares, known, CALM) / -np.log(1 - CALM)  # of two coordinates: chi-squared, falling as exp(-x)
        out = np.where(known.sum(axis=0) > DIFFERENCES, calm, np.inf)
    told = out[BODY][np.isfinite(out[BODY])]
    usual = float(np.median(told)) if told.size else JITTER_USUAL**2
    return np.where(np.isfinite(out), out, usual).clip(max=min(4 * usual, (JITTER_LIMIT * min(1, fps / 28) ** 1.25) ** 2))


def smooth(x: Array, seen: Array, scale: Array, trust: Array, fps: float, strength: float) -> Array:
    """Jitter taken out, motion left: where the local parabola misses the sights by more than their jitter, they move and are kept.

    strength 0 to 1: the parabola spans half so many seconds on each side, LEAST_HALF frames at least, and is taken where it misses by no
    more than 3 strength times the jitter (variances); beyond, as much less as it misses by more. trust `[F, N]`: weight of a sight.
    """
    half, weight = max(LEAST_HALF, round(strength * fps / 2)), np.where(seen, trust, 0)
    parabola = local_polynomial(x, weight, half)
    kernel, correlate = tricube(half)[1], scipy_filters()
    missed = correlate(weight * ((x - parabola) ** 2).sum(axis=-1) / 2, kernel, axis=0, mode="constant")
    missed = missed / (correlate(weight, kernel, axis=0, mode="constant") + 1e-9)
    allowed = 3 * strength * jitter(x / scale[..., None], seen, fps) * scale**2
    share = np.divide(allowed, missed, out=np.ones(seen.shape), where=missed > allowed)
    return x + np.where(seen, share, 0)[..., None] * (parabola - x)
