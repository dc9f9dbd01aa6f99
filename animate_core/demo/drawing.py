"""Drawing a character over its keypoints: shapes, back to front."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ..pose import keypoints as j
from .character import Character, Colour, shade
from .head import HeadPainter
from .motion import SIDES
from .painter import CIRCLE, Frame, direction

Array = np.ndarray
# Strokes of letters on a chest, in a box from (-1, -1) to (1, 1)
LETTERS = (((-1, 1), (1, 1), (0, 1), (0, -1)), ((-1, 1), (-1, -1), (1, -1)), ((-1, -1), (0, 1), (1, -1)),
           ((-1, 1), (-1, -1), (1, 1), (1, -1)), ((1, 1), (-1, 1), (1, -1), (-1, -1)), ((-1, 1), (0, -1), (1, 1)))


class CharacterPainter(HeadPainter):
    """Draws one frame of a character on a transparent layer; points `[18, 2]` in pixels of the picture."""

    def paint(self) -> Image.Image:
        """The character alone, RGBA, at the picture's size."""
        looks = self.looks
        self.behind()
        self.hair_behind()
        # a body that turns hides one side behind the trunk
        far = int(self.turned > 0) if abs(self.turned) > 0.25 else None
        for side in (range(2) if far is None else (far, 1 - far)):
            self.leg(side)
        if far is not None:
            self.arm(far)
        self.trunk()
        for side in (range(2) if far is None else (1 - far,)):
            self.arm(side)
        if looks.scarf:
            with self.group():
                start, end = self.torso([(-0.05, self.body.torso + 0.005), (0.05, self.body.torso + 0.005)])
                self.limb(start, end, 0.025, 0.025, looks.scarf)
        self.face()
        return self.finished()

    def behind(self) -> None:
        """Cape and tail."""
        body, looks, torso = self.body, self.looks, self.torso
        if looks.cape:
            top, low = body.torso, -0.55 * (body.thigh + body.shin)
            wide = body.shoulder * 1.9
            with self.group():
                self.polygon(torso([(-body.shoulder, top), (body.shoulder, top), (wide, low), (wide * 0.3, low * 1.1), (-wide * 0.4, low),
                                    (-wide, low * 1.08)]), looks.cape)
        if looks.tail:
            curve = np.linspace(0, 1, 7)
            way = torso(np.stack([body.hip * 0.8 + 0.16 * curve, 0.02 - 0.1 * np.sin(2.6 * curve) + 0.16 * curve**2], axis=-1))
            with self.group():
                for a, b in zip(way, way[1:], strict=False):
                    self.limb(a, b, 0.018, 0.018, looks.tail)

    # ------------------------------------------------------------------------------------------------------- limbs

    def joint(self, a: Array, b: Array, start: float, end: float, colour: Colour) -> None:
        """A limb in the way of the character's build."""
        if self.looks.build == "robot":
            self.bar(np.stack([a, b]), start * 1.1, start * 1.1, colour)
        else:
            self.limb(a, b, start, end, colour)

    def leg(self, side: int) -> None:
        with self.group():
            self.leg_shapes(side)

    def leg_shapes(self, side: int) -> None:
        hip, knee, ankle = self.p[j.R_HIP + 3 * side: j.R_HIP + 3 * side + 3]
        looks, width = self.looks, self.body.leg_width
        outward = SIDES[side]
        if looks.build == "stick":
            self.limb(hip, knee, width, width, looks.lower_colour)
            self.limb(knee, ankle, width, width, looks.lower_colour)
            self.limb(ankle, ankle + np.array([outward * 0.03, 0.0]) * self.unit, width, width, looks.lower_colour)
            return
        if looks.lower == "trousers" or looks.build == "robot":
            cloth = shade(looks.lower_colour, 0.93)
            self.joint(knee, ankle, width * 0.85, width * 0.72, cloth)
            self.joint(hip, knee, width * 1.12, width * 0.88, cloth)
            if looks.build == "robot":
                self.disc(knee, width * 0.7, looks.second)
        else:
            self.limb(knee, ankle, width * 0.72, width * 0.5, looks.skin)
            if looks.socks:
                self.limb(knee + (ankle - knee) * 0.55, ankle, width * 0.64, width * 0.54, looks.socks)
            self.limb(hip, knee, width, width * 0.74, looks.skin)
            if looks.lower == "shorts":
                end = hip + (knee - hip) * (0.55 + 0.4 * looks.hem)
                self.limb(hip, end, width * 1.15, width * 1.1, shade(looks.lower_colour, 0.93))
        up = np.array([0.0, -1.0]) if knee[1] <= ankle[1] or self.upright else direction(ankle, knee)
        shoe = Frame(ankle, up if self.upright else direction(ankle, knee), self.unit)
        foot = self.body.foot
        colour = looks.skin if looks.barefoot else looks.shoes
        if looks.boots:
            self.joint(knee + (ankle - knee) * 0.5, ankle, width * 0.85, width * 0.75, looks.shoes)
        self.polygon(shoe([(-width * 0.75, 0.012), (width * 0.75, 0.012), (width * 0.75 + 0.022 * (outward > 0), -foot),
                           (-width * 0.75 - 0.022 * (outward < 0), -foot)]), colour)

    def arm(self, side: int) -> None:
        with self.group():
            self.arm_shapes(side)
        self.held(side)

    def arm_shapes(self, side: int) -> None:
        shoulder, elbow, wrist = self.p[j.R_SHOULDER + 3 * side: j.R_SHOULDER + 3 * side + 3]
        looks, width = self.looks, self.body.arm_width
        # a little darker than the trunk, so that an arm before it is seen
        cloth = shade(looks.top, 0.86)
        skin = shade(looks.skin, 0.95)
        hand = looks.gloves or skin
        way = direction(elbow, wrist)
        if looks.build == "stick":
            self.limb(shoulder, elbow, width, width, looks.top)
            self.limb(elbow, wrist, width, width, looks.top)
            self.disc(wrist, width * 1.3, looks.top)
            return
        palm = max(0.026, 0.8 * width)
        if looks.build == "robot":
            self.bar(np.stack([wrist, wrist + way * 1.4 * palm * self.unit]), palm, palm * 1.2, looks.second)
        elif looks.fingers:
            across = np.array([-way[1], way[0]])
            for spread in (-0.9, -0.3, 0.3, 0.9):
                tip = wrist + (way + 0.55 * spread * across) * 2 * palm * self.unit
                self.limb(wrist + 0.5 * spread * across * palm * self.unit, tip, palm * 0.24, palm * 0.2, hand)
            self.disc(wrist + way * 0.5 * palm * self.unit, palm * 0.75, hand)
        else:
            self.disc(wrist + way * 0.02 * self.unit, palm, hand)
        if looks.sleeves == "long" or looks.build == "robot":
            self.joint(elbow, wrist, width * 0.95, width * 0.8, cloth)
            self.joint(shoulder, elbow, width * 1.15, width * 0.98, cloth)
            if looks.build == "robot":
                self.disc(elbow, width * 0.7, looks.second)
            return
        self.limb(elbow, wrist, width * 0.8, width * 0.62, skin)
        self.limb(shoulder, elbow, width, width * 0.84, skin)
        if looks.sleeves == "short":
            self.limb(shoulder, shoulder + (elbow - shoulder) * 0.6, width * 1.2, width * 1.2, cloth)

    def held(self, side: int) -> None:
        """A thing in the left hand."""
        looks = self.looks
        if looks.held == "none" or side != 1:
            return
        elbow, wrist = self.p[j.L_ELBOW], self.p[j.L_WRIST]
        hand = wrist + direction(elbow, wrist) * 0.02 * self.unit
        place = Frame(hand, np.array([0.0, -1.0]) if looks.held == "balloon" else self.torso.up, self.unit)
        with self.group():
            if looks.held == "ball":
                self.disc(hand + direction(elbow, wrist) * 0.05 * self.unit, 0.055, looks.held_colour)
            elif looks.held == "balloon":
                self.bar(place([(0, 0), (0, 0.14)]), 0.003, 0.003, (70, 70, 70))
                self.polygon(place.ellipse(0, 0.2, 0.055, 0.07), looks.held_colour)
            elif looks.held == "flower":
                self.bar(place([(0, -0.04), (0, 0.1)]), 0.006, 0.006, (60, 140, 60))
                for turn in np.arange(5) * 1.2566:
                    self.polygon(place.ellipse(0.03 * np.cos(turn), 0.11 + 0.03 * np.sin(turn), 0.02, 0.02), looks.held_colour)
                self.polygon(place.ellipse(0, 0.11, 0.016, 0.016), (240, 200, 60))
            elif looks.held == "flag":
                self.bar(place([(0, -0.08), (0, 0.22)]), 0.007, 0.007, (120, 84, 50))
                self.polygon(place([(0, 0.22), (0.13, 0.18), (0, 0.12)]), looks.held_colour)
            else:
                self.bar(place([(0, -0.06), (0, 0.24)]), 0.011, 0.006, looks.held_colour)
                if looks.held == "sword":
                    self.bar(place([(-0.04, 0.02), (0.04, 0.02)]), 0.009, 0.009, shade(looks.held_colour, 0.7))

    # ------------------------------------------------------------------------------------------------------- trunk

    def outline(self) -> Array:
        body, looks, torso, top = self.body, self.looks, self.torso, self.body.torso
        if looks.trunk == "round":
            return torso(np.sign(CIRCLE) * np.abs(CIRCLE) ** 0.8 * (max(body.shoulder, body.hip) * 1.3, 0.56 * top) + (0, 0.47 * top))
        if looks.trunk == "square" or looks.build == "robot":
            half = max(body.shoulder * 1.08, body.hip * 1.3)
            return torso([(-half, -0.02), (-half, top + 0.005), (half, top + 0.005), (half, -0.02)])
        cut = 0.34 * body.head_width * 0.375
        strap = 0.72 if looks.sleeves == "none" else 1.0
        return torso([(-body.hip * 1.25, -0.015), (-body.waist * 1.05, 0.38 * top), (-body.shoulder * 1.06, top - 0.045),
                      (-body.shoulder * strap, top + 0.005), (-cut, top + 0.012), (0, top - 0.03), (cut, top + 0.012),
                      (body.shoulder * strap, top + 0.005), (body.shoulder * 1.06, top - 0.045), (body.waist * 1.05, 0.38 * top),
                      (body.hip * 1.25, -0.015)])

    def trunk(self) -> None:
        body, looks, torso = self.body, self.looks, self.torso
        neck = self.p[j.NECK]
        if looks.build == "stick":
            hips = (self.p[j.R_HIP] + self.p[j.L_HIP]) / 2
            with self.group():
                self.limb(neck, hips, body.arm_width, body.arm_width, looks.top)
                self.limb(neck, self.head([[0, -0.4 * body.head]])[0], body.arm_width, body.arm_width, looks.top)
                self.limb(self.p[j.R_SHOULDER], self.p[j.L_SHOULDER], body.arm_width, body.arm_width, looks.top)
                self.limb(self.p[j.R_HIP], self.p[j.L_HIP], body.arm_width, body.arm_width, looks.top)
            if looks.lower in ("skirt", "dress"):
                with self.group():
                    self.lower()
            return
        neck_width = 0.34 * body.head_width
        outline = self.outline()
        with self.group():
            self.limb(neck, self.head([[0, -0.3 * body.head]])[0], neck_width / 2, neck_width / 2, shade(looks.skin, 0.9))
        with self.group():
            self.lower()
            self.polygon(outline, looks.top)
        self.pattern(outline)
        if looks.lower == "coat":
            self.stroke(torso([(0, body.torso - 0.03), (0, -0.1)]), 0.008, shade(looks.top, 0.6))
        if looks.lower in ("dress", "coat") or looks.trunk == "round" or looks.build == "robot":
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
        colour = looks.lower_colour if looks.lower == "skirt" else looks.top
        down = {"skirt": 0.62, "dress": 0.85, "coat": 0.7}[looks.lower] + 0.35 * looks.hem
        flare = (0.03 if looks.lower == "coat" else 0.05) * self.unit
        hem = [self.p[h] + (self.p[h + 1] - self.p[h]) * down for h in (j.R_HIP, j.L_HIP)]
        across = direction(self.p[j.R_HIP], self.p[j.L_HIP])
        left, right = (h + side * flare * across for h, side in zip(hem, SIDES, strict=True))
        waist = torso([(body.hip * 1.25, 0.02), (-body.hip * 1.25, 0.02)])
        self.polygon(np.stack([left, right, *waist]), colour)

    def pattern(self, outline: Array) -> None:
        looks, torso, top, half = self.looks, self.torso, self.body.torso, self.body.shoulder * 1.35
        if looks.pattern == "plain":
            return
        step = 0.075 * looks.pattern_size
        rows, columns = np.arange(-0.04, top + 0.05, step), np.arange(0, half, step)
        across = np.concatenate([-columns[1:], columns])
        bands = [torso([(-half, y), (half, y), (half, y + step / 2), (-half, y + step / 2)]) for y in rows]
        stripes = [torso([(x - step / 4, -0.05), (x - step / 4, top + 0.05), (x + step / 4, top + 0.05), (x + step / 4, -0.05)])
                   for x in across]
        shapes: list[Array] = []
        if looks.pattern == "bands":
            shapes = bands
        elif looks.pattern == "stripes":
            shapes = stripes
        elif looks.pattern == "checks":
            shapes = [torso([(x, y), (x + step / 2, y), (x + step / 2, y + step / 2), (x, y + step / 2)])
                      for i, y in enumerate(np.arange(-0.04, top + 0.05, step / 2)) for x in across + (i % 2) * step / 2]
        elif looks.pattern == "dots":
            shapes = [torso.ellipse(x + (i % 2) * step / 2, y, step * 0.28, step * 0.28) for i, y in enumerate(rows) for x in across]
        elif looks.pattern == "emblem":
            r = 0.055 * looks.pattern_size
            shapes = [torso.ellipse(0, top * 0.58, r, r)]
        elif looks.pattern == "halves":
            shapes = [torso([(0, -0.05), (0, top + 0.05), (half, top + 0.05), (half, -0.05)])]
        elif looks.pattern == "letter":
            strokes = np.array(LETTERS[round(looks.pattern_size * 1000) % len(LETTERS)], float) * (0.04, 0.05) + (0, top * 0.58)
            for a, b in zip(strokes, strokes[1:], strict=False):
                way = direction(a, b) * 0.011
                shapes.append(torso([a + (-way[1], way[0]), b + (-way[1], way[0]), b + (way[1], -way[0]), a + (way[1], -way[0])]))
        self.inside(outline, shapes, looks.second)


def draw_character(character: Character, points: Array, width: int, height: int) -> Image.Image:
    """One frame of a character, RGBA with an exact anti-aliased alpha; points `[18, 2 or 3]` in pixels of the picture."""
    return CharacterPainter(character, points[:, :2], width, height).paint()
