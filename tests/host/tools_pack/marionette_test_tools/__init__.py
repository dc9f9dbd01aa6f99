"""Nodes that make what the host's own cannot: pictures and latents that are wrong on purpose. Laid beside the pack by the tests."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import folder_paths
import numpy as np
import torch
from PIL import Image

KINDS = ("ramp", "nan", "one channel", "alpha", "no frames")


class TestImage:
    """An IMAGE `[frames, height, width, channels]` of a kind; its values depend on the place and the frame alone."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "make"
    CATEGORY = "Marionette/tests"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - the host's name
        size = {"default": 64, "min": 1, "max": 4096}
        return {"required": {"kind": (list(KINDS),), "width": ("INT", size), "height": ("INT", size), "frames": ("INT", {"default": 1})}}

    def make(self, kind: str, width: int, height: int, frames: int) -> tuple[torch.Tensor]:
        x = torch.linspace(0, 1, width).view(1, 1, width, 1)
        y = torch.linspace(0, 1, height).view(1, height, 1, 1)
        t = torch.arange(frames).view(frames, 1, 1, 1) / max(frames, 1)
        image = torch.cat([x.expand(frames, height, width, 1), y.expand(frames, height, width, 1), ((x + y + t) % 1).clamp(0, 1)], dim=-1)
        if kind == "nan":
            image[0, height // 2, width // 2, 1] = float("nan")
        elif kind == "one channel":
            image = image[..., :1]
        elif kind == "alpha":
            image = torch.cat([image, torch.ones_like(image[..., :1])], dim=-1)
        elif kind == "no frames":
            image = image[:0]
        return (image,)


class TestLatent:
    """A LATENT `[frames, channels, height, width]` of zeros, of any shape at all (sizes in latents, not pixels)."""

    RETURN_TYPES = ("LATENT",)
    FUNCTION = "make"
    CATEGORY = "Marionette/tests"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - the host's name
        size = {"default": 8, "min": 0, "max": 4096}
        return {"required": {"frames": ("INT", size), "channels": ("INT", size), "height": ("INT", size), "width": ("INT", size)}}

    def make(self, frames: int, channels: int, height: int, width: int) -> tuple[dict[str, torch.Tensor]]:
        return ({"samples": torch.zeros(frames, channels, height, width)},)


class TestConditioning:
    """A CONDITIONING as a text encoder makes it, of zeros `[1, 77, width]`."""

    RETURN_TYPES = ("CONDITIONING",)
    FUNCTION = "make"
    CATEGORY = "Marionette/tests"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - the host's name
        return {"required": {"width": ("INT", {"default": 768, "min": 1})}}

    def make(self, width: int) -> tuple[list[Any]]:
        return ([[torch.zeros(1, 77, width), {"pooled_output": torch.zeros(1, width)}]],)


class TestSaveJSON:
    """Writes POSE_KEYPOINT, which no node of the host's saves, to a file in the output folder."""

    RETURN_TYPES = ()
    OUTPUT_NODE = True
    FUNCTION = "save"
    CATEGORY = "Marionette/tests"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - the host's name
        return {"required": {"value": ("POSE_KEYPOINT",)}}

    def save(self, value: Any) -> dict[str, Any]:
        path = Path(folder_paths.get_output_directory()) / f"{uuid.uuid4().hex}.json"
        path.write_text(json.dumps(value), encoding="utf-8")
        return {"ui": {"files": [str(path)]}, "result": ()}


class TestPictures:
    """An IMAGE batch of the first PNG files of a folder in the input folder."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "read"
    CATEGORY = "Marionette/tests"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - the host's name
        return {"required": {"folder": ("STRING", {"default": ""}), "frames": ("INT", {"default": 1})}}

    def read(self, folder: str, frames: int) -> tuple[torch.Tensor]:
        files = sorted((Path(folder_paths.get_input_directory()) / folder).glob("*.png"))[:frames]
        pictures = [torch.from_numpy(np.array(Image.open(file).convert("RGB"))) for file in files]
        return (torch.stack(pictures).float() / 255,)


class TestFromJSON:
    """POSE_KEYPOINT and FACE_LANDMARKS of a text; lists of points become arrays."""

    RETURN_TYPES = ("POSE_KEYPOINT", "FACE_LANDMARKS")
    FUNCTION = "read"
    CATEGORY = "Marionette/tests"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - the host's name
        return {"required": {"text": ("STRING", {"default": "", "multiline": True})}}

    def read(self, text: str) -> tuple[Any, Any]:
        value = json.loads(text)
        return value, value


NODE_CLASS_MAPPINGS = {"TestImage": TestImage, "TestLatent": TestLatent, "TestConditioning": TestConditioning,
                       "TestSaveJSON": TestSaveJSON, "TestPictures": TestPictures, "TestFromJSON": TestFromJSON}
