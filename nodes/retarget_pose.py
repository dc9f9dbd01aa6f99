"""Retarget Pose: the motion of a driving video on the reference's body, with an overlay to check the fit before sampling."""

from __future__ import annotations

from typing import Any

import numpy as np
from comfy_api.latest import io
from PIL import Image
from torch import Tensor

from ..animate_core.pose.drawing import LARGEST_SIDE, MOORE, draw_people
from ..animate_core.pose.keypoints import PoseClip, PoseError
from ..animate_core.pose.openpose import read_pose, write_pose
from ..animate_core.pose.people import PERSON_CHOICES, choose_person
from ..animate_core.pose.retargeting import MODES, RetargetSettings, retarget_with_report
from . import host
from .demo import to_batch
from .reference import to_picture
from .sockets import BINARY, GRADED, POSE_CATEGORY, PoseKeypointSocket, check_images, keypoints_input, scores_input

OPACITY = 0.8  # of the skeleton over the picture
JOINT = 1 / 128  # a joint's radius in parts of the shorter side
ANOTHER_SHAPE = 0.05  # difference in aspect ratio above which an image and a pose do not belong together


def backdrop(image: Tensor | None, width: int, height: int) -> np.ndarray:
    """What the skeletons are drawn over: the picture at the canvas's size, or black. `[height, width, 3]` uint8."""
    if image is None:
        return np.zeros((height, width, 3), np.uint8)
    return np.asarray(to_picture(image).resize((width, height), Image.Resampling.LANCZOS))


def overlay(clip: PoseClip, picture: np.ndarray, frames: list[int], progress: host.FrameProgress) -> Tensor:
    """Skeletons of the chosen frames over a picture of the canvas's size: `[len(frames), height, width, 3]`."""
    style = MOORE.with_stick(max(1.0, JOINT * min(clip.width, clip.height)))
    out = np.empty((len(frames), *picture.shape), np.uint8)
    for shown, frame in zip(out, frames, strict=True):
        drawn = draw_people(clip.points[frame], clip.width, clip.height, style)
        shown[:] = np.where(drawn.any(-1, keepdims=True), OPACITY * drawn + (1 - OPACITY) * picture, picture)
        progress.update(1)
    return to_batch(out)


class RetargetPose(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionetteRetargetPose", display_name="Retarget Pose", category=POSE_CATEGORY,
            description="Transfers the motion of a driving video to the body in the reference image: its limb lengths, size, position and "
                        "ground. The overlay shows the fit before any sampling.",
            search_aliases=["pose align", "align pose", "pose transfer", "match proportions", "scale pose", "musepose align", "body size",
                            "rescale skeleton"],
            inputs=[
                keypoints_input("pose", "Keypoints of the driving video, from Extract Pose, Clean Pose or another node."),
                keypoints_input("reference_pose", "Keypoints of the reference image. Best use the same image as for Encode Reference. "
                                                  "From several frames, the first one with a person is used."),
                io.Combo.Input("mode", options=list(MODES), default="full",
                               tooltip="full: every limb gets the reference's length. scale only: one scale for the whole body. "
                                       "offset only: moved, not scaled. none: only the canvas changes. "
                                       "pose_align: MusePose's published method, based on one frame."),
                io.Float.Input("strength", default=1.0, min=0.0, max=1.0, step=0.05,
                               tooltip="For mode full: from one scale for the whole body (0) to the length of each limb (1). "
                                       "Lower it if the reference's pose hides its proportions."),
                io.Boolean.Input("keep_feet", default=True,
                                 tooltip="For mode full: feet stay on the reference's ground and do not slide; the legs adapt. "
                                         "Off, or if the clip mostly hides the ankles: the legs hang from the hips."),
                io.Combo.Input("person", options=list(PERSON_CHOICES), default=PERSON_CHOICES[0],
                               tooltip="Which person to use if a frame contains several, in the clip and in the reference. "
                                       "followed: the largest person at the start, tracked through the whole clip. "
                                       "The other options choose frame by frame."),
                io.Int.Input("overlay_frames", default=8, min=1, max=4096,
                             tooltip="Number of frames in the overlay, spread evenly over the clip."),
                io.Int.Input("align_frame", default=0, min=0, max=1_000_000, advanced=True,
                             tooltip="For mode pose_align: the frame to compare with the reference. Earlier frames are dropped."),
                io.Float.Input("fps", default=24.0, min=0.1, max=1000.0, step=0.01, optional=True,
                               tooltip="Frames per second of the driving video, used to tell short detection errors from motion. "
                                       "An approximate value is fine."),
                io.Image.Input("reference_image", optional=True,
                               tooltip="The reference image, as background of the overlay; black if not connected. "
                                       "From a batch, the first image is used."),
                scores_input(),
            ],
            outputs=[
                PoseKeypointSocket.Output("keypoints", display_name="POSE_KEYPOINT",
                                          tooltip="The motion on the reference's body, in pixels of the reference's canvas. "
                                                  "Connect to Draw Pose or Encode Pose."),
                io.Image.Output("overlay", display_name="overlay",
                                tooltip="The skeleton over the reference image. Check it with Preview Image before sampling."),
                io.String.Output("report", display_name="report",
                                 tooltip="What was measured, limited, estimated or missing. Show it with Preview as Text."),
            ],
        )

    @classmethod
    def execute(cls, pose: Any, reference_pose: Any, mode: str = "full", strength: float = 1.0, keep_feet: bool = True,
                person: str = PERSON_CHOICES[0], overlay_frames: int = 8, align_frame: int = 0,
                fps: float = 24.0, reference_image: Tensor | None = None, scores: str = BINARY) -> io.NodeOutput:
        driver, reference = read_pose(pose, "pose"), read_pose(reference_pose, "reference_pose")
        if max(reference.width, reference.height) > LARGEST_SIDE:
            raise PoseError(f"reference_pose: its canvas of {reference.width}x{reference.height} pixels is too large to draw; the maximum "
                            f"is {LARGEST_SIDE} pixels per side")
        image = None if reference_image is None else check_images(reference_image, "reference_image")[0]
        clip, report = retarget_with_report(choose_person(driver, person), choose_person(reference, person), mode,
                                            RetargetSettings(strength, keep_feet, align_frame, fps))
        lines = [f"mode {mode}: {len(clip)} frames, {driver.width}x{driver.height} -> {clip.width}x{clip.height}", report]
        if image is not None and abs(image.shape[1] / image.shape[0] * clip.height / clip.width - 1) > ANOTHER_SHAPE:
            lines.append(f"reference_image ({image.shape[1]}x{image.shape[0]}) and the canvas of reference_pose "
                         f"({clip.width}x{clip.height}) have different aspect ratios: does the pose belong to this image?")
        empty = int((~clip.present).sum())
        if empty:
            lines.append(f"{empty} frames contain no person; Clean Pose fills them")
        frames = np.unique(np.linspace(0, len(clip) - 1, min(overlay_frames, len(clip))).round().astype(int)).tolist()
        shown = overlay(clip, backdrop(image, clip.width, clip.height), frames, host.FrameProgress(len(frames)))
        return io.NodeOutput(write_pose(clip, scores != GRADED), shown, "\n".join(lines))
