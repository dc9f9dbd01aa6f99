"""Accelerate's way into the host's sampling: which half of the guidance a step computes, and what the model call leaves out."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..animate_core.accelerate import Acceleration
from .host_guidance import GuidedHalves, Halves, compute
from .host_model import ACCELERATION, COND_KEY, AnimateModel, ClipBatch, plan_of


def accelerated(model: Any, acceleration: Acceleration) -> Any:
    """A clone of the MODEL whose runs leave out what is asked for. Other nodes' changes to the halves stay."""
    model = model.clone()
    model.model_options.setdefault("transformer_options", {})[ACCELERATION] = acceleration
    halves = model.model_options.get("sampler_calc_cond_batch_function", compute)
    if isinstance(halves, GuidedHalves):
        # the strength is that of each step, the difference of the halves that of an earlier one
        model.set_model_sampler_calc_cond_batch_function(GuidedHalves(AcceleratedHalves(halves.halves), halves.strengths))
    else:
        model.set_model_sampler_calc_cond_batch_function(AcceleratedHalves(halves))
    return model


class AcceleratedHalves:
    """Leaves the unconditional half out where the step's plan says so. What it remembers lies in the run's conditioning."""

    def __init__(self, halves: Halves) -> None:
        # of two Accelerate nodes the last one counts
        self.halves: Halves = halves.halves if isinstance(halves, AcceleratedHalves) else halves

    def __call__(self, args: dict[str, Any]) -> list[Tensor]:
        conditional, unconditional = args["conds"]
        if not conditional or not unconditional:
            return self.halves(args)
        clips: ClipBatch = conditional[0]["model_conds"][COND_KEY].cond
        sigma = args["sigma"]
        options = {**args["model_options"].get("transformer_options", {}), "sigmas": sigma}
        plan = plan_of(AnimateModel.step_of(sigma, clips, args["input"].shape[0], options), options)
        memo = clips[0].memo
        if plan is None or plan.guidance == "computed" or (plan.guidance == "reused" and memo.difference is None):
            halves = self.halves(args)
            if plan is not None:
                memo.difference = (halves[1] - halves[0]) / noise_share(sigma)
            return halves
        clean = self.halves({**args, "conds": [conditional, None]})[0]
        return [clean, clean if memo.difference is None or plan.guidance == "off" else clean + memo.difference * noise_share(sigma)]


def noise_share(sigma: Tensor) -> Tensor:
    """The noise's factor sqrt(1 - alpha) in a latent of unit variance `[F, 1, 1, 1]`: by it a velocity's change moves the clean latent."""
    return (sigma / (sigma.square() + 1).sqrt()).reshape(-1, 1, 1, 1)
