"""The two pictures of a face that Moore's face reenactment is guided by: its 66 points and pupils, and its mouth alone."""

from __future__ import annotations

import numpy as np

from .raster import Canvas

Array = np.ndarray

PUPILS = (66, 67)
MOUTH = slice(48, 66)
RADIUS = 1
POINT, PUPIL = (0, 255, 0), (255, 255, 0)
UPPER_SHARE = 0.55  # of the height: where the first picture ends


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
