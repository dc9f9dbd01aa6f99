"""Figures drawn by hand on paper: inked outlines and hatching, crayon, pencil, chalk on a board.

Strokes belong to the parts of the body that they lie on and move with them; the paper's grain stays in its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .body import ANKLES, EARS, ELBOWS, HIPS, KNEES, NECK, NOSE, SHOULDERS, WRISTS, Array, make_body
from .record import SMOOTH, Canvas, Clip, Colour, Figure, film, ordered, tint, wheel

WORLD = 2  # the key of its random numbers
ROUND = np.linspace(0, 2 * np.pi, 20, endpoint=False)
CIRCLE = np.stack([np.cos(ROUND), np.sin(ROUND)], axis=-1)


@dataclass(frozen=True)
class Medium:
    """Lengths in body heights. line: outline's width; gap: between hatching strokes, 0 for none; stroke: their width; wash: how far fills
    are from the paper's colour towards their own; grain: how much the paper shows through."""

    line: float
    gap: float
    stroke: float
    wash: float
    grain: float


MEDIA = {"ink": Medium(0.011, 0.028, 0.004, 0.55, 0.0), "crayon": Medium(0.012, 0.017, 0.011, 0.7, 0.22),
         "pencil": Medium(0.007, 0.018, 0.004, 0.3, 0.12), "chalk": Medium(0.012, 0.024, 0.009, 0.45, 0.2),
         "marker": Medium(0.016, 0.0, 0.0, 0.9, 0.0)}
PAPERS = ((250, 249, 245), (247, 240, 222), (226, 205, 172), (222, 234, 240), (240, 226, 230))
SKINS = ((255, 222, 190), (244, 190, 150), (214, 150, 100), (150, 98, 66), (255, 236, 150), (170, 214, 150))
BOARDS = ((44, 70, 58), (48, 50, 56), (40, 52, 84))


@dataclass(frozen=True)
class Part:
    """A convex outline `[N, 2]` in pixels; hatching begins at `origin` and leans by `angle` against `along`."""

    outline: Array
    origin: Array
    along: Array
    colour: Colour
    key: int


def direction(a: Array, b: Array) -> Array:
    return (b - a) / max(1e-6, float(np.hypot(*(b - a))))


def capsule(a: Array, b: Array, start: float, end: float) -> Array:
    along = direction(a, b)
    turn = np.arctan2(along[1], along[0])
    half = np.linspace(np.pi / 2, 3 * np.pi / 2, 9) + turn
    first, last = (np.stack([np.cos(h), np.sin(h)], axis=-1) for h in (half, half + np.pi))
    return np.concatenate([a + start * first, b + end * last])


