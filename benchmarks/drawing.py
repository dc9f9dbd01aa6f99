"""Drawing skeletons, pixel-exact, beside the plain way with Pillow's shapes.

One person with hands and face, 512x768. Frames per second of one core: processor time, which other programs on the machine disturb least;
the best of the rounds, which take turns. Pillow's pictures are near, but not the reference's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from animate_core.demo.character import HELD_OUT_SEED, make_character
from animate_core.demo.motion import keypoints, make_moves
from animate_core.pose.drawing import COLOURS, FINGER_COLOURS, FINGERS, STYLES, DrawStyle, draw_people
from animate_core.pose.keypoints import BODY, FACE, L_WRIST, LEFT_HAND, LIMBS, NOSE, NUM_POINTS, R_WRIST, RIGHT_HAND, Array

from .common import Options, markdown

name = "drawing"
title = "Drawing skeletons"

WIDTH, HEIGHT = 512, 768
FRAMES, ROUNDS = 48, 7


def dancer(frames: int) -> Array:
    """`[F, 1, 134, 3]`: a procedural body that dances; hands as fans of fingers, the face as rings."""
    character = make_character(HELD_OUT_SEED)
    points = np.ones((frames, 1, NUM_POINTS, 3), np.float32)
    points[:, 0, BODY] = keypoints(character, make_moves("dance", character.seed, frames), WIDTH, HEIGHT)
    finger, joint = np.divmod(np.arange(20), 4)
    angle, reach = np.radians(30 * finger - 60), 12 + 6 * joint
    hand = np.concatenate([[(0, 0)], np.stack([reach * np.sin(angle), reach * np.cos(angle)], axis=-1)])
    turn = np.linspace(0, 2 * np.pi, 34, endpoint=False)
    ring = np.stack([np.cos(turn), np.sin(turn)], axis=-1)
    face = np.concatenate([40 * ring, 20 * ring])
    for part, origin, shape in ((LEFT_HAND, L_WRIST, hand), (RIGHT_HAND, R_WRIST, hand), (FACE, NOSE, face)):
        points[:, 0, part, :2] = points[:, 0, origin, None, :2] + shape
    return points


def by_pillow(people: Array, width: int, height: int, style: DrawStyle) -> Array:
    """The same rules with polygons of 40 corners, Pillow's lines and its ellipses."""
    image = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(image)
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=-1)

    def dot(x: int, y: int, radius: int, colour: tuple[int, ...]) -> None:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)

    for points in people:
        seen, whole = points[:, 2] > style.score_threshold, points[:, :2].astype(int).tolist()
        for i, (a, b) in enumerate(LIMBS):
            if seen[a] and seen[b]:
                way = points[a, :2] - points[b, :2]
                length, angle = math.hypot(*way), math.atan2(way[1], way[0])
                half = int(style.widths(np.array([length]))[0])
                rotation = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
                outline = (points[a, :2] + points[b, :2]) / 2 + circle * (length / 2, half) @ rotation
                draw.polygon(outline.ravel().tolist(), fill=tuple((COLOURS[i] * style.limb_brightness).astype(int).tolist()))
        for i in range(18):
            if seen[i]:
                dot(*whole[i], style.joint_radius, tuple(COLOURS[i].tolist()))
        for part in (LEFT_HAND, RIGHT_HAND) if style.hands else ():
            hand = whole[part]
            for (a, b), colour in zip(FINGERS.tolist(), FINGER_COLOURS.tolist(), strict=True):
                draw.line((*hand[a], *hand[b]), tuple(colour), style.hand_line or style.joint_radius)
            for x, y in hand:
                dot(x, y, style.hand_radius, (0, 0, 255))
        for x, y in whole[FACE] if style.face else ():
            dot(x, y, style.face_radius, (255, 255, 255))
    return np.asarray(image)[..., ::-1 if style.swap_red_blue else 1]


WAYS: dict[str, Callable[[Array, int, int, DrawStyle], Array]] = {"ours": draw_people, "Pillow": by_pillow}


def seconds_per_frame(way: Callable[[Array, int, int, DrawStyle], Array], clip: Array, style: DrawStyle) -> float:
    start = time.process_time()
    for people in clip:
        way(people, WIDTH, HEIGHT, style)
    return (time.process_time() - start) / len(clip)


def run(options: Options) -> dict[str, Any]:
    """milliseconds of a frame and share of pixels that differ from ours, by style and way."""
    clip = dancer(4 if options.quick else FRAMES)
    lines = []
    for style_name, style in STYLES.items():
        times: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(options.rounds or (1 if options.quick else ROUNDS)):
            for way, draw in WAYS.items():
                times[way].append(seconds_per_frame(draw, clip, style))
        exact = draw_people(clip[0], WIDTH, HEIGHT, style)
        for way, draw in WAYS.items():
            share = float((draw(clip[0], WIDTH, HEIGHT, style) != exact).any(-1).mean())
            lines.append({"style": style_name, "way": way, "milliseconds": 1000 * min(times[way]), "differing": share})
    return {"lines": lines}


def table(results: dict[str, Any]) -> str:
    return markdown(["style", "way", "ms a frame", "frames/s", "pixels that differ"],
                    [[r["style"], r["way"], f"{r['milliseconds']:.2f}", f"{1000 / r['milliseconds']:.0f}", f"{r['differing']:.2%}"]
                     for r in results["lines"]])
