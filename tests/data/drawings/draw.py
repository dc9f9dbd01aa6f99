"""Drawings in ten styles on paper, with what is true of them: the test media of Fit Drawing, and the pack's sample drawing.

`python tests/data/drawings/draw.py` writes them beside this file, and the sample to models/demo/drawing.webp. Nothing here comes from the
training world: every figure is drawn by its own hand-written strokes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter
from scipy.ndimage import binary_fill_holes, gaussian_filter

FOLDER = Path(__file__).resolve().parent
SAMPLE = FOLDER.parents[2] / "models" / "demo" / "drawing.webp"
FINE = 2  # drawn at twice the size and reduced

Array = np.ndarray
XY = tuple[float, float]
Colour = tuple[int, int, int]
INK: Colour = (38, 34, 40)
# OpenPose's order of the points that a drawing states
JOINTS = ("nose", "neck", "r_shoulder", "r_elbow", "r_wrist", "l_shoulder", "l_elbow", "l_wrist", "r_hip", "r_knee", "r_ankle", "l_hip",
          "l_knee", "l_ankle")


@dataclass(frozen=True)
class Drawing:
    """picture: RGB, or RGBA where the sheet is transparent. mask `[H, W]` bool: the figure, outlines filled. joints `[14, 2]` in pixels."""

    picture: Image.Image
    mask: Array
    joints: Array


@dataclass
class Pen:
    """Strokes of one figure on a transparent layer, all in pixels of the finished picture."""

    size: tuple[int, int]
    seed: int = 0
    wobble: float = 0.0  # pixels by which a hand trembles
    joints: dict[str, XY] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.layer = Image.new("RGBA", (self.size[0] * FINE, self.size[1] * FINE))
        self.draw = ImageDraw.Draw(self.layer)
        self.rng = np.random.default_rng(self.seed)

    def path(self, points: list[XY]) -> list[XY]:
        """The points, with more between them, trembling."""
        if not self.wobble:
            return [(x * FINE, y * FINE) for x, y in points]
        out: list[XY] = []
        for (ax, ay), (bx, by) in zip(points, points[1:] or points, strict=False):
            steps = max(1, round(math.hypot(bx - ax, by - ay) / 14))
            out += [(ax + (bx - ax) * i / steps, ay + (by - ay) * i / steps) for i in range(steps)]
        out.append(points[-1])
        shift = self.rng.normal(0, self.wobble, (len(out), 2))
        return [((x + dx) * FINE, (y + dy) * FINE) for (x, y), (dx, dy) in zip(out, shift, strict=True)]

    def line(self, points: list[XY], width: float, colour: Colour = INK) -> None:
        path = self.path(points)
        r = width * FINE / 2
        self.draw.line(path, fill=colour, width=max(1, round(2 * r)), joint="curve")
        for x, y in (path[0], path[-1]):
            self.draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)

    def shape(self, points: list[XY], fill: Colour | None, outline: float = 0, colour: Colour = INK) -> None:
        path = self.path([*points, points[0]])
        if fill:
            self.draw.polygon(path, fill=fill)
        if outline:
            self.draw.line([*path, path[1]], fill=colour, width=round(outline * FINE), joint="curve")

    def oval(self, x: float, y: float, rx: float, ry: float, fill: Colour | None, outline: float = 0, colour: Colour = INK) -> None:
        around = [2 * math.pi * i / 40 for i in range(40)]
        self.shape([(x + rx * math.cos(a), y + ry * math.sin(a)) for a in around], fill, outline, colour)

    def box(self, left: float, top: float, right: float, bottom: float, fill: Colour | None, outline: float = 0,
            colour: Colour = INK) -> None:
        self.shape([(left, top), (right, top), (right, bottom), (left, bottom)], fill, outline, colour)

    def limb(self, points: list[XY], width: float, fill: Colour, outline: float = 0) -> None:
        if outline:
            self.line(points, width + 2 * outline)
        self.line(points, width, fill)

    def body(self, neck: XY, shoulder: float, hip: XY, hips: float, hand: XY, foot: XY, nose: XY, elbow: float = 0.0) -> None:
        """The joints of a figure that stands straight. shoulder, hips: half widths; hand and foot: of its left side, mirrored to the right
        about the neck; elbow: pixels by which it is turned out."""
        x0 = neck[0]
        self.joints = {"nose": nose, "neck": neck}
        for side, sign in (("r", -1), ("l", 1)):
            wrist, ankle = (x0 + sign * (hand[0] - x0), hand[1]), (x0 + sign * (foot[0] - x0), foot[1])
            start, top = (x0 + sign * shoulder, neck[1] + 4), (x0 + sign * hips, hip[1])
            self.joints |= {f"{side}_shoulder": start, f"{side}_wrist": wrist, f"{side}_hip": top, f"{side}_ankle": ankle,
                            f"{side}_elbow": ((start[0] + wrist[0]) / 2 + sign * elbow, (start[1] + wrist[1]) / 2),
                            f"{side}_knee": ((top[0] + ankle[0]) / 2, (top[1] + ankle[1]) / 2)}

    def __getitem__(self, names: str) -> list[XY]:
        return [self.joints[name] for name in names.split()]

    def textured(self, strength: float, grain: float) -> None:
        """Wax and pencil leave the paper's grain free: some of the layer's opacity goes, by noise of `grain` pixels."""
        noise = self.rng.normal(0, 1, (self.size[1] * FINE, self.size[0] * FINE)).astype(np.float32)
        smooth = gaussian_filter(noise, grain * FINE)
        keep = 1 - strength * np.clip(smooth / smooth.std() * 0.5 + 0.4, 0, 1)
        alpha = np.asarray(self.layer.getchannel("A")) * keep
        self.layer.putalpha(Image.fromarray(alpha.astype(np.uint8)))


def filled(alpha: Array) -> Array:
    """A layer's opacity `[H, W]` with what its outlines enclose."""
    return np.asarray(binary_fill_holes(alpha > 60))


