"""Encode Pose: skeletons to guidance, once for a clip. Pose Moves: skeletons in motion for those who have none."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from comfy_api.latest import io
from PIL import Image
from torch import Tensor

from ..animate_core.demo.character import LAST_SEED
from ..animate_core.families import FAMILIES, FamilyPreset, family_preset
from ..animate_core.memory import pose_bytes
from ..animate_core.pose.guidance import guidance_pictures
from ..animate_core.pose.moves import MOVES, move_clip
from ..animate_core.pose.openpose import read_pose, write_pose
from ..animate_core.pose.style import Look, complaints, look_of, preset_look, telling_frames
from ..animate_core.pose_guider import POSES_AT_ONCE
from ..animate_core.preprocess import Fit, pose_picture
from . import host
from .host_model import AnimateModel
from .loaders import AUTO
from .reference import CATEGORY, fit_input, size_inputs, to_picture, to_pixels
from .sockets import (
    POSE_CATEGORY,
    Pose,
    PoseGuider,
    PoseGuiderSocket,
    PoseKeypointSocket,
    PoseSocket,
    check_images,
    check_size,
    expect,
    keypoints_input,
)

log = logging.getLogger(__name__)

FEATURES, PICTURES = "features", "pictures"
FEATURES_KEPT = 512 << 20  # bytes up to which features are kept, which saves making them again in every step


def known_preset(family: str, model: Any, guider: PoseGuider) -> FamilyPreset | None:
    """Whose skeletons are wanted: as chosen, else the MODEL's, else what the pose guider was loaded with; None where nothing tells."""
    if family != AUTO:
        return family_preset(family)
    if model is not None:
        return expect(model.model, AnimateModel, "model", "Use Load Motion UNet or Load Animate Anyone.").preset
    return family_preset(guider.family) if guider.family else None


def look_at(images: Tensor, preset: FamilyPreset | None) -> Look | None:
    """What the pictures look to be, for the sampler to compare with its MODEL; None where that was done here. Warns."""
    look = look_of(to_pixels(images[telling_frames(len(images))]))
    if preset is None:
        return look
    for complaint in complaints(look, preset):
        log.warning("images: %s; the result may be poor. POSE_KEYPOINT instead of images is drawn as the model wants it", complaint)
    return None


def what_to_keep(guider: PoseGuider, frames: int, width: int, height: int) -> str:
    """Of a long clip whatever is smaller: of the published models the pictures, a third of the features."""
    features = guider.out_channels * guider.dtype.itemsize * width * height // 64
    return PICTURES if frames * features > FEATURES_KEPT and 3 * width * height < features else FEATURES


def in_parts(pictures: Iterator[Image.Image], frames: int, width: int, height: int, fit: Fit) -> Iterator[tuple[slice, Tensor]]:
    """Some frames at a time `[n, height, width, 3]` uint8, with their place in the clip. Shows progress; raises if the user cancelled."""
    progress = host.FrameProgress(frames)
    for start in range(0, frames, POSES_AT_ONCE):
        part = torch.stack([pose_picture(picture, width, height, fit) for picture in islice(pictures, POSES_AT_ONCE)])
        yield slice(start, start + len(part)), part
        progress.update(len(part))


