"""Pose Guider: a small convolutional network from the skeleton picture to features at the latent's size (docs/method.md F)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .blocks import silu


class PoseGuider(nn.Module):
    """The guider of Moore, MusePose and novita: conv, then for each width but the last a conv and a stride-2 conv, conv out.

    channels: widths from the picture's size down to an eighth (Moore: 16, 32, 96, 256; novita: 16, 32, 64, 128).
    out_channels: width of the denoiser's first level.
    """

    def __init__(self, channels: Sequence[int] = (16, 32, 96, 256), out_channels: int = 320, *, operations: Any = nn,
                 dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> None:
        super().__init__()
        kw: dict[str, Any] = {"dtype": dtype, "device": device}
        self.dtype = dtype or torch.get_default_dtype()
        self.out_channels = out_channels
        self.conv_in = operations.Conv2d(3, channels[0], 3, padding=1, **kw)
        self.blocks = nn.ModuleList()
        for narrow, wide in zip(channels[:-1], channels[1:], strict=True):
            self.blocks.append(operations.Conv2d(narrow, narrow, 3, padding=1, **kw))
            self.blocks.append(operations.Conv2d(narrow, wide, 3, padding=1, stride=2, **kw))
        self.conv_out = operations.Conv2d(channels[-1], out_channels, 3, padding=1, **kw)

    def forward(self, images: Tensor) -> Tensor:
        """RGB in [0, 1] `[F, 3, H, W]` -> features `[F, out_channels, H / 8, W / 8]`."""
        return self.conv_out(self.trunk(images))

    def trunk(self, images: Tensor) -> Tensor:
        """RGB `[F, 3, H, W]` -> `[F, channels[-1], H / 8, W / 8]`."""
        if images.device.type == "cpu":
            images = images.contiguous(memory_format=torch.channels_last)
        h = silu(self.conv_in(images))
        for block in self.blocks:
            h = silu(block(h))
        return h
