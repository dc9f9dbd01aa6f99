"""How a character moves: looping motions from a seed, and the joints that a body takes in them.

Front view, in the picture's plane. Angles in radians; an arm's angle is 0 hanging down, pi/2 stretched out sideways, below 0 across the
body. A leg follows from hip and foot: in front view a bent knee shows mostly as a shorter leg, and a body that turns or bows is narrower
or shorter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..pose.keypoints import NECK, NOSE, R_EAR, R_EYE, R_HIP, R_SHOULDER
from .character import Body, Character, check_seed

Array = np.ndarray

SIDES = (-1.0, 1.0)  # the character faces us: its right side is at the picture's left

ELBOW_RANGE = (-1.9, 2.4)
SHOULDER_RANGE = (0.03, 3.0)
CROSSING_RANGE = (-0.7, 3.0)  # of the motions in CROSSING
FACING_SHIFT = 0.3  # how far the nose moves to the side in a head that is turned by a right angle, in widths of the head
DEFAULT_PERIOD = 16
FRAMED_MOTIONS = ("walk", "wave", "dance", "squat", "jump", "swing")  # of MOTIONS: what stays inside the picture


@dataclass
class Moves:
    """A motion over F frames; every array `[F]` or, where it has sides, `[2, F]` (right, left). Lengths in body heights.

    x, y: the root's shift sideways and up. lean, tilt: of the torso and of the head against it, positive to the picture's right.
    shoulder, elbow: angles; a positive elbow bends the forearm outwards and up. lift, spread: each foot's height and shift outwards.
    turn: of the whole body about its height, 0 facing us. bow: of the trunk towards us, 0 upright. roll: of the whole body in the picture
    about its root, positive to the picture's right.
    """

    x: Array
    y: Array
    lean: Array
    tilt: Array
    shoulder: Array
    elbow: Array
    lift: Array
    spread: Array
    turn: Array
    bow: Array
    roll: Array


def still(rng: np.random.Generator, frames: int) -> Moves:
    """Standing at ease; what a motion does not move stays like this."""
    def both(low: float, high: float) -> Array:
        return np.repeat(rng.uniform(low, high, (2, 1)), frames, axis=1)

    return Moves(x=np.zeros(frames), y=np.zeros(frames), lean=np.full(frames, rng.uniform(-0.03, 0.03)),
                 tilt=np.full(frames, rng.uniform(-0.06, 0.06)),
                 shoulder=both(0.12, 0.35), elbow=both(-0.15, 0.25), lift=np.zeros((2, frames)), spread=both(0.0, 0.05),
                 turn=np.zeros(frames), bow=np.zeros(frames), roll=np.zeros(frames))


def walk(m: Moves, rng: np.random.Generator, phase: Array) -> None:
    swing, step = rng.uniform(0.15, 0.35), rng.uniform(0.05, 0.10)
    m.lift = step * np.maximum(0, np.stack([np.sin(phase), -np.sin(phase)])) ** 0.8
    m.y = 0.012 * np.cos(2 * phase) - 0.012
    m.x = -rng.uniform(0.008, 0.02) * np.sin(phase)
    m.lean += rng.uniform(0.01, 0.04) * np.sin(phase)
    m.shoulder += swing * (0.5 + 0.5 * np.stack([-np.sin(phase), np.sin(phase)]))
    m.elbow += rng.uniform(0.1, 0.6) * (0.5 + 0.5 * np.stack([-np.sin(phase), np.sin(phase)]))


def wave(m: Moves, rng: np.random.Generator, phase: Array) -> None:
    arm = int(rng.integers(2))
    m.shoulder[arm] = rng.uniform(1.4, 2.3) + 0.12 * np.sin(phase + 1)
    m.elbow[arm] = rng.uniform(0.5, 1.0) + rng.uniform(0.35, 0.6) * np.sin(int(rng.integers(1, 3)) * phase)
    m.lean += SIDES[1 - arm] * rng.uniform(0.0, 0.05) + 0.02 * np.sin(phase)
    m.tilt += SIDES[arm] * rng.uniform(0.0, 0.12)
    if rng.random() < 0.3:
        m.shoulder[1 - arm], m.elbow[1 - arm] = 0.75, -1.6  # the other hand on the hip


def dance(m: Moves, rng: np.random.Generator, phase: Array) -> None:
    def groove(low: float, high: float) -> Array:
        middle, swing = (low + high) / 2, (high - low) / 2
        second = rng.uniform(0, 0.35)
        return middle + swing * ((1 - second) * np.sin(phase + rng.uniform(0, 6.28)) + second * np.sin(2 * phase + rng.uniform(0, 6.28)))

    together = rng.random() < 0.35
    for arm in range(2):
        low = rng.uniform(0.2, 1.0)
        m.shoulder[arm] = groove(low, low + rng.uniform(0.7, 1.7))
        low = rng.uniform(-0.8, 0.6)
        m.elbow[arm] = groove(low, low + rng.uniform(0.4, 1.4))
    if together:
        m.shoulder[1], m.elbow[1] = m.shoulder[0], m.elbow[0]
    sway = rng.uniform(0.015, 0.05)
    m.x = sway * np.sin(phase)
    m.lean -= rng.uniform(0.0, 0.12) * np.sin(phase)
    m.tilt += rng.uniform(0.0, 0.15) * np.sin(phase + rng.uniform(-1, 1))
    m.y = -rng.uniform(0.01, 0.04) * (0.5 + 0.5 * np.cos(2 * phase))
    m.spread += rng.uniform(0.01, 0.05)
    if rng.random() < 0.5:
        m.lift = rng.uniform(0.02, 0.06) * np.maximum(0, np.stack([np.sin(phase), -np.sin(phase)]))


def squat(m: Moves, rng: np.random.Generator, phase: Array) -> None:
    depth = 0.5 - 0.5 * np.cos(phase)
    m.y = -rng.uniform(0.09, 0.17) * depth
    m.spread += rng.uniform(0.02, 0.06)
    m.shoulder += rng.uniform(0.2, 1.5) * depth
    m.elbow += rng.uniform(-0.8, 0.5) * depth


def jump(m: Moves, rng: np.random.Generator, phase: Array) -> None:
    height, crouch = rng.uniform(0.03, 0.07), rng.uniform(0.04, 0.09)
    flight = np.maximum(0, np.sin(phase))
    m.y = height * flight - crouch * np.maximum(0, -np.sin(phase)) ** 1.5
    m.lift = np.stack([height * flight] * 2)
    m.spread = m.spread + rng.uniform(-0.01, 0.08) * flight
    m.shoulder += rng.uniform(0.5, 2.3) * (0.5 + 0.5 * np.sin(phase - 0.4))
    m.elbow += rng.uniform(-0.2, 0.5) * flight


def swing(m: Moves, rng: np.random.Generator, phase: Array) -> None:
    low, high = rng.uniform(0.1, 0.5), rng.uniform(1.3, 2.8)
    delay = float(rng.choice([0.0, np.pi, np.pi / 2]))
    for arm in range(2):
        m.shoulder[arm] = (low + high) / 2 - (high - low) / 2 * np.cos(phase + arm * delay)
        m.elbow[arm] = rng.uniform(-0.1, 0.5) + 0.15 * np.sin(phase)
    m.lean += rng.uniform(0.0, 0.07) * np.sin(phase)
    m.y = -0.012 * (0.5 - 0.5 * np.cos(2 * phase))


def jumping_jack(m: Moves, rng: np.random.Generator, phase: Array) -> None:
    out = 0.5 - 0.5 * np.cos(phase)
    m.shoulder = 0.15 + rng.uniform(1.9, 2.7) * np.stack([out] * 2)
    m.elbow = rng.uniform(0.0, 0.3) * np.stack([out] * 2)
    m.spread = 0.02 + rng.uniform(0.06, 0.15) * np.stack([out] * 2)
    m.y = 0.03 * np.sin(phase) ** 2
    m.lift = np.stack([0.9 * m.y] * 2)


def kick(m: Moves, rng: np.random.Generator, phase: Array) -> None:
    leg = int(rng.integers(2))
    both = rng.random() < 0.4  # legs in turn
    up = np.stack([np.maximum(0, np.sin(phase)), np.maximum(0, -np.sin(phase)) if both else 0 * phase])[::1 if leg == 0 else -1] ** 1.3
    m.lift = rng.uniform(0.12, 0.28) * up
    m.spread = m.spread + rng.uniform(0.08, 0.2) * up
    m.lean -= rng.uniform(0.02, 0.1) * (up[0] * SIDES[0] + up[1] * SIDES[1])
    m.shoulder += rng.uniform(0.3, 1.2) * (0.3 + 0.7 * up.max(0))


def bow(m: Moves, rng: np.random.Generator, phase: Array) -> None:
    down = (0.5 - 0.5 * np.cos(phase)) ** 1.2
    m.bow = rng.uniform(0.6, 1.15) * down
    m.shoulder += rng.uniform(-0.2, 0.9) * down
    m.elbow += rng.uniform(-0.7, 0.3) * down
    m.y = -0.02 * down


def run(m: Moves, rng: np.random.Generator, phase: Array) -> None:
    swing = np.stack([np.sin(phase), -np.sin(phase)])
    m.lift = rng.uniform(0.1, 0.2) * np.maximum(0, swing)
    m.y = 0.025 * np.abs(np.cos(phase)) - 0.02
    m.shoulder += 0.1 + rng.uniform(0.1, 0.3) * (1 - swing)
    m.elbow = rng.uniform(-1.7, -0.9) + 0.4 * swing
    m.lean += rng.uniform(0.0, 0.05) * np.sin(phase)
    m.turn = m.turn + rng.uniform(-0.7, 0.7)


def spin(m: Moves, rng: np.random.Generator, phase: Array) -> None:
    m.turn = rng.uniform(0.5, 1.1) * np.sin(phase)
    m.shoulder += rng.uniform(0.1, 1.3) * (0.6 + 0.4 * np.cos(phase))
    m.elbow += rng.uniform(-0.6, 0.6)
    m.lift = 0.03 * np.maximum(0, np.stack([np.sin(phase), -np.sin(phase)]))


def crouch(m: Moves, rng: np.random.Generator, phase: Array) -> None:
    m.y = -rng.uniform(0.16, 0.24) - 0.03 * np.sin(phase)
    m.spread += rng.uniform(0.03, 0.09)
    m.x = rng.uniform(0.0, 0.03) * np.sin(phase)
    m.bow = m.bow + rng.uniform(0.0, 0.5)
    m.shoulder += rng.uniform(0.2, 1.2) + 0.2 * np.sin(phase)
    m.elbow += rng.uniform(-1.2, 0.6)


def wave_both(m: Moves, rng: np.random.Generator, phase: Array) -> None:
    delay = float(rng.choice([0.0, np.pi]))
    for arm in range(2):
        m.shoulder[arm] = rng.uniform(1.6, 2.6) + 0.2 * np.sin(phase + arm * delay)
        m.elbow[arm] = rng.uniform(0.1, 0.7) + rng.uniform(0.3, 0.6) * np.sin(phase + arm * delay)
    m.lean += 0.03 * np.sin(phase)


def lie_down(m: Moves, rng: np.random.Generator, phase: Array) -> None:
    upper = int(rng.integers(2))  # the side that lies on top
    m.roll = SIDES[1 - upper] * (np.pi / 2 + rng.uniform(-0.1, 0.1) + 0.05 * np.sin(phase))
    m.shoulder[upper] += rng.uniform(0.2, 1.5) + rng.uniform(0.1, 0.5) * np.sin(phase)
    m.elbow[upper] += rng.uniform(-0.5, 0.8)
    m.lift = rng.uniform(0.0, 0.1) * (0.5 + 0.5 * np.stack([np.sin(phase), np.cos(phase)]))


def free(m: Moves, rng: np.random.Generator, phase: Array) -> None:
    """Every joint by itself, arms also across the body."""
    def noise(low: float, high: float) -> Array:
        second = rng.uniform(0, 0.4)
        wave = (1 - second) * np.sin(phase + rng.uniform(0, 6.28)) + second * np.sin(2 * phase + rng.uniform(0, 6.28))
        a, b = np.sort(rng.uniform(low, high, 2))
        return (a + b) / 2 + (b - a) / 2 * wave

    m.x, m.y, m.lean, m.tilt = noise(-0.05, 0.05), noise(-0.12, 0.0), noise(-0.25, 0.25), noise(-0.3, 0.3)
    m.turn, m.bow = noise(-0.6, 0.6), noise(0.0, 0.6)
    m.shoulder = np.stack([noise(-0.6, 2.9) for _ in SIDES])
    m.elbow = np.stack([noise(-1.8, 1.8) for _ in SIDES])
    m.lift = np.stack([noise(0.0, 0.15) for _ in SIDES])
    m.spread = np.stack([noise(-0.08, 0.16) for _ in SIDES])


MOTIONS: dict[str, Callable[[Moves, np.random.Generator, Array], None]] = {
    "walk": walk, "wave": wave, "dance": dance, "squat": squat, "jump": jump, "swing": swing, "jumping_jack": jumping_jack, "kick": kick,
    "bow": bow, "run": run, "spin": spin, "crouch": crouch, "wave_both": wave_both, "lie_down": lie_down, "free": free}
CROSSING = ("bow", "free")


def make_moves(motion: str, seed: int, frames: int, period: float = DEFAULT_PERIOD) -> Moves:
    """One of MOTIONS over `frames` frames, repeating every `period` frames; the seed sets its size and style.

    Raises ValueError for an unknown motion, a seed out of range, no frames or a period below 4.
    """
    if motion not in MOTIONS:
        raise ValueError(f"motion: {motion!r} is unknown; choose from: {', '.join(MOTIONS)}")
    check_seed(seed)
    if frames < 1:
        raise ValueError(f"frames must be at least 1; got {frames}")
    if period < 4:
        raise ValueError(f"period must be at least 4 frames; got {period}")
    rng = np.random.default_rng((0x307E, list(MOTIONS).index(motion), seed))
    start = rng.uniform(0, 2 * np.pi)
    moves = still(rng, frames)
    MOTIONS[motion](moves, rng, start + 2 * np.pi * np.arange(frames) / period)
    moves.shoulder = moves.shoulder.clip(*(CROSSING_RANGE if motion in CROSSING else SHOULDER_RANGE))
    moves.elbow = moves.elbow.clip(*ELBOW_RANGE)
    return moves


def leg(hip: Array, ankle: Array, side: float, length: float) -> tuple[Array, Array]:
    """Knee and ankle `[F, 2]`. A leg too short for its foot draws the foot in; slack shows as a knee turned out a little."""
    way = ankle - hip
    span = np.linalg.norm(way, axis=-1, keepdims=True)
    ankle = hip + way * np.minimum(1, length / span)
    slack = np.sqrt(np.maximum(0, length**2 - span**2))
    outwards = np.array([side, 0.15])
    return (hip + ankle) / 2 + 0.26 * slack * outwards, ankle


def joints(body: Body, moves: Moves) -> Array:
    """OpenPose-18 points `[F, 18, 2]` in body heights: x from the root to the picture's right, y down from the ground line."""
    frames = len(moves.x)
    out = np.zeros((frames, 18, 2))
    root = np.stack([moves.x, -(body.foot + body.thigh + body.shin) - moves.y], axis=-1)
    narrow = np.cos(moves.turn)

    def turned(angle: Array, right: float | Array, up: float | Array) -> Array:
        right = right * narrow
        return np.stack([right * np.cos(angle) + up * np.sin(angle), right * np.sin(angle) - up * np.cos(angle)], axis=-1)

    def limb(side: float, length: float, angle: Array) -> Array:
        return length * np.stack([side * np.sin(angle) * narrow, np.cos(angle)], axis=-1)

    out[:, NECK] = neck = root + turned(moves.lean, 0, body.torso * np.cos(moves.bow))
    head_angle = moves.lean + moves.tilt
    centre = neck + turned(head_angle, 0, (body.neck + body.head / 2) * np.cos(1.15 * moves.bow))
    facing, nod = FACING_SHIFT * body.head_width * np.sin(moves.turn), -0.3 * body.head * np.sin(moves.bow)
    out[:, NOSE] = centre + turned(head_angle, 0, -0.08 * body.head + nod) + turned(head_angle, facing / narrow, 0)
    for i, side in enumerate(SIDES):
        eye = side * 0.21 * body.head_width + 0.8 * facing / narrow
        out[:, R_EYE + i] = centre + turned(head_angle, eye, 0.05 * body.head + 0.8 * nod)
        out[:, R_EAR + i] = centre + turned(head_angle, side * 0.5 * body.head_width, 0)
        shoulder = neck + turned(moves.lean, side * body.shoulder, -0.025)
        angle = moves.shoulder[i] - side * moves.lean
        elbow = shoulder + limb(side, body.upper_arm, angle)
        wrist = elbow + limb(side, body.forearm, angle + moves.elbow[i])
        hip = root + turned(0.4 * moves.lean, side * body.hip, 0)
        foot = np.stack([side * (body.hip * 1.1 + moves.spread[i]) * narrow + 0 * moves.x, -body.foot - moves.lift[i]], axis=-1)
        knee, ankle = leg(hip, foot, side, body.thigh + body.shin)
        base = R_SHOULDER + 3 * i
        out[:, base], out[:, base + 1], out[:, base + 2] = shoulder, elbow, wrist
        base = R_HIP + 3 * i
        out[:, base], out[:, base + 1], out[:, base + 2] = hip, knee, ankle
    if moves.roll.any():
        out = rolled(out, root, moves.roll, body)
    return out


def rolled(points: Array, root: Array, roll: Array, body: Body) -> Array:
    """The body turned in the picture about its root, which comes down to the ground with it; points `[F, 18, 2]`, root `[F, 2]`."""
    cos, sin = np.cos(roll)[:, None], np.sin(roll)[:, None]
    x, y = np.moveaxis(points - root[:, None], -1, 0)
    upright = (root[:, 1] + body.shoulder) * np.abs(np.cos(roll)) - body.shoulder
    return np.stack([x * cos - y * sin + root[:, :1], x * sin + y * cos + upright[:, None]], axis=-1)


def keypoints(character: Character, moves: Moves, width: int, height: int) -> Array:
    """OpenPose-18 points `[F, 18, 3]`: x, y in pixels of a width x height picture, score 1."""
    points = joints(character.body, moves) * character.height * height
    points += (character.x * width, character.ground * height)
    return np.concatenate([points, np.ones((*points.shape[:2], 1))], axis=-1).astype(np.float32)
