"""Drawing a character over its keypoints: flat shapes, back to front, at SMOOTH times the size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from ..pose import keypoints as j
from .character import Character, Colour, shade
from .motion import SIDES
from .scenery import SMOOTH

Array = np.ndarray
CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 24, endpoint=False)), np.sin(np.linspace(0, 2 * np.pi, 24, endpoint=False))], axis=-1)


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


class Painter:
    """Draws one frame of a character on a transparent layer.

    points `[18, 2]` in pixels of the final picture, unit: pixels of one body height.
    """

    def __init__(self, character: Character, points: Array, width: int, height: int) -> None:
        self.body, self.looks = character.body, character.looks
        self.p = points.astype(float) * SMOOTH
        self.unit = character.height * height * SMOOTH
        self.layer = Image.new("RGBA", (width * SMOOTH, height * SMOOTH))
        self.draw = ImageDraw.Draw(self.layer)
        hips = (self.p[j.R_HIP] + self.p[j.L_HIP]) / 2
        self.torso = Frame(hips, self.direction(hips, self.p[j.NECK]), self.unit)
        eyes = self.p[j.L_EYE] - self.p[j.R_EYE]
        up = np.array([eyes[1], -eyes[0]]) / np.linalg.norm(eyes)
        centre = (self.p[j.R_EAR] + self.p[j.L_EAR]) / 2
        self.head = Frame(centre, up, self.unit)

    @staticmethod
    def direction(a: Array, b: Array) -> Array:
        way = b - a
        return way / max(1e-6, float(np.linalg.norm(way)))

    def polygon(self, points: Array, colour: Colour) -> None:
        self.draw.polygon(points.ravel().tolist(), fill=colour)

    def disc(self, centre: Array, radius: float, colour: Colour) -> None:
        r = radius * self.unit
        self.draw.ellipse((centre[0] - r, centre[1] - r, centre[0] + r, centre[1] + r), fill=colour)

    def limb(self, a: Array, b: Array, start: float, end: float, colour: Colour) -> None:
        """A tapered capsule; radii in body heights."""
        way = self.direction(a, b) * self.unit
        across = np.array([-way[1], way[0]])
        self.polygon(np.stack([a + across * start, b + across * end, b - across * end, a - across * start]), colour)
        self.disc(a, start, colour)
        self.disc(b, end, colour)

    def paint(self) -> Image.Image:
        """The character alone, RGBA, at the picture's size."""
        self.hair_behind()
        for side in range(2):
            self.leg(side)
        self.trunk()
        for side in range(2):
            self.arm(side)
        self.face()
        return self.layer.reduce(SMOOTH)

    # ------------------------------------------------------------------------------------------------------- limbs

    def leg(self, side: int) -> None:
        hip, knee, ankle = self.p[j.R_HIP + 3 * side: j.R_HIP + 3 * side + 3]
        looks, width = self.looks, self.body.leg_width
        outward = SIDES[side]
        if looks.lower == "trousers":
            cloth = shade(looks.lower_colour, 0.93)
            self.limb(knee, ankle, width * 0.85, width * 0.72, cloth)
            self.limb(hip, knee, width * 1.12, width * 0.88, cloth)
        else:
            self.limb(knee, ankle, width * 0.72, width * 0.5, looks.skin)
            if looks.socks:
                self.limb(knee + (ankle - knee) * 0.55, ankle, width * 0.64, width * 0.54, looks.socks)
            self.limb(hip, knee, width, width * 0.74, looks.skin)
            if looks.lower == "shorts":
                end = hip + (knee - hip) * (0.55 + 0.4 * looks.hem)
                self.limb(hip, end, width * 1.15, width * 1.1, shade(looks.lower_colour, 0.93))
        shoe = Frame(ankle, np.array([0.0, -1.0]), self.unit)
        foot = self.body.foot
        if looks.boots:
            self.limb(knee + (ankle - knee) * 0.5, ankle, width * 0.85, width * 0.75, looks.shoes)
        self.polygon(shoe([(-width * 0.75, 0.012), (width * 0.75, 0.012), (width * 0.75 + 0.022 * (outward > 0), -foot),
                           (-width * 0.75 - 0.022 * (outward < 0), -foot)]), looks.shoes)

    def arm(self, side: int) -> None:
        shoulder, elbow, wrist = self.p[j.R_SHOULDER + 3 * side: j.R_SHOULDER + 3 * side + 3]
        looks, width = self.looks, self.body.arm_width
        # a little darker than the trunk, so that an arm before it is seen
        cloth = shade(looks.top, 0.86)
        skin = shade(looks.skin, 0.95)
        hand = wrist + self.direction(elbow, wrist) * 0.02 * self.unit
        self.disc(hand, 0.026, looks.gloves or skin)
        if looks.sleeves == "long":
            self.limb(elbow, wrist, width * 0.95, width * 0.8, cloth)
            self.limb(shoulder, elbow, width * 1.15, width * 0.98, cloth)
            return
        self.limb(elbow, wrist, width * 0.8, width * 0.62, skin)
        self.limb(shoulder, elbow, width, width * 0.84, skin)
        if looks.sleeves == "short":
            self.limb(shoulder, shoulder + (elbow - shoulder) * 0.6, width * 1.2, width * 1.2, cloth)

    # ------------------------------------------------------------------------------------------------------- trunk

    def trunk(self) -> None:
        body, looks, torso = self.body, self.looks, self.torso
        neck_width = 0.34 * body.head_width
        self.limb(self.p[j.NECK], self.head([[0, -0.3 * body.head]])[0], neck_width / 2, neck_width / 2, shade(looks.skin, 0.9))
        top = body.torso
        cut = neck_width * 0.75
        strap = 0.72 if looks.sleeves == "none" else 1.0
        outline = torso([(-body.hip * 1.25, -0.015), (-body.waist * 1.05, 0.38 * top), (-body.shoulder * 1.06, top - 0.045),
                         (-body.shoulder * strap, top + 0.005), (-cut, top + 0.012), (0, top - 0.03), (cut, top + 0.012),
                         (body.shoulder * strap, top + 0.005), (body.shoulder * 1.06, top - 0.045), (body.waist * 1.05, 0.38 * top),
                         (body.hip * 1.25, -0.015)])
        self.lower()
        self.polygon(outline, looks.top)
        self.pattern(outline)
        if looks.lower == "dress":
            return
        self.polygon(torso([(-body.hip * 1.27, -0.03), (-body.hip * 1.25, 0.02), (body.hip * 1.25, 0.02), (body.hip * 1.27, -0.03)]),
                     looks.belt or shade(looks.lower_colour, 0.93 if looks.lower in ("trousers", "shorts") else 1.0))

    def lower(self) -> None:
        """The hips, and a skirt that hangs from them over the knees' spread."""
        body, looks, torso = self.body, self.looks, self.torso
        if looks.lower in ("trousers", "shorts"):
            self.polygon(torso([(-body.hip * 1.25, 0.02), (body.hip * 1.25, 0.02), (body.hip * 1.2, -0.05), (-body.hip * 1.2, -0.05)]),
                         shade(looks.lower_colour, 0.93))
            return
        colour = looks.top if looks.lower == "dress" else looks.lower_colour
        down = (0.62 if looks.lower == "skirt" else 0.85) + 0.35 * looks.hem
        flare = 0.05 * self.unit
        hem = [self.p[h] + (self.p[h + 1] - self.p[h]) * down for h in (j.R_HIP, j.L_HIP)]
        left, right = (h + np.array([side * flare, 0]) for h, side in zip(hem, SIDES, strict=True))
        waist = torso([(body.hip * 1.25, 0.02), (-body.hip * 1.25, 0.02)])
        self.polygon(np.stack([left, right, *waist]), colour)

    def pattern(self, outline: Array) -> None:
        looks, torso, top, half = self.looks, self.torso, self.body.torso, self.body.shoulder * 1.2
        if looks.pattern == "plain":
            return
        mask = Image.new("L", self.layer.size)
        ImageDraw.Draw(mask).polygon(outline.ravel().tolist(), fill=255)
        marks = Image.new("L", self.layer.size)
        pen = ImageDraw.Draw(marks)
        step = 0.075 * looks.pattern_size
        rows, columns = np.arange(-0.04, top + 0.05, step), np.arange(0, half, step)
        shapes: list[Array] = []
        if looks.pattern == "bands":
            shapes = [torso([(-half, y), (half, y), (half, y + step / 2), (-half, y + step / 2)]) for y in rows]
        elif looks.pattern == "stripes":
            shapes = [torso([(x - step / 4, -0.05), (x - step / 4, top + 0.05), (x + step / 4, top + 0.05), (x + step / 4, -0.05)])
                      for x in np.concatenate([-columns[1:], columns])]
        elif looks.pattern == "dots":
            shapes = [torso.ellipse(x + (i % 2) * step / 2, y, step * 0.28, step * 0.28)
                      for i, y in enumerate(rows) for x in np.concatenate([-columns[1:], columns])]
        elif looks.pattern == "emblem":
            r = 0.055 * looks.pattern_size
            shapes = [torso.ellipse(0, top * 0.58, r, r)]
        elif looks.pattern == "halves":
            shapes = [torso([(0, -0.05), (0, top + 0.05), (half, top + 0.05), (half, -0.05)])]
        for shape in shapes:
            pen.polygon(shape.ravel().tolist(), fill=255)
        self.layer.paste(looks.second, (0, 0), ImageChops.multiply(marks, mask))

    # -------------------------------------------------------------------------------------------------------- head

    def hair_behind(self) -> None:
        looks, head = self.looks, self.head
        w, h = self.body.head_width / 2, self.body.head / 2
        colour = shade(looks.hair_colour, 0.85)
        if looks.hair == "long":
            self.polygon(head([(-w * 1.2, 0.2 * h), (w * 1.2, 0.2 * h), (w * 1.35, -2.3 * h), (-w * 1.35, -2.3 * h)]), colour)
        elif looks.hair == "bob":
            self.polygon(head([(-w * 1.2, 0.2 * h), (w * 1.2, 0.2 * h), (w * 1.3, -1.05 * h), (-w * 1.3, -1.05 * h)]), colour)
        elif looks.hair == "ponytail":
            self.polygon(head([(w * 0.4, 0.9 * h), (w * 1.5, 0.5 * h), (w * 1.75, -1.3 * h), (w * 1.15, -1.2 * h)]), colour)
        elif looks.hair == "bun":
            self.polygon(head.ellipse(0, 1.15 * h, w * 0.5, w * 0.5), colour)
        elif looks.hair == "afro":
            self.polygon(head.ellipse(0, 0.3 * h, w * 1.55, h * 1.15), colour)

    def face(self) -> None:
        looks, head = self.looks, self.head
        w, h = self.body.head_width / 2, self.body.head / 2
        if looks.scarf:
            start, end = self.torso([(-0.05, self.body.torso + 0.005), (0.05, self.body.torso + 0.005)])
            self.limb(start, end, 0.025, 0.025, looks.scarf)
        for side in SIDES:
            self.polygon(head.ellipse(side * w, -0.05 * h, w * 0.16, h * 0.2), shade(looks.skin, 0.93))
        self.polygon(head.ellipse(0, 0, w, h), looks.skin)
        if looks.beard:
            self.polygon(head([(-0.97 * w, -0.15 * h), (-0.55 * w, -0.3 * h), (0.55 * w, -0.3 * h), (0.97 * w, -0.15 * h),
                               (0.75 * w, -0.72 * h),
                               (0, -1.04 * h), (-0.75 * w, -0.72 * h)]), looks.hair_colour)
        dark = (40, 30, 30)
        for side in SIDES:
            self.polygon(head.ellipse(side * 0.42 * w, 0.1 * h, 0.2 * w, 0.16 * h), (250, 250, 250))
            self.polygon(head.ellipse(side * 0.42 * w, 0.09 * h, 0.13 * w, 0.13 * h), looks.eyes)
            self.polygon(head([(side * 0.2 * w, 0.34 * h), (side * 0.64 * w, 0.31 * h), (side * 0.64 * w, 0.39 * h),
                               (side * 0.2 * w, 0.42 * h)]),
                         shade(looks.hair_colour, 0.7))
        self.polygon(head([(-0.09 * w, -0.2 * h), (0.09 * w, -0.2 * h), (0, -0.02 * h)]), shade(looks.skin, 0.82))
        curve = np.linspace(-1, 1, 7)
        lip = np.stack([0.33 * w * curve, -0.56 * h + 0.1 * h * looks.smile * curve**2], axis=-1)
        self.polygon(head(np.concatenate([lip, lip[::-1] - (0, 0.09 * h)])), (176, 62, 62))
        if looks.glasses:
            for side in SIDES:
                ring = head.ellipse(side * 0.42 * w, 0.1 * h, 0.31 * w, 0.25 * h)
                self.draw.line([*ring.ravel().tolist(), *ring[0].tolist()], fill=dark, width=max(1, round(0.006 * self.unit)))
        self.hair_before(w, h)
        self.headwear(w, h)

    def hair_before(self, w: float, h: float) -> None:
        looks, head = self.looks, self.head
        if looks.hair == "bald":
            return
        arc = np.linspace(-0.12, np.pi + 0.12, 13)
        crown = np.stack([1.08 * w * np.cos(arc), 1.1 * h * np.sin(arc)], axis=-1)
        line = {"short": [(-0.85, 0.35), (-0.3, 0.62), (0.3, 0.66), (0.85, 0.35)],
                "fringe": [(-0.85, 0.05), (-0.75, 0.42), (0.75, 0.42), (0.85, 0.05)],
                "spiky": [(-0.85, 0.3), (-0.5, 0.75), (-0.25, 0.5), (0, 0.78), (0.25, 0.5), (0.5, 0.75), (0.85, 0.3)]}.get(
                    looks.hair, [(-0.9, 0.0), (-0.6, 0.6), (0.15, 0.78), (0.6, 0.6), (0.9, 0.0)])
        self.polygon(head(np.concatenate([crown, np.array(line) * (w, h)])), looks.hair_colour)
        if looks.hair == "spiky":
            for x in (-0.75, -0.38, 0.0, 0.38, 0.75):
                y = np.sqrt(1 - (0.9 * x)**2)
                self.polygon(head([((x - 0.24) * w, y * h * 0.95), ((x + 0.24) * w, y * h * 0.95), (x * 1.25 * w, (y + 0.36) * h)]),
                             looks.hair_colour)

    def headwear(self, w: float, h: float) -> None:
        looks, head, colour = self.looks, self.head, self.looks.headwear_colour
        if looks.headwear == "none":
            return
        arc = np.linspace(0, np.pi, 11)
        dome = np.stack([1.14 * w * np.cos(arc), 0.5 * h + 0.72 * h * np.sin(arc)], axis=-1)
        if looks.headwear == "hat":
            self.polygon(head([(-0.8 * w, 0.55 * h), (-0.7 * w, 1.3 * h), (0.7 * w, 1.3 * h), (0.8 * w, 0.55 * h)]), colour)
            self.polygon(head.ellipse(0, 0.58 * h, 1.6 * w, 0.13 * h), shade(colour, 0.8))
            return
        self.polygon(head(dome), colour)
        if looks.headwear == "cap":
            self.polygon(head.ellipse(0, 0.5 * h, 1.0 * w, 0.16 * h), shade(colour, 0.75))
        else:
            self.polygon(head([(-1.16 * w, 0.42 * h), (1.16 * w, 0.42 * h), (1.12 * w, 0.68 * h), (-1.12 * w, 0.68 * h)]),
                         shade(colour, 0.8))


def draw_character(character: Character, points: Array, width: int, height: int) -> Image.Image:
    """One frame of a character, RGBA with an exact anti-aliased alpha; points `[18, 2 or 3]` in pixels of the picture."""
    return Painter(character, points[:, :2], width, height).paint()
