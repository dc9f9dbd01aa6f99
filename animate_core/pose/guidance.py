"""Pose clips as the pictures that a family's pose guider was trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from PIL import Image

from ..families import FamilyPreset
from ..preprocess import Fit, fit_image
from .drawing import STYLES, DrawStyle, draw_people
from .keypoints import PoseClip, PoseError

MOST_ELONGATED = 8


def family_style(preset: FamilyPreset) -> DrawStyle:
    """How a family's skeletons are drawn. The built-in model knows bodies alone."""
    if preset.name == "Demo":
        return dataclasses.replace(STYLES["Moore"], hands=False, face=False)
    return STYLES["MusePose" if preset.colour_order == "BGR" else "Moore"]


def guidance_pictures(clip: PoseClip, preset: FamilyPreset, width: int, height: int, fit: Fit = "crop") -> Iterator[Image.Image]:
    """A family's skeleton picture of each frame, everyone in it, width x height pixels; fit as `preprocess.fit_image`.

    Drawn at the size at which the sticks have their trained width, and then resized, as the training data was.
    Raises PoseError for a canvas that is no picture's, when the first is asked for.
    """
    if max(clip.width, clip.height) > MOST_ELONGATED * min(clip.width, clip.height):
        raise PoseError(f"the aspect ratio of the canvas must be at most {MOST_ELONGATED} to 1; got {clip.width}x{clip.height}")
    side = preset.draw_side or 2 * min(width, height)
    scale = side / min(clip.width, clip.height)
    drawn = max(1, round(clip.width * scale)), max(1, round(clip.height * scale))
    factors = np.array([drawn[0] / clip.width, drawn[1] / clip.height, 1])
    style = family_style(preset)
    if not preset.draw_side:
        style = style.with_stick(max(1, round(side / 64)))
    resample = Image.Resampling.BOX if width * height < drawn[0] * drawn[1] else Image.Resampling.LANCZOS
    for people in clip.points:
        yield fit_image(Image.fromarray(draw_people(people * factors, *drawn, style)), width, height, fit, resample)
