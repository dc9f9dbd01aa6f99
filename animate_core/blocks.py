"""The 2D layers that both UNets share: residual block, spatial transformer, sampling, attention.

Images run as `[rows, C, h, w]` with rows = clips x frames, frame the fast index; tokens as `[rows, h*w, C]`.
Layer names are the published ones (Stable Diffusion 1.5 in diffusers' layout). Dropout layers of the
originals are `Identity` here, so that their places in the numbering hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# (q [B, Nq, C], k [B, Nk, C], v [B, Nk, C], heads) -> [B, Nq, C], softmax scale (C / heads)^-0.5
Attention = Callable[[Tensor, Tensor, Tensor, int], Tensor]

# CUDA's fused kernels put the batch into a grid dimension of 65,535.
SDPA_MAX_BATCH = 32768

# Measured on CPUs: from here on channels-last saves the copies between pictures and tokens; below it, oneDNN would spend
# up to half of a convolution on reordering its weights, and bf16 group norms are several times slower.
CPU_CHANNELS_LAST_PIXELS = 1024
# Numbers in the widest tensor of a feed-forward layer on CPUs. glibc maps blocks above 32 MiB afresh each time, and touching
# their pages cost a quarter of the layer's time.
CPU_FEED_FORWARD_NUMBERS = 1 << 23


def sdpa(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Multi-head attention through `torch.nn.functional.scaled_dot_product_attention`.

    q `[B, Nq, C]`, k and v `[B, Nk, C]` -> `[B, Nq, C]`.
    """
    if q.shape[0] > SDPA_MAX_BATCH:
        parts = zip(q.split(SDPA_MAX_BATCH), k.split(SDPA_MAX_BATCH), v.split(SDPA_MAX_BATCH), strict=True)
        return torch.cat([sdpa(*part, heads) for part in parts])
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


@dataclass(frozen=True)
class ClipConditioning:
    """What one clip's rows see besides their own tokens, ready before the first step (`UNet.condition`).

    cross: block path -> `[1, 1, C]`, the output of cross-attention over a single token, which is a constant
        vector (method: softmax over one key is 1). Empty when `context` is set.
    context: `[1, n, D]` for n > 1 tokens: full cross-attention.
    reference: block path -> (key, value), each `[1, N, C]`, of the ReferenceNet's features projected by this
        UNet's own `attn1`; None for rows that do not see the reference (the unconditional half).

    In training without motion modules every row of a "clip" may be of another character: `cross` and `reference` then have one entry
    for each row instead of 1.
    """

    cross: Mapping[str, Tensor]
    context: Tensor | None = None
    reference: Mapping[str, tuple[Tensor, Tensor]] | None = None


