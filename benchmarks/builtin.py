"""The built-in model on clips of any length: poses encoded window by window, pictures decoded some at a time, fp32 on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from animate_core.demo.clip import HEIGHT, WIDTH, DemoClip, draw_pose, reference_frame
from animate_core.demo.model import DEMO_FAMILY, DEMO_FOLDER, NORM_NUM_GROUPS, NUM_HEADS
from animate_core.demo.motion import keypoints, make_moves
from animate_core.demo.world import make_drawing
from animate_core.families import FAMILIES
from animate_core.pose_guider import PoseFrames
from animate_core.sampling import Known, draw_noise, sample_clip, unet_predictor
from animate_core.windows import Windows
from training.demo_data import clip_pixels, picture_tensor
from training.evaluate import Model, load_model

PRESET = FAMILIES[DEMO_FAMILY]
DECODED_AT_ONCE = 4
# of one frame: the skeleton that goes in and the picture that comes out, 8 bits each, and its latents in fp32
FRAME_BYTES = 2 * 3 * WIDTH * HEIGHT + 4 * 4 * (WIDTH // 8) * (HEIGHT // 8)

Array = np.ndarray


def builtin_model() -> Model:
    return load_model(DEMO_FOLDER, NUM_HEADS, NORM_NUM_GROUPS)


def draw_skeletons(seed: int, motion: str, frames: int) -> Array:
    """`[F, H, W, 3]` uint8 of the character of `seed`, as `demo_clip` has them, without the pictures."""
    character = make_drawing(seed)
    out = np.empty((frames, HEIGHT, WIDTH, 3), np.uint8)
    for i, points in enumerate(keypoints(character, make_moves(motion, seed, frames), WIDTH, HEIGHT)):
        out[i] = draw_pose(points, WIDTH, HEIGHT)
    return out


@dataclass(frozen=True)
class Subject:
    """A character's reference as the networks take it: latents `[1, 4, h, w]` and token `[1, 1, D]`."""

    latent: Tensor
    token: Tensor


def subject(model: Model, seed: int) -> Subject:
    reference: DemoClip = reference_frame(seed)
    token = cast(Any, model.clip)(pixel_values=clip_pixels(reference.frames[0], model.clip_size)).image_embeds.unsqueeze(1)
    return Subject(model.vae.encode(picture_tensor(reference.frames)), token)


def sample(model: Model, who: Subject, skeletons: Array, windows: Windows, *, steps: int, seed: int, known: Known | None = None) -> Tensor:
    """Latents `[F, 4, h, w]` without guidance, the built-in model's own setting."""
    n = model.networks
    features = n.reference.reference_features(who.latent, who.token)
    poses = PoseFrames(torch.from_numpy(skeletons), n.guider)
    predict = unet_predictor(n.denoiser, n.denoiser.condition(who.token, features), None, poses, windows)
    return sample_clip(predict, draw_noise(seed, len(skeletons), *who.latent.shape[-2:]), PRESET, steps=steps, guidance=1.0,
                       known=known)


def decoded(model: Model, latents: Tensor) -> Iterator[Array]:
    """8-bit pictures `[n, H, W, 3]`, DECODED_AT_ONCE at a time."""
    for part in latents.split(DECODED_AT_ONCE):
        pictures = (model.vae.decode(part).clamp(-1, 1) + 1) * 127.5
        yield pictures.round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def decode(model: Model, latents: Tensor) -> Array:
    """`[F, H, W, 3]` uint8."""
    out = np.empty((len(latents), HEIGHT, WIDTH, 3), np.uint8)
    at = 0
    for pictures in decoded(model, latents):
        out[at:at + len(pictures)] = pictures
        at += len(pictures)
    return out
