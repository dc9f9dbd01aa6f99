"""Nodes for clips that are given in part: kept frames and regions, and long clips made piece by piece."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from comfy_api.latest import io
from torch import Tensor

from ..animate_core.pieces import begun, frame_list, joined, of_length
from .sampling import CATEGORY
from .sockets import Pose, PoseSocket, expect


def latents_of(latent: dict[str, Any], name: str) -> Tensor:
    samples = latent["samples"]
    if not isinstance(samples, Tensor) or samples.ndim != 4 or samples.shape[1] != 4 or not len(samples):
        raise ValueError(f"{name}: expected latents [frames, 4, height / 8, width / 8]; got {tuple(samples.shape)}. Use VAE Encode with a "
                         "Stable Diffusion 1.5 VAE, or a sampler of this pack's models")
    return samples


def overlap_input() -> io.Int.Input:
    return io.Int.Input("overlap", default=4, min=1, max=128,
                        tooltip="Frames at the end of previous that the next piece begins with. "
                                "Use the same number in Continue Clip and Join Clips.")


class KnownFrames(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionetteKnownFrames", display_name="Known Frames", category=CATEGORY,
            description="Marks what is given of a clip: whole frames, or a region of every frame. The sampler keeps it and generates the "
                        "rest to fit.",
            search_aliases=["first frame", "last frame", "keep frames", "inpaint video", "video to video", "noise mask", "start image"],
            inputs=[
                io.Latent.Input("latent", tooltip="The given frames, from VAE Encode."),
                io.String.Input("keep", default="0",
                                tooltip="Frames to keep: numbers from 0 and ranges, as in 0, 4-8, -1 (-1 is the last frame). "
                                        "Empty: none, only the region of mask."),
                io.Int.Input("frames", default=0, min=0, max=100000,
                             tooltip="Length of the clip. If latent has fewer frames, its last one is repeated. 0: as many as latent."),
                io.Mask.Input("mask", optional=True,
                              tooltip="Region to generate (white) in the frames that are not kept; black stays as in latent. "
                                      "One mask for all frames, or one per frame. Not connected: the noise mask of latent, if it has one."),
            ],
            outputs=[io.Latent.Output("latent", display_name="LATENT",
                                      tooltip="Connect to Multi-Frame Sampler, or to KSampler in place of the empty latent.")],
        )

    @classmethod
    def execute(cls, latent: dict[str, Any], keep: str = "0", frames: int = 0, mask: Any = None) -> io.NodeOutput:
        samples = latents_of(latent, "latent")
        frames, mask = frames or len(samples), latent.get("noise_mask") if mask is None else mask
        kept = frame_list(keep, frames)
        if not kept and mask is None:
            raise ValueError("keep: no frame is named and no mask is connected, so nothing would be kept")
        samples = of_length(samples, frames)
        made = torch.ones(frames, 1, *samples.shape[-2:])
        if mask is not None:
            mask = mask.reshape(-1, 1, *mask.shape[-2:])
            if len(mask) not in (1, frames):
                raise ValueError(f"mask: it has {len(mask)} frames, but the clip {frames}; use one mask for all frames, or one for each")
            # the nearest, not a mean: a value between 0 and 1 would neither keep nor make
            made = F.interpolate(mask.float(), samples.shape[-2:], mode="nearest-exact").expand(frames, -1, -1, -1).clone()
        made[kept] = 0
        return io.NodeOutput({"samples": samples, "noise_mask": made})


class ContinueClip(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionetteContinueClip", display_name="Continue Clip", category=CATEGORY,
            description="Prepares the next piece of a long clip: it begins with the last frames of what is there, which are kept, and goes "
                        "on with the next poses. Sample it, then use Join Clips.",
            search_aliases=["extend video", "long video", "continue video", "last frame", "pieces", "segments", "chunks"],
            inputs=[
                PoseSocket.Input("pose", tooltip="The poses of the whole clip, from Encode Pose or Encode Guidance."),
                io.Latent.Input("previous", tooltip="All frames so far: of the first sampler, later of Join Clips."),
                overlap_input(),
                io.Int.Input("frames", default=12, min=0, max=100000,
                             tooltip="New frames to generate. Overlap and new frames together are best one window: 4 + 12 for the "
                                     "built-in model, 4 + 20 for Moore. 0: up to the last pose."),
            ],
            outputs=[
                PoseSocket.Output("pose", display_name="POSE",
                                  tooltip="The poses of this piece. Connect to Multi-Frame Sampler or Animate Conditioning."),
                io.Latent.Output("latent", display_name="LATENT",
                                 tooltip="The kept frames and empty ones. Connect to Multi-Frame Sampler, "
                                         "or to KSampler in place of the LATENT of Animate Conditioning."),
            ],
        )

    @classmethod
    def execute(cls, pose: Any, previous: dict[str, Any], overlap: int = 4, frames: int = 12) -> io.NodeOutput:
        pose = expect(pose, Pose, "pose", "Use Encode Pose.")
        samples = latents_of(previous, "previous")
        if samples.shape[-2:] != (pose.height // 8, pose.width // 8):
            raise ValueError(f"previous: its frames are {samples.shape[-1] * 8}x{samples.shape[-2] * 8} pixels, but the pose was encoded "
                             f"at {pose.width}x{pose.height}; use the poses that previous was made with")
        if overlap > len(samples):
            raise ValueError(f"overlap: {overlap} frames are to be kept, but previous has only {len(samples)}; lower overlap")
        left = pose.frames - len(samples)
        if left <= 0:
            raise ValueError(f"pose: it has {pose.frames} frames, and previous already {len(samples)}: nothing is left to generate")
        if frames > left:
            raise ValueError(f"frames: {frames} requested, but only {left} poses are left after the {len(samples)} frames of previous; "
                             "lower frames (0 uses all), or encode more poses")
        latents, mask = begun(samples, overlap, frames or left)
        start = len(samples) - overlap
        return io.NodeOutput(pose.part(start, start + len(latents)), {"samples": latents, "noise_mask": mask})


class JoinClips(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionetteJoinClips", display_name="Join Clips", category=CATEGORY,
            description="Adds a piece that began with Continue Clip to the frames before it. The frames that both have are there once.",
            search_aliases=["concatenate clips", "append video", "merge clips", "long video", "pieces"],
            inputs=[
                io.Latent.Input("previous", tooltip="The same as in Continue Clip: all frames before this piece."),
                io.Latent.Input("piece", tooltip="The sampled piece."),
                overlap_input(),
            ],
            outputs=[io.Latent.Output("latent", display_name="LATENT",
                                      tooltip="All frames so far. Connect to VAE Decode, or to the next Continue Clip.")],
        )

    @classmethod
    def execute(cls, previous: dict[str, Any], piece: dict[str, Any], overlap: int = 4) -> io.NodeOutput:
        return io.NodeOutput({"samples": joined(latents_of(previous, "previous"), latents_of(piece, "piece"), overlap)})
