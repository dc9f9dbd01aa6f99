"""Pictures to network inputs, as the reference implementation prepares them (docs/method.md A, E).

Resizing is Pillow's, on 8-bit pictures, because that is what gave the published numbers.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

Fit = Literal["stretch", "crop", "pad"]
FITS: tuple[Fit, ...] = ("crop", "pad", "stretch")

# Stable Diffusion 1.5's: what a VAE's latents are multiplied by before the networks see them
LATENT_SCALE = 0.18215
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def fit_image(image: Image.Image, width: int, height: int, fit: Fit = "stretch",
              resample: Image.Resampling = Image.Resampling.LANCZOS) -> Image.Image:
    """Resizes to exactly width x height pixels.

    stretch: ignores the aspect ratio (the reference's way). crop: fills the frame, cutting what stands over, centred.
    pad: the whole picture, centred on black. All three agree where the aspect ratios do.
    """
    if fit == "stretch" or image.width * height == image.height * width:
        return image.resize((width, height), resample)
    scales = (width / image.width, height / image.height)
    scale = max(scales) if fit == "crop" else min(scales)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    resized = image.resize(size, resample)
    out = Image.new(image.mode, (width, height))
    out.paste(resized, ((width - size[0]) // 2, (height - size[1]) // 2))
    return out


def image_tensor(image: Image.Image) -> Tensor:
    """8-bit RGB picture -> `[1, 3, H, W]` in [0, 1]."""
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).unsqueeze(0).float() / 255


def vae_input(image: Image.Image, width: int, height: int, fit: Fit = "stretch") -> Tensor:
    """The reference picture as the VAE takes it: `[1, 3, height, width]` in [-1, 1]."""
    return image_tensor(fit_image(image.convert("RGB"), width, height, fit)) * 2 - 1


def pose_picture(image: Image.Image, width: int, height: int, fit: Fit = "stretch") -> Tensor:
    """A skeleton picture of the clip's size in 8 bits: RGB `[height, width, 3]`."""
    return torch.from_numpy(np.array(fit_image(image.convert("RGB"), width, height, fit)))


def pose_input(image: Image.Image, width: int, height: int, fit: Fit = "stretch",
               resample: Image.Resampling = Image.Resampling.LANCZOS) -> Tensor:
    """A skeleton picture as the Pose Guider takes it: `[1, 3, height, width]` in [0, 1]."""
    return image_tensor(fit_image(image.convert("RGB"), width, height, fit, resample))


def clip_square(image: Image.Image, size: int = 224, squash: bool = True) -> Image.Image:
    """The reference picture as CLIP sees it, size x size pixels, bicubic.

    squash: the whole picture, whatever its aspect ratio (the long-video pipeline, Moore and MusePose);
    otherwise the shortest edge to `size` and the centre cut out (the short pipeline, and training).
    """
    image = image.convert("RGB")
    if squash:
        return image.resize((size, size), Image.Resampling.BICUBIC)
    scale = size / min(image.size)
    width, height = (size if edge == min(image.size) else int(edge * scale) for edge in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    return image.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))


def clip_input(image: Image.Image, size: int = 224, squash: bool = True) -> Tensor:
    """CLIP's pixel values `[1, 3, size, size]`, normalised by CLIP's mean and deviation."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (CLIP_MEAN, CLIP_STD))
    return (image_tensor(clip_square(image, size, squash)) - mean) / std


def mask_semantics(semantic: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Champ's semantic map `[H, W, 3]` uint8 with black where the mask (`[H, W]` or `[H, W, 3]`, channel by channel) is 0."""
    return semantic * (np.broadcast_to(mask[..., None] if mask.ndim == 2 else mask, semantic.shape) != 0)


def resize_video(video: Tensor, width: int, height: int) -> Tensor:
    """Decoded frames `[F, 3, H, W]` to another size, as MusePose and Champ bring a clip to its final one: bilinear, no antialiasing."""
    return torch.nn.functional.interpolate(video, (height, width), mode="bilinear", align_corners=False)
