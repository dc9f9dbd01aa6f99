"""The host's block patches (`transformer_options["patches"]` and `["patches_replace"]`) on this pack's UNet.

Layers are numbered as in the host's UNet of Stable Diffusion 1.5, which has the same layers in the same order. Patches of attention see
all rows of a window at once; a replaced attention sees one clip at a time, since rows with a reference have more keys.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..animate_core.blocks import Attention, Run, SelfOrCrossAttention, SpatialBlock
from ..animate_core.unet import UNetConfig

SERVED = {"attn1_patch", "attn1_output_patch", "attn2_patch", "attn2_output_patch", "input_block_patch", "input_block_patch_after_skip",
          "output_block_patch"}
REPLACED = {"attn1", "attn2"}
# their patch keeps what it saw in the last call of the UNet, which is one window of several
ONE_WINDOW = {"SelfAttentionGuidance": "Self-Attention Guidance"}


def owner(function: Any) -> str:
    """The node whose patch this is, by where it was defined."""
    name = getattr(function, "__qualname__", type(function).__name__)
    return name.split(".")[0]


def block_places(config: UNetConfig) -> dict[str, tuple[str, int]]:
    """Transformer block's path -> place in the host's numbering."""
    stages, layers = range(len(config.block_out_channels)), config.layers_per_block
    places = {"mid_block.attentions.0": ("middle", 0)}
    for stage in stages:
        places |= {f"down_blocks.{stage}.attentions.{j}": ("input", 1 + (layers + 1) * stage + j) for j in range(layers)}
        places |= {f"up_blocks.{stage}.attentions.{j}": ("output", (layers + 1) * stage + j) for j in range(layers + 1)}
    return {f"{path}.transformer_blocks.0": place for path, place in places.items()}


def unserved(options: dict[str, Any]) -> list[str]:
    """Patches that this UNet has no place for, each as "what (whose)"."""
    found = [f"{name} ({', '.join(sorted({owner(f) for f in functions}))})"
             for name, functions in options.get("patches", {}).items() if name not in SERVED and functions]
    found += [f"{name} ({', '.join(sorted({owner(f) for f in places.values()}))})"
              for name, places in options.get("patches_replace", {}).items() if name not in REPLACED and places]
    return found


def patches_key(options: dict[str, Any]) -> Hashable:
    """Differs between passes with different patches: what one leaves for later steps is no other's."""
    functions = [f for functions in options.get("patches", {}).values() for f in functions]
    functions += [f for places in options.get("patches_replace", {}).values() for f in places.values()]
    return tuple(id(f) for f in functions)


def check_windows(options: dict[str, Any]) -> None:
    """Raises ValueError for patches that give wrong pictures in silence where a clip has several windows."""
    functions = [f for places in options.get("patches_replace", {}).values() for f in places.values()]
    wrong = sorted({ONE_WINDOW[owner(f)] for f in functions if owner(f) in ONE_WINDOW})
    if wrong:
        raise ValueError(f"model: {', '.join(wrong)} works with a single window only, but this clip has several; remove the node, or "
                         "set the length of Windows to the length of the clip")


