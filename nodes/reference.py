"""Encode Reference: reads the character's appearance, once for any number of clips."""

from __future__ import annotations

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
from .sockets import Reference, ReferenceNet, ReferenceNetSocket, ReferenceSocket, check_images, check_size, expect

CATEGORY = "Marionette/conditioning"


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
            description="Reads the character's appearance from one reference image: ReferenceNet features and a CLIP image token. "
                        "Runs once; the result works with any pose and seed.",
            search_aliases=["reference image", "character", "animate anyone", "appearance", "reference net"],
            inputs=[
                ReferenceNetSocket.Input("reference_net", tooltip="From Load ReferenceNet, Load Animate Anyone or Load Demo Model."),
                io.Vae.Input("vae", tooltip="A Stable Diffusion 1.5 VAE. The published models were trained with sd-vae-ft-mse."),
                io.Image.Input("image",
                               tooltip="The reference image: one RGB image of the character. Best is a pose that shows the whole body. "
                                       "From a batch, the first image is used."),
                *size_inputs(),
                fit_input("the reference image"),
                io.ClipVision.Input("clip_vision", optional=True,
                                    tooltip="The CLIP image encoder. Connect either clip_vision or clip_vision_output."),
                io.ClipVisionOutput.Input("clip_vision_output", optional=True,
                                          tooltip="Instead of clip_vision: the output of CLIP Vision Encode. "
                                                  "Set its crop to none, as in the reference implementation."),
            ],
            outputs=[ReferenceSocket.Output("reference", display_name="REFERENCE",
                                            tooltip="Connect to Multi-Frame Sampler or Animate Conditioning.")],
        )

    @classmethod
    def execute(cls, reference_net: Any, vae: Any, image: Tensor, width: int, height: int, fit: Fit = "crop",
                clip_vision: Any = None, clip_vision_output: Any = None) -> io.NodeOutput:
        net = expect(reference_net, ReferenceNet, "reference_net", "Use Load ReferenceNet.")
        check_size(width, height)
        picture = to_picture(check_images(image, "image")[0])
        channels = getattr(vae, "latent_channels", 4)
        if channels != net.config.in_channels:
            raise ValueError(f"vae: its latents have {channels} channels, but {net.source} needs {net.config.in_channels}; choose a "
                             "Stable Diffusion 1.5 VAE")
        token = cls.token(net, picture, clip_vision, clip_vision_output)
        latent = vae.encode(to_image(fit_image(picture, width, height, fit))) * LATENT_SCALE
        if latent.ndim != 4 or latent.shape[-2:] != (height // 8, width // 8):
            raise ValueError(f"vae: it encoded a {width}x{height} image to a latent of shape {list(latent.shape)}; choose a Stable "
                             "Diffusion 1.5 VAE, which scales down by 8")
        if not torch.isfinite(latent).all():
            raise ValueError("vae: the latent contains NaN or infinite values; choose another VAE, or start ComfyUI with --fp32-vae")
        memory = reference_bytes(latent.shape[-1], latent.shape[-2], net.dtype.itemsize, net.config.block_out_channels[0])
        with host.on_device(net.patcher, memory) as device:
            features = net.patcher.model.reference_features(latent.to(device, net.dtype), token.to(device, net.dtype), host.attention({}))
            features = {path: x.to(host.output_device()) for path, x in features.items()}
            unconditional = None
            if net.family and family_preset(net.family).unconditional_reference:
                unconditional = cls.unconditional(net, latent, token, device)
        return io.NodeOutput(Reference(features, token.to(host.output_device()), width, height, net.source, unconditional))

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
    def token(net: ReferenceNet, picture: Image.Image, clip_vision: Any, clip_vision_output: Any) -> Tensor:
        """The projected image embedding as one token `[1, 1, D]`."""
        if (clip_vision is None) == (clip_vision_output is None):
            both = "" if clip_vision is None else ", not both"
            raise ValueError(f"clip_vision: connect either clip_vision or clip_vision_output{both}")
        if clip_vision_output is None:
            square = clip_square(picture, getattr(clip_vision, "image_size", 224), squash=True)
            clip_vision_output = clip_vision.encode_image(to_image(square), crop=False)
        token = clip_vision_output["image_embeds"][:1].unsqueeze(1).float()
        wanted = net.config.cross_attention_dim
        if token.shape[-1] != wanted:
            raise ValueError(f"clip_vision: its image embedding has {token.shape[-1]} values, but {net.source} needs {wanted}; choose "
                             + ("CLIP ViT-L/14 with projection (image_encoder of sd-image-variations)" if wanted == 768 else
                                "the image encoder of the same model"))
        return token
