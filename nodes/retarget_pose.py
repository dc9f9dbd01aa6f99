"""Retarget Pose: a driver's motion on the reference's body, and a look at the fit before it is paid for."""

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
ANOTHER_SHAPE = 0.05  # difference in aspect ratio from which a picture and a pose are not of one another


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
            description="Puts a driving video's motion on the body in the reference picture: its limbs' lengths, its size, its place, its "
                        "ground. The overlay shows the fit before any sampling.",
            search_aliases=["pose align", "align pose", "pose transfer", "match proportions", "scale pose", "musepose align", "body size",
                            "rescale skeleton"],
            inputs=[
                keypoints_input("pose", "The driver's clip, whose motion is wanted: keypoints of Extract Pose, Clean Pose or any other "
                                        "node."),
                keypoints_input("reference_pose", "Keypoints of the reference picture, best from the very picture that goes to Encode "
                                                  "Reference. Of several frames, the first that shows somebody."),
                io.Combo.Input("mode", options=list(MODES), default="full",
                               tooltip="full: every limb in the reference's length. scale only: one size for all. offset only: moved. "
                                       "none: only the canvas is changed. pose_align: MusePose's rule, by one frame."),
                io.Float.Input("strength", default=1.0, min=0.0, max=1.0, step=0.05,
                               tooltip="How far mode full goes from one size for all (0) to each limb's own length (1). Less where the "
                                       "reference's pose hides its proportions."),
                io.Boolean.Input("keep_feet", default=True,
                                 tooltip="Mode full: feet keep the reference's ground and do not slide; legs fit in between. Off, and "
                                         "where the clip mostly hides the ankles: legs hang from the hips."),
                io.Combo.Input("person", options=list(PERSON_CHOICES), default=PERSON_CHOICES[0],
                               tooltip="Who, where several people are in a frame, in the clip as in the reference. followed: the largest "
                                       "well-seen person, in all frames."),
                io.Int.Input("overlay_frames", default=8, min=1, max=4096,
                             tooltip="How many frames the overlay shows, spread over the clip."),
                io.Int.Input("align_frame", default=0, min=0, max=1_000_000, advanced=True,
                             tooltip="Mode pose_align: the frame that is compared with the reference. Those before it are dropped."),
                io.Float.Input("fps", default=24.0, min=0.1, max=1000.0, step=0.01, optional=True,
                               tooltip="Frames per second of the driver's clip, to tell a mistake of a frame or two from a motion. About "
                                       "right is good enough."),
                io.Image.Input("reference_image", optional=True, tooltip="The reference picture, to draw the overlay on; black without "
                                                                         "it. Of a batch, the first."),
                scores_input(),
            ],
            outputs=[
                PoseKeypointSocket.Output("keypoints", display_name="POSE_KEYPOINT",
                                          tooltip="The motion on the reference's body, in pixels of the reference's canvas: for Draw Pose "
                                                  "or Encode Pose."),
                io.Image.Output("overlay", display_name="overlay", tooltip="The reference with the skeleton over it, for Preview Image: "
                                                                           "look here before sampling."),
                io.String.Output("report", display_name="report", tooltip="What was measured, limited, guessed or missing."),
            ],
        )

    @classmethod
    def execute(cls, pose: Any, reference_pose: Any, mode: str = "full", strength: float = 1.0, keep_feet: bool = True,
                person: str = PERSON_CHOICES[0], overlay_frames: int = 8, align_frame: int = 0,
                fps: float = 24.0, reference_image: Tensor | None = None, scores: str = BINARY) -> io.NodeOutput:
        driver, reference = read_pose(pose, "pose"), read_pose(reference_pose, "reference_pose")
        if max(reference.width, reference.height) > LARGEST_SIDE:
            raise PoseError(f"reference_pose: its canvas of {reference.width}x{reference.height} pixels is too large to draw; sides of up "
                            f"to {LARGEST_SIDE} are wanted")
        image = None if reference_image is None else check_images(reference_image, "reference_image")[0]
        clip, report = retarget_with_report(choose_person(driver, person), choose_person(reference, person), mode,
                                            RetargetSettings(strength, keep_feet, align_frame, fps))
        lines = [f"mode {mode}: {len(clip)} frames, {driver.width}x{driver.height} -> {clip.width}x{clip.height}", report]
        if image is not None and abs(image.shape[1] / image.shape[0] * clip.height / clip.width - 1) > ANOTHER_SHAPE:
            lines.append(f"the reference_image of {image.shape[1]}x{image.shape[0]} is of another shape than its pose's canvas of "
                         f"{clip.width}x{clip.height}: is the pose of this picture?")
        empty = int((~clip.present).sum())
        if empty:
            lines.append(f"{empty} frames show nobody; Clean Pose fills them")
        frames = np.unique(np.linspace(0, len(clip) - 1, min(overlay_frames, len(clip))).round().astype(int)).tolist()
        shown = overlay(clip, backdrop(image, clip.width, clip.height), frames, host.FrameProgress(len(frames)))
        return io.NodeOutput(write_pose(clip, scores != GRADED), shown, "\n".join(lines))
