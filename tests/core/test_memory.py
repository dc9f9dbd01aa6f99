"""What the pack claims of a card's memory is what its passes take, by count on a card that is not there."""

from __future__ import annotations

import pytest
import torch

from animate_core.guiders import GuidanceEncoder, MultiScaleGuider
from animate_core.memory import REFERENCE_NUMBERS, guider_bytes, pictures_step_bytes, pose_bytes, reference_bytes, step_bytes
from animate_core.pose_guider import POSES_AT_ONCE, PoseFrames, PoseGuider
from benchmarks.card import peak_of, pretended_card
from benchmarks.memory import peak_of_pose, peak_of_reference, peak_of_step

HALF = torch.float16


def check(claim: int, count: int) -> None:
    assert 1.0 <= claim / count <= 1.3, f"claimed {claim / 2**20:.0f} MiB, counted {count / 2**20:.0f} MiB"


# the corners, and where one rule of the claim gives way to the other
@pytest.mark.parametrize(("width", "height", "frames", "clips"),
                         [(512, 512, 16, 1), (512, 512, 24, 2), (768, 768, 24, 1), (512, 768, 24, 2), (768, 1024, 48, 2)])
def test_a_steps_claim(width: int, height: int, frames: int, clips: int) -> None:
    check(step_bytes(width // 8, height // 8, frames, clips, 2), peak_of_step(width, height, frames, clips, HALF).above)


@pytest.mark.parametrize("weights", [(0.5,), (0.5, 0.5), (0.25,) * 4])
def test_a_steps_claim_with_several_references_and_strengths(weights: tuple[float, ...]) -> None:
    claim = step_bytes(512 // 8, 512 // 8, 16, 1, 2, pictures=len(weights))
    check(claim, peak_of_step(512, 512, 16, 1, HALF, weights=weights).above)


@pytest.mark.parametrize("clips", [1, 2])
def test_a_steps_claim_with_poses_kept_as_pictures(clips: int) -> None:
    width, height, frames = 512, 768, 16
    claim = max(step_bytes(width // 8, height // 8, frames, clips, 2), pictures_step_bytes(width // 8, height // 8, frames, 2, 16))
    check(claim, peak_of_step(width, height, frames, clips, HALF, pictures=True).above)


@pytest.mark.parametrize("frames", [1, 4, 48])
def test_the_claim_for_making_a_windows_features(frames: int) -> None:
    width, height, channels = 512, 768, 320
    with pretended_card():
        poses = PoseFrames(torch.empty(frames, height, width, 3, dtype=torch.uint8), PoseGuider(dtype=HALF, device="cuda"))
        count = peak_of(poses.guider, lambda: lambda: poses.at(range(frames), torch.device("cuda"), HALF)).above  # type: ignore[arg-type]
    # the conditioning is on the card meanwhile
    conditioning = REFERENCE_NUMBERS * (width // 8) * (height // 8) * channels * HALF.itemsize
    check(pictures_step_bytes(width // 8, height // 8, frames, HALF.itemsize, 16, channels) - conditioning, count)


@pytest.mark.parametrize("dtype", [HALF, torch.float32])
@pytest.mark.parametrize(("width", "height"), [(512, 512), (512, 768), (768, 1024)])
def test_the_encoders_claims(width: int, height: int, dtype: torch.dtype) -> None:
    check(reference_bytes(width // 8, height // 8, dtype.itemsize), peak_of_reference(width, height, dtype).above)
    check(pose_bytes(width, height, POSES_AT_ONCE, dtype.itemsize), peak_of_pose(width, height, POSES_AT_ONCE, dtype).above)


@pytest.mark.parametrize(("guider_class", "network"), [("guidance", GuidanceEncoder), ("multi-scale", MultiScaleGuider)])
@pytest.mark.parametrize(("width", "height", "frames"), [(512, 512, 1), (512, 512, 8), (512, 512, 16), (768, 1024, 8)])
def test_the_other_guiders_claims(guider_class: str, network: type[torch.nn.Module], width: int, height: int, frames: int) -> None:
    check(guider_bytes(guider_class, width, height, frames, 2), peak_of_pose(width, height, frames, HALF, network).above)


def test_a_guided_step_fits_a_card_of_8_gb() -> None:
    """Weights and activations of both halves at 512x768 with 24 frames, and of one half at 768x768 with 48, beside 1 GiB for the system."""
    for case in ((512, 768, 24, 2), (768, 768, 48, 1)):
        peak = peak_of_step(*case, HALF)
        assert peak.weights + peak.above < 7 << 30
        # 4856 and 7140 MiB before layers ran in parts
        assert peak.above < 2600 << 20
