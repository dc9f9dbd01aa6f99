"""Any background behind the character: isolate it, put the animated one over another background, or keep the reference's own."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
from comfy_api.latest import io
from torch import Tensor

from ..animate_core.curves import over_frames
from ..animate_core.demo.paper import read_mask
from ..animate_core.pose.openpose import read_pose
from ..animate_core.video.clip import Scene, lock_background, over_background
from ..animate_core.video.composite import AFTER_END, CAMERA_MOVES, Staging
from ..animate_core.video.isolate import PLATES, isolate
from ..animate_core.video.matte import Matting
from ..animate_core.video.pictures import channels_first, covering
from . import host
from .sockets import FloatsSocket, check_images, floats, keypoints_input

CATEGORY = "Marionette/background"
AUTO = "auto"
AS_FRAMES, AS_BACKGROUND = "frames", "background"


def path_input(name: str, tooltip: str) -> io.MultiType.Input:
    """A number for the whole clip or a list over time, for `path_of`."""
    return io.MultiType.Input(name, [io.Float, FloatsSocket, io.String], optional=True, tooltip=tooltip)


def path_of(value: Any, name: str, low: float, high: float, frames: int) -> list[float]:
    """A number for each frame, from one or from a list. Raises ValueError."""
    numbers = floats(value, name)
    if not numbers or not all(low <= v <= high for v in numbers):
        raise ValueError(f"{name}: every number must be from {low:g} to {high:g}; got {list(numbers[:8])}")
    return over_frames(numbers, frames)


def read_plate(text: str) -> Tensor | None:
    """A colour `[3]` in [0, 1] of its hexadecimal form or its name; None for auto. Raises ValueError."""
    word = text.strip().lower()
    if word in ("", AUTO):
        return None
    if word in PLATES:
        return torch.tensor(PLATES[word]) / 255
    if not re.fullmatch(r"#?[0-9a-f]{6}", word):
        raise ValueError(f"plate: {text!r} is no colour; use {AUTO}, a colour such as #00b140, or one of: {', '.join(PLATES)}")
    return torch.tensor([int(word[-6:][i:i + 2], 16) for i in (0, 2, 4)]) / 255


def check_masks(masks: Any, name: str, frames: int, width: int, height: int) -> Tensor:
    """MASK `[F, h, w]` of a clip, or one for all of its frames. Raises ValueError for anything else."""
    if not isinstance(masks, Tensor) or masks.ndim not in (2, 3) or not masks.numel():
        raise ValueError(f"{name} must be a MASK [height, width] or [frames, height, width]")
    masks = masks.unsqueeze(0) if masks.ndim == 2 else masks
    if len(masks) not in (1, frames):
        raise ValueError(f"{name}: {len(masks)} masks for {frames} images; connect one mask per image, or one for all")
    if not all(torch.isfinite(part).all() for part in masks.split(8)):
        raise ValueError(f"{name}: it contains NaN or infinite values; fix the node that made it")
    if abs(masks.shape[2] / masks.shape[1] * height / width - 1) > 0.05:
        raise ValueError(f"{name}: {masks.shape[2]}x{masks.shape[1]} pixels do not have the shape of the images, {width}x{height}")
    return masks


def people_in(pose: Any, frames: int, width: int, height: int) -> list[np.ndarray] | None:
    """Skeletons `[P, 134, 3]` of each frame in the pixels of images of that size; None for no pose. Raises PoseError, ValueError."""
    if pose is None:
        return None
    clip = read_pose(pose, "pose")
    if len(clip) not in (1, frames):
        raise ValueError(f"pose: {len(clip)} frames for {frames} images; connect the keypoints of these images")
    points = clip.points * (width / clip.width, height / clip.height, 1)
    return [points[min(i, len(points) - 1)] for i in range(frames)]


class IsolateCharacter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionetteIsolateCharacter", display_name="Isolate Character", category=CATEGORY,
            description="Cuts out the character and puts it on a plate of one colour. Also gives its mask and the background without it. "
                        "Without a mask, the character is detected from the image and its skeleton.",
            search_aliases=["remove background", "segment", "matte", "mask", "green screen", "cut out", "clean plate", "inpaint background",
                            "grabcut"],
            inputs=[
                io.Image.Input("images", tooltip="The reference image. With a clip, each frame is isolated."),
                io.Combo.Input("plate", options=[AUTO, *PLATES], default=AUTO,
                               tooltip="Colour of the plate. auto: the one that is farthest from the character's own colours."),
                io.Float.Input("despill", default=1.0, min=0.0, max=1.0, step=0.05, advanced=True,
                               tooltip="How much of the old background's tint is removed from the character's edge."),
                io.Mask.Input("mask", optional=True,
                              tooltip="Mask of the character, from any mask node, or Load Image's mask of an image with transparency. A "
                                      "mask with a single value is ignored and the character is detected."),
                keypoints_input("pose", "Keypoints of the images. They make the detection more reliable if no mask is connected.", True),
            ],
            outputs=[
                io.Image.Output("images", display_name="IMAGE",
                                tooltip="The character on the plate. Connect to Encode Reference."),
                io.Mask.Output("mask", display_name="MASK", tooltip="Mask of the character, with soft edges."),
                io.Image.Output("background", display_name="background",
                                tooltip="The background without the character, filled in behind it. Connect to Background Lock or to "
                                        "Composite Over Background."),
                io.String.Output("plate", display_name="plate",
                                 tooltip="The colour of the plate. Connect to plate of Composite Over Background."),
            ],
        )

    @classmethod
    def execute(cls, images: Tensor, plate: str = AUTO, despill: float = 1.0, mask: Tensor | None = None,
                pose: Any = None) -> io.NodeOutput:
        images = check_images(images, "images")
        count, height, width = images.shape[:3]
        known = None
        if mask is not None and isinstance(mask, Tensor) and mask.numel() and (mask.max() - mask.min() >= 0.5):
            known = check_masks(mask, "mask", count, width, height)
        people = people_in(pose, count, width, height)
        colour = read_plate(plate)
        progress = host.FrameProgress(count)
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        for i in range(count):
            own = None
            if known is not None and (read := read_mask(known[min(i, len(known) - 1)].float().cpu().numpy(), height, width)):
                own = torch.from_numpy(np.array(read[0], np.float32))[None, None].clamp(0, 1).to(images.device)
            made = isolate(channels_first(images[i:i + 1]), own, None if people is None else people[i], colour, Matting(despill=despill))
            colour = made.plate
            found.append((made.picture, made.mask[:, 0], made.background))
            progress.update(1)
        pictures, mattes, backgrounds = (torch.cat(part) for part in zip(*found, strict=True))
        assert colour is not None
        name = "#" + "".join(f"{round(255 * float(part)):02x}" for part in colour)
        return io.NodeOutput(pictures.movedim(1, -1).contiguous(), mattes, backgrounds.movedim(1, -1).contiguous(), name)


class CompositeOverBackground(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionetteCompositeOverBackground", display_name="Composite Over Background", category=CATEGORY,
            description="Puts the animated character over any image or video. The matte comes from masks, or from the colour of the plate "
                        "behind the character.",
            search_aliases=["background", "composite", "chroma key", "green screen", "keyer", "replace background", "matte", "despill",
                            "shadow", "camera"],
            inputs=[
                io.Image.Input("images", tooltip="The clip: the character on a plate of one colour, or any clip if masks are connected."),
                io.Image.Input("background", tooltip="One image, or the frames of a video in any size. It is cropped to the shape of the "
                                                     "result."),
                io.Float.Input("x", default=0.0, min=-4.0, max=4.0, step=0.01,
                               tooltip="Moves the character to the right, as a fraction of the width. Accepts a list of floats over time."),
                io.Float.Input("y", default=0.0, min=-4.0, max=4.0, step=0.01,
                               tooltip="Moves the character down, as a fraction of the height. Accepts a list of floats over time."),
                io.Float.Input("scale", default=1.0, min=0.05, max=8.0, step=0.01,
                               tooltip="Height of the clip's frame as a fraction of the result's height; its lower edge stays at the "
                                       "bottom. Accepts a list of floats over time."),
                io.Combo.Input("size", options=[AS_FRAMES, AS_BACKGROUND], default=AS_FRAMES,
                               tooltip="Size of the result: that of the clip's frames or that of the background."),
                io.Float.Input("light", default=0.15, min=0.0, max=1.0, step=0.05,
                               tooltip="How much the character takes on the brightness and the colour of the background's light. 0: off."),
                io.Float.Input("shadow", default=0.4, min=0.0, max=1.0, step=0.05,
                               tooltip="Darkness of the contact shadow under the feet. 0: off. There is none if the feet are outside of "
                                       "the image."),
                io.Float.Input("fps", default=24.0, min=0.1, max=1000.0, step=0.01, advanced=True,
                               tooltip="Frames per second of the clip."),
                io.Float.Input("background_fps", default=24.0, min=0.1, max=1000.0, step=0.01, advanced=True,
                               tooltip="Frames per second of the background video. If it differs from fps, frames are repeated or skipped "
                                       "so that it plays at its own speed."),
                io.Combo.Input("after_end", options=list(AFTER_END), default=AFTER_END[0], advanced=True,
                               tooltip="What follows if the background video is shorter than the clip."),
                io.Combo.Input("camera_moves", options=list(CAMERA_MOVES), default=CAMERA_MOVES[0], advanced=True,
                               tooltip="What the camera path moves. scene: background and character. background only: the character stays "
                                       "in view while the background passes by."),
                io.Float.Input("steady", default=0.5, min=0.0, max=1.0, step=0.05, advanced=True,
                               tooltip="Less flicker of the matte: how much the neighbouring frames count where the image does not "
                                       "change. 0: each frame by itself."),
                io.Float.Input("despill", default=1.0, min=0.0, max=1.0, step=0.05, advanced=True,
                               tooltip="How much of the plate's tint is removed from the character's edge."),
                io.Float.Input("holes", default=0.06, min=0.0, max=5.0, step=0.01, advanced=True,
                               tooltip="Holes in the matte of up to this size are closed and specks of this size removed, in % of the "
                                       "image area."),
                io.Int.Input("grow", default=0, min=-64, max=64, advanced=True,
                             tooltip="Grows the matte by this many pixels; negative values shrink it."),
                io.Float.Input("soften", default=0.0, min=0.0, max=32.0, step=0.1, advanced=True,
                               tooltip="Blur of the matte's edge in pixels, in addition to its own softness."),
                io.String.Input("plate", default=AUTO, optional=True, advanced=True,
                                tooltip="Colour of the plate: auto, or the plate output of Isolate Character, or a colour such as "
                                        "#00b140. Not used if masks are connected."),
                io.Mask.Input("masks", optional=True,
                              tooltip="Masks of the character, one per frame or one for all. Hard edges are refined with the image."),
                path_input("camera_x", "Camera path from the left (-1) to the right edge (1) of the background: a number, a list of "
                                         "floats, or text such as: -1, 0.5. Fewer values than frames are spread over the clip. Without "
                                         "zoom, it needs a background that is wider than the result."),
                path_input("camera_y", "Camera path from the top (-1) to the bottom edge (1) of the background, as camera_x."),
                path_input("camera_zoom", "Zoom of the camera, 1 and more, as camera_x."),
            ],
            outputs=[
                io.Image.Output("frames", display_name="IMAGE",
                                tooltip="The character over the background. Connect to Create Video."),
                io.Mask.Output("masks", display_name="MASK", tooltip="The matte in each frame of the result."),
            ],
        )

    @classmethod
    def execute(cls, images: Tensor, background: Tensor, x: Any = 0.0, y: Any = 0.0, scale: Any = 1.0, size: str = AS_FRAMES,
                light: float = 0.15, shadow: float = 0.4, fps: float = 24.0, background_fps: float = 24.0, after_end: str = AFTER_END[0],
                camera_moves: str = CAMERA_MOVES[0], steady: float = 0.5, despill: float = 1.0, holes: float = 0.06, grow: int = 0,
                soften: float = 0.0, plate: str = AUTO, masks: Tensor | None = None, camera_x: Any = 0.0, camera_y: Any = 0.0,
                camera_zoom: Any = 1.0) -> io.NodeOutput:
        images, background = check_images(images, "images"), check_images(background, "background")
        count, height, width = images.shape[:3]
        known = None if masks is None else check_masks(masks, "masks", count, width, height)
        limits = (("x", x, -4, 4), ("y", y, -4, 4), ("scale", scale, 0.05, 8), ("camera_x", camera_x, -1, 1), ("camera_y", camera_y, -1, 1),
                  ("camera_zoom", camera_zoom, 1, 16))
        paths = [path_of(value, name, low, high, count) for name, value, low, high in limits]
        scene = Scene([Staging(*row) for row in zip(*paths, strict=True)], camera_moves, size == AS_BACKGROUND, background_fps / fps,
                      after_end, light, shadow, Matting(holes / 100, grow, soften, steady, despill))
        return io.NodeOutput(*over_background(images, background, scene, known, read_plate(plate), host.FrameProgress(2 * count).update))


class BackgroundLock(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionetteBackgroundLock", display_name="Background Lock", category=CATEGORY,
            description="Replaces everything except the person by the reference's own background, pixel for pixel, so that it does not "
                        "crawl or flicker.",
            search_aliases=["static background", "flicker", "freeze background", "stable background", "composite", "crawl", "clean plate"],
            inputs=[
                io.Image.Input("images", tooltip="The clip from VAE Decode."),
                io.Image.Input("background", tooltip="The background without the person, best from Isolate Character. It is cropped and "
                                                     "resized to the clip's frames. Several images: one per frame."),
                io.Float.Input("grow", default=2.0, min=0.0, max=50.0, step=0.1,
                               tooltip="How far around the person the clip stays as it is, in % of the frame height."),
                io.Float.Input("feather", default=2.0, min=0.0, max=50.0, step=0.1,
                               tooltip="Width of the transition beyond that, in % of the frame height. Outside of it every pixel is the "
                                       "background's."),
                io.Mask.Input("masks", optional=True,
                              tooltip="Masks of the person, one per frame or one for all. Not connected: the person is what differs from "
                                      "the background."),
                keypoints_input("pose", "Keypoints of the clip. Without masks, only what is near the skeleton counts as the person.", True),
            ],
            outputs=[
                io.Image.Output("frames", display_name="IMAGE", tooltip="The clip over the background. Connect to Create Video."),
                io.Mask.Output("masks", display_name="MASK", tooltip="How much of each frame was kept; 0 where it is the background."),
            ],
        )

    @classmethod
    def execute(cls, images: Tensor, background: Tensor, grow: float = 2.0, feather: float = 2.0, masks: Tensor | None = None,
                pose: Any = None) -> io.NodeOutput:
        images, background = check_images(images, "images"), check_images(background, "background")
        count, height, width = images.shape[:3]
        if len(background) not in (1, count):
            raise ValueError(f"background: {len(background)} images for {count} frames; connect one image, or one per frame")
        known = None if masks is None else check_masks(masks, "masks", count, width, height)
        people = people_in(pose, count, width, height)
        if background.shape[1:3] != images.shape[1:3]:
            background = torch.cat([covering(channels_first(part), width, height).movedim(1, -1) for part in background.split(8)])
        percent = height / 100
        return io.NodeOutput(*lock_background(images, background, grow * percent, feather * percent, known, people,
                                              host.FrameProgress(count).update))
