"""The 2D layers that both UNets share: residual block, spatial transformer, sampling, attention.

Images run as `[rows, C, h, w]` with rows = clips x frames, frame the fast index; tokens as `[rows, h*w, C]`.
Layer names are the published ones (Stable Diffusion 1.5 in diffusers' layout). Dropout layers of the
originals are `Identity` here, so that their places in the numbering hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .reading import Reading, of_rows, with_keys

# (q [B, Nq, C], k [B, Nk, C], v [B, Nk, C], heads) -> [B, Nq, C], softmax scale (C / heads)^-0.5
Attention = Callable[[Tensor, Tensor, Tensor, int], Tensor]

# CUDA's fused kernels put the batch into a grid dimension of 65,535.
SDPA_MAX_BATCH = 32768

# Measured on CPUs: from here on channels-last saves the copies between pictures and tokens; below it, oneDNN would spend
# up to half of a convolution on reordering its weights, and bf16 group norms are several times slower.
CPU_CHANNELS_LAST_PIXELS = 1024
# Bytes of the widest tensor of a layer that runs some rows at a time (without gradients). On GPUs it bounds the memory of a pass
# and is far more than fills the card. On CPUs, glibc maps blocks above 32 MiB afresh each time, and touching their pages costs a
# quarter of a feed-forward layer's time.
PART_BYTES = 128 << 20
CPU_PART_BYTES = 32 << 20


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
    tokens: `[1, n, D]`, what `cross` was made of, for patches that want cross-attention in full.
    weights: of each of the reference's pictures, whose tokens stand one picture behind the other.
    readings: how a window's rows read them; None: all rows read all of them, as if every weight were 1.

    In training without motion modules every row of a "clip" may be of another character: `cross` and `reference` then have one entry
    for each row instead of 1.
    """

    cross: Mapping[str, Tensor]
    context: Tensor | None = None
    reference: Mapping[str, tuple[Tensor, Tensor]] | None = None
    tokens: Tensor | None = None
    weights: tuple[float, ...] = (1.0,)
    readings: tuple[Reading, ...] | None = None

    @property
    def shared_by_rows(self) -> bool:
        """Whether all rows of the clip have the same conditioning."""
        return all(t.shape[0] == 1 for t in self.cross.values())

    def to(self, device: torch.device) -> ClipConditioning:
        """The same on another device."""
        return replace(
            self, cross={path: t.to(device) for path, t in self.cross.items()},
            context=None if self.context is None else self.context.to(device),
            reference=None if self.reference is None else {path: (k.to(device), v.to(device)) for path, (k, v) in self.reference.items()},
            tokens=None if self.tokens is None else self.tokens.to(device))

    def of_rows(self, span: slice) -> ClipConditioning:
        """The same for some of the rows."""
        return self if self.readings is None else replace(self, readings=tuple(of_rows(self.readings, span)))

    def keys(self) -> int:
        """Pictures of the size of a row that its self-attention reads, its own among them, at most."""
        return 1 if self.reference is None else 1 + len(self.weights)


class Patches(Protocol):
    """What a caller changes inside a pass. Layers are counted as in Stable Diffusion's original UNet: `conv_in` is input 0.

    A method that has nothing to change gives its tensors back, or None where the block is to run as usual.
    """

    def self_attention(self, block: SpatialBlock, n: Tensor, run: Run) -> Tensor | None:
        """The output of `attn1` for normed tokens n `[rows, N, C]`, its `to_out` included."""

    def cross_attention(self, block: SpatialBlock, x: Tensor, run: Run) -> Tensor | None:
        """The output of `attn2` for tokens x `[rows, N, C]` before `norm2`, its `to_out` included."""

    def input_layer(self, index: int, h: Tensor) -> tuple[Tensor, Tensor]:
        """What goes on, and what becomes the skip connection, after input layer `index`."""

    def output_layer(self, index: int, h: Tensor, skip: Tensor) -> tuple[Tensor, Tensor]:
        """Both inputs of output layer `index`."""


@dataclass
class DeepFeatures:
    """The deep part of a pass, kept to be used again at another step (DeepCache, arXiv 2312.00858, section 3.2).

    layers: output layers at the end of the network that every pass computes, 1 to `layers_per_block` + 1.
    value: what enters the first of them `[rows, C, h, w]`. None: a whole pass runs, and puts it here.
    """

    layers: int
    value: Tensor | None = None


