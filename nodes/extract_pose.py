"""Extract Pose: the keypoints of the people in a video. Load Pose Detector keeps its models loaded between runs, also on a GPU."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import folder_paths
import numpy as np
import torch
from comfy_api.latest import io
from torch import Tensor

from ..animate_core.model_files import DETECTOR, POSE_MODEL, where_to_get
from ..animate_core.pose.detector import GET_FILES, PROVIDER_CHOICES, DWPose, uses_gpu
from ..animate_core.pose.drawing import STYLES, draw_people
from ..animate_core.pose.keypoints import BODY, SCORE_THRESHOLD, PoseClip, stack_people
from ..animate_core.pose.openpose import write_pose
from ..animate_core.pose.people import PERSON_CHOICES, body_scores, choose_person, follow
from . import host
from .reference import to_pixels
from .sockets import BINARY, GRADED, POSE_CATEGORY, PoseDetectorSocket, PoseKeypointSocket, check_images, expect, scores_input

DWPOSE = "dwpose"
EVERYONE = "everyone"
MEDIAPIPE_TASK = "(comes with MediaPipe)"  # stands in saved graphs where scores is now
NOT_CONNECTED = "(not connected)"  # the host passes None for a connected input when it validates
NO_FILE = "(no .onnx file found)"
DETECTOR_FILE, POSE_FILE = "yolox_l.onnx", "dw-ll_ucoco_384.onnx"
DIMMED = 0.35  # brightness of the picture under the skeleton
GPU_MEMORY = 2 << 30  # for both models and a batch, with room to spare


def model_input(name: str, hints: Sequence[str], tooltip: str) -> io.Combo.Input:
    """An ONNX file; the first whose name holds the earliest hint is the default."""
    files = host.model_list(host.POSE_FOLDER)
    default = next((file for hint in hints for file in files if hint in os.path.basename(file).lower()), None)
    return io.Combo.Input(name, options=files or [NO_FILE], default=default, tooltip=tooltip)


def model_inputs() -> list[io.Combo.Input]:
    """DWPose's two files."""
    return [
        model_input("detector", ["yolox_l", "yolox"],
                    f"The model that finds people: {DETECTOR_FILE} from {GET_FILES}, "
                    f"in models/{host.MODEL_FOLDER} or models/detection. Any YOLOX with the same inputs and outputs works."),
        model_input("pose_model", ["dw-ll_ucoco_384", "dw-", "ucoco", "pose"],
                    f"The model that finds their keypoints: {POSE_FILE} from {GET_FILES}, in the same folder. "
                    "Any whole-body model with the same inputs and outputs works."),
    ]


def device_input(tooltip: str, advanced: bool) -> io.Combo.Input:
    return io.Combo.Input("device", options=list(PROVIDER_CHOICES), default=PROVIDER_CHOICES[0], advanced=advanced,
                          tooltip=f"The device to run on. auto: the best one that your onnxruntime supports; the log says which. {tooltip}")


def missing_files(detector: str | None, pose_model: str | None) -> str:
    """Which of the chosen files are missing, and where to get them; empty if none. A connected input (None) is not known yet."""
    return "; ".join(
        f"{name}: file {file!r} not found in models/{host.MODEL_FOLDER} or models/detection. {where_to_get(file, part)}"
        for name, file, part in (("detector", detector, DETECTOR), ("pose_model", pose_model, POSE_MODEL))
        if file is not None and folder_paths.get_full_path(host.POSE_FOLDER, file) is None)


def pose_path(name: str) -> str:
    return folder_paths.get_full_path_or_raise(host.POSE_FOLDER, name)


def open_dwpose(detector: str, pose_model: str, device: str) -> DWPose:
    """Loads both models after freeing GPU memory for them: onnxruntime allocates while loading and fails if there is none.

    Raises FileNotFoundError, with what to download.
    """
    if wrong := missing_files(detector, pose_model):
        raise FileNotFoundError(wrong)
    if uses_gpu(device):
        host.make_room(GPU_MEMORY)
    return DWPose(pose_path(detector), pose_path(pose_model), device)


def frame_ranges(frames: np.ndarray) -> str:
    """Frame numbers in words: "0-3, 7"."""
    runs = np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1)
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs if len(run))


def at_least(clip: PoseClip, threshold: float) -> PoseClip:
    """The clip without the points of a lower score."""
    return clip.of(np.where(clip.points[..., 2:] >= threshold, clip.points, 0))


