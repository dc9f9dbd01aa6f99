"""The built-in model's autoencoder: TAESD's shape (8x down, 4 channels), so that the host's own VAE loader takes the file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from animate_core.checkpoints import read_state_dict
from animate_core.preprocess import LATENT_SCALE

from .demo_data import random_pictures
from .loop import Average, Plan, train
from .optim import MuonWithAdamW

log = logging.getLogger(__name__)

CHANNELS = 64
CROP = 96
SIZES = ((192, 288), (192, 288), (192, 288), (128, 192), (256, 384), (288, 192))  # of the pictures that crops are taken from


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


def pictures(count: int, seed: int) -> list[Tensor]:
    """About `count` pictures of random characters, a tensor `[n, 3, H, W]` uint8 for each of SIZES."""
    return [torch.from_numpy(random_pictures(max(1, count // len(SIZES)), width, height, seed + i)).permute(0, 3, 1, 2).contiguous()
            for i, (width, height) in enumerate(SIZES)]


def crops(sources: Sequence[Tensor], batch: int, generator: torch.Generator) -> Tensor:
    """Random CROP x CROP pieces, mirrored at random, in [-1, 1]."""
    def one(limit: int) -> int:
        return int(torch.randint(limit, (1,), generator=generator))

    pieces = []
    for _ in range(batch):
        source = sources[one(len(sources))]
        y, x = one(source.shape[-2] - CROP + 1), one(source.shape[-1] - CROP + 1)
        piece = source[one(len(source)), :, y:y + CROP, x:x + CROP]
        pieces.append(piece.flip(-1) if one(2) else piece)
    return torch.stack(pieces).float() / 127.5 - 1


def edge_loss(y: Tensor, x: Tensor) -> Tensor:
    """Mean absolute difference of the pictures' differences between neighbours, which blurred edges fail in."""
    return F.l1_loss(y.diff(dim=-1), x.diff(dim=-1)) + F.l1_loss(y.diff(dim=-2), x.diff(dim=-2))


@torch.no_grad()
def preview_colours(network: Autoencoder, pictures: Tensor) -> Tensor:
    """`FamilyPreset.latent_rgb` of an autoencoder `[5, 3]`: least squares over pictures `[B, 3, H, W]` in [-1, 1] and their latents."""
    latents = torch.cat([network.encode(part) for part in pictures.split(8)]).movedim(1, -1).flatten(0, 2)
    colours = F.avg_pool2d(pictures, 8).movedim(1, -1).flatten(0, 2)
    return torch.linalg.lstsq(torch.cat([latents, torch.ones(len(latents), 1)], dim=1), colours).solution


def decibels(mse: float, span: float = 2.0) -> float:
    return float(10 * np.log10(span**2 / max(mse, 1e-12)))


def train_autoencoder(folder: Path, plan: Plan, *, batch: int = 7, count: int = 5000, seed: int = 1, begin: Path | None = None,
                      until: float = float("inf")) -> tuple[Autoencoder, Average]:
    """L1 + each crop's RMSE + edges, latents kept near unit spread and decoded with a little noise on them.

    RMSE by crop, not MSE, so that grainy drawings do not outweigh clean ones.

    begin: an autoencoder's file to begin with. Raises CheckpointError for one that is none.
    """
    torch.manual_seed(seed)
    network = Autoencoder()
    if begin is not None:
        network.load_state_dict(load_autoencoder(read_state_dict(begin)).state_dict())
    network.to(memory_format=torch.channels_last)
    log.info("drawing %d pictures", count)
    source = pictures(count, seed)
    edges = [network.taesd_encoder[0], network.taesd_encoder[-1], network.taesd_decoder[1], network.taesd_decoder[-1]]
    optimizer = MuonWithAdamW(network.parameters(), plan.lr, first_and_last=[p for m in edges for p in m.parameters()])

    def loss(step: int) -> tuple[Tensor, dict[str, float]]:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        x = crops(source, batch, generator).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            z = network.encode(x).float()
            y = network.decode(z + 0.03 * torch.randn(z.shape, generator=generator)).float()
        mse = (y - x).square().flatten(1).mean(1)
        spread = (z.mean() ** 2 + (z.std() - 1) ** 2) + 1e-3 * F.relu(z.abs() - 2.5).square().mean()
        value = F.l1_loss(y, x) + (mse + 1e-6).sqrt().mean() + edge_loss(y, x) + 0.05 * spread
        return value, {"psnr": decibels(float(mse.detach().mean())), "spread": float(z.detach().std())}

    settings: dict[str, Any] = {"batch": batch, "count": count, "seed": seed, "lr": plan.lr}
    return network, train(network, optimizer, loss, plan, folder, settings, until=until)