class Painter:
    def __init__(self, seed: int, width: int, height: int) -> None:
        rng = np.random.default_rng((WORLD, seed))
        self.kind = str(rng.choice(list(MEDIA)))
        self.medium = MEDIA[self.kind]
        dark = self.kind == "chalk"
        self.paper = (BOARDS if dark else PAPERS)[rng.integers(len(BOARDS if dark else PAPERS))]
        self.ink = {"chalk": (220, 220, 212), "pencil": (88, 86, 92), "crayon": wheel(rng, (0.3, 0.7), (0.3, 0.5))}.get(
            self.kind, ((36, 34, 40), (76, 50, 36), (36, 46, 96))[rng.choice(3, p=(0.6, 0.2, 0.2))])
        grey = self.kind == "pencil" and rng.random() < 0.6

        def paint(colour: Colour) -> Colour:
            if grey:
                colour = (sum(colour) // 3,) * 3
            r, g, b = (round(p + (c - p) * self.medium.wash) for p, c in zip(self.paper, colour, strict=True))
            return r, g, b

        self.thin = bool(rng.random() < 0.2)
        self.body = make_body(rng, self.thin)
        self.skin = paint(SKINS[rng.integers(len(SKINS))])
        self.top, self.bottom, self.hair, self.shoes = (paint(wheel(rng, (0.5, 1.0), (0.4, 1.0))) for _ in range(4))
        self.dress, self.hem = bool(rng.random() < 0.35), rng.uniform(0.5, 1.0)
        self.oval, self.sleeves = bool(rng.random() < 0.3), rng.uniform(0.4, 1.0)
        self.hairdo = str(rng.choice(["curls", "strands", "bunches", "crown", "bald"]))
        self.dots, self.smile = bool(rng.random() < 0.5), rng.uniform(0.25, 1.0)
        self.lean = rng.uniform(0.5, 1.1)
        self.background, self.noise = sheet(rng, self.paper, self.ink, dark, width, height)
        self.hand = rng.normal(0, 1, (43, 40))  # the hand's unsteadiness, a row for each part

    def group(self, canvas: Canvas, parts: list[Part], unit: float) -> None:
        """Parts inside one outline: all their borders first, then all their insides."""
        medium = self.medium
        for part in parts:
            unsteady = np.interp(np.linspace(0, 10, len(part.outline), endpoint=False), np.arange(11),
                                 np.append(self.hand[part.key, :10], self.hand[part.key, 0]))
            width = medium.line * unit * (1 + 0.22 * unsteady[:, None]).clip(0.5, 1.5)
            centre = part.outline.mean(axis=0)
            normal = np.roll(part.outline, -1, axis=0) - np.roll(part.outline, 1, axis=0)
            normal = np.stack([normal[:, 1], -normal[:, 0]], axis=-1) / np.hypot(*normal.T).clip(1e-6)[:, None]
            outwards = np.sign(((part.outline - centre) * normal).sum())
            canvas.polygon(part.outline + outwards * width * normal, self.ink)
        for part in parts:
            canvas.polygon(part.outline, part.colour)
        if medium.gap:
            for part in parts:
                self.hatch(canvas, part, unit)

    def hatch(self, canvas: Canvas, part: Part, unit: float) -> None:
        c, s = np.cos(self.lean), np.sin(self.lean)
        way = np.array([part.along[0] * c - part.along[1] * s, part.along[0] * s + part.along[1] * c])
        across = np.array([-way[1], way[0]])
        place, gap = (part.outline - part.origin) @ across, self.medium.gap * unit
        ends = np.roll(part.outline, -1, axis=0)
        other = np.roll(place, -1)
        jitter = self.hand[part.key, 10:]
        for i in range(int(np.ceil(place.min() / gap)), int(np.floor(place.max() / gap)) + 1):
            offset = (i + 0.2 * jitter[i % len(jitter)].clip(-1, 1)) * gap
            crossing = np.flatnonzero((place - offset) * (other - offset) < 0)
            if len(crossing) < 2:
                continue
            share = ((offset - place[crossing]) / (other[crossing] - place[crossing]))[:, None]
            meets = part.outline[crossing] + share * (ends[crossing] - part.outline[crossing])
            order = (meets @ way).argsort()
            a, b = meets[order[0]], meets[order[-1]]
            inset = (self.medium.stroke * unit * 0.6 + 0.06 * abs(jitter[i % len(jitter)]) * np.hypot(*(b - a))) * way
            if (b - a) @ way > 2.2 * inset @ way:
                canvas.line(np.stack([a + inset, b - inset]), self.stroke(part.colour, jitter[(i + 7) % len(jitter)]),
                            self.medium.stroke * unit)

    def stroke(self, colour: Colour, jitter: float) -> Colour:
        if self.kind == "chalk":
            return tint(colour, 1.22 + 0.05 * float(np.clip(jitter, -1, 1)))
        return tint(colour, {"ink": 0.62, "crayon": 0.86, "pencil": 0.72}[self.kind] + 0.05 * float(np.clip(jitter, -1, 1)))

    def __call__(self, canvas: Canvas, points: Array, unit: float) -> None:
        p, z, body = points[:, :2], points[:, 2] / unit, self.body
        girth = body.girth * unit

        def part(a: Array, b: Array, start: float, end: float, colour: Colour, key: int) -> Part:
            return Part(capsule(a, b, start * girth, end * girth), a, direction(a, b), colour, key)

        def leg(i: int) -> None:
            hip, knee, ankle = p[HIPS[i]], p[KNEES[i]], p[ANKLES[i]]
            colour = self.skin if self.dress else self.bottom
            size = max(girth, 0.02 * unit) / girth
            toe = ankle + np.array([(2 * i - 1) * 1.4 * size * girth, 0.6 * size * girth])
            self.group(canvas, [part(ankle, toe, size, size * 0.9, self.shoes, i)], unit)
            self.group(canvas, [part(knee, ankle, 1.0, 0.8, colour, 2 + i), part(hip, knee, 1.3, 1.0, colour, 4 + i)], unit)

        def arm(i: int) -> None:
            shoulder, elbow, wrist = p[SHOULDERS[i]], p[ELBOWS[i]], p[WRISTS[i]]
            cuff = elbow + (wrist - elbow) * (self.sleeves - 0.4)
            palm = wrist + direction(elbow, wrist) * girth
            size = max(girth * 1.1, 0.02 * unit) / girth
            self.group(canvas, [part(palm, palm + 0.01, size, size, self.skin, 6 + i), part(elbow, wrist, 0.95, 0.75, self.skin, 8 + i)],
                       unit)
            self.group(canvas, [part(elbow, cuff, 1.0, 1.0, self.top, 10 + i), part(shoulder, elbow, 1.15, 1.0, self.top, 12 + i)], unit)

        ordered([*((z[KNEES[i]] - 0.3, partial(leg, i)) for i in range(2)),
                 (0.0, lambda: self.trunk(canvas, p, girth, unit)), (0.02, lambda: self.head(canvas, p, unit)),
                 *((z[WRISTS[i]] + z[ELBOWS[i]] + 0.06, partial(arm, i)) for i in range(2))])

    def trunk(self, canvas: Canvas, p: Array, girth: float, unit: float) -> None:
        shoulders, hips = p[list(SHOULDERS)], p[list(HIPS)]
        top, low = shoulders.mean(axis=0), hips.mean(axis=0)
        up, half_top, half_low = direction(low, top), (shoulders[1] - shoulders[0]) / 2, (hips[1] - hips[0]) / 2
        thick = max(girth, 0.02 * unit)
        flank = direction(-half_low, half_low) * thick
        self.group(canvas, [Part(capsule(low, p[NECK] + up * 0.03 * unit, thick, thick), low, up, self.skin, 14)], unit)
        if self.dress:
            knees = p[list(KNEES)]
            hem = low + (knees.mean(axis=0) - low) * self.hem
            reach = (knees - low) * self.hem * (1, 0) + np.array([(-2.4, 0), (2.4, 0)]) * thick
            left, right = (np.array([low[0] + reach[i, 0], hem[1]]) for i in range(2))
            skirt = np.stack([low - half_low - flank + up * thick, low + half_low + flank + up * thick, right,
                              (left + right) / 2 + (0, 0.8 * thick), left])
            self.group(canvas, [Part(rounded(skirt, 0.15), low, up, self.bottom, 15)], unit)
        else:
            trousers = capsule(low - half_low, low + half_low, thick * 1.35, thick * 1.35)
            self.group(canvas, [Part(trousers, low, up, self.bottom, 15)], unit)
        if self.oval:
            length = np.hypot(*(top - low)) / 2
            belly = (top + low) / 2 + CIRCLE @ np.stack([direction(-half_low, half_low) * (np.hypot(*half_top) + 1.1 * thick),
                                                         up * (length + 0.6 * thick)])
        else:
            belly = rounded(np.stack([top - half_top * 0.9 + up * thick, top + half_top * 0.9 + up * thick,
                                      top + half_top * 1.12 - up * thick * 0.8, low + half_low + flank - up * thick * 0.4,
                                      low - half_low - flank - up * thick * 0.4, top - half_top * 1.12 - up * thick * 0.8]), 0.2)
        self.group(canvas, [Part(belly, low, up, self.top, 16)], unit)
        if self.dots:
            for share in (0.3, 0.55, 0.8):
                canvas.polygon(low + (top - low) * share + CIRCLE * 0.012 * unit, self.ink)

    def head(self, canvas: Canvas, p: Array, unit: float) -> None:
        centre, right = (p[EARS[0]] + p[EARS[1]]) / 2, direction(p[EARS[0]], p[EARS[1]])
        up, w, h = np.array([right[1], -right[0]]), self.body.head_width * unit / 2, self.body.head * unit / 2
        basis = np.stack([right * w, up * h])

        def at(points: Array | list[tuple[float, float]]) -> Array:
            return centre + np.asarray(points) @ basis

        def blob(x: float, y: float, rx: float, ry: float, colour: Colour, key: int) -> Part:
            outline = at(CIRCLE * (rx, ry) + (x, y))
            return Part(outline, at([(x, y)])[0], up, colour, key)

        gaze = float((p[NOSE] - centre) @ right) / w
        if self.hairdo == "curls":
            self.group(canvas, [blob(0.95 * np.cos(a), 0.25 + 0.85 * np.sin(a), 0.36, 0.34, self.hair, 20 + i)
                                for i, a in enumerate(np.linspace(-0.3, np.pi + 0.3, 9))], unit)
        elif self.hairdo == "bunches":
            self.group(canvas, [blob(side * 1.2, 0.35, 0.4, 0.45, self.hair, 20 + side) for side in (-1, 1)], unit)
        self.group(canvas, [*(blob(side * 1.0 - 0.1 * gaze, -0.02, 0.16, 0.2, self.skin, 32 + side) for side in (-1, 1)),
                            blob(0, 0, 1, 1, self.skin, 30)], unit)
        thin = max(0.7 * self.medium.line, 0.007) * unit
        for side in (-1, 1):
            x = 0.36 * side + 0.75 * gaze
            canvas.polygon(at(CIRCLE * (0.1, 0.13) + (x, 0.13)), self.ink)
            canvas.line(at([(x - 0.17, 0.4), (x, 0.46), (x + 0.17, 0.4)]), self.ink, thin)
        canvas.line(at([(0.85 * gaze, 0.02), (0.95 * gaze + 0.08, -0.2), (0.85 * gaze - 0.04, -0.22)]), self.ink, thin)
        curve = np.linspace(-1, 1, 9)
        canvas.line(at(np.stack([0.42 * curve + 0.7 * gaze, -0.62 + 0.2 * self.smile * curve**2], axis=-1)), self.ink, thin)
        if self.hairdo in ("bunches", "strands"):
            arc = np.linspace(0.25, np.pi - 0.25, 12)
            cap = np.concatenate([np.stack([1.04 * np.cos(arc), 1.06 * np.sin(arc)], axis=-1), [(-0.5, 0.62), (0.5, 0.62)]])
            self.group(canvas, [Part(at(cap), at([(0, 0.8)])[0], up, self.hair, 40)], unit)
        if self.hairdo == "strands":
            for i, a in enumerate(np.linspace(0.3, np.pi - 0.3, 9)):
                tip = np.array([1.35 * np.cos(a + 0.06 * self.hand[41, i]), 1.4 * np.sin(a)])
                canvas.line(at([(0.95 * np.cos(a), 0.95 * np.sin(a)), tuple(tip)]), self.ink, 1.3 * thin)
        elif self.hairdo == "crown":
            spikes = [(-0.8, 0.65), (-0.9, 1.5), (-0.42, 1.1), (0.0, 1.65), (0.42, 1.1), (0.9, 1.5), (0.8, 0.65), (0.0, 0.75)]
            self.group(canvas, [Part(at(spikes), at([(0, 1)])[0], up, self.hair, 42)], unit)

    def finish(self, picture: Array, mask: Array) -> Array:
        """The paper's grain shows through the figure."""
        if not self.medium.grain:
            return picture
        bare = (self.medium.grain * self.noise * (mask / 255))[..., None]
        return np.asarray((picture + (np.array(self.paper) - picture) * bare).round().clip(0, 255).astype(np.uint8))


def rounded(corners: Array, share: float) -> Array:
    """A polygon with its corners cut off by a share of the sides, twice."""
    for _ in range(2):
        after = np.roll(corners, -1, axis=0)
        corners = np.stack([corners + (after - corners) * share, after + (corners - after) * share], axis=1).reshape(-1, 2)
        share = 0.25
    return corners


def sheet(rng: np.random.Generator, paper: Colour, ink: Colour, dark: bool, width: int, height: int) -> tuple[Image.Image, Array]:
    """The paper with what is drawn on it, SMOOTH times larger, and its grain `[H, W]` in 0..1."""
    w, h = width * SMOOTH, height * SMOOTH
    y, x = np.mgrid[:h, :w] / max(w, h)
    angle = rng.uniform(0, 2 * np.pi)
    light = 1 + rng.uniform(0, 0.07) * ((x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle))
    fibre = Image.fromarray(rng.integers(0, 256, (height, width), dtype=np.uint8)).filter(ImageFilter.GaussianBlur(0.8))
    noise = np.asarray(fibre, dtype=float)
    noise = ((noise - noise.mean()) / (4 * noise.std()) + 0.5).clip(0, 1)
    grain = 0.02 * (np.asarray(fibre.resize((w, h), Image.Resampling.BILINEAR), dtype=float) / 255 - 0.5)
    image = Image.fromarray(((np.array(paper) * (light + grain)[..., None]).round().clip(0, 255)).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    unit = min(w, h)
    faint = tint(paper, 1.18) if dark else tint(paper, 0.86)
    kind = rng.choice(["bare", "lined", "squared", "meadow"])
    if kind in ("lined", "squared"):
        gap, thick = rng.uniform(0.07, 0.11) * unit, max(1, round(0.004 * unit))
        for place in np.arange(gap / 2, h, gap):
            pen.line((0, place, w, place), fill=faint, width=thick)
        for place in np.arange(gap / 2, w, gap) if kind == "squared" else ():
            pen.line((place, 0, place, h), fill=faint, width=thick)
    elif kind == "meadow":
        thick, ground = max(1, round(0.008 * unit)), 0.93 * h
        wave = ground + 0.01 * h * np.sin(np.linspace(0, 9, 30) + rng.uniform(0, 6))
        pen.line([*zip(np.linspace(0, w, 30), wave, strict=True)], fill=ink, width=thick)
        for blade in rng.uniform(0, w, 9):
            pen.line((blade, ground, blade + rng.uniform(-0.02, 0.02) * unit, ground - 0.05 * unit), fill=ink, width=thick)
        sun, radius = np.array([rng.choice([0.14, 0.86]) * w, 0.12 * unit]), 0.07 * unit
        pen.ellipse([*(sun - radius), *(sun + radius)], outline=ink, width=thick)
        for way in CIRCLE[::2]:
            pen.line([*(sun + way * radius * 1.25), *(sun + way * radius * 1.65)], fill=ink, width=thick)
    return image, noise


def clip(seed: int, frames: int, width: int, height: int, motion: str | None = None) -> Clip:
    """The figure of any seed in one of `body.MOTIONS` (its own by default). Raises ValueError for a size that no model takes."""
    rng = np.random.default_rng((WORLD, seed, 1))
    painter = Painter(seed, width, height)
    return film(Figure(painter.body, painter.background, painter, painter.finish, rng.uniform(0.64, 0.78), rng.uniform(0.46, 0.54)),
                (WORLD, seed), frames, width, height, motion)
