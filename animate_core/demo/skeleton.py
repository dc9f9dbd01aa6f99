"""A first skeleton for a figure that stands and faces us, from its mask alone: a start for Edit Pose.

Head, feet and hands are where the mask ends; neck and crotch are where it is narrow and where it parts; limbs follow the mask's middle.
What does not show is placed by the proportions of the figures that the built-in model knows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..pose import keypoints as k
from .motion import SIDES
from .paper import DrawingError, ndimage

Array = np.ndarray

# In heights of the figure, where the mask tells nothing
HEAD, TORSO_PART, SHOULDER, HIP, ARM, ANKLE, HAND = 0.24, 0.42, 0.115, 0.063, 0.27, 0.03, 0.04
NARROW = 1.2  # a neck is narrower than head and shoulders by this factor
SHOULDERED = 1.12  # shoulders are wider than the hair above them by this factor
LONG_HEAD, LONG_COST = 1.3, 1.5  # a head with its hair is about so many times as high as wide; a higher one is less likely one
HIP_IN = 0.75  # a hip lies so far out as the top of its thigh, which legs that are spread carry outwards
SHORT = 0.14  # heights: what ends nearer to its shoulder is no arm
LOW = 0.12  # legs that part lower than usual by so much of the body below the neck are under a skirt or a cape


@dataclass(frozen=True)
class Outline:
    """A mask `[H, W]` bool cut to its figure, the distance of each of its pixels from the edge, and the column of its middle."""

    mask: Array
    depth: Array
    middle: float

    @property
    def tall(self) -> int:
        return len(self.mask)

    def runs(self, row: int) -> list[tuple[int, int]]:
        """First and last-but-one column of each part of a row."""
        edges = np.flatnonzero(np.diff(np.pad(self.mask[row].astype(np.int8), 1)))
        return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))

    def central(self, row: int) -> tuple[int, int]:
        """The part of a row that is nearest to the middle; (0, 0) for none."""
        return min(self.runs(row), key=lambda run: max(run[0] - self.middle, self.middle - run[1], 0), default=(0, 0))


def standing_skeleton(mask: Array) -> tuple[Array, tuple[str, ...]]:
    """OpenPose's 18 points `[18, 3]` (x, y in pixels, score 1) of the figure in a mask `[H, W]` in [0, 1], and what was guessed.

    Raises DrawingError for a mask without a figure.
    """
    nd = ndimage()
    labels, count = nd.label(mask > 0.5, np.ones((3, 3)))
    if not count:
        raise DrawingError("mask: it is empty, so there is no figure to place a skeleton in")
    whole = labels == 1 + int(np.bincount(labels.ravel())[1:].argmax())
    rows, columns = np.flatnonzero(whole.any(1)), np.flatnonzero(whole.any(0))
    top, left = rows[0], columns[0]
    cut = whole[top:rows[-1] + 1, left:columns[-1] + 1]
    depth = nd.distance_transform_edt(np.pad(cut, 1))[1:-1, 1:-1]
    weight = depth**2
    figure = Outline(cut, depth, float((weight.sum(0) * np.arange(cut.shape[1])).sum() / weight.sum()))
    points, notes = place(figure)
    points += (left, top)
    return np.concatenate([points, np.ones((18, 1))], axis=-1).astype(np.float32), notes


def place(figure: Outline) -> tuple[Array, tuple[str, ...]]:
    """The points `[18, 2]` in pixels of the outline's cut, and what was guessed."""
    tall = figure.tall
    notes: list[str] = []
    points = np.zeros((18, 2))
    chin = neck_row(figure)
    if chin is None:
        notes.append("no neck visible")
        chin = round(HEAD * tall)
    head, half = head_of(figure, chin)
    crotch = crotch_of(figure, chin)
    if crotch is None:
        notes.append("the legs are not separate")
    neck = np.array([(head[0] + figure.middle) / 2, chin + 0.02 * tall])
    points[k.NOSE], points[k.NECK] = head + (0, 0.16 * half), neck
    hips, legs = legs_of(figure, neck, crotch)
    arms = arms_of(figure, neck, head, half, hips)
    for i, side in enumerate(SIDES):
        points[k.R_EYE + i] = head + (side * 0.42 * half, -0.1 * half)
        points[k.R_EAR + i] = head + (side * half, 0)
        points[k.R_HIP + 3 * i: k.R_HIP + 3 * i + 3] = legs[i]
        arm, other = arms[i], arms[1 - i]
        if arm is None and other is not None:
            arm = (other - (neck[0], 0)) * (-1, 1) + (neck[0], 0)
        points[k.R_SHOULDER + 3 * i: k.R_SHOULDER + 3 * i + 3] = hanging(figure, neck, side) if arm is None else arm
    hidden = sum(arm is None for arm in arms)
    if hidden:
        notes.append("an arm is not visible" if hidden == 1 else "the arms are not visible")
    return points, tuple(notes)


