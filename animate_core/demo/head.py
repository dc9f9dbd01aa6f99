"""A character's head: face, hair, ears and what is worn on it."""

from __future__ import annotations

import numpy as np

from ..pose import keypoints as j
from .character import Character, shade
from .motion import SIDES
from .painter import Frame, Painter, direction

Array = np.ndarray
DARK = (40, 30, 30)


class HeadPainter(Painter):
    """points `[18, 2]` in pixels of the width x height picture."""

    def __init__(self, character: Character, points: Array, width: int, height: int) -> None:
        super().__init__(character.style, width, height, character.height * height)
        self.body, self.looks = character.body, character.looks
        self.p = points.astype(float) * self.scale
        hips = (self.p[j.R_HIP] + self.p[j.L_HIP]) / 2
        self.torso = Frame(hips, direction(hips, self.p[j.NECK]), self.unit)
        ears = self.p[j.L_EAR] - self.p[j.R_EAR]
        self.head = Frame((self.p[j.R_EAR] + self.p[j.L_EAR]) / 2, direction(np.zeros(2), np.array([ears[1], -ears[0]])), self.unit)
        right = np.array([-self.head.up[1], self.head.up[0]])
        looked = (self.p[j.R_EYE] + self.p[j.L_EYE]) / 2 - self.head.origin
        # where the face looks to: its middle against the head's, in body heights to the right and up
        self.look = np.array([looked @ right, looked @ self.head.up]) / self.unit - (0, 0.05 * self.body.head)
        self.turned = float(self.look[0] / (0.24 * self.body.head_width))  # sine of the turn, about
        self.narrow = float(np.clip(np.linalg.norm(ears) / (self.unit * self.body.head_width), 0.3, 1))
        self.upright = self.torso.up[1] < -0.5

    def on_face(self, points: list[tuple[float, float]] | Array) -> Array:
        """Points of a face that looks at us -> of this face."""
        return self.head(np.asarray(points) * (self.narrow, 1) + self.look)

    def face_disc(self, x: float, y: float, rx: float, ry: float, colour: tuple[int, int, int]) -> None:
        turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
        self.polygon(self.on_face(np.stack([x + rx * np.cos(turn), y + ry * np.sin(turn)], axis=-1)), colour)

    # -------------------------------------------------------------------------------------------------------- hair

    def hair_behind(self) -> None:
        looks, head = self.looks, self.head
        w, h = self.body.head_width / 2, self.body.head / 2
        colour = shade(looks.hair_colour, 0.85)
        with self.group():
            if looks.hair == "long":
                self.polygon(head([(-w * 1.2, 0.2 * h), (w * 1.2, 0.2 * h), (w * 1.35, -2.3 * h), (-w * 1.35, -2.3 * h)]), colour)
            elif looks.hair == "bob":
                self.polygon(head([(-w * 1.2, 0.2 * h), (w * 1.2, 0.2 * h), (w * 1.3, -1.05 * h), (-w * 1.3, -1.05 * h)]), colour)
            elif looks.hair == "ponytail":
                self.polygon(head([(w * 0.4, 0.9 * h), (w * 1.5, 0.5 * h), (w * 1.75, -1.3 * h), (w * 1.15, -1.2 * h)]), colour)
            elif looks.hair == "plaits":
                for side in SIDES:
                    start, end = head([(side * 0.9 * w, -0.3 * h), (side * 1.35 * w, -1.9 * h)])
                    self.limb(start, end, 0.28 * w, 0.2 * w, colour)
            elif looks.hair == "bun":
                self.polygon(head.ellipse(0, 1.15 * h, w * 0.5, w * 0.5), colour)
            elif looks.hair == "afro":
                self.polygon(head.ellipse(0, 0.3 * h, w * 1.55, h * 1.15), colour)
        with self.group():
            self.animal_ears(w, h)

    def animal_ears(self, w: float, h: float) -> None:
        looks, head = self.looks, self.head
        inner = looks.cheeks or shade(looks.skin, 1.4)
        for side in SIDES:
            if looks.ears == "cat":
                self.polygon(head([(side * 0.95 * w, 0.35 * h), (side * 0.85 * w, 1.5 * h), (side * 0.2 * w, 0.9 * h)]), looks.skin)
                self.polygon(head([(side * 0.8 * w, 0.6 * h), (side * 0.78 * w, 1.25 * h), (side * 0.4 * w, 0.9 * h)]), inner)
            elif looks.ears == "bear":
                self.polygon(head.ellipse(side * 0.75 * w, 0.85 * h, 0.36 * w, 0.36 * w), looks.skin)
                self.polygon(head.ellipse(side * 0.75 * w, 0.85 * h, 0.2 * w, 0.2 * w), inner)
            elif looks.ears == "bunny":
                self.polygon(head.ellipse(side * 0.42 * w, 1.55 * h, 0.24 * w, 0.8 * h), looks.skin)
                self.polygon(head.ellipse(side * 0.42 * w, 1.55 * h, 0.11 * w, 0.6 * h), inner)
            elif looks.ears == "dog":
                self.polygon(head.ellipse(side * 1.05 * w, 0.0, 0.3 * w, 0.75 * h), shade(looks.skin, 0.75))

    def hair_before(self, w: float, h: float) -> None:
        looks, head = self.looks, self.head
        if looks.hair == "bald" or looks.build == "robot":
            return
        arc = np.linspace(-0.12, np.pi + 0.12, 13)
        crown = np.stack([1.08 * w * np.cos(arc), 1.1 * h * np.sin(arc)], axis=-1)
        line = {"short": [(-0.85, 0.35), (-0.3, 0.62), (0.3, 0.66), (0.85, 0.35)],
                "fringe": [(-0.85, 0.05), (-0.75, 0.42), (0.75, 0.42), (0.85, 0.05)],
                "spiky": [(-0.85, 0.3), (-0.5, 0.75), (-0.25, 0.5), (0, 0.78), (0.25, 0.5), (0.5, 0.75), (0.85, 0.3)]}.get(
                    looks.hair, [(-0.9, 0.0), (-0.6, 0.6), (0.15, 0.78), (0.6, 0.6), (0.9, 0.0)])
        with self.group():
            self.polygon(head(np.concatenate([crown, np.array(line) * (w, h)])), looks.hair_colour)
            if looks.hair == "spiky":
                for x in (-0.75, -0.38, 0.0, 0.38, 0.75):
                    y = np.sqrt(1 - (0.9 * x)**2)
                    self.polygon(head([((x - 0.24) * w, y * h * 0.95), ((x + 0.24) * w, y * h * 0.95), (x * 1.25 * w, (y + 0.36) * h)]),
                                 looks.hair_colour)

    # -------------------------------------------------------------------------------------------------------- face

    def face(self) -> None:
        looks, head = self.looks, self.head
        w, h = self.body.head_width / 2, self.body.head / 2
        with self.group():
            if looks.build == "robot":
                self.polygon(head([(-w, -h), (-w, 0.8 * h), (w, 0.8 * h), (w, -h)]), looks.skin)
                self.bar(head([(0, 0.8 * h), (0, 1.25 * h)]), 0.008, 0.008, looks.second)
                self.polygon(head.ellipse(0, 1.3 * h, 0.12 * w, 0.12 * w), looks.second)
            else:
                if looks.ears == "human" and looks.build == "person":
                    for side in SIDES:
                        self.polygon(head.ellipse(side * w, -0.05 * h, w * 0.16, h * 0.2), shade(looks.skin, 0.93))
                self.polygon(head.ellipse(0, 0, w, h), looks.skin)
        if looks.beard:
            self.polygon(head([(-0.97 * w, -0.15 * h), (-0.55 * w, -0.3 * h), (0.55 * w, -0.3 * h), (0.97 * w, -0.15 * h),
                               (0.75 * w, -0.72 * h), (0, -1.04 * h), (-0.75 * w, -0.72 * h)]), looks.hair_colour)
        if looks.muzzle:
            self.face_disc(0, -0.38 * h, 0.5 * w, 0.36 * h, shade(looks.skin, 1.45))
        if looks.cheeks:
            for side in SIDES:
                self.face_disc(side * 0.62 * w, -0.25 * h, 0.17 * w, 0.13 * h, looks.cheeks)
        for side in SIDES:
            self.eye(side * 0.42 * w, side, w, h)
        if looks.muzzle:
            self.face_disc(0, -0.18 * h, 0.17 * w, 0.11 * h, DARK)
        elif looks.build == "person":
            self.polygon(self.on_face([(-0.09 * w, -0.2 * h), (0.09 * w, -0.2 * h), (0, -0.02 * h)]), shade(looks.skin, 0.82))
        self.mouth(w, h)
        if looks.glasses:
            turn = np.linspace(0, 2 * np.pi, 24)
            for side in SIDES:
                ring = np.stack([side * 0.42 * w + 0.31 * w * np.cos(turn), 0.1 * h + 0.25 * h * np.sin(turn)], axis=-1)
                self.stroke(self.on_face(ring), 0.006, DARK)
        self.hair_before(w, h)
        self.headwear(w, h)

    def eye(self, x: float, side: float, w: float, h: float) -> None:
        looks = self.looks
        if looks.build == "robot":
            self.polygon(self.on_face([(x - 0.2 * w, -0.04 * h), (x + 0.2 * w, -0.04 * h), (x + 0.2 * w, 0.26 * h),
                                       (x - 0.2 * w, 0.26 * h)]), looks.eyes if looks.eye_kind == "plain" else (250, 240, 120))
            return
        if looks.eye_kind == "dots":
            self.face_disc(x, 0.1 * h, 0.11 * w, 0.12 * h, DARK)
            return
        if looks.eye_kind == "closed":
            bend = np.linspace(-1, 1, 7)
            self.stroke(self.on_face(np.stack([x + 0.2 * w * bend, 0.08 * h + 0.1 * h * (1 - bend**2)], axis=-1)), 0.008, DARK)
            return
        size = 1.6 if looks.eye_kind == "large" else 1.0
        self.face_disc(x, 0.1 * h, 0.2 * w * size, 0.16 * h * size, (250, 250, 250))
        self.face_disc(x, 0.09 * h, 0.13 * w * size, 0.13 * h * size, looks.eyes)
        if looks.eye_kind == "large":
            self.face_disc(x + 0.05 * w, 0.18 * h, 0.06 * w, 0.06 * h, (255, 255, 255))
            return
        self.polygon(self.on_face([(side * 0.2 * w, 0.34 * h), (side * 0.64 * w, 0.31 * h), (side * 0.64 * w, 0.39 * h),
                                   (side * 0.2 * w, 0.42 * h)]), shade(looks.hair_colour, 0.7))

    def mouth(self, w: float, h: float) -> None:
        looks = self.looks
        curve = np.linspace(-1, 1, 7)
        if looks.build == "robot":
            self.polygon(self.on_face([(-0.45 * w, -0.62 * h), (0.45 * w, -0.62 * h), (0.45 * w, -0.48 * h), (-0.45 * w, -0.48 * h)]), DARK)
        elif looks.mouth == "open":
            self.face_disc(0, -0.56 * h, 0.22 * w, 0.15 * h, (120, 30, 40))
        elif looks.mouth == "line":
            self.stroke(self.on_face(np.stack([0.3 * w * curve, -0.58 * h + 0.12 * h * looks.smile * curve**2], axis=-1)), 0.008, DARK)
        else:
            lip = np.stack([0.33 * w * curve, -0.56 * h + 0.1 * h * looks.smile * curve**2], axis=-1)
            self.polygon(self.on_face(np.concatenate([lip, lip[::-1] - (0, 0.09 * h)])), (176, 62, 62))

    def headwear(self, w: float, h: float) -> None:
        looks, head, colour = self.looks, self.head, self.looks.headwear_colour
        if looks.headwear == "none":
            return
        arc = np.linspace(0, np.pi, 11)
        dome = np.stack([1.14 * w * np.cos(arc), 0.5 * h + 0.72 * h * np.sin(arc)], axis=-1)
        with self.group():
            if looks.headwear == "hat":
                self.polygon(head([(-0.8 * w, 0.55 * h), (-0.7 * w, 1.3 * h), (0.7 * w, 1.3 * h), (0.8 * w, 0.55 * h)]), colour)
                self.polygon(head.ellipse(0, 0.58 * h, 1.6 * w, 0.13 * h), shade(colour, 0.8))
            elif looks.headwear == "crown":
                self.polygon(head([(-0.85 * w, 0.6 * h), (-0.95 * w, 1.35 * h), (-0.45 * w, 0.95 * h), (0, 1.4 * h), (0.45 * w, 0.95 * h),
                                   (0.95 * w, 1.35 * h), (0.85 * w, 0.6 * h)]), colour)
            elif looks.headwear == "cone":
                self.polygon(head([(-0.9 * w, 0.55 * h), (0.15 * w, 2.1 * h), (0.9 * w, 0.55 * h)]), colour)
            else:
                self.polygon(head(dome), colour)
                if looks.headwear == "cap":
                    self.polygon(head.ellipse(0, 0.5 * h, 1.0 * w, 0.16 * h), shade(colour, 0.75))
                else:
                    self.polygon(head([(-1.16 * w, 0.42 * h), (1.16 * w, 0.42 * h), (1.12 * w, 0.68 * h), (-1.12 * w, 0.68 * h)]),
                                 shade(colour, 0.8))
