"""Fit Drawing: a user's own drawing for the built-in model. Place Drawing: the animated figure back on its sheet."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from comfy_api.latest import io
from torch import Tensor

from ..animate_core.demo.clip import HEIGHT, WIDTH
from ..animate_core.demo.fitting import BACKGROUNDS, FIGURE, PLAIN, Fitted, fit_drawing, put_back, sample_drawing
from ..animate_core.pose.openpose import write_pose
from . import host
from .demo import CATEGORY
from .sockets import DrawingSocket, PoseKeypointSocket, check_images, check_size, expect


def check_mask(mask: Any) -> np.ndarray:
    """The first of a MASK batch, `[h, w]`. Raises ValueError for anything else."""
    if not isinstance(mask, Tensor) or mask.ndim not in (2, 3) or not mask.numel():
        raise ValueError("mask must be a MASK [height, width] or [frames, height, width]")
    first = mask if mask.ndim == 2 else mask[0]
    if not torch.isfinite(first).all():
        raise ValueError("mask: it contains NaN or infinite values; fix the node that made it")
    return np.asarray(first.float().cpu())


def batch(picture: np.ndarray) -> Tensor:
    """One float32 picture as a batch."""
    return torch.from_numpy(np.ascontiguousarray(picture, np.float32)).unsqueeze(0)


class FitDrawing(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionetteFitDrawing", display_name="Fit Drawing", category=CATEGORY,
            description="Prepares your own drawing for the built-in model: evens out the light, cuts out the figure, places it on the "
                        "model's canvas and estimates a skeleton.",
            search_aliases=["drawing", "child drawing", "animate drawing", "cut out figure", "segment", "remove background", "mascot",
                            "sprite", "sketch", "skeleton"],
            inputs=[
                io.Image.Input("image", optional=True,
                               tooltip="Your drawing: a scan, a photo of the sheet, or a figure that is already cut out. Only the first "
                                       "image of a batch is used. Not connected: the sample drawing of the pack."),
                io.Mask.Input("mask", optional=True,
                              tooltip="Mask of the figure, or Load Image's mask of an image with transparency. A mask with a single value "
                                      "is ignored and the figure is detected."),
                io.Int.Input("which", default=1, min=1, max=64,
                             tooltip="Which figure to use if there are several; 1 is the largest. The report lists how many were found."),
                io.Combo.Input("background", options=list(BACKGROUNDS), default=PLAIN,
                               tooltip="Background behind the figure on the canvas. plain paper: the paper colour, best for the model. own "
                                       "paper: the sheet with its lines and everything else on it. white: white."),
                io.Float.Input("figure_height", default=FIGURE, min=0.2, max=0.95, step=0.01, advanced=True,
                               tooltip="Height of the figure as a fraction of the canvas height. The training characters have 0.74 to "
                                       "0.82. A wide figure is made smaller to fit."),
                io.Int.Input("width", default=WIDTH, min=64, max=2048, step=8, advanced=True,
                             tooltip="Width of the canvas in pixels, a multiple of 8; the same as in the Encode nodes. The built-in model "
                                     f"was trained at {WIDTH}x{HEIGHT}."),
                io.Int.Input("height", default=HEIGHT, min=64, max=2048, step=8, advanced=True,
                             tooltip="Height of the canvas in pixels, a multiple of 8; the same as in the Encode nodes."),
            ],
            outputs=[
                io.Image.Output("picture", display_name="picture",
                                tooltip="The figure on the canvas. Connect to Encode Reference and Edit Pose."),
                io.Mask.Output("mask", display_name="mask", tooltip="Mask of the figure on the canvas."),
                io.Image.Output("background", display_name="background", tooltip="The canvas without the figure."),
                PoseKeypointSocket.Output("pose", display_name="POSE_KEYPOINT",
                                          tooltip="Skeleton estimated from the outline. Check it in Edit Pose, then connect to Retarget "
                                                  "Pose."),
                io.String.Output("report", display_name="report", tooltip="What was detected, ignored and estimated."),
                DrawingSocket.Output("drawing", display_name="DRAWING",
                                     tooltip="The sheet without the figure and the position of the canvas on it. Connect to Place "
                                             "Drawing."),
            ],
        )

    @classmethod
    def execute(cls, which: int = 1, background: str = PLAIN, figure_height: float = FIGURE, width: int = WIDTH, height: int = HEIGHT,
                image: Tensor | None = None, mask: Tensor | None = None) -> io.NodeOutput:
        check_size(width, height)
        own = image is not None
        picture = np.asarray(check_images(image, "image")[0].float().cpu().clamp(0, 1)) if own else sample_drawing()
        fitted = fit_drawing(picture, check_mask(mask) if own and mask is not None else None, which=which, width=width, height=height,
                             figure_height=figure_height, background=background)
        report = fitted.report if own else f"no image connected: this is the sample drawing\n{fitted.report}"
        return io.NodeOutput(batch(fitted.picture), batch(fitted.mask), batch(fitted.background), write_pose(fitted.pose), report, fitted)


class PlaceDrawing(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionettePlaceDrawing", display_name="Place Drawing", category=CATEGORY,
            description="Puts the animated figure back on its sheet, or on any background.",
            search_aliases=["drawing", "composite", "paste back", "background", "cut out", "matte", "overlay"],
            inputs=[
                io.Image.Input("images", tooltip="The clip from VAE Decode, also after an upscaler."),
                DrawingSocket.Input("drawing", tooltip="Output of the Fit Drawing whose picture is the reference image."),
                io.Int.Input("longer_side", default=640, min=64, max=4096, step=8,
                             tooltip="Longer side of the result in pixels. Never larger than the sheet in Fit Drawing (at most 1024)."),
                io.Image.Input("background", optional=True,
                               tooltip="Replaces the sheet: an image, or a clip whose frames are used in order, the last one repeated. It "
                                       "is cropped to the shape of the sheet."),
            ],
            outputs=[
                io.Image.Output("frames", display_name="IMAGE",
                                tooltip="The clip on its sheet or background. Connect to Save Animated WEBP or Create Video."),
                io.Mask.Output("mask", display_name="MASK", tooltip="Mask of the figure in each frame, for your own compositing."),
            ],
        )

    @classmethod
    def execute(cls, images: Tensor, drawing: Any, longer_side: int = 640, background: Tensor | None = None) -> io.NodeOutput:
        fitted = expect(drawing, Fitted, "drawing", "Use Fit Drawing.")
        frames = check_images(images, "images")
        tall, wide = fitted.picture.shape[:2]
        if abs(frames.shape[2] / frames.shape[1] * tall / wide - 1) > 0.02:
            raise ValueError(f"images: the frames have {frames.shape[2]}x{frames.shape[1]} pixels, which is not the shape of Fit Drawing's "
                             f"canvas, {wide}x{tall}; set the same width and height in Fit Drawing and both Encode nodes")
        behind = None if background is None else check_images(background, "background").float().cpu().clamp(0, 1).numpy()
        progress = host.FrameProgress(len(frames))
        placed = []
        for i, frame in enumerate(frames.float().cpu().clamp(0, 1).numpy()):
            placed.append(put_back(frame, fitted, None if behind is None else behind[min(i, len(behind) - 1)], longer_side))
            progress.update(1)
        pictures, masks = (torch.from_numpy(np.stack(parts)) for parts in zip(*placed, strict=True))
        return io.NodeOutput(pictures, masks)
