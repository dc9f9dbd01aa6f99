"""Bodies of sticks in three dimensions, from a seed, and their motions: the kinematics of the worlds elsewhere.

x to the picture's right, y up, z towards the viewer; lengths in body heights, angles in radians. Side 0 is the figure's right, at the
picture's left. A segment's direction has two angles: `out` in the frontal plane, 0 hanging down, pi/2 sideways; `fwd` towards the viewer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Array = np.ndarray
SIDES = np.array([-1.0, 1.0])
PERIODS = (10.0, 20.0)  # frames of one repetition

NOSE, NECK, R_EYE, R_EAR = 0, 1, 14, 16
SHOULDERS, ELBOWS, WRISTS, HIPS, KNEES, ANKLES, EYES, EARS = ((2, 5), (3, 6), (4, 7), (8, 11), (9, 12), (10, 13), (14, 15), (16, 17))


@dataclass(frozen=True)
class Body:
    """shoulder, hip: half widths; arm, leg: of one segment; foot: the ankle's height; girth: half a limb's width."""

    head: float
    head_width: float
    neck: float
    torso: float
    shoulder: float
    hip: float
    arm: float
    leg: float
    foot: float
    girth: float


def make_body(rng: np.random.Generator, thin: bool = False) -> Body:
    """Adults, children and giant heads; thin: limbs of a stick figure."""
    head = (rng.uniform(0.15, 0.18), rng.uniform(0.21, 0.27), rng.uniform(0.32, 0.40))[rng.choice(3, p=(0.4, 0.35, 0.25))]
    neck, foot = rng.uniform(0.015, 0.035), rng.uniform(0.03, 0.04)
    rest = 1 - head - neck - foot
    legs = rest * rng.uniform(0.50, 0.60)
    stout = rng.uniform(0.7, 1.35)
    hip = rest * rng.uniform(0.075, 0.10) * (0.5 + 0.5 * stout)
    girth = rng.uniform(0.008, 0.013) if thin else 0.036 * rest * (0.4 + 0.6 * stout) * rng.uniform(0.9, 1.3)
    return Body(head, head * rng.uniform(0.78, 1.05), neck, rest - legs, rest * rng.uniform(0.12, 0.155) * (0.6 + 0.4 * stout), hip,
                rest * rng.uniform(0.19, 0.23), legs / 2, foot, girth)


class Moves:
    """Angles and shifts over F frames, `[F]` or `[2, F]` for both sides; at first a stand at ease.

    x: shift sideways; hop: height above the ground; lean, tilt: of torso and head to the picture's right; yaw, turn: of body and head about
    the upright axis; arm, fore, thigh, shin: each `out` and `fwd`, of the segment itself, not against the one before.
    """

    def __init__(self, rng: np.random.Generator, frames: int) -> None:
        def both(low: float, high: float) -> Array:
            return np.repeat(rng.uniform(low, high, (2, 1)), frames, axis=1)

        zero = np.zeros(frames)
        self.x, self.hop, self.lean, self.tilt = zero, zero, zero + rng.uniform(-0.04, 0.04), zero + rng.uniform(-0.1, 0.1)
        self.yaw, self.turn = zero + rng.uniform(-0.3, 0.3), zero + rng.uniform(-0.15, 0.15)
        self.arm_out, self.arm_fwd = both(0.15, 0.5), both(-0.1, 0.2)
        self.fore_out, self.fore_fwd = self.arm_out + both(-0.25, 0.15), self.arm_fwd + both(0.0, 0.4)
        self.thigh_out, self.thigh_fwd = both(0.03, 0.14), both(-0.02, 0.06)
        self.shin_out, self.shin_fwd = self.thigh_out - both(0, 0.05), self.thigh_fwd - both(0, 0.08)


def sides(phase: Array, shift: float = np.pi) -> Array:
    """The phase of either side, `[2, F]`."""
    return np.stack([phase, phase + shift])


def jack(m: Moves, rng: np.random.Generator, phase: Array) -> None:
    open_ = 0.5 - 0.5 * np.cos(phase)
    m.arm_out = 0.2 + rng.uniform(1.9, 2.5) * sides(open_, 0)
    m.fore_out = m.arm_out + rng.uniform(-0.1, 0.35) * sides(open_, 0)
    m.thigh_out = 0.05 + rng.uniform(0.25, 0.42) * sides(open_, 0)
    m.shin_out = m.thigh_out - 0.04
    m.hop = rng.uniform(0.02, 0.06) * np.abs(np.sin(phase))


def march(m: Moves, rng: np.random.Generator, phase: Array) -> None:
    up = np.maximum(0, np.sin(sides(phase)))
    m.thigh_fwd = rng.uniform(0.7, 1.25) * up
    m.shin_fwd = -rng.uniform(0.1, 0.4) * up
    swing = np.sin(sides(phase + np.pi))
    m.arm_fwd = rng.uniform(0.4, 0.9) * swing
    m.fore_fwd = m.arm_fwd + rng.uniform(0.2, 0.9) * (0.5 + 0.5 * swing)
    m.lean = m.lean + 0.03 * np.sin(phase)


def sidestep(m: Moves, rng: np.random.Generator, phase: Array) -> None:
    m.x = rng.uniform(0.04, 0.09) * np.sin(phase)
    m.thigh_out = 0.06 + rng.uniform(0.15, 0.3) * np.maximum(0, np.cos(sides(phase)))
    m.shin_out = m.thigh_out - 0.08
    sweep = rng.uniform(0.7, 1.2)
    m.arm_out = 0.3 + sweep * (1 + np.sin(sides(phase)))
    m.fore_out = m.arm_out + rng.uniform(0.1, 0.8) * (0.5 + 0.5 * np.sin(sides(phase + 0.5)))
    m.lean = m.lean + rng.uniform(0.03, 0.12) * np.sin(phase)


def kick(m: Moves, rng: np.random.Generator, phase: Array) -> None:
    up = np.maximum(0, np.sin(sides(phase))) ** 1.5
    m.thigh_out = 0.06 + rng.uniform(0.5, 0.95) * up
    m.shin_out = m.thigh_out + rng.uniform(-0.5, 0.05) * up
    m.lean = m.lean + 0.15 * (up[0] - up[1])
    m.arm_out = rng.uniform(0.8, 1.3) + 0.35 * np.cos(sides(phase))
    m.fore_out = m.arm_out + rng.uniform(-0.3, 0.6)


def dance(m: Moves, rng: np.random.Generator, phase: Array) -> None:
    """Every joint by two random harmonics of its own."""
    def wander(low: float, high: float, sides: int = 2) -> Array:
        share, first, second = rng.uniform(0.1, 0.4, (sides, 1)), *rng.uniform(0, 2 * np.pi, (2, sides, 1))
        wave = (1 - share) * np.sin(phase + first) + share * np.sin(2 * phase + second)
        return (low + high) / 2 + (high - low) / 2 * wave

    m.arm_out, m.arm_fwd = wander(0.2, rng.uniform(1.4, 2.6)), wander(-0.3, 0.7)
    m.fore_out, m.fore_fwd = m.arm_out + wander(-0.9, 1.3), wander(-0.1, 0.9)
    m.thigh_out, m.thigh_fwd = wander(0.04, 0.32), wander(-0.1, 0.6)
    m.shin_out, m.shin_fwd = m.thigh_out - wander(0, 0.2), m.thigh_fwd - wander(0.1, 0.8)
    m.x, m.lean, m.tilt = wander(-0.05, 0.05, 1)[0], wander(-0.16, 0.16, 1)[0], m.tilt + wander(-0.15, 0.15, 1)[0]
    m.yaw, m.turn = m.yaw + wander(-0.25, 0.25, 1)[0], wander(-0.3, 0.3, 1)[0]


MOTIONS: dict[str, Callable[[Moves, np.random.Generator, Array], None]] = {
    "jack": jack, "march": march, "sidestep": sidestep, "kick": kick, "dance": dance}


def moves(key: tuple[int, ...], motion: str, frames: int) -> Moves:
    """One of MOTIONS over `frames` frames; the key sets its size and style."""
    rng = np.random.default_rng((*key, 2, list(MOTIONS).index(motion)))
    out = Moves(rng, frames)
    MOTIONS[motion](out, rng, rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(frames) / rng.uniform(*PERIODS))
    return out


def at_ease(key: tuple[int, ...]) -> Moves:
    """One frame: hanging arms, arms held away, or a hand on the hip, as in pictures that people draw to begin with."""
    rng = np.random.default_rng((*key, 3))
    out = Moves(rng, 1)
    kind, side = rng.integers(3), rng.integers(2)
    if kind == 1:
        out.arm_out = np.full((2, 1), rng.uniform(0.8, 1.5))
        out.fore_out = out.arm_out + rng.uniform(-0.1, 0.2)
    elif kind == 2:
        out.arm_out[side], out.fore_out[side] = 0.75, -0.8
    return out


def spin(points: Array, angle: Array) -> Array:
    """About the upright axis; points `[F, 3]`, angle `[F]`."""
    x, y, z = points.T
    return np.stack([x * np.cos(angle) + z * np.sin(angle), y, z * np.cos(angle) - x * np.sin(angle)], axis=-1)


def incline(points: Array, angle: Array) -> Array:
    """In the picture's plane, to its right."""
    x, y, z = points.T
    return np.stack([x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle), z], axis=-1)


