"""Encode Pose: skeletons to pose features, once per clip. Pose Moves: ready-made motions as keypoints."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from comfy_api.latest import io
from PIL import Image
from torch import Tensor

from ..animate_core.demo.character import LAST_SEED
from ..animate_core.families import FAMILIES, FamilyPreset, family_preset
from ..animate_core.memory import pose_bytes
from ..animate_core.pose.face_mesh import faces_of_pose, mesh_pictures, read_face_landmarks
from ..animate_core.pose.guidance import guidance_pictures
from ..animate_core.pose.landmarks import face_pictures
from ..animate_core.pose.moves import MOVES, move_clip
from ..animate_core.pose.openpose import read_pose, write_pose
from ..animate_core.pose.style import Look, complaints, face_complaints, look_of, preset_look, telling_frames
from ..animate_core.pose_guider import POSES_AT_ONCE
from ..animate_core.preprocess import Fit, fit_image, pose_picture
from . import host
from .guidance import Pictures, encode_pictures
from .host_model import AnimateModel
from .loaders import AUTO
from .reference import CATEGORY, fit_input, size_inputs, to_picture, to_pixels
from .sockets import (
    POSE_CATEGORY,
    FaceLandmarksSocket,
    Pose,
    PoseGuider,
    PoseGuiderSocket,
    PoseKeypointSocket,
    PoseSocket,
    check_images,
    check_size,
    expect,
    keypoints_input,
)

log = logging.getLogger(__name__)

BATCH, STORED = "batch (published)", "stored"
FEATURES, PICTURES = "features", "pictures"
FEATURES_KEPT = 512 << 20  # bytes up to which features are kept, which saves computing them again in every step


def known_preset(family: str, model: Any, guider: PoseGuider) -> FamilyPreset | None:
    """The family whose skeletons are needed: as chosen, else the MODEL's, else the pose guider's; None if none of them is known."""
    if family != AUTO:
        return family_preset(family)
    if model is not None:
        return expect(model.model, AnimateModel, "model", "Use Load Motion UNet or Load Animate Anyone.").preset
    return family_preset(guider.family) if guider.family else None


def look_at(images: Tensor, preset: FamilyPreset | None) -> Look | None:
    """The look of the images, for the sampler to compare with its MODEL; None if compared here, with a warning."""
    look = look_of(to_pixels(images[telling_frames(len(images))]))
    if preset is None:
        return look
    for complaint in complaints(look, preset):
        log.warning("images: %s; the result may be poor. Keypoints (pose_keypoint) are always drawn in the model's style", complaint)
    return None


def check_guider(guider: PoseGuider, preset: FamilyPreset | None) -> None:
    """Raises ValueError for a guider that is not of the family's kind, or an incomplete set."""
    if guider.family == "Champ":
        raise ValueError(f"pose_guider: {guider.source} is a guidance encoder of Champ; use Encode Guidance")
    special = guider.family and family_preset(guider.family).content != "skeleton"
    name = preset.name if preset else guider.family
    if (special or (preset and preset.content != "skeleton")) and guider.family != name:
        what = f"belongs to {guider.family}" if guider.family else "belongs to a body model"
        wanted = " and ".join(family_preset(name).guiders)
        raise ValueError(f"pose_guider: {guider.source} {what}, but the family is {name}, which needs {wanted}; load the guiders of the "
                         "same model as the MODEL")


def told_of(lacking: list[int], frames: int, name: str) -> None:
    """Warns of frames without a face."""
    if lacking:
        log.warning("%s: no face found in %d of %d frames (the first is %d); a black image is used for them", name, len(lacking), frames,
                    lacking[0])


def check_face_pictures(images: Tensor, name: str) -> None:
    """Warns of images that do not look like face points or lines on black."""
    look = look_of(to_pixels(images[telling_frames(len(images))]))
    for complaint in face_complaints(look):
        log.warning("%s: %s; the result may be poor", name, complaint)


