"""A wide world of drawn characters to train on: people, animals, robots and stick figures, in many styles.

A quarter of the seeds are `make_character`'s people: flat shapes without outlines.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .character import (
    FINISHES,
    PAPERS,
    PATTERNS,
    Background,
    Body,
    Character,
    Colour,
    Looks,
    Style,
    cloth_colour,
    hsv,
    make_character,
    mix,
)

BUILDS = ("person", "animal", "robot", "stick")
HELD = ("stick", "sword", "balloon", "flower", "flag", "ball")
INKS: tuple[Colour, ...] = ((24, 22, 24), (24, 22, 24), (60, 50, 48), (40, 50, 110), (110, 50, 40))


def make_drawing(seed: int) -> Character:
    """The character of a seed in 0..LAST_SEED, in a style of its own. Raises ValueError."""
    person = make_character(seed)
    rng = np.random.default_rng((0xD2A, seed))
    if rng.random() < 0.25:
        return person
    build = str(rng.choice(BUILDS, p=(0.56, 0.2, 0.12, 0.12)))
    style = make_style(rng, build)
    background = paper(rng) if style.finish != "cut paper" and rng.random() < 0.55 else person.background
    looks = make_looks(rng, person.looks, build, background)
    if style.ink and build != "stick" and rng.random() < 0.18:
        looks = uncoloured(looks, background.upper if background.kind in PAPERS else (250, 248, 244))
    character = replace(person, body=make_body(rng, person.body, build), looks=looks, background=background, style=style)
    return placed(rng, character)


def make_style(rng: np.random.Generator, build: str) -> Style:
    finish = str(rng.choice(FINISHES, p=(0.38, 0.14, 0.14, 0.06, 0.12, 0.1, 0.06)))
    inked = build != "stick" and finish not in ("cut paper", "watercolour") and rng.random() < (0.75 if finish != "pixels" else 0.5)
    ink = rng.uniform(0.003, 0.011) if inked else 0.0
    if finish == "watercolour" and rng.random() < 0.4:
        ink = rng.uniform(0.002, 0.005)
    return Style(ink=ink, ink_colour=INKS[rng.integers(len(INKS))], brush=rng.uniform(0, 0.5), finish=finish, grain=rng.uniform(0.05, 0.25),
                 seed=int(rng.integers(1 << 30)))


def make_body(rng: np.random.Generator, person: Body, build: str) -> Body:
    """Child, grown or with a giant head; thin or thick."""
    head = float(rng.choice([rng.uniform(0.13, 0.2), rng.uniform(0.2, 0.28), rng.uniform(0.28, 0.46)], p=(0.25, 0.45, 0.3)))
    neck = rng.uniform(0.0, 0.03)
    foot = rng.uniform(0.02, 0.045)
    rest = 1 - head - neck - foot
    legs = rest * rng.uniform(0.42, 0.62)
    broad = rng.uniform(0.75, 1.3)
    shoulder = (0.07 + 0.09 * rest) * rng.uniform(0.8, 1.15) * (0.5 + 0.5 * broad)
    hip = shoulder * rng.uniform(0.45, 0.75)
    arm = rest * rng.uniform(0.34, 0.45)
    thick = float(rng.choice([rng.uniform(0.4, 0.8), rng.uniform(0.8, 1.3), rng.uniform(1.3, 2.0)], p=(0.25, 0.5, 0.25)))
    arm_width, leg_width = 0.031 * thick, 0.041 * thick
    if build == "stick":
        arm_width = leg_width = rng.uniform(0.006, 0.018)
        shoulder, hip = rng.uniform(0.01, 0.09), rng.uniform(0.01, 0.05)
    wide = rng.uniform(0.75, 1.25)
    return replace(person, head=head, head_width=head * wide, neck=neck, torso=rest - legs, shoulder=shoulder, hip=hip,
                   waist=min(shoulder, hip * 1.3) * rng.uniform(0.85, 1.05), upper_arm=arm * 0.52, forearm=arm * 0.48, thigh=legs * 0.51,
                   shin=legs * 0.49, foot=foot, arm_width=arm_width, leg_width=min(leg_width, 0.95 * hip if build != "stick" else 1.0))


def make_looks(rng: np.random.Generator, person: Looks, build: str, background: Background) -> Looks:
    around = (background.upper, background.lower)

    def one_of(*choices: str) -> str:
        return str(rng.choice(choices))

    def maybe(share: float) -> Colour | None:
        return cloth_colour(rng, around) if rng.random() < share else None

    looks = replace(
        person, top=cloth_colour(rng, (*around, person.skin)), second=cloth_colour(rng, (person.top,)),
        pattern=one_of(*PATTERNS, "checks", "letter", "letter"), trunk=one_of("fitted", "fitted", "round", "square"),
        lower=one_of("trousers", "shorts", "skirt", "dress", "coat"), eye_kind=one_of("plain", "dots", "dots", "large", "closed"),
        mouth=one_of("smile", "line", "line", "open"), hair=one_of(person.hair, person.hair, "plaits", "bald"),
        headwear=one_of(person.headwear, person.headwear, "crown", "cone"), fingers=bool(rng.random() < 0.3),
        barefoot=bool(rng.random() < 0.2), cape=maybe(0.1), cheeks=mix((236, 120, 110), person.skin, 0.3) if rng.random() < 0.3 else None,
        held=one_of(*HELD) if rng.random() < 0.18 else "none", held_colour=cloth_colour(rng, around))
    if build == "animal":
        fur = hsv(rng.random(), rng.uniform(0.1, 0.6), rng.uniform(0.35, 0.95))
        looks = replace(looks, build=build, skin=fur, hair="bald", beard=False, ears=one_of("cat", "bear", "bunny", "dog"),
                        muzzle=bool(rng.random() < 0.7), tail=fur if rng.random() < 0.6 else None, barefoot=bool(rng.random() < 0.6),
                        top=fur if rng.random() < 0.25 else looks.top)
    elif build == "robot":
        metal = hsv(rng.random(), rng.uniform(0.0, 0.5), rng.uniform(0.5, 0.95))
        looks = replace(looks, build=build, skin=metal, hair="bald", beard=False, headwear="none", lower="trousers", barefoot=False,
                        cheeks=None)
    elif build == "stick":
        ink = INKS[rng.integers(len(INKS))] if rng.random() < 0.6 else cloth_colour(rng, around)
        face = mix(background.upper, (255, 255, 255), rng.uniform(0, 1)) if rng.random() < 0.6 else person.skin
        looks = replace(looks, build=build, top=ink, lower_colour=ink, skin=face, cape=None, glasses=False, beard=False,
                        lower=one_of("trousers", "trousers", "skirt", "dress"), scarf=None, eye_kind=one_of("dots", "plain", "closed"))
    return looks


def uncoloured(looks: Looks, sheet: Colour) -> Looks:
    """A line drawing: all parts in the colour of the sheet."""
    return replace(looks, skin=sheet, top=sheet, lower_colour=sheet, shoes=sheet, hair_colour=mix(looks.hair_colour, sheet, 0.5), cape=None,
                   gloves=None, socks=None, belt=None, headwear_colour=sheet, cheeks=None)


def paper(rng: np.random.Generator) -> Background:
    """A sheet: white, tinted or dark, with or without lines, evenly lit or as in a photograph."""
    light = rng.random()
    if light < 0.55:
        level = int(rng.integers(226, 256))
        sheet: Colour = mix((level, level, level), (244, 234, 208), rng.uniform(0, 0.8))
    else:
        sheet = hsv(rng.random(), rng.uniform(0.05, 0.5), rng.uniform(0.5, 1.0) if light < 0.95 else rng.uniform(0.1, 0.3))
    lines = mix(sheet, hsv(rng.uniform(0.5, 0.7), 0.5, 0.7), rng.uniform(0.25, 0.7))
    return Background(str(rng.choice(PAPERS, p=(0.4, 0.2, 0.2, 0.2))), sheet, mix(sheet, (0, 0, 0), rng.uniform(0.05, 0.3)), lines,
                      rng.uniform(0.5, 0.9), tuple(rng.random(8)))


def placed(rng: np.random.Generator, character: Character) -> Character:
    """Most in the middle; some small, off centre, or cut by the border."""
    kind = rng.random()
    if kind < 0.55:
        return character
    if kind < 0.85:
        height = rng.uniform(0.45, 0.8)
        return replace(character, height=height, x=rng.uniform(0.3, 0.7), ground=rng.uniform(min(0.95, height + 0.12), 0.97))
    height = rng.uniform(0.8, 1.1)
    return replace(character, height=height, x=rng.uniform(0.4, 0.6), ground=height + rng.uniform(0.03, 0.1))
