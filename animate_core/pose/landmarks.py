"""The two pictures of a face that Moore's face reenactment is guided by: its 66 points and pupils, and its mouth alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from ..preprocess import Fit
from .drawing import fit_points
from .keypoints import FACE, SCORE_THRESHOLD, PoseClip
from .raster import Canvas

Array = np.ndarray

PUPILS = (66, 67)
MOUTH = slice(48, 66)
RADIUS = 1
POINT, PUPIL = (0, 255, 0), (255, 255, 0)
UPPER_SHARE = 0.55  # of the height: where the first picture ends
# DWPose's 68 points of a face have two more, the inner corners of the mouth, and no pupils
INNER_CORNERS = (60, 64)
EYES = (slice(36, 42), slice(42, 48))
FEWEST_SEEN = 34  # points of a face that has been found


def draw_points(points: Array, width: int, height: int) -> Array:
    """Points `[n, 2]`, x before y in pixels, those of the places 66 and 67 as pupils -> `[height, width, 3]` uint8, RGB.

    Points that are not finite (not found) are left out.
    """
    canvas = Canvas(width, height)
    found = np.flatnonzero(np.isfinite(points).all(-1))
    colours = np.array([PUPIL if i in PUPILS else POINT for i in found], np.uint8).reshape(-1, 3)
    # far outside is as far as anything needs to be
    centres = np.clip(points[found] + 0.5, -width - height, 2 * (width + height)).astype(np.int64)
    canvas.paint(canvas.discs(centres, RADIUS), colours)
    return canvas.picture


def landmark_pictures(points: Array, width: int, height: int, upper_share: float = UPPER_SHARE) -> tuple[Array, Array]:
    """The pictures for `pose_guider1` and `pose_guider2`, each `[height, width, 3]` uint8.

    points: `[68, 2]`, x before y in pixels: OpenSeeFace's 66 points and both pupils. The first picture shows all of them, black from
    `upper_share` of the height on; the second the mouth, with the mean of all points moved to x = height // 2, y = width // 2: the
    published axes, which are the centre of square pictures only.
    """
    face = draw_points(points, width, height)
    face[int(height * upper_share):] = 0
    centre = np.array([height // 2, width // 2])
    mouth = draw_points(points[MOUTH] + (centre - np.nanmean(points, axis=0) if np.isfinite(points).any() else 0), width, height)
    return face, mouth


def main_face(people: Array) -> Array | None:
    """The face `[68, 3]` (x, y, score) of the person of whom most of it is seen; None where nobody's is."""
    faces = people[:, FACE]
    seen = (faces[..., 2] > SCORE_THRESHOLD).sum(-1)
    return faces[int(seen.argmax())] if len(seen) and seen.max() >= FEWEST_SEEN else None


def tracked_points(face: Array) -> Array:
    """DWPose's face `[68, 3]` as the points `[68, 2]` that the published tracker gives; those that are not seen are NaN.

    The inner corners of the mouth are left out. The pupils are taken to be in the middle of the eyes, where they look straight ahead.
    """
    points = np.where(face[:, 2:] > SCORE_THRESHOLD, face[:, :2], np.nan)
    pupils = np.stack([points[eye].mean(0) for eye in EYES])
    return np.concatenate([np.delete(points, INNER_CORNERS, axis=0), pupils])


def face_pictures(clip: PoseClip, part: int, width: int, height: int, fit: Fit = "crop") -> Iterator[Image.Image]:
    """The first (0) or second (1) picture of `landmark_pictures` for each frame, drawn at the clip's size; black where no face is found."""
    for people in clip.points:
        face = main_face(people)
        if face is None:
            yield Image.new("RGB", (width, height))
            continue
        placed = fit_points(face, (clip.width, clip.height), (width, height), fit)
        yield Image.fromarray(landmark_pictures(tracked_points(placed), width, height)[part])
