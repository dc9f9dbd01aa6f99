"""A small library of motions as pose clips, for a start without a driving video: the built-in model's motions on a grown person's body."""

from __future__ import annotations

import numpy as np

from ..demo.character import Body
from ..demo.motion import DEFAULT_PERIOD, MOTIONS, joints, make_moves
from .keypoints import PoseClip, PoseError, body_clip

MOVES = tuple(MOTIONS)

# A grown person of 7.5 heads, by the proportions that artists draw by; lengths in body heights
ADULT = Body(head=0.133, head_width=0.1, neck=0.045, torso=0.29, shoulder=0.105, hip=0.055, waist=0.08, upper_arm=0.17, forearm=0.145,
             thigh=0.252, shin=0.24, foot=0.04, arm_width=0.03, leg_width=0.045)


def move_clip(motion: str, frames: int = 0, *, seed: int = 0, period: float = DEFAULT_PERIOD, width: int = 512, height: int = 768,
              size: float = 0.72) -> PoseClip:
    """One of MOVES, facing us, in the middle of a width x height canvas; it repeats every `period` frames.

    frames: 0 is one period, which loops without a seam where the period is a whole number. seed: style of the motion.
    size: height of the person, as a part of the canvas's height; who lies down is at most as long as the canvas is wide.
    Raises PoseError for bad arguments.
    """
    if not 0.05 <= size <= 1:
        raise PoseError(f"size must be between 0.05 and 1 (fraction of the canvas height); got {size}")
    if min(width, height) < 1:
        raise PoseError(f"width, height: a canvas of {width}x{height} pixels is not possible; both must be above 0")
    try:
        moves = make_moves(motion, seed, frames or max(1, round(period)), period)
    except ValueError as error:
        raise PoseError(str(error)) from error
    if motion == "lie_down":
        size = min(size, 0.9 * width / height)  # the body lies across the canvas
    points = joints(ADULT, moves) * (size * height) + (width / 2, (1 + size) / 2 * height)
    return body_clip(np.concatenate([points, np.ones((*points.shape[:2], 1))], axis=-1), width, height)
