"""Who is who in a clip: one person chosen out of several, or everyone in a row of their own."""

from __future__ import annotations

import numpy as np

from .keypoints import BODY, SCORE_THRESHOLD, PoseClip, PoseError

Array = np.ndarray

PERSON_CHOICES: tuple[str, ...] = ("followed", "largest", "most central", "best score")

WELL_SEEN = 3  # body points that a person to be followed needs: a head alone has nose and eyes
LASTING = 0.25  # share of the clip's longest track for which a person must be there, else it is a passer-by
MIN_OVERLAP = 0.1  # IoU from which two boxes are taken for one person's
REACH = (0.5, 0.1, 1.5)  # without overlap: how far one may have moved, in diagonals of the box: at once, more per frame unseen, at most
COAST = 8  # for so many frames unseen, a person is expected to go on as before


def boxes(clip: PoseClip) -> Array:
    """`[F, P, 4]` float32: x1, y1, x2, y2 round a person's seen points (all points if none is seen); zeros where nobody is."""
    scores = clip.scores
    seen = scores > SCORE_THRESHOLD
    used = np.where(seen.any(-1, keepdims=True), seen, scores > 0)[..., None]
    places = clip.points[..., :2]
    low, high = np.where(used, places, np.inf).min(-2), np.where(used, places, -np.inf).max(-2)
    return np.where(clip.present[..., None], np.concatenate([low, high], -1), 0).astype(np.float32)


def sizes(box: Array) -> Array:
    """Width and height `[..., 2]`, the pixel at the far side counted."""
    return box[..., 2:] - box[..., :2] + 1


def areas(box: Array) -> Array:
    return sizes(box).prod(-1)


def overlaps(a: Array, b: Array) -> Array:
    """Intersection over union `[A, B]` of boxes `[A, 4]` and `[B, 4]`, with pixels counted as in the detector (docs/method.md H.1)."""
    a, b = a[:, None], b[None]
    shared = (np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]) + 1).clip(0).prod(-1)
    return shared / (areas(a) + areas(b) - shared)


def body_scores(clip: PoseClip) -> Array:
    """`[F, P]`: mean score of the 18 body points, by which the reference chooses its person (docs/method.md H.4)."""
    return clip.scores[..., BODY].mean(-1)


def choose_person(clip: PoseClip, how: str = "followed") -> PoseClip:
    """One person of a clip: `P == 1`.

    how: one of PERSON_CHOICES. `largest`, `most central` and `best score` (mean of the 18 body scores, docs/method.md H.4) decide frame by
    frame. `followed` takes the largest well-seen person of the first frame that has one and stays with them; frames without them are empty.
    A passer-by is not followed. A clip of one person comes back as it is. Raises PoseError for another `how`.
    """
    if how not in PERSON_CHOICES:
        raise PoseError(f"person: {how!r} is unknown; there are: {', '.join(PERSON_CHOICES)}")
    if clip.points.shape[1] == 1:
        return clip
    if not clip.present.any():
        return clip.of(clip.points[:, :1])
    if how == "followed":
        followed = followed_track(clip)
        points = clip.points[np.arange(len(clip)), followed.argmax(-1)]
        return clip.of(points * followed.max(-1)[:, None, None])
    box = boxes(clip)
    if how == "largest":
        value = areas(box)
    elif how == "best score":
        value = body_scores(clip)
    else:
        value = -np.linalg.norm((box[..., :2] + box[..., 2:]) / 2 - (clip.width / 2, clip.height / 2), axis=-1)
    # who has no seen point is taken only where nobody has any
    seen = (clip.scores > SCORE_THRESHOLD).any(-1)
    allowed = np.where(seen.any(-1, keepdims=True), seen, clip.present)
    best = np.where(allowed, value, -np.inf).argmax(-1)
    return clip.of(clip.points[np.arange(len(clip)), best])


