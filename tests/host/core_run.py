"""The same clip by `animate_core` alone, from the same files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from animate_core.accelerate import Acceleration
from animate_core.checkpoints import prepare_denoiser, prepare_pose_guider, prepare_reference_net, read_state_dict
from animate_core.clip_vision import image_tokens, load_clip_vision
from animate_core.families import family_preset
from animate_core.guider_files import prepare_guider
from animate_core.guiders import sum_of_features
from animate_core.pose_guider import PoseGuider
from animate_core.preprocess import fit_image, pose_input
from animate_core.sampling import draw_noise, sample_clip, unet_predictor
from animate_core.strengths import Strengths
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
def sample_family(models: Path, family: str, picture: Path, reference_latent: Tensor, pictures: Mapping[str, Sequence[Image.Image]],
                  width: int, height: int, *, seed: int, steps: int, cfg: float, rescale: float = 0.0) -> Tensor:
    """The same for Champ, AniPortrait and face reenactment: files in a folder of the family's name, pictures by guider."""
    folder, preset = models / "animate_anyone" / family, family_preset(family)

    def read(name: str) -> tuple[dict[str, Tensor], str]:
        path = folder / f"{name}.safetensors"
        return read_state_dict(path), str(path)

    def loaded(network: Any, weights: Mapping[str, Tensor]) -> Any:
        network.load_state_dict({key: value.float() if value.is_floating_point() else value for key, value in weights.items()})
        return network.eval()

    config, weights, _ = prepare_reference_net(*read("reference_unet"), family=family)
    reference_net = loaded(UNet(config), weights)
    denoiser, path = read("denoising_unet")
    motion = read("motion_module")[0] if (folder / "motion_module.safetensors").exists() else None
    config, weights, _ = prepare_denoiser(denoiser, motion, path, "motion", family)
    unet = loaded(UNet(config), weights)
    guiders = {}
    for name in pictures:
        guider, weights, _ = prepare_guider(*read(name))
        guiders[name] = loaded(guider.build(), weights)

    low, high = preset.picture_range
    resample = Image.Resampling[preset.picture_resample]
    images = {name: torch.cat([pose_input(frame, width, height, "crop", resample) for frame in frames]) * (high - low) + low
              for name, frames in pictures.items()}
    pose: Any = lambda frames: guiders["pose_guider"](images["pose_guider"][list(frames)])  # noqa: E731
    if not preset.guided_by_window:
        pose = sum_of_features({name: guiders[name](x) for name, x in images.items()})
    token = image_tokens(load_clip_vision(models / "clip_vision" / "small_clip", dtype=torch.float32), Image.open(picture).convert("RGB"))
    latent = reference_latent.float() * SCALE
    conditional = unet.condition(token, reference_net.reference_features(latent, token))
    zeros, features = torch.zeros_like(token), None
    if preset.unconditional_reference:
        features = reference_net.reference_features(torch.zeros_like(latent), zeros)
    predict = unet_predictor(unet, conditional, unet.condition(zeros, features) if cfg > 1 else None, pose,
                             Windows(preset.window_length, preset.window_overlap))
    noise = draw_noise(seed, len(next(iter(pictures.values()))), height // 8, width // 8)
    return sample_clip(predict, noise, preset, steps=steps, guidance=cfg, rescale=rescale, seed=seed) / SCALE


@torch.inference_mode()
def sample(models: Path, picture: Path, reference_latent: Tensor, poses: Sequence[Image.Image], width: int, height: int, *,
           seed: int, steps: int, cfg: float, windows: Windows | None = None, acceleration: Acceleration | None = None,
           strengths: Strengths | None = None) -> Tensor:
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
                             plans=[acceleration.at(step, steps) for step in range(steps)] if acceleration else (),
                             strengths=[strengths.at(step, steps) for step in range(steps)] if strengths else ())
    noise = draw_noise(seed, len(poses), height // 8, width // 8)
    return sample_clip(predict, noise, preset, steps=steps, guidance=cfg, seed=seed) / SCALE
