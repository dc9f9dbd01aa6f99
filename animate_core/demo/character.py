"""Who is drawn: a character's proportions, looks and background, all from one seed."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

Colour = tuple[int, int, int]

# Seeds from here up never enter training: the demo and the evaluation draw theirs from them.
HELD_OUT_SEED = 1 << 24
LAST_SEED = (1 << 25) - 1

HAIR = ("bald", "short", "fringe", "bob", "long", "ponytail", "bun", "afro", "spiky")
SLEEVES = ("none", "short", "long")
PATTERNS = ("plain", "plain", "stripes", "bands", "dots", "emblem", "halves")
LOWER = ("trousers", "shorts", "skirt", "dress")
HEADWEAR = ("none", "none", "none", "cap", "beanie", "hat")
BACKGROUNDS = ("flat", "gradient", "horizon", "hills", "room")
PAPERS = ("plain", "lined", "squared", "photo")
FINISHES = ("flat", "cel", "crayon", "pencil", "watercolour", "cut paper", "pixels")

# From light to dark; a character's skin lies between two neighbours.
SKIN = ((255, 224, 196), (241, 194, 155), (224, 172, 125), (198, 134, 88), (141, 85, 50), (92, 56, 38))
HAIR_COLOURS = ((32, 26, 24), (74, 46, 30), (128, 78, 42), (214, 176, 98), (176, 74, 36), (150, 150, 154), (236, 226, 206),
                (206, 72, 120), (66, 110, 190), (96, 60, 150))


@dataclass(frozen=True)
class Body:
    """Lengths in body heights (sole to crown = 1)."""

    head: float
    head_width: float
    neck: float
    torso: float
    shoulder: float
    hip: float
    waist: float
    upper_arm: float
    forearm: float
    thigh: float
    shin: float
    foot: float
    arm_width: float
    leg_width: float


@dataclass(frozen=True)
class Style:
    """How a character is drawn. Lengths in body heights, amounts in 0..1.

    ink: width of the outline, 0 for none. brush: how much it differs from part to part. finish: one of FINISHES. grain: amount of the
    finish's texture. seed: of textures, which stay in place from frame to frame.
    """

    ink: float = 0.0
    ink_colour: Colour = (30, 26, 26)
    brush: float = 0.0
    finish: str = "flat"
    grain: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Looks:
    skin: Colour
    hair: str
    hair_colour: Colour
    eyes: Colour
    smile: float
    beard: bool
    glasses: bool
    top: Colour
    second: Colour
    pattern: str
    pattern_size: float
    sleeves: str
    lower: str
    lower_colour: Colour
    hem: float
    shoes: Colour
    boots: bool
    headwear: str
    headwear_colour: Colour
    belt: Colour | None
    scarf: Colour | None
    gloves: Colour | None
    socks: Colour | None
    build: str = "person"
    trunk: str = "fitted"
    ears: str = "human"
    muzzle: bool = False
    eye_kind: str = "plain"
    mouth: str = "smile"
    cheeks: Colour | None = None
    tail: Colour | None = None
    cape: Colour | None = None
    held: str = "none"
    held_colour: Colour = (200, 60, 60)
    fingers: bool = False
    barefoot: bool = False


@dataclass(frozen=True)
class Background:
    kind: str
    upper: Colour
    lower: Colour
    third: Colour
    horizon: float
    shapes: tuple[float, ...]


@dataclass(frozen=True)
class Character:
    """height, x and ground: body height, root's place and the soles' line, as fractions of the picture's height, width and height."""

    seed: int
    body: Body
    looks: Looks
    background: Background
    height: float
    x: float
    ground: float
    style: Style = Style()


