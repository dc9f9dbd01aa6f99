"""What a sampling run may leave out or reuse, at a price: approximations, off unless asked for.

* Guidance in a span of the steps only: without the unconditional half a step costs less than half (Kynkaanniemi et al.,
  arXiv 2404.07724).
* The unconditional half seldom: between, the last known difference of the halves stands in (Castillo et al., arXiv 2312.12487;
  Lv et al., arXiv 2410.19355).
* The deep layers seldom: adjacent steps' deep features are alike (DeepCache, Ma et al., arXiv 2312.00858).
* Late steps without the reference's keys and values.

Steps are counted as parts of the run, so that a setting means the same for any number of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Literal

import torch
from torch import Tensor

from .blocks import DeepFeatures


@dataclass(frozen=True)
class StepPlan:
    """What runs in one step.

    guidance: both halves are computed; "reused": the unconditional one is the conditional one plus the last known difference; "off".
    whole: the step in which the deep layers run or ran last, whose windows this one takes too. reuse: whether that is an earlier step.
    deep_layers: output layers that run in every step; 0 where deep layers always run. reference: whether the reference is read.
    """

    guidance: Literal["computed", "reused", "off"]
    whole: int
    reuse: bool
    deep_layers: int
    reference: bool

    @property
    def whole_work(self) -> bool:
        """Whether the step takes nothing over from earlier ones."""
        return not self.reuse and self.guidance != "reused"


@dataclass(frozen=True)
class Acceleration:
    """Settings; the defaults leave nothing out.

    guidance_start, guidance_end: the part of the steps that is guided, 0 to 1.
    guidance_every: the unconditional half runs in every n-th guided step.
    deep_every: the deep layers run in every n-th step.
    deep_layers: output layers, of the last level, that run in every step: 1 (least work) to 3.
    reference_end: the part of the steps in which the reference is read, 0 to 1.
    Raises ValueError for values out of range.
    """

    guidance_start: float = 0.0
    guidance_end: float = 1.0
    guidance_every: int = 1
    deep_every: int = 1
    deep_layers: int = 1
    reference_end: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.guidance_start <= self.guidance_end <= 1.0:
            raise ValueError(f"guidance_start and guidance_end must be between 0 and 1, and the start not above the end; got "
                             f"{self.guidance_start:g} and {self.guidance_end:g}")
        if not 0.0 <= self.reference_end <= 1.0:
            raise ValueError(f"reference_end must be between 0 and 1; got {self.reference_end:g}")
        for name in ("guidance_every", "deep_every", "deep_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}")

    def at(self, step: int, steps: int) -> StepPlan:
        """The plan of step 0..steps-1."""
        start, end = ceil(self.guidance_start * steps), ceil(self.guidance_end * steps)
        guidance: Literal["computed", "reused", "off"] = "off"
        if start <= step < end:
            guidance = "reused" if (step - start) % self.guidance_every else "computed"
        since = step % self.deep_every
        layers = self.deep_layers if self.deep_every > 1 else 0
        return StepPlan(guidance, step - since, since > 0, layers, step < ceil(self.reference_end * steps))


PRESETS = {
    "Balanced": Acceleration(deep_every=2, guidance_every=4),
    "Fast": Acceleration(deep_every=5, guidance_every=5),
}


@dataclass
class Kept:
    """What the passes of one clip leave for later steps of the run: what enters the layers that run in every step, by window."""

    whole: int = -1
    deep: dict[Hashable, Tensor] = field(default_factory=dict)

    def find(self, whole: int, key: Hashable) -> Tensor | None:
        return self.deep.get(key) if self.whole == whole else None

    def keep(self, whole: int, key: Hashable, value: Tensor) -> None:
        if self.whole != whole:
            self.whole, self.deep = whole, {}
        self.deep[key] = value


def run_deep(network: Callable[[DeepFeatures | None], Tensor], plan: StepPlan, kept: Sequence[Kept], key: Hashable, device: torch.device,
             store: Callable[[Tensor], Tensor]) -> Tensor:
    """One pass over a window: the deep layers' features are reused if all clips of the batch have them, else kept.

    kept: of each clip of the batch. key: tells the window, and whatever else makes passes of one step differ. store: brings a clip's
    features to where they are kept; they come back to `device`.
    """
    if not plan.deep_layers:
        return network(None)
    values = [clip.find(plan.whole, key) for clip in kept] if plan.reuse else [None]
    features = [value.to(device) for value in values if value is not None]
    if len(features) == len(kept):
        return network(DeepFeatures(plan.deep_layers, features[0] if len(features) == 1 else torch.cat(features)))
    deep = DeepFeatures(plan.deep_layers)
    out = network(deep)
    assert deep.value is not None
    for clip, value in zip(kept, deep.value.chunk(len(kept)), strict=True):
        clip.keep(plan.whole, key, store(value))
    return out
