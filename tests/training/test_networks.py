"""The networks in training are the networks of the nodes: same outputs, the stages train what they say, and they learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from animate_core.blocks import sdpa
from animate_core.checkpoints import Kind, identify, read_state_dict
from animate_core.unet import UNet
from training.diffusion import make_noising
from training.networks import FILES, AnimateNetworks, Batch, matmul_attention, save_networks, small_networks
from training.optim import MuonWithAdamW


def make(randomise: bool = True) -> AnimateNetworks:
    torch.manual_seed(0)
    networks = small_networks((16, 24, 32), (8, 12, 16, 24), 12, 2, 2)
    if randomise:
        with torch.no_grad():
            for p in networks.parameters():
                if not p.any():
                    p.normal_(std=0.1)
    return networks


def make_batch(clips: int, frames: int) -> Batch:
    g = torch.Generator().manual_seed(1)
    return Batch(torch.randn(clips, frames, 4, 8, 6, generator=g), torch.randn(clips, 4, 8, 6, generator=g),
                 torch.randn(clips, 1, 12, generator=g),
                 torch.rand(clips, frames, 3, 64, 48, generator=g))


@pytest.mark.parametrize("motion", [False, True])
def test_batch_of_clips_equals_clips_one_by_one(motion: bool) -> None:
    """Against the path that parity tests prove: one clip, one timestep, features from one reference."""
    networks, batch = make(), make_batch(3, 2)
    noisy = torch.randn(batch.target.shape, generator=torch.Generator().manual_seed(2))
    t = torch.tensor([10, 500, 999])
    with torch.no_grad():
        together = networks(batch, noisy, t if motion else t.repeat_interleave(2), motion=motion)
        n = networks
        for i in range(3):
            features = n.reference.reference_features(batch.reference[i:i + 1], batch.token[i:i + 1])
            clip = n.denoiser.condition(batch.token[i:i + 1], features)
            # frame by frame without motion modules' influence: each frame a clip of its own
            pieces = [noisy[i]] if motion else list(noisy[i].unsqueeze(1))
            poses = [batch.pose[i]] if motion else list(batch.pose[i].unsqueeze(1))
            time = n.denoiser.time_projections(t[i:i + 1], torch.float32)
            alone = torch.cat([without(n, motion)(x, time, [clip], n.guider(p)) for x, p in zip(pieces, poses, strict=True)])
            assert torch.allclose(together[i], alone, atol=2e-5)


def without(networks: AnimateNetworks, motion: bool) -> torch.nn.Module:
    """The denoiser, or one that has no motion modules."""
    if motion:
        return networks.denoiser
    plain = UNet(replace(networks.denoiser.config, motion=False))
    plain.load_state_dict({k: v for k, v in networks.denoiser.state_dict().items() if ".motion_modules." not in k})
    return plain


def test_attention_written_out_is_attention() -> None:
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(3, n, 16, generator=g) for n in (5, 9, 9))
    assert torch.allclose(matmul_attention(q, k, v, 4), sdpa(q, k, v, 4), atol=1e-6)


@pytest.mark.parametrize("stage", [1, 2])
def test_a_stage_trains_exactly_what_it_says(stage: int) -> None:
    networks, batch = make(), make_batch(2, 3)
    networks.select(stage)
    t = torch.tensor([100, 900])
    networks(batch, batch.target, t if stage == 2 else t.repeat_interleave(3), motion=stage == 2).square().mean().backward()
    moved = {n for n, p in networks.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    chosen = {n for n, p in networks.named_parameters() if p.requires_grad}
    assert moved == chosen, f"without gradient: {sorted(chosen - moved)[:5]}, unwanted: {sorted(moved - chosen)[:5]}"
    assert all((".motion_modules." in n) == (stage == 2) for n in chosen)
    if stage == 1:
        assert any(n.startswith("guider.") for n in chosen) and any(n.startswith("reference.") for n in chosen)


def test_unconditional_batches_see_neither_reference_nor_token() -> None:
    networks, batch = make(), make_batch(1, 2)
    other = Batch(batch.target, torch.randn(1, 4, 8, 6), torch.randn(1, 1, 12), batch.pose)
    t = torch.tensor([500, 500])
    with torch.no_grad():
        a, b = (networks(x, batch.target, t, motion=False, unconditional=True) for x in (batch, other))
        c, d = (networks(x, batch.target, t, motion=False) for x in (batch, other))
    assert torch.equal(a, b) and not torch.allclose(c, d, atol=1e-3)


def test_gradient_checkpointing_changes_no_gradient() -> None:
    batch, gradients = make_batch(1, 2), []
    for checkpointing in (False, True):
        networks = make()
        networks.select(2)
        networks(batch, batch.target, torch.tensor([300]), motion=True, checkpointing=checkpointing).square().mean().backward()
        gradients.append([p.grad for p in networks.parameters() if p.requires_grad])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*gradients, strict=True))


def test_motion_modules_begin_as_nothing() -> None:
    networks, batch = make(randomise=False), make_batch(1, 3)
    with torch.no_grad():
        on = networks(batch, batch.target, torch.tensor([400]), motion=True)
        off = networks(batch, batch.target, torch.tensor([400] * 3), motion=False)
    assert torch.allclose(on, off, atol=1e-6)


def test_saved_files_are_what_the_loaders_know(tmp_path: Path) -> None:
    networks = make()
    save_networks(networks, tmp_path)
    kinds = {part: identify(read_state_dict(tmp_path / name)).kind for part, name in FILES.items()}
    assert kinds == {"denoiser": Kind.MERGED, "reference": Kind.REFERENCE_NET, "guider": Kind.POSE_GUIDER}
    stored = read_state_dict(tmp_path / FILES["guider"])["conv_in.weight"]
    assert stored.dtype == torch.float16 and torch.allclose(stored.float(), networks.guider.conv_in.weight, atol=1e-3)


def test_networks_learn_to_follow_reference_and_pose() -> None:
    """Targets that only the reference and the pose tell apart: after some steps, exchanging either hurts."""
    networks = make(randomise=False)
    networks.select(1)
    noising = make_noising()
    optimizer = MuonWithAdamW([p for p in networks.parameters() if p.requires_grad], 4e-3)
    g = torch.Generator().manual_seed(3)

    def draw() -> Batch:
        look, place = torch.randn(8, 4, 1, 1, generator=g), torch.randint(2, (8, 2), generator=g)
        half = torch.zeros(8, 2, 1, 8, 6)
        for b in range(8):
            for f in range(2):
                half[b, f, 0, :, 3 * int(place[b, f]):3 * int(place[b, f]) + 3] = 1
        pose = torch.nn.functional.interpolate(half.flatten(0, 1), scale_factor=8).unflatten(0, (8, 2)).expand(-1, -1, 3, -1, -1)
        return Batch(half * look.unsqueeze(1), look.expand(-1, -1, 8, 6), torch.zeros(8, 1, 12), pose)

    t = torch.full((16,), 999)
    for _ in range(150):
        batch = draw()
        noise = torch.randn(batch.target.shape, generator=g)
        loss = noising.loss(networks(batch, noise, t, motion=False).flatten(0, 1),
                            noising.velocity(batch.target, noise, t[:8]).flatten(0, 1), t)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    batch = draw()
    with torch.no_grad():
        def error(b: Batch) -> float:
            return float((-networks(b, torch.randn(b.target.shape, generator=g), t, motion=False) - batch.target).square().mean())

        right = error(batch)
        assert right < 0.25 * float(batch.target.square().mean())
        assert error(Batch(batch.target, batch.reference.roll(1, 0), batch.token, batch.pose)) > 2 * right
        assert error(Batch(batch.target, batch.reference, batch.token, 1 - batch.pose)) > 2 * right
