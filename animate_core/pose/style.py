"""Which skeletons a family's pose guider knows, and what pictures of skeletons look to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..families import FamilyPreset

Array = np.ndarray

MOST_FRAMES = 16  # a clip is drawn in one style: so many frames tell it
DARK = 40  # JPEG and video leave traces of this size on black
LEAST_SATURATION = 0.75
WHITE = 200
BRIGHT = 165  # between the brightness of limbs and that of a drawn face
GREY = 0.1  # mean saturation of what is taken as grey
JOINT = 204  # limbs are drawn at 0.6 of full brightness, joints at full (docs/method.md H.4)
HUE_STEP = 20  # degrees between neighbouring limbs' colours
# limbs by the place of their colour: in RGB shoulders and arms have 1-5 and hips and legs 7-11; channel order BGR turns i into 12 - i
UPPER, LOWER = slice(1, 6), slice(7, 12)


@dataclass(frozen=True)
class Look:
    """What skeleton pictures look to be.

    black: share of the pixels. channels: None where they cannot be told. face: whether white points show. drawn_face: whether the colours
    are those of a face's points or lines, and nothing else shows.
    """

    black: float
    channels: Literal["RGB", "BGR"] | None
    face: bool
    drawn_face: bool = False


def telling_frames(frames: int) -> list[int]:
    """Indices of the frames of a clip that `look_of` needs."""
    return sorted({round(i * (frames - 1) / (MOST_FRAMES - 1)) for i in range(MOST_FRAMES)})


def preset_look(preset: FamilyPreset) -> Look:
    """What a family's own skeletons look like."""
    return Look(1.0, preset.colour_order, preset.draw_face)


def look_of(pictures: Array) -> Look:
    """Looks at pictures `[F, H, W, 3]` uint8; a few frames (`telling_frames`) tell the clip.

    The 18 colours are evenly spread over the circle of hues, and reversed channels only exchange their places, so no colour alone tells:
    the legs are the lower ones.
    """
    chosen = pictures.astype(np.float32)
    high, low = chosen.max(-1), chosen.min(-1)
    black = float((high <= DARK).mean())
    limb = (high > DARK) & (high - low > LEAST_SATURATION * high) & (high < JOINT)
    frame, y, x = np.nonzero(limb)
    red, green, blue = (chosen[frame, y, x] / 255).T
    hue = np.degrees(np.arctan2(np.sqrt(3) * (green - blue), 2 * red - green - blue)) % 360
    index = (hue / HUE_STEP).round().astype(int) % 18
    votes = 0
    for i in range(len(chosen)):
        here = frame == i
        rows = [y[here & (index >= part.start) & (index < part.stop)] for part in (UPPER, LOWER)]
        # a few pixels are where two limbs' colours mix
        upper, lower = (float(r.mean()) if len(r) > sum(map(len, rows)) / 10 else None for r in rows)
        if upper is not None and lower is not None:
            votes += int(np.sign(lower - upper))
        elif (upper is None) != (lower is None):
            votes += 1 if lower is None else -1  # half a figure shows arms rather than legs
    face = float(((low > WHITE).sum()) / max(1, len(chosen))) >= 20
    if is_drawn_face(chosen, high, low):
        return Look(black, None, face, drawn_face=True)
    return Look(black, None if not votes else "RGB" if votes > 0 else "BGR", face)


def is_drawn_face(pictures: Array, high: Array, low: Array) -> bool:
    """Whether what is bright of the coloured is mainly green: the contours of AniPortrait's mesh and the points of face reenactment.

    Skeletons' limbs are darker, and their joints of all colours.
    """
    coloured = (high > DARK) & (high - low > LEAST_SATURATION * high)
    bright = coloured & (high > BRIGHT)  # lines that were resized have darker edges
    green = bright & (pictures[..., 1] >= 0.85 * high)
    return bool(bright.sum() >= max(20, coloured.sum() / 8) and green.sum() > 0.8 * bright.sum())


def guidance_complaint(kind: str, pictures: Array) -> str:
    """What speaks against pictures `[F, H, W, 3]` uint8 as one kind of Champ's guidance; empty where nothing does."""
    chosen = pictures.astype(np.float32)
    high, low = chosen.max(-1), chosen.min(-1)
    seen = high > DARK
    if not seen.any():
        return "the images are black"
    if kind == "dwpose":
        look = look_of(pictures)
        if look.black < 0.5:
            return f"only {look.black:.0%} of the image is black: these do not look like skeletons"
        return "the colours look like BGR order, but Champ was trained on RGB" if look.channels == "BGR" else ""
    saturation = float(((high - low)[seen] / high[seen]).mean())
    if kind == "depth" and saturation > GREY:
        return "these images are coloured, but depth maps are grey"
    if kind != "depth" and saturation <= GREY:
        return f"these images are grey, but {'normal' if kind == 'normal' else 'semantic'} maps are coloured"
    return ""


def face_complaints(look: Look) -> list[str]:
    """What speaks against these pictures as a face's points or lines; empty where nothing does."""
    if look.black < 0.5:
        return [f"only {look.black:.0%} of the image is black: these do not look like a drawn face"]
    return ["these look like a skeleton, not a face"] if look.channels else []


def complaints(look: Look, preset: FamilyPreset) -> list[str]:
    """What speaks against these pictures as guidance for a family's weights; empty where nothing does."""
    if look.black < 0.5:
        return [f"only {look.black:.0%} of the image is black: these do not look like skeletons on black"]
    if look.drawn_face:
        return [f"these look like a drawn face, but {preset.name} was trained on skeletons"]
    found = []
    if look.channels not in (None, preset.colour_order):
        found.append(f"the colours look like {look.channels} order, but {preset.name} was trained on {preset.colour_order}")
    if look.channels and look.face != preset.draw_face:
        found.append(f"face points are {'visible' if look.face else 'missing'}, but {preset.name} was trained "
                     f"{'with' if preset.draw_face else 'without'} them")
    return found
