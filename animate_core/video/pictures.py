"""Means of the video tools: blurring, means of a neighbourhood, resizing, parts of a clip, clean masks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..demo.paper import ndimage

Array = np.ndarray

FRAMES = 8  # at a time: memory stays flat, whatever the length
LUMA = (0.2126, 0.7152, 0.0722)  # Rec. 709, of linear light


def parts(frames: int, size: int = FRAMES) -> Iterator[slice]:
    """A clip's frames, some at a time."""
    return (slice(start, min(start + size, frames)) for start in range(0, frames, size))


def channels_first(images: Tensor) -> Tensor:
    """IMAGE `[F, H, W, 3]` -> `[F, 3, H, W]` float32 in [0, 1]."""
    return images.movedim(-1, 1).float().clamp(0, 1)


def blurred(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of `[F, C, H, W]`; sigma in pixels. Edges are repeated. A wide one is made at a smaller size."""
    from kornia.filters import gaussian_blur2d

    height, width = x.shape[-2:]
    reduce = min(int(sigma // 3), min(height, width) // 4)
    if reduce > 1:
        small = F.interpolate(x, (max(1, height // reduce), max(1, width // reduce)), mode="area")
        return F.interpolate(blurred(small, sigma / reduce), (height, width), mode="bilinear")
    side = 2 * max(1, int(np.ceil(3 * sigma))) + 1
    return gaussian_blur2d(x, (side, side), (sigma, sigma), border_type="replicate")


def local_mean(x: Tensor, weight: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """The weighted mean of x `[F, C, H, W]` around each pixel, and how much weight there is around it, `[F, 1, H, W]` in [0, 1]."""
    both = blurred(torch.cat([x * weight, weight], 1), sigma)
    support = both[:, -1:]
    return both[:, :-1] / support.clamp_min(1e-6), support


def dilated(mask: Tensor, radius: int) -> Tensor:
    """The largest value within a square of so many pixels around each; of `[F, 1, H, W]`."""
    return mask if radius < 1 else F.max_pool2d(mask, 2 * radius + 1, 1, radius)


def eroded(mask: Tensor, radius: int) -> Tensor:
    """The smallest value; beyond the border the mask goes on."""
    return -dilated(-mask, radius)


def resized(x: Tensor, width: int, height: int) -> Tensor:
    """`[F, C, H, W]` at another size, without aliases; in [0, 1]."""
    if x.shape[-2:] == (height, width):
        return x
    return F.interpolate(x, (height, width), mode="bicubic", antialias=True).clamp(0, 1)


def covering(x: Tensor, width: int, height: int) -> Tensor:
    """`[F, C, H, W]` with its longer sides cropped to the shape of width x height, and resized."""
    tall, wide = x.shape[-2:]
    if (tall, wide) == (height, width):
        return x
    part = min(wide / width, tall / height)
    w, h = max(1, round(part * width)), max(1, round(part * height))
    left, top = (wide - w) // 2, (tall - h) // 2
    return resized(x[..., top:top + h, left:left + w], width, height)


def tidy(alpha: Tensor, hole: float, speck: float) -> Tensor:
    """Mattes `[F, 1, H, W]` without enclosed holes and single specks of at most so many pixels."""
    nd = ndimage()
    changed = []
    for frame in alpha[:, 0].cpu().numpy():
        out = frame.copy()
        for solid, most, value in ((frame < 0.5, hole, 1.0), (frame > 0.25, speck, 0.0)):
            labels, count = nd.label(solid, np.ones((3, 3)) if value == 0 else None)
            small = np.bincount(labels.ravel(), minlength=count + 1) <= most
            small[0] = False
            if value == 1:
                small[np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))] = False
            if small.any():
                # a hole's soft edge goes with it
                where = nd.binary_dilation(small[labels], np.ones((3, 3)))
                out[where] = np.maximum(out, value)[where] if value else 0.0
        changed.append(out)
    return torch.from_numpy(np.stack(changed))[:, None].to(alpha.device)
