"""One denoising step as the published implementation computes it: the baseline of the benchmark.

The same network and the same weights as `animate_core.UNet` (its modules are called one by one here), with the
reference implementation's own order of work (docs/method.md C, D; Moore-AnimateAnyone with diffusers 0.24):

* images are plain contiguous `[rows, C, h, w]`; attention is torch's SDPA, in diffusers' head layout;
* banked reference features are repeated for every frame and for both halves of the guidance, and their keys and
  values projected again in every block at every step;
* the joint attention (own tokens and reference) is computed for all rows; the unconditional rows' plain
  self-attention is computed besides and overwrites them;
* cross-attention is computed in full, with its norm, queries, keys and softmax, although there is one token;
* motion modules regroup tokens between `[(b f), h w, C]` and `[(b h w), f, C]` around each attention;
* the time embedding is projected for both rows of the guidance; pose features are repeated for both halves.

Where the reference also keeps five-dimensional views or copies masks around, this does without them: a faithful
baseline, not a slowed one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from animate_core.blocks import FeedForward, ResnetBlock, SelfOrCrossAttention, SpatialTransformer
from animate_core.motion import MotionModule
from animate_core.unet import UNet, timestep_embedding


def attention(layer: SelfOrCrossAttention, x: Tensor, context: Tensor) -> Tensor:
    """`[B, Nq, C]`, `[B, Nk, D]` -> `[B, Nq, C]`."""
    q, k, v = layer.to_q(x), layer.to_k(context), layer.to_v(context)
    q, k, v = (t.view(t.shape[0], -1, layer.heads, t.shape[-1] // layer.heads).transpose(1, 2) for t in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, v, dropout_p=0.0, is_causal=False)
    return layer.to_out[0](out.transpose(1, 2).reshape(x.shape[0], -1, x.shape[-1]))


def feed_forward(ff: FeedForward, x: Tensor) -> Tensor:
    first: Any = ff.net[0]
    value, gate = first.proj(x).chunk(2, dim=-1)
    return ff.net[2](value * F.gelu(gate))


def resnet(block: ResnetBlock, x: Tensor, embedding: Tensor, frames: int) -> Tensor:
    h = block.conv1(F.silu(block.norm1(x)))
    time = block.time_emb_proj(F.silu(embedding))[:, None, :, None, None]
    h = (h.unflatten(0, (-1, frames)) + time).flatten(0, 1)
    h = block.conv2(F.silu(block.norm2(h)))
    return h + (x if block.conv_shortcut is None else block.conv_shortcut(x))


def spatial(transformer: SpatialTransformer, x: Tensor, states: Tensor, bank: Mapping[str, Tensor], frames: int) -> Tensor:
    """states `[2, 1, D]`, bank's features `[2, N, C]`: rows are [unconditional, conditional]."""
    block: Any = transformer.transformer_blocks[0]
    rows, _, height, width = x.shape
    half = rows // 2
    y = transformer.proj_in(transformer.norm(x)).permute(0, 2, 3, 1).reshape(rows, height * width, -1)

    n = block.norm1(y)
    features = bank[block.path].unsqueeze(1).repeat(1, frames, 1, 1).flatten(0, 1)
    joint = attention(block.attn1, n, torch.cat([n, features], dim=1)) + y
    joint[:half] = attention(block.attn1, n[:half], n[:half]) + y[:half]

    tokens = states.repeat_interleave(frames, dim=0)
    y = attention(block.attn2, block.norm2(joint), tokens) + joint
    y = feed_forward(block.ff, block.norm3(y)) + y

    y = y.reshape(rows, height, width, -1).permute(0, 3, 1, 2).contiguous()
    return transformer.proj_out(y) + x


def temporal(module: MotionModule, x: Tensor, frames: int) -> Tensor:
    transformer: Any = module.temporal_transformer
    block = transformer.transformer_blocks[0]
    rows, _, height, width = x.shape
    positions = height * width
    y = transformer.norm(x).permute(0, 2, 3, 1).reshape(rows, positions, -1)
    y = transformer.proj_in(y)
    for layer, norm in zip(block.attention_blocks, block.norms, strict=True):
        n = norm(y).unflatten(0, (-1, frames)).transpose(1, 2).flatten(0, 1)
        n = n + layer.pos_encoder.pe[:, :frames].to(n.dtype)
        out = attention(layer, n, n)
        y = out.unflatten(0, (-1, positions)).transpose(1, 2).flatten(0, 1) + y
    y = feed_forward(block.ff, block.ff_norm(y)) + y
    y = transformer.proj_out(y)
    return y.reshape(rows, height, width, -1).permute(0, 3, 1, 2).contiguous() + x


def published_step(unet: UNet, latents: Tensor, timestep: Tensor, states: Tensor, bank: Mapping[str, Tensor], pose: Tensor) -> Tensor:
    """One guided evaluation of the network.

    latents `[F, 4, h, w]`, timestep `[1]`, states `[2, 1, D]` ([zeros, image embedding]), bank: block path ->
    `[2, N, C]`, pose: features `[F, C, h, w]`. Returns `[2 F, 4, h, w]`: the unconditional half, then the conditional.
    """
    frames = latents.shape[0]
    # for type checkers, to whom the entries of a ModuleList are bare modules
    down: Any = unet.down_blocks
    mid: Any = unet.mid_block
    up: Any = unet.up_blocks
    h = torch.cat([latents] * 2)
    embedding = timestep_embedding(timestep.expand(2), unet.config.block_out_channels[0]).to(h.dtype)
    embedding = unet.time_embedding(embedding)
    h = unet.conv_in(h) + torch.cat([pose] * 2)

    skips = [h]
    for stage in down:
        for block, transformer, motion in stage.layers():
            h = resnet(block, h, embedding, frames)
            if transformer is not None:
                h = spatial(transformer, h, states, bank, frames)
            h = temporal(motion, h, frames)
            skips.append(h)
        for downsample in stage.downsamplers:
            h = downsample.conv(h)
            skips.append(h)

    first, second = mid.resnets
    h = resnet(first, h, embedding, frames)
    h = spatial(mid.attentions[0], h, states, bank, frames)
    h = temporal(mid.motion_modules[0], h, frames)
    h = resnet(second, h, embedding, frames)

    for stage in up:
        for block, transformer, motion in stage.layers():
            h = resnet(block, torch.cat([h, skips.pop()], dim=1), embedding, frames)
            if transformer is not None:
                h = spatial(transformer, h, states, bank, frames)
            h = temporal(motion, h, frames)
        for upsample in stage.upsamplers:
            h = upsample.conv(F.interpolate(h, size=skips[-1].shape[-2:], mode="nearest"))
    return unet.conv_out(F.silu(unet.conv_norm_out(h)))
