"""Pose Guider: a small convolutional network from the skeleton picture to features at the latent's size (docs/method.md F)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from .blocks import silu
from .checkpoint_files import guider_widths
from .windows import take

# pictures that run through the guider together: its first layers work at the picture's full size
POSES_AT_ONCE = 4


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

    def encode(self, pictures: Tensor, dtype: torch.dtype, at_once: int = POSES_AT_ONCE) -> Tensor:
        """RGB in 8 bits `[F, H, W, 3]` -> features `[F, out_channels, H / 8, W / 8]`, some frames at once. dtype: what it computes in."""
        frames, height, width, _ = pictures.shape
        features = torch.empty(frames, self.out_channels, height // 8, width // 8, dtype=dtype, device=pictures.device)
        for start in range(0, frames, at_once):
            part = pictures[start:start + at_once].permute(0, 3, 1, 2)
            features[start:start + at_once] = self((part.float() / 255).to(dtype))
        return features


@dataclass(frozen=True)
class PoseFrames:
    """A clip's guidance, of which each window takes its frames.

    kept: features `[F, C, h, w]`; or, with a guider that makes features of them when they are asked for, pictures `[F, H, W, 3]` uint8.
    On any device; the guider is on the device of the features.
    """

    kept: Tensor
    guider: PoseGuider | None = None

    def __len__(self) -> int:
        return len(self.kept)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the latents."""
        height, width = self.kept.shape[-2:] if self.guider is None else (n // 8 for n in self.kept.shape[1:3])
        return height, width

    def at(self, frames: Sequence[int], device: torch.device, dtype: torch.dtype, non_blocking: bool = False) -> Tensor:
        """Features `[n, C, h, w]` of some frames. non_blocking: as in `Tensor.to`."""
        part = take(self.kept, frames)
        if self.guider is None:
            return part.to(device, dtype, non_blocking=non_blocking)
        return self.guider.encode(part.to(device, non_blocking=non_blocking), self.guider.dtype).to(dtype)

    def to(self, device: torch.device) -> PoseFrames:
        """For windows on another card: a guider of its own there. What is kept stays where it is."""
        return self if self.guider is None else replace(self, guider=guider_on(self.guider, device, self.guider.dtype))


def guider_on(guider: nn.Module, device: torch.device, dtype: torch.dtype) -> PoseGuider:
    """A guider with the weights of another, whatever layers that is built of and wherever its weights lie."""
    weights = {key: x.to(device, dtype) for key, x in guider.state_dict().items()}
    out_channels = weights["conv_out.weight"].shape[0]
    copy = PoseGuider(guider_widths(weights), out_channels, dtype=dtype, device="meta").requires_grad_(False).eval()
    copy.load_state_dict(weights, assign=True)
    return copy
