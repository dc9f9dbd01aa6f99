"""Filled shapes to the pixel as OpenCV 4 draws them, in NumPy: many shapes of a kind at a time.

Published checkpoints were trained on skeletons that OpenCV drew without antialiasing (docs/method.md H.4), and its edges have rules of
their own, which are followed here: outlines of an ellipse at whole degrees from a sine table of seven digits; a convex polygon as its
filled rows (16 bits of fraction, rounded) and its outline by Bresenham's lines on top; a thick line as a rectangle of such coordinates
under two discs; discs by the midpoint rule.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Array = np.ndarray
Pixels = tuple[Array, Array]

FRACTION = 16  # bits behind the point
ONE = 1 << FRACTION
HALF = ONE >> 1
SINE = np.sin(np.radians(np.arange(451))).round(7).astype(np.float32).astype(np.float64)
DEGREES = np.arange(361)


class Canvas:
    """A black picture `[height, width, 3]` uint8 to draw on. Coordinates are whole pixels, x before y; what lies outside is cut off.

    The shapes come as pixels, `(shape, pixel)` of `[T]` each: which of the N shapes it belongs to, and where it lies in `flat`.
    swap_red_blue: colours are turned round on their way to the picture.
    """

    def __init__(self, width: int, height: int, swap_red_blue: bool = False) -> None:
        self.width, self.height = width, height
        self.picture = np.zeros((height, width, 3), np.uint8)
        self.flat = self.picture.reshape(-1, 3)[:, ::-1 if swap_red_blue else 1]  # what is drawn on: a view

    def paint(self, shapes: Pixels, colours: Array) -> None:
        """One shape after another; colours `[N, 3]` uint8, RGB."""
        shape, pixels = shapes
        pixels = pixels[np.argsort(shape, kind="stable")]
        # a loop, since NumPy promises no order within one assignment
        start = 0
        for count, colour in zip(np.bincount(shape, minlength=len(colours)).tolist(), colours, strict=True):
            self.flat[pixels[start:start + count]] = colour
            start += count

    def discs(self, centres: Array, radius: int) -> Pixels:
        """centres `[N, 2]`."""
        stamp = disc(radius)
        x, y = (centres[:, None] + stamp).reshape(-1, 2).T
        inside = (x >= 0) & (x < self.width) & (y >= 0) & (y < self.height)
        return np.repeat(np.arange(len(centres)), len(stamp))[inside], (y * self.width + x)[inside]

    def ellipses(self, centres: Array, axes: Array, angles: Array) -> Pixels:
        """centres, half-axes `[N, 2]`; angles `[N]`: of the first axis, in whole degrees, clockwise as seen."""
        return self.polygons(ellipse_outlines(centres, axes, angles), 0)

    def lines(self, starts: Array, ends: Array, thickness: Array) -> Pixels:
        """starts, ends `[N, 2]`; thickness `[N]` in pixels, at least 1."""
        thin, thick = np.flatnonzero(thickness == 1), np.flatnonzero(thickness > 1)
        parts = [(thin, self.thin(starts[thin], ends[thin])),
                 (thick, self.polygons(bars(starts[thick], ends[thick], thickness[thick]), FRACTION))]
        for t in set(thickness[thick].tolist()):
            same = np.flatnonzero(thickness == t)
            caps = self.discs(np.concatenate([starts[same], ends[same]]), (t * HALF + HALF) >> FRACTION)
            parts.append((np.concatenate([same, same]), caps))
        return joined(parts)

    def thin(self, starts: Array, ends: Array, fraction: int = 0) -> Pixels:
        """Lines of a pixel's width between points `[N, 2]` with so many bits behind the point: none or FRACTION."""
        line, x, y = (fine_lines if fraction else thin_lines)(starts, ends, self.width, self.height)
        return line, y * self.width + x

    def polygons(self, corners: Array, fraction: int) -> Pixels:
        """Convex polygons, corners `[N, M, 2]` int64 with so many bits behind the point: their rows and their outlines."""
        number, sides = corners.shape[:2]
        ends = corners.reshape(-1, 2)
        starts = np.roll(corners, 1, axis=1).reshape(-1, 2)
        moved = (starts != ends).any(-1)  # an outline of whole degrees has many corners twice
        moved[::sides] = True  # a polygon may be a single point
        starts, ends, owner = starts[moved], ends[moved], np.flatnonzero(moved) // sides

        # The sides' crossings of the rows, from each upper end down to the row before the lower
        rows = (np.stack([starts[:, 1], ends[:, 1]]) + (1 << fraction >> 1)) >> fraction
        top, bottom = rows.min(0), rows.max(0)
        upper, lower = (np.where(rows[0] < rows[1], a, b) << (FRACTION - fraction)
                        for a, b in ((starts[:, 0], ends[:, 0]), (ends[:, 0], starts[:, 0])))
        drop = np.maximum(bottom - top, 1)
        step = 2 * (lower - upper) + drop
        step = np.sign(step) * (np.abs(step) // (2 * drop))  # rounded as OpenCV does
        side, row = spread(top.clip(0, self.height), bottom.clip(0, self.height))
        crossing = (upper[side] + step[side] * (row - top[side]) + HALF) >> FRACTION
        key = owner[side] * self.height + row
        left, right = np.full(number * self.height, self.width), np.zeros(number * self.height, np.int64)
        np.minimum.at(left, key, crossing.clip(0))
        np.maximum.at(right, key, (crossing + 1).clip(max=self.width))
        filled = np.flatnonzero(left < right)
        span, x = spread(left[filled], right[filled])
        polygon, row = np.divmod(filled, self.height)
        return joined([(polygon, (span, row[span] * self.width + x)), (owner, self.thin(starts, ends, fraction))])


def joined(parts: Sequence[tuple[Array, Pixels]]) -> Pixels:
    """Pixels of several sets of shapes as one, with the number in it of each of the sets' shapes."""
    return np.concatenate([number[shape] for number, (shape, _) in parts]), np.concatenate([pixels for _, (_, pixels) in parts])


def disc(radius: int) -> Array:
    """The pixels `[K, 2]` of a filled circle about (0, 0) by the midpoint rule."""
    reach = [0] * (radius + 1)
    x, y, error = radius, 0, 0
    while x >= y:
        reach[y], reach[x] = x, max(reach[x], y)
        y += 1
        error += 2 * y - 1
        if error > 0:
            error -= 2 * x - 1
            x -= 1
    half = np.array(reach[:0:-1] + reach)
    row, column = spread(-half, half + 1)
    return np.stack([column, row - radius], axis=-1)


def ellipse_outlines(centres: Array, axes: Array, angles: Array) -> Array:
    """Corners `[N, 361, 2]` int64 of ellipses, a degree apart; arguments as Canvas.ellipses."""
    angles = angles % 360
    cos, sin = SINE[450 - angles][:, None], SINE[angles][:, None]
    x, y = axes[:, :1] * SINE[450 - DEGREES], axes[:, 1:] * SINE[DEGREES]
    outline = np.stack([centres[:, :1] + x * cos - y * sin, centres[:, 1:] + x * sin + y * cos], axis=-1)
    return np.rint(outline).astype(np.int64)


def bars(starts: Array, ends: Array, thickness: Array) -> Array:
    """Corners `[N, 4, 2]` int64, FRACTION bits behind the point, of lines that are thicker than a pixel."""
    across = (ends - starts)[:, ::-1] * (1, -1)
    half = (thickness * HALF + thickness % 2 * HALF) / np.sqrt((across.astype(np.float64) ** 2).sum(-1)).clip(1)
    side = np.rint(across * half[:, None]).astype(np.int64)
    a, b = starts * ONE, ends * ONE
    return np.stack([a + side, a - side, b - side, b + side], axis=1)


def spread(starts: Array, stops: Array) -> tuple[Array, Array]:
    """All whole numbers of the ranges `[N]`, ranges one after another: which range, and the number `[T]` each; none where stop < start."""
    counts = np.maximum(stops - starts, 0)
    which = np.repeat(np.arange(len(counts)), counts)
    return which, np.arange(len(which)) + (starts - counts.cumsum() + counts)[which]


def clip_lines(starts: Array, ends: Array, width: int, height: int) -> tuple[Array, Array, Array]:
    """Lines cut to a picture, rows first, then columns, to whole numbers: which of them are left, and their new ends `[L, 2]`."""
    x, y = (np.stack([starts[:, i], ends[:, i]]) for i in (0, 1))
    right, bottom = width - 1, height - 1
    out = ((x < 0) | (x > right) | (y < 0) | (y > bottom)).any(0)
    if not out.any():
        return np.arange(len(starts)), starts, ends
    apart = (x < 0).all(0) | (x > right).all(0) | (y < 0).all(0) | (y > bottom).all(0)
    for first, second, last in ((y, x, bottom), (x, y, right)):
        for i in (0, 1):
            border = first[i].clip(0, last)
            cut = (first[i] != border) & ~apart
            run = np.where(cut, first[1] - first[0], 1)
            way = np.where(cut, border - first[i], 0)
            second[i] += np.trunc(way.astype(np.float64) * (second[1] - second[0]) / run).astype(np.int64)
            first[i] += way
        apart |= (x < 0).all(0) | (x > right).all(0)
    left = np.flatnonzero(~apart)
    return left, np.stack([x[0], y[0]], axis=-1)[left], np.stack([x[1], y[1]], axis=-1)[left]


def thin_lines(starts: Array, ends: Array, width: int, height: int) -> tuple[Array, Array, Array]:
    """Bresenham's lines between whole pixels `[N, 2]`: which line, x and y `[T]` of every pixel inside the picture, in no order."""
    line, a, b = clip_lines(starts, ends, width, height)
    swap = a[:, 0] > b[:, 0]
    a, b = np.where(swap[:, None], b, a), np.where(swap[:, None], a, b)
    run, rise = (b - a).T
    down, rise = np.sign(rise), np.abs(rise)
    steep = rise > run
    long, short = np.maximum(run, rise), np.minimum(run, rise)
    which, along = spread(np.zeros_like(long), long + 1)
    aside = (2 * short[which] * along + long[which] - 1) // np.maximum(2 * long[which], 1)
    x = a[which, 0] + np.where(steep[which], aside, along)
    y = a[which, 1] + down[which] * np.where(steep[which], along, aside)
    return line[which], x, y


def fine_lines(starts: Array, ends: Array, width: int, height: int) -> tuple[Array, Array, Array]:
    """As thin_lines, between points with FRACTION bits behind the point."""
    line, a, b = clip_lines(starts, ends, width * ONE, height * ONE)
    flat = np.abs(b[:, 0] - a[:, 0]) > np.abs(b[:, 1] - a[:, 1])
    # main: the axis along which the line goes a pixel at a time, ascending
    a, b = (np.where(flat[:, None], p, p[:, ::-1]) for p in (a, b))
    swap = a[:, 0] > b[:, 0]
    a, b = np.where(swap[:, None], b, a), np.where(swap[:, None], a, b)
    run, rise = (b - a).T
    step = np.sign(rise) * (np.abs(rise) * ONE // (run | 1))
    which, along = spread(np.zeros_like(run), (run >> FRACTION) + 1)
    main = ((a[:, 0] + HALF) >> FRACTION)[which] + along
    aside = (a[which, 1] + HALF + step[which] * along) >> FRACTION
    main, aside = np.concatenate([main, (b[:, 0] + HALF) >> FRACTION]), np.concatenate([aside, (b[:, 1] + HALF) >> FRACTION])
    which = np.concatenate([which, np.arange(len(line))])
    x, y = np.where(flat[which], main, aside), np.where(flat[which], aside, main)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return line[which][inside], x[inside], y[inside]
