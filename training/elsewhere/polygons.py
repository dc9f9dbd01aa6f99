"""Angular figures of plain facets, lit from the upper left, before faceted scenery."""

from __future__ import annotations

from functools import partial

import numpy as np
from PIL import Image, ImageDraw

from .body import ANKLES, EARS, ELBOWS, HIPS, KNEES, NECK, NOSE, SHOULDERS, WRISTS, Array, make_body
from .record import SMOOTH, Canvas, Clip, Colour, Figure, film, ordered, tint, wheel

WORLD = 1  # the key of its random numbers
LIGHT = np.array([-0.6, -0.8])
TORSOS = {"box": (1.0, 1.05, 1.1), "wedge": (1.3, 0.95, 0.8), "pear": (0.85, 1.15, 1.5), "barrel": (1.0, 1.75, 1.1)}
SKINS = ((250, 214, 180), (226, 170, 120), (172, 112, 70), (104, 66, 44), (150, 200, 120), (168, 180, 220))


def unit_vector(way: Array) -> Array:
    return way / max(1e-6, float(np.hypot(*way)))


def lit(colour: Colour, normal: Array, strength: float = 0.17) -> Colour:
    return tint(colour, 1 + strength * float(normal @ LIGHT))


def ring(corners: int, turn: float = 0.0) -> Array:
    angle = turn + np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.stack([np.sin(angle), -np.cos(angle)], axis=-1)