@dataclass(frozen=True)
class Run:
    """The arguments of one forward pass that every layer reads.

    time: residual block path -> `[1, clips or rows, C, 1, 1]` (`UNet.time_projections`).
    features: where the ReferenceNet's blocks put their normed tokens, by block path; None in the denoiser.
    motion: False passes the motion modules by.
    """

    frames: int
    clips: Sequence[ClipConditioning]
    time: Mapping[str, Tensor]
    attention: Attention
    features: dict[str, Tensor] | None = None
    motion: bool = True

    def per_row(self, x: Tensor) -> Tensor:
        """`[1, clips or rows, ...]` -> something that broadcasts over rows = `clips * frames`."""
        rows = self.frames * len(self.clips)
        return x if x.shape[0] in (1, rows) else x.repeat_interleave(rows // x.shape[0], dim=0)


def group_norm(norm: nn.Module, x: Tensor, frames: int, over_frames: bool) -> Tensor:
    """Group norm of `[clips * frames, C, h, w]` per frame, or with statistics over a clip's frames."""
    if not over_frames or frames == 1:
        return norm(x)
    clip = x.unflatten(0, (-1, frames)).transpose(1, 2)
    return norm(clip).transpose(1, 2).flatten(0, 1)


def cpu_layout(x: Tensor) -> Tensor:
    """Pictures `[rows, C, h, w]` in the memory layout that suits their size on CPUs; on GPUs the host's own setting decides."""
    if x.device.type != "cpu":
        return x
    large = x.shape[-2] * x.shape[-1] >= CPU_CHANNELS_LAST_PIXELS
    return x.contiguous(memory_format=torch.channels_last if large else torch.contiguous_format)


class ResnetBlock(nn.Module):
    """conv2(SiLU(norm2(conv1(SiLU(norm1(x))) + time))) + shortcut(x)."""

    def __init__(self, path: str, in_channels: int, out_channels: int, time_channels: int, groups: int,
                 norm_over_frames: bool, operations: Any, kw: dict[str, Any]) -> None:
        super().__init__()
        self.path = path
        self.norm_over_frames = norm_over_frames
        self.norm1 = operations.GroupNorm(groups, in_channels, eps=1e-5, **kw)
        self.conv1 = operations.Conv2d(in_channels, out_channels, 3, padding=1, **kw)
        self.time_emb_proj = operations.Linear(time_channels, out_channels, **kw)
        self.norm2 = operations.GroupNorm(groups, out_channels, eps=1e-5, **kw)
        self.conv2 = operations.Conv2d(out_channels, out_channels, 3, padding=1, **kw)
        self.conv_shortcut = None
        if in_channels != out_channels:
            self.conv_shortcut = operations.Conv2d(in_channels, out_channels, 1, **kw)

    def forward(self, x: Tensor, run: Run) -> Tensor:
        h = F.silu(group_norm(self.norm1, x, run.frames, self.norm_over_frames))
        h = self.conv1(h) + run.per_row(run.time[self.path])
        h = F.silu(group_norm(self.norm2, h, run.frames, self.norm_over_frames))
        h = self.conv2(h)
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class Downsample(nn.Module):
    def __init__(self, channels: int, operations: Any, kw: dict[str, Any]) -> None:
        super().__init__()
        self.conv = operations.Conv2d(channels, channels, 3, stride=2, padding=1, **kw)

    def forward(self, x: Tensor) -> Tensor:
        return cpu_layout(self.conv(x))


class Upsample(nn.Module):
    def __init__(self, channels: int, operations: Any, kw: dict[str, Any]) -> None:
        super().__init__()
        self.conv = operations.Conv2d(channels, channels, 3, padding=1, **kw)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        return self.conv(cpu_layout(F.interpolate(x, size=size, mode="nearest")))


class SelfOrCrossAttention(nn.Module):
    def __init__(self, channels: int, context_channels: int, heads: int, operations: Any, kw: dict[str, Any]) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = operations.Linear(channels, channels, bias=False, **kw)
        self.to_k = operations.Linear(context_channels, channels, bias=False, **kw)
        self.to_v = operations.Linear(context_channels, channels, bias=False, **kw)
        self.to_out = nn.ModuleList([operations.Linear(channels, channels, **kw), nn.Identity()])

    def forward(self, x: Tensor, context: Tensor, attention: Attention) -> Tensor:
        return self.to_out[0](attention(self.to_q(x), self.to_k(context), self.to_v(context), self.heads))

    def one_token(self, token: Tensor) -> Tensor:
        """Attention over one key: its softmax is 1, so queries and keys have no say. `[1, 1, D]` -> `[1, 1, C]`."""
        return self.to_out[0](self.to_v(token))


class GEGLU(nn.Module):
    def __init__(self, channels: int, inner: int, operations: Any, kw: dict[str, Any]) -> None:
        super().__init__()
        self.proj = operations.Linear(channels, 2 * inner, **kw)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    def __init__(self, channels: int, operations: Any, kw: dict[str, Any]) -> None:
        super().__init__()
        self.net = nn.ModuleList([
            GEGLU(channels, 4 * channels, operations, kw),
            nn.Identity(),
            operations.Linear(4 * channels, channels, **kw),
        ])

    def forward(self, x: Tensor) -> Tensor:
        """`[B, N, C]` -> the same; token by token, on CPUs some of them at a time."""
        batch, tokens, channels = x.shape
        x = x.reshape(batch * tokens, channels)
        parts = math.ceil(8 * x.numel() / CPU_FEED_FORWARD_NUMBERS) if x.device.type == "cpu" else 1
        y = torch.cat([self.net[2](self.net[0](part)) for part in x.chunk(parts)])
        return y.unflatten(0, (batch, tokens))


class SpatialBlock(nn.Module):
    """Spatial-Attention with reference, Cross-Attention, feed forward (paper 3.2; docs/method.md D)."""

    def __init__(self, path: str, channels: int, context_channels: int, heads: int, operations: Any, kw: dict[str, Any]) -> None:
        super().__init__()
        self.path = path
        self.norm1 = operations.LayerNorm(channels, eps=1e-5, **kw)
        self.attn1 = SelfOrCrossAttention(channels, channels, heads, operations, kw)
        self.norm2 = operations.LayerNorm(channels, eps=1e-5, **kw)
        self.attn2 = SelfOrCrossAttention(channels, context_channels, heads, operations, kw)
        self.norm3 = operations.LayerNorm(channels, eps=1e-5, **kw)
        self.ff = FeedForward(channels, operations, kw)

    def forward(self, x: Tensor, run: Run) -> Tensor:
        n = self.norm1(x)
        if run.features is not None:
            run.features[self.path] = n
        x = x + self.attn1.to_out[0](self.attend(n, run))
        x = self.cross(x, run)
        return x + self.ff(self.norm3(x))

    def attend(self, n: Tensor, run: Run) -> Tensor:
        """Self-attention; rows of a clip with a reference also read its tokens, the same for every frame."""
        q, k, v = self.attn1.to_q(n), self.attn1.to_k(n), self.attn1.to_v(n)
        if all(clip.reference is None for clip in run.clips):
            return run.attention(q, k, v, self.attn1.heads)
        outputs = []
        for clip, qc, kc, vc in zip(run.clips, *(t.split(run.frames) for t in (q, k, v)), strict=True):
            if clip.reference is not None:
                rk, rv = clip.reference[self.path]
                kc = torch.cat([kc, rk.expand(run.frames, -1, -1)], dim=1)
                vc = torch.cat([vc, rv.expand(run.frames, -1, -1)], dim=1)
            outputs.append(run.attention(qc, kc, vc, self.attn1.heads))
        return torch.cat(outputs)

    def cross(self, x: Tensor, run: Run) -> Tensor:
        if all(clip.context is None for clip in run.clips):
            return x + run.per_row(torch.cat([clip.cross[self.path] for clip in run.clips]))
        outputs = []
        for clip, xc in zip(run.clips, x.split(run.frames), strict=True):
            if clip.context is None:
                outputs.append(xc + clip.cross[self.path])
            else:
                context = clip.context.expand(run.frames, -1, -1)
                outputs.append(xc + self.attn2(self.norm2(xc), context, run.attention))
        return torch.cat(outputs)


class SpatialTransformer(nn.Module):
    def __init__(self, path: str, channels: int, context_channels: int, heads: int, groups: int,
                 operations: Any, kw: dict[str, Any]) -> None:
        super().__init__()
        self.norm = operations.GroupNorm(groups, channels, eps=1e-6, **kw)
        self.proj_in = operations.Conv2d(channels, channels, 1, **kw)
        block = SpatialBlock(f"{path}.transformer_blocks.0", channels, context_channels, heads, operations, kw)
        self.transformer_blocks = nn.ModuleList([block])
        self.proj_out = operations.Conv2d(channels, channels, 1, **kw)

    @property
    def block(self) -> SpatialBlock:
        return cast(SpatialBlock, self.transformer_blocks[0])

    def tokens(self, x: Tensor) -> Tensor:
        return self.proj_in(self.norm(x)).permute(0, 2, 3, 1).flatten(1, 2)

    def forward(self, x: Tensor, run: Run) -> Tensor:
        y = self.block(self.tokens(x), run)
        y = y.unflatten(1, x.shape[-2:]).permute(0, 3, 1, 2)
        return x + self.proj_out(y)

    def last_features(self, x: Tensor) -> Tensor:
        """Only what the ReferenceNet's last block leaves behind: its first norm's output `[rows, N, C]`."""
        return self.block.norm1(self.tokens(x))
