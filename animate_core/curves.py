"""Numbers over a clip's frames, from lists of any length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def over_frames(values: Sequence[float], frames: int) -> list[float]:
    """One number for each frame. One value counts for all; a longer list is cut, as poses are; a shorter one is stretched: its first value
    on the first frame, its last on the last, straight lines between."""
    if len(values) == 1:
        return [values[0]] * frames
    if len(values) >= frames:
        return list(values[:frames])
    places = np.linspace(0, len(values) - 1, frames)
    return [float(x) for x in np.interp(places, np.arange(len(values)), values)]
