"""Encode Pose: skeleton pictures to guidance, once for a clip."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..animate_core.preprocess import Fit, pose_input
from . import host
from .reference import CATEGORY, fit_input, size_inputs, to_picture
from .sockets import Pose, PoseGuider, PoseGuiderSocket, PoseSocket, check_images, check_size, expect

FRAMES_AT_ONCE = 8  # the first layers run at the picture's full size


class EncodePose(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionetteEncodePose", display_name="Encode Pose", category=CATEGORY,
            description="Turns a clip of skeleton pictures into guidance for the motion UNet, frame by frame. One pose picture gives "
                        "one frame.",
            search_aliases=["pose video", "skeleton", "dwpose", "openpose", "pose guider", "animate anyone"],
            inputs=[
                PoseGuiderSocket.Input("pose_guider", tooltip="From Load Pose Guider."),
                io.Image.Input("images", tooltip="Skeleton pictures, a frame each, on black: DWPose with face in RGB colours for "
                                                 "Moore's weights; "
                                                 "without face and with red and blue swapped for MusePose's."),
                *size_inputs(),
                fit_input("the pose video"),
            ],
            outputs=[PoseSocket.Output("pose", display_name="POSE", tooltip="For Multi-Frame Sampler or Animate Conditioning.")],
        )

    @classmethod
    def execute(cls, pose_guider: Any, images: Tensor, width: int, height: int, fit: Fit = "crop") -> io.NodeOutput:
        guider = expect(pose_guider, PoseGuider, "pose_guider", "Use Load Pose Guider.")
        check_size(width, height)
        images = check_images(images, "images")
        frames = images.shape[0]
        progress = host.FrameProgress(frames)
        features = torch.empty(frames, guider.out_channels, height // 8, width // 8, dtype=guider.dtype, device=host.output_device())
        # the widest moment: 16 channels in and out at full size
        memory = FRAMES_AT_ONCE * 48 * width * height * guider.dtype.itemsize
        with host.on_device(guider.patcher, memory) as device:
            for start in range(0, frames, FRAMES_AT_ONCE):
                chunk = [pose_input(to_picture(image), width, height, fit) for image in images[start:start + FRAMES_AT_ONCE]]
                features[start:start + len(chunk)] = guider.patcher.model(torch.cat(chunk).to(device, guider.dtype))
                progress.update(len(chunk))
        return io.NodeOutput(Pose(features, width, height, guider.source))
