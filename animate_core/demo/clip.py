"""A character in motion: pictures, masks, keypoints and skeletons of a whole clip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..pose.drawing import draw_body
from .character import Character
from .drawing import draw_character
from .motion import DEFAULT_PERIOD, keypoints, make_moves
from .scenery import draw_background
from .world import make_drawing

WIDTH, HEIGHT = 192, 288  # what the built-in model was trained on, most of all
POSE_SCALE = 2  # skeletons are drawn larger and reduced, which smooths them
REFERENCE_SEED_SHIFT = 7919

Array = np.ndarray


@dataclass(frozen=True)
class DemoClip:
    """frames, poses `[F, H, W, 3]` and masks `[F, H, W]` uint8; keypoints `[F, 18, 3]`: x, y in pixels, score."""

    character: Character
    frames: Array
    masks: Array
    poses: Array
    keypoints: Array

    @property
    def size(self) -> tuple[int, int]:
        return self.frames.shape[2], self.frames.shape[1]


def draw_pose(points: Array, width: int, height: int, thickness: float = 1.0) -> Array:
    """The skeleton picture `[H, W, 3]` uint8 in the style that the built-in model knows: Moore's, sticks of 1/64 of the short side.

    points `[18, 3]` in pixels of the width x height picture. thickness: of the sticks against that.
    """
    stick = max(1, round(thickness * POSE_SCALE * min(width, height) / 64))
    large = draw_body(points * (POSE_SCALE, POSE_SCALE, 1), width * POSE_SCALE, height * POSE_SCALE, stick)
    return np.asarray(Image.fromarray(large).reduce(POSE_SCALE))


def draw_clip(character: Character, points: Array, width: int = WIDTH, height: int = HEIGHT,
              on_frame: Callable[[], None] = lambda: None) -> DemoClip:
    """Renders a character at keypoints `[F, 18, 3]` (pixels of the width x height picture); on_frame: called after each frame."""
    background = draw_background(character.background, width, height).convert("RGBA")
    frames, masks, poses = [], [], []
    for frame in points:
        layer = draw_character(character, frame, width, height)
        frames.append(np.asarray(Image.alpha_composite(background, layer).convert("RGB")))
        masks.append(np.asarray(layer.getchannel("A")))
        poses.append(draw_pose(frame, width, height))
        on_frame()
    return DemoClip(character, np.stack(frames), np.stack(masks), np.stack(poses), points)


def demo_clip(seed: int, motion: str, frames: int = 16, *, motion_seed: int | None = None, period: float = DEFAULT_PERIOD,
              width: int = WIDTH, height: int = HEIGHT, make: Callable[[int], Character] = make_drawing,
              on_frame: Callable[[], None] = lambda: None) -> DemoClip:
    """The character of `seed` in one of MOTIONS, which repeats every `period` frames.

    motion_seed: style of the motion; the character's seed if it is not given. make: `make_drawing`, or `make_character` for plain people.
    on_frame: called after each frame. Raises ValueError for bad arguments.
    """
    character = make(seed)
    moves = make_moves(motion, seed if motion_seed is None else motion_seed, frames, period)
    return draw_clip(character, keypoints(character, moves, width, height), width, height, on_frame)


def reference_frame(seed: int, *, width: int = WIDTH, height: int = HEIGHT) -> DemoClip:
    """The picture to animate: one frame of the character in another pose than its motions', walking or with its arms away from the body."""
    character = make_drawing(seed)
    moves = make_moves("walk", (seed + REFERENCE_SEED_SHIFT) % (1 << 24), 1)
    rng = np.random.default_rng((0x2EF, seed))
    if rng.random() < 0.4:
        moves.shoulder[:], moves.elbow[:], moves.lift[:] = rng.uniform(0.4, 1.6), rng.uniform(-0.1, 0.2), 0
    return draw_clip(character, keypoints(character, moves, width, height), width, height)
