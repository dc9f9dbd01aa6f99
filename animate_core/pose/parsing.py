"""Numbers, points and sizes out of values that anyone may have made: what is none gets a PoseError with its place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .keypoints import LARGEST, PoseError

Array = np.ndarray
Size = tuple[int, int]

MAX_DEPTH = 4  # of lists around a number


def describe(value: Any) -> str:
    """What a value is, for an error's text."""
    if isinstance(value, dict):
        keys = ", ".join(repr(key)[:30] for key in list(value)[:6])
        return f"a dict with the keys {keys}" if keys else "an empty dict"
    if isinstance(value, (list, tuple)):
        return f"a {type(value).__name__} of {len(value)}"
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"a {type(value).__name__} of shape {tuple(shape)}"
    if value is None:
        return "None"
    text, kind = repr(value), type(value).__name__
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind} ({text[:40]}{'...' if len(text) > 40 else ''})"


def array_of(value: Any) -> Array:
    """Numbers as float64; None becomes NaN. Raises ValueError or TypeError for what holds anything but numbers."""
    if hasattr(value, "detach"):  # a tensor, of whatever device
        value = value.detach().cpu().numpy()
    inner: Any = value
    for _ in range(MAX_DEPTH):
        inner = inner[0] if isinstance(inner, (list, tuple)) and inner else None
    if isinstance(inner, (list, tuple)):
        raise ValueError("lists in lists")  # numpy would follow them all the way, and a list may hold itself
    try:
        return np.asarray(value, np.float64)
    except OverflowError as error:
        raise ValueError("a number too large") from error
    except (TypeError, ValueError):
        # points among which some are None
        width = next((len(item) for item in value if isinstance(item, (list, tuple))), 0) if isinstance(value, (list, tuple)) else 0
        if not width or all(item is not None for item in value):
            raise
        return np.asarray([[None] * width if item is None else item for item in value], np.float64)


def points_of(value: Any, counts: Iterable[int], where: str, scores: Any = None) -> Array | None:
    """One part's points `[N, 3]` (x, y, score) float64 as they stand, or None where there is nothing.

    value: flat `[x, y, score, ...]` or `[x, y, ...]`, or nested `[N, 3]` or `[N, 2]`. counts: the N that are known. scores: `[N]` for
    points that come without; 1 otherwise.
    """
    if value is None or (isinstance(value, (list, tuple, dict, str)) and not value):
        return None
    counts = tuple(counts)
    wanted = f"expected {' or '.join(map(str, counts))} points as [x, y, score, ...]"
    if isinstance(value, (dict, str, bytes)):
        raise PoseError(f"{where}: it must be a list of numbers; got {describe(value)}; {wanted}")
    try:
        array = array_of(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise PoseError(f"{where}: {describe(value)} contains more than numbers, or points of unequal length; {wanted}") from error
    if not array.size:
        return None
    columns = array.shape[-1] if array.ndim > 1 else next((n for n in (3, 2) if array.size in [n * count for count in counts]), 0)
    if columns not in (2, 3) or array.size // columns not in counts:
        shape = "x".join(map(str, array.shape)) or "1"
        raise PoseError(f"{where}: {shape} numbers are not a known body part; {wanted}")
    array = array.reshape(-1, columns)
    return array if columns == 3 else np.concatenate([array, scores_of(scores, len(array), where)], axis=1)


def without_missing(points: Array) -> Array:
    """`[..., 3]` with zeros for missing points, and scores of at most 1.

    Missing are: a score of 0 or below, anything that is not finite, and exactly (0, 0) and (-1, -1), by which detectors mark what they did
    not find.
    """
    x, y = points[..., 0], points[..., 1]
    seen = np.isfinite(points).all(-1) & (points[..., 2] > 0) & ((x != y) | ((x != 0) & (x != -1)))
    # what is far outside is for the clip's own check to name
    return np.where(seen[..., None], points.clip(-2 * LARGEST, (2 * LARGEST, 2 * LARGEST, 1)), 0)


def scores_of(value: Any, count: int, where: str) -> Array:
    """`[count, 1]`."""
    if value is None:
        return np.ones((count, 1))
    try:
        array = array_of(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise PoseError(f"{where}, scores: it must be a list of numbers; got {describe(value)}") from error
    if array.size != count:
        raise PoseError(f"{where}: {array.size} scores for {count} points")
    return array.reshape(-1, 1)


def pixels_of(value: Any, what: str) -> int | None:
    """A canvas's width or height; None where it is not stated (absent, None, 0)."""
    if value is None:
        return None
    try:
        number = float("nan") if isinstance(value, (str, bytes, bool)) else float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        number = float("nan")
    if not 0 <= number <= LARGEST:
        raise PoseError(f"{what} must be a number of pixels; got {describe(value)}")
    return round(number) or None


def common_canvas(sizes: Sequence[Size | None], given: Size | None) -> Size:
    """The one canvas of a clip's frames. sizes: of each frame, None where it states none; given: from the user."""
    first: dict[Size, list[int]] = {}
    for frame, size in enumerate(sizes):
        if size is not None:
            first.setdefault(size, []).append(frame)
    if len(first) > 1:
        found = "; ".join(f"{w}x{h} in frame {', '.join(map(str, frames[:3]))}{' ...' if len(frames) > 3 else ''}"
                          for (w, h), frames in list(first.items())[:4])
        raise PoseError(f"the frames have different canvas sizes ({found}): resize the frames to one size before extracting poses")
    if first:
        known = next(iter(first))
        if given is not None and given != known:
            raise PoseError(f"the frames contain a canvas size of {known[0]}x{known[1]}, but {given[0]}x{given[1]} was set: set "
                            "width and height of Load Pose to 0")
        return known
    if given is None:
        raise PoseError("no frame contains its canvas size (canvas_width, canvas_height): load the file with Load Pose and set its width "
                        "and height to the size of the video that the poses come from")
    return given
