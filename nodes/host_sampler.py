"""The published sampling loop as a SAMPLER of the host's: the host loads, wraps and frees the MODEL; the loop is the library's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import comfy.model_base
import comfy.model_management as mm
import comfy.samplers
import comfy.utils
import torch
from torch import Tensor

from ..animate_core.accelerate import Acceleration
from ..animate_core.families import FamilyPreset
from ..animate_core.resume import Checkpoint
from ..animate_core.sampling import Known, ddim_timesteps, make_scheduler, rescale_guidance, sample_clip, set_timesteps
from ..animate_core.windows import Windows
from .host import ClipProgress
from .host_model import ACCELERATION, ON_WINDOW, STEP, TIMESTEPS, AnimateModel

# Infinite by the published schedule. The host's 4519 leaves 2e-4 of the noise in the first clean estimate, which guidance can make
# 4e-3 in the end; this leaves 3e-5, and more would cost as much by the rounding of noise times sigma. A power of two multiplies exactly.
ZERO_SNR_SIGMA = 2.0**15


def sigmas_at(model_sampling: Any, timesteps: Tensor) -> Tensor:
    """The host's sigmas at integer timesteps, on the CPU. Raises ValueError where its table is another one."""
    table = model_sampling.sigmas.cpu()
    if len(table) <= int(timesteps.max()):
        raise ValueError(f"model: its noise schedule has {len(table)} steps, but Animate Anyone needs 1000; remove the node that replaced "
                         "it (ModelSamplingDiscrete with lcm)")
    if table[-1] > 1000:  # zero terminal SNR
        table = torch.cat([table[:-1], torch.tensor([ZERO_SNR_SIGMA])])
    return table[timesteps.long()]


def ddim_sigmas(model: Any, steps: int, denoise: float) -> Tensor:
    """The host's sigmas at the published DDIM timesteps, and a final 0."""
    return torch.cat([sigmas_at(model.get_model_object("model_sampling"), ddim_timesteps(steps, denoise)), torch.zeros(1)])


def check_schedule(model: Any) -> None:
    """Raises ValueError if a node has replaced the MODEL's noise schedule by another: the published solvers bring their own."""
    # rebuilt: the one on the network may be the replacement itself, left there by another sampler's run
    own = comfy.model_base.model_sampling(model.model.model_config, model.model.model_type)
    found = model.get_model_object("model_sampling")
    table, theirs = own.sigmas.cpu(), found.sigmas.cpu()
    same = len(theirs) == len(table) and torch.allclose(theirs, table)
    if not same or type(found).calculate_denoised is not type(own).calculate_denoised:
        names = ", ".join(c.__name__ for c in type(found).__mro__ if "ModelSampling" in c.__name__)
        raise ValueError(f"model: its noise schedule or prediction type was replaced ({names}), by a node such as ModelSamplingDiscrete. "
                         "Multi-Frame Sampler samples with the published schedule of the model's family; remove that node, or sample "
                         "with Animate Conditioning and KSampler")


