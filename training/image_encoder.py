"""The built-in model's image encoder: a small CLIP vision tower, taught to know a character again in another pose."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from animate_core.demo.character import HELD_OUT_SEED
from animate_core.demo.clip import HEIGHT, WIDTH, demo_clip

from .demo_data import clip_pixels, random_motion
from .loop import Average, Plan, train

log = logging.getLogger(__name__)

SIZE, PATCH, HIDDEN, LAYERS, PROJECTION = 96, 16, 128, 3, 64
TEMPERATURE = 0.1


def make_image_encoder() -> Any:
    """transformers' CLIPVisionModelWithProjection, untrained: pictures of SIZE pixels -> `[B, PROJECTION]`."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    return CLIPVisionModelWithProjection(CLIPVisionConfig(
        hidden_size=HIDDEN, intermediate_size=2 * HIDDEN, num_hidden_layers=LAYERS, num_attention_heads=HIDDEN // 64, image_size=SIZE,
        patch_size=PATCH, projection_dim=PROJECTION, hidden_act="quick_gelu"))


def facts(character: Any) -> list[float]:
    """What a description of the character would name, as numbers: colours and kinds."""
    looks = character.looks
    colours = [looks.skin, looks.hair_colour, looks.top, looks.lower_colour, looks.shoes, looks.headwear_colour if looks.headwear != "none"
               else looks.hair_colour, character.background.upper, character.background.lower]
    kinds = [looks.lower == k for k in ("trousers", "shorts", "skirt")] + [looks.sleeves == k for k in ("none", "short")]
    return [c / 127.5 - 1 for colour in colours for c in colour] + [2.0 * k - 1 for k in kinds]


def pairs(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Two pictures of each of `count` training characters `[count, 2, 3, SIZE, SIZE]` fp16, and their facts `[count, n]`."""
    rng = np.random.default_rng((0xC11B, seed))
    pixels = torch.empty(count, 2, 3, SIZE, SIZE, dtype=torch.float16)
    known = []
    for i in range(count):
        character = int(rng.integers(HELD_OUT_SEED))
        for k in range(2):
            motion = random_motion(rng, character, WIDTH, HEIGHT)
            clip = demo_clip(character, motion, 1, motion_seed=int(rng.integers(HELD_OUT_SEED)))
            pixels[i, k] = clip_pixels(clip.frames[0], SIZE)[0].half()
        known.append(facts(clip.character))
    return pixels, torch.tensor(known)


class Encoder(nn.Module):
    """The tower, and a head that exists for training only."""

    def __init__(self, facts: int) -> None:
        super().__init__()
        self.tower = make_image_encoder()
        self.head = nn.Linear(PROJECTION, facts)


def train_image_encoder(folder: Path, plan: Plan, *, batch: int = 64, count: int = 3000, seed: int = 2,
                        until: float = float("inf")) -> tuple[Encoder, Average]:
    """Contrast between characters (InfoNCE, both pictures as queries), and reading off their facts."""
    log.info("drawing %d pairs", count)
    pixels, known = pairs(count, seed)
    torch.manual_seed(seed)
    network = Encoder(known.shape[1])
    optimizer = torch.optim.AdamW(network.parameters(), plan.lr, betas=(0.9, 0.98), weight_decay=0.02)

    def loss(step: int) -> tuple[Tensor, dict[str, float]]:
        which = torch.randint(count, (batch,), generator=torch.Generator().manual_seed(seed * 1_000_003 + step))
        with torch.autocast("cpu", torch.bfloat16):
            tokens = network.tower(pixel_values=pixels[which].flatten(0, 1).float()).image_embeds
        tokens = tokens.float()
        told = F.mse_loss(network.head(tokens), known[which].repeat_interleave(2, 0))
        a, b = F.normalize(tokens, dim=-1).unflatten(0, (batch, 2)).unbind(1)
        alike = a @ b.T / TEMPERATURE
        label = torch.arange(batch)
        contrast = (F.cross_entropy(alike, label) + F.cross_entropy(alike.T, label)) / 2
        # a token's numbers of unit spread suit the denoiser's cross-attention
        spread = (tokens.square().mean() - 1).square()
        right = float((alike.argmax(1) == label).float().mean())
        return contrast + 2 * told + 0.1 * spread, {"facts": float(told.detach()), "right": right}

    settings = {"batch": batch, "count": count, "seed": seed, "lr": plan.lr}
    return network, train(network, optimizer, loss, plan, folder, settings, until=until)
