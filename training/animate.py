"""Sampling with the networks in training, for sheets and figures: the same loop that the nodes run."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from animate_core.families import FamilyPreset
from animate_core.sampling import draw_noise, sample_clip, unet_predictor
from animate_core.unet import UNet
from animate_core.windows import Windows

from .networks import AnimateNetworks


def without_motion(denoiser: UNet) -> UNet:
    plain = UNet(dataclasses.replace(denoiser.config, motion=False))
    plain.load_state_dict({k: v for k, v in denoiser.state_dict().items() if ".motion_modules." not in k})
    return plain.to(next(denoiser.parameters()).device).eval()


@torch.no_grad()
def animate(networks: AnimateNetworks, reference: Tensor, token: Tensor, poses: Tensor, preset: FamilyPreset, *, steps: int,
            guidance: float, seed: int, motion: bool = True) -> Tensor:
    """reference: latents `[1, 4, h, w]`; token `[1, 1, D]`; poses `[F, 3, H, W]` in [0, 1] -> latents `[F, 4, h, w]`, all in one window."""
    n = networks
    denoiser = n.denoiser if motion else without_motion(n.denoiser)
    with torch.autocast(reference.device.type, torch.bfloat16):
        features = n.reference.reference_features(reference, token)
        none = denoiser.condition(torch.zeros_like(token)) if guidance != 1 else None
        predict = unet_predictor(denoiser, denoiser.condition(token, features), none, n.guider(poses),
                                 Windows(length=len(poses), overlap=0))
        noise = draw_noise(seed, len(poses), *reference.shape[-2:]).to(reference.device)
        return sample_clip(predict, noise, preset, steps=steps, guidance=guidance).float()
