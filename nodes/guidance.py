"""Encode Guidance: Champ's guidance images to pose features. Also what it shares with Encode Pose: running images through guiders."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
import torch
from comfy_api.latest import io
from PIL import Image
from torch import Tensor

from ..animate_core.families import FAMILIES, FamilyPreset
from ..animate_core.guiders import GUIDANCE_TYPES
from ..animate_core.memory import guider_bytes
from ..animate_core.pose.style import guidance_complaint, telling_frames
from ..animate_core.preprocess import Fit, mask_semantics, pose_input
from . import host
from .reference import CATEGORY, fit_input, size_inputs, to_picture, to_pixels
from .sockets import Pose, PoseGuider, PoseGuiderSocket, PoseSocket, check_images, check_size, expect

log = logging.getLogger(__name__)

FRAMES_AT_ONCE = 8  # the first layers run at the picture's full size

Pictures = Callable[[], Iterator[Image.Image]]


def encode_pictures(guiders: Mapping[str, PoseGuider], pictures: Mapping[str, Pictures], frames: int, width: int, height: int, fit: Fit,
                    preset: FamilyPreset | None, weights: Mapping[str, float] | None = None) -> Tensor:
    """The features `[F, C, h, w]` of each guider's images, summed by weight, one guider at a time. Shows progress."""
    first = next(iter(guiders.values()))
    resample = Image.Resampling[preset.picture_resample if preset else "LANCZOS"]
    progress = host.FrameProgress(frames * len(pictures))
    features: Tensor | None = None
    for part, source in pictures.items():
        guider, weight, clip = guiders[part], (weights or {}).get(part, 1.0), source()
        begun = features is not None
        if features is None:
            features = torch.empty(frames, first.out_channels, height // 8, width // 8, dtype=first.dtype, device=host.output_device())
        memory = guider_bytes(preset.guider_class if preset else "pose", width, height, FRAMES_AT_ONCE, guider.dtype.itemsize,
                              guider.patcher.model.conv_in.out_channels)
        with host.on_device(guider.patcher, memory) as device:
            for start in range(0, frames, FRAMES_AT_ONCE):
                chunk = [pose_input(picture, width, height, fit, resample) for picture in islice(clip, FRAMES_AT_ONCE)]
                part_features = guider.patcher.model(torch.cat(chunk).to(device, guider.dtype))
                if weight != 1.0:
                    part_features = part_features * weight
                place = features[start:start + len(chunk)]
                if begun:
                    place += part_features.to(place)
                else:
                    place.copy_(part_features)
                progress.update(len(chunk))
    assert features is not None
    return features


def semantic_mask(mask: Any, images: Tensor) -> Tensor:
    """MASK `[H, W]` or `[F or 1, H, W]` for a batch of semantic maps. Raises ValueError."""
    if not isinstance(mask, Tensor) or mask.ndim not in (2, 3):
        raise ValueError("semantic_mask must be a MASK batch [frames, height, width]")
    mask = mask if mask.ndim == 3 else mask.unsqueeze(0)
    if mask.shape[1:] != images.shape[1:3]:
        raise ValueError(f"semantic_mask is {mask.shape[2]}x{mask.shape[1]} pixels and semantic_map {images.shape[2]}x{images.shape[1]}; "
                         "they must have the same size")
    if len(mask) not in (1, len(images)):
        raise ValueError(f"semantic_mask has {len(mask)} frames and semantic_map {len(images)}; connect one mask, or one per frame")
    return mask.expand(len(images), -1, -1)


class EncodeGuidance(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        what = {"depth": "Depth maps of the body's surface, in grey.", "normal": "Normal maps of the body's surface, in colour.",
                "semantic_map": "Semantic maps: each part of the body in its own colour.",
                "dwpose": "Skeleton images with face and hands in RGB colours, as Draw Pose draws them in style Moore."}
        return io.Schema(
            node_id="MarionetteEncodeGuidance", display_name="Encode Guidance", category=CATEGORY,
            description="Turns up to four kinds of guidance images of a moving body into pose features for Champ's motion UNet. "
                        "Connect any of them; each needs one image per frame.",
            search_aliases=["champ", "depth", "normal map", "semantic map", "smpl", "guidance encoder", "dwpose"],
            inputs=[
                PoseGuiderSocket.Input("pose_guider",
                                       tooltip="Champ's guidance encoders, from Load Animate Anyone, or from Load Pose Guider nodes in a "
                                               "chain: one encoder for each connected kind of image."),
                *size_inputs(),
                fit_input("the guidance"),
                *(io.Image.Input(kind, optional=True, tooltip=f"{what[kind]} One per frame, on black.") for kind in GUIDANCE_TYPES),
                io.Mask.Input("semantic_mask", optional=True,
                              tooltip="Mask of the body: semantic_map becomes black where the mask is 0. "
                                      "One mask, or one per frame, with the size of semantic_map."),
                *(io.Float.Input(f"{kind}_weight", default=1.0, min=0.0, max=2.0, step=0.05, optional=True, advanced=True,
                                 tooltip=f"Strength of {kind}. 1 is the published value.") for kind in GUIDANCE_TYPES),
            ],
            outputs=[PoseSocket.Output("pose", display_name="POSE", tooltip="Connect to Multi-Frame Sampler or Animate Conditioning.")],
        )

    @classmethod
    def execute(cls, pose_guider: Any, width: int, height: int, fit: Fit = "crop", semantic_mask: Any = None,
                **given: Any) -> io.NodeOutput:
        guider = expect(pose_guider, PoseGuider, "pose_guider", "Use Load Pose Guider.")
        check_size(width, height)
        guiders = guider.parts()
        preset = FAMILIES["Champ"]
        if guider.family != preset.name:
            raise ValueError(f"pose_guider: {guider.source} is not a guidance encoder of Champ; use Encode Pose")
        images = {kind: check_images(given[kind], kind) for kind in GUIDANCE_TYPES if given.get(kind) is not None}
        if not images:
            raise ValueError(f"depth: connect at least one of {', '.join(GUIDANCE_TYPES)}")
        frames = {kind: len(batch) for kind, batch in images.items()}
        if len(set(frames.values())) > 1:
            raise ValueError(f"{next(iter(frames))}: all guidance images must have the same number of frames, but "
                             f"{', '.join(f'{kind} has {count}' for kind, count in frames.items())}")
        lacking = [kind for kind in images if f"guidance_encoder_{kind}" not in guiders]
        if lacking:
            raise ValueError(f"{lacking[0]}: its encoder is not loaded; load guidance_encoder_{lacking[0]} with Load Pose Guider, or "
                             f"disconnect {lacking[0]}")
        if semantic_mask is not None:
            images = cls.masked(images, semantic_mask)
        for kind, batch in images.items():
            complaint = guidance_complaint(kind, to_pixels(batch[telling_frames(len(batch))]))
            if complaint:
                log.warning("%s: %s; the result may be poor", kind, complaint)
        pictures: dict[str, Pictures] = {f"guidance_encoder_{kind}": lambda batch=batch: map(to_picture, batch)  # type: ignore[misc]
                                         for kind, batch in images.items()}
        weights = {f"guidance_encoder_{kind}": float(given.get(f"{kind}_weight", 1.0)) for kind in images}
        features = encode_pictures(guiders, pictures, next(iter(frames.values())), width, height, fit, preset, weights)
        return io.NodeOutput(Pose(features, None, guider.out_channels, width, height, guider.source, None, preset.name))

    @staticmethod
    def masked(images: dict[str, Tensor], mask: Any) -> dict[str, Tensor]:
        if "semantic_map" not in images:
            raise ValueError("semantic_mask: connect semantic_map as well, or disconnect the mask")
        batch = images["semantic_map"]
        pairs = zip(batch, semantic_mask(mask, batch), strict=True)
        pixels = [mask_semantics(to_pixels(image), np.asarray((part.clamp(0, 1) * 255).round().cpu().byte())) for image, part in pairs]
        return {**images, "semantic_map": torch.from_numpy(np.stack(pixels)).float() / 255}
