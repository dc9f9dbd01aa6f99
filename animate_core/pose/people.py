"""Who is who in a clip: one person chosen out of several, or everyone in a row of their own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .keypoints import BODY, SCORE_THRESHOLD, PoseClip, PoseError

Array = np.ndarray

PERSON_CHOICES: tuple[str, ...] = ("followed", "largest", "most central", "best score")

WELL_SEEN = 3  # body points that a person to be followed needs: a head alone has nose and eyes
LASTING = 0.25  # share of the clip's longest track for which a person must be there, else it is a passer-by
# How far one may be from where one is expected, in diagonals of the box: at once, more per frame unseen, at most
REACH = (0.5, 0.1, 1.5)
COAST = 8  # for so many frames unseen, a person is expected to go on as before
STEADY = 0.7  # of a person's way per frame, how much is kept when the next is seen: jitter is no way

# COCO's object keypoint similarity: standard deviations of annotators in square roots of a person's area, in OpenPose's order (the neck as
# the shoulders), and the area in parts of the box (both from cocoapi's keypoint evaluation and data)
SIGMAS = np.array([.026, .079, .079, .072, .062, .079, .072, .062, .107, .087, .089, .107, .087, .089, .025, .025, .035, .035])
AREA_OF_BOX = 0.53
SAME = 0.8  # similarity from which two detections of a frame are one person's; people side by side have far less


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


@dataclass(frozen=True)
class Track:
    """A person as last seen: body `[18, 3]`, box `[4]`, way per frame `[2]`, frame."""

    body: Array
    box: Array
    shift: Array
    when: int

    def ways(self, body: Array, box: Array) -> Array:
        """`[n, 2]`: from here to a detection, point by point as far as both show them; else of the boxes' middles."""
        both = (self.body[:, 2] > SCORE_THRESHOLD) & (body[:, 2] > SCORE_THRESHOLD)
        return body[both, :2] - self.body[both, :2] if both.sum() >= WELL_SEEN else (box - self.box).reshape(2, 2).mean(0, keepdims=True)

    def away(self, body: Array, box: Array, frame: int) -> float:
        """How far a detection is from what is expected here, in diagonals of the smaller box: the median over the points."""
        apart = np.linalg.norm(self.ways(body, box) - self.shift * min(frame - self.when, COAST), axis=-1)
        return float(np.median(apart) / np.linalg.norm(sizes(np.stack([self.box, box])), axis=-1).min())

    def moved_to(self, body: Array, box: Array, frame: int) -> Track:
        shift = np.median(self.ways(body, box), axis=0) / (frame - self.when)
        keep = STEADY if self.shift.any() else 0
        return Track(body, box, keep * self.shift + (1 - keep) * shift, frame)


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
        raise PoseError(f"person: {how!r} is unknown; choose from: {', '.join(PERSON_CHOICES)}")
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


def similarity(a: Array, b: Array) -> float:
    """COCO's object keypoint similarity of two bodies `[18, 3]`, over the points that both show; 0 where they share too few."""
    both = (a[:, 2] > SCORE_THRESHOLD) & (b[:, 2] > SCORE_THRESHOLD)
    if both.sum() < WELL_SEEN:
        return 0.0
    extents = [np.ptp(one[one[:, 2] > SCORE_THRESHOLD, :2], axis=0) + 1 for one in (a, b)]
    area = AREA_OF_BOX * max(float(extent.prod()) for extent in extents)
    squares = ((a[both, :2] - b[both, :2]) ** 2).sum(-1)
    return float(np.exp(-squares / (2 * area * (2 * SIGMAS[both]) ** 2)).mean())


def duplicates(clip: PoseClip) -> Array:
    """`[F, P]` bool: detections that are another one of the same frame over again, by a lower sum of scores."""
    out = np.zeros(clip.present.shape, bool)
    for frame in np.flatnonzero(clip.present.sum(-1) > 1):
        bodies = clip.points[frame, :, BODY].astype(float)
        kept: list[int] = []
        for person in np.argsort(-bodies[..., 2].sum(-1), kind="stable"):
            out[frame, person] = any(similarity(bodies[person], bodies[other]) >= SAME for other in kept)
            if not out[frame, person]:
                kept.append(person)
    return out & clip.present


def tracks(clip: PoseClip) -> Array:
    """Who is the same person: a number from 0 up for each `[F, P]`, -1 where nobody is, or somebody over again.

    Each detection goes to the person who is expected nearest to it, point by point: the shape of the body tells two who cross.
    """
    out = np.full(clip.present.shape, -1)
    box, wanted = boxes(clip), clip.present & ~duplicates(clip)
    seen = (clip.scores > SCORE_THRESHOLD).max(-1)
    last: list[Track] = []
    for frame, present in enumerate(wanted):
        people = np.flatnonzero(present)
        bodies, here = clip.points[frame, people, BODY].astype(float), box[frame, people].astype(float)
        away = np.array([[track.away(body, its, frame) for body, its in zip(bodies, here, strict=True)] for track in last])
        away = away.reshape(len(last), len(people))
        gap = frame - np.array([track.when for track in last])
        reach = np.minimum(REACH[0] + REACH[1] * gap, REACH[2])[:, None]
        # of two, the one seen more lately
        for t, p in best_pairs(-away * (1 + 0.1 * gap[:, None]), away <= reach):
            out[frame, people[p]] = t
            if seen[frame, people[p]]:  # else a guess, which tells nothing of the place
                last[t] = last[t].moved_to(bodies[p], here[p], frame)
        for new in np.flatnonzero(out[frame, people] < 0):
            out[frame, people[new]] = len(last)
            last.append(Track(bodies[new], here[new], np.zeros(2), frame))
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
