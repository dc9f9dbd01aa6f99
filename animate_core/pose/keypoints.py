"""The one pose type: every point of every person in every frame of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Array = np.ndarray

# Order of a person's points: OpenPose's body, then as DWPose gives them (docs/method.md H.3).
NUM_POINTS = 134
BODY, FEET, FACE = slice(0, 18), slice(18, 24), slice(24, 92)
LEFT_HAND, RIGHT_HAND = slice(92, 113), slice(113, 134)

# OpenPose's 18 body points
NOSE, NECK = 0, 1
R_SHOULDER, R_ELBOW, R_WRIST, L_SHOULDER, L_ELBOW, L_WRIST = 2, 3, 4, 5, 6, 7
R_HIP, R_KNEE, R_ANKLE, L_HIP, L_KNEE, L_ANKLE = 8, 9, 10, 11, 12, 13
R_EYE, L_EYE, R_EAR, L_EAR = 14, 15, 16, 17
HEAD_POINTS = (NOSE, R_EYE, L_EYE, R_EAR, L_EAR, *range(FACE.start, FACE.stop))

# The body's 17 limbs in the order in which they are drawn and coloured (docs/method.md H.4)
LIMBS = ((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 0), (0, 14), (14, 16),
         (0, 15), (15, 17))

# The point that each hangs on, outwards from the neck, which hangs on none: each step's parents are done before it
HANGS_ON: tuple[dict[int, int], ...] = (
    {NOSE: NECK, R_SHOULDER: NECK, L_SHOULDER: NECK, R_HIP: NECK, L_HIP: NECK},
    {R_ELBOW: R_SHOULDER, L_ELBOW: L_SHOULDER, R_KNEE: R_HIP, L_KNEE: L_HIP, **dict.fromkeys(HEAD_POINTS[1:], NOSE)},
    {R_WRIST: R_ELBOW, L_WRIST: L_ELBOW, R_ANKLE: R_KNEE, L_ANKLE: L_KNEE},
    {**dict.fromkeys((18, 19, 20), L_ANKLE), **dict.fromkeys((21, 22, 23), R_ANKLE),
     **dict.fromkeys(range(LEFT_HAND.start, LEFT_HAND.stop), L_WRIST), **dict.fromkeys(range(RIGHT_HAND.start, RIGHT_HAND.stop), R_WRIST)},
)

# Rough lengths between two points in body heights, to tell the scale of thresholds by; no more exact than that needs
SPANS = ((R_SHOULDER, L_SHOULDER, 0.23), (R_SHOULDER, R_ELBOW, 0.17), (L_SHOULDER, L_ELBOW, 0.17), (R_ELBOW, R_WRIST, 0.146),
         (L_ELBOW, L_WRIST, 0.146), (R_SHOULDER, R_HIP, 0.288), (L_SHOULDER, L_HIP, 0.288), (R_HIP, R_KNEE, 0.245), (L_HIP, L_KNEE, 0.245),
         (R_KNEE, R_ANKLE, 0.246), (L_KNEE, L_ANKLE, 0.246), (FACE.start, FACE.start + 16, 0.09),
         (LEFT_HAND.start, LEFT_HAND.start + 12, 0.108), (RIGHT_HAND.start, RIGHT_HAND.start + 12, 0.108))

# The right and left points of a group that detectors swap as a whole, and what each pair counts: a hand or a foot about as a joint
SWAP_GROUPS: tuple[tuple[str, tuple[int, ...], tuple[int, ...], tuple[float, ...]], ...] = (
    ("arms", (R_SHOULDER, R_ELBOW, R_WRIST, *range(RIGHT_HAND.start, RIGHT_HAND.stop)),
     (L_SHOULDER, L_ELBOW, L_WRIST, *range(LEFT_HAND.start, LEFT_HAND.stop)), (1.0,) * 3 + (0.1,) * 21),
    ("legs", (R_HIP, R_KNEE, R_ANKLE, 21, 22, 23), (L_HIP, L_KNEE, L_ANKLE, 18, 19, 20), (1.0,) * 3 + (0.3,) * 3),
    ("face", (R_EYE, R_EAR), (L_EYE, L_EAR), (1.0,) * 2),
)

SCORE_THRESHOLD = 0.3  # a point of at most this score is taken as not seen (docs/method.md H.4)
LARGEST = 1e6  # coordinates beyond this many pixels are no picture's

# OpenPose body index <- COCO index, after the neck was put in at 17 (docs/method.md H.3)
OPENPOSE_FROM_COCO = ((1, 17), (2, 6), (3, 8), (4, 10), (6, 7), (7, 9), (8, 12), (9, 14), (10, 16), (12, 13), (13, 15), (14, 2), (15, 1),
                      (16, 4), (17, 3))


class PoseError(ValueError):
    """Something that is no usable pose: what is wrong, where, and what would be right."""


@dataclass(frozen=True)
class PoseClip:
    """F frames of up to P people.

    points `[F, P, 134, 3]` float32: x, y in pixels of the canvas (origin at the top left), score in 0..1; a point of score 0 is missing
    and lies at (0, 0). A person whose points are all missing is not in that frame. Row p need not be the same person in every frame, unless
    who made the clip says so. width, height: the canvas in pixels.
    Raises PoseError for another shape, a canvas without area, no frames, numbers that are not finite or beyond any picture.
    """

    points: Array
    width: int
    height: int

    def __post_init__(self) -> None:
        points = np.asarray(self.points, np.float32)
        if points.ndim != 4 or points.shape[2:] != (NUM_POINTS, 3):
            raise PoseError(f"points must be [frames, people, {NUM_POINTS}, 3]; got shape {points.shape}")
        if not len(points):
            raise PoseError("the pose clip contains no frames; it needs at least one")
        if min(self.width, self.height) < 1 or max(self.width, self.height) > LARGEST:
            raise PoseError(f"a canvas of {self.width}x{self.height} pixels is not possible; both sides must be above 0")
        bad = ~(np.isfinite(points).all(-1) & (np.abs(points) <= LARGEST).all(-1))
        if bad.any():
            frame, person, point = where = tuple(int(i) for i in np.argwhere(bad)[0])
            raise PoseError(f"frame {frame}, person {person}, point {point}: {points[where].tolist()} is not a valid position")
        points = np.where(points[..., 2:] > 0, points, 0)
        points[..., 2] = points[..., 2].clip(0, 1)
        points.setflags(write=False)
        object.__setattr__(self, "points", points)

    def __len__(self) -> int:
        return len(self.points)

    @property
    def scores(self) -> Array:
        """`[F, P, 134]`."""
        return self.points[..., 2]

    @property
    def present(self) -> Array:
        """`[F, P]` bool: whether anything of the person is in the frame."""
        return np.asarray(self.scores.any(-1))

    def person(self, index: int) -> Array:
        """One person's points `[F, 134, 3]`."""
        return self.points[:, index]

    def of(self, points: Array) -> PoseClip:
        """A clip on the same canvas with other points: `[F, P, 134, 3]`, or of one person `[F, 134, 3]`."""
        return PoseClip(points if points.ndim == 4 else points[:, None], self.width, self.height)


