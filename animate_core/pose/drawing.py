"""Skeleton pictures as pose guiders take them (method.md H.4)."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

Array = np.ndarray

LIMBS = ((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 0), (0, 14), (14, 16),
         (0, 15), (15, 17))
COLOURS = ((255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85), (0, 255, 170),
           (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85))
LIMB_BRIGHTNESS = 0.6
SCORE_THRESHOLD = 0.3
TURN = np.linspace(0, 2 * np.pi, 40, endpoint=False)
CIRCLE = np.stack([np.cos(TURN), np.sin(TURN)], axis=-1)


def draw_body(points: Array, width: int, height: int, stick_width: int = 4) -> Array:
    """OpenPose's body, limbs as ellipses at 0.6 of their colour under discs of full colour.

    points `[18, 3]`: x, y in pixels, score; joints with a score of at most 0.3 are left out.
    stick_width: half the width of a limb, and the radius of a joint, in pixels. Returns RGB `[height, width, 3]` uint8.
    """
    image = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(image)
    seen = points[:, 2] > SCORE_THRESHOLD
    for i, (a, b) in enumerate(LIMBS):
        if not (seen[a] and seen[b]):
            continue
        start, end = points[a, :2].astype(float), points[b, :2].astype(float)
        way = start - end
        half = int(np.linalg.norm(way) / 2)
        angle = np.deg2rad(int(np.degrees(np.arctan2(way[1], way[0]))))
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        outline = ((start + end) / 2).astype(int) + CIRCLE * (half, stick_width) @ turn
        colour = tuple(int(c * LIMB_BRIGHTNESS) for c in COLOURS[i])
        draw.polygon(outline.round().ravel().tolist(), fill=colour)
    for i, (x, y) in enumerate(points[:, :2].astype(int).tolist()):
        if seen[i]:
            draw.ellipse((x - stick_width, y - stick_width, x + stick_width, y + stick_width), fill=COLOURS[i])
    return np.asarray(image)