def preview(images: Tensor, clip: PoseClip) -> Tensor:
    """The skeletons over the darkened frames: IMAGE."""
    radius = max(2, round(STYLES["OpenPose"].joint_radius * min(clip.width, clip.height) / 512))
    style = replace(STYLES["Moore"], feet=True, score_threshold=0).with_stick(radius)
    out = torch.empty(images.shape, dtype=torch.float32)
    for i, people in enumerate(clip.points):
        host.check_cancel()
        drawn = torch.from_numpy(np.ascontiguousarray(draw_people(people, clip.width, clip.height, style)))
        out[i] = torch.where(drawn.any(-1, keepdim=True), drawn / 255, images[i].to(out).clamp(0, 1) * DIMMED)
    return out


def report(head: str, person: str, threshold: float, found: np.ndarray, guessed: np.ndarray, clip: PoseClip) -> str:
    """A summary, then a line for each frame.

    found `[F]`: people detected; guessed `[F]`: the whole image was used as a person's box. clip: with the points below the threshold.
    """
    best = body_scores(clip).max(-1)
    seen = at_least(clip, threshold)
    points = seen.scores[..., BODY].astype(bool).sum(-1).max(-1)
    nobody = ~seen.present.any(-1)
    doubtful = ~nobody & (best < threshold)
    notes = {
        "nobody": (nobody, "nobody; Clean Pose fills such gaps"),
        "whole image": (guessed & ~nobody, "the detector found nobody; the whole image was used as the person's box"),
        "doubtful": (doubtful, f"doubtful: the mean score of the 18 body points is below {threshold:g}"),
        "several": (found > 1, "several people" + ("" if person == EVERYONE else f"; chosen: {person}")),
    }
    lines = [f"{head}: {len(clip)} frames of {clip.width}x{clip.height}, {int((~nobody & ~doubtful).sum())} with a clearly detected person"]
    for which, words in notes.values():
        if which.any():
            lines.append(f"{which.sum()} frame{'s' if which.sum() > 1 else ''}: {words} ({frame_ranges(np.flatnonzero(which))})")
    lines += ["", "frame: people found, mean body score, body points found"]
    for i in range(len(clip)):
        marks = [name for name, (which, _) in notes.items() if which[i] and name != "several"]
        lines.append(f"{i}: {found[i]}, {best[i]:.2f}, {points[i]} of 18" + (f" ({', '.join(marks)})" if marks else ""))
    return "\n".join(lines)


