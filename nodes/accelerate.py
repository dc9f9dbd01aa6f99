"""Accelerate: what a run may leave out, for less time at a small price."""

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
            description="Samples faster by leaving out work that changes the clip little. Works with Multi-Frame Sampler and with "
                        "KSampler, beside LoRA, torch.compile and EasyCache. Without this node everything is computed.",
            search_aliases=["faster", "speed", "deepcache", "skip uncond", "cfg interval", "turbo", "cache"],
            inputs=[
                io.Model.Input("model", tooltip="From Load Motion UNet, Load Animate Anyone or Load Demo Model."),
                io.Combo.Input("preset", options=[*PRESETS, CUSTOM], default=next(iter(PRESETS)),
                               tooltip="Balanced: 2.3 times less work at 25 steps. Fast: 4.2 times less, with more difference from the "
                                       "plain run. custom: the settings below."),
                io.Int.Input("deep_every", default=2, min=1, max=20, advanced=True,
                             tooltip="custom: the deep layers run in every n-th step only; the steps between cost a tenth. 2 or 3 change "
                                     "little, 5 and more lose detail in motion. 1: always."),
                io.Int.Input("deep_layers", default=1, min=1, max=3, advanced=True,
                             tooltip="custom: how many of the last layers run in every step. 1 costs a tenth of a whole step, 2 a quarter, "
                                     "3 nearly half; more is nearer to the plain run."),
                io.Int.Input("guidance_every", default=4, min=1, max=20, advanced=True,
                             tooltip="custom: the unconditional half of the guidance is computed in every n-th step; between, its last "
                                     "difference from the conditional half is used again. Without it a step costs half. Up to a sixth of "
                                     "the steps changes little. 1: always."),
                io.Float.Input("guidance_start", default=0.0, min=0.0, max=1.0, step=0.05, advanced=True,
                               tooltip="custom: part of the steps after which guidance begins. Above 0 the character's looks may suffer."),
                io.Float.Input("guidance_end", default=1.0, min=0.0, max=1.0, step=0.05, advanced=True,
                               tooltip="custom: part of the steps after which guidance ends; later steps cost half. 0.7 to 0.8 changes "
                                       "colours and contrast a little."),
                io.Float.Input("reference_end", default=1.0, min=0.0, max=1.0, step=0.05, advanced=True,
                               tooltip="custom: part of the steps after which the reference is no longer read. Saves a seventh of the "
                                       "conditional half in those steps; below 0.9 fine detail of clothes and face gets lost."),
            ],
            outputs=[io.Model.Output("model", display_name="MODEL", tooltip="For Multi-Frame Sampler or Animate Conditioning.")],
        )

    @classmethod
    def execute(cls, model: Any, preset: str, deep_every: int = 2, deep_layers: int = 1, guidance_every: int = 4,
                guidance_start: float = 0.0, guidance_end: float = 1.0, reference_end: float = 1.0) -> io.NodeOutput:
        most = animate_model(model).config.layers_per_block + 1
        acceleration = PRESETS.get(preset) or Acceleration(guidance_start, guidance_end, guidance_every, deep_every, deep_layers,
                                                           reference_end)
        return io.NodeOutput(accelerated(model, replace(acceleration, deep_layers=min(acceleration.deep_layers, most))))