class Painter:
    def __init__(self, seed: int, width: int, height: int) -> None:
        rng = np.random.default_rng((WORLD, seed))
        self.background = scenery(rng, width, height)
        self.body = make_body(rng)
        self.skin = SKINS[rng.choice(len(SKINS), p=(0.22, 0.22, 0.22, 0.18, 0.08, 0.08))]
        self.top, self.bottom = wheel(rng, (0.45, 0.95), (0.55, 1.0)), wheel(rng, (0.2, 0.9), (0.3, 0.9))
        self.shoes, self.hair = wheel(rng, (0.0, 0.8), (0.15, 0.9)), wheel(rng, (0.2, 0.8), (0.15, 0.9))
        self.accent = wheel(rng, (0.5, 1.0), (0.7, 1.0))
        self.sleeves, self.badge = bool(rng.random() < 0.5), int(rng.integers(3, 7))
        self.torso = str(rng.choice(list(TORSOS)))
        self.skirt = rng.uniform(0.5, 0.95) if rng.random() < 0.35 else 0.0
        self.corners, self.square = int(rng.integers(6, 11)), bool(rng.random() < 0.25)
        self.crown = str(rng.choice(["crop", "spikes", "ears", "cone", "long"]))
        self.smile = rng.uniform(-0.3, 1.0)

    def fan(self, canvas: Canvas, centre: Array, corners: Array, colour: Colour) -> None:
        """A gem: triangles about a centre, each lit by the way it faces."""
        canvas.polygon(corners, colour)
        for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            canvas.polygon(np.stack([centre, a, b]), lit(colour, unit_vector((a + b) / 2 - centre)))

    def bar(self, canvas: Canvas, a: Array, b: Array, start: float, end: float, colour: Colour) -> None:
        """A limb as a pointed prism of two facets."""
        along = unit_vector(b - a)
        across = np.array([-along[1], along[0]])
        tips = a - along * start * 0.7, b + along * end * 0.7
        for side in (-1, 1):
            edge = np.stack([tips[0], a + side * across * start, b + side * across * end, tips[1]])
            canvas.polygon(edge, lit(colour, side * across))

    def __call__(self, canvas: Canvas, points: Array, unit: float) -> None:
        p, z, body = points[:, :2], points[:, 2] / unit, self.body
        girth = body.girth * unit

        def leg(i: int) -> None:
            hip, knee, ankle = p[HIPS[i]], p[KNEES[i]], p[ANKLES[i]]
            self.bar(canvas, knee, ankle, girth * 1.1, girth * 0.8, self.skin if self.skirt else self.bottom)
            self.bar(canvas, hip, knee, girth * 1.35, girth * 1.1, self.skin if self.skirt else self.bottom)
            down, out = np.array([0, body.foot * unit]), np.array([(i - 0.5) * 1.6 * girth, 0])
            foot = np.stack([ankle + (-girth, 0), ankle + (girth, 0), ankle + (girth * 1.3, 0) + down + out,
                             ankle + (-girth * 1.3, 0) + down + out])
            self.fan(canvas, foot.mean(axis=0), foot, self.shoes)

        def arm(i: int) -> None:
            shoulder, elbow, wrist = p[SHOULDERS[i]], p[ELBOWS[i]], p[WRISTS[i]]
            along = unit_vector(wrist - elbow)
            self.fan(canvas, wrist + along * girth, wrist + along * girth + ring(6) * girth * 1.25, self.skin)
            self.bar(canvas, elbow, wrist, girth, girth * 0.75, self.top if self.sleeves else self.skin)
            self.bar(canvas, shoulder, elbow, girth * 1.2, girth * 1.02, self.top)

        ordered([*((z[KNEES[i]] - 0.3, partial(leg, i)) for i in range(2)), (0.0, partial(self.trunk, canvas, p, girth)),
                 (0.02, partial(self.head, canvas, p, unit)),
                 *((z[WRISTS[i]] + z[ELBOWS[i]] + 0.06, partial(arm, i)) for i in range(2))])

    def trunk(self, canvas: Canvas, p: Array, girth: float) -> None:
        shoulders, hips = p[list(SHOULDERS)], p[list(HIPS)]
        top, low = shoulders.mean(axis=0), hips.mean(axis=0)
        wide, waist, base = TORSOS[self.torso]
        half_top, half_low = (shoulders[1] - shoulders[0]) / 2, (hips[1] - hips[0]) / 2
        flank = unit_vector(half_low) * girth * 1.35
        middle, half_middle = (top + low) / 2, (half_top + half_low) / 2 * waist
        rise = unit_vector(top - low) * girth * 1.2
        self.bar(canvas, low, p[NECK], girth * 1.2, girth * 1.2, self.skin)
        if self.skirt:
            knees = p[list(KNEES)]
            hem = low + (knees.mean(axis=0) - low) * self.skirt
            reach = low[0] + (knees[:, 0] - low[0]) * self.skirt + np.array([-2.2, 2.2]) * girth
            drop = np.array([0, hem[1]])
            corners = np.stack([low - half_low * base - flank, low + half_low * base + flank, (reach[1], 0) + drop,
                                (hem[0], 0.6 * girth) + drop, (reach[0], 0) + drop])
            self.fan(canvas, (low + hem) / 2, corners, self.bottom)
        else:
            corners = np.stack([low - half_low - flank + rise, low + half_low + flank + rise, low + half_low + flank - rise * 0.6,
                                low - rise * 0.9, low - half_low - flank - rise * 0.6])
            self.fan(canvas, low, corners, self.bottom)
        corners = np.stack([top - half_top * wide * 0.8 + rise * 0.8, top + half_top * wide * 0.8 + rise * 0.8, top + half_top * wide,
                            middle + half_middle + flank * 0.4, low + half_low * base + flank, low - half_low * base - flank,
                            middle - half_middle - flank * 0.4, top - half_top * wide])
        self.fan(canvas, middle + (top - middle) * 0.3, corners, self.top)
        badge = middle + (top - middle) * 0.35
        self.fan(canvas, badge, badge + ring(self.badge, 0.2) * np.hypot(*half_top) * 0.42, self.accent)

    def head(self, canvas: Canvas, p: Array, unit: float) -> None:
        centre, right = (p[EARS[0]] + p[EARS[1]]) / 2, unit_vector(p[EARS[1]] - p[EARS[0]])
        up = np.array([right[1], -right[0]])
        w, h = self.body.head_width * unit / 2, self.body.head * unit / 2

        def at(points: Array) -> Array:
            return centre + points[:, :1] * w * right + points[:, 1:] * h * up

        gaze = float((p[NOSE] - centre) @ right) / w  # how far the face is turned, of half the head's width
        outline = ring(self.corners, np.pi / self.corners) * (1, -1)
        if self.square:
            outline = np.array([(-0.85, 1), (0.85, 1), (1, 0.7), (1, -0.7), (0.7, -1), (-0.7, -1), (-1, -0.7), (-1, 0.7)])
        if self.crown == "long":
            self.fan(canvas, centre, at(np.array([(-1.15, 0.8), (1.15, 0.8), (1.4, -1.1), (0.8, -1.35), (-0.8, -1.35), (-1.4, -1.1)])),
                     self.hair)
        elif self.crown == "ears":
            for side in (-1, 1):
                ear = at(np.array([(side * 0.95, 0.45), (side * 0.9, 1.6), (side * 0.2, 0.9)]))
                self.fan(canvas, ear.mean(axis=0), ear, self.skin)
        self.fan(canvas, centre + gaze * 0.5 * w * right, at(outline), self.skin)
        for side in (-1, 1):
            eye = np.array([side * 0.38 + 0.8 * gaze, 0.12])
            canvas.polygon(at(eye + ring(4) * (0.21, 0.2)), (250, 250, 245))
            canvas.polygon(at(eye + ring(4) * (0.11, 0.14)), (30, 30, 40))
        beak = np.array([(0.9 * gaze - 0.1, -0.22), (0.9 * gaze + 0.1, -0.22), (0.9 * gaze, 0.0)])
        canvas.polygon(at(beak), lit(self.skin, -LIGHT, 0.3))
        x, bend = 0.8 * gaze, 0.16 * self.smile
        canvas.polygon(at(np.array([(x - 0.36, -0.5 + bend), (x, -0.52), (x + 0.36, -0.5 + bend), (x, -0.64 - bend / 2)])), (150, 40, 50))
        if self.crown == "cone":
            hat = at(np.array([(-1.1, 0.5), (0.1, 2.0), (1.1, 0.5), (0, 0.3)]))
            self.fan(canvas, hat.mean(axis=0), hat, self.accent)
        elif self.crown != "ears":
            top = [(-1.08, 0.3), (-0.95, 0.85), (-0.5, 1.12), (0.5, 1.12), (0.95, 0.85), (1.08, 0.3), (0.7, 0.5), (0.1, 0.62), (-0.6, 0.48)]
            cap = at(np.array(top))
            self.fan(canvas, at(np.array([(0, 0.85)]))[0], cap, self.hair)
            if self.crown == "spikes":
                for x in (-0.75, -0.25, 0.25, 0.75):
                    spike = at(np.array([(x - 0.3, 0.8), (x + 0.3, 0.8), (1.25 * x, 1.55)]))
                    self.fan(canvas, spike.mean(axis=0), spike, self.hair)


