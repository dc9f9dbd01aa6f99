"""The built-in model's files: all there, of the kinds that their names say, small, and refused in words if one is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from animate_core.checkpoints import (
    CheckpointError,
    Kind,
    identify,
    prepare_denoiser,
    prepare_pose_guider,
    prepare_reference_net,
    read_state_dict,
)
from animate_core.clip_vision import read_clip_vision
from animate_core.demo.model import DEMO_FAMILY, DEMO_FOLDER, NORM_NUM_GROUPS, NUM_HEADS, demo_files
from animate_core.families import family_preset

LARGEST = 24_000_000  # bytes of all files together
SHAPELESS = {"num_heads": NUM_HEADS, "norm_num_groups": NORM_NUM_GROUPS}


def test_missing_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "vae.safetensors").touch()
    with pytest.raises(CheckpointError, match="files of the built-in model are missing: .*reinstall the pack") as error:
        demo_files(tmp_path)
    assert all(name in str(error.value) for name in ("denoising_unet", "reference_unet", "pose_guider", "clip_vision"))
    assert "vae" not in str(error.value)
    with pytest.raises(CheckpointError, match="vae.safetensors"):
        demo_files(tmp_path / "nowhere")


def test_files_are_what_they_are_called() -> None:
    files = demo_files()
    kinds = {name: identify(read_state_dict(path)).kind for name, path in vars(files).items()}
    assert kinds == {"denoising_unet": Kind.MERGED, "reference_unet": Kind.REFERENCE_NET, "pose_guider": Kind.POSE_GUIDER, "vae": Kind.VAE,
                     "clip_vision": Kind.CLIP_VISION}


def test_files_fit_each_other() -> None:
    files, preset = demo_files(), family_preset(DEMO_FAMILY)
    path = str(files.denoising_unet)
    denoiser, _, info = prepare_denoiser(read_state_dict(path), None, path, family=DEMO_FAMILY, **SHAPELESS)  # type: ignore[arg-type]
    assert info.family == DEMO_FAMILY
    assert denoiser.motion and denoiser.motion_max_frames >= preset.window_length
    path = str(files.reference_unet)
    reference, _, _ = prepare_reference_net(read_state_dict(path), path, **SHAPELESS)
    assert (reference.block_out_channels, reference.layers_per_block) == (denoiser.block_out_channels, denoiser.layers_per_block)
    assert reference.cross_attention_dim == denoiser.cross_attention_dim == read_clip_vision(files.clip_vision)[0]["projection_dim"]
    (_, width), _, _ = prepare_pose_guider(read_state_dict(files.pose_guider), str(files.pose_guider))
    assert width == denoiser.block_out_channels[0]
    assert all(channels % NORM_NUM_GROUPS == 0 and channels // NORM_NUM_GROUPS >= 8 for channels in denoiser.block_out_channels)


def test_files_are_small_enough_to_come_with_the_pack() -> None:
    assert sum(path.stat().st_size for path in DEMO_FOLDER.iterdir()) <= LARGEST
