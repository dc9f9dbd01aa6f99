"""What the built-in model is measured on: held-out characters of its own world, and two worlds that it never learns from."""

from __future__ import annotations

from collections.abc import Callable

from animate_core.demo.character import HELD_OUT_SEED
from animate_core.demo.clip import demo_clip, reference_frame
from animate_core.demo.motion import MOTIONS

from .demo_data import fitting_motion
from .elsewhere import body, polygons, strokes
from .elsewhere.record import Clip

Draw = Callable[[int, int, int, int, int], Clip]  # figure's number, frames, width, height, number of the motion


def home(index: int, frames: int, width: int, height: int, motion: int) -> Clip:
    """A held-out character in a held-out motion."""
    seed, names = HELD_OUT_SEED + index, list(MOTIONS)
    reference = reference_frame(seed, width=width, height=height)
    clip = demo_clip(seed, fitting_motion(names[motion % len(names)], seed, width, height), frames, width=width, height=height)
    return Clip(reference.frames[0], reference.keypoints[0], clip.frames, clip.masks, clip.poses, clip.keypoints)


def away(draw: Callable[[int, int, int, int, str], Clip]) -> Draw:
    names = list(body.MOTIONS)
    return lambda index, frames, width, height, motion: draw(index, frames, width, height, names[motion % len(names)])


HOME = "home"
WORLDS: dict[str, Draw] = {HOME: home, "polygons": away(polygons.clip), "strokes": away(strokes.clip)}
