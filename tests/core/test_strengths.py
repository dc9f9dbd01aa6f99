"""Strengths against a softmax written out in numpy, passes without the reference or the pose, and passes of one frame each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import Tensor

from animate_core import blocks
from animate_core.accelerate import Acceleration
from animate_core.blocks import ClipConditioning, sdpa
from animate_core.families import FAMILIES
from animate_core.reading import readings
from animate_core.sampling import draw_noise, sample_clip, unet_predictor
from animate_core.strengths import Curve, StepStrengths, Strengths
from animate_core.unet import UNet, UNetConfig
from animate_core.windows import Windows

CPU = torch.device("cpu")
WIDTHS, FRAMES, STEPS = (32, 64, 64, 64), 6, 3
STILL = UNetConfig(block_out_channels=WIDTHS, cross_attention_dim=24)
CURVE = (0.0, 0.3, 1.0, 2.5, 0.0, 0.7)
ONE, SEVERAL = Windows(FRAMES, 0), Windows(4, 1)


@pytest.fixture(autouse=True, scope="module")
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def unet() -> UNet:
    """Without motion modules, so that each frame is on its own."""
    torch.manual_seed(1)
    return UNet(STILL).eval()


@pytest.fixture(scope="module")
def pictures() -> list[dict[str, Tensor]]:
    """The features of two references."""
    torch.manual_seed(2)
    net = UNet(replace(STILL, out_channels=None)).eval()
    return [net.reference_features(torch.randn(1, 4, 8, 8), torch.randn(1, 1, 24)) for _ in range(2)]


@pytest.fixture(scope="module")
def token() -> Tensor:
    return torch.randn(1, 1, 24, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def pose() -> Tensor:
    return torch.randn(FRAMES, 32, 8, 8, generator=torch.Generator().manual_seed(4))


def latents(frames: int = FRAMES) -> Tensor:
    return torch.randn(frames, 4, 8, 8, generator=torch.Generator().manual_seed(5))


def predicted(unet: UNet, clip: ClipConditioning, pose: Tensor, strengths: Strengths | None, windows: Windows = ONE,
              step: int = 0) -> Tensor:
    """The conditional half of one step."""
    levels = [strengths.at(i, STEPS) for i in range(STEPS)] if strengths else []
    return unet_predictor(unet, clip, None, pose, windows, strengths=levels)(latents(), torch.tensor([500]), step)[1]


# ------------------------------------------------------------------------------------------------------------------ the rule

def by_numpy(q: Tensor, k: Tensor, v: Tensor, heads: int, weights: np.ndarray) -> np.ndarray:
    """softmax(q k / sqrt(d) + log w) v, a head after the other; weights `[rows, keys]`. A key of weight 0 has no share."""
    out = np.zeros(q.shape)
    width = q.shape[-1] // heads
    for row in range(len(q)):
        for head in range(heads):
            a, b, c = (x[row, :, head * width:(head + 1) * width].double().numpy() for x in (q, k, v))
            seen = weights[row] > 0
            shares = softmax(a @ b[seen].T / math.sqrt(width) + np.log(weights[row][seen]), axis=-1)
            out[row, :, head * width:(head + 1) * width] = shares @ c[seen]
    return out


@pytest.mark.parametrize("width", [8, 20, 40])
def test_a_strength_is_a_factor_of_the_keys_weights_in_the_softmax(width: int) -> None:
    heads, own, tokens = 2, 5, 3
    strengths = [(1.0, 1.0), (0.5, 2.0), (0.2, 0.2), (0.0, 3.0), (0.0, 0.0), (0.0, 1.0), (1e-4, 1.0)]
    g = torch.Generator().manual_seed(width)
    q, k, v = (torch.randn(len(strengths), own, heads * width, generator=g) for _ in range(3))
    rk, rv = (torch.randn(1, 2 * tokens, heads * width, generator=g) for _ in range(2))
    ours, start = [], 0
    for reading in readings(strengths, CPU):
        part = slice(start, start := start + reading.rows)
        ours.append(reading.attend(sdpa, q[part], k[part], v[part], rk, rv, heads))
    weights = np.array([[1.0] * own + [a] * tokens + [b] * tokens for a, b in strengths])
    keys, values = (torch.cat([x, r.expand(len(x), -1, -1)], dim=1) for x, r in ((k, rk), (v, rv)))
    assert np.allclose(torch.cat(ours).numpy(), by_numpy(q, keys, values, heads, weights), atol=2e-6)


def test_half_precision_keeps_the_rule() -> None:
    heads, width = 2, 40
    q, k, v = (torch.randn(1, 6, heads * width, generator=torch.Generator().manual_seed(i)).bfloat16() for i in range(3))
    reading, = readings([(0.05,)], CPU)
    ours = reading.attend(sdpa, q, k, v, k, v, heads).float().numpy()
    weights = np.array([[1.0] * 6 + [0.05] * 6])
    assert np.abs(ours - by_numpy(q, torch.cat([k, k], 1), torch.cat([v, v], 1), heads, weights)).max() < 0.03


# --------------------------------------------------------------------------------------------------------- reference

def test_ones_change_nothing(unet: UNet, pictures: list[dict[str, Tensor]], token: Tensor, pose: Tensor) -> None:
    clip = unet.condition(token, pictures[0])
    plain = predicted(unet, clip, pose, None)
    # the last frame alone is not at 1: the others' attention is the plain one, though not the same batch
    curves = Strengths(Curve((1.0,) * 5 + (0.5,)))
    assert torch.equal(predicted(unet, clip, pose, Strengths(Curve((1.0,) * FRAMES))), plain)
    assert torch.allclose(predicted(unet, clip, pose, curves)[:5], plain[:5], atol=1e-5)
    assert not torch.allclose(predicted(unet, clip, pose, curves)[5], plain[5], atol=1e-3)


def test_0_is_a_pass_without_the_reference(unet: UNet, pictures: list[dict[str, Tensor]], token: Tensor, pose: Tensor) -> None:
    clip, without = unet.condition(token, pictures[0]), unet.condition(token)
    none = predicted(unet, without, pose, None)
    assert torch.equal(predicted(unet, clip, pose, Strengths(Curve((0.0,)))), none)
    mixed = predicted(unet, clip, pose, Strengths(Curve((0.0, 0.0, 1.0, 0.4, 0.0, 0.0))))
    assert torch.allclose(mixed[[0, 1, 4, 5]], none[[0, 1, 4, 5]], atol=1e-5)
    assert torch.allclose(mixed[2], predicted(unet, clip, pose, None)[2], atol=1e-5)
    assert (none - predicted(unet, clip, pose, None)).abs().max() > 0.05


@pytest.mark.parametrize("windows", [ONE, SEVERAL])
@pytest.mark.parametrize("parts", [False, True])
def test_each_frame_has_its_own_strength(unet: UNet, pictures: list[dict[str, Tensor]], token: Tensor, pose: Tensor, windows: Windows,
                                         parts: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """In windows and where layers run some frames at a time, as a run of that frame alone at one strength."""
    if parts:
        monkeypatch.setattr(blocks, "CPU_PART_BYTES", 40_000)
    clip = unet.condition(token, pictures[0])
    ours = predicted(unet, clip, pose, Strengths(Curve(CURVE)), windows)
    time = unet.time_projections(torch.tensor([500]), torch.float32)
    for i, strength in enumerate(CURVE):
        alone = StepStrengths((strength,)).read(clip, [0])
        assert torch.allclose(ours[i:i + 1], unet(latents()[i:i + 1], time, [alone], pose[i:i + 1]), atol=2e-5), i


def test_outside_its_steps_the_reference_is_not_read(unet: UNet, pictures: list[dict[str, Tensor]], token: Tensor, pose: Tensor) -> None:
    clip = unet.condition(token, pictures[0])
    timed = Strengths(Curve((1.0,), 0.3, 0.6))
    for step in range(STEPS):
        expected = predicted(unet, clip if step == 1 else unet.condition(token), pose, None)
        assert torch.equal(predicted(unet, clip, pose, timed, step=step), expected), step
    assert timed.timed and not Strengths(Curve(CURVE)).timed


# --------------------------------------------------------------------------------------------------- several references

def joined(pictures: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {path: torch.cat([features[path] for features in pictures], dim=1) for path in pictures[0]}


def test_the_same_reference_twice_is_that_reference(unet: UNet, pictures: list[dict[str, Tensor]], token: Tensor, pose: Tensor) -> None:
    one = predicted(unet, unet.condition(token, pictures[0]), pose, None)
    twice = joined([pictures[0], pictures[0]])
    assert torch.allclose(predicted(unet, unet.condition(token, twice, (0.3, 0.7)), pose, None), one, atol=1e-5)
    # and with both at 1, it counts twice
    double = predicted(unet, unet.condition(token, pictures[0]), pose, Strengths(Curve((2.0,))))
    assert torch.allclose(predicted(unet, unet.condition(token, twice, (1.0, 1.0)), pose, None), double, atol=1e-5)


def test_a_reference_of_weight_0_is_not_read(unet: UNet, pictures: list[dict[str, Tensor]], token: Tensor, pose: Tensor) -> None:
    both = joined(pictures)
    for weights, alone in (((1.0, 0.0), pictures[0]), ((0.0, 1.0), pictures[1])):
        one = predicted(unet, unet.condition(token, alone), pose, None)
        assert torch.allclose(predicted(unet, unet.condition(token, both, weights), pose, None), one, atol=1e-6)
        halved = predicted(unet, unet.condition(token, alone), pose, Strengths(Curve(CURVE)))
        assert torch.allclose(predicted(unet, unet.condition(token, both, weights), pose, Strengths(Curve(CURVE))), halved, atol=1e-5)
    assert not torch.allclose(predicted(unet, unet.condition(token, both, (0.5, 0.5)), pose, None), one, atol=1e-2)


# --------------------------------------------------------------------------------------------------------------- pose

def test_pose_strength_scales_the_features_wherever_they_enter(unet: UNet, pictures: list[dict[str, Tensor]], token: Tensor) -> None:
    clip = unet.condition(token, pictures[0])
    places = [torch.randn(FRAMES, c, s, s, generator=torch.Generator().manual_seed(c + s)) for c, s in ((32, 8), (32, 4), (64, 2), (64, 1))]
    levels = [Strengths(pose=Curve(CURVE)).at(0, 1)]
    windows = SEVERAL

    def run(features: list[Tensor], strengths: list[StepStrengths]) -> Tensor:
        at = lambda frames: [place[list(frames)] for place in features]  # noqa: E731
        return unet_predictor(unet, clip, None, at, windows, strengths=strengths)(latents(), torch.tensor([500]), 0)[1]

    scaled = [torch.stack([x * strength for x, strength in zip(place, CURVE, strict=True)]) for place in places]
    assert torch.allclose(run(places, levels), run(scaled, []), atol=1e-5)
    assert not torch.allclose(run(places, levels), run(places, []), atol=1e-2)


def test_pose_strength_0_is_a_pass_without_pose(unet: UNet, pictures: list[dict[str, Tensor]], token: Tensor, pose: Tensor) -> None:
    clip, kept = unet.condition(token, pictures[0]), pose.clone()
    time = unet.time_projections(torch.tensor([500]), torch.float32)
    assert torch.equal(predicted(unet, clip, pose, Strengths(pose=Curve((0.0,)))), unet(latents(), time, [clip], None))
    assert torch.equal(predicted(unet, clip, pose, Strengths(pose=Curve((1.0,) * FRAMES))), predicted(unet, clip, pose, None))
    assert torch.equal(pose, kept), "the clip's features stay for other runs"


# ----------------------------------------------------------------------------------------------------------- guidance

@pytest.fixture(scope="module")
def halves(unet: UNet, pictures: list[dict[str, Tensor]], token: Tensor) -> tuple[ClipConditioning, ClipConditioning]:
    return unet.condition(token, pictures[0]), unet.condition(torch.zeros_like(token))


def clip_of(unet: UNet, halves: tuple[ClipConditioning, ClipConditioning], pose: Tensor, scale: float, strengths: Strengths | None,
            acceleration: Acceleration | None = None) -> Tensor:
    levels = [strengths.at(i, STEPS) for i in range(STEPS)] if strengths else []
    plans = [acceleration.at(i, STEPS) for i in range(STEPS)] if acceleration else []
    predict = unet_predictor(unet, *halves, pose, ONE, strengths=levels, plans=plans)
    return sample_clip(predict, draw_noise(0, FRAMES, 8, 8), FAMILIES["Moore"], steps=STEPS, guidance=scale)


def test_guidance_strengths_are_scales_of_their_own(unet: UNet, halves: tuple[ClipConditioning, ClipConditioning], pose: Tensor) -> None:
    """Frames of a network without motion: each as in a whole run at 1 + s (g - 1)."""
    ours = clip_of(unet, halves, pose, 3.0, Strengths(guidance=Curve(CURVE)))
    for i, strength in enumerate(CURVE):
        alone = clip_of(unet, halves, pose, 1 + strength * 2.0, None)[i]
        assert torch.allclose(ours[i], alone, atol=1e-4 * float(alone.abs().max())), i
    plain = clip_of(unet, halves, pose, 3.0, None)
    assert torch.equal(clip_of(unet, halves, pose, 3.0, Strengths(guidance=Curve((1.0,) * FRAMES))), plain)


def test_steps_without_guidance_run_one_half(unet: UNet, halves: tuple[ClipConditioning, ClipConditioning], pose: Tensor) -> None:
    rows = []
    handle = unet.conv_in.register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))
    clip_of(unet, halves, pose, 3.0, Strengths(guidance=Curve(CURVE, 0.0, 0.5)))
    handle.remove()
    assert rows == [2 * FRAMES, 2 * FRAMES, FRAMES]


def test_strengths_are_the_steps_own_where_the_difference_is_an_earlier_ones(unet: UNet, pose: Tensor,
                                                                             halves: tuple[ClipConditioning, ClipConditioning]) -> None:
    """The reused difference of the halves counts as strongly as a computed one would."""
    seldom = Acceleration(guidance_every=STEPS)
    whole, none = Strengths(guidance=Curve((0.5,))), Strengths(guidance=Curve((0.5,), 0.0, 0.5))
    assert torch.allclose(clip_of(unet, halves, pose, 5.0, whole, seldom), clip_of(unet, halves, pose, 3.0, None, seldom), atol=1e-4)
    assert not torch.allclose(clip_of(unet, halves, pose, 5.0, none, seldom), clip_of(unet, halves, pose, 3.0, None, seldom), atol=1e-3)


# ------------------------------------------------------------------------------------------------------------- curves

def test_curves_fit_the_clip() -> None:
    assert Curve((0.0, 1.0)).on(5).values == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert Curve((0.0, 2.0, 1.0)).on(5).values == (0.0, 1.0, 2.0, 1.5, 1.0)
    assert Curve((0.0, 0.5, 1.0)).on(2).values == (0.0, 0.5)
    assert Curve((0.5,)).on(40).values == (0.5,)
    assert Curve((0.0, 1.0)).on(1).values == (0.0,)
    assert Curve((0.0, 1.0)).padded(4).values == (0.0, 1.0, 1.0, 1.0)
    assert Curve((0.5,)).padded(4).values == (0.5,)


@pytest.mark.parametrize(("wrong", "message"), [
    ({"values": ()}, "no values"), ({"values": (1.0, -0.1)}, "from 0 up; got -0.1"), ({"values": (math.nan,)}, "from 0 up; got nan"),
    ({"values": (math.inf,)}, "got inf"), ({"start": 0.6, "end": 0.4}, "start not above the end; got 0.6 and 0.4"), ({"end": 1.5}, "1.5"),
])
def test_numbers_out_of_range_are_named(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Curve(**wrong)
