"""Features that are kept and pictures that are encoded when asked for give the same guidance."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from animate_core.pose_guider import POSES_AT_ONCE, PoseFrames, PoseGuider, guider_on
from benchmarks.card import flops_of, peak_of, pretended_card
from benchmarks.memory import flops_of_step

FRAMES, HEIGHT, WIDTH = 2 * POSES_AT_ONCE + 3, 48, 32
CPU = torch.device("cpu")


@pytest.fixture
def guider() -> PoseGuider:
    torch.manual_seed(0)
    return PoseGuider((8, 16, 24, 32), 40).requires_grad_(False)


@pytest.fixture
def pictures() -> Tensor:
    return torch.randint(0, 256, (FRAMES, HEIGHT, WIDTH, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("frames", [list(range(FRAMES)), [3, 4, 9], [10, 0, 1], [6, 4, 2]])
def test_pictures_give_the_features_of_the_whole_clip(guider: PoseGuider, pictures: Tensor, frames: list[int]) -> None:
    whole = guider(pictures.permute(0, 3, 1, 2).float() / 255)
    kept, made = PoseFrames(whole), PoseFrames(pictures, guider)
    assert kept.size == made.size == (HEIGHT // 8, WIDTH // 8)
    assert len(kept) == len(made) == FRAMES
    assert torch.equal(kept.at(frames, CPU, torch.float32), whole[frames])
    found = made.at(frames, CPU, torch.float32)
    assert found.shape == whole[frames].shape
    assert (found - whole[frames]).abs().max() < 1e-5 * whole.abs().max()
    assert made.at(frames, CPU, torch.bfloat16).dtype == torch.bfloat16


def test_a_guider_of_other_layers_and_dtype_is_copied(guider: PoseGuider, pictures: Tensor) -> None:
    """As the host's layers keep weights in the file's dtype and compute in another."""

    class Operations(nn.Module):
        class Conv2d(nn.Conv2d):
            pass

    stored = PoseGuider((8, 16, 24, 32), 40, operations=Operations, dtype=torch.float16)
    stored.load_state_dict(guider.state_dict())
    copy = guider_on(stored, CPU, torch.float32)
    assert copy.dtype == torch.float32 and type(copy.conv_in) is nn.Conv2d
    assert not any(p.requires_grad for p in copy.parameters())
    wanted = guider(pictures.permute(0, 3, 1, 2).float() / 255)
    assert (copy.encode(pictures, torch.float32) - wanted).norm() < 2e-3 * wanted.norm()


def test_pictures_stay_where_they_are_and_the_guider_goes_to_the_card() -> None:
    with pretended_card():
        guider = PoseGuider(dtype=torch.float16, device="cuda")
        poses = PoseFrames(torch.empty(3, 64, 64, 3, dtype=torch.uint8), guider)
        other = poses.to(torch.device("cuda:1"))
        assert other.kept.device.type == "cpu"
        assert {p.device for p in other.guider.parameters()} == {torch.device("cuda:1")}  # type: ignore[union-attr]
        assert other.at([0, 2], torch.device("cuda:1"), torch.float16).device == torch.device("cuda:1")


def test_what_encoding_in_each_step_costs() -> None:
    """At 512x768, Stable Diffusion 1.5's widths: the share of a step's FLOPs, and memory that no longer clip changes."""
    frames, height, width = 8, 768, 512
    with pretended_card():
        guider = PoseGuider(dtype=torch.float16, device="cuda")
        pictures = torch.empty(frames, height, width, 3, dtype=torch.uint8, device="cuda")
        flops = flops_of(lambda: guider.encode(pictures, torch.float16))
    assert 0.004 < flops / sum(flops_of_step(width, height, frames, 2).values()) < 0.007
    peaks = {}
    for count in (frames, 2 * frames):
        with pretended_card():
            guider = PoseGuider(dtype=torch.float16, device="cuda")
            poses = PoseFrames(torch.empty(count, height, width, 3, dtype=torch.uint8), guider)
            peaks[count] = peak_of(guider, lambda poses=poses: lambda: poses.at(range(frames), torch.device("cuda"), torch.float16)).above
    assert peaks[frames] == peaks[2 * frames]