def followed_track(clip: PoseClip) -> Array:
    """`[F, P]` bool: which row, if any, is the followed person's."""
    track = tracks(clip)
    ids, frames = np.unique(track[track >= 0], return_counts=True)
    lasting = np.isin(track, ids[frames >= LASTING * frames.max()])
    well_seen = (clip.scores[..., BODY] > SCORE_THRESHOLD).sum(-1) >= WELL_SEEN
    candidates = next(c for c in (lasting & well_seen, lasting) if c.any())
    first = int(candidates.any(-1).argmax())
    start = int(np.where(candidates[first], areas(boxes(clip)[first]), -1).argmax())
    return track == track[first, start]


def follow(clip: PoseClip) -> PoseClip:
    """Everyone, each in a row of their own over the whole clip, the most prominent (largest, longest there) first.

    A person who is lost and found again keeps the row; the number of rows is that of all people who ever appear.
    """
    track = tracks(clip)
    if not (track >= 0).any():
        return clip.of(clip.points[:, :1])
    seen = (clip.scores > SCORE_THRESHOLD).any(-1)
    weight = np.bincount(track[track >= 0], weights=(areas(boxes(clip)) * seen)[track >= 0])
    row = np.empty(len(weight), int)
    row[np.argsort(-weight, kind="stable")] = np.arange(len(weight))
    points = np.zeros((len(clip), len(weight), *clip.points.shape[2:]), np.float32)
    frame, person = np.nonzero(track >= 0)
    points[frame, row[track[frame, person]]] = clip.points[frame, person]
    return clip.of(points)


def tracks(clip: PoseClip) -> Array:
    """Who is the same person: a number from 0 up for each `[F, P]`, -1 where nobody is.

    Box after box by overlap with where each person is expected; then, for fast ones, by the nearest within reach.
    """
    out = np.full(clip.present.shape, -1)
    box = boxes(clip)
    seen = (clip.scores > SCORE_THRESHOLD).max(-1)
    last = np.zeros((0, 4), np.float32)  # per track: the last box, its shift per frame, the frame in which it was seen
    shift = np.zeros((0, 4), np.float32)
    when = np.zeros(0, int)
    for frame, present in enumerate(clip.present):
        people = np.flatnonzero(present)
        here = box[frame, people]
        gap = frame - when
        expected = last + shift * np.minimum(gap, COAST)[:, None]
        overlap = overlaps(expected, here)
        # of two, the one seen more lately
        pairs = best_pairs(overlap / (1 + 0.1 * gap[:, None]), overlap >= MIN_OVERLAP)
        centres = (expected[:, :2] + expected[:, 2:]) / 2, (here[:, :2] + here[:, 2:]) / 2
        away = np.linalg.norm(centres[0][:, None] - centres[1], axis=-1) / np.linalg.norm(sizes(last), axis=-1)[:, None]
        free = np.ones(away.shape, bool)
        for t, p in pairs:
            free[t], free[:, p] = False, False
        reach = np.minimum(REACH[0] + REACH[1] * gap, REACH[2])[:, None]
        pairs += best_pairs(-away, free & (away <= reach))
        for t, p in pairs:
            out[frame, people[p]] = t
            if not seen[frame, people[p]]:
                continue  # a guess, which tells nothing of the place
            moved = (here[p] - last[t]) / gap[t]
            # of the move alone, not of the box's growing when an arm is put out
            shift[t] = (shift[t] + np.tile((moved[:2] + moved[2:]) / 2, 2)) / 2
            last[t], when[t] = here[p], frame
        new = people[out[frame, people] < 0]
        out[frame, new] = len(last) + np.arange(len(new))
        last = np.concatenate([last, box[frame, new]])
        shift = np.concatenate([shift, np.zeros((len(new), 4), np.float32)])
        when = np.concatenate([when, np.full(len(new), frame)])
    return out


def best_pairs(value: Array, allowed: Array) -> list[tuple[int, int]]:
    """(row, column) pairs by falling value, each row and each column once, of those that are allowed."""
    value = np.where(allowed, value, -np.inf)
    pairs = []
    while value.size and value.max() > -np.inf:
        row, column = divmod(int(value.argmax()), value.shape[1])
        pairs.append((row, column))
        value[row], value[:, column] = -np.inf, -np.inf
    return pairs
