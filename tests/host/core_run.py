"""The same clip by `animate_core` alone, from the same files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from animate_core.accelerate import Acceleration
from animate_core.checkpoints import prepare_denoiser, prepare_pose_guider, prepare_reference_net, read_state_dict
from animate_core.clip_vision import image_tokens, load_clip_vision
from animate_core.families import family_preset
from animate_core.pose_guider import PoseGuider
from animate_core.preprocess import fit_image, pose_input
from animate_core.sampling import draw_noise, sample_clip, unet_predictor
from animate_core.unet import UNet
from animate_core.windows import Windows

SCALE = 0.18215


def relative_l2(a: Tensor, b: Tensor) -> float:
    """|a - b| / |b|."""
    assert a.shape == b.shape, f"{tuple(a.shape)} and {tuple(b.shape)}"
    return float((a.double() - b.double()).norm() / b.double().norm())


def fitted_picture(path: Path, width: int, height: int) -> Image.Image:
    """What Encode Reference hands to the VAE."""
    return fit_image(Image.open(path).convert("RGB"), width, height, "crop")


@torch.inference_mode()
def sample(models: Path, picture: Path, reference_latent: Tensor, poses: Sequence[Image.Image], width: int, height: int, *,
           seed: int, steps: int, cfg: float, windows: Windows | None = None, acceleration: Acceleration | None = None) -> Tensor:
    """Latents `[F, 4, h, w]`, unscaled as the host passes them about. reference_latent: the host VAE's, unscaled too."""
    folder = models / "animate_anyone" / "small"
    path = str(folder / "reference_unet.safetensors")
    config, weights, _ = prepare_reference_net(read_state_dict(path), path)
    reference_net = UNet(config)
    reference_net.load_state_dict({key: value.float() for key, value in weights.items()})
    path, motion = str(folder / "denoising_unet.safetensors"), str(folder / "motion_module.safetensors")
    config, weights, _ = prepare_denoiser(read_state_dict(path), read_state_dict(motion), path, motion, "auto")
    unet = UNet(config)
    unet.load_state_dict({key: value.float() for key, value in weights.items()})
    path = str(folder / "pose_guider.safetensors")
    (channels, out_channels), weights, _ = prepare_pose_guider(read_state_dict(path), path)
    guider = PoseGuider(channels, out_channels)
    guider.load_state_dict({key: value.float() for key, value in weights.items()})

    token = image_tokens(load_clip_vision(models / "clip_vision" / "small_clip", dtype=torch.float32), Image.open(picture).convert("RGB"))
    features = reference_net.reference_features(reference_latent.float() * SCALE, token)
    pose = guider(torch.cat([pose_input(frame, width, height, "crop") for frame in poses]))
    preset = family_preset("Moore")
    predict = unet_predictor(unet, unet.condition(token, features), unet.condition(torch.zeros_like(token)) if cfg > 1 else None, pose,
                             windows or Windows(preset.window_length, preset.window_overlap),
                             plans=[acceleration.at(step, steps) for step in range(steps)] if acceleration else ())
    noise = draw_noise(seed, len(poses), height // 8, width // 8)
    return sample_clip(predict, noise, preset, steps=steps, guidance=cfg, seed=seed) / SCALE