def face_sources(images: Any, mouth_images: Any, pose_keypoint: Any, width: int, height: int,
                 fit: Fit) -> tuple[dict[str, Pictures], int]:
    """What both guiders of face reenactment are given, and the number of frames."""
    names = FAMILIES["Moore face"].guiders
    if images is None:
        clip = read_pose(pose_keypoint, "pose_keypoint")
        told_of(faces_of_pose(clip).lacking, len(clip), "pose_keypoint")
        return {name: partial(face_pictures, clip, part, width, height, fit) for part, name in enumerate(names)}, len(clip)
    if mouth_images is None:
        raise ValueError("mouth_images: face reenactment needs two images per frame, one of the face points and one of the mouth points; "
                         "connect both images and mouth_images, or pose_keypoint")
    both = [check_images(images, "images"), check_images(mouth_images, "mouth_images")]
    if len(both[0]) != len(both[1]):
        raise ValueError(f"mouth_images has {len(both[1])} frames and images {len(both[0])}; connect one mouth image per image")
    for name, batch in zip(("images", "mouth_images"), both, strict=True):
        check_face_pictures(batch, name)
    return {name: partial(map, to_picture, batch) for name, batch in zip(names, both, strict=True)}, len(both[0])


def mesh_source(images: Any, pose_keypoint: Any, face_landmarks: Any, width: int, height: int,
                fit: Fit) -> tuple[Iterator[Image.Image], int]:
    """AniPortrait's pictures and their number."""
    if images is not None:
        images = check_images(images, "images")
        check_face_pictures(images, "images")
        return map(to_picture, images), len(images)
    if face_landmarks is not None:
        clip, name = read_face_landmarks(face_landmarks, "face_landmarks"), "face_landmarks"
    else:
        clip, name = faces_of_pose(read_pose(pose_keypoint, "pose_keypoint")), "pose_keypoint"
        log.info("pose_keypoint: drawn from the 68 face points; the model was trained on MediaPipe's face mesh (face_landmarks)")
    told_of(clip.lacking, len(clip), name)
    return mesh_pictures(clip, width, height, fit), len(clip)


def kept_pictures(pictures: Iterator[Image.Image], frames: int, width: int, height: int, fit: Fit, preset: FamilyPreset) -> Tensor:
    """Pictures of the clip's size `[F, height, width, 3]` uint8. Shows progress."""
    resample = Image.Resampling[preset.picture_resample]
    kept = torch.empty(frames, height, width, 3, dtype=torch.uint8, device=host.output_device())
    progress = host.FrameProgress(frames)
    for place, picture in zip(kept, pictures, strict=True):
        place.copy_(torch.from_numpy(np.array(fit_image(picture, width, height, fit, resample))))
        progress.update(1)
    return kept


def what_to_keep(guider: PoseGuider, frames: int, width: int, height: int) -> str:
    """Of a long clip whatever is smaller: of the published models the pictures, a third of the features."""
    features = guider.out_channels * guider.dtype.itemsize * width * height // 64
    return PICTURES if frames * features > FEATURES_KEPT and 3 * width * height < features else FEATURES


def in_parts(pictures: Iterator[Image.Image], frames: int, width: int, height: int, fit: Fit) -> Iterator[tuple[slice, Tensor]]:
    """Some frames at a time `[n, height, width, 3]` uint8, with their place in the clip. Shows progress; raises if the user cancelled."""
    progress = host.FrameProgress(frames)
    for start in range(0, frames, POSES_AT_ONCE):
        part = torch.stack([pose_picture(picture, width, height, fit) for picture in islice(pictures, POSES_AT_ONCE)])
        yield slice(start, start + len(part)), part
        progress.update(len(part))


