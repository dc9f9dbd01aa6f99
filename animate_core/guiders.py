"""The guiders of the rest of the family: Champ's guidance encoders and AniPortrait's multi-scale guider (docs/method.md F).

Face reenactment has two guiders of Moore's class (`pose_guider.PoseGuider`), whose features are summed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import Attention, FeedForward, SelfOrCrossAttention, add, part_count, sdpa, size
from .pose_guider import PoseGuider
from .windows import take

NORM_GROUPS = 32
CHAMP_HEADS = 8
MULTI_SCALE_HEADS = 16
KEPT_BYTES = 1 << 30  # of windows' features, up to which a clip's are kept from step to step
GUIDANCE_TYPES = ("depth", "normal", "semantic_map", "dwpose")


class GuiderBlock(nn.Module):
    """Self-attention and feed forward; the numbering of the norms leaves a place for a cross-attention that is not there."""

    def __init__(self, channels: int, heads: int, operations: Any, kw: dict[str, Any]) -> None:
        super().__init__()
        self.norm1 = operations.LayerNorm(channels, eps=1e-5, **kw)
        self.attn1 = SelfOrCrossAttention(channels, channels, heads, operations, kw)
        self.norm3 = operations.LayerNorm(channels, eps=1e-5, **kw)
        self.ff = FeedForward(channels, operations, kw)

    def forward(self, x: Tensor, attention: Attention) -> Tensor:
        n = self.norm1(x)
        x = add(x, self.attn1(n, n, attention))
        return add(x, self.ff(self.norm3(x)))


class GuiderTransformer(nn.Module):
    """A spatial transformer of one block: the positions of a frame see each other, frames do not.

    inner: width of the block, which heads divide.
    """

    def __init__(self, channels: int, inner: int, heads: int, operations: Any, kw: dict[str, Any]) -> None:
        super().__init__()
        self.norm = operations.GroupNorm(NORM_GROUPS, channels, eps=1e-6, **kw)
        self.proj_in = operations.Conv2d(channels, inner, 1, **kw)
        self.transformer_blocks = nn.ModuleList([GuiderBlock(inner, heads, operations, kw)])
        self.proj_out = operations.Conv2d(inner, channels, 1, **kw)

    def forward(self, x: Tensor, attention: Attention) -> Tensor:
        """`[F, C, h, w]` -> the same; x may be overwritten if gradients are off."""
        # queries, keys and values beside the widest of the feed forward, in the inner width
        widest = 4 * size(x) * self.proj_in.weight.shape[0] // x.shape[1]
        each = -(-len(x) // part_count(x, widest))
        for frames in x.split(each) if each < len(x) else [x]:
            h = self.proj_in(self.norm(frames))
            tokens = self.transformer_blocks[0](h.permute(0, 2, 3, 1).flatten(1, 2), attention)
            out = add(frames, self.proj_out(tokens.unflatten(1, x.shape[-2:]).permute(0, 3, 1, 2)))
        return x if each < len(x) else out


class GuidanceEncoder(PoseGuider):
    """Champ's: Moore's trunk, a spatial transformer on its last map, conv out. The encoders' features are summed.

    The files also hold transformers for the other maps, which nothing ever runs (`unused_shapes`).
    """

    def __init__(self, channels: Sequence[int] = (16, 32, 96, 256), out_channels: int = 320, *, operations: Any = nn,
                 dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> None:
        super().__init__(channels, out_channels, operations=operations, dtype=dtype, device=device)
        kw: dict[str, Any] = {"dtype": dtype, "device": device}
        last = channels[-1]
        self.attentions = nn.ModuleDict({f"{len(self.blocks) - 1}": GuiderTransformer(last, last, CHAMP_HEADS, operations, kw)})

    def forward(self, images: Tensor, attention: Attention = sdpa) -> Tensor:
        """RGB in [0, 1] `[F, 3, H, W]` -> features `[F, out_channels, H / 8, W / 8]`."""
        h = self.trunk(images)
        for transformer in self.attentions.values():
            h = transformer(h, attention)
        return self.conv_out(h)


def unused_shapes(channels: Sequence[int]) -> dict[str, torch.Size]:
    """Names and shapes of what Champ's files hold beside a `GuidanceEncoder`: a transformer for each of the other maps, and one more."""
    places = {f"attentions.{i}": channels[(i + 1) // 2] for i in range(2 * len(channels) - 3)}
    places["guidance_attention"] = channels[-1]
    one = GuiderTransformer(NORM_GROUPS, NORM_GROUPS, CHAMP_HEADS, nn, {"device": "meta"}).state_dict()
    # every dimension is a multiple of the width, or that of a kernel
    return {f"{path}.{key}": torch.Size(n * width // NORM_GROUPS if n > 1 else n for n in t.shape)
            for path, width in places.items() for key, t in one.items()}


class BatchNorm(nn.Module):
    """Batch norm by the statistics of the maps at hand, or by the stored ones."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, kw: dict[str, Any]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, **kw))
        self.bias = nn.Parameter(torch.zeros(channels, **kw))
        self.register_buffer("running_mean", torch.zeros(channels, **kw))
        self.register_buffer("running_var", torch.ones(channels, **kw))
        self.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.long, device=kw["device"]))

    def forward(self, x: Tensor, stored: bool) -> Tensor:
        # the tensors may lie on another device, or in another dtype: the host casts in layers of its own only
        weight, bias = self.weight.to(x), self.bias.to(x)
        if stored:
            return F.batch_norm(x, self.running_mean.to(x), self.running_var.to(x), weight, bias, eps=1e-5)
        return F.batch_norm(x, None, None, weight, bias, training=True, eps=1e-5)


class MultiScaleGuider(nn.Module):
    """AniPortrait's: five features, for `conv_in` and for each down block of the denoiser.

    channels: outputs of the trunk's convolutions; the second, fourth and sixth halve the size. outputs: widths of the five features.
    inner: width of the transformers. Their second input, the reference's pose, is read by nothing in the published code, and left out.
    """

    def __init__(self, channels: Sequence[int] = (3, 16, 16, 32, 32, 64, 64, 128), outputs: Sequence[int] = (320, 320, 640, 1280, 1280),
                 inner: int = 1408, *, operations: Any = nn, dtype: torch.dtype | None = None,
                 device: torch.device | str | None = None) -> None:
        super().__init__()
        kw: dict[str, Any] = {"dtype": dtype, "device": device}
        self.dtype = dtype or torch.get_default_dtype()
        self.channels, self.outputs, self.inner = tuple(channels), tuple(outputs), inner

        def stage(*layers: tuple[int, int, int, int]) -> nn.ModuleList:
            """Convolutions of (channels in, channels out, kernel, stride), each with its norm and its activation."""
            made: list[nn.Module] = []
            for inside, outside, kernel, stride in layers:
                made += [operations.Conv2d(inside, outside, kernel, stride=stride, padding=1, **kw), BatchNorm(outside, kw), nn.ReLU()]
            return nn.ModuleList(made)

        halving = {1, 3, 5}
        self.conv_layers = stage(*((i, o, 4 if n in halving else 3, 2 if n in halving else 1)
                                   for n, (i, o) in enumerate(zip((3, *channels[:-1]), channels, strict=True))))
        self.final_proj = operations.Conv2d(channels[-1], outputs[0], 1, **kw)
        self.scale = nn.Parameter(torch.full((1,), 2.0, **kw))
        for k, (before, after) in enumerate(zip(outputs[:-1], outputs[1:], strict=True), start=1):
            deepest = k == len(outputs) - 1
            layers = [(before, after, 3, 1)] if deepest else [(before, before, 3, 1), (before, after, 3, 2)]
            self.add_module(f"conv_layers_{k}", stage(*layers))
            self.add_module(f"cross_attn{k}", GuiderTransformer(after, inner, MULTI_SCALE_HEADS, operations, kw))

    def forward(self, images: Tensor, attention: Attention = sdpa, stored_statistics: bool = False) -> tuple[Tensor, ...]:
        """RGB or BGR `[F, 3, H, W]` of one window, in the family's range -> five features `[F, C, h, w]`, h from H / 8 to H / 64.

        stored_statistics: batch norms by the file's statistics, frame by frame. The published scripts never do this: there a feature
        depends on all frames of its window.

        Raises ValueError for a window that is too small for statistics of its own.
        """
        if not stored_statistics and len(images) == 1 and max(images.shape[-2:]) <= 64:
            raise ValueError(f"a single image of {images.shape[-1]}x{images.shape[-2]} pixels is too small for batch statistics: "
                             "use more than 64 pixels, or several frames")
        # the CPU kernel of batch norm is less exact by a hundred times in the channels-last layout, in which pictures come
        h = self.final_proj(run_stage(self.conv_layers, images.contiguous(), stored_statistics))
        features = [h * self.scale.to(h)]
        for k in range(1, len(self.outputs)):
            h = run_stage(cast(nn.ModuleList, self.get_submodule(f"conv_layers_{k}")), features[-1], stored_statistics)
            features.append(self.get_submodule(f"cross_attn{k}")(h, attention))
        return tuple(features)


@dataclass(frozen=True, eq=False)
class WindowPictures:
    """A clip's pictures, of which a multi-scale guider makes the features of a window when that is due.

    pictures: `[F, H, W, 3]` uint8, on any device; the guider is on the device of the features. values: what black and full white become.
    stored_statistics: as in `MultiScaleGuider.forward`. keep: whether a window's features are kept for later steps, on the CPU.
    """

    pictures: Tensor
    guider: MultiScaleGuider
    dtype: torch.dtype
    values: tuple[float, float]
    stored_statistics: bool = False
    keep: bool = False
    attention: Attention = sdpa
    kept: dict[tuple[int, ...], tuple[Tensor, ...]] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the latents."""
        return self.pictures.shape[1] // 8, self.pictures.shape[2] // 8

    def at(self, frames: Sequence[int], device: torch.device, dtype: torch.dtype, non_blocking: bool = False) -> tuple[Tensor, ...]:
        """The features of a window of these frames. non_blocking: as in `Tensor.to`."""
        window = tuple(frames)
        if window in self.kept:
            return tuple(x.to(device, dtype, non_blocking=non_blocking) for x in self.kept[window])
        low, high = self.values
        images = take(self.pictures, window).to(device, non_blocking=non_blocking).permute(0, 3, 1, 2).float() * ((high - low) / 255) + low
        features = self.guider(images.to(self.dtype), self.attention, self.stored_statistics)
        if self.keep and sum(size(x) for kept in (*self.kept.values(), features) for x in kept) < KEPT_BYTES:
            self.kept[window] = tuple(x.to("cpu") for x in features)
        return tuple(x.to(dtype) for x in features)

    def to(self, device: torch.device) -> WindowPictures:
        """For windows on another card: a guider of its own there."""
        return replace(self, guider=guider_on(self.guider, device, self.dtype), kept={})


def guider_on(guider: MultiScaleGuider, device: torch.device, dtype: torch.dtype) -> MultiScaleGuider:
    """A guider with the weights of another, of plain layers, whatever layers that is built of and wherever its weights lie."""
    weights = {key: x.to(device, dtype if x.is_floating_point() else x.dtype) for key, x in guider.state_dict().items()}
    copy = MultiScaleGuider(guider.channels, guider.outputs, guider.inner, dtype=dtype, device="meta").requires_grad_(False).eval()
    copy.load_state_dict(weights, assign=True)
    return copy


def run_stage(layers: nn.ModuleList, x: Tensor, stored: bool) -> Tensor:
    for layer in layers:
        x = layer(x, stored) if isinstance(layer, BatchNorm) else layer(x)
    return x


def sum_of_features(features: Mapping[str, Tensor], weights: Mapping[str, float] | None = None) -> Tensor:
    """The guiders' features `[F, C, h, w]`, summed; a weight each, 1 (as published) where none is given."""
    total: Tensor | None = None
    for name, x in features.items():
        part = x if weights is None or weights.get(name, 1.0) == 1.0 else x * weights[name]
        total = part if total is None else total + part
    if total is None:
        raise ValueError("no features to sum")
    return total
