"""Figures of pictures against the truth. Pictures are `[F, 3, H, W]` in [0, 1]."""

from __future__ import annotations

import torch
from kornia.metrics import ssim as ssim_map
from torch import Tensor

SSIM_WINDOW = 11


def psnr(pictures: Tensor, truth: Tensor) -> float:
    """Mean over frames of the peak signal-to-noise ratio, dB."""
    mse = (pictures - truth).square().flatten(1).mean(1).clamp_min(1e-10)
    return float((-10 * mse.log10()).mean())


def ssim(pictures: Tensor, truth: Tensor) -> float:
    """Structural similarity (Wang et al. 2004; Gaussian window of 11, sigma 1.5), mean over pixels, channels and frames."""
    return float(ssim_map(pictures, truth, SSIM_WINDOW).mean())


def flicker(pictures: Tensor, truth: Tensor) -> float:
    """Mean absolute difference between the changes from frame to frame of the pictures and of the truth."""
    return float((pictures.diff(dim=0) - truth.diff(dim=0)).abs().mean())


def colour_error(pictures: Tensor, truth: Tensor, masks: Tensor) -> float:
    """Mean absolute difference inside the character's mask `[F, H, W]`, of 1."""
    inside = (masks > 0.5).unsqueeze(1).expand_as(truth)
    return float((pictures - truth).abs()[inside].mean())


def to_unit(pictures: Tensor) -> Tensor:
    """[-1, 1] -> [0, 1] at 8 bits, as a saved picture has it."""
    return ((pictures.clamp(-1, 1) + 1) * 127.5).round() / 255


def to_bytes(pictures: Tensor) -> Tensor:
    """`[F, 3, H, W]` in [0, 1] -> `[F, H, W, 3]` uint8."""
    return (pictures.permute(0, 2, 3, 1) * 255).round().to(torch.uint8)
