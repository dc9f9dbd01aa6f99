"""Temporal-Attention: the motion modules (AnimateDiff's original form; docs/method.md C.3).

Each position of the picture attends over the frames of its clip. The norm is per frame (diffusers' own motion
module normalises over frames and gives other numbers).
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn

from .blocks import FeedForward, Run, SelfOrCrossAttention, add, by_parts, part_count, size


def position_table(frames: int, channels: int, device: torch.device | str | None = None) -> Tensor:
    """Sinusoidal positions `[frames, channels]`, float32: entry 2i is sin(p w), 2i+1 cos(p w), w = 10000^(-2i/channels)."""
    position = torch.arange(frames, dtype=torch.float32, device=device).unsqueeze(1)
    w = torch.exp(torch.arange(0, channels, 2, dtype=torch.float32, device=device) * (-math.log(10000.0) / channels))
    table = torch.empty(frames, channels, device=device)
    table[:, 0::2] = torch.sin(position * w)
    table[:, 1::2] = torch.cos(position * w)
    return table


class PositionEncoding(nn.Module):
    """Holds the published table `pe` `[1, max_frames, C]`; windows longer than it are given the formula's values."""

    pe: Tensor

    def __init__(self, channels: int, max_frames: int, device: torch.device | str | None) -> None:
        super().__init__()
        self.register_buffer("pe", position_table(max_frames, channels, device).unsqueeze(0))

    def forward(self, x: Tensor) -> Tensor:
        """Adds positions 0..F-1 to `[B, F, C]`."""
        frames, channels = x.shape[-2:]
        if frames <= self.pe.shape[1]:
            # the buffer may lie on another device: the host's partial loading moves parameters only
            return x + self.pe[:, :frames].to(x)
        return x + position_table(frames, channels, x.device).to(x)


class TemporalAttention(SelfOrCrossAttention):
    def __init__(self, channels: int, heads: int, max_frames: int, operations: Any, kw: dict[str, Any]) -> None:
        super().__init__(channels, channels, heads, operations, kw)
        self.pos_encoder = PositionEncoding(channels, max_frames, kw["device"])


class TemporalBlock(nn.Module):
    def __init__(self, channels: int, heads: int, max_frames: int, operations: Any, kw: dict[str, Any]) -> None:
        super().__init__()
        self.attention_blocks = nn.ModuleList([TemporalAttention(channels, heads, max_frames, operations, kw) for _ in range(2)])
        self.norms = nn.ModuleList([operations.LayerNorm(channels, eps=1e-5, **kw) for _ in range(2)])
        self.ff = FeedForward(channels, operations, kw)
        self.ff_norm = operations.LayerNorm(channels, eps=1e-5, **kw)

    def forward(self, x: Tensor, run: Run) -> Tensor:
        """`[B, F, C]` -> the same; x itself may be overwritten if gradients are off."""
        for attention, norm in zip(self.attention_blocks, self.norms, strict=True):
            n = cast(TemporalAttention, attention).pos_encoder(norm(x))
            x = add(x, attention(n, n, run.attention))
        del n
        return add(x, self.ff(self.ff_norm(x)))


class TemporalTransformer(nn.Module):
    def __init__(self, channels: int, heads: int, groups: int, max_frames: int, operations: Any, kw: dict[str, Any]) -> None:
        super().__init__()
        self.norm = operations.GroupNorm(groups, channels, eps=1e-6, **kw)
        self.proj_in = operations.Linear(channels, channels, **kw)
        self.transformer_blocks = nn.ModuleList([TemporalBlock(channels, heads, max_frames, operations, kw)])
        self.proj_out = operations.Linear(channels, channels, **kw)

    def forward(self, x: Tensor, run: Run) -> Tensor:
        """`[clips * frames, C, h, w]` -> the same, some positions at a time; x may be overwritten if gradients are off."""
        h, w = x.shape[-2:]
        parts = part_count(x, 4 * size(x))
        # one clip after the other, where a part is less than a clip
        for clip in x.split(run.frames) if parts > 1 else [x]:
            y = self.norm(clip).unflatten(0, (-1, run.frames))  # [clips, F, C, h, w]
            y = y.permute(0, 3, 4, 1, 2).flatten(0, 2)  # [(clips h w), F, C]
            y = by_parts(lambda span, y=y: self.part(y[span], run), len(y), parts)  # type: ignore[misc]
            y = y.unflatten(0, (-1, h, w)).permute(0, 3, 4, 1, 2).flatten(0, 1)
            out = add(clip, y)
        return x if parts > 1 else out

    def part(self, y: Tensor, run: Run) -> Tensor:
        return self.proj_out(self.transformer_blocks[0](self.proj_in(y), run))


class MotionModule(nn.Module):
    def __init__(self, channels: int, heads: int, groups: int, max_frames: int, operations: Any, kw: dict[str, Any]) -> None:
        super().__init__()
        self.temporal_transformer = TemporalTransformer(channels, heads, groups, max_frames, operations, kw)

    def forward(self, x: Tensor, run: Run) -> Tensor:
        """`[clips * frames, C, h, w]` -> the same; frames of a clip attend to each other at each position."""
        return self.temporal_transformer(x, run)