def in_place_of(replaced: Callable[..., Tensor], about: dict[str, Any]) -> Attention:
    """A function that replaces a block's attention, as attention."""

    def attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
        # one that gives back the values (perturbed attention) means the picture's own
        return replaced(q, k, v, {**about, "dim_head": q.shape[-1] // heads})[:, :q.shape[1]]

    return attention


class HostPatches:
    """`animate_core.blocks.Patches` of one window. shape: the window's latents' `[rows, 4, h, w]`."""

    def __init__(self, options: dict[str, Any], config: UNetConfig, shape: Sequence[int]) -> None:
        self.patches: dict[str, list[Callable[..., Any]]] = options.get("patches", {})
        self.replaced: dict[str, dict[tuple[Any, ...], Callable[..., Any]]] = options.get("patches_replace", {})
        self.options = {**options, "original_shape": list(shape), "transformer_index": 0, "block_index": 0}
        self.places = block_places(config)

    @staticmethod
    def needed(options: dict[str, Any]) -> bool:
        return bool(SERVED & options.get("patches", {}).keys() or REPLACED & options.get("patches_replace", {}).keys())

    def about(self, block: SpatialBlock, attention: SelfOrCrossAttention) -> dict[str, Any]:
        """What a patch of attention is told."""
        told = {key: value for key, value in self.options.items() if key not in ("patches", "patches_replace")}
        width = block.norm1.normalized_shape[0]
        return {**told, "block": self.places[block.path], "n_heads": attention.heads, "dim_head": width // attention.heads,
                "attn_precision": None}

    def replacement(self, kind: str, block: SpatialBlock) -> Callable[..., Any] | None:
        place = self.places[block.path]
        functions = self.replaced.get(kind, {})
        return functions.get((*place, 0), functions.get(place))

    def run(self, kind: str) -> list[Callable[..., Any]]:
        return self.patches.get(kind, [])

    def self_attention(self, block: SpatialBlock, n: Tensor, run: Run) -> Tensor | None:
        before, after, replaced = self.run("attn1_patch"), self.run("attn1_output_patch"), self.replacement("attn1", block)
        if not before and not after and replaced is None:
            return None
        attn, about = block.attn1, self.about(block, block.attn1)
        query, key, value = n, n, n
        for patch in before:
            query, key, value = patch(query, key, value, about)
        q, k, v = attn.to_q(query), attn.to_k(key), attn.to_v(value)
        clips = len(run.clips)
        halves = about.get("cond_or_uncond") or list(range(clips))
        outputs = []
        for clip, half, qc, kc, vc in zip(run.clips, halves, q.chunk(clips), k.chunk(clips), v.chunk(clips), strict=True):
            if len(kc) != len(qc):
                # a patch that cuts the queries into tiles leaves it to attention to cut the keys alike
                kc, vc = (t.reshape(len(qc), -1, t.shape[-1]) for t in (kc, vc))
            attention = run.attention if replaced is None else in_place_of(replaced, {**about, "cond_or_uncond": [half]})
            outputs.append(block.read(qc, kc, vc, clip, attention))
        out = attn.to_out[0](torch.cat(outputs))
        for patch in after:
            out = patch(out, about)
        return out

    def cross_attention(self, block: SpatialBlock, x: Tensor, run: Run) -> Tensor | None:
        before, after, replaced = self.run("attn2_patch"), self.run("attn2_output_patch"), self.replacement("attn2", block)
        if not before and not after and replaced is None:
            return None
        attn, about = block.attn2, self.about(block, block.attn2)
        tokens = torch.cat([clip.tokens.expand(run.frames, -1, -1) for clip in run.clips if clip.tokens is not None])
        query, key, value = block.norm2(x), tokens, tokens
        for patch in before:
            query, key, value = patch(query, key, value, about)
        q, k, v = attn.to_q(query), attn.to_k(key), attn.to_v(value)
        out = attn.to_out[0](run.attention(q, k, v, attn.heads) if replaced is None else replaced(q, k, v, about))
        for patch in after:
            out = patch(out, about)
        return out

    def input_layer(self, index: int, h: Tensor) -> tuple[Tensor, Tensor]:
        h = self.changed(self.run("input_block_patch"), ("input", index), h)
        return self.changed(self.run("input_block_patch_after_skip"), ("input", index), h), h

    def changed(self, patches: Iterable[Callable[..., Any]], place: tuple[str, int], h: Tensor) -> Tensor:
        for patch in patches:
            h = patch(h, {**self.options, "block": place})
        return h

    def output_layer(self, index: int, h: Tensor, skip: Tensor) -> tuple[Tensor, Tensor]:
        patches = self.run("output_block_patch")
        if patches:
            h = h.clone()  # patches work in place, on what may be a skip connection as well
        for patch in patches:
            h, skip = patch(h, skip, {**self.options, "block": ("output", index)})
        return h, skip
