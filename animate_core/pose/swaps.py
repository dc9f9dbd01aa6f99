"""Right and left that a detector exchanged: the smoothest reading of a whole clip, against which way the figure faces."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from .filters import fill
from .keypoints import L_EAR, L_EYE, L_HIP, L_SHOULDER, NECK, NOSE, R_EAR, R_EYE, R_HIP, R_SHOULDER, SWAP_GROUPS

Array = np.ndarray

STATES = (np.arange(2 ** len(SWAP_GROUPS))[:, None] >> np.arange(len(SWAP_GROUPS))) & 1  # [8, 3]: which groups are swapped

# Costs. The unit is the leap that one swap of a group makes; the first two are those at a strength of 1, at 0.5 they count twice.
CHANGE = 0.15  # of each change of sides
SWAPPED = 0.02  # a second: between two readings alike, the shorter part is the swap
FACE = 0.5  # a second in which a face is read as seen from behind, or looks the other way than the shoulders
TWISTED = 1.0  # a second in which shoulders and hips face opposite ways, which no spine allows


def find_swaps(places: Array, scores: Array, seen: Array, fps: float, strength: float) -> Array:
    """`[F, 3]` bool: the frames in which a group's right and left are exchanged, in the cheapest reading of the whole clip.

    A reading costs how much all points accelerate from frame to frame, and what the constants above say: so a swap is undone whose ends
    leap, a person who turns stays as they are, and the longer part is the truth unless the face tells otherwise. A group without any
    change is left alone. Eight states a frame, exact by dynamic programming over pairs of frames. places `[F, 134, 2]`, scores and seen
    `[F, 134]`, two frames or more.
    """
    changed = STATES[:, None] ^ STATES  # [8, 8, 3]
    moves = np.zeros((len(seen) - 2, *[len(STATES)] * 3))  # [F - 2, 8, 8, 8]: by the states of three frames
    for g, (_, right, left, weights) in enumerate(SWAP_GROUPS):
        moves += accelerations(places, seen, right, left, weights)[:, changed[:, :, None, g], changed[None, :, :, g]]
    change = CHANGE / strength * changed.sum(axis=-1)
    stands = contradictions(places, scores, seen, strength) / fps
    cost = stands[0][:, None] + stands[1] + change  # of the cheapest way to a pair of states
    came_from = np.zeros((len(seen), *cost.shape), np.int8)
    for t in range(2, len(seen)):
        total = cost[:, :, None] + moves[t - 2]
        came_from[t] = total.argmin(axis=0)
        cost = total.min(axis=0) + change + stands[t]
    pair = np.unravel_index(cost.argmin(), cost.shape)
    states = [int(pair[1]), int(pair[0])]
    for t in range(len(seen) - 1, 1, -1):
        states.append(int(came_from[t, states[-1], states[-2]]))
    swapped = STATES[states[::-1]].astype(bool)
    return np.asarray(swapped & ~swapped.all(axis=0))


def accelerations(places: Array, seen: Array, right: Sequence[int], left: Sequence[int], weights: Sequence[float]) -> Array:
    """`[F - 2, 2, 2]`: how much a group's points accelerate, by whether its sides change after the first and after the second frame.

    In units of the distance between the sides, so that one swap costs about 1; a place between two sights counts a quarter.
    """
    points, both = np.array([right, left]), seen[:, list(right)] & seen[:, list(left)]
    out = np.zeros((len(seen) - 2, 2, 2))
    if not both.any():
        return out
    sides = np.stack([fill(places[:, side], seen[:, side]) for side in points])
    trust = np.where(seen[:, points].transpose(1, 0, 2), 1, 0.25) * np.asarray(weights)
    apart = np.where(both, np.linalg.norm(sides[0] - sides[1], axis=-1), np.nan)[:, both.any(axis=0)]
    unit = max(0.02, float(np.nanmedian(apart, axis=0) @ np.asarray(weights)[both.any(axis=0)]))
    for first, second, side in product((0, 1), repeat=3):
        before, after = side ^ first, side ^ second
        bend = np.linalg.norm(sides[before, :-2] - 2 * sides[side, 1:-1] + sides[after, 2:], axis=-1).clip(max=1)
        trusted = np.min([trust[before, :-2], trust[side, 1:-1], trust[after, 2:]], axis=0)
        out[:, first, second] += (bend * trusted).sum(axis=-1) / (4 * unit)
    return out


def contradictions(places: Array, scores: Array, seen: Array, strength: float) -> Array:
    """`[F, 8]`: cost a second of each state in each frame, by what it says of which way the figure faces.

    Seen from the front, the right side of a body is at the left of its upward direction; from behind, at the right. Shoulders and hips
    face alike, and so mostly does the head, whose eyes are seen from the front if a detector does not guess them.
    """
    full = fill(places, seen)
    head, trunk = full[:, NOSE] - full[:, NECK], full[:, [R_SHOULDER, L_SHOULDER]].mean(axis=1) - full[:, [R_HIP, L_HIP]].mean(axis=1)
    has_head = np.all(seen[:, [NOSE, NECK]], axis=1, keepdims=True)
    has_trunk = np.all(seen[:, [R_SHOULDER, L_SHOULDER, R_HIP, L_HIP]], axis=1, keepdims=True)
    head = np.where(has_head, head, np.where(has_trunk, trunk, (0, -1)))
    trunk = np.where(has_trunk, trunk, head)

    def facing(right: int, left: int, up: Array) -> Array:
        """-1 to 1: from behind to from the front; 0 where not seen."""
        across = full[:, left] - full[:, right]
        area = (up[:, 0] * across[:, 1] - up[:, 1] * across[:, 0]) / np.maximum(np.linalg.norm(up, axis=-1), 1e-9)
        area = np.where(seen[:, right] & seen[:, left], area, 0)
        return (area / max(float(np.median(np.abs(area[area != 0]))) if area.any() else 0, 1e-9)).clip(-1, 1)

    shoulders, hips = facing(R_SHOULDER, L_SHOULDER, trunk), facing(R_HIP, L_HIP, trunk)
    eyes, ears = (facing(right, left, head) for right, left in ((R_EYE, L_EYE), (R_EAR, L_EAR)))
    sure = (2 * scores[:, [NOSE, R_EYE, L_EYE]].min(axis=1) - 0.6).clip(0, 1) * seen[:, [NOSE, R_EYE, L_EYE]].all(axis=1)
    looks = np.where(sure > 0, eyes * sure, ears)
    arms, legs, face = (1 - 2 * STATES).T  # -1: swapped
    out = SWAPPED / strength * STATES.sum(axis=-1) + FACE * (eyes * sure).clip(0)[:, None] * (face < 0)
    for cost, a, b, state in ((TWISTED, shoulders, hips, arms * legs), (FACE, looks, shoulders, face * arms)):
        out = out + cost * np.where((a * b)[:, None] * state < 0, np.minimum(np.abs(a), np.abs(b))[:, None], 0)
    return out
