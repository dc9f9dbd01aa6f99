"""How strongly a run reads its reference, follows its poses and is guided: over its steps, and over the clip's frames.

1 is the plain run, bit for bit. 0 leaves the thing out:

* reference: strength s adds log s to the logits of the reference's keys (`reading`); at 0 they are left out.
* pose: the pose features are multiplied by it, wherever they enter.
* guidance: the unconditional half u becomes c + s (u - c), c the conditional one, so that a guidance scale g becomes 1 + s (g - 1). At 0
  for all frames the unconditional half is not computed.

Steps are counted as parts of the run, so that a setting means the same for any number of steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .blocks import ClipConditioning
from .curves import over_frames
from .reading import readings


@dataclass(frozen=True)
class Curve:
    """values: one for the whole clip, or one for each frame, at least 0. start, end: the part of the steps in which they hold, 0 to 1;
    before and after it the strength is 0.

    Raises ValueError for values out of range.
    """

    values: tuple[float, ...] = (1.0,)
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("the curve has no values")
        wrong = next((x for x in self.values if not 0 <= x < math.inf), None)
        if wrong is not None:
            raise ValueError(f"strengths must be numbers from 0 up; got {wrong:g}")
        if not 0.0 <= self.start <= self.end <= 1.0:
            raise ValueError(f"start and end must be between 0 and 1, and the start not above the end; got {self.start:g} and {self.end:g}")

    def on(self, frames: int) -> Curve:
        """For a clip of so many frames (`over_frames`)."""
        return self if len(self.values) == 1 else replace(self, values=tuple(over_frames(self.values, frames)))

    def padded(self, total: int) -> Curve:
        """For a clip whose last frame is repeated until it has `total` frames."""
        return self if len(self.values) == 1 else replace(self, values=self.values + self.values[-1:] * (total - len(self.values)))

    def at(self, step: int, steps: int) -> tuple[float, ...]:
        """Strengths at step 0..steps-1: one for all frames or one for each."""
        return self.values if math.ceil(self.start * steps) <= step < math.ceil(self.end * steps) else (0.0,)


@dataclass(frozen=True)
class StepStrengths:
    """Strengths of one step: one for all frames or one for each."""

    reference: tuple[float, ...] = (1.0,)
    pose: tuple[float, ...] = (1.0,)
    guidance: tuple[float, ...] = (1.0,)

    def read(self, clip: ClipConditioning, frames: Sequence[int]) -> ClipConditioning:
        """A clip's conditioning in a window of these frames."""
        if clip.reference is None or all(x == 1.0 for x in (*self.reference, *clip.weights)):
            return clip
        rows = [tuple(s * weight for weight in clip.weights) for s in of_frames(self.reference, frames)]
        if not any(map(any, rows)):
            return replace(clip, reference=None)
        device = next(iter(clip.reference.values()))[0].device
        return replace(clip, readings=readings(rows, device))

    def posed(self, features: Tensor | Sequence[Tensor], frames: Sequence[int]) -> Tensor | Sequence[Tensor]:
        """Pose features `[n, C, h, w]` of a window of these frames, or those of several places, so strong."""
        if all(x == 1.0 for x in self.pose):
            return features
        places = [features] if isinstance(features, Tensor) else features
        factor = torch.tensor(of_frames(self.pose, frames)).view(-1, 1, 1, 1).to(places[0], non_blocking=True)
        scaled = [place * factor for place in places]
        return scaled[0] if isinstance(features, Tensor) else scaled

    @property
    def guided(self) -> bool:
        """Whether the unconditional half has a say in any frame."""
        return any(self.guidance)

    def guide(self, unconditional: Tensor, conditional: Tensor) -> Tensor:
        """The unconditional half `[F, ...]` of a whole clip as the guidance is to see it."""
        if all(x == 1.0 for x in self.guidance):
            return unconditional
        factor = torch.tensor(of_frames(self.guidance, range(len(conditional)))).to(conditional, non_blocking=True)
        return conditional + factor.view(-1, *[1] * (conditional.ndim - 1)) * (unconditional - conditional)


@dataclass(frozen=True)
class Strengths:
    """Of a whole run; the defaults change nothing."""

    reference: Curve = Curve()
    pose: Curve = Curve()
    guidance: Curve = Curve()

    def on(self, frames: int) -> Strengths:
        """For a clip of so many frames (`Curve.on`)."""
        return Strengths(self.reference.on(frames), self.pose.on(frames), self.guidance.on(frames))

    def padded(self, total: int) -> Strengths:
        """For a clip whose last frame is repeated until it has `total` frames."""
        return Strengths(self.reference.padded(total), self.pose.padded(total), self.guidance.padded(total))

    @property
    def timed(self) -> bool:
        """Whether anything depends on the step."""
        return any((curve.start, curve.end) != (0.0, 1.0) for curve in (self.reference, self.pose, self.guidance))

    def at(self, step: int, steps: int) -> StepStrengths:
        """Those of step 0..steps-1."""
        return StepStrengths(self.reference.at(step, steps), self.pose.at(step, steps), self.guidance.at(step, steps))


def of_frames(values: Sequence[float], frames: Sequence[int]) -> list[float]:
    return [values[0] if len(values) == 1 else values[i] for i in frames]
