"""Exact properties of the UNet that need no reference numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from animate_core import blocks
from animate_core.blocks import ClipConditioning, sdpa
from animate_core.unet import UNet, UNetConfig, timestep_embedding

SMALL = UNetConfig(block_out_channels=(32, 64, 64, 64), cross_attention_dim=24, motion=True)


@pytest.fixture(autouse=True, scope="module")
def exact() -> Iterator[None]:
    """Double precision, so that equal means equal."""
    torch.set_default_dtype(torch.float64)
    with torch.inference_mode():
        yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def denoiser() -> UNet:
    torch.manual_seed(1)
    return UNet(SMALL).eval()


@pytest.fixture(scope="module")
def reference_net() -> UNet:
    torch.manual_seed(2)
    return UNet(replace(SMALL, motion=False, out_channels=None)).eval()


def run(unet: UNet, x: Tensor, clips: list[ClipConditioning], **more: object) -> Tensor:
    return unet(x, unet.time_projections(torch.tensor([500]), x.dtype), clips, **more)


def test_time_embedding_samples() -> None:
    # docs/method.md B.3: t = 999 with 320 channels
    e = timestep_embedding(torch.tensor([0, 999]), 320)
    assert e[0].tolist() == [1.0] * 160 + [0.0] * 160
    assert e[1, :3].tolist() == pytest.approx([0.99964982, 0.80267751, -0.27806213], abs=1e-6)
    assert e[1, 160:163].tolist() == pytest.approx([-0.02646075, 0.59641331, -0.96056312], abs=1e-6)


def test_features_come_by_block_path_and_nothing_stays_on_the_modules(reference_net: UNet) -> None:
    before = {name: set(vars(m)) for name, m in reference_net.named_modules()}
    features = reference_net.reference_features(torch.randn(1, 4, 16, 8), torch.randn(1, 1, 24))
    assert len(features) == 16
    assert features["down_blocks.0.attentions.0.transformer_blocks.0"].shape == (1, 128, 32)
    assert features["mid_block.attentions.0.transformer_blocks.0"].shape == (1, 2, 64)
    assert {name: set(vars(m)) for name, m in reference_net.named_modules()} == before


def test_the_tail_after_the_last_norm_is_never_run(reference_net: UNet) -> None:
    latent, token = torch.randn(1, 4, 8, 8), torch.randn(1, 1, 24)
    features = reference_net.reference_features(latent, token)
    broken = UNet(reference_net.config).eval()
    broken.load_state_dict(reference_net.state_dict())
    tail = broken.up_blocks[3].attentions[2]
    for layer in (tail.proj_out, tail.transformer_blocks[0].attn1.to_q, tail.transformer_blocks[0].ff.net[2]):
        layer.weight.fill_(float("nan"))
    again = broken.reference_features(latent, token)
    assert all(torch.equal(features[path], again[path]) for path in features)


def test_the_unconditional_half_never_sees_the_reference(denoiser: UNet, reference_net: UNet) -> None:
    token = torch.randn(1, 1, 24)
    features = reference_net.reference_features(torch.randn(1, 4, 8, 8), token)
    unconditional = denoiser.condition(torch.zeros(1, 1, 24))
    x, pose = torch.randn(3, 4, 8, 8), torch.randn(3, 32, 8, 8)
    both = run(denoiser, x.repeat(2, 1, 1, 1), [unconditional, denoiser.condition(token, features)], pose=pose)
    assert torch.allclose(both[:3], run(denoiser, x, [unconditional], pose=pose), atol=1e-9)
    assert (both[3:] - both[:3]).abs().max() > 1e-2


def test_one_token_is_a_vector_and_longer_contexts_take_the_full_form(denoiser: UNet) -> None:
    token, x = torch.randn(1, 1, 24), torch.randn(2, 4, 8, 8)
    vector = denoiser.condition(token)
    assert vector.context is None
    # the same token twice: softmax weights one half each, so full attention gives what the vector gives
    full = denoiser.condition(token.repeat(1, 2, 1))
    assert full.context is not None and not full.cross
    assert torch.allclose(run(denoiser, x, [vector]), run(denoiser, x, [full]), atol=1e-9)
    mixed = run(denoiser, x.repeat(2, 1, 1, 1), [vector, full])
    assert torch.allclose(mixed[:2], mixed[2:], atol=1e-9)


def test_frames_meet_only_in_the_motion_modules(denoiser: UNet) -> None:
    x, clip = torch.randn(4, 4, 8, 8), denoiser.condition(torch.randn(1, 1, 24))
    changed = x.clone()
    changed[3] += 1
    assert (run(denoiser, x, [clip]) - run(denoiser, changed, [clip]))[:3].abs().max() > 1e-3
    still = UNet(replace(SMALL, motion=False)).eval()
    still.load_state_dict({k: v for k, v in denoiser.state_dict().items() if "motion_modules" not in k})
    assert torch.equal(run(still, x, [clip])[:3], run(still, changed, [clip])[:3])


@pytest.mark.parametrize(("height", "width"), [(8, 8), (13, 9), (50, 32), (10, 14), (1, 3)])
@pytest.mark.parametrize("frames", [1, 3])
def test_any_latent_size(denoiser: UNet, height: int, width: int, frames: int) -> None:
    x = torch.randn(frames, 4, height, width)
    out = run(denoiser, x, [denoiser.condition(torch.randn(1, 1, 24))])
    assert out.shape == x.shape
    assert torch.isfinite(out).all()


def test_windows_longer_than_the_stored_positions(denoiser: UNet) -> None:
    short = UNet(replace(SMALL, motion_max_frames=2)).eval()
    state = {k: v[:, :2] if k.endswith(".pe") else v for k, v in denoiser.state_dict().items()}
    short.load_state_dict(state)
    x = torch.randn(5, 4, 8, 8)
    clip = denoiser.condition(torch.randn(1, 1, 24))
    assert torch.allclose(run(short, x, [clip]), run(denoiser, x, [clip]), atol=1e-6)


def test_attention_is_injected_and_large_batches_are_split(denoiser: UNet, monkeypatch: pytest.MonkeyPatch) -> None:
    def plain(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
        q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
        weights = torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, dim=-1)
        return (weights @ v).transpose(1, 2).flatten(2)

    x, clip = torch.randn(2, 4, 8, 8), denoiser.condition(torch.randn(1, 1, 24))
    expected = run(denoiser, x, [clip])
    assert torch.allclose(run(denoiser, x, [clip], attention=plain), expected, atol=1e-9)
    monkeypatch.setattr(blocks, "SDPA_MAX_BATCH", 7)
    assert torch.allclose(run(denoiser, x, [clip]), expected, atol=1e-9)
    assert sdpa(*[torch.randn(20, 3, 16)] * 3, 2).shape == (20, 3, 16)


def test_clips_may_have_timesteps_of_their_own(denoiser: UNet) -> None:
    x, clip = torch.randn(2, 4, 8, 8), denoiser.condition(torch.randn(1, 1, 24))
    time = denoiser.time_projections(torch.tensor([100, 900]), x.dtype)
    both = denoiser(x.repeat(2, 1, 1, 1), time, [clip, clip])
    for i, t in enumerate((100, 900)):
        alone = denoiser(x, denoiser.time_projections(torch.tensor([t]), x.dtype), [clip])
        assert torch.allclose(both[2 * i:2 * i + 2], alone, atol=1e-9)


def test_bfloat16_stays_close(denoiser: UNet) -> None:
    half = UNet(SMALL, dtype=torch.bfloat16).eval()
    half.load_state_dict(denoiser.state_dict())
    x, token = torch.randn(2, 4, 8, 8), torch.randn(1, 1, 24)
    expected = run(denoiser, x, [denoiser.condition(token)])
    out = run(half, x.bfloat16(), [half.condition(token.bfloat16())])
    assert out.dtype == torch.bfloat16
    assert F.mse_loss(out.float(), expected).sqrt() < 0.05 * expected.std()


def test_gradients_reach_every_weight_that_counts() -> None:
    with torch.inference_mode(False), torch.enable_grad():
        torch.manual_seed(3)
        unet = UNet(SMALL)
        net = UNet(replace(SMALL, motion=False, out_channels=None))
        token = torch.randn(1, 1, 24)
        clip = unet.condition(token, net.reference_features(torch.randn(1, 4, 8, 8), token))
        run(unet, torch.randn(2, 4, 8, 8), [clip], pose=torch.randn(2, 32, 8, 8)).square().mean().backward()
    dead = {name for name, p in unet.named_parameters() if p.grad is None}
    assert {name.split("transformer_blocks.0.")[1] for name in dead} == {
        "norm2.weight", "norm2.bias", "attn2.to_q.weight", "attn2.to_k.weight"}, "one token: its queries and keys have no say"
    unused = [name for name, p in net.named_parameters() if p.grad is None and "attn2" not in name and "norm2" not in name]
    assert all(name.startswith("up_blocks.3.attentions.2.") for name in unused)


def test_channels_that_cannot_be_divided() -> None:
    with pytest.raises(ValueError, match="cannot be divided"):
        UNet(replace(SMALL, block_out_channels=(36, 64, 64, 64)))
