"""Keypoints in OpenPose's form, as a POSE_KEYPOINT socket carries them."""

from __future__ import annotations

from typing import Any

import numpy as np

FACE_POINTS, HAND_POINTS = 70, 21


def openpose_frames(points: np.ndarray, width: int, height: int) -> list[dict[str, Any]]:
    """One person's body `[F, 18, 3]` (x, y in pixels, score) as a list over frames.

    Face and hands are there with score 0: readers differ over absent ones, and ComfyUI's own takes only the full number of points.
    """
    unseen = {"face_keypoints_2d": FACE_POINTS, "hand_left_keypoints_2d": HAND_POINTS, "hand_right_keypoints_2d": HAND_POINTS}
    return [
        {
            "people": [{"pose_keypoints_2d": frame.astype(float).ravel().tolist(), **{key: [0.0] * (3 * n) for key, n in unseen.items()}}],
            "canvas_width": width,
            "canvas_height": height,
        }
        for frame in points
    ]