def neck_row(figure: Outline) -> int | None:
    """The row where the figure is narrowest between head and shoulders, or begins to be shouldered; None where nothing tells."""
    tall = figure.tall
    widths = np.array([end - start for start, end in (figure.central(row) for row in range(round(0.75 * tall)))], float)
    widths = ndimage().gaussian_filter1d(widths, 0.006 * tall)
    first, last = round(0.1 * tall), round(0.55 * tall)
    reach = round(0.22 * tall)
    pinch = np.array([min(widths[:row].max(), widths[row:row + reach].max()) / max(widths[row], 1) for row in range(first, last)])
    # what is far higher than wide is no head: the narrow place is a waist under long hair
    widest = 2 * np.maximum.accumulate(figure.depth.max(1))
    pinch /= [np.exp(LONG_COST * max(0.0, row / widest[round(0.6 * row)] - LONG_HEAD)) for row in range(first, last)]
    if pinch.max() < NARROW:
        # hair hides the neck: the shoulders begin where the figure grows wide
        rows = np.arange(round(0.14 * tall), round(0.4 * tall))
        growth = widths[rows + round(0.03 * tall)] / np.maximum(widths[rows], 1)
        return int(rows[growth.argmax()]) if growth.max() > SHOULDERED else None
    row = narrowest = first + int(pinch.argmax())
    while row > first and widths[row - 1] <= 1.15 * widths[narrowest]:
        row -= 1
    return row


def head_of(figure: Outline, chin: int) -> tuple[Array, float]:
    """Centre (x, y) and half width of the head above a row."""
    upper = figure.depth[:max(2, chin)]
    y, x = np.nonzero(upper > 0.55 * upper.max())
    return np.array([x.mean(), y.mean()]), float(upper.max())


def crotch_of(figure: Outline, chin: int) -> int | None:
    """The highest row at which a gap parts the legs; None where none does."""
    tall = figure.tall
    found = None
    for row in range(tall - 1, chin + round(0.15 * tall), -1):
        runs = figure.runs(row)
        gaps = [(a[1], b[0]) for a, b in zip(runs, runs[1:], strict=False)]
        gaps = [gap for gap in gaps if abs((gap[0] + gap[1]) / 2 - figure.middle) < 0.09 * tall]
        if gaps:
            found = row
        elif found is not None or row < 0.8 * tall:
            break
    return found if found is not None and found < 0.97 * tall else None


def legs_of(figure: Outline, neck: Array, crotch: int | None) -> tuple[int, list[Array]]:
    """The hips' row, and hip, knee and ankle `[3, 2]` of the right and the left leg."""
    tall, middle = figure.tall, figure.middle
    below = tall - neck[1]
    hips = round(neck[1] + TORSO_PART * below)
    if crotch is not None and crotch - 0.05 * tall < hips + LOW * below:
        hips = round(crotch - 0.05 * tall)

    def centre(row: float, side: float) -> float | None:
        """A leg's middle at a row, where it stands alone."""
        places = [(start + end - 1) / 2 for start, end in figure.runs(min(tall - 1, round(row))) if not start < middle < end]
        return min((x for x in places if 0 < side * (x - middle) < 0.3 * tall), key=lambda x: abs(x - middle), default=None)

    out = []
    for side in SIDES:
        standing = [row for row in range(round(0.75 * tall), tall) if centre(row, side) is not None]
        sole = standing[-1] if standing else tall - 1
        hip = np.array([middle + side * HIP * tall, hips])
        ankle = np.array([middle + side * HIP * tall, sole - ANKLE * tall])
        if standing:
            ankle[0] = centre(sole - 0.07 * tall, side) or centre(sole, side)
        if crotch is not None and hips < crotch and (thigh := centre(crotch + 0.04 * tall, side)) is not None:
            hip[0] = middle + HIP_IN * (thigh - middle)
        knee = (hip + ankle) / 2
        if crotch is not None and knee[1] > crotch and (seen := centre(knee[1], side)) is not None:
            knee[0] = seen
        out.append(np.stack([hip, knee, ankle]))
    return hips, out


