"""MusePose's `pose_align`, as published (docs/method.md H.6): the first frame's proportions against the reference's.

Lengths are in picture heights: a detector gives x and y in parts of the canvas, and x is then multiplied by the picture's width over
height. The drawing that belongs to it (no face, red and blue swapped) is a preset of the drawing, not of this file.
"""

from __future__ import annotations

import numpy as np

from .keypoints import (
    FACE,
    FEET,
    L_ANKLE,
    L_EAR,
    L_ELBOW,
    L_HIP,
    L_KNEE,
    L_SHOULDER,
    L_WRIST,
    LARGEST,
    LEFT_HAND,
    NECK,
    NOSE,
    R_ANKLE,
    R_EAR,
    R_ELBOW,
    R_HIP,
    R_KNEE,
    R_SHOULDER,
    R_WRIST,
    RIGHT_HAND,
    SCORE_THRESHOLD,
    Array,
    PoseClip,
    PoseError,
)

HEAD = slice(14, 18)  # eyes and ears
FINGER_ROOTS = [1, 5, 9, 13, 17]


def missing(people: Array) -> Array:
    """`[..., 134]` bool: what MusePose's detector puts at -1: hand and face points of a low score; a body point of a low score keeps its
    place."""
    out = people[..., 2] <= 0
    for part in (FACE, LEFT_HAND, RIGHT_HAND):
        out[..., part] = people[..., part, 2] < SCORE_THRESHOLD
    return out


def one_person(people: Array) -> Array:
    """`[F, P, 134, 3]` -> `[F, 134, 3]`: the first person, the right hand being the second person's left one where there is a second: the
    published script takes the first two rows of all left hands followed by all right hands."""
    out = people[:, 0].copy()
    if people.shape[1] > 1:
        second = people[:, 1, :, 2].any(-1)
        out[second, RIGHT_HAND] = people[second, 1, LEFT_HAND]
    return out


def in_heights(points: Array, width: float, height: float) -> Array:
    """`[..., 134, 3]` on a canvas of width x height -> `[..., 134, 2]` in picture heights; a missing point is at -1 of the canvas in x
    and in y."""
    places = np.where(missing(points)[..., None], -1.0, points[..., :2].astype(float) / (width, height))
    return places * (width / height, 1)


def pose_scales(first: Array, reference: Array) -> dict[str, float]:
    """The ten scales from two frames `[134, 2]` in picture heights. What cannot be told (0 / 0) is 1; a length over none is infinite."""

    def ratio(a: int, b: int) -> float:
        return float(np.linalg.norm(reference[a] - reference[b]) / np.linalg.norm(first[a] - first[b]))

    def both(a: int, b: int, c: int, d: int) -> float:
        return (ratio(a, b) + ratio(c, d)) / 2

    def body_length(points: Array) -> np.floating:
        return np.linalg.norm(points[NECK] - (points[R_HIP] + points[L_HIP]) / 2)

    def finger_roots(points: Array) -> Array:
        return np.concatenate([np.linalg.norm(hand[FINGER_ROOTS] - hand[0], axis=-1) for hand in (points[LEFT_HAND], points[RIGHT_HAND])])

    with np.errstate(divide="ignore", invalid="ignore"):
        scales = {
            "neck": ratio(NOSE, NECK), "face": ratio(R_EAR, L_EAR), "shoulder": ratio(R_SHOULDER, L_SHOULDER),
            "upper arm": both(R_SHOULDER, R_ELBOW, L_SHOULDER, L_ELBOW), "lower arm": both(R_ELBOW, R_WRIST, L_ELBOW, L_WRIST),
            "body": float(body_length(reference) / body_length(first)),
            "upper leg": both(R_HIP, R_KNEE, L_HIP, L_KNEE), "lower leg": both(R_KNEE, R_ANKLE, L_KNEE, L_ANKLE),
        }
    arms = scales["upper arm"] + scales["lower arm"]
    lengths, theirs = finger_roots(first), finger_roots(reference)
    known = lengths != 0
    scales["hand"] = float((theirs[known] / lengths[known]).mean() + arms) / 3 if known.any() else arms / 2
    return {name: 1.0 if np.isnan(value) else value for name, value in scales.items()}