def body_clip(body: Array, width: int, height: int) -> PoseClip:
    """A clip of one person of whom the body alone is known. body `[F, 18, 3]`: x, y in pixels, score."""
    points = np.zeros((len(body), 1, NUM_POINTS, 3), np.float32)
    points[:, 0, BODY] = body
    return PoseClip(points, width, height)


def stack_people(frames: Sequence[Array], width: int, height: int) -> PoseClip:
    """A clip of frames `[P_f, 134, 3]` that hold different numbers of people, or none; rows without a person are all missing."""
    points = np.zeros((len(frames), max([1, *(len(people) for people in frames)]), NUM_POINTS, 3), np.float32)
    for row, people in zip(points, frames, strict=True):
        row[:len(people)] = people
    return PoseClip(points, width, height)


def from_wholebody(points: Array) -> Array:
    """COCO-WholeBody `[..., 133, 3]` (x, y, score) to this module's order `[..., 134, 3]` (docs/method.md H.3).

    The neck is the middle of the shoulders; its score is 1 if both are seen, else 0.
    """
    shoulders = points[..., (5, 6), :]
    neck = shoulders.mean(-2)
    neck[..., 2] = (shoulders[..., 2] > SCORE_THRESHOLD).all(-1)
    coco = np.concatenate([points[..., :17, :], neck[..., None, :], points[..., 17:, :]], axis=-2)
    out = coco.copy()
    to, source = zip(*OPENPOSE_FROM_COCO, strict=True)
    out[..., list(to), :] = coco[..., list(source), :]
    return out