def shoulder_of(figure: Outline, neck: Array, side: float) -> Array:
    """A shoulder: as far out as the figure is wide a little below the neck, less half an arm."""
    tall = figure.tall
    row = min(tall - 1, round(neck[1] + 0.05 * tall))
    start, end = figure.central(row)
    reach = (end - neck[0] if side > 0 else neck[0] - start) - 0.03 * tall
    return neck + (side * float(np.clip(reach, min(0.03, figure.depth[row].max() / tall) * tall, SHOULDER * 1.2 * tall)), 0.025 * tall)


def arms_of(figure: Outline, neck: Array, head: Array, half: float, hips: int) -> list[Array | None]:
    """Shoulder, elbow and wrist `[3, 2]` of the right and the left arm, along the mask's middle to its end; None where none stands out."""
    nd = ndimage()
    tall, width = figure.mask.shape
    trunk = max(1.0, float(figure.depth[round(neck[1] + 0.03 * tall):max(hips, round(neck[1] + 0.1 * tall))].max()))
    y, x = np.mgrid[0:tall, 0:width]
    # what a disc of about the trunk's size cannot reach stands out
    core = figure.depth > 0.65 * trunk
    core[:round(neck[1])] = False
    bulk = nd.distance_transform_edt(~core) <= 0.65 * trunk + 1.5 if trunk > 0.03 * tall else abs(x - figure.middle) < 0.035 * tall
    free = figure.mask & (np.hypot(x - head[0], y - head[1]) > 1.15 * half) & (y < hips + 0.1 * tall)
    free &= (y > neck[1] - 0.02 * tall) | (abs(x - head[0]) > 1.2 * half)
    arms: list[Array | None] = []
    for side in SIDES:
        shoulder = shoulder_of(figure, neck, side)
        own = free & (side * (x - figure.middle) >= 0)
        labels, count = nd.label(own & ~bulk, np.ones((3, 3)))
        near = [i for i in range(1, count + 1) if np.hypot(*(np.argwhere(labels == i) - shoulder[::-1]).T).min() < 0.13 * tall]
        arms.append(way_to_end(figure, own, np.isin(labels, near), shoulder) if near else None)
    return arms


def way_to_end(figure: Outline, free: Array, ends: Array, shoulder: Array) -> Array | None:
    """Shoulder, elbow and wrist on the way through `free` to that pixel of `ends` that is farthest; None where it is near."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import dijkstra

    tall, width = figure.mask.shape
    index = np.full(free.shape, -1)
    index[free] = np.arange(free.sum())
    place = np.argwhere(free)
    pairs, steps = [], []
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        a, b = index[:tall - dy, max(0, -dx):width - max(0, dx)], index[dy:, max(0, dx):width + min(0, dx)]
        both = (a >= 0) & (b >= 0)
        pairs.append(np.stack([a[both], b[both]]))
        steps.append(np.full(int(both.sum()), np.hypot(dy, dx)))
    pair, step = np.concatenate(pairs, axis=1), np.concatenate(steps)
    cost = 1 + 0.06 * tall / (figure.depth[free] + 0.5)  # dear along the edge, so that the way keeps to the middle
    source = int(np.hypot(*(place - shoulder[::-1]).T).argmin())
    shape = (len(place), len(place))
    far = dijkstra(coo_matrix((step, pair), shape=shape).tocsr(), directed=False, indices=source)
    far[~(ends[free] & np.isfinite(far))] = 0
    tip = int(far.argmax())
    if far[tip] < SHORT * tall:
        return None
    _, before = dijkstra(coo_matrix((step * cost[pair].mean(0), pair), shape=shape).tocsr(), directed=False, indices=source,
                         return_predecessors=True)
    path = [tip]
    while path[-1] != source:
        path.append(int(before[path[-1]]))
    way = place[path[::-1]][:, ::-1].astype(float)
    way[0] = shoulder
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(way, axis=0), axis=-1))])
    wrist = along[-1] - HAND * tall
    return np.stack([[np.interp(at, along, way[:, i]) for i in range(2)] for at in (0.0, 0.52 * wrist, wrist)])


def hanging(figure: Outline, neck: Array, side: float) -> Array:
    """An arm that lies on the body: down along its edge."""
    tall = figure.tall
    shoulder = shoulder_of(figure, neck, side)
    arm = [shoulder]
    for down in (ARM / 2, ARM):
        row = min(tall - 1, round(shoulder[1] + down * tall))
        start, end = figure.central(row)
        edge = (end - 1 if side > 0 else start) - side * 0.03 * tall
        arm.append(np.array([neck[0] + side * min(max(side * (edge - neck[0]), 0.03 * tall), 0.2 * tall), row]))
    return np.stack(arm)
