"""One UNet class: with motion modules the denoiser, without them (and without its output head) the ReferenceNet.

Tensor names and shapes are those of the published files (docs/method.md B, C). Nothing is hooked and nothing is
stored on a module by a forward pass: features come back as a mapping, and conditioning goes in as an argument.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, zip_longest
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import (
    Attention,
    ClipConditioning,
    DeepFeatures,
    Downsample,
    Patches,
    ResnetBlock,
    Run,
    SpatialBlock,
    SpatialTransformer,
    Upsample,
    add,
    cpu_layout,
    group_norm,
    sdpa,
    silu,
)
from .motion import MotionModule


@dataclass(frozen=True)
class UNetConfig:
    """Shape of a UNet; the defaults are Stable Diffusion 1.5's.

    out_channels: None leaves out `conv_norm_out` and `conv_out` (the ReferenceNet).
    num_heads: attention heads at every level (SD 1.5's configuration calls this `attention_head_dim`).
    motion_max_frames: rows of the stored position tables.
    norm_over_frames: residual and output norms take statistics over a clip's frames
        (the reference's `use_inflated_groupnorm: false`).
    """

    in_channels: int = 4
    out_channels: int | None = 4
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers_per_block: int = 2
    cross_attention_dim: int = 768
    num_heads: int = 8
    norm_num_groups: int = 32
    motion: bool = False
    motion_mid_block: bool = True
    motion_max_frames: int = 32
    norm_over_frames: bool = False


def timestep_embedding(timestep: Tensor, channels: int) -> Tensor:
    """`[B]` -> `[B, channels]` float32: cosines, then sines, of t * 10000^(-k / (channels / 2))."""
    half = channels // 2
    w = torch.exp(torch.arange(half, dtype=torch.float32, device=timestep.device) * (-math.log(10000.0) / half))
    angle = timestep.float().unsqueeze(1) * w
    return torch.cat([angle.cos(), angle.sin()], dim=1)


class TimestepEmbedding(nn.Module):
    def __init__(self, channels: int, time_channels: int, operations: Any, kw: dict[str, Any]) -> None:
        super().__init__()
        self.linear_1 = operations.Linear(channels, time_channels, **kw)
        self.linear_2 = operations.Linear(time_channels, time_channels, **kw)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_2(F.silu(self.linear_1(x)))


Layer = tuple[ResnetBlock, SpatialTransformer | None, MotionModule | None]


class Stage(nn.Module):
    """One level of the UNet: layers of residual block, spatial transformer and motion module, the latter two where the level has them."""

    def __init__(self, path: str, resnets: Sequence[tuple[int, int]], attention: bool, motion: bool, cfg: UNetConfig,
                 operations: Any, kw: dict[str, Any], attention_layers: int | None = None) -> None:
        super().__init__()
        channels = resnets[0][1]
        count = len(resnets) if attention_layers is None else attention_layers
        groups, heads, time_channels = cfg.norm_num_groups, cfg.num_heads, 4 * cfg.block_out_channels[0]
        self.resnets = nn.ModuleList([
            ResnetBlock(f"{path}.resnets.{j}", i, o, time_channels, groups, cfg.norm_over_frames, operations, kw)
            for j, (i, o) in enumerate(resnets)
        ])
        self.attentions = nn.ModuleList([
            SpatialTransformer(f"{path}.attentions.{j}", channels, cfg.cross_attention_dim, heads, groups, operations, kw)
            for j in range(count if attention else 0)
        ])
        self.motion_modules = nn.ModuleList([
            MotionModule(channels, heads, groups, cfg.motion_max_frames, operations, kw) for _ in range(count if motion else 0)
        ])
        self.downsamplers = nn.ModuleList()
        self.upsamplers = nn.ModuleList()

    def layers(self) -> list[Layer]:
        return cast("list[Layer]", list(zip_longest(self.resnets, self.attentions, self.motion_modules)))


class UNet(nn.Module):
    """The denoiser (`forward`) or the ReferenceNet (`reference_features`).

    operations: where layer classes come from (`torch.nn`, or the host's offloading and casting versions).
    Raises ValueError for channel counts that heads or norm groups do not divide.
    """

    def __init__(self, config: UNetConfig, *, operations: Any = nn, dtype: torch.dtype | None = None,
                 device: torch.device | str | None = None) -> None:
        super().__init__()
        for channels in config.block_out_channels:
            if channels % config.num_heads or channels % config.norm_num_groups:
                raise ValueError(f"{channels} channels cannot be divided into {config.num_heads} attention heads "
                                 f"and {config.norm_num_groups} norm groups")
        kw: dict[str, Any] = {"dtype": dtype, "device": device}
        widths, layers = config.block_out_channels, config.layers_per_block
        last = len(widths) - 1
        self.config = config
        self.dtype = dtype or torch.get_default_dtype()
        self.conv_in = operations.Conv2d(config.in_channels, widths[0], 3, padding=1, **kw)
        self.time_embedding = TimestepEmbedding(widths[0], 4 * widths[0], operations, kw)

        self.down_blocks = nn.ModuleList()
        skips = [widths[0]]
        for i, width in enumerate(widths):
            pairs = [(skips[-1] if j == 0 else width, width) for j in range(layers)]
            stage = Stage(f"down_blocks.{i}", pairs, i < last, config.motion, config, operations, kw)
            skips += [width] * layers
            if i < last:
                stage.downsamplers.append(Downsample(width, operations, kw))
                skips.append(width)
            self.down_blocks.append(stage)

        mid = widths[-1]
        self.mid_block = Stage("mid_block", [(mid, mid)] * 2, True, config.motion and config.motion_mid_block,
                               config, operations, kw, attention_layers=1)

        self.up_blocks = nn.ModuleList()
        below = mid
        for i, width in enumerate(reversed(widths)):
            pairs = [((below if j == 0 else width) + skips.pop(), width) for j in range(layers + 1)]
            stage = Stage(f"up_blocks.{i}", pairs, i > 0, config.motion, config, operations, kw)
            if i < last:
                stage.upsamplers.append(Upsample(width, operations, kw))
            self.up_blocks.append(stage)
            below = width

        if config.out_channels is not None:
            self.conv_norm_out = operations.GroupNorm(config.norm_num_groups, widths[0], eps=1e-5, **kw)
            self.conv_out = operations.Conv2d(widths[0], config.out_channels, 3, padding=1, **kw)

    def spatial_blocks(self) -> Iterator[SpatialBlock]:
        """The transformer blocks that write, or read, reference features, in the order of the module tree."""
        return (m for m in self.modules() if isinstance(m, SpatialBlock))

    def time_projections(self, timestep: Tensor, dtype: torch.dtype) -> dict[str, Tensor]:
        """What each residual block adds for the timestep, once per step for all windows and frames.

        timestep `[1]` (all clips alike) or `[clips]`, in 0..999 -> residual block path -> `[1 or clips, C, 1, 1]`.
        """
        embedding = timestep_embedding(timestep, self.config.block_out_channels[0]).to(dtype)
        activated = F.silu(self.time_embedding(embedding))
        return {m.path: m.time_emb_proj(activated)[:, :, None, None] for m in self.modules() if isinstance(m, ResnetBlock)}

    def condition(self, tokens: Tensor, features: Mapping[str, Tensor] | None = None,
                  weights: tuple[float, ...] = (1.0,)) -> ClipConditioning:
        """Everything of a clip's conditioning that no step, window or frame changes.

        tokens: image embedding `[1, n, D]` (n = 1 in the method; zeros for the unconditional half).
        features: the ReferenceNet's, block path -> `[1, N, C]`, those of several pictures one behind the other; None for rows that do not
            see the reference. weights: of each picture, used by `StepStrengths.read`.
        """
        single = tokens.shape[1] == 1
        cross, reference = {}, {}
        for block in self.spatial_blocks():
            if single:
                cross[block.path] = block.attn2.one_token(tokens)
            if features is not None:
                r = features[block.path].to(tokens)
                reference[block.path] = (block.attn1.to_k(r), block.attn1.to_v(r))
        return ClipConditioning(cross, None if single else tokens, reference if features is not None else None, tokens, weights)

    def forward(self, sample: Tensor, time: Mapping[str, Tensor], clips: Sequence[ClipConditioning],
                pose: Tensor | Sequence[Tensor] | None = None, attention: Attention = sdpa, motion: bool = True,
                patches: Patches | None = None, deep: DeepFeatures | None = None) -> Tensor:
        """Predicts noise or velocity for every frame of one window.

        sample: latents `[clips * F, 4, h, w]`, any h and w. time: of `time_projections`. clips: of `condition`,
        one for each clip of the batch. pose: features `[F, C, h, w]` (for all clips) or `[clips * F, C, h, w]`, added after
        `conv_in`; of several, those behind the first are added after each down block, past its skip connections.
        motion: False passes the motion modules by (the first stage of training). patches: changes inside the pass.
        deep: what an earlier pass kept of the deep layers, or where this one is to put it. Returns `[clips * F, 4, h, w]`.
        """
        frames = sample.shape[0] // len(clips)
        run = Run(frames, clips, time, attention, motion=motion, patches=patches)
        places = [pose] if isinstance(pose, Tensor) else list(pose or ())
        h = self.body(self.stem(sample, places[0] if places else None), run, deep, places[1:])
        h = group_norm(self.conv_norm_out, h, frames, self.config.norm_over_frames)
        return self.conv_out(silu(h))

    def reference_features(self, latent: Tensor, tokens: Tensor, attention: Attention = sdpa) -> dict[str, Tensor]:
        """One pass at timestep 0 over the reference picture, up to the last norm that anything reads.

        latent `[1, 4, h, w]` (scaled by 0.18215), tokens `[1, n, D]` -> block path -> `[1, N, C]`, the first
        layer norm's output in each of the 16 transformer blocks. With n = 1, several references at once: B instead of 1.
        """
        time = self.time_projections(torch.zeros(1, device=latent.device), latent.dtype)
        run = Run(latent.shape[0], [self.condition(tokens)], time, attention, features={})
        self.body(self.stem(latent, None), run)
        return run.features or {}

    def stem(self, sample: Tensor, pose: Tensor | None) -> Tensor:
        h = self.conv_in(cpu_layout(sample))
        return h if pose is None else add(h.unflatten(0, (-1, len(pose))), pose).flatten(0, 1)

    def input_layers(self) -> Iterator[Callable[[Tensor, Run], Tensor]]:
        """The layers whose outputs are skip connections, in order, after `conv_in`."""
        for stage in cast(Iterable[Stage], self.down_blocks):
            for layer in stage.layers():
                yield partial(self.layer, *layer)
            for downsample in stage.downsamplers:
                yield cast(Downsample, downsample)

    def body(self, h: Tensor, run: Run, deep: DeepFeatures | None = None, deeper_pose: Sequence[Tensor] = ()) -> Tensor:
        output_layers: list[tuple[Layer, Sequence[nn.Module]]] = []
        for stage in cast(Iterable[Stage], self.up_blocks):
            *layers, last = stage.layers()
            output_layers += [*((layer, ()) for layer in layers), (last, list(stage.upsamplers))]
        # the output layers from here on run in every pass
        shallow = len(output_layers) - (deep.layers if deep is not None else 0)
        cached = deep is not None and deep.value is not None
        ends = accumulate(len(stage.layers()) + len(stage.downsamplers) for stage in cast(Iterable[Stage], self.down_blocks))
        pose_after = dict(zip(ends, deeper_pose, strict=False))
        h, skip = self.after_input(0, h, run)
        skips = [skip]
        for index, input_layer in enumerate(self.input_layers(), start=1):
            if cached and index == len(output_layers) - shallow:
                break
            h, skip = self.after_input(index, input_layer(h, run), run)
            skips.append(skip)
            if index in pose_after:
                # not in place: the skip connection may be the same tensor
                h = (h.unflatten(0, (-1, len(pose_after[index]))) + pose_after[index]).flatten(0, 1)
        if not cached:
            for layer in self.mid_block.layers():
                h = self.layer(*layer, h, run)

        final = cast(Stage, self.up_blocks[-1]).attentions[-1]
        for index, ((resnet, attention, motion), upsamplers) in enumerate(output_layers):
            if deep is not None and index == shallow:
                deep.value = h = h if deep.value is None else deep.value
            if cached and index < shallow:
                continue
            skip = skips.pop()
            if run.patches is not None:
                h, skip = run.patches.output_layer(index, h, skip)
            h = resnet(h, run, skip)
            del skip
            if run.features is not None and attention is not None and attention is final:
                # the ReferenceNet ends here: nothing reads what follows
                run.features[attention.block.path] = attention.last_features(h)
                return h
            h = self.attend(h, attention, motion, run)
            for upsample in upsamplers:
                h = upsample(h, skips[-1].shape[-2:])
        return h

    @staticmethod
    def after_input(index: int, h: Tensor, run: Run) -> tuple[Tensor, Tensor]:
        return (h, h) if run.patches is None else run.patches.input_layer(index, h)

    def layer(self, resnet: ResnetBlock, attention: SpatialTransformer | None, motion: MotionModule | None, h: Tensor,
              run: Run) -> Tensor:
        return self.attend(resnet(h, run), attention, motion, run)

    @staticmethod
    def attend(h: Tensor, attention: SpatialTransformer | None, motion: MotionModule | None, run: Run) -> Tensor:
        if attention is not None:
            h = attention(h, run)
        if motion is not None and run.motion:
            h = motion(h, run)
        return h
