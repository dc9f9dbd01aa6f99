"""The built-in model's autoencoder: TAESD's shape (8x down, 4 channels), so that the host's own VAE loader takes the file."""

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
from animate_core.demo.motion import MOTIONS
from animate_core.preprocess import LATENT_SCALE

from .loop import Average, Plan, train
from .optim import MuonWithAdamW

log = logging.getLogger(__name__)

CHANNELS = 64
CROP = 64


class Clamp(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / 3) * 3


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(conv(CHANNELS, CHANNELS), nn.ReLU(), conv(CHANNELS, CHANNELS), nn.ReLU(), conv(CHANNELS, CHANNELS))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x) + x)


def conv(i: int, o: int, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(i, o, 3, stride, 1, bias=bias)


class Autoencoder(nn.Module):
    """encode: RGB in [-1, 1] `[B, 3, H, W]` -> latents `[B, 4, H/8, W/8]` of unit spread; decode: back.

    These latents are what the UNet works on; the host's VAE gives them divided by `vae_scale` = 0.18215 and its latent format multiplies
    them back.
    """

    def __init__(self) -> None:
        super().__init__()
        down, up = [conv(3, CHANNELS), Block()], [Clamp(), conv(4, CHANNELS), nn.ReLU()]  # type: list[nn.Module], list[nn.Module]
        for _ in range(3):
            down += [conv(CHANNELS, CHANNELS, stride=2, bias=False), Block(), Block(), Block()]
            up += [Block(), Block(), Block(), nn.Upsample(scale_factor=2), conv(CHANNELS, CHANNELS, bias=False)]
        self.taesd_encoder = nn.Sequential(*down, conv(CHANNELS, 4))
        self.taesd_decoder = nn.Sequential(*up, Block(), conv(CHANNELS, 3))

    def encode(self, x: Tensor) -> Tensor:
        return self.taesd_encoder(x * 0.5 + 0.5)

    def decode(self, z: Tensor) -> Tensor:
        return self.taesd_decoder(z) * 2 - 1


def autoencoder_file(network: Autoencoder) -> dict[str, Tensor]:
    """The tensors of the file that the host loads as a VAE, fp16."""
    weights = {k: v.detach().half().contiguous() for k, v in network.state_dict().items()}
    return {**weights, "vae_scale": torch.tensor(LATENT_SCALE), "vae_shift": torch.tensor(0.0)}


def load_autoencoder(state_dict: dict[str, Tensor]) -> Autoencoder:
    network = Autoencoder()
    network.load_state_dict({k: v.float() for k, v in state_dict.items() if k.startswith("taesd_")})
    return network.eval().requires_grad_(False)


def pictures(count: int, seed: int) -> Tensor:
    """Single frames of `count` characters of the training seeds, in motion, `[count, 3, 192, 128]` uint8."""
    rng = np.random.default_rng(seed)
    out = torch.empty(count, 3, HEIGHT, WIDTH, dtype=torch.uint8)
    for i in range(count):
        clip = demo_clip(int(rng.integers(HELD_OUT_SEED)), str(rng.choice(list(MOTIONS))), 1, motion_seed=int(rng.integers(HELD_OUT_SEED)))
        out[i] = torch.from_numpy(clip.frames[0].copy()).permute(2, 0, 1)
    return out


def crops(source: Tensor, batch: int, generator: torch.Generator) -> Tensor:
    """Random CROP x CROP pieces, mirrored at random, in [-1, 1]."""
    which = torch.randint(len(source), (batch,), generator=generator).tolist()
    top = torch.randint(HEIGHT - CROP + 1, (batch,), generator=generator).tolist()
    left = torch.randint(WIDTH - CROP + 1, (batch,), generator=generator).tolist()
    mirror = torch.randint(2, (batch,), generator=generator).tolist()
    pieces = [source[i, :, y:y + CROP, x:x + CROP].flip(-1) if m else source[i, :, y:y + CROP, x:x + CROP]
              for i, y, x, m in zip(which, top, left, mirror, strict=True)]
    return torch.stack(pieces).float() / 127.5 - 1


def decibels(mse: float, span: float = 2.0) -> float:
    return float(10 * np.log10(span**2 / max(mse, 1e-12)))


def train_autoencoder(folder: Path, plan: Plan, *, batch: int = 16, count: int = 5000, seed: int = 1, compiled: bool = True,
                      until: float = float("inf")) -> tuple[Autoencoder, Average]:
    """L1 + 8 MSE on crops, latents kept near unit spread and decoded with a little noise on them."""
    log.info("drawing %d pictures", count)
    source = pictures(count, seed)
    torch.manual_seed(seed)
    network = Autoencoder().to(memory_format=torch.channels_last)
    edges = [network.taesd_encoder[0], network.taesd_encoder[-1], network.taesd_decoder[1], network.taesd_decoder[-1]]
    optimizer = MuonWithAdamW(network.parameters(), plan.lr, first_and_last=[p for m in edges for p in m.parameters()])
    encode = torch.compile(network.taesd_encoder) if compiled else network.taesd_encoder
    decode = torch.compile(network.taesd_decoder) if compiled else network.taesd_decoder

    def loss(step: int) -> tuple[Tensor, dict[str, float]]:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        x = crops(source, batch, generator).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            z = encode(x * 0.5 + 0.5).float()
            y = decode(z + 0.05 * torch.randn(z.shape, generator=generator)).float() * 2 - 1
        mse = F.mse_loss(y, x)
        spread = (z.mean() ** 2 + (z.std() - 1) ** 2) + 1e-3 * F.relu(z.abs() - 2.5).square().mean()
        return F.l1_loss(y, x) + 8 * mse + 0.05 * spread, {"psnr": decibels(float(mse.detach())), "spread": float(z.detach().std())}

    settings: dict[str, Any] = {"batch": batch, "count": count, "seed": seed, "lr": plan.lr}
    return network, train(network, optimizer, loss, plan, folder, settings, until=until)
