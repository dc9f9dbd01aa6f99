"""Crop Part and Paste Part: a face, a hand or the whole figure sampled again, larger, and put back."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from comfy_api.latest import io
from torch import Tensor

from ..animate_core.pose.keypoints import PoseClip
from ..animate_core.pose.openpose import read_pose, write_pose
from ..animate_core.pose.people import PERSON_CHOICES, choose_person
from ..animate_core.video.crops import PARTS, Placement, crop, paste, place_part
from . import host
from .sockets import PlacementSocket, PoseKeypointSocket, check_images, check_size, expect, keypoints_input

log = logging.getLogger(__name__)

CATEGORY = "Marionette/video"
ANOTHER_SHAPE = 0.05  # difference in aspect ratio above which keypoints do not belong to a picture


def check_canvas(clip: PoseClip, images: Tensor, pose_name: str, image_name: str) -> None:
    """Raises ValueError for keypoints on a canvas of another shape than the images."""
    height, width = images.shape[1:3]
    if abs(clip.width * height / (clip.height * width) - 1) > ANOTHER_SHAPE:
        raise ValueError(f"{pose_name}: its canvas has {clip.width}x{clip.height} pixels, which is not the shape of {image_name}, "
                         f"{width}x{height}; connect the keypoints that belong to {image_name}")


def report_of(placement: Placement, part: str) -> str:
    """What is cropped, what is left out, and what sampling the crops takes."""
    count, total = int((placement.opacity > 0).sum()), placement.total
    if not count:
        why = f"it is large enough in all {placement.found} frames that show it" if placement.found else "no frame shows it"
        return f"{part}: nothing to do, {why}; Paste Part changes nothing"
    zoom = placement.zoom
    lines = [f"{part}: {count} of {total} frames cropped, enlarged {zoom.min():.1f} to {zoom.max():.1f} times to "
             f"{placement.crop_width}x{placement.crop_height}"]
    if total > count:
        lines.append(f"left as they are: {placement.found - count} frames where it is large enough, {total - placement.found} that do not "
                     "show it")
    share = count * placement.crop_width * placement.crop_height / (total * placement.width * placement.height)
    lines.append(f"cost: {count} frames, {share:.2f} times the pixels of the clip, in each step")
    return "\n".join(lines)


class CropPart(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionetteCropPart", display_name="Crop Part", category=CATEGORY,
            description="Cuts a face, a hand or the figure out of a clip and enlarges it, with its keypoints and the same part of the "
                        "reference image, to sample it again in more detail. Paste Part puts it back.",
            search_aliases=["face detailer", "face fix", "hand detailer", "hand fix", "face crop", "inpaint crop", "adetailer", "detail",
                            "restore face", "zoom", "small figure"],
            inputs=[
                io.Image.Input("frames", tooltip="The clip from VAE Decode, also after an upscaler. Upscale it first to see all the "
                                                 "detail that the crops gain."),
                keypoints_input("pose", "The keypoints that the clip was sampled with, one per frame."),
                io.Image.Input("reference", tooltip="The reference image, best at its full size. From a batch, the first image is used."),
                keypoints_input("reference_pose", "Keypoints of the reference image, from Extract Pose or Edit Pose. "
                                                  "From several frames, the first one with a person is used."),
                io.Combo.Input("part", options=list(PARTS), default="face",
                               tooltip="What to cut out. figure: the whole body, for figures that are small in the image. "
                                       "For several parts use one pair of Crop Part and Paste Part after the other."),
                io.Int.Input("width", default=512, min=64, max=2048, step=8,
                             tooltip="Width of the crops in pixels, a multiple of 8. Use the same size in Encode Reference and Encode "
                                     "Pose."),
                io.Int.Input("height", default=512, min=64, max=2048, step=8,
                             tooltip="Height of the crops in pixels, a multiple of 8. Use the same size in Encode Reference and Encode "
                                     "Pose."),
                io.Float.Input("margin", default=1.5, min=1.0, max=5.0, step=0.05,
                               tooltip="Size of the crop compared with the part. Models trained on whole bodies work better with some "
                                       "of the body in view: 2 or more for a face."),
                io.Float.Input("min_zoom", default=1.25, min=0.0, max=8.0, step=0.05,
                               tooltip="Frames in which the crop is enlarged less than this are left as they are: the part is large "
                                       "enough there. After an upscaler, which enlarges without detail, set it to about 0.5."),
                io.Int.Input("smooth", default=6, min=0, max=100, advanced=True,
                             tooltip="Frames on each side over which position and size of the crop are smoothed. 0: off."),
                io.Combo.Input("person", options=list(PERSON_CHOICES), default=PERSON_CHOICES[0], advanced=True,
                               tooltip="Which person to use if the poses contain several."),
            ],
            outputs=[
                io.Image.Output("crops", display_name="crops",
                                tooltip="The enlarged part, one image per cropped frame. Connect to VAE Encode and sample with denoise "
                                        "below 1."),
                PoseKeypointSocket.Output("crop_pose", display_name="POSE_KEYPOINT",
                                          tooltip="The keypoints of the crops. Connect to Encode Pose, which draws them anew."),
                io.Image.Output("crop_reference", display_name="reference",
                                tooltip="The same part of the reference image. Connect to Encode Reference."),
                PlacementSocket.Output("placement", display_name="PLACEMENT", tooltip="Where the crops lie. Connect to Paste Part."),
                io.String.Output("report", display_name="report", tooltip="Which frames are cropped, how much they are enlarged, what it "
                                                                          "costs. Show it with Preview as Text."),
            ],
        )

    @classmethod
    def execute(cls, frames: Tensor, pose: Any, reference: Tensor, reference_pose: Any, part: str, width: int, height: int,
                margin: float = 1.5, min_zoom: float = 1.25, smooth: int = 6, person: str = PERSON_CHOICES[0]) -> io.NodeOutput:
        check_size(width, height)
        frames, reference = check_images(frames, "frames"), check_images(reference, "reference")[:1]
        clip, own = read_pose(pose, "pose"), choose_person(read_pose(reference_pose, "reference_pose"), "largest")
        if len(clip) < len(frames):
            raise ValueError(f"pose: it has {len(clip)} frames and the clip {len(frames)}; connect the keypoints that the clip was sampled "
                             "with")
        clip = choose_person(clip.of(clip.points[:len(frames)]), person)
        check_canvas(clip, frames, "pose", "frames")
        check_canvas(own, reference, "reference_pose", "reference")
        there = np.flatnonzero(own.present[:, 0])[:1]
        own = own.of(own.points[there if len(there) else [0]])
        in_reference = place_part(own, part, reference.shape[2], reference.shape[1], width, height, margin=margin, least_zoom=0)
        if not in_reference.found:
            raise ValueError(f"reference_pose: it has no points of the {part}; add them in Edit Pose, or choose another part")
        placement = place_part(clip, part, frames.shape[2], frames.shape[1], width, height, margin=margin, smooth=smooth,
                               least_zoom=min_zoom)
        report = report_of(placement, part)
        log.info("%s", report.replace("\n", "; "))
        progress = host.FrameProgress(len(placement.frames))
        crops = crop(frames, placement, lambda: progress.update(1))
        return io.NodeOutput(crops, write_pose(placement.of_pose(clip)), crop(reference, in_reference), placement, report)


class PastePart(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionettePastePart", display_name="Paste Part", category=CATEGORY,
            description="Puts the crops of Crop Part, sampled again, back into their frames with a soft edge.",
            search_aliases=["face detailer", "uncrop", "stitch", "composite", "paste back", "feather", "inpaint stitch"],
            inputs=[
                io.Image.Input("frames", tooltip="The clip that was connected to Crop Part. It may be upscaled since."),
                io.Image.Input("crops", tooltip="The crops after sampling, from VAE Decode. An upscaler can be in between."),
                PlacementSocket.Input("placement", tooltip="From Crop Part."),
                io.Float.Input("feather", default=0.25, min=0.0, max=1.0, step=0.05,
                               tooltip="Width of the soft edge, as a fraction of half the crop's shorter side. 0: a hard edge. "
                                       "At the border of the frame nothing is feathered."),
            ],
            outputs=[io.Image.Output("frames", display_name="IMAGE", tooltip="The clip with the parts in their places.")],
        )

    @classmethod
    def execute(cls, frames: Tensor, crops: Tensor, placement: Any, feather: float = 0.25) -> io.NodeOutput:
        place = expect(placement, Placement, "placement", "Use Crop Part.")
        frames, crops = check_images(frames, "frames"), check_images(crops, "crops")
        for images, count, name in ((frames, place.total, "frames"), (crops, len(place.frames), "crops")):
            if len(images) != count:
                raise ValueError(f"{name}: Crop Part had {count} of them, here are {len(images)}; connect the same clip")
        for images, width, height, name in ((frames, place.width, place.height, "frames"),
                                            (crops, place.crop_width, place.crop_height, "crops")):
            if abs(images.shape[2] * height / (images.shape[1] * width) - 1) > ANOTHER_SHAPE:
                raise ValueError(f"{name}: they have {images.shape[2]}x{images.shape[1]} pixels, which is not the shape of Crop Part's "
                                 f"{name}, {width}x{height}")
        progress = host.FrameProgress(len(crops))
        return io.NodeOutput(paste(frames, crops, place, feather, lambda: progress.update(1)))
