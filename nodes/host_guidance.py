"""Guidance in the host's sampling: how the halves are computed, and the unconditional one as guidance of another strength sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.samplers
from torch import Tensor

from ..animate_core.strengths import Strengths
from .host_model import COND_KEY, GUIDED, AnimateModel, ClipBatch, strengths_at

# what the host calls for the halves' clean latents: {"conds", "input", "sigma", "model", "model_options"} -> [conditional, unconditional]
Halves = Callable[[dict[str, Any]], list[Tensor]]


def compute(args: dict[str, Any]) -> list[Tensor]:
    return comfy.samplers.calc_cond_batch(args["model"], args["conds"], args["input"], args["sigma"], args["model_options"])


def guided(model: Any, strengths: Strengths) -> Any:
    """A clone of the MODEL that guides so; the MODEL itself where its guidance is 1 throughout. Other nodes' changes to the halves stay."""
    if strengths.guidance == Strengths().guidance:
        return model
    model = model.clone()
    model.model_options.setdefault("transformer_options", {})[GUIDED] = True
    halves = model.model_options.get("sampler_calc_cond_batch_function", compute)
    model.set_model_sampler_calc_cond_batch_function(GuidedHalves(halves, strengths))
    return model


class GuidedHalves:
    """Moves the unconditional half towards the conditional one, or away from it, before the host guides with them. Where the guidance is 0
    for all frames, only the conditional half is computed."""

    def __init__(self, halves: Halves, strengths: Strengths) -> None:
        self.halves, self.strengths = halves, strengths

    def __call__(self, args: dict[str, Any]) -> list[Tensor]:
        conditional, unconditional = args["conds"]
        if not conditional or not unconditional:
            return self.halves(args)
        clips: ClipBatch = conditional[0]["model_conds"][COND_KEY].cond
        options = {**args["model_options"].get("transformer_options", {}), "sigmas": args["sigma"]}
        step = AnimateModel.step_of(args["sigma"], clips, args["input"].shape[0], options)
        level = strengths_at(self.strengths, step, options)
        if not level.guided:
            clean = self.halves({**args, "conds": [conditional, None]})[0]
            return [clean, clean]
        clean, other = self.halves(args)
        return [clean, level.guide(other, clean)]
