"""The published sampling loop as a SAMPLER of the host's: the host loads, wraps and frees the MODEL; the loop is the library's."""

from __future__ import annotations

from typing import Any

import comfy.model_management as mm
import comfy.samplers
import torch
from torch import Tensor

from ..animate_core.sampling import sample_clip
from ..animate_core.windows import Windows
from .host import ClipProgress
from .host_model import COND_KEY, AnimateModel, ClipState


class ClipSampler(comfy.samplers.Sampler):
    """Runs `sample_clip` inside the host's CFGGuider, which has put the MODEL and its conditioning on the device."""

    def __init__(self, scheduler: str, steps: int, denoise: float, windows: Windows) -> None:
        self.scheduler = scheduler
        self.steps = steps
        self.denoise = denoise
        self.windows = windows

    def sample(self, guider: Any, sigmas: Tensor, extra_args: dict[str, Any], callback: Any, noise: Tensor,
               latent_image: Tensor | None = None, denoise_mask: Tensor | None = None, disable_pbar: bool = False) -> Tensor:
        model: AnimateModel = guider.inner_model
        options = extra_args["model_options"].get("transformer_options", {})
        guided = guider.cfg > 1.0
        conditional, unconditional = (guider.conds[name][0]["model_conds"][COND_KEY].cond for name in ("positive", "negative"))
        together = guided and self.fits_together(guider, noise.shape)
        frames = noise.shape[0]
        windows = sum(len(self.windows.at(step, frames)) for step in range(self.steps))
        progress = ClipProgress(guider.model_patcher, windows * (2 if guided and not together else 1))

        def run(x: Tensor, timestep: Tensor, step: int, clips: list[ClipState], cond_or_uncond: list[int]) -> Tensor:
            call = {**options, "cond_or_uncond": cond_or_uncond, "sigmas": sigmas[step:step + 1]}
            batch, timesteps = x.repeat(len(clips), 1, 1, 1), timestep.expand(len(clips) * frames)
            return model.predict_with_wrappers(batch, timesteps, clips, call, step, progress.window)

        def predict(x: Tensor, timestep: Tensor, step: int) -> tuple[Tensor | None, Tensor]:
            if not guided:
                return None, run(x, timestep, step, conditional, [0])
            if together:
                u, c = run(x, timestep, step, unconditional + conditional, [1, 0]).chunk(2)
                return u, c
            return run(x, timestep, step, unconditional, [1]), run(x, timestep, step, conditional, [0])

        return sample_clip(predict, noise, model.preset, scheduler=self.scheduler, steps=self.steps, guidance=guider.cfg,
                           latent=latent_image if self.denoise < 1.0 else None, denoise=self.denoise, seed=extra_args["seed"] or 0,
                           callback=lambda step, steps, x, clean: progress.step(clean))

    def fits_together(self, guider: Any, shape: torch.Size) -> bool:
        """Whether both halves of the guidance fit into memory at once, by the host's own rule."""
        needed = guider.inner_model.memory_required([2 * shape[0], *shape[1:]], {COND_KEY: [[self.windows.length]] * 2})
        return needed * 1.5 < guider.model_patcher.get_free_memory(guider.model_patcher.load_device)


def sample(model: Any, positive: Any, negative: Any, noise: Tensor, latent: Tensor, sigmas: Tensor, cfg: float, seed: int,
           sampler: ClipSampler) -> Tensor:
    """Latents `[F, 4, h, w]` as the host passes them about (unscaled), on the device for outputs."""
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(positive, negative)
    guider.set_cfg(cfg)
    samples = guider.sample(noise, latent, sampler, sigmas, seed=seed)
    return samples.to(device=mm.intermediate_device(), dtype=mm.intermediate_dtype())
