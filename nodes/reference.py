"""Encode Reference: reads the character's appearance, once for any number of clips."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from comfy_api.latest import io
from PIL import Image
from torch import Tensor

from ..animate_core.families import family_preset
from ..animate_core.memory import reference_bytes
from ..animate_core.preprocess import FITS, LATENT_SCALE, Fit, clip_square, fit_image
from . import host
from .sockets import (
    Reference,
    ReferenceNet,
    ReferenceNetSocket,
    ReferenceSocket,
    check_images,
    check_size,
    expect,
    floats,
    floats_input,
)

CATEGORY = "Marionette/conditioning"
MOST_IMAGES = 8  # as references: each makes the attention to them longer


def to_pixels(images: Tensor) -> np.ndarray:
    """IMAGE `[..., H, W, 3]` -> the same in uint8."""
    return (images.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()


def to_picture(image: Tensor) -> Image.Image:
    """IMAGE `[H, W, 3]` -> 8-bit RGB picture."""
    return Image.fromarray(to_pixels(image))


def to_image(picture: Image.Image) -> Tensor:
    """8-bit RGB picture -> IMAGE `[1, H, W, 3]`."""
    return torch.from_numpy(np.array(picture)).unsqueeze(0).float() / 255


def size_inputs() -> list[Any]:
    return [
        io.Int.Input("width", default=512, min=64, max=4096, step=8,
                     tooltip="Width of the clip in pixels, a multiple of 8. The published models were trained at 512 to 768. "
                             "Use the same size in Encode Reference and Encode Pose."),
        io.Int.Input("height", default=768, min=64, max=4096, step=8,
                     tooltip="Height of the clip in pixels, a multiple of 8. The published models were trained at 512 to 768. "
                             "Use the same size in Encode Reference and Encode Pose."),
    ]


def fit_input(what: str) -> io.Combo.Input:
    return io.Combo.Input(
        "fit", options=list(FITS), default="crop",
        tooltip=f"What to do if {what} has a different aspect ratio. crop: fill the frame and cut off the rest. pad: add black borders. "
                "stretch: distort, as the reference implementation does.")


class EncodeReference(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionetteEncodeReference", display_name="Encode Reference", category=CATEGORY,
            description="Reads the character's appearance from a reference image, or from several: ReferenceNet features and a CLIP image "
                        "token. "
                        "Runs once; the result works with any pose and seed.",
            search_aliases=["reference image", "character", "animate anyone", "appearance", "reference net"],
            inputs=[
                ReferenceNetSocket.Input("reference_net", tooltip="From Load ReferenceNet, Load Animate Anyone or Load Demo Model."),
                io.Vae.Input("vae", tooltip="A Stable Diffusion 1.5 VAE. The published models were trained with sd-vae-ft-mse."),
                io.Image.Input("image",
                               tooltip="The reference image: one RGB image of the character. Best is a pose that shows the whole body. "
                                       "From a batch, the first image is used, or all of them with all_images."),
                *size_inputs(),
                fit_input("the reference image"),
                io.ClipVision.Input("clip_vision", optional=True,
                                    tooltip="The CLIP image encoder. Connect either clip_vision or clip_vision_output."),
                io.ClipVisionOutput.Input("clip_vision_output", optional=True,
                                          tooltip="Instead of clip_vision: the output of CLIP Vision Encode. "
                                                  "Set its crop to none, as in the reference implementation."),
                io.Boolean.Input("all_images", default=False, optional=True, advanced=True,
                                 tooltip=f"On: every image of the batch is a reference of the same character, at most {MOST_IMAGES}. Each "
                                         "further one makes sampling slower. Off: only the first image is used."),
                floats_input("weights", "For all_images: how much each image counts against the others. Empty: all the same."),
            ],
            outputs=[ReferenceSocket.Output("reference", display_name="REFERENCE",
                                            tooltip="Connect to Multi-Frame Sampler or Animate Conditioning.")],
        )

    @classmethod
    def execute(cls, reference_net: Any, vae: Any, image: Tensor, width: int, height: int, fit: Fit = "crop", clip_vision: Any = None,
                clip_vision_output: Any = None, all_images: bool = False, weights: Any = "") -> io.NodeOutput:
        net = expect(reference_net, ReferenceNet, "reference_net", "Use Load ReferenceNet.")
        check_size(width, height)
        images = check_images(image, "image")
        shares = image_weights(len(images) if all_images else 1, floats(weights, "weights"))
        channels = getattr(vae, "latent_channels", 4)
        if channels != net.config.in_channels:
            raise ValueError(f"vae: its latents have {channels} channels, but {net.source} needs {net.config.in_channels}; choose a "
                             "Stable Diffusion 1.5 VAE")
        pictures = [to_picture(each) for each in images[:len(shares)]]
        tokens = cls.tokens(net, pictures, clip_vision, clip_vision_output)
        latents = [cls.latent(vae, picture, width, height, fit) for picture in pictures]
        memory = reference_bytes(width // 8, height // 8, net.dtype.itemsize, net.config.block_out_channels[0])
        progress = host.FrameProgress(len(pictures))
        found: list[dict[str, Tensor]] = []
        with host.on_device(net.patcher, memory) as device:
            for latent, token in zip(latents, tokens, strict=True):
                features = net.patcher.model.reference_features(latent.to(device, net.dtype), token.to(device, net.dtype),
                                                                host.attention({}))
                found.append({path: x.to(host.output_device()) for path, x in features.items()})
                progress.update(1)
            unconditional = None
            if net.family and family_preset(net.family).unconditional_reference:
                unconditional = cls.unconditional(net, latents[0], tokens[0], device)
        joined = {path: torch.cat([features[path] for features in found], dim=1) for path in found[0]}
        token = torch.stack([share * token for share, token in zip(shares, tokens, strict=True)]).sum(dim=0)
        return io.NodeOutput(Reference(joined, token.to(host.output_device()), width, height, net.source, unconditional, shares))

    @staticmethod
    def latent(vae: Any, picture: Image.Image, width: int, height: int, fit: Fit) -> Tensor:
        latent = vae.encode(to_image(fit_image(picture, width, height, fit))) * LATENT_SCALE
        if latent.ndim != 4 or latent.shape[-2:] != (height // 8, width // 8):
            raise ValueError(f"vae: it encoded a {width}x{height} image to a latent of shape {list(latent.shape)}; choose a Stable "
                             "Diffusion 1.5 VAE, which scales down by 8")
        if not torch.isfinite(latent).all():
            raise ValueError("vae: the latent contains NaN or infinite values; choose another VAE, or start ComfyUI with --fp32-vae")
        return latent

    @staticmethod
    def unconditional(net: ReferenceNet, latent: Tensor, token: Tensor, device: torch.device) -> dict[str, Tensor]:
        """The features of a zero latent and token, which depend only on the size; cached for the last size."""
        size = (latent.shape[-1], latent.shape[-2])
        if size not in net.unconditional:
            zeros = torch.zeros_like(latent).to(device, net.dtype), torch.zeros_like(token).to(device, net.dtype)
            features = net.patcher.model.reference_features(*zeros, host.attention({}))
            net.unconditional.clear()
            net.unconditional[size] = {path: x.to(host.output_device()) for path, x in features.items()}
        return net.unconditional[size]

    @staticmethod
    def tokens(net: ReferenceNet, pictures: list[Image.Image], clip_vision: Any, clip_vision_output: Any) -> list[Tensor]:
        """The projected image embedding of each picture as one token `[1, 1, D]`."""
        if (clip_vision is None) == (clip_vision_output is None):
            both = "" if clip_vision is None else ", not both"
            raise ValueError(f"clip_vision: connect either clip_vision or clip_vision_output{both}")
        if clip_vision_output is None:
            size = getattr(clip_vision, "image_size", 224)
            squares = [to_image(clip_square(picture, size, squash=True)) for picture in pictures]
            embeds = torch.cat([clip_vision.encode_image(square, crop=False)["image_embeds"][:1] for square in squares])
        else:
            embeds = clip_vision_output["image_embeds"][:len(pictures)]
        if len(embeds) != len(pictures):
            raise ValueError(f"clip_vision_output: it has {len(embeds)} image embeddings for {len(pictures)} images; encode the same "
                             "batch, or connect clip_vision")
        wanted = net.config.cross_attention_dim
        if embeds.shape[-1] != wanted:
            raise ValueError(f"clip_vision: its image embedding has {embeds.shape[-1]} values, but {net.source} needs {wanted}; choose "
                             + ("CLIP ViT-L/14 with projection (image_encoder of sd-image-variations)" if wanted == 768 else
                                "the image encoder of the same model"))
        return [embed.view(1, 1, -1).float() for embed in embeds]


def image_weights(count: int, weights: tuple[float, ...]) -> tuple[float, ...]:
    """Each image's share of what the reference counts: together 1, so that the same image twice is that image. Raises ValueError."""
    if count > MOST_IMAGES:
        raise ValueError(f"image: {count} images are too many as references, at most {MOST_IMAGES}; choose some with Image From Batch, "
                         "or turn off all_images")
    weights = weights or (1.0,) * count
    if len(weights) != count:
        raise ValueError(f"weights: {len(weights)} for {count} images; give one for each image of the batch (with all_images on), or none")
    if not (min(weights) >= 0 and 0 < sum(weights) < math.inf):
        raise ValueError(f"weights: they must be numbers from 0 up, and one of them above 0; got {', '.join(f'{w:g}' for w in weights)}")
    return tuple(weight / sum(weights) for weight in weights)
