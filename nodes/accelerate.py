"""Accelerate: skips work during sampling, for less time at a small loss of quality."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from ..animate_core.accelerate import PRESETS, Acceleration
from .host_accelerate import accelerated
from .sampling import CATEGORY, animate_model

CUSTOM = "custom"


class Accelerate(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionetteAccelerate", display_name="Accelerate", category=CATEGORY,
            description="Speeds up sampling by skipping work that changes the clip little. Works with Multi-Frame Sampler and KSampler, "
                        "and together with LoRA, torch.compile and guidance nodes. Without this node nothing is skipped.",
            search_aliases=["faster", "speed", "deepcache", "skip uncond", "cfg interval", "turbo", "cache"],
            inputs=[
                io.Model.Input("model", tooltip="From Load Motion UNet, Load Animate Anyone or Load Demo Model."),
                io.Combo.Input("preset", options=[*PRESETS, CUSTOM], default=next(iter(PRESETS)),
                               tooltip="Balanced: 2.3 times less work at 25 steps. Fast: 4.2 times less, with a larger difference from the "
                                       "full computation. custom: uses the settings below."),
                io.Int.Input("deep_every", default=2, min=1, max=20, advanced=True,
                             tooltip="For preset custom: the deep layers run only in every n-th step; the other steps cost a tenth. "
                                     "2 or 3 change little; 5 and more lose detail in motion. 1: every step."),
                io.Int.Input("deep_layers", default=1, min=1, max=3, advanced=True,
                             tooltip="For preset custom: how many of the last layers run in every step. "
                                     "1 costs a tenth of a full step, 2 a quarter, 3 nearly half. "
                                     "More layers stay closer to the full computation."),
                io.Int.Input("guidance_every", default=4, min=1, max=20, advanced=True,
                             tooltip="For preset custom: the unconditional pass runs only in every n-th step. "
                                     "The other steps cost half and reuse its last difference from the conditional pass. "
                                     "Up to a sixth of the number of steps changes little. 1: every step."),
                io.Float.Input("guidance_start", default=0.0, min=0.0, max=1.0, step=0.05, advanced=True,
                               tooltip="For preset custom: guidance starts after this fraction of the steps. "
                                       "Above 0 the character may look less like the reference."),
                io.Float.Input("guidance_end", default=1.0, min=0.0, max=1.0, step=0.05, advanced=True,
                               tooltip="For preset custom: guidance ends after this fraction of the steps; later steps cost half. "
                                       "0.7 to 0.8 changes colours and contrast a little."),
                io.Float.Input("reference_end", default=1.0, min=0.0, max=1.0, step=0.05, advanced=True,
                               tooltip="For preset custom: the reference is no longer read after this fraction of the steps. "
                                       "Saves a seventh of the conditional pass in those steps. "
                                       "Below 0.9 fine detail of clothes and face is lost."),
            ],
            outputs=[io.Model.Output("model", display_name="MODEL", tooltip="Connect to Multi-Frame Sampler or Animate Conditioning.")],
        )

    @classmethod
    def execute(cls, model: Any, preset: str, deep_every: int = 2, deep_layers: int = 1, guidance_every: int = 4,
                guidance_start: float = 0.0, guidance_end: float = 1.0, reference_end: float = 1.0) -> io.NodeOutput:
        most = animate_model(model).config.layers_per_block + 1
        acceleration = PRESETS.get(preset) or Acceleration(guidance_start, guidance_end, guidance_every, deep_every, deep_layers,
                                                           reference_end)
        return io.NodeOutput(accelerated(model, replace(acceleration, deep_layers=min(acceleration.deep_layers, most))))