def paper(size: tuple[int, int], colour: Colour, seed: int, kind: str = "plain", spacing: int = 24) -> Image.Image:
    sheet = Image.new("RGB", size, colour)
    pen = ImageDraw.Draw(sheet)
    ink = (150, 178, 214)
    if kind in ("lined", "squared"):
        for y in range(spacing, size[1], spacing):
            pen.line((0, y, size[0], y), fill=ink)
    if kind == "squared":
        for x in range(spacing // 2, size[0], spacing):
            pen.line((x, 0, x, size[1]), fill=ink)
    if kind == "lined":
        pen.line((52, 0, 52, size[1]), fill=(224, 140, 140))
    noise = np.random.default_rng(seed).normal(0, 1.5, (size[1], size[0], 1))
    return Image.fromarray(np.clip(np.asarray(sheet) + noise, 0, 255).astype(np.uint8))


def photographed(picture: Image.Image, warm: float, darkest: float, seed: int) -> Image.Image:
    """The sheet under a lamp at one corner: light that falls off, a warm cast, the camera's noise."""
    h, w = picture.height, picture.width
    y, x = np.mgrid[0:h, 0:w]
    far = np.hypot(x / w - 0.15, y / h - 0.1) / 1.25
    light = 1 - (1 - darkest) * far**1.4
    cast = np.array([1, 1 - 0.4 * warm, 1 - warm])
    noise = np.random.default_rng(seed).normal(0, 2.5, (h, w, 3))
    return Image.fromarray(np.clip(np.asarray(picture) * light[..., None] * cast + noise, 0, 255).astype(np.uint8))


def finish(pen: Pen, sheet: Image.Image | None, tilt: float = 0.0) -> Drawing:
    """The figure on its sheet, turned by `tilt` degrees; no sheet: a transparent picture."""
    layer = pen.layer.reduce(FINE)
    mask = filled(np.asarray(layer.getchannel("A")))
    joints = np.array([pen.joints[name] for name in JOINTS])
    if sheet is None:
        return Drawing(layer, mask, joints)
    picture = Image.alpha_composite(sheet.convert("RGBA"), layer).convert("RGB")
    if tilt:
        middle = np.array(picture.size) / 2
        turn = math.radians(tilt)
        corner = picture.getpixel((3, 3))
        picture = picture.rotate(tilt, Image.Resampling.BICUBIC, fillcolor=corner)
        mask = np.asarray(Image.fromarray(mask).rotate(tilt))
        matrix = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
        joints = (joints - middle) @ matrix.T + middle
    return Drawing(picture, mask, joints)


def stick() -> Drawing:
    """Felt-tip on lined paper, photographed askew."""
    pen = Pen((480, 640), 1, wobble=1.0)
    pen.body((240, 230), 6, (240, 390), 4, (335, 300), (300, 552), (240, 172))
    pen.line([(240, 218), (240, 390)], 7)
    for side in "rl":
        pen.line([(240, 250), pen.joints[f"{side}_wrist"]], 7)
        x, y = pen.joints[f"{side}_ankle"]
        pen.line([(240, 390), (x, y + 4), (x + (12 if side == "l" else -12), y + 6)], 7)
    pen.oval(240, 165, 50, 54, None, 7)
    for x in (222, 258):
        pen.oval(x, 155, 4, 6, INK)
    pen.line([(216, 182), (228, 194), (252, 194), (264, 182)], 5)
    sheet = paper((480, 640), (246, 246, 242), 1, "lined")
    drawn = finish(pen, sheet, tilt=1.6)
    return Drawing(photographed(drawn.picture, 0.12, 0.62, 1), drawn.mask, drawn.joints)


def crayon() -> Drawing:
    """A child's wax crayon: big head, triangle of a dress, a sun in the corner."""
    pen = Pen((480, 640), 2, wobble=1.6)
    pen.body((236, 300), 24, (236, 440), 26, (350, 352), (272, 560), (236, 214))
    for side in "rl":
        pen.line(pen[f"{side}_shoulder {side}_elbow {side}_wrist"], 15, (236, 170, 130))
        pen.line(pen[f"{side}_hip {side}_ankle"], 16, (236, 170, 130))
        x, y = pen.joints[f"{side}_ankle"]
        pen.oval(x + (8 if side == "l" else -8), y + 4, 20, 11, (126, 60, 150))
        x, y = pen.joints[f"{side}_wrist"]
        pen.oval(x, y, 15, 14, (236, 170, 130))
    pen.shape([(216, 290), (256, 290), (318, 470), (154, 470)], (226, 62, 70), 6, (150, 30, 44))
    pen.oval(236, 205, 74, 84, (250, 205, 168), 6, (170, 96, 60))
    for i in range(26):
        a = math.pi * (1.02 + 0.96 * i / 25)
        pen.line([(236 + 66 * math.cos(a), 195 + 74 * math.sin(a)), (236 + 92 * math.cos(a), 200 + 100 * math.sin(a))], 9, (214, 140, 40))
    for x in (208, 264):
        pen.oval(x, 196, 9, 11, (40, 70, 150))
    pen.line([(202, 236), (222, 252), (250, 252), (270, 236)], 7, (200, 40, 60))
    pen.textured(0.5, 0.7)
    sheet = paper((480, 640), (252, 250, 245), 2)
    sun = Pen((480, 640), 12, wobble=1.5)
    sun.oval(412, 66, 32, 32, (250, 200, 40))
    for i in range(8):
        a = math.pi * i / 4
        sun.line([(412 + 42 * math.cos(a), 66 + 42 * math.sin(a)), (412 + 60 * math.cos(a), 66 + 60 * math.sin(a))], 6, (250, 200, 40))
    sheet = Image.alpha_composite(sheet.convert("RGBA"), sun.layer.reduce(FINE))
    drawn = finish(pen, sheet)
    return Drawing(photographed(drawn.picture, 0.1, 0.7, 2), drawn.mask, drawn.joints)


def mascot() -> Drawing:
    """A football club's bird: a giant head, a small body, flat print with a thick outline, on sky blue."""
    pen = Pen((480, 640), 3)
    pen.body((240, 378), 44, (240, 486), 30, (342, 440), (278, 560), (240, 262))
    for side, sign in (("r", -1), ("l", 1)):
        pen.limb(pen[f"{side}_hip {side}_ankle"], 26, (250, 160, 30), 6)
        x, y = pen.joints[f"{side}_ankle"]
        pen.oval(x + sign * 10, y + 8, 32, 15, (250, 160, 30), 6)
        pen.limb(pen[f"{side}_shoulder {side}_wrist"], 36, (60, 80, 170), 6)
    pen.oval(240, 440, 66, 76, (60, 80, 170), 6)
    pen.oval(240, 452, 40, 52, (240, 240, 245))
    pen.oval(240, 235, 136, 142, (60, 80, 170), 7)
    pen.oval(240, 262, 96, 92, (240, 240, 245))
    for x in (196, 284):
        pen.oval(x, 224, 30, 38, (255, 255, 255), 6)
        pen.oval(x + 4, 230, 12, 18, INK)
    pen.shape([(206, 282), (274, 282), (240, 326)], (250, 160, 30), 6)
    pen.shape([(222, 106), (240, 60), (262, 106)], (226, 60, 50), 6)
    return finish(pen, Image.new("RGB", (480, 640), (168, 214, 240)))


def robot() -> Drawing:
    """Boxes and pipes in grey metal, printed on yellow card."""
    pen = Pen((480, 640), 4)
    pen.body((240, 236), 86, (240, 410), 44, (358, 396), (290, 556), (240, 166), elbow=14)
    for side in "rl":
        pen.limb(pen[f"{side}_hip {side}_knee {side}_ankle"], 26, (140, 150, 160), 4)
        pen.limb(pen[f"{side}_shoulder {side}_elbow {side}_wrist"], 24, (140, 150, 160), 4)
        x, y = pen.joints[f"{side}_ankle"]
        pen.box(x - 30, y - 4, x + 30, y + 26, (90, 100, 112), 4)
        x, y = pen.joints[f"{side}_wrist"]
        claw = [(-16, -10), (16, -10), (20, 26), (6, 8), (-6, 8), (-20, 26)]
        pen.shape([(x + dx, y + dy) for dx, dy in claw], (90, 100, 112), 4)
        x, y = pen.joints[f"{side}_shoulder"]
        pen.oval(x, y, 20, 20, (200, 80, 60), 4)
    pen.box(162, 228, 318, 420, (176, 188, 196), 5)
    pen.box(192, 262, 288, 330, (40, 70, 80), 4)
    pen.line([(198, 300), (224, 300), (236, 276), (250, 318), (262, 296), (282, 296)], 4, (90, 240, 130))
    pen.box(226, 208, 254, 228, (110, 120, 130), 4)
    pen.box(180, 112, 300, 210, (190, 202, 210), 5)
    for x in (212, 268):
        pen.oval(x, 154, 15, 15, (255, 220, 70), 4)
    pen.box(206, 182, 274, 194, (60, 60, 70))
    pen.line([(240, 112), (240, 80)], 5)
    pen.oval(240, 74, 9, 9, (226, 60, 50), 3)
    return finish(pen, paper((480, 640), (246, 214, 110), 4))


def animal() -> Drawing:
    """A cat on two legs, watercolour: soft, darker edges; a tail."""
    pen = Pen((480, 640), 5, wobble=0.8)
    pen.body((240, 268), 40, (240, 424), 30, (330, 380), (276, 556), (240, 196), elbow=10)
    fur, edge = (232, 158, 84), (168, 96, 44)
    pen.line([(258, 436), (330, 452), (372, 420), (368, 372)], 18, edge)
    pen.line([(258, 436), (330, 452), (372, 420), (368, 372)], 13, fur)
    for side, sign in (("r", -1), ("l", 1)):
        for names, width in ((f"{side}_hip {side}_knee {side}_ankle", 34), (f"{side}_shoulder {side}_elbow {side}_wrist", 26)):
            pen.line(pen[names], width + 5, edge)
            pen.line(pen[names], width, fur)
        x, y = pen.joints[f"{side}_ankle"]
        pen.oval(x + sign * 6, y + 8, 25, 14, fur, 3, edge)
    pen.oval(240, 350, 66, 100, fur, 3, edge)
    pen.oval(240, 368, 40, 68, (250, 232, 206))
    for sign in (-1, 1):
        pen.shape([(240 + sign * 30, 130), (240 + sign * 76, 82), (240 + sign * 84, 164)], fur, 3, edge)
    pen.oval(240, 186, 90, 74, fur, 3, edge)
    for x in (206, 274):
        pen.oval(x, 176, 11, 14, (90, 140, 80), 3)
        pen.oval(x, 178, 4, 9, INK)
    pen.shape([(230, 200), (250, 200), (240, 212)], (220, 110, 110))
    for sign in (-1, 1):
        for dy in (-8, 4, 14):
            pen.line([(240 + sign * 30, 210), (240 + sign * 84, 206 + dy)], 2, edge)
    pen.textured(0.3, 9)
    sheet = paper((480, 640), (244, 238, 226), 5)
    drawn = finish(pen, sheet)
    return Drawing(photographed(drawn.picture, 0.06, 0.75, 5), drawn.mask, drawn.joints)


def princess() -> Drawing:
    """A dress as wide as she is tall hides the legs; long hair, a crown; coloured outlines."""
    pen = Pen((480, 640), 6)
    pen.body((240, 238), 38, (240, 352), 26, (330, 352), (266, 580), (240, 178), elbow=8)
    pen.shape([(190, 130), (290, 130), (312, 320), (168, 320)], (120, 70, 36), 3)
    for side in "rl":
        x, y = pen.joints[f"{side}_ankle"]
        pen.oval(x, y + 8, 16, 9, (200, 60, 120), 3)
    pen.shape([(212, 340), (268, 340), (392, 578), (88, 578)], (244, 150, 190), 4)
    for x in (140, 190, 240, 290, 340):
        pen.line([(240 + (x - 240) * 0.25, 360), (x, 574)], 3, (216, 100, 150))
    for side in "rl":
        pen.limb(pen[f"{side}_shoulder {side}_elbow {side}_wrist"], 18, (252, 214, 184), 3)
        x, y = pen.joints[f"{side}_shoulder"]
        pen.oval(x, y + 4, 24, 20, (230, 110, 160), 3)
    pen.shape([(206, 236), (274, 236), (264, 350), (216, 350)], (230, 110, 160), 4)
    pen.box(230, 214, 250, 240, (252, 214, 184))
    pen.oval(240, 172, 44, 52, (252, 214, 184), 3)
    pen.shape([(196, 170), (200, 120), (280, 120), (284, 170), (262, 138), (218, 138)], (120, 70, 36), 3)
    pen.shape([(206, 122), (200, 82), (222, 104), (240, 74), (258, 104), (280, 82), (274, 122)], (250, 206, 60), 3)
    for x in (224, 256):
        pen.oval(x, 168, 5, 7, (50, 90, 60))
    pen.line([(228, 196), (240, 202), (252, 196)], 4, (200, 50, 80))
    return finish(pen, paper((480, 640), (236, 226, 244), 6))


HERO = (
    "....hhhhhh......", "...hhhhhhhh.....", "...hssssssh.....", "...hsbssbsh.....", "...ssssssss.....", "....ssssss......",
    ".....ssss.......", "...rrrrrrrr.....", "..rrrrrrrrrr....", "..rrryyyyrrr....", "..rr.ryyr.rr....", "..rr.rrrr.rr....",
    "..ss.rrrr.ss....", "..ss.kkkk.ss....", ".....bbbb.......", "....bbbbbb......", "....bb..bb......", "....bb..bb......",
    "....bb..bb......", "....bb..bb......", "....nn..nn......", "...nnn..nnn.....")


def pixel_hero() -> Drawing:
    """A game's sprite of 16x22 pixels, already cut out: a transparent picture, enlarged three times."""
    colours: dict[str, Colour] = {"h": (90, 52, 30), "s": (246, 200, 160), "b": (40, 60, 130), "r": (206, 50, 50), "y": (250, 220, 80),
                                  "k": (60, 40, 30), "n": (70, 46, 34)}
    scale = 3
    small = Image.new("RGBA", (16, 24))
    for y, row in enumerate(HERO):
        for x, letter in enumerate(row):
            if letter != ".":
                small.putpixel((x, y + 1), (*colours[letter], 255))
    picture = small.resize((16 * scale, 24 * scale), Image.Resampling.NEAREST)
    places = {"nose": (7, 5.5), "neck": (7, 8.5), "r_shoulder": (4, 9), "r_elbow": (3, 11.5), "r_wrist": (3, 14), "l_shoulder": (10, 9),
              "l_elbow": (11, 11.5), "l_wrist": (11, 14), "r_hip": (5.6, 15.5), "r_knee": (5, 18.5), "r_ankle": (5, 21.5),
              "l_hip": (8.4, 15.5), "l_knee": (9, 18.5), "l_ankle": (9, 21.5)}
    return Drawing(picture, np.asarray(picture.getchannel("A")) > 0, np.array([places[name] for name in JOINTS]) * scale)


def inked() -> Drawing:
    """A comic's hero in ink: outlines of varying width alone, nothing coloured but hair, mask and boots; white paper."""
    pen = Pen((480, 640), 8)
    pen.body((240, 196), 62, (240, 354), 34, (352, 340), (292, 566), (240, 146), elbow=16)
    white = (255, 255, 255)
    pen.shape([(190, 200), (290, 200), (362, 480), (300, 452), (240, 476), (180, 452), (118, 480)], (222, 222, 226), 4)
    for side, sign in (("r", -1), ("l", 1)):
        pen.limb(pen[f"{side}_hip {side}_knee {side}_ankle"], 38, white, 5)
        x, y = pen.joints[f"{side}_ankle"]
        pen.shape([(x - 18, y - 50), (x + 18, y - 50), (x + 18 + 12 * (sign > 0), y + 18), (x - 18 - 12 * (sign < 0), y + 18)], INK)
        pen.limb(pen[f"{side}_shoulder {side}_elbow {side}_wrist"], 28, white, 5)
        x, y = pen.joints[f"{side}_wrist"]
        pen.oval(x + sign * 2, y + 6, 18, 18, white, 6)
    pen.shape([(176, 194), (304, 194), (282, 300), (276, 368), (204, 368), (198, 300)], white, 6)
    pen.shape([(240, 226), (266, 244), (240, 284), (214, 244)], None, 5)
    pen.box(202, 346, 278, 366, INK)
    pen.box(224, 176, 256, 196, white)
    pen.oval(240, 140, 40, 50, white, 5)
    pen.shape([(200, 128), (206, 92), (240, 82), (276, 94), (280, 130), (260, 108), (222, 110)], INK)
    pen.box(202, 130, 278, 148, INK)
    for x in (224, 256):
        pen.oval(x, 139, 7, 4, white)
    pen.line([(226, 168), (254, 166)], 4)
    return finish(pen, Image.new("RGB", (480, 640), white))


def cut_paper() -> Drawing:
    """A doll of coloured card pieces with pins, each with a little shadow, on dark green felt."""
    pen = Pen((480, 640), 9)
    pen.body((240, 232), 56, (240, 404), 32, (376, 310), (284, 558), (240, 166))
    for side in "rl":
        pen.line(pen[f"{side}_shoulder {side}_elbow {side}_wrist"], 32, (244, 206, 170))
        pen.line(pen[f"{side}_shoulder {side}_elbow"], 36, (240, 180, 50))
        pen.line(pen[f"{side}_hip {side}_knee {side}_ankle"], 38, (210, 90, 60))
        x, y = pen.joints[f"{side}_ankle"]
        pen.box(x - 22, y, x + 22, y + 22, (250, 246, 236))
    pen.shape([(186, 222), (294, 222), (278, 420), (202, 420)], (240, 180, 50))
    pen.oval(240, 160, 60, 62, (244, 206, 170))
    pen.shape([(180, 150), (190, 104), (240, 92), (290, 104), (300, 150)], (230, 230, 90))
    for x in (218, 262):
        pen.oval(x, 160, 6, 6, INK)
    pen.line([(220, 188), (240, 196), (260, 188)], 5, (190, 50, 50))
    for names in ("r_shoulder l_shoulder r_elbow l_elbow", "r_hip l_hip r_knee l_knee"):
        for x, y in pen[names]:
            pen.oval(x, y, 5, 5, (150, 150, 150))
    sheet = paper((480, 640), (44, 84, 60), 9)
    alpha = ImageChops.offset(pen.layer.reduce(FINE).getchannel("A"), 3, 4).filter(ImageFilter.GaussianBlur(2))
    sheet.paste((30, 60, 42), mask=alpha)
    drawn = finish(pen, sheet)
    return Drawing(photographed(drawn.picture, 0.04, 0.8, 9), drawn.mask, drawn.joints)


def pencil() -> Drawing:
    """A pencil sketch on squared paper, in a corner of the sheet, under a lamp; strokes side by side."""
    pen = Pen((640, 640), 10, wobble=0.9)
    pen.body((400, 216), 52, (400, 372), 28, (486, 378), (436, 560), (400, 154), elbow=10)
    grey = (84, 84, 92)
    for shift in (0.0, 1.6):
        for side, sign in (("r", -1), ("l", 1)):
            x = {name: px + shift for name, (px, _) in pen.joints.items()}
            y = {name: py for name, (_, py) in pen.joints.items()}
            s, e, w, h, k, a = (f"{side}_{part}" for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle"))
            pen.shape([(x[s], y[s] - 10), (x[e] + 13 * sign, y[e]), (x[w] + 10 * sign, y[w]), (x[w] - 10 * sign, y[w] + 4),
                       (x[e] - 10 * sign, y[e] + 4), (x[s] - 12 * sign, y[s] + 26)], (222, 220, 218), 3, grey)
            pen.oval(x[w], y[w] + 12, 13, 15, (230, 228, 226), 3, grey)
            pen.shape([(x[h] + 20 * sign, y[h] - 6), (x[k] + 18 * sign, y[k]), (x[a] + 14 * sign, y[a]), (x[a] - 14 * sign, y[a]),
                       (x[k] - 16 * sign, y[k]), (x[h] - 24 * sign, y[h] + 6)], (176, 178, 186), 3, grey)
            pen.shape([(x[a] - 15, y[a] - 2), (x[a] + 15, y[a] - 2), (x[a] + 15 + 14 * (sign > 0), y[a] + 18),
                       (x[a] - 15 - 14 * (sign < 0), y[a] + 18)], (120, 120, 126), 3, grey)
    pen.shape([(346, 206), (454, 206), (446, 300), (452, 384), (348, 384), (354, 300)], (206, 206, 208), 3, grey)
    for y in range(222, 380, 14):
        pen.line([(354, y), (446, y - 8)], 2, (140, 140, 146))
    pen.box(386, 186, 414, 210, (230, 228, 226), 3, grey)
    pen.oval(400, 148, 44, 50, (236, 234, 230), 3, grey)
    for i in range(18):
        a = math.pi * (1.0 + i / 17)
        pen.line([(400 + 40 * math.cos(a), 140 + 44 * math.sin(a)), (400 + 48 * math.cos(a + 0.2), 128 + 52 * math.sin(a + 0.2))], 3, grey)
    for x in (384, 416):
        pen.oval(x, 146, 4, 5, grey)
    pen.line([(386, 172), (400, 177), (414, 172)], 3, grey)
    drawn = finish(pen, paper((640, 640), (248, 248, 250), 10, "squared"), tilt=-1.2)
    return Drawing(photographed(drawn.picture, 0.09, 0.6, 10), drawn.mask, drawn.joints)


def sample() -> Drawing:
    """What Fit Drawing shows without a picture: a child in dungarees, coloured pencil on white, photographed."""
    pen = Pen((480, 640), 11, wobble=0.7)
    pen.body((240, 262), 46, (240, 410), 28, (332, 392), (274, 560), (240, 186), elbow=10)
    skin, line = (250, 208, 172), (70, 48, 44)
    for side, sign in (("r", -1), ("l", 1)):
        pen.limb(pen[f"{side}_shoulder {side}_elbow {side}_wrist"], 22, skin, 3)
        pen.limb(pen[f"{side}_shoulder {side}_elbow"], 28, (250, 196, 60), 3)
        pen.oval(*pen.joints[f"{side}_wrist"], 15, 15, skin, 3, line)
        pen.limb(pen[f"{side}_hip {side}_knee {side}_ankle"], 34, (58, 110, 190), 3)
        x, y = pen.joints[f"{side}_ankle"]
        pen.oval(x + sign * 7, y + 8, 27, 15, (214, 66, 60), 3, line)
    pen.shape([(194, 252), (286, 252), (290, 420), (190, 420)], (250, 196, 60), 3, line)
    pen.shape([(204, 320), (276, 320), (292, 428), (188, 428)], (58, 110, 190), 3, line)
    for x in (214, 266):
        pen.line([(x, 322), (x, 254)], 9, (58, 110, 190))
        pen.oval(x, 328, 6, 6, (250, 220, 90), 2, line)
    pen.box(218, 346, 262, 378, (90, 140, 214), 3, line)
    for sign in (-1, 1):
        pen.oval(240 + sign * 74, 178, 13, 17, skin, 3, line)
    pen.oval(240, 174, 72, 78, skin, 3, line)
    pen.shape([(168, 168), (172, 118), (206, 88), (250, 82), (294, 104), (312, 168), (286, 132), (250, 140), (214, 124), (186, 138)],
              (150, 84, 40), 3, line)
    for x in (214, 266):
        pen.oval(x, 180, 8, 11, line)
    for x in (196, 284):
        pen.oval(x, 208, 12, 8, (246, 164, 150))
    pen.line([(214, 214), (228, 226), (252, 226), (266, 214)], 5, (190, 50, 60))
    pen.textured(0.25, 0.8)
    drawn = finish(pen, paper((480, 640), (250, 249, 246), 11))
    return Drawing(photographed(drawn.picture, 0.08, 0.74, 11), drawn.mask, drawn.joints)


DRAWINGS: dict[str, Callable[[], Drawing]] = {
    "stick": stick, "crayon": crayon, "mascot": mascot, "robot": robot, "animal": animal, "princess": princess, "pixel_hero": pixel_hero,
    "inked": inked, "cut_paper": cut_paper, "pencil": pencil}


def main() -> None:
    for name, make in DRAWINGS.items():
        picture = make().picture
        if picture.mode == "RGBA":
            picture.save(FOLDER / f"{name}.png", optimize=True)
        else:
            picture.save(FOLDER / f"{name}.webp", quality=80, method=6)
    sample().picture.save(SAMPLE, quality=82, method=6)


if __name__ == "__main__":
    main()
