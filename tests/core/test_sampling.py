"""Sampling against data of which the exact solution is known: independent normals, mean MU and deviation SPREAD.

For them the best v-prediction is a closed formula, and the probability-flow ODE carries noise z to MU + SPREAD z.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from animate_core.families import FAMILIES
from animate_core.pose_guider import PoseGuider
from animate_core.sampling import (
    DDIM,
    SCHEDULERS,
    Predict,
    SamplingError,
    ddim_timesteps,
    draw_noise,
    interpolate_latents,
    make_scheduler,
    rescale_guidance,
    sample_clip,
    set_timesteps,
    unet_predictor,
)
from animate_core.unet import UNet, UNetConfig
from animate_core.windows import Windows

MU, SPREAD = 0.7, 0.5
MOORE = FAMILIES["Moore"]


def oracle(family: str = "Moore") -> Predict:
    alphas = make_scheduler(DDIM, FAMILIES[family]).alphas_cumprod.double()

    def predict(x: Tensor, timestep: Tensor, step: int) -> tuple[None, Tensor]:
        a2 = alphas[int(timestep)]
        a, b2 = a2.sqrt(), 1 - a2
        clean = MU + a * SPREAD**2 / (a2 * SPREAD**2 + b2) * (x.double() - a * MU)
        return None, ((a * x.double() - clean) / b2.sqrt()).float()

    return predict


def rms(x: Tensor) -> float:
    return x.pow(2).mean().sqrt().item()


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize(("name", "limit"), [(DDIM, 0.04), ("Euler", 0.04), ("DPM++ 2M", 0.02), ("UniPC", 0.02)])
def test_ode_solvers_reach_the_exact_solution(name: str, limit: float, family: str) -> None:
    z = draw_noise(3, 16, 32, 32)
    errors = [rms(sample_clip(oracle(family), z, FAMILIES[family], scheduler=name, steps=n, guidance=1.0) - (MU + SPREAD * z))
              for n in (8, 50)]
    assert errors[1] < limit
    assert errors[1] < errors[0] / 3


@pytest.mark.parametrize("name", ["DPM++ 2M SDE", "Euler a", "LCM"])
def test_stochastic_solvers_reach_the_distribution(name: str) -> None:
    z = draw_noise(3, 16, 32, 32)
    x = sample_clip(oracle(), z, MOORE, scheduler=name, steps=50, guidance=1.0, seed=3)
    assert x.mean().item() == pytest.approx(MU, abs=0.01)
    # LCM is no solver of this ODE: with an ideal teacher it falls short of the spread
    assert x.std().item() == pytest.approx(SPREAD, abs=0.2 if name == "LCM" else 0.07)
    again = sample_clip(oracle(), z, MOORE, scheduler=name, steps=50, guidance=1.0, seed=3)
    other = sample_clip(oracle(), z, MOORE, scheduler=name, steps=50, guidance=1.0, seed=4)
    assert torch.equal(x, again)
    assert not torch.allclose(x, other)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_partial_denoise_starts_from_the_latent(name: str) -> None:
    z, latent = draw_noise(1, 4, 16, 16), MU + SPREAD * draw_noise(2, 4, 16, 16)
    kept = [rms(sample_clip(oracle(), z, MOORE, scheduler=name, steps=5, guidance=1.0, latent=latent, denoise=d) - latent)
            for d in (0.1, 0.9)]
    # two clips drawn apart differ by sqrt(2) SPREAD = 0.71
    assert kept[0] < 0.52
    assert kept[1] > 1.1 * kept[0]


def test_guidance_is_u_plus_s_times_the_difference() -> None:
    seen = []

    def predict(x: Tensor, t: Tensor, step: int) -> tuple[Tensor, Tensor]:
        return torch.full_like(x, 2.0), torch.full_like(x, 3.0)

    z = draw_noise(0, 1, 8, 8)
    sample_clip(predict, z, MOORE, steps=1, guidance=4.0, callback=lambda step, steps, x, clean: seen.append(clean))
    # one step from t = 999, where alpha is 0: the clean estimate is -v, v = 2 + 4 (3 - 2)
    assert torch.allclose(seen[0], torch.full_like(z, -6.0))


def test_rescaling_brings_back_the_conditional_deviation() -> None:
    """By hand: guided [0, 4], conditional [1, 2]; deviations (n - 1) 2.828 and 0.707."""
    guided, conditional = torch.tensor([[0.0], [4.0]]), torch.tensor([[1.0], [2.0]])
    assert rescale_guidance(guided, conditional, 1.0).flatten().tolist() == pytest.approx([0.0, 1.0])
    assert rescale_guidance(guided, conditional, 0.5).flatten().tolist() == pytest.approx([0.0, 2.5])
    assert rescale_guidance(guided, conditional, 0.0) is guided


def test_interpolated_latents_lie_on_the_arc() -> None:
    """A quarter of a circle in thirds: 30 and 60 degrees; parallel ones are joined by a straight line; a loop goes on to its start."""
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 3.0]]).view(3, 2, 1, 1)
    flat = interpolate_latents(x, 3).flatten(1).tolist()
    root = 3**0.5 / 2
    assert flat == [pytest.approx(row) for row in ([1, 0], [root, 0.5], [0.5, root], [0, 1], [0, 5 / 3], [0, 7 / 3], [0, 3])]
    assert interpolate_latents(x, 2, spherical=False).flatten(1)[1].tolist() == pytest.approx([0.5, 0.5])
    loop = interpolate_latents(x, 2, closed_loop=True).flatten(1).tolist()
    assert len(loop) == 6 and loop[5] == pytest.approx([2**-0.5, 3 * 2**-0.5])
    with pytest.raises(SamplingError, match="factor must be at least 1"):
        interpolate_latents(x, 0)


@pytest.mark.parametrize(("steps", "first", "last"), [(20, [999, 949], 49), (25, [999, 959], 39), (30, [999, 966, 932, 899], 32)])
def test_published_timesteps(steps: int, first: list[int], last: int) -> None:
    assert ddim_timesteps(steps).tolist()[:len(first)] == first
    assert ddim_timesteps(steps).tolist()[-1] == last
    assert ddim_timesteps(5, 0.5).tolist() == ddim_timesteps(10).tolist()[5:]
    assert set_timesteps(make_scheduler(DDIM, MOORE), steps, 1.0).tolist() == ddim_timesteps(steps).tolist()


def test_noise_orders() -> None:
    # the reference draws [1, 4, T, h, w] from a CPU generator, the host [F, 4, h, w]
    reference = torch.randn(1, 4, 5, 6, 7, generator=torch.Generator().manual_seed(9))
    host = torch.randn(5, 4, 6, 7, generator=torch.Generator().manual_seed(9))
    assert torch.equal(draw_noise(9, 5, 6, 7), reference[0].transpose(0, 1))
    assert torch.equal(draw_noise(9, 5, 6, 7, order="ComfyUI"), host)


@pytest.mark.parametrize(("change", "message"), [
    ({"steps": 0}, "steps must be .*got 0"), ({"steps": 1001}, "steps must be .*got 1001"),
    ({"denoise": 0.0}, "denoise must be .*got 0"), ({"denoise": 1.5}, "denoise must be .*got 1.5"),
    ({"denoise": 0.5}, "needs a latent"), ({"scheduler": "PNDM"}, "is unknown; choose from"),
    ({"steps": 900, "denoise": 0.5, "latent": 1}, "lower steps"),
    ({"scheduler": "LCM", "steps": 51}, "between 1 and 50"), ({"denoise": 0.5, "latent": 2}, "latent: its shape must be"),
])
def test_arguments_out_of_range(change: dict, message: str) -> None:
    z = draw_noise(0, 2, 8, 8)
    if "latent" in change:
        change = {**change, "latent": torch.zeros(change["latent"] + 1, 4, 8, 8) if change["latent"] == 2 else torch.zeros_like(z)}
    with pytest.raises(SamplingError, match=message):
        sample_clip(oracle(), z, MOORE, **{"steps": 10, "guidance": 1.0, **change})


def test_numbers_that_are_not_finite_stop_the_run() -> None:
    def predict(x: Tensor, t: Tensor, step: int) -> tuple[None, Tensor]:
        return None, x * float("nan") if step == 1 else x

    with pytest.raises(SamplingError, match=r"NaN or infinite values at step 2 \(timestep 899\)"):
        sample_clip(predict, draw_noise(0, 1, 8, 8), MOORE, steps=10, guidance=1.0)


@pytest.fixture(scope="module")
def networks() -> Iterator[tuple[UNet, PoseGuider]]:
    torch.manual_seed(0)
    config = UNetConfig(block_out_channels=(32, 64, 64, 64), cross_attention_dim=32, motion=True)
    with torch.inference_mode():
        yield UNet(config).eval(), PoseGuider((8, 16, 16, 16), 32).eval()


def test_halves_apart_equal_halves_together_and_cancel_comes_before_each_window(networks: tuple[UNet, PoseGuider]) -> None:
    unet, guider = networks
    token = torch.randn(1, 1, 32)
    features = UNet(UNetConfig(out_channels=None, block_out_channels=(32, 64, 64, 64), cross_attention_dim=32)).reference_features(
        torch.randn(1, 4, 8, 8), token)
    conditional, unconditional = unet.condition(token, features), unet.condition(torch.zeros_like(token))
    pose = guider(torch.rand(6, 3, 64, 64))
    calls: list[int] = []

    def run(**options: object) -> Tensor:
        predict = unet_predictor(unet, conditional, unconditional, pose, Windows(4, 2), **options)
        return sample_clip(predict, draw_noise(0, 6, 8, 8), MOORE, steps=2, guidance=3.0)

    together = run(on_window=lambda: calls.append(1))
    assert len(calls) == len(Windows(4, 2).at(0, 6)) + len(Windows(4, 2).at(1, 6))
    assert torch.allclose(together, run(together=False), atol=1e-5)

    def cancel() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(on_window=cancel)
