"""Slow motion: more frames by poses between the poses, before sampling, or by latents between the latents, after it."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ..animate_core.pose.interpolation import interpolate_pose
from ..animate_core.pose.openpose import read_pose, write_pose
from ..animate_core.sampling import interpolate_latents
from .sampling import CATEGORY
from .sockets import BINARY, GRADED, POSE_CATEGORY, PoseKeypointSocket, keypoints_input, scores_input

ARC, STRAIGHT = "spherical", "linear"
ALIASES = ["slow motion", "interpolate", "frame interpolation", "more frames", "fps", "tween", "in-between", "smooth"]


def factor_input() -> io.Int.Input:
    return io.Int.Input("factor", default=2, min=1, max=16,
                        tooltip="How many times as many frames. Saved at the same frame rate, the clip is so much slower; at a frame rate "
                                "multiplied by it, so much smoother.")


def loop_input() -> io.Boolean.Input:
    return io.Boolean.Input("closed_loop", default=False,
                            tooltip="Also adds frames between the last and the first, for clips that loop.")


class InterpolatePose(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionetteInterpolatePose", display_name="Interpolate Pose", category=POSE_CATEGORY,
            description="Puts poses between the poses, so that the clip has more frames: slow motion, or a smoother clip at a higher frame "
                        "rate. Every frame is sampled: more time than Interpolate Latent, and limbs that move far stay whole.",
            search_aliases=ALIASES,
            inputs=[keypoints_input("pose", "Keypoints from Extract Pose, Clean Pose, Retarget Pose, Pose Moves or others."),
                    factor_input(), loop_input(), scores_input()],
            outputs=[PoseKeypointSocket.Output("pose", display_name="POSE_KEYPOINT",
                                               tooltip="The poses with new ones between them. Connect to Encode Pose.")],
        )

    @classmethod
    def execute(cls, pose: Any, factor: int, closed_loop: bool = False, scores: str = BINARY) -> io.NodeOutput:
        return io.NodeOutput(write_pose(interpolate_pose(read_pose(pose), factor, closed_loop), scores != GRADED))


class InterpolateLatent(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionetteInterpolateLatent", display_name="Interpolate Latent", category=CATEGORY,
            description="Puts latents between the latents of a sampled clip, as MusePose does: more frames without more sampling. "
                        "What moves far between two frames is blended: see Interpolate Pose.",
            search_aliases=[*ALIASES, "slerp", "latent interpolation"],
            inputs=[
                io.Latent.Input("latent", tooltip="The clip from Multi-Frame Sampler or KSampler, one latent per frame."),
                factor_input(),
                io.Combo.Input("method", options=[ARC, STRAIGHT], default=ARC,
                               tooltip="spherical: along the arc between two frames (slerp), as MusePose does. linear: a plain blend."),
                loop_input(),
            ],
            outputs=[io.Latent.Output("latent", display_name="LATENT", tooltip="The clip with more frames. Connect to VAE Decode.")],
        )

    @classmethod
    def execute(cls, latent: dict[str, Any], factor: int, method: str = ARC, closed_loop: bool = False) -> io.NodeOutput:
        samples = latent["samples"]
        if samples.ndim != 4:
            raise ValueError(f"latent: its shape must be [frames, channels, height / 8, width / 8]; got {list(samples.shape)}")
        if not torch.isfinite(samples).all():
            raise ValueError("latent: it contains NaN or infinite values; check the node that made it")
        return io.NodeOutput({"samples": interpolate_latents(samples, factor, method == ARC, closed_loop)})