class EncodePose(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionetteEncodePose", display_name="Encode Pose", category=CATEGORY,
            description="Turns a clip of skeletons into pose features for the motion UNet. One pose gives one frame. "
                        "Connect keypoints, which are drawn in the style that the model was trained on, or skeleton images. "
                        "Also for AniPortrait and Moore's face reenactment; for Champ use Encode Guidance.",
            search_aliases=["face reenactment", "aniportrait", "pose video", "skeleton", "dwpose", "openpose", "pose guider",
                            "animate anyone", "pose keypoint"],
            inputs=[
                PoseGuiderSocket.Input("pose_guider", tooltip="From Load Pose Guider, Load Animate Anyone or Load Demo Model."),
                io.Image.Input("images", optional=True,
                               tooltip="Skeleton images on black, one per frame. For Moore's weights: DWPose with face, RGB colours. "
                                       "For MusePose: without face, red and blue swapped. Connect either images or pose_keypoint."),
                *size_inputs(),
                fit_input("the pose clip"),
                keypoints_input("pose_keypoint", "Instead of images: keypoints from Retarget Pose, Extract Pose, Pose Moves or others. "
                                                 "They are drawn in the style of the model family.", optional=True),
                io.Model.Input("model", optional=True,
                               tooltip="Tells family auto which style to use. "
                                       "Not needed with Load Animate Anyone or Load Demo Model: their pose guider knows its family."),
                io.Combo.Input("family", options=[AUTO, *FAMILIES], default=AUTO, optional=True, advanced=True,
                               tooltip="The model family whose style is used to draw keypoints and to check images. "
                                       "auto: the family of the MODEL, else of the pose guider, else Moore."),
                io.Image.Input("mouth_images", optional=True,
                               tooltip="Only for Moore's face reenactment with images: the images of the mouth points, while images holds "
                                       "the face points. With pose_keypoint both are drawn for you."),
                FaceLandmarksSocket.Input("face_landmarks", optional=True,
                                          tooltip="Only for AniPortrait, instead of images: MediaPipe's face mesh, "
                                                  "from ComfyUI's Detect Face Landmarks (MediaPipe)."),
                io.Combo.Input("statistics", options=[BATCH, STORED], default=BATCH, optional=True, advanced=True,
                               tooltip="Only for AniPortrait: the statistics of its normalisation layers. "
                                       "batch: from each window, as published. "
                                       "stored: from the file, frame by frame, with the value range of training; not a published setting."),
                io.Combo.Input("keep", options=[AUTO, FEATURES, PICTURES], default=AUTO, optional=True, advanced=True,
                               tooltip="What is stored for the clip. features: ready pose features, 3.9 MB per frame at 512x768 in fp16. "
                                       "pictures: skeleton images, 1.2 MB per frame; features are computed again in every step, "
                                       "which adds 0.6% of its work. auto: features up to 512 MB, then whichever is smaller."),
            ],
            outputs=[PoseSocket.Output("pose", display_name="POSE", tooltip="Connect to Multi-Frame Sampler or Animate Conditioning.")],
        )

    @classmethod
    def execute(cls, pose_guider: Any, width: int, height: int, images: Any = None, fit: Fit = "crop", pose_keypoint: Any = None,
                model: Any = None, family: str = AUTO, keep: str = AUTO, mouth_images: Any = None, face_landmarks: Any = None,
                statistics: str = BATCH) -> io.NodeOutput:
        guider = expect(pose_guider, PoseGuider, "pose_guider", "Use Load Pose Guider.")
        check_size(width, height)
        given = [name for name, value in (("images", images), ("pose_keypoint", pose_keypoint), ("face_landmarks", face_landmarks))
                 if value is not None]
        if len(given) != 1:
            raise ValueError(f"images: connect either images or pose_keypoint{', not both' if given else ''}"
                             f"{' (or only face_landmarks)' if 'face_landmarks' in given else ''}")
        preset = known_preset(family, model, guider)
        check_guider(guider, preset)
        content = preset.content if preset else "skeleton"
        if face_landmarks is not None and content != "face mesh":
            raise ValueError("face_landmarks: only for AniPortrait; "
                             f"{preset.name if preset else 'this pose guider'} needs {content} images: connect images or pose_keypoint")
        if mouth_images is not None and (content != "face points" or images is None):
            raise ValueError("mouth_images: only for Moore's face reenactment, together with images of the face points; disconnect it")
        if content == "face points" and preset is not None:
            sources, frames = face_sources(images, mouth_images, pose_keypoint, width, height, fit)
            features = encode_pictures(guider.parts(), sources, frames, width, height, fit, preset)
            return io.NodeOutput(Pose(features, None, guider.out_channels, width, height, guider.source, None, preset.name))
        if content == "face mesh" and preset is not None:
            pictures, frames = mesh_source(images, pose_keypoint, face_landmarks, width, height, fit)
            if frames == 1 and max(width, height) <= 64 and statistics == BATCH:
                raise ValueError(f"width: a single frame of {width}x{height} is too small for batch statistics; use more than 64 pixels, "
                                 "several frames, or statistics 'stored'")
            drawn = kept_pictures(pictures, frames, width, height, fit, preset)
            return io.NodeOutput(Pose(drawn, guider, guider.out_channels, width, height, guider.source, None, preset.name,
                                      statistics != BATCH))
        look: Look | None
        if pose_keypoint is None:
            images = check_images(images, "images")
            look, frames = look_at(images, preset), len(images)
            pictures = map(to_picture, images)
        else:
            clip = read_pose(pose_keypoint, "pose_keypoint")
            if preset is None:
                preset = family_preset("Moore")
                log.info("family auto: skeletons are drawn for Moore; for other families connect model or choose the family")
            look, frames = preset_look(preset), len(clip)
            pictures = guidance_pictures(clip, preset, width, height, fit)
        if keep == AUTO:
            keep = what_to_keep(guider, frames, width, height)
        parts = in_parts(pictures, frames, width, height, fit)
        if keep == PICTURES:
            kept = torch.empty(frames, height, width, 3, dtype=torch.uint8, device=host.output_device())
            for place, part in parts:
                kept[place] = part
        else:
            kept = torch.empty(frames, guider.out_channels, height // 8, width // 8, dtype=guider.dtype, device=host.output_device())
            memory = pose_bytes(width, height, POSES_AT_ONCE, guider.dtype.itemsize, guider.patcher.model.conv_in.out_channels)
            with host.on_device(guider.patcher, memory) as device:
                for place, part in parts:
                    kept[place] = guider.patcher.model.encode(part.to(device), guider.dtype)
        return io.NodeOutput(Pose(kept, guider if keep == PICTURES else None, guider.out_channels, width, height, guider.source, look))


class PoseMoves(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionettePoseMoves", display_name="Pose Moves", category=POSE_CATEGORY,
            description="Ready-made motions as looping keypoints, to start without a driving video: walk, wave, dance and more. "
                        "Connect it to Retarget Pose to fit it to your reference image.",
            search_aliases=["walk", "dance", "wave", "motion library", "pose library", "preset", "driving video", "animation loop"],
            inputs=[
                io.Combo.Input("motion", options=list(MOVES), default="dance", tooltip="What the figure does."),
                io.Int.Input("seed", default=0, min=0, max=LAST_SEED, control_after_generate=io.ControlAfterGenerate.fixed,
                             tooltip="Varies the style of the motion: its width, the arm used, the beat."),
                io.Int.Input("frames", default=24, min=0, max=4096,
                             tooltip="Length of the clip in frames. 0: one period, a seamless loop."),
                io.Float.Input("period", default=24.0, min=4, max=1000, step=1,
                               tooltip="Number of frames after which the motion repeats; larger is slower. Whole numbers loop exactly."),
                io.Int.Input("width", default=512, min=64, max=4096, step=8, tooltip="Width of the canvas in pixels."),
                io.Int.Input("height", default=768, min=64, max=4096, step=8, tooltip="Height of the canvas in pixels."),
                io.Float.Input("size", default=0.72, min=0.05, max=1.0, step=0.01,
                               tooltip="Height of the figure as a fraction of the canvas height. "
                                       "Retarget Pose adapts it to your reference image anyway."),
            ],
            outputs=[PoseKeypointSocket.Output("pose", display_name="POSE_KEYPOINT",
                                               tooltip="One person's body from the front. "
                                                       "Connect to Retarget Pose, Draw Pose or Encode Pose.")],
        )

    @classmethod
    def execute(cls, motion: str, seed: int, frames: int, period: float, width: int, height: int, size: float = 0.72) -> io.NodeOutput:
        return io.NodeOutput(write_pose(move_clip(motion, frames, seed=seed, period=period, width=width, height=height, size=size)))