@dataclass(frozen=True)
class Run:
    """The arguments of one forward pass that every layer reads.

    time: residual block path -> `[1, clips or rows, C, 1, 1]` (`UNet.time_projections`).
    features: where the ReferenceNet's blocks put their normed tokens, by block path; None in the denoiser.
    motion: False passes the motion modules by.
    patches: what the caller changes, or None.
    """

    frames: int
    clips: Sequence[ClipConditioning]
    time: Mapping[str, Tensor]
    attention: Attention
    features: dict[str, Tensor] | None = None
    motion: bool = True
    patches: Patches | None = None

    def of_clip(self, index: int, span: slice) -> Run:
        """The pass of some frames of one clip alone, for layers that know no time."""
        return replace(self, frames=span.stop - span.start, clips=[self.clips[index].of_rows(span)])

    def per_row(self, x: Tensor) -> Tensor:
        """`[1, clips or rows, ...]` -> something that broadcasts over rows = `clips * frames`."""
        rows = self.frames * len(self.clips)
        return x if x.shape[0] in (1, rows) else x.repeat_interleave(rows // x.shape[0], dim=0)


def size(x: Tensor) -> int:
    """Bytes of a tensor (torch.compile does not know `nbytes`)."""
    return x.numel() * x.element_size()


def part_count(x: Tensor, widest: int) -> int:
    """Into how many parts to cut work whose widest tensor has `widest` bytes; 1 if gradients are on."""
    if torch.is_grad_enabled():
        return 1
    return max(1, -(-widest // (CPU_PART_BYTES if x.device.type == "cpu" else PART_BYTES)))


def even_spans(total: int, parts: int) -> Iterator[slice]:
    """`total` things cut into at most `parts` spans, all but the last of one length (few shapes, for kernels that are tuned by shape)."""
    length = -(-total // parts)
    return (slice(start, min(start + length, total)) for start in range(0, total, length))


def by_parts(layer: Callable[[slice], Tensor], total: int, parts: int) -> Tensor:
    """The layer's outputs for spans of dimension 0, joined; the same as `layer(slice(0, total))` for a layer that treats each row alone."""
    if parts <= 1:
        return layer(slice(0, total))
    out = None
    for span in even_spans(total, parts):
        y = layer(span)
        if out is None:
            last = y.ndim == 4 and y.is_contiguous(memory_format=torch.channels_last)
            out = torch.empty((total, *y.shape[1:]), dtype=y.dtype, device=y.device,
                              memory_format=torch.channels_last if last else torch.contiguous_format)
        out[span] = y
    assert out is not None
    return out


def silu(x: Tensor) -> Tensor:
    """SiLU of a tensor that nothing else reads: in place if gradients are off."""
    return F.silu(x, inplace=not torch.is_grad_enabled())


def add(x: Tensor, y: Tensor) -> Tensor:
    """x + y, where nothing else reads x: in place if gradients are off."""
    return x + y if torch.is_grad_enabled() else x.add_(y)


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

    def forward(self, x: Tensor, run: Run, skip: Tensor | None = None) -> Tensor:
        """x, and a skip connection to be joined to its channels, `[rows, C, h, w]` -> `[rows, out_channels, h, w]`."""
        time, rows = run.per_row(run.time[self.path]), x.shape[0]
        widest = size(x) + (0 if skip is None else size(skip))
        alone = not self.norm_over_frames or run.frames == 1

        def layer(span: slice) -> Tensor:
            part = x[span] if skip is None else torch.cat([x[span], skip[span]], dim=1)
            h = silu(group_norm(self.norm1, part, run.frames, self.norm_over_frames))
            h = add(self.conv1(h), time if time.shape[0] == 1 else time[span])
            h = silu(group_norm(self.norm2, h, run.frames, self.norm_over_frames))
            return add(self.conv2(h), part if self.conv_shortcut is None else self.conv_shortcut(part))

        return by_parts(layer, rows, part_count(x, widest) if alone else 1)


class Downsample(nn.Module):
    def __init__(self, channels: int, operations: Any, kw: dict[str, Any]) -> None:
        super().__init__()
        self.conv = operations.Conv2d(channels, channels, 3, stride=2, padding=1, **kw)

    def forward(self, x: Tensor, run: Run | None = None) -> Tensor:
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
        gate = F.gelu(gate)
        return gate * value if torch.is_grad_enabled() else gate.mul_(value)


class FeedForward(nn.Module):
    def __init__(self, channels: int, operations: Any, kw: dict[str, Any]) -> None:
        super().__init__()
        self.net = nn.ModuleList([
            GEGLU(channels, 4 * channels, operations, kw),
            nn.Identity(),
            operations.Linear(4 * channels, channels, **kw),
        ])

    def forward(self, x: Tensor) -> Tensor:
        """`[B, N, C]` -> the same; token by token, some of them at a time."""
        tokens = x.flatten(0, 1)
        parts = part_count(x, 8 * size(x))  # the widest tensor has 8 C channels
        return by_parts(lambda span: self.net[2](self.net[0](tokens[span])), len(tokens), parts).unflatten(0, x.shape[:2])


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
        """Tokens `[rows, N, C]` -> the same; x itself may be overwritten if gradients are off."""
        n = self.norm1(x)
        if run.features is not None:
            run.features[self.path] = n
        x = add(x, self.self_attention(n, run))
        del n
        x = self.cross(x, run)
        return add(x, self.ff(self.norm3(x)))

    def self_attention(self, n: Tensor, run: Run) -> Tensor:
        """Self-attention; rows of a clip with a reference also read its tokens, the same for every frame."""
        patched = None if run.patches is None else run.patches.self_attention(self, n, run)
        if patched is not None:
            return patched
        q, k, v = self.attn1.to_q(n), self.attn1.to_k(n), self.attn1.to_v(n)
        if all(clip.reference is None for clip in run.clips):
            return self.attn1.to_out[0](run.attention(q, k, v, self.attn1.heads))
        outputs = []
        for clip, qc, kc, vc in zip(run.clips, *(t.split(run.frames) for t in (q, k, v)), strict=True):
            outputs.append(self.read(qc, kc, vc, clip, run.attention))
        return self.attn1.to_out[0](outputs[0] if len(outputs) == 1 else torch.cat(outputs))

    def read(self, q: Tensor, k: Tensor, v: Tensor, clip: ClipConditioning, attention: Attention) -> Tensor:
        """Attention of one clip's rows `[rows, N, C]` over their own keys, and the reference's behind them where the clip sees one."""
        heads = self.attn1.heads
        if clip.reference is None:
            return attention(q, k, v, heads)
        rk, rv = clip.reference[self.path]
        if clip.readings is None:
            return attention(q, with_keys(k, rk), with_keys(v, rv), heads)
        # a patch may have cut rows into tiles
        tiles = len(q) // sum(reading.rows for reading in clip.readings)
        parts = zip(clip.readings, *(t.split([tiles * reading.rows for reading in clip.readings]) for t in (q, k, v)), strict=True)
        return torch.cat([reading.attend(attention, *part, rk, rv, heads) for reading, *part in parts])

    def cross(self, x: Tensor, run: Run) -> Tensor:
        patched = None if run.patches is None else run.patches.cross_attention(self, x, run)
        if patched is not None:
            return add(x, patched)
        if all(clip.context is None for clip in run.clips):
            return add(x, run.per_row(torch.cat([clip.cross[self.path] for clip in run.clips])))
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
        """`[rows, C, h, w]` -> the same, some frames of a clip at a time; x may be overwritten if gradients are off."""
        # keys with the reference's behind them are twice as long or longer, and keys and values are there together
        parts = part_count(x, 2 * max(2, *(clip.keys() for clip in run.clips)) * size(x))
        if parts == 1 or run.patches is not None or run.features is not None or not all(clip.shared_by_rows for clip in run.clips):
            return add(x, self.part(x, run))
        each = -(-parts // len(run.clips))
        for index, clip in enumerate(x.split(run.frames)):
            for span in even_spans(run.frames, each):
                frames = clip[span]
                frames += self.part(frames, run.of_clip(index, span))
        return x

    def part(self, x: Tensor, run: Run) -> Tensor:
        y = self.block(self.tokens(x), run)
        return self.proj_out(y.unflatten(1, x.shape[-2:]).permute(0, 3, 1, 2))

    def last_features(self, x: Tensor) -> Tensor:
        """Only what the ReferenceNet's last block leaves behind: its first norm's output `[rows, N, C]`."""
        return self.block.norm1(self.tokens(x))
