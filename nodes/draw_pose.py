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
                          tooltip=f"Whether to draw the {part}. style: as the style has it.{extra}")


def picture_size(width: int, height: int, canvas: tuple[int, int]) -> tuple[int, int]:
    """The sides that are 0 from the canvas: both as they are, one by its proportion. Raises PoseError for a size that is not drawn."""
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
            description="Draws keypoints as skeleton pictures, pixel for pixel as the published models saw them in training. Everyone in a "
                        "frame is drawn; a frame with nobody is black.",
            search_aliases=["skeleton", "openpose", "dwpose", "render pose", "draw keypoints", "pose to image", "controlnet"],
            inputs=[
                keypoints_input("pose", "Keypoints from Retarget Pose, Extract Pose, Load Pose or any node that gives POSE_KEYPOINT."),
                io.Combo.Input("style", options=[*STYLES, *FACE_STYLES], default="Moore",
                               tooltip="Moore: body, hands and face, RGB. MusePose: no face, limbs thicker the longer they are, red and "
                                       "blue exchanged. OpenPose: body and hands, RGB, one person on top of the other, for ControlNets. "
                                       "A model takes the style that it was trained on. AniPortrait, and Moore face with its mouth: the "
                                       "face alone, for these models; the settings of parts and sticks have no effect."),
                io.Int.Input("width", default=0, min=0, max=LARGEST_SIDE, step=8,
                             tooltip="Width of the pictures in pixels. 0: the canvas's, or by its proportion if a height is given."),
                io.Int.Input("height", default=0, min=0, max=LARGEST_SIDE, step=8,
                             tooltip="Height of the pictures in pixels. 0: the canvas's, or by its proportion if a width is given."),
                fit_input("the poses' canvas"),
                part_input("body"),
                part_input("hands"),
                part_input("face"),
                part_input("feet", " No style draws them of itself: six discs."),
                io.Float.Input("stick_width", default=0.0, min=0.0, max=LARGEST_STICK, step=0.5, advanced=True,
                               tooltip="Radius of the joints in pixels; limbs, hands and face go along in proportion. 0: the style's own, "
                                       "which is 4 at every size. At a width of 1024 pixels, 8 looks as 4 does at 512."),
                io.Float.Input("score_threshold", default=SCORE_THRESHOLD, min=0.0, max=1.0, step=0.01, advanced=True,
                               tooltip="Points of a lower score are left out. 0 draws all that are there."),
            ],
            outputs=[io.Image.Output("images", display_name="images", tooltip="Skeletons on black, a frame each: for Encode Pose, or a "
                                                                              "ControlNet.")],
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
            size = f"{len(clip)} pictures of {width}x{height} pixels take {len(clip) * width * height * 12 / 2**30:.0f} GiB"
            raise PoseError(f"{size}, more than is to be had: choose a smaller width and height, or fewer frames") from error
        progress = host.FrameProgress(len(clip))
        for image, people in zip(images, clip.points, strict=True):
            placed = fit_points(people, (clip.width, clip.height), (width, height), fit)
            image.copy_(torch.from_numpy(draw_people(placed, width, height, look))).div_(255)
            progress.update(1)
        return io.NodeOutput(images)