def check_seed(seed: int) -> None:
    """Raises ValueError for a seed that no character has."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= LAST_SEED:
        raise ValueError(f"seed: it must be a whole number from 0 to {LAST_SEED}; got {seed!r}")


def hsv(h: float, s: float, v: float) -> Colour:
    r, g, b = (round(255 * c) for c in colorsys.hsv_to_rgb(h % 1, s, v))
    return r, g, b


def mix(a: Colour, b: Colour, t: float) -> Colour:
    """From a (t = 0) to b (t = 1)."""
    r, g, b_ = (round(x + (y - x) * t) for x, y in zip(a, b, strict=True))
    return r, g, b_


def shade(colour: Colour, factor: float) -> Colour:
    """Darker below 1, lighter (towards white) above."""
    return mix((0, 0, 0), colour, factor) if factor <= 1 else mix(colour, (255, 255, 255), factor - 1)


def distance(a: Colour, b: Colour) -> float:
    return float(np.abs(np.subtract(a, b)).sum())


def cloth_colour(rng: np.random.Generator, away_from: tuple[Colour, ...] = ()) -> Colour:
    """A saturated or a grey colour that differs clearly from those given."""
    for _ in range(20):
        if rng.random() < 0.8:
            colour = hsv(rng.random(), rng.uniform(0.45, 0.95), rng.uniform(0.45, 1.0))
        else:
            grey = int(rng.integers(25, 246))
            colour = (grey, grey, grey)
        if all(distance(colour, other) > 130 for other in away_from):
            break
    return colour


def make_body(rng: np.random.Generator) -> Body:
    head = rng.uniform(0.185, 0.235)
    neck = rng.uniform(0.02, 0.035)
    foot = 0.03
    legs = (1 - head - neck - foot) * rng.uniform(0.55, 0.61)
    shoulder = rng.uniform(0.10, 0.135)
    arm = rng.uniform(0.27, 0.31)
    width = rng.uniform(0.85, 1.25)
    hip = rng.uniform(0.058, 0.076) * (0.6 + 0.4 * width)
    return Body(head=head, head_width=head * rng.uniform(0.78, 0.95), neck=neck, torso=1 - head - neck - foot - legs, shoulder=shoulder,
                hip=hip, waist=min(shoulder, hip * 1.25) * rng.uniform(0.85, 1.05), upper_arm=arm * 0.52, forearm=arm * 0.48,
                thigh=legs * 0.51, shin=legs * 0.49, foot=foot, arm_width=0.031 * width, leg_width=0.043 * width)


def make_looks(rng: np.random.Generator, background: tuple[Colour, ...]) -> Looks:
    tone = rng.uniform(0, len(SKIN) - 1.001)
    skin = mix(SKIN[int(tone)], SKIN[int(tone) + 1], tone % 1)
    top = cloth_colour(rng, (*background, skin))
    lower = cloth_colour(rng, (*background, skin, top))
    hair_colour = HAIR_COLOURS[rng.integers(len(HAIR_COLOURS))]

    def maybe(p: float) -> Colour | None:
        colour = cloth_colour(rng, (top, lower))
        return colour if rng.random() < p else None

    return Looks(
        skin=skin, hair=str(rng.choice(HAIR)), hair_colour=mix(hair_colour, (128, 110, 90), rng.uniform(0, 0.2)),
        eyes=hsv(rng.uniform(0, 0.65), rng.uniform(0.2, 0.8), rng.uniform(0.15, 0.45)), smile=rng.uniform(-0.2, 1.0),
        beard=bool(rng.random() < 0.15), glasses=bool(rng.random() < 0.15), top=top, second=cloth_colour(rng, (top,)),
        pattern=str(rng.choice(PATTERNS)), pattern_size=rng.uniform(0.8, 1.3), sleeves=str(rng.choice(SLEEVES, p=(0.2, 0.45, 0.35))),
        lower=str(rng.choice(LOWER, p=(0.4, 0.2, 0.2, 0.2))), lower_colour=lower, hem=rng.uniform(0.0, 1.0),
        shoes=cloth_colour(rng, background), boots=bool(rng.random() < 0.25), headwear=str(rng.choice(HEADWEAR)),
        headwear_colour=cloth_colour(rng, (hair_colour, skin)), belt=maybe(0.3), scarf=maybe(0.15), gloves=maybe(0.12), socks=maybe(0.25))


def make_background(rng: np.random.Generator) -> Background:
    # muted, so that characters stand out as they do in pictures that people choose
    hue = rng.random()
    upper = hsv(hue, rng.uniform(0.05, 0.4), rng.uniform(0.55, 0.98))
    lower = hsv(hue + rng.uniform(-0.2, 0.2), rng.uniform(0.1, 0.45), rng.uniform(0.35, 0.85))
    third = hsv(rng.random(), rng.uniform(0.1, 0.5), rng.uniform(0.5, 0.9))
    return Background(str(rng.choice(BACKGROUNDS)), upper, lower, third, rng.uniform(0.55, 0.85), tuple(rng.random(8)))


def make_character(seed: int) -> Character:
    """The character of a seed in 0..LAST_SEED; those from HELD_OUT_SEED up are never trained on. Raises ValueError."""
    check_seed(seed)
    rng = np.random.default_rng((0xC4A, seed))
    background = make_background(rng)
    body = make_body(rng)
    looks = make_looks(rng, (background.upper, background.lower))
    return Character(seed, body, looks, background, height=rng.uniform(0.74, 0.82), x=rng.uniform(0.46, 0.54),
                     ground=rng.uniform(0.93, 0.965))
