"""Edit Pose: joints dragged by hand over the image, in the page. The edits are a widget's value and also run without the page."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import folder_paths
import numpy as np
import torch
from comfy_api.latest import io
from torch import Tensor

from ..animate_core.pose.drawing import LARGEST_SIDE
from ..animate_core.pose.editing import LAST_FRAME, edit_pose, empty_clip, of_length, read_edits, shown_poses
from ..animate_core.pose.keypoints import PoseClip, PoseError
from ..animate_core.pose.openpose import read_pose, write_pose
from ..animate_core.pose.people import PERSON_CHOICES, choose_person
from . import host
from .reference import to_picture
from .retarget_pose import backdrop, overlay
from .sockets import BINARY, GRADED, POSE_CATEGORY, PoseKeypointSocket, check_images, keypoints_input, scores_input

WIDGET = "MARIONETTE_POSE_EDITOR"  # web/edit_pose.js makes it
TEMP_FOLDER = "marionette_edit_pose"
PAGE_SIDE = 768  # longer side in pixels of the pictures under the page's skeleton
PAGE_PICTURES = 240  # of a longer clip, so many frames evenly spread are shown


def spread(frames: int, most: int) -> list[int]:
    """Up to `most` frames, evenly spread over a clip."""
    return [int(frame) for frame in np.unique(np.linspace(0, frames - 1, min(frames, most)).round())]


def page_picture(image: Tensor, clip: PoseClip) -> str:
    """Saves one frame in the host's temp folder, in the canvas's shape; returns its name there, a hash of its content."""
    scale = min(1, PAGE_SIDE / max(clip.width, clip.height))
    picture = to_picture(image).resize((max(1, round(clip.width * scale)), max(1, round(clip.height * scale))))
    folder = Path(folder_paths.get_temp_directory()) / TEMP_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{hashlib.sha256(picture.tobytes() + str(picture.size).encode()).hexdigest()[:24]}.jpg"
    if not (folder / name).exists():
        picture.save(folder / name, quality=88)
    return name


def page_data(clip: PoseClip, images: Tensor | None, progress: host.FrameProgress) -> dict[str, Any]:
    """What the page's editor shows: the incoming body points, flat for each frame, and pictures with the first frame that each is for."""
    pictures = []
    if images is not None:
        for frame in spread(min(len(clip), len(images)), PAGE_PICTURES):
            pictures.append([frame, page_picture(images[frame], clip)])
            progress.update(1)
    return {"width": clip.width, "height": clip.height, "folder": TEMP_FOLDER, "pictures": pictures, "poses": shown_poses(clip)}


class EditPose(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionetteEditPose", display_name="Edit Pose", category=POSE_CATEGORY, is_output_node=True,
            description="Edits poses by hand over the image: drag joints, hide or restore them, mirror limbs. "
                        "Edits are key frames; frames in between are interpolated. "
                        "Fit figure gives drawings and statues a skeleton that detectors cannot find.",
            search_aliases=["pose editor", "openpose editor", "edit keypoints", "move joints", "skeleton editor", "fix pose", "manual pose",
                            "key frames", "draw a pose"],
            inputs=[
                keypoints_input("pose", "The poses to edit, from Extract Pose, Load Pose or another node. "
                                        "Run the workflow once to see them here. If not connected, place a body by hand.", optional=True),
                io.Image.Input("image", optional=True,
                               tooltip="The image or video shown under the skeleton. From Load Image it shows at once, from other nodes "
                                       "after a run. Without a pose it also sets the canvas size."),
                io.Combo.Input("person", options=list(PERSON_CHOICES), default=PERSON_CHOICES[0],
                               tooltip="Which person to edit and output if a frame contains several. followed: the largest person at the "
                                       "start, tracked through the whole clip. The other options choose frame by frame."),
                io.Int.Input("frames", default=0, min=0, max=LAST_FRAME,
                             tooltip="Number of frames to output. 0: as many as the input has. "
                                     "More: the last frame is repeated, so key frames can animate a single image."),
                io.Int.Input("width", default=512, min=64, max=LARGEST_SIDE, step=8, advanced=True,
                             tooltip="Width of the canvas in pixels if neither pose nor image is connected."),
                io.Int.Input("height", default=768, min=64, max=LARGEST_SIDE, step=8, advanced=True,
                             tooltip="Height of the canvas in pixels if neither pose nor image is connected."),
                io.Int.Input("preview_frames", default=8, min=1, max=4096, advanced=True,
                             tooltip="Number of frames in the preview, spread evenly over the clip."),
                io.String.Input("edits", default="", optional=True, extra_dict={"widgetType": WIDGET},
                                tooltip="Drag joints with the mouse or a finger. Shift also moves everything attached to the joint. "
                                        "The edits are saved in the workflow as JSON; the help page describes the format."),
                scores_input(),
            ],
            outputs=[
                PoseKeypointSocket.Output("keypoints", display_name="POSE_KEYPOINT",
                                          tooltip="One person with the edits applied. Connect to Retarget Pose, Draw Pose or Encode Pose."),
                io.Image.Output("preview", display_name="preview", tooltip="The skeleton over the image. Connect to Preview Image."),
            ],
        )

    @classmethod
    def validate_inputs(cls, edits: str = "") -> bool | str:
        try:
            read_edits(edits)
        except PoseError as error:
            return str(error)
        return True

    @classmethod
    def execute(cls, person: str = PERSON_CHOICES[0], frames: int = 0, width: int = 512, height: int = 768, preview_frames: int = 8,
                edits: str = "", scores: str = BINARY, pose: Any = None, image: Tensor | None = None) -> io.NodeOutput:
        made = read_edits(edits)
        images = None if image is None else check_images(image, "image")
        if pose is not None:
            clip = choose_person(read_pose(pose, "pose"), person)
        elif images is not None:
            clip = of_length(empty_clip(images.shape[2], images.shape[1]), len(images))
        else:
            clip = empty_clip(width, height)
        if max(clip.width, clip.height) > LARGEST_SIDE:
            raise PoseError(f"pose: its canvas of {clip.width}x{clip.height} pixels is too large to draw; the maximum is {LARGEST_SIDE} "
                            "pixels per side")
        edited = edit_pose(of_length(clip, frames), made)
        shown = spread(len(edited), preview_frames)
        progress = host.FrameProgress(len(shown) + (0 if images is None else min(len(clip), len(images), PAGE_PICTURES)))
        page = page_data(clip, images, progress)
        preview = torch.cat([
            overlay(edited, backdrop(None if images is None else images[min(frame, len(images) - 1)], clip.width, clip.height), [frame],
                    progress)
            for frame in shown])
        return io.NodeOutput(write_pose(edited, scores != GRADED), preview, ui={"marionette_pose": [page]})