class ClipSampler(comfy.samplers.Sampler):
    """Runs `sample_clip` inside the host's CFGGuider, which puts the MODEL on the device, and batches, guides and wraps its calls."""

    def __init__(self, scheduler: str, steps: int, denoise: float, windows: Windows, rescale: float = 0.0,
                 checkpoint: Checkpoint | None = None) -> None:
        self.scheduler = scheduler
        self.steps = steps
        self.denoise = denoise
        self.windows = windows
        self.rescale = rescale
        self.checkpoint = checkpoint

    def sample(self, guider: Any, sigmas: Tensor, extra_args: dict[str, Any], callback: Any, noise: Tensor,
               latent_image: Tensor | None = None, denoise_mask: Tensor | None = None, disable_pbar: bool = False) -> Tensor:
        model: AnimateModel = guider.inner_model
        options = extra_args["model_options"]
        frames, halves = noise.shape[0], 2 if guider.cfg > 1.0 else 1
        timesteps = set_timesteps(make_scheduler(self.scheduler, model.preset), self.steps, self.denoise)
        levels = sigmas_at(model.model_sampling, timesteps).tolist()
        calls = [self.passes(step, frames, halves, options.get("transformer_options", {})) for step in range(self.steps)]
        progress = ClipProgress(guider.model_patcher, sum(calls))

        def predict(x: Tensor, timestep: Tensor, step: int) -> tuple[None, Tensor]:
            transformer = {**options.get("transformer_options", {}), STEP: step, TIMESTEPS: timesteps, ON_WINDOW: progress.window}
            call = {**options, "transformer_options": transformer}
            conditional: list[Tensor] = []
            if self.rescale and halves == 2:
                call["sampler_post_cfg_function"] = [*options.get("sampler_post_cfg_function", []), partial(watch, conditional)]
            sigma = levels[step]
            scaled = x * (sigma**2 + 1) ** 0.5
            clean = guider(scaled, torch.full((frames,), sigma, device=x.device), model_options=call, seed=extra_args["seed"])
            prediction = prediction_of(clean, scaled, sigma, model.preset)
            if conditional:
                prediction = rescale_guidance(prediction, prediction_of(conditional[0], scaled, sigma, model.preset), self.rescale)
            return None, prediction

        def after(step: int, steps: int, x: Tensor, clean: Tensor) -> None:
            progress.done = sum(calls[:step + 1])
            progress.step(clean)

        known = None
        if denoise_mask is not None and latent_image is not None:
            known = Known(latent_image, denoise_mask, mask_by_step(guider, options, sigmas, levels, denoise_mask))
        acceleration: Acceleration | None = options.get("transformer_options", {}).get(ACCELERATION)
        checkpoint = self.checkpoint
        if checkpoint and acceleration:
            # a step that takes over from earlier ones cannot be the first
            checkpoint = replace(checkpoint, ready=lambda step: acceleration.at(step, self.steps).whole_work)
        return sample_clip(predict, noise, model.preset, scheduler=self.scheduler, steps=self.steps,
                           latent=latent_image if self.denoise < 1.0 else None, denoise=self.denoise, seed=extra_args["seed"] or 0,
                           known=known, checkpoint=checkpoint, callback=after)

    def passes(self, step: int, frames: int, halves: int, options: dict[str, Any]) -> int:
        """Passes of a window's clip through the network in one step."""
        acceleration: Acceleration | None = options.get(ACCELERATION)
        if acceleration is None:
            return halves * len(self.windows.at(step, frames))
        plan = acceleration.at(step, self.steps)
        return (halves if plan.guidance == "computed" else 1) * len(self.windows.at(plan.whole, frames))


def mask_by_step(guider: Any, options: dict[str, Any], sigmas: Tensor, levels: list[float], mask: Tensor) -> Callable[[int], Tensor] | None:
    """A node's own mask for each step (Differential Diffusion), where there is one."""
    function = options.get("denoise_mask_function")
    if function is None:
        return None
    return lambda step: function(mask.new_full((len(mask),), levels[step]), mask, extra_options={"model": guider, "sigmas": sigmas})


def watch(conditional: list[Tensor], about: dict[str, Any]) -> Tensor:
    """A function for the host to call after guidance: puts the conditional half's clean latents aside."""
    conditional.append(about["cond_denoised"])
    return about["denoised"]


def prediction_of(clean: Tensor, x: Tensor, sigma: float, preset: FamilyPreset) -> Tensor:
    """What the network would have to predict for x (the host's, noise times sigma) to mean these clean latents."""
    if preset.prediction_type == "v_prediction":
        scale = (sigma**2 + 1) ** 0.5
        return (x / (scale * scale) - clean) * (scale / sigma)
    return (x - clean) / sigma


def sample(model: Any, positive: Any, negative: Any, noise: Tensor, latent: Tensor, sigmas: Tensor, cfg: float, seed: int,
           sampler: ClipSampler, mask: Tensor | None = None) -> Tensor:
    """Latents `[F, 4, h, w]` as the host passes them about (unscaled), on the device for outputs. mask: the host's noise mask
    `[F, 1, H, W]` of any size; where it is 0 the given latents come out, bit for bit."""
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(positive, negative)
    # at 1 or below the unconditional half is left out
    guider.set_cfg(max(cfg, 1.0))
    samples = guider.sample(noise, latent, sampler, sigmas, denoise_mask=mask, seed=seed)
    samples = samples.to(device=mm.intermediate_device(), dtype=mm.intermediate_dtype())
    if mask is None:
        return samples
    return torch.where(comfy.utils.reshape_mask(mask, latent.shape).to(samples.device) > 0, samples, latent.to(samples))
