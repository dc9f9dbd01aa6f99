"""The means of drawing: shapes in groups, each with its outline, shade or shadow, and the finish of the whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from .character import Colour, Style
from .scenery import SMOOTH

Array = np.ndarray
TURN = np.linspace(0, 2 * np.pi, 24, endpoint=False)
CIRCLE = np.stack([np.cos(TURN), np.sin(TURN)], axis=-1)
PIXEL = 96  # rows of a picture in pixel art


@dataclass(frozen=True)
class Frame:
    """A place with a direction: local points (right, up) -> picture points."""

    origin: Array
    up: Array
    unit: float

    def __call__(self, points: Array | Sequence[Sequence[float]]) -> Array:
        p = np.asarray(points, dtype=float) * self.unit
        right = np.array([-self.up[1], self.up[0]])
        return self.origin + p[..., :1] * right + p[..., 1:] * self.up

    def ellipse(self, x: float, y: float, rx: float, ry: float) -> Array:
        return self(CIRCLE * (rx, ry) + (x, y))


def direction(a: Array, b: Array) -> Array:
    """Unit vector from a to b."""
    way = b - a
    return way / max(1e-6, float(np.linalg.norm(way)))


def scale_of(style: Style, height: int) -> float:
    """Pixels of the drawing for a pixel of the picture."""
    return PIXEL / height if style.finish == "pixels" and height > PIXEL else SMOOTH


class Painter:
    """A transparent layer of width x height pixels of the picture; `unit`: pixels of the drawing in one body height."""

    def __init__(self, style: Style, width: int, height: int, unit: float) -> None:
        self.style, self.size = style, (width, height)
        self.scale = scale_of(style, height)
        self.unit = unit * self.scale
        self.layer = Image.new("RGBA", (max(1, round(width * self.scale)), max(1, round(height * self.scale))))
        self.draw = ImageDraw.Draw(self.layer)
        self.shapes: list[tuple[Array, Colour]] = []
        self.grouped = False
        self.groups = 0

    # ------------------------------------------------------------------------------------------------------ shapes

    def polygon(self, points: Array, colour: Colour) -> None:
        if self.grouped:
            self.shapes.append((points, colour))
        else:
            self.draw.polygon(points.ravel().tolist(), fill=colour)

    def disc(self, centre: Array, radius: float, colour: Colour) -> None:
        self.polygon(centre + CIRCLE * radius * self.unit, colour)

    def limb(self, a: Array, b: Array, start: float, end: float, colour: Colour) -> None:
        """A tapered capsule; radii in body heights."""
        way = direction(a, b) * self.unit
        across = np.array([-way[1], way[0]])
        self.polygon(np.stack([a + across * start, b + across * end, b - across * end, a - across * start]), colour)
        self.disc(a, start, colour)
        self.disc(b, end, colour)

    def bar(self, ends: Array, start: float, end: float, colour: Colour) -> None:
        """A limb with square ends; `[2, 2]`."""
        a, b = ends
        way = direction(a, b) * self.unit
        across = np.array([-way[1], way[0]])
        self.polygon(np.stack([a + across * start, b + across * end, b - across * end, a - across * start]), colour)

    def stroke(self, points: Array, width: float, colour: Colour) -> None:
        """A line through points, `width` in body heights; never in a group."""
        self.draw.line(points.ravel().tolist(), fill=colour, width=max(1, round(width * self.unit)), joint="curve")

    def inside(self, outline: Array, marks: Sequence[Array], colour: Colour) -> None:
        """Marks drawn within an outline only."""
        mask, pen = self.mask([outline]), Image.new("L", self.layer.size)
        draw = ImageDraw.Draw(pen)
        for mark in marks:
            draw.polygon(mark.ravel().tolist(), fill=255)
        self.layer.paste(colour, (0, 0), ImageChops.multiply(pen, mask))

    def mask(self, outlines: Sequence[Array]) -> Image.Image:
        image = Image.new("L", self.layer.size)
        draw = ImageDraw.Draw(image)
        for outline in outlines:
            draw.polygon(outline.ravel().tolist(), fill=255)
        return image

    @contextmanager
    def group(self) -> Iterator[None]:
        """Shapes that share an outline, a shade and a shadow."""
        self.grouped = True
        try:
            yield
        finally:
            self.grouped = False
        shapes, self.shapes = self.shapes, []
        self.groups += 1
        if not shapes:
            return
        style = self.style
        if style.finish == "cut paper":
            offset = 0.008 * self.unit
            self.layer.alpha_composite(self.tinted(self.mask([points + offset for points, _ in shapes]), (20, 16, 16), 0.35))
        if style.ink:
            uneven = 1 + style.brush * float(np.sin(2.4 * self.groups + style.seed))
            line = max(1.0, style.ink * self.unit * uneven)
            for points, _ in shapes:
                closed = [*points.ravel().tolist(), *points[0].tolist()]
                self.draw.line(closed, fill=style.ink_colour, width=round(2 * line), joint="curve")
                self.draw.polygon(closed, fill=style.ink_colour)
        for points, colour in shapes:
            self.draw.polygon(points.ravel().tolist(), fill=colour)
        if style.finish == "cel":
            self.cel([points for points, _ in shapes])

    def tinted(self, mask: Image.Image, colour: Colour, amount: float) -> Image.Image:
        layer = Image.new("RGBA", self.layer.size, colour)
        layer.putalpha(mask.point(lambda v: round(v * amount)))
        return layer

    def cel(self, outlines: list[Array]) -> None:
        """A band of shadow on the side that is turned from the light."""
        every = np.concatenate(outlines)
        width, height = self.layer.size
        x0, y0 = np.clip(every.min(0).astype(int) - 1, 0, (width, height)).tolist()
        x1, y1 = np.clip(every.max(0).astype(int) + 2, 0, (width, height)).tolist()
        if x0 >= x1 or y0 >= y1:
            return
        shift, box = round(0.02 * self.unit), (x0, y0, x1, y1)
        mask = self.mask(outlines)
        lit = ImageChops.offset(mask, -shift, -shift).crop(box)
        part = self.layer.crop(box)
        dark = ImageChops.multiply(part, Image.new("RGBA", part.size, (184, 178, 196, 255)))
        self.layer.paste(dark, box, ImageChops.subtract(mask.crop(box), lit))

    # ------------------------------------------------------------------------------------------------------ finish

    def finished(self) -> Image.Image:
        """The layer at the picture's size, with the style's texture."""
        style, size = self.style, self.size
        if self.scale != SMOOTH:
            pixels = self.layer.resize(size, Image.Resampling.NEAREST)
            pixels.putalpha(pixels.getchannel("A").point(lambda v: 255 if v > 127 else 0))
            return pixels
        layer = self.layer.reduce(SMOOTH)
        if style.finish not in ("crayon", "pencil", "watercolour") or not style.grain:
            return layer
        rgba = np.asarray(layer).astype(np.float32)
        height, width = rgba.shape[:2]
        rng = np.random.default_rng((0x6A1, style.seed))
        if style.finish == "pencil":
            y, x = np.mgrid[:height, :width]
            angle, step = rng.uniform(0.5, 1.0), rng.uniform(4.0, 8.0)
            tone = 0.5 + 0.5 * np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / step)
        else:
            coarse = 3 if style.finish == "crayon" else 12
            small = rng.random((height // coarse + 2, width // coarse + 2))
            picture = Image.fromarray((255 * small).astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
            tone = np.asarray(picture) / 255
        if style.finish == "watercolour":
            # colour gathers at the edges of what was wet
            alpha = Image.fromarray(rgba[..., 3].astype(np.uint8))
            edge = np.asarray(alpha, np.float32) - np.asarray(alpha.resize((max(1, width // 4), max(1, height // 4)),
                                                                         Image.Resampling.BOX).resize((width, height)), np.float32)
            rgba[..., :3] *= (1 + 0.5 * style.grain * (tone - 0.5) - 0.4 * style.grain * edge.clip(0) / 255)[..., None]
        else:
            # the paper shows through: towards white, not through the mask
            rgba[..., :3] += style.grain * tone[..., None] * (255 - rgba[..., :3])
        rgba[..., :3] = rgba[..., :3].clip(0, 255)
        return Image.fromarray(rgba.round().astype(np.uint8))