def scenery(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    w, h = width * SMOOTH, height * SMOOTH
    upper, lower, third = (wheel(rng, (0.05, 0.4), (0.6, 1.0)) for _ in range(3))
    image = Image.new("RGB", (w, h), upper)
    pen = ImageDraw.Draw(image)

    def shape(points: Array, colour: Colour) -> None:
        pen.polygon((points * (w, h)).ravel().tolist(), fill=colour)

    kind = rng.choice(["mesh", "rays", "peaks", "floor"])
    if kind == "mesh":
        columns, rows = 4, 6
        x, y = np.meshgrid(np.linspace(-0.2, 1.2, columns + 1), np.linspace(-0.2, 1.2, rows + 1))
        grid = np.stack([x, y], axis=-1) + rng.uniform(-0.06, 0.06, (rows + 1, columns + 1, 2))
        for r in range(rows):
            for c in range(columns):
                a, b, d, e = grid[r, c], grid[r, c + 1], grid[r + 1, c], grid[r + 1, c + 1]
                for triangle in ((a, b, d), (b, d, e)):
                    share = float(np.mean([t[1] for t in triangle])) + rng.uniform(-0.12, 0.12)
                    blend = np.array(upper) + (np.array(lower) - upper) * np.clip(share, 0, 1)
                    shape(np.stack(triangle), tuple(blend.astype(int).tolist()))
    elif kind == "rays":
        hub, edges = rng.uniform(0.3, 0.7, 2), np.linspace(0, 2 * np.pi, 17)
        for a, b in zip(edges[::2], edges[1::2], strict=False):
            shape(np.stack([hub, hub + 2 * np.array([np.cos(a), np.sin(a)]), hub + 2 * np.array([np.cos(b), np.sin(b)])]),
                  tint(upper, 0.88))
    elif kind == "peaks":
        sun = np.array([rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.25)])
        shape(sun + ring(8) * (0.11, 0.11 * width / height), tint(third, 1.5))
        for x, top in zip(rng.uniform(-0.1, 1.1, 4).tolist(), rng.uniform(0.35, 0.6, 4).tolist(), strict=True):
            for side, factor in ((-1, 1.0), (1, 0.85)):
                shape(np.array([(x, top), (x + side * 0.5, 0.9), (x, 0.9)]), tint(third, factor))
        shape(np.array([(0, 0.82), (1, 0.78), (1, 1), (0, 1)]), lower)
    else:
        line = rng.uniform(0.6, 0.75)
        shape(np.array([(0, line), (1, line), (1, 1), (0, 1)]), lower)
        for x in np.arange(-3.0, 4.0, 0.5).tolist():
            shape(np.array([(0.5 + 0.3 * (x - 0.5), line), (0.5 + 0.3 * (x - 0.25), line), (0.5 + x - 0.25, 1), (0.5 + x - 0.5, 1)]),
                  tint(lower, 0.88))
    return image


def clip(seed: int, frames: int, width: int, height: int, motion: str | None = None) -> Clip:
    """The figure of any seed in one of `body.MOTIONS` (its own by default). Raises ValueError for a size that no model takes."""
    rng = np.random.default_rng((WORLD, seed, 1))
    painter = Painter(seed, width, height)
    return film(Figure(painter.body, painter.background, painter, lambda picture, _: picture, rng.uniform(0.66, 0.8),
                       rng.uniform(0.46, 0.54)), (WORLD, seed), frames, width, height, motion)