def scaled(points: Array, scales: dict[str, float]) -> Array:
    """Frames `[F, 134, 2]` with every part scaled about the joint that it hangs on; the neck and the face stay. May hold NaN."""
    out = points.copy()

    def scale(part: slice, about: int, name: str) -> None:
        """A part keeps its way from where its joint was, times the scale, from where the joint is now."""
        joint = slice(about, about + 1)
        out[:, part] = out[:, joint] + scales[name] * (points[:, part] - points[:, joint])

    def one(point: int) -> slice:
        return slice(point, point + 1)

    with np.errstate(invalid="ignore", over="ignore"):
        scale(one(NOSE), NECK, "neck")
        scale(HEAD, NOSE, "face")
        for shoulder, elbow, wrist, hand in ((R_SHOULDER, R_ELBOW, R_WRIST, RIGHT_HAND), (L_SHOULDER, L_ELBOW, L_WRIST, LEFT_HAND)):
            scale(one(shoulder), NECK, "shoulder")
            scale(one(elbow), shoulder, "upper arm")
            scale(one(wrist), elbow, "lower arm")
            scale(hand, wrist, "hand")
        for hip, knee, ankle in ((R_HIP, R_KNEE, R_ANKLE), (L_HIP, L_KNEE, L_ANKLE)):
            scale(one(hip), NECK, "body")
            scale(one(knee), hip, "upper leg")
            scale(one(ankle), knee, "lower leg")
    return out


def aligned(frames: Array, size: tuple[float, float], reference: Array, reference_size: tuple[float, float]) -> tuple[Array, Array]:
    """Frames `[F, P, 134, 3]` of a canvas of `size` (width, height) against a reference `[P, 134, 3]`, by the first frame's scales.

    Returns places `[F, 134, 2]` in parts of the reference's canvas, and which of them are lost `[F, 134]`: missing ones, and those that an
    infinite scale loses. These are put to -1 and then moved by the offset as all others are.
    """
    people, target = one_person(frames), one_person(reference[None])
    points, theirs = in_heights(people, *size), in_heights(target, *reference_size)[0]
    moved = scaled(points, pose_scales(points[0], theirs))
    lost = missing(people) | ~np.isfinite(moved).all(-1)
    moved[lost] = -1
    return (moved + (theirs[NECK] - points[0, NECK])) / (reference_size[0] / reference_size[1], 1), lost


def pose_align(clip: PoseClip, reference: PoseClip, align_frame: int = 0) -> PoseClip:
    """A driver's clip on the reference's canvas by MusePose's published rule.

    clip: of several people the first, with the second's left hand for a right hand; reference: one frame. align_frame: the frame of the
    clip that the reference is compared with; those before it are dropped. The published script reads 300 frames at most; this takes all.
    Its quirks stay: scales of one frame, none for the face's points, no feet, an infinite scale loses the points below it, and what is
    missing in that frame or in the reference is measured as if it lay at -1 of the canvas. What comes out missing there lies outside the
    picture; here it is missing. Raises PoseError if align_frame is no frame of the clip.
    """
    if not 0 <= align_frame < len(clip):
        raise PoseError(f"align_frame must be 0 to {len(clip) - 1}, a frame of the clip; got {align_frame}")
    frames, size = clip.points[align_frame:], (reference.width, reference.height)
    moved, lost = aligned(frames, (clip.width, clip.height), reference.points[0], size)
    out = np.concatenate([moved * size, one_person(frames)[..., 2:]], axis=-1)
    out[lost | ~(np.abs(out) <= LARGEST).all(-1)] = 0
    out[:, FEET] = 0
    return reference.of(out)
