"""Draw Pose: keypoints to skeleton pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from comfy_api.latest import io
from PIL import Image

from ..animate_core.pose.drawing import LARGEST_SIDE, STYLES, check_picture, draw_people, fit_points
from ..animate_core.pose.face_mesh import faces_of_pose, mesh_pictures
from ..animate_core.pose.keypoints import SCORE_THRESHOLD, PoseClip, PoseError
from ..animate_core.pose.landmarks import face_pictures
from ..animate_core.pose.openpose import read_pose
from ..animate_core.preprocess import Fit
from . import host
from .reference import fit_input, to_image
from .sockets import POSE_CATEGORY, keypoints_input

PARTS = ("body", "hands", "face", "feet")
# whose guidance shows faces: Moore's face reenactment has two pictures a frame
FACE_STYLES: dict[str, Callable[[PoseClip, int, int, Fit], Iterator[Image.Image]]] = {
    "AniPortrait": lambda clip, width, height, fit: mesh_pictures(faces_of_pose(clip, "pose"), width, height, fit),
    "Moore face": lambda clip, width, height, fit: face_pictures(clip, 0, width, height, fit),
    "Moore face, mouth": lambda clip, width, height, fit: face_pictures(clip, 1, width, height, fit),
}
SWITCH = {"style": None, "on": True, "off": False}
LARGEST_STICK = 64.0


def part_input(part: str, extra: str = "") -> io.Combo.Input:
    return io.Combo.Input(part, options=list(SWITCH), default="style", advanced=True,
                          tooltip=f"Whether to draw the {part}. style: as set by the style.{extra}")


def picture_size(width: int, height: int, canvas: tuple[int, int]) -> tuple[int, int]:
    """Fills in sides that are 0: both from the canvas, one by the canvas's aspect ratio. Raises PoseError for a size out of range."""
    if not width and not height:
        width, height = canvas
    elif not height:
        height = max(1, round(width * canvas[1] / canvas[0]))
    elif not width:
        width = max(1, round(height * canvas[0] / canvas[1]))
    check_picture(width, height)
    return width, height


class DrawPose(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionetteDrawPose", display_name="Draw Pose", category=POSE_CATEGORY,
            description="Draws keypoints as skeleton images, pixel for pixel like the training images of the published models. "
                        "All people in a frame are drawn; a frame without people is black.",
            search_aliases=["skeleton", "openpose", "dwpose", "render pose", "draw keypoints", "pose to image", "controlnet"],
            inputs=[
                keypoints_input("pose", "Keypoints from Retarget Pose, Extract Pose, Load Pose or any node that outputs POSE_KEYPOINT."),
                io.Combo.Input("style", options=[*STYLES, *FACE_STYLES], default="Moore",
                               tooltip="Use the style that the model was trained on. Moore: body, hands and face, RGB. "
                                       "MusePose: body and hands, longer limbs are thicker, red and blue swapped. "
                                       "OpenPose: body and hands, RGB, for ControlNets. "
                                       "AniPortrait, Moore face, and Moore face, mouth: the face only, for these models; "
                                       "the settings for body parts, stick_width and score_threshold have no effect."),
                io.Int.Input("width", default=0, min=0, max=LARGEST_SIDE, step=8,
                             tooltip="Width of the images in pixels. 0: width of the canvas, or from the height by its aspect ratio."),
                io.Int.Input("height", default=0, min=0, max=LARGEST_SIDE, step=8,
                             tooltip="Height of the images in pixels. 0: height of the canvas, or from the width by its aspect ratio."),
                fit_input("the canvas of the poses"),
                part_input("body"),
                part_input("hands"),
                part_input("face"),
                part_input("feet", " No style draws them by default. On draws six dots."),
                io.Float.Input("stick_width", default=0.0, min=0.0, max=LARGEST_STICK, step=0.5, advanced=True,
                               tooltip="Radius of the joints in pixels; limbs, hands and face scale with it. "
                                       "0: the style's own, 4 at every image size. "
                                       "At a width of 1024 pixels, 8 looks like 4 at 512."),
                io.Float.Input("score_threshold", default=SCORE_THRESHOLD, min=0.0, max=1.0, step=0.01, advanced=True,
                               tooltip="Points with a lower score are not drawn. 0 draws all points."),
            ],
            outputs=[io.Image.Output("images", display_name="images",
                                     tooltip="Skeleton images on black, one per frame. Connect to Encode Pose or a ControlNet.")],
        )

    @classmethod
    def execute(cls, pose: Any, style: str, width: int = 0, height: int = 0, fit: Fit = "crop", body: str = "style", hands: str = "style",
                face: str = "style", feet: str = "style", stick_width: float = 0.0,
                score_threshold: float = SCORE_THRESHOLD) -> io.NodeOutput:
        clip = read_pose(pose, "pose")
        width, height = picture_size(width, height, (clip.width, clip.height))
        if style in FACE_STYLES:
            faces_of_pose(clip, "pose")  # refuses a clip without any face
            pictures = FACE_STYLES[style](clip, width, height, fit)
            progress = host.FrameProgress(len(clip))
            drawn = []
            for picture in pictures:
                drawn.append(to_image(picture))
                progress.update(1)
            return io.NodeOutput(torch.cat(drawn))
        chosen: dict[str, Any] = {part: SWITCH[value] for part, value in zip(PARTS, (body, hands, face, feet), strict=True)}
        look = replace(STYLES[style], score_threshold=score_threshold, **{k: v for k, v in chosen.items() if v is not None})
        if stick_width:
            look = look.with_stick(stick_width)
        try:
            images = torch.empty(len(clip), height, width, 3)
        except RuntimeError as error:
            size = f"{len(clip)} images of {width}x{height} pixels need {len(clip) * width * height * 12 / 2**30:.0f} GiB of memory"
            raise PoseError(f"{size}, more than is available: choose a smaller width and height, or fewer frames") from error
        progress = host.FrameProgress(len(clip))
        for image, people in zip(images, clip.points, strict=True):
            placed = fit_points(people, (clip.width, clip.height), (width, height), fit)
            image.copy_(torch.from_numpy(draw_people(placed, width, height, look))).div_(255)
            progress.update(1)
        return io.NodeOutput(images)