class EncodePose(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionetteEncodePose", display_name="Encode Pose", category=CATEGORY,
            description="Turns a clip of skeletons into guidance for the motion UNet, frame by frame. One pose gives one frame. Give "
                        "keypoints, which are drawn as the model was trained on them, or pictures that are drawn already.",
            search_aliases=["pose video", "skeleton", "dwpose", "openpose", "pose guider", "animate anyone", "pose keypoint"],
            inputs=[
                PoseGuiderSocket.Input("pose_guider", tooltip="From Load Pose Guider."),
                io.Image.Input("images", optional=True,
                               tooltip="Skeleton pictures, a frame each, on black: DWPose with face in RGB colours for Moore's weights; "
                                       "without face and with red and blue swapped for MusePose's. Give this or pose_keypoint."),
                *size_inputs(),
                fit_input("the pose video"),
                keypoints_input("pose_keypoint", "Instead of images: keypoints from Retarget Pose, Extract Pose, Pose Moves or any other "
                                                 "node. They are drawn in the style of the model's family.", optional=True),
                io.Model.Input("model", optional=True, tooltip="Tells family auto whose skeletons are wanted. Not needed with Load Animate "
                                                               "Anyone or Load Demo Model, whose pose guider tells it."),
                io.Combo.Input("family", options=[AUTO, *FAMILIES], default=AUTO, optional=True, advanced=True,
                               tooltip="In whose style keypoints are drawn, and pictures are checked. auto: the MODEL's, else the pose "
                                       "guider's, else Moore's."),
                io.Combo.Input("keep", options=[AUTO, FEATURES, PICTURES], default=AUTO, optional=True, advanced=True,
                               tooltip="What is kept of the clip. features: guidance, ready, 3.9 MB a frame at 512x768 in fp16. pictures: "
                                       "1.2 MB a frame, and guidance is made again in every step (0.6% of its work). auto: features up to "
                                       "512 MB, then whatever is smaller."),
            ],
            outputs=[PoseSocket.Output("pose", display_name="POSE", tooltip="For Multi-Frame Sampler or Animate Conditioning.")],
        )

    @classmethod
    def execute(cls, pose_guider: Any, width: int, height: int, images: Any = None, fit: Fit = "crop", pose_keypoint: Any = None,
                model: Any = None, family: str = AUTO, keep: str = AUTO) -> io.NodeOutput:
        guider = expect(pose_guider, PoseGuider, "pose_guider", "Use Load Pose Guider.")
        check_size(width, height)
        if (images is None) == (pose_keypoint is None):
            raise ValueError(f"images: connect either images or pose_keypoint{'' if images is None else ', not both'}")
        preset = known_preset(family, model, guider)
        pictures: Iterator[Image.Image]
        if pose_keypoint is None:
            images = check_images(images, "images")
            look, frames = look_at(images, preset), len(images)
            pictures = map(to_picture, images)
        else:
            clip = read_pose(pose_keypoint, "pose_keypoint")
            if preset is None:
                preset = family_preset("Moore")
                log.info("family auto: drawn for Moore; connect the MODEL, or choose the family, for others")
            look, frames = preset_look(preset), len(clip)
            pictures = guidance_pictures(clip, preset, width, height, fit)
        if keep == AUTO:
            keep = what_to_keep(guider, frames, width, height)
        parts = in_parts(pictures, frames, width, height, fit)
        if keep == PICTURES:
            kept = torch.empty(frames, height, width, 3, dtype=torch.uint8, device=host.output_device())
            for place, part in parts:
                kept[place] = part
        else:
            kept = torch.empty(frames, guider.out_channels, height // 8, width // 8, dtype=guider.dtype, device=host.output_device())
            memory = pose_bytes(width, height, POSES_AT_ONCE, guider.dtype.itemsize, guider.patcher.model.conv_in.out_channels)
            with host.on_device(guider.patcher, memory) as device:
                for place, part in parts:
                    kept[place] = guider.patcher.model.encode(part.to(device), guider.dtype)
        return io.NodeOutput(Pose(kept, guider if keep == PICTURES else None, guider.out_channels, width, height, guider.source, look))


class PoseMoves(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionettePoseMoves", display_name="Pose Moves", category=POSE_CATEGORY,
            description="A motion to start with when you have no driving video: walk, wave, dance and others as keypoints, in a loop. "
                        "Connect it to Retarget Pose, so that it fits your picture.",
            search_aliases=["walk", "dance", "wave", "motion library", "pose library", "preset", "driving video", "animation loop"],
            inputs=[
                io.Combo.Input("motion", options=list(MOVES), default="dance", tooltip="What the figure does."),
                io.Int.Input("seed", default=0, min=0, max=LAST_SEED, control_after_generate=io.ControlAfterGenerate.fixed,
                             tooltip="Style of the motion: how wide, which arm, which beat."),
                io.Int.Input("frames", default=24, min=0, max=4096, tooltip="Length of the clip; 0: one period, a loop without a seam."),
                io.Float.Input("period", default=24.0, min=4, max=1000, step=1,
                               tooltip="After how many frames the motion repeats: larger is slower. Whole numbers loop exactly."),
                io.Int.Input("width", default=512, min=64, max=4096, step=8, tooltip="Width of the canvas in pixels."),
                io.Int.Input("height", default=768, min=64, max=4096, step=8, tooltip="Height of the canvas in pixels."),
                io.Float.Input("size", default=0.72, min=0.05, max=1.0, step=0.01,
                               tooltip="The figure's height as a part of the canvas's. Retarget Pose brings it to your picture's anyway."),
            ],
            outputs=[PoseKeypointSocket.Output("pose", display_name="POSE_KEYPOINT",
                                               tooltip="One person's body, front view: for Retarget Pose, Draw Pose or Encode Pose.")],
        )

    @classmethod
    def execute(cls, motion: str, seed: int, frames: int, period: float, width: int, height: int, size: float = 0.72) -> io.NodeOutput:
        return io.NodeOutput(write_pose(move_clip(motion, frames, seed=seed, period=period, width=width, height=height, size=size)))
