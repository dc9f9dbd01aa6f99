"""The built-in model, and drawn characters in motion for it: all that a first clip needs, without a download."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from comfy_api.latest import io
from torch import Tensor

from ..animate_core.checkpoints import CheckpointError
from ..animate_core.clip_vision import read_clip_vision
from ..animate_core.demo.character import HELD_OUT_SEED, LAST_SEED
from ..animate_core.demo.clip import HEIGHT, WIDTH, demo_clip, reference_frame
from ..animate_core.demo.model import DEMO_FAMILY, DEMO_FOLDER, NORM_NUM_GROUPS, NUM_HEADS, demo_files
from ..animate_core.demo.motion import DEFAULT_PERIOD, MOTIONS
from ..animate_core.pose.keypoints import body_clip
from ..animate_core.pose.openpose import write_pose
from . import host
from .host_model import load_motion_unet
from .loaders import AUTO, load_pose_guider, load_reference_net
from .sockets import PoseGuiderSocket, PoseKeypointSocket, ReferenceNetSocket, check_size

CATEGORY = "Marionette/demo"


def to_batch(pictures: np.ndarray) -> Tensor:
    """uint8 -> float32 in [0, 1], of the same shape."""
    return torch.from_numpy(pictures).to(torch.float32).div_(255)


class LoadDemoModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionetteLoadDemoModel", display_name="Load Demo Model", category=CATEGORY,
            description="Loads the small built-in model: a complete Animate Anyone for drawn figures, trained at "
                        f"{WIDTH}x{HEIGHT} pixels. It animates the characters of Demo Character and your own drawings; "
                        "it knows no real people. Nothing is downloaded.",
            search_aliases=["built-in model", "demo", "example", "tiny", "try", "animate anyone"],
            inputs=[],
            outputs=[
                io.Model.Output("model", display_name="MODEL", tooltip="Connect to Multi-Frame Sampler or Animate Conditioning."),
                ReferenceNetSocket.Output("reference_net", display_name="REFERENCE_NET", tooltip="Connect to Encode Reference."),
                PoseGuiderSocket.Output("pose_guider", display_name="POSE_GUIDER", tooltip="Connect to Encode Pose."),
                io.ClipVision.Output("clip_vision", display_name="CLIP_VISION", tooltip="Connect to Encode Reference."),
                io.Vae.Output("vae", display_name="VAE", tooltip="Connect to Encode Reference and VAE Decode."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls) -> Any:
        return host.file_stamp(*(str(path) for path in sorted(DEMO_FOLDER.glob("*.safetensors"))))

    @classmethod
    def execute(cls) -> io.NodeOutput:
        files = demo_files()
        try:
            return io.NodeOutput(
                load_motion_unet(str(files.denoising_unet), None, DEMO_FAMILY, AUTO, NUM_HEADS, NORM_NUM_GROUPS),
                load_reference_net(str(files.reference_unet), AUTO, NUM_HEADS, NORM_NUM_GROUPS),
                load_pose_guider(str(files.pose_guider), AUTO, DEMO_FAMILY),
                host.clip_vision_from(*read_clip_vision(files.clip_vision)),
                host.vae_from(host.load_state_dict(str(files.vae)), str(files.vae)),
            )
        except CheckpointError as error:
            # no other file can replace one of these
            raise CheckpointError(f"{error}\nThis file is part of the pack ({DEMO_FOLDER}): reinstall the pack") from error


class DemoCharacter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionetteDemoCharacter", display_name="Demo Character", category=CATEGORY,
            description="Draws a character from a seed: a reference image, a clip of poses, the ground truth frames "
                        "that the built-in model should come close to, and exact keypoints and masks.",
            search_aliases=["character generator", "test character", "example pose", "skeleton", "procedural", "ground truth"],
            inputs=[
                io.Int.Input("seed", default=HELD_OUT_SEED, min=0, max=LAST_SEED, control_after_generate=io.ControlAfterGenerate.fixed,
                             tooltip="Sets the character and the style of its motion. "
                                     f"The built-in model never saw characters from {HELD_OUT_SEED} up in training."),
                io.Combo.Input("motion", options=list(MOTIONS), default="dance", tooltip="What the character does."),
                io.Int.Input("frames", default=16, min=1, max=4096,
                             tooltip="Length of the clip in frames. The built-in model was trained on 16 frames at a time; "
                                     "longer clips are generated in windows."),
                io.Int.Input("width", default=WIDTH, min=64, max=2048, step=8, advanced=True,
                             tooltip="Width of the images in pixels, a multiple of 8. "
                                     f"The built-in model was trained at {WIDTH}x{HEIGHT}."),
                io.Int.Input("height", default=HEIGHT, min=64, max=2048, step=8, advanced=True,
                             tooltip="Height of the images in pixels, a multiple of 8. "
                                     f"The built-in model was trained at {WIDTH}x{HEIGHT}."),
                io.Float.Input("period", default=DEFAULT_PERIOD, min=4, max=1000, step=1, advanced=True,
                               tooltip="Number of frames after which the motion repeats; larger is slower. "
                                       "A clip of exactly this length is a seamless loop."),
            ],
            outputs=[
                io.Image.Output("reference", display_name="reference",
                                tooltip="The reference image: the character in a pose that is not in the clip. "
                                        "Connect to Encode Reference."),
                io.Image.Output("poses", display_name="poses", tooltip="Skeleton images, one per frame. Connect to Encode Pose."),
                PoseKeypointSocket.Output("keypoints", display_name="POSE_KEYPOINT",
                                          tooltip="The same poses as keypoints in pixels, for nodes that edit or draw poses."),
                io.Image.Output("truth", display_name="truth",
                                tooltip="Ground truth: the character drawn in these poses, as the generated clip should look."),
                io.Mask.Output("mask", display_name="MASK", tooltip="Mask of the character in each ground truth frame."),
                PoseKeypointSocket.Output("reference_pose", display_name="reference_pose",
                                          tooltip="The pose of the reference image, one frame. Connect to Retarget Pose."),
            ],
        )

    @classmethod
    def execute(cls, seed: int, motion: str, frames: int, width: int = WIDTH, height: int = HEIGHT,
                period: float = DEFAULT_PERIOD) -> io.NodeOutput:
        check_size(width, height)
        progress = host.FrameProgress(frames)
        clip = demo_clip(seed, motion, frames, period=period, width=width, height=height, on_frame=lambda: progress.update(1))
        reference = reference_frame(seed, width=width, height=height)
        keypoints, reference_pose = (write_pose(body_clip(drawn.keypoints, width, height)) for drawn in (clip, reference))
        return io.NodeOutput(to_batch(reference.frames), to_batch(clip.poses), keypoints, to_batch(clip.frames), to_batch(clip.masks),
                             reference_pose)
