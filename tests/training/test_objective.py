"""The training objective and the optimisers, against other people's implementations and against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler
from torch import nn

from training.diffusion import make_noising
from training.optim import Average, MuonWithAdamW

SCHEDULE = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def test_noising_and_velocity_are_the_schedulers() -> None:
    scheduler = DDIMScheduler(**SCHEDULE, rescale_betas_zero_snr=True, prediction_type="v_prediction")
    noising = make_noising()
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(6, 3, 4, 5, 5, generator=generator), torch.randn(6, 3, 4, 5, 5, generator=generator)
    t = torch.tensor([0, 1, 250, 500, 900, 999])
    assert torch.allclose(noising.add(clean, noise, t), scheduler.add_noise(clean, noise, t), atol=1e-6)
    assert torch.allclose(noising.velocity(clean, noise, t), scheduler.get_velocity(clean, noise, t), atol=1e-6)
    assert torch.allclose(noising.add(clean, noise, t)[-1], noise[-1], atol=1e-6), "the last timestep must hold no signal"


def test_loss_weights() -> None:
    """min(SNR + 1, 5) / (SNR + 1): SNR from diffusers' table without rescaling would differ, so the table is rescaled here too."""
    alphas = DDIMScheduler(**SCHEDULE, rescale_betas_zero_snr=True).alphas_cumprod.double()
    noising = make_noising()
    t = torch.tensor([0, 100, 400, 999])
    for i in t.tolist():
        snr = float(alphas[i] / (1 - alphas[i]))
        expected = min(snr + 1, 5) / (snr + 1)
        one = torch.tensor([i])
        loss = noising.loss(torch.full((1, 2, 4, 3, 3), 2.0), torch.zeros(1, 2, 4, 3, 3), one)
        assert float(loss) == pytest.approx(4 * expected, rel=1e-4)
    assert float(noising.loss(torch.ones(1, 1), torch.zeros(1, 1), torch.tensor([999]))) == pytest.approx(1.0)


def test_the_temporal_loss_counts_changes_of_the_error_alone() -> None:
    noising = make_noising()
    last = torch.tensor([999])  # where the weight is 1
    truth = torch.randn(1, 4, 4, 3, 3, generator=torch.Generator().manual_seed(2))
    steady, alternating = torch.full_like(truth, 2.0), 2.0 * torch.tensor([1.0, -1, 1, -1]).view(1, 4, 1, 1, 1).expand_as(truth)
    assert float(noising.loss(truth + steady, truth, last, temporal=3.0)) == pytest.approx(4.0, rel=1e-5)
    assert float(noising.loss(truth + alternating, truth, last, temporal=3.0)) == pytest.approx(4 + 3 * 16, rel=1e-5)
    assert float(noising.loss(truth + alternating, truth, last)) == pytest.approx(4.0, rel=1e-5)


def test_timesteps_and_offset_noise() -> None:
    generator = torch.Generator().manual_seed(1)
    uniform = make_noising(late=0.25).timesteps(40_000, generator).float()
    assert uniform.min() == 0 and uniform.max() == 999 and abs(float(uniform.mean()) - 499.5) < 5
    late = make_noising(late=0.6).timesteps(40_000, generator)
    assert abs(float((late >= 750).float().mean()) - 0.6) < 0.01
    noise = make_noising(offset=0.5).noise((200, 6, 4, 8, 8), generator)
    shared = noise.mean(dim=(1, 3, 4))
    assert abs(float(shared.std()) - 0.5) < 0.05, "one offset for a sample's channel, the same for all frames"
    assert abs(float(make_noising(offset=0.0).noise((200, 6, 4, 8, 8), generator).mean(dim=(1, 3, 4)).std()) - 1 / (6 * 64) ** 0.5) < 0.01


@pytest.mark.parametrize("channels_last", [False, True])
def test_muon_trains_convolutions_as_matrices(channels_last: bool) -> None:
    """A convolution moves exactly as torch's own Muon moves the same numbers given as a matrix."""
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 8, 3)
    matrix = nn.Parameter(conv.weight.detach().flatten(1).clone())
    if channels_last:
        conv.to(memory_format=torch.channels_last)
        matrix = nn.Parameter(conv.weight.detach().permute(0, 2, 3, 1).flatten(1).clone())
    ours = MuonWithAdamW(conv.parameters(), 0.01, weight_decay=0.1)
    theirs = torch.optim.Muon([matrix], lr=0.01, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    before = conv.bias.detach().clone()
    for i in range(3):
        gradient = torch.randn(8, 6, 3, 3, generator=torch.Generator().manual_seed(i))
        conv.weight.grad, conv.bias.grad = gradient.clone(), torch.ones(8)
        matrix.grad = (gradient.permute(0, 2, 3, 1) if channels_last else gradient).flatten(1).clone()
        ours.step()
        theirs.step()
    moved = conv.weight.detach().permute(0, 2, 3, 1).flatten(1) if channels_last else conv.weight.detach().flatten(1)
    assert torch.allclose(moved, matrix.detach(), atol=1e-6)
    assert torch.allclose(conv.bias.detach(), before - 0.03, atol=1e-4), "AdamW moves a constant gradient by the learning rate"


def test_average_is_exponential() -> None:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 0.0)
    average = Average(layer, 0.9)
    expected = 0.0
    for step in range(30):
        layer.weight.data.fill_(float(step))
        average.update(step)
        keep = min(0.9, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep) * step
    average.swap()
    assert layer.weight.item() == pytest.approx(expected, rel=1e-5)
    average.swap()
    assert layer.weight.item() == 29.0
