"""MediaPipe's landmarks as this pack's points: a second detector, for those who have MediaPipe installed.

Releases up to 0.10.2x carry their models with them (`mediapipe.solutions`). Later ones read a .task file: a holistic landmarker (one person
with hands and face) or a pose landmarker (several people, bodies alone).
"""

from __future__ import annotations

import importlib
import logging
import os
from typing import Any

import numpy as np

from .detector import WHOLEBODY
from .keypoints import NUM_POINTS, PoseError, from_wholebody

Array = np.ndarray

log = logging.getLogger(__name__)

GET_TASK = "holistic_landmarker.task from storage.googleapis.com/mediapipe-models (see MediaPipe's Holistic Landmarker page)"
MAX_PEOPLE = 8
POSE_LANDMARKS, HAND_LANDMARKS, FACE_LANDMARKS = 33, 21, 468  # 478 with irises

# COCO-WholeBody's points by MediaPipe's numbers. Body: nose, then left and right eye, ear, shoulder, elbow, wrist, hip, knee, ankle.
BODY_SOURCE = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
# COCO-WholeBody index -> foot index and heel; small toes have no landmark
FEET_SOURCE = {17: 31, 19: 29, 20: 32, 22: 30}
# The 68 points of iBUG: jaw from the person's right ear round the chin, brows, nose, eyes, outer and inner lips
FACE_SOURCE = (
    127, 234, 93, 132, 58, 136, 150, 176, 152, 400, 379, 365, 288, 361, 323, 454, 356,
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,
    168, 197, 5, 1, 98, 97, 2, 326, 327,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 81, 13, 311, 308, 402, 14, 178)


def from_mediapipe(pose: Array | None, left_hand: Array | None, right_hand: Array | None, face: Array | None, width: int,
                   height: int) -> Array:
    """One person's points `[134, 3]` (x, y in pixels, score) of MediaPipe's landmarks.

    pose `[33, 3]`: x and y in 0..1 of the picture, visibility. left_hand, right_hand `[21, 3]`, face `[468 or 478, 3]` alike; None for what
    was not found. The neck is the middle of the shoulders.
    """
    raw = np.zeros((WHOLEBODY, 3), np.float32)
    if pose is not None:
        raw[:17] = pose[list(BODY_SOURCE)]
        raw[list(FEET_SOURCE)] = pose[list(FEET_SOURCE.values())]
    if face is not None:
        raw[23:91] = face[list(FACE_SOURCE)]
    if left_hand is not None:
        raw[91:112] = left_hand
    if right_hand is not None:
        raw[112:] = right_hand
    raw[:, :2] *= (width, height)
    return from_wholebody(raw)


def landmarks(value: Any, count: int, graded: bool = False) -> Array | None:
    """One set of MediaPipe's landmarks, in any release's wrapping, as `[N, 3]`: x, y, visibility where it is graded, else 1.

    None if there are fewer than `count`.
    """
    value = getattr(value, "landmark", value)
    if not value or len(value) < count:
        return None
    points = [(p.x, p.y, p.visibility if graded and p.visibility is not None else 1.0) for p in value]
    return np.array(points, np.float32)


def import_mediapipe() -> Any:
    """mediapipe. Raises PoseError that says what to install."""
    try:
        return importlib.import_module("mediapipe")
    except ImportError as error:
        raise PoseError(f"backend: MediaPipe is not there ({error}). Install it into ComfyUI's Python: pip install mediapipe; or choose "
                        "the backend dwpose") from error


class MediaPipePose:
    """Finds people's points with MediaPipe; close it after use.

    task_path: a .task file, which releases without models of their own need; None for the others.
    Raises PoseError without MediaPipe, without a file where one is needed, or for a file that is something else.
    """

    def __init__(self, task_path: str | None = None) -> None:
        self.mediapipe = import_mediapipe()
        self.holistic = True
        if task_path is not None:
            self.landmarker = self.open_task(task_path)
        elif hasattr(self.mediapipe, "solutions"):
            # 1 is the model that comes with the package; the others would be downloaded
            holistic = self.mediapipe.solutions.holistic
            self.landmarker = holistic.Holistic(static_image_mode=False, model_complexity=1, smooth_landmarks=False)
        else:
            raise PoseError(f"mediapipe_task: MediaPipe {self.mediapipe.__version__} brings no models. Choose a .task file: {GET_TASK}")
        self.from_task = task_path is not None

    def open_task(self, path: str) -> Any:
        if not os.path.isfile(path):
            raise PoseError(f"{path}: there is no such file")
        vision, base = self.mediapipe.tasks.vision, self.mediapipe.tasks.BaseOptions
        problems = []
        for name, options in (("Holistic", {}), ("Pose", {"num_poses": MAX_PEOPLE})):
            try:
                # read here, since MediaPipe opens no path with other letters than ASCII on Windows
                with open(path, "rb") as file:
                    given = base(model_asset_buffer=file.read())
                opened = getattr(vision, f"{name}LandmarkerOptions")(base_options=given, **options)
                landmarker = getattr(vision, f"{name}Landmarker").create_from_options(opened)
            except Exception as error:
                problems.append(f"{name} Landmarker: {error}")
                continue
            self.holistic = name == "Holistic"
            log.info("MediaPipe: %s as a %s Landmarker", os.path.basename(path), name)
            return landmarker
        raise PoseError(f"mediapipe_task: {os.path.basename(path)} is neither a holistic nor a pose landmarker ({'; '.join(problems)}). "
                        f"Wanted is {GET_TASK}")

    def detect(self, frame: Array) -> Array:
        """People `[P, 134, 3]` of one RGB picture `[H, W, 3]` uint8; P may be 0."""
        height, width = frame.shape[:2]
        frame = np.ascontiguousarray(frame)
        if self.from_task:
            found = self.landmarker.detect(self.mediapipe.Image(image_format=self.mediapipe.ImageFormat.SRGB, data=frame))
        else:
            found = self.landmarker.process(frame)
        if self.holistic:
            body = landmarks(found.pose_landmarks, POSE_LANDMARKS, graded=True)
            left, right = (landmarks(hand, HAND_LANDMARKS) for hand in (found.left_hand_landmarks, found.right_hand_landmarks))
            person = from_mediapipe(body, left, right, landmarks(found.face_landmarks, FACE_LANDMARKS), width, height)
            people = [person] if person[:, 2].any() else []
        else:
            bodies = (landmarks(one, POSE_LANDMARKS, graded=True) for one in found.pose_landmarks)
            people = [from_mediapipe(body, None, None, None, width, height) for body in bodies]
        return np.stack(people) if people else np.zeros((0, NUM_POINTS, 3), np.float32)

    def close(self) -> None:
        self.landmarker.close()
