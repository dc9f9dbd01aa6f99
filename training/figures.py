"""Figures of pictures against the truth. Pictures are `[F, 3, H, W]` in [0, 1]."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from kornia.metrics import ssim as ssim_map
from torch import Tensor

SSIM_WINDOW = 11
HALO = 8  # pixels


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


def gradients(pictures: Tensor) -> Tensor:
    """Magnitude of Sobel's gradients of each channel, `[F, 3, H - 2, W - 2]`."""
    down = torch.tensor([[-1.0, -2, -1], [0, 0, 0], [1, 2, 1]])
    kernels = torch.stack([down, down.T]).unsqueeze(1).repeat(3, 1, 1, 1)
    f, c, h, w = pictures.shape
    return F.conv2d(pictures, kernels, groups=3).view(f, c, 2, h - 2, w - 2).square().sum(2).sqrt()


def edges(pictures: Tensor, truth: Tensor) -> float:
    """Pearson's correlation of the gradients' magnitudes of pictures and truth over a frame's pixels and channels; mean over frames."""
    a, b = (g - g.mean(1, keepdim=True) for g in (gradients(p).flatten(1) for p in (pictures, truth)))
    return float(((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)).clamp_min(1e-10)).mean())


def halo(pictures: Tensor, truth: Tensor, masks: Tensor) -> float:
    """Mean absolute error, of 1, outside the character's mask `[F, H, W]` within HALO pixels (rows and columns) of it."""
    inside = (masks > 0).float().unsqueeze(1)
    around = (F.max_pool2d(inside, 2 * HALO + 1, 1, HALO) - inside) > 0
    return float((pictures - truth).abs()[around.expand_as(truth)].mean())


def to_unit(pictures: Tensor) -> Tensor:
    """[-1, 1] -> [0, 1] at 8 bits, as a saved picture has it."""
    return ((pictures.clamp(-1, 1) + 1) * 127.5).round() / 255


def to_bytes(pictures: Tensor) -> Tensor:
    """`[F, 3, H, W]` in [0, 1] -> `[F, H, W, 3]` uint8."""
    return (pictures.permute(0, 2, 3, 1) * 255).round().to(torch.uint8)
