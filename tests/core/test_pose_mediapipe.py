"""MediaPipe's landmarks as our points. The numbers of the landmarks are those that MediaPipe's documentation gives."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from animate_core.pose.keypoints import (
    FACE,
    FEET,
    L_ANKLE,
    L_EAR,
    L_ELBOW,
    L_EYE,
    L_HIP,
    L_SHOULDER,
    L_WRIST,
    LEFT_HAND,
    NECK,
    NOSE,
    R_ANKLE,
    R_EYE,
    R_KNEE,
    R_SHOULDER,
    R_WRIST,
    RIGHT_HAND,
    PoseError,
)
from animate_core.pose.mediapipe_pose import MediaPipePose, from_mediapipe, landmarks

Array = np.ndarray


def numbered(count: int) -> Array:
    """Landmarks whose x is their number, and whose y is twice that, in thousandths of the picture."""
    number = np.arange(count) / 1000
    return np.stack([number, 2 * number, np.full(count, 0.8)], -1).astype(np.float32)


def numbers(points: Array) -> list[int]:
    """Which landmarks these are, in a picture of 1000x1000."""
    assert points[..., 1] == pytest.approx(2 * points[..., 0], abs=0.01)
    return np.rint(points[..., 0]).astype(int).tolist()


def test_the_body() -> None:
    points = from_mediapipe(numbered(33), None, None, None, 1000, 1000)
    wanted = {NOSE: 0, R_EYE: 5, L_EYE: 2, L_EAR: 7, R_SHOULDER: 12, L_SHOULDER: 11, L_ELBOW: 13, R_WRIST: 16, L_WRIST: 15, L_HIP: 23,
              R_KNEE: 26, R_ANKLE: 28, L_ANKLE: 27}
    assert numbers(points[list(wanted)]) == list(wanted.values())
    assert points[NECK] == pytest.approx([11.5, 23, 1]), "the middle of the shoulders"
    assert points[R_KNEE, 2] == pytest.approx(0.8)
    feet = points[FEET]
    assert numbers(feet[[0, 2, 3, 5]]) == [31, 29, 32, 30], "left toe and heel, right toe and heel"
    assert not feet[[1, 4]].any() and not points[FACE].any(), "small toes have no landmark"


def test_shoulders_that_are_not_visible_give_no_neck() -> None:
    pose = numbered(33)
    pose[12, 2] = 0.1
    assert from_mediapipe(pose, None, None, None, 1000, 1000)[NECK, 2] == 0


def test_hands_and_face() -> None:
    points = from_mediapipe(None, numbered(21), numbered(21) + (0.5, 1.0, 0), numbered(478), 1000, 1000)
    assert numbers(points[LEFT_HAND]) == list(range(21)) and numbers(points[RIGHT_HAND]) == list(range(500, 521))
    face = numbers(points[FACE])
    assert len(set(face)) == 68
    # chin; eye corners from the person's right to the left; mouth corners, outer and inner; the nose's tip
    assert [face[i] for i in (8, 36, 39, 42, 45, 48, 54, 60, 64, 30)] == [152, 33, 133, 362, 263, 61, 291, 78, 308, 1]


def test_pixels_of_the_picture() -> None:
    pose = np.full((33, 3), 0.5, np.float32)
    assert from_mediapipe(pose, None, None, None, 640, 360)[NOSE] == pytest.approx([320, 180, 0.5])


def test_every_releases_wrapping() -> None:
    points = [SimpleNamespace(x=0.1 * i, y=0.5, visibility=0.25) for i in range(3)]
    for value in (points, SimpleNamespace(landmark=points)):
        assert landmarks(value, 3, graded=True) == pytest.approx(np.array([[0, 0.5, 0.25], [0.1, 0.5, 0.25], [0.2, 0.5, 0.25]]))
        found = landmarks(value, 3)
        assert found is not None and found[:, 2].tolist() == [1, 1, 1], "hands and faces have no visibility"
    assert landmarks(None, 3) is None and landmarks([], 3) is None and landmarks(points, 4) is None
    ungraded = landmarks([SimpleNamespace(x=0, y=0, visibility=None)], 1, graded=True)
    assert ungraded is not None and ungraded[0, 2] == 1


def test_without_mediapipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(PoseError, match="pip install mediapipe"):
        MediaPipePose()
