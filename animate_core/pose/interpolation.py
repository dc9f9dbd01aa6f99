"""Poses between poses: a clip with more frames, for slow motion."""

from __future__ import annotations

import numpy as np

from .keypoints import HANGS_ON, PoseClip, PoseError
from .people import follow

Array = np.ndarray


def slopes(x: Array, seen: Array) -> Array:
    """Change per frame `[F, N, 2]` at each sight: between the sights before and after, at a gap or an end on one side; 0 without either."""
    step = np.where((seen[1:] & seen[:-1])[..., None], np.diff(x, axis=0), 0)
    known = (seen[1:] & seen[:-1]).astype(float)[..., None]
    none = np.zeros((1, *x.shape[1:]))
    total = np.concatenate([step, none]) + np.concatenate([none, step])
    count = np.concatenate([known, none[..., :1]]) + np.concatenate([none[..., :1], known])
    return total / np.maximum(count, 1)


def between(x: Array, score: Array, t: float) -> tuple[Array, Array]:
    """Points `[F - 1, P, 134, 2]` and scores `[F - 1, P, 134]` a part t of a frame after each frame of `[F, P, 134, ...]`."""
    seen = score > 0
    slope = slopes(x.reshape(len(x), -1, 2), seen.reshape(len(x), -1)).reshape(x.shape)
    a, b, both = x[:-1], x[1:], seen[:-1] & seen[1:]
    curve = ((1 + 2 * t) * (1 - t) ** 2 * a + t * (1 - t) ** 2 * slope[:-1]
             + t**2 * (3 - 2 * t) * b + t**2 * (t - 1) * slope[1:])
    early = t <= 0.5
    near, own = (x[:-1], seen[:-1]) if early else (x[1:], seen[1:])
    shift = np.where(both[..., None], curve - near, 0)
    for step in HANGS_ON:
        for point, parent in step.items():
            shift[:, :, point] = np.where(both[:, :, point, None], shift[:, :, point], shift[:, :, parent])
    scores = np.where(both, (1 - t) * score[:-1] + t * score[1:], np.where(own, score[:-1] if early else score[1:], 0))
    return near + shift, scores


def interpolate_pose(clip: PoseClip, factor: int, closed_loop: bool = False) -> PoseClip:
    """Puts `factor - 1` poses between neighbouring frames: F frames -> (F - 1) factor + 1, or F factor where the last leads to the first.

    Every point goes along a cubic through its sights (Catmull and Rom 1974), which is straight for steady motion; scores change evenly. A
    point that only one of both frames shows stays for the half nearer to that frame and moves along with the point that it hangs on.
    The clip's own frames stay as they are; of several people each is followed, in a row of their own.
    Raises PoseError for a factor below 1.
    """
    if factor < 1:
        raise PoseError(f"factor must be at least 1; got {factor}")
    clip = clip if clip.points.shape[1] == 1 else follow(clip)
    points, count = clip.points.astype(float), len(clip)
    if closed_loop:  # a frame more on each side, for the slopes at the joint
        points = np.concatenate([points[-1:], points, points[:1], points[1 % count][None]])
    out = np.empty((factor, len(points), *points.shape[1:]))
    out[0] = points
    for k in range(1, factor):
        places, scores = between(points[..., :2], points[..., 2], k / factor)
        out[k, :-1] = np.concatenate([places, scores[..., None]], -1)
    frames = np.moveaxis(out, 0, 1).reshape(-1, *points.shape[1:])
    return clip.of(frames[factor:factor * (count + 1)] if closed_loop else frames[:factor * (count - 1) + 1])
