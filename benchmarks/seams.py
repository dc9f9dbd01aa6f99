"""How much windows show: the change from frame to frame at their joints, beside elsewhere.

Let d be the mean absolute change of the result's pixels from a frame to the next one, and e that of the truth, the rendered character under
the same moves. A motion is not even, so d alone says as much of the motion as of joints; sums of d over sums of e say how lively the result
is beside the truth, at a set of places. The figure is that ratio at the joints, over the same ratio elsewhere: 1 where joints do not show,
above 1 where they jump. Sums, not means of quotients: places where the truth hardly moves would rule those.

A place between two frames is a joint of a step if a window of that step holds exactly one of the two: there the prediction is made by other
windows than beside it. The published windows are the same at every step, and so are their joints. Shifted ones are elsewhere at each step;
a fixed set of places would then be no joint most of the time, and every place is one at some step. So there are two figures:

* all steps: each step's joints count alike, that is a place counts among the joints by the share of the steps in which it is one, and
  elsewhere by the rest. For the published windows this is the plain figure. For shifted ones it is fair to the whole run, but evens out:
  where all places are joints equally often it is 1 by its making.
* last step: the joints of the last step only, over all places that are not. The last step makes the fine detail and nothing smooths its
  joints; here shifted windows have no help from their moving.

Each clip gives one ratio; given are their geometric mean and its standard error over clips of several characters, motions and noises.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any

import numpy as np

from animate_core.windows import Windows

Array = np.ndarray


def joints(windows: Windows, step: int, frames: int) -> Array:
    """`[F - 1]` of 0 and 1: whether the place between frames t and t + 1 is a joint of the step."""
    out = np.zeros(frames - 1, bool)
    for span in windows.at(step, frames):
        held = np.zeros(frames, bool)
        held[span] = True
        out |= held[1:] != held[:-1]
    return out.astype(float)


def joint_share(windows: Windows, steps: int, frames: int) -> Array:
    """`[F - 1]`: share of the steps in which a place is a joint."""
    return np.mean([joints(windows, step, frames) for step in range(steps)], axis=0)


def changes(pictures: Array) -> Array:
    """`[F, H, W, 3]` uint8 -> `[F - 1]`: mean absolute change to the next frame, in levels of 255."""
    return np.array([np.abs(b.astype(np.int16) - a).mean() for a, b in zip(pictures[:-1], pictures[1:], strict=True)])


def liveliness(result: Array, truth: Array, weight: Array) -> float:
    """The result's changes over the truth's at weighted places; all `[F - 1]`."""
    return float((weight * result).sum() / (weight * truth).sum())


def seam(result: Array, truth: Array, weight: Array) -> float:
    """Liveliness at joints over elsewhere. Raises ValueError where there is no joint or nothing else."""
    if not 0 < weight.mean() < 1:
        raise ValueError("a clip of one window has no joints, and one with nothing but joints no other places")
    return liveliness(result, truth, weight) / liveliness(result, truth, 1 - weight)


def geometric(values: Sequence[float]) -> dict[str, Any]:
    """Geometric mean, and its standard error, None for a single value."""
    logs = [math.log(v) for v in values]
    centre = math.exp(mean(logs))
    return {"mean": centre, "error": centre * stdev(logs) / math.sqrt(len(logs)) if len(logs) > 1 else None}