class LoadPoseDetector(io.ComfyNode):
    """Its output holds the loaded models; the host's cache keeps them as long as the inputs and the files stay the same."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionetteLoadPoseDetector", display_name="Load Pose Detector", category=POSE_CATEGORY,
            description="Loads DWPose's two files for Extract Pose and keeps them loaded between runs, also on a GPU. "
                        "They use its memory all that time.",
            search_aliases=["dwpose", "yolox", "onnx", "pose model", "pose estimation"],
            inputs=[
                *model_inputs(),
                device_input("On a GPU the models stay loaded between runs, with the memory that onnxruntime has taken "
                             "(ComfyUI frees 2 GB for them), and ComfyUI cannot unload them for other models. "
                             "On a small GPU choose cpu, or leave this node out. "
                             "Edit > Unload Models and Execution Cache frees them.", advanced=False),
            ],
            outputs=[PoseDetectorSocket.Output("pose_detector", display_name="POSE_DETECTOR", tooltip="Connect to Extract Pose.")],
        )

    @classmethod
    def validate_inputs(cls, detector: str | None = None, pose_model: str | None = None) -> bool | str:
        return missing_files(detector, pose_model) or True

    @classmethod
    def fingerprint_inputs(cls, detector: str, pose_model: str, **_: Any) -> Any:
        return host.file_stamp(pose_path(detector), pose_path(pose_model))

    @classmethod
    def execute(cls, detector: str, pose_model: str, device: str = "auto") -> io.NodeOutput:
        return io.NodeOutput(open_dwpose(detector, pose_model, device))


class ExtractPose(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MarionetteExtractPose", display_name="Extract Pose", category=POSE_CATEGORY,
            description="Finds the people in each frame of a video and their keypoints: body, hands, face and feet. "
                        "A frame without people does not stop the run; it is reported.",
            search_aliases=["dwpose", "openpose", "pose estimation", "pose detection", "keypoints", "skeleton", "yolox",
                            "preprocessor"],
            inputs=[
                io.Image.Input("images", tooltip="The frames of the driving video, or a single image such as the reference image."),
                # one choice is left; without the widget, the values in saved graphs would move to the next one
                io.Combo.Input("backend", options=[DWPOSE], default=DWPOSE, advanced=True,
                               tooltip="dwpose: uses the two files below and needs the Python package onnxruntime."),
                *model_inputs(),
                io.Combo.Input("person", options=[*PERSON_CHOICES, EVERYONE], default=PERSON_CHOICES[0],
                               tooltip="Which person to output. followed: the largest person at the start, tracked through the whole clip. "
                                       "largest, most central and best score choose frame by frame; "
                                       "best score is what the reference implementation does. "
                                       "everyone: all people, each at the same position in the list in every frame."),
                io.Float.Input("score_threshold", default=SCORE_THRESHOLD, min=0, max=1, step=0.05, advanced=True,
                               tooltip="Points with a lower score are left out. A person whose mean body score is lower is reported as "
                                       "doubtful, or left out if the detector found nobody in that frame."),
                device_input("The models are loaded for each run and their memory is freed afterwards. "
                             "Load Pose Detector keeps them loaded.", advanced=True),
                scores_input(),
                PoseDetectorSocket.Input("pose_detector", optional=True,
                                         tooltip="From Load Pose Detector, which keeps the models loaded between runs. "
                                                 "Replaces detector, pose_model and device."),
            ],
            outputs=[
                PoseKeypointSocket.Output("pose", display_name="POSE_KEYPOINT",
                                          tooltip="Keypoints in pixels. Connect to Clean Pose, Retarget Pose, Draw Pose or Encode Pose."),
                io.Image.Output("preview", display_name="preview", tooltip="The skeletons over the darkened frames."),
                io.String.Output("report", display_name="report",
                                 tooltip="What was found: a summary, then one line per frame. Show it with Preview as Text."),
            ],
        )

    @classmethod
    def validate_inputs(cls, backend: str | None = None, detector: str | None = None, pose_model: str | None = None,
                        scores: str | None = None, pose_detector: Any = NOT_CONNECTED) -> bool | str:
        # with the names here, the host leaves it to us to say what is wrong with their values
        if scores not in (None, BINARY, GRADED, MEDIAPIPE_TASK):
            return f"scores: {scores!r} is unknown; choose from: {BINARY}, {GRADED}"
        if pose_detector != NOT_CONNECTED:
            return True  # a connected input is not known yet; it names files of its own
        if backend not in (None, DWPOSE):
            gone = "MediaPipe is no longer supported" if backend == "mediapipe" else f"{backend!r} is unknown"
            return f"backend: {gone}; choose {DWPOSE}, or use another node's POSE_KEYPOINT"
        return missing_files(detector, pose_model) or True

    @classmethod
    def fingerprint_inputs(cls, detector: str, pose_model: str, pose_detector: Any = NOT_CONNECTED, **_: Any) -> Any:
        return host.file_stamp(pose_path(detector), pose_path(pose_model)) if pose_detector == NOT_CONNECTED else ()

    @classmethod
    def execute(cls, images: Tensor, backend: str, detector: str, pose_model: str, person: str, score_threshold: float = SCORE_THRESHOLD,
                device: str = "auto", scores: str = BINARY, pose_detector: Any = None) -> io.NodeOutput:
        images = check_images(images, "images")
        if pose_detector is None:
            model = open_dwpose(detector, pose_model, device)
        else:
            model = expect(pose_detector, DWPose, "pose_detector", "Connect Load Pose Detector")
        results = list(find(model, images, score_threshold))
        head = f"DWPose ({model.detector.name} on {model.detector.provider}, {model.pose.name} on {model.pose.provider})"
        guessed = np.array([guess for _, guess in results])
        found = np.where(guessed, 0, [len(people) for people, _ in results])
        clip = stack_people([people for people, _ in results], images.shape[2], images.shape[1])
        clip = follow(clip) if person == EVERYONE else choose_person(clip, person)
        kept = at_least(clip, score_threshold)
        return io.NodeOutput(write_pose(kept, scores != GRADED, threshold=0), preview(images, kept),
                             report(head, person, score_threshold, found, guessed, clip))


def find(model: DWPose, images: Tensor, threshold: float) -> Iterator[tuple[np.ndarray, bool]]:
    """Each frame's people `[P, 134, 3]`, and whether the whole image was used as a person's box."""
    progress = host.FrameProgress(len(images))
    step = model.frames_at_once
    for start in range(0, len(images), step):
        found = model.detect_frames(to_pixels(images[start:start + step]))
        yield from ((frame.sight(threshold), frame.whole_image) for frame in found)
        progress.update(len(found))