def joints(body: Body, m: Moves) -> Array:
    """OpenPose's 18 points `[F, 18, 3]`: x from the body's place, y above the ground, z."""
    frames = len(m.x)
    out = np.zeros((frames, 18, 3))

    def at(x: float, y: float, z: float = 0.0) -> Array:
        return np.tile((x, y, z), (frames, 1))

    def segment(length: float, side: float, angle: Array, fwd: Array) -> Array:
        return length * np.stack([side * np.sin(angle) * np.cos(fwd), -np.cos(angle) * np.cos(fwd), np.sin(fwd)], axis=-1)

    out[:, NECK] = neck = incline(at(0, body.torso), m.lean)
    upright = m.lean + m.tilt
    centre = neck + incline(at(0, body.neck + body.head / 2), upright)

    def face(x: float, y: float, z: float) -> Array:
        return centre + incline(spin(at(x * body.head_width, y * body.head, z * body.head_width), m.turn), upright)

    out[:, NOSE] = face(0, -0.07, 0.5)
    for i, side in enumerate(SIDES):
        out[:, R_EYE + i], out[:, R_EAR + i] = face(side * 0.2, 0.06, 0.44), face(side * 0.5, 0, 0)
        out[:, SHOULDERS[i]] = shoulder = neck + incline(at(side * body.shoulder, -0.02), m.lean)
        out[:, ELBOWS[i]] = elbow = shoulder + incline(segment(body.arm, side, m.arm_out[i], m.arm_fwd[i]), m.lean)
        out[:, WRISTS[i]] = elbow + incline(segment(body.arm, side, m.fore_out[i], m.fore_fwd[i]), m.lean)
        out[:, HIPS[i]] = hip = at(side * body.hip, 0)
        out[:, KNEES[i]] = knee = hip + segment(body.leg, side, m.thigh_out[i], m.thigh_fwd[i])
        out[:, ANKLES[i]] = knee + segment(body.leg, side, m.shin_out[i], m.shin_fwd[i])
    for joint in range(18):
        out[:, joint] = spin(out[:, joint], m.yaw)
    out[..., 1] += (m.hop + body.foot - out[:, ANKLES, 1].min(axis=1))[:, None]
    out[..., 0] += m.x[:, None]
    return out
