"""What both worlds elsewhere share: the record of a clip, a canvas that keeps the figure's mask, and the order of the work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from animate_core.demo.clip import draw_pose

from .body import MOTIONS, Array, Body, at_ease, joints, moves

SMOOTH = 3  # pictures are drawn this many times larger and reduced
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Clip:
    """A drawn figure in motion.

    reference `[H, W, 3]` uint8: the same figure at ease; reference_keypoints `[18, 3]`. frames, poses `[F, H, W, 3]` and masks
    `[F, H, W]` uint8; keypoints `[F, 18, 3]`: x, y in pixels, score.
    """

    reference: Array
    reference_keypoints: Array
    frames: Array
    masks: Array
    poses: Array
    keypoints: Array

    @property
    def size(self) -> tuple[int, int]:
        return self.frames.shape[2], self.frames.shape[1]


class Canvas:
    """A picture of one frame with the mask of all that is drawn on it. Points in pixels of the final picture."""

    def __init__(self, background: Image.Image) -> None:
        """background: SMOOTH times larger than the final picture."""
        self.picture, self.mask = background.copy(), Image.new("L", background.size)
        self.pens = ((ImageDraw.Draw(self.picture), None), (ImageDraw.Draw(self.mask), 255))

    def polygon(self, points: Array, colour: Colour) -> None:
        flat = (points[:, :2] * SMOOTH).ravel().tolist()
        for pen, ink in self.pens:
            pen.polygon(flat, fill=colour if ink is None else ink)

    def line(self, points: Array, colour: Colour, width: float) -> None:
        flat = (points[:, :2] * SMOOTH).ravel().tolist()
        for pen, ink in self.pens:
            pen.line(flat, fill=colour if ink is None else ink, width=max(1, round(width * SMOOTH)), joint="curve")

    def reduced(self) -> tuple[Array, Array]:
        """Picture `[H, W, 3]` and mask `[H, W]`, uint8."""
        return np.array(self.picture.reduce(SMOOTH)), np.array(self.mask.reduce(SMOOTH))


@dataclass(frozen=True)
class Figure:
    """Who is drawn on what. paint draws points `[18, 3]` (x, y down, z towards the viewer, in pixels) with a unit of pixels a body height;
    finish may still change a frame (picture and mask, uint8)."""

    body: Body
    background: Image.Image
    paint: Callable[[Canvas, Array, float], None]
    finish: Callable[[Array, Array], Array]
    scale: float
    x: float


def film(figure: Figure, key: tuple[int, int], frames: int, width: int, height: int, motion: str | None) -> Clip:
    """key: the world's and the figure's seed. motion: one of MOTIONS, the key's own without it.

    Raises ValueError for an unknown motion, no frames or a size that no model takes.
    """
    motion = list(MOTIONS)[sum(key) % len(MOTIONS)] if motion is None else motion
    if motion not in MOTIONS:
        raise ValueError(f"motion: {motion!r} is unknown; there are: {', '.join(MOTIONS)}")
    if min(frames, width, height) < 1 or width % 8 or height % 8:
        raise ValueError(f"{frames} frames of {width}x{height}: at least one frame, and a size of multiples of 8")
    unit = figure.scale * min(height, 1.5 * width)
    ground = (height + min(height, 1.25 * unit)) / 2 - 0.04 * height

    def placed(points: Array) -> Array:
        return points * (unit, -unit, unit) + (figure.x * width, ground, 0)

    def draw(points: Array) -> tuple[Array, Array]:
        canvas = Canvas(figure.background)
        figure.paint(canvas, points, unit)
        picture, mask = canvas.reduced()
        return figure.finish(picture, mask), mask

    def keypoints(points: Array) -> Array:
        return np.concatenate([points[..., :2], np.ones((*points.shape[:-1], 1))], axis=-1).astype(np.float32)

    first, points = placed(joints(figure.body, at_ease(key)))[0], placed(joints(figure.body, moves(key, motion, frames)))
    drawn = [draw(p) for p in points]
    return Clip(draw(first)[0], keypoints(first), np.stack([d[0] for d in drawn]), np.stack([d[1] for d in drawn]),
                np.stack([draw_pose(p, width, height) for p in keypoints(points)]), keypoints(points))


def tint(colour: Colour, factor: float) -> Colour:
    """Darker below 1, nearer to white above."""
    c = np.array(colour, dtype=float)
    r, g, b = (c * factor if factor <= 1 else c + (255 - c) * min(1, factor - 1)).round().astype(int).tolist()
    return r, g, b


def wheel(rng: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float]) -> Colour:
    """A random colour of HSV's saturation and value between two each."""
    hue, s, v = rng.uniform(0, 6), rng.uniform(*saturation), rng.uniform(*value)
    parts = v * (1 - s * np.clip(np.abs((hue - np.array([0, 2, 4]) + 3) % 6 - 3) - 1, 0, 1))
    r, g, b = (255 * parts).round().astype(int).tolist()
    return r, g, b


def ordered(tasks: list[tuple[float, Callable[[], None]]]) -> None:
    """Runs tasks from back to front: by their depth, at the same depth as listed."""
    for _, task in sorted(tasks, key=lambda t: t[0]):
        task()
