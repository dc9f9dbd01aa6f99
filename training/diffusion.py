"""The training objective: v-prediction with zero terminal SNR, weighted by min-SNR (docs/method.md J)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDIMScheduler
from torch import Tensor

from animate_core.families import BETA_END, BETA_START, NUM_TRAIN_TIMESTEPS

SNR_GAMMA = 5.0


@dataclass(frozen=True)
class Noising:
    """alphas: cumulative products `[1000]` float64.

    late: share of the timesteps drawn from the last quarter, where hardly anything of the picture is left and the network has to read
    reference and pose; 0.25 is the published uniform draw. offset: spread of the noise shared by a channel.
    """

    alphas: Tensor
    late: float = 0.25
    offset: float = 0.05

    def timesteps(self, count: int, generator: torch.Generator) -> Tensor:
        """`[count]` in 0..999."""
        edge = NUM_TRAIN_TIMESTEPS * 3 // 4
        u, coin = torch.rand(count, generator=generator), torch.rand(count, generator=generator)
        t = torch.where(coin < self.late, edge + u * (NUM_TRAIN_TIMESTEPS - edge), u * edge)
        return t.long()

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """`[B, F, C, h, w]`; the offset is one number for a sample's channel, the same for all frames."""
        noise = torch.randn(shape, generator=generator)
        return noise + self.offset * torch.randn((shape[0], 1, shape[2], 1, 1), generator=generator)

    def level(self, timesteps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """sqrt(abar) and sqrt(1 - abar), `[B, 1, 1, ...]` to multiply `like` with."""
        a = self.alphas.to(timesteps.device)[timesteps].view(-1, *[1] * (like.ndim - 1))
        return a.sqrt().to(like), (1 - a).sqrt().to(like)

    def add(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        a, s = self.level(timesteps, clean)
        return a * clean + s * noise

    def velocity(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """v = sqrt(abar) noise - sqrt(1 - abar) clean (Salimans and Ho 2022, section 4)."""
        a, s = self.level(timesteps, clean)
        return a * noise - s * clean

    def loss(self, prediction: Tensor, target: Tensor, timesteps: Tensor, temporal: float = 0.0) -> Tensor:
        """Mean squared error of each sample, times min(SNR + 1, 5) / (SNR + 1); at zero SNR the weight is 1.

        prediction, target: `[B, F, C, h, w]`. temporal: weight of the error's change from frame to frame beside the error itself.
        """
        a = self.alphas.to(timesteps.device)[timesteps]
        plus_one = 1 / (1 - a)  # SNR + 1, with SNR = abar / (1 - abar)
        weight = (plus_one.clamp(max=SNR_GAMMA) / plus_one).to(target)
        error = prediction.float() - target.float()
        each = error.square().flatten(1).mean(1)
        if temporal and error.shape[1] > 1:
            each = each + temporal * error.diff(dim=1).square().flatten(1).mean(1)
        return (each * weight).mean()


def make_noising(late: float = 0.25, offset: float = 0.05) -> Noising:
    """The published training schedule: scaled_linear betas, rescaled to zero terminal SNR."""
    scheduler: Any = DDIMScheduler(num_train_timesteps=NUM_TRAIN_TIMESTEPS, beta_start=BETA_START, beta_end=BETA_END,
                                   beta_schedule="scaled_linear", rescale_betas_zero_snr=True)
    return Noising(scheduler.alphas_cumprod.double(), late, offset)
