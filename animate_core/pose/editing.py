"""Edits by hand at key frames, blended between: plain JSON to the points of a clip.

    {"version": 1, "width": 512, "height": 768,
     "keys": [{"frame": 0, "move": {"4": [12.5, -3]}, "place": {"7": [310, 402]}, "hide": [16, 17]}, ...]}

width, height: the canvas in pixels in which the numbers are; on another canvas they scale with it. Points by their index in OpenPose's 18.
move: added to the incoming point wherever that is seen. A key that does not name a point moves it by nothing.
place: where the point is put in frames where the incoming clip is missing it (a score of at most 0.3). It fills the gap that holds the key,
up to the frames in which the point is seen.
hide: the point is left out, from this key up to the next.
Between keys numbers go on a straight line in time; before the first and after the last key they hold.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .keypoints import (
    BODY,
    FACE,
    FEET,
    L_ANKLE,
    L_EAR,
    L_ELBOW,
    L_EYE,
    L_KNEE,
    L_WRIST,
    LARGEST,
    LEFT_HAND,
    NOSE,
    NUM_POINTS,
    R_ANKLE,
    R_EAR,
    R_ELBOW,
    R_EYE,
    R_KNEE,
    R_WRIST,
    RIGHT_HAND,
    SCORE_THRESHOLD,
    PoseClip,
    PoseError,
)
from .parsing import describe

Array = np.ndarray

VERSION = 1
JOINTS = BODY.stop
LAST_FRAME = 10_000_000
MOST_KEYS = 100_000
FIELDS = ("version", "width", "height", "keys")
KEY_FIELDS = ("frame", "move", "place", "hide")
EXAMPLE = '{"version": 1, "width": 512, "height": 768, "keys": [{"frame": 0, "move": {"4": [12, -3]}}]}'

HEAD = (NOSE, R_EYE, L_EYE, R_EAR, L_EAR)
# What hangs on a body point, and the point from which the limb comes that turns it
ENDS = ((LEFT_HAND, L_WRIST, L_ELBOW), (RIGHT_HAND, R_WRIST, R_ELBOW),
        (slice(FEET.start, FEET.start + 3), L_ANKLE, L_KNEE), (slice(FEET.start + 3, FEET.stop), R_ANKLE, R_KNEE))


@dataclass(frozen=True)
class PoseEdits:
    """K key frames in order, in pixels of a width x height canvas.

    frames `[K]`; moves `[K, 18, 2]`, 0 where a key moves nothing; places `[K, 18, 2]`, NaN where a key places nothing; hidden `[K, 18]`.
    """

    width: float
    height: float
    frames: Array
    moves: Array
    places: Array
    hidden: Array

    def __len__(self) -> int:
        return len(self.frames)

    def on(self, width: int, height: int) -> PoseEdits:
        """The same edits on another canvas."""
        scale = np.array([width / self.width, height / self.height])
        return PoseEdits(width, height, self.frames, self.moves * scale, self.places * scale, self.hidden)


def read_edits(value: Any) -> PoseEdits:
    """Edits from JSON text or what was read from it (this module's docstring has the form); None and empty text are no edits.

    Raises PoseError with the place for anything else.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip() else None
        except (ValueError, RecursionError) as error:
            raise PoseError(f"edits: this is not JSON ({str(error)[:80]}); it must look like {EXAMPLE}") from error
    if value is None:
        value = {"version": VERSION, "width": 1, "height": 1, "keys": []}
    fields_of(value, FIELDS, "edits", EXAMPLE)
    if value.get("version") != VERSION or isinstance(value["version"], bool):
        raise PoseError(f"edits, version: this release of Marionette reads version {VERSION}; got {describe(value.get('version'))}. Update "
                        "the pack to use edits of a newer release")
    width, height = (number(value.get(side), f"edits, {side}") for side in ("width", "height"))
    if min(width, height) < 1:
        raise PoseError(f"edits, width, height: a canvas of {width:g}x{height:g} pixels is not possible; both must be above 0")
    keys = value.get("keys")
    if not isinstance(keys, (list, tuple)) or len(keys) > MOST_KEYS:
        raise PoseError(f"edits, keys: it must be a list of up to {MOST_KEYS:,} key frames; got {describe(keys)}")
    frames = np.zeros(len(keys), np.int64)
    moves, hidden = np.zeros((len(keys), JOINTS, 2)), np.zeros((len(keys), JOINTS), bool)
    places = np.full_like(moves, np.nan)
    for row, key in enumerate(keys):
        where = f"edits, key {row}"
        fields_of(key, KEY_FIELDS, where, '{"frame": 0, "move": {"4": [12, -3]}, "place": {"7": [310, 402]}, "hide": [16, 17]}')
        frames[row] = whole(key.get("frame"), LAST_FRAME, f"{where}, frame")
        read_points(key.get("move"), moves[row], f"{where}, move")
        read_points(key.get("place"), places[row], f"{where}, place")
        hide = key.get("hide", [])
        if not isinstance(hide, (list, tuple)):
            raise PoseError(f"{where}, hide: it must be a list of points, for example [16, 17]; got {describe(hide)}")
        hidden[row, [whole(point, JOINTS - 1, f"{where}, hide") for point in hide]] = True
    order = np.argsort(frames, kind="stable")
    twice = frames[order][1:][np.diff(frames[order]) == 0]
    if len(twice):
        raise PoseError(f"edits, keys: frame {twice[0]} has two keys; only one per frame is allowed")
    return PoseEdits(width, height, frames[order], moves[order], places[order], hidden[order])


def fields_of(value: Any, known: Iterable[str], where: str, example: str) -> None:
    """Raises PoseError for what is no dict, or has other fields."""
    if not isinstance(value, dict):
        raise PoseError(f"{where}: it must be an object, for example {example}; got {describe(value)}")
    unknown = [str(key)[:40] for key in value if key not in known]
    if unknown:
        raise PoseError(f"{where}: {unknown[0]!r} is unknown; choose from: {', '.join(known)}")


def read_points(value: Any, into: Array, where: str) -> None:
    """Writes `{"4": [x, y], ...}` into `[18, 2]`."""
    if value is None:
        return
    if not isinstance(value, dict):
        raise PoseError(f'{where}: it must be an object of points, for example {{"4": [12, -3]}}; got {describe(value)}')
    for name, place in value.items():
        point = whole(int(name) if isinstance(name, str) and name.isdecimal() and len(name) < 4 else name, JOINTS - 1, where)
        if not isinstance(place, (list, tuple)) or len(place) != 2:
            raise PoseError(f"{where}, point {point}: it must be [x, y]; got {describe(place)}")
        into[point] = [number(x, f"{where}, point {point}") for x in place]


def number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= LARGEST:
        raise PoseError(f"{where}: it must be a number of pixels; got {describe(value)}")
    return float(value)


def whole(value: Any, largest: int, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value or not 0 <= value <= largest or value != int(value):
        raise PoseError(f"{where}: it must be a whole number from 0 to {largest:,}; got {describe(value)}")
    return int(value)


def of_length(clip: PoseClip, frames: int) -> PoseClip:
    """A clip of so many frames: cut, or its last frame held. 0: as it is."""
    return clip.of(clip.points[np.arange(frames or len(clip)).clip(max=len(clip) - 1)])


def empty_clip(width: int, height: int) -> PoseClip:
    """One frame with nobody, for a body that is placed by hand."""
    return PoseClip(np.zeros((1, 1, NUM_POINTS, 3), np.float32), width, height)


def is_seen(points: Array) -> Array:
    """Which of the points `[..., 3]` are; in float32, in which a score of just the threshold is not above it."""
    return points[..., 2].astype(np.float32) > np.float32(SCORE_THRESHOLD)


def shown_poses(clip: PoseClip) -> list[list[float]]:
    """What an editor needs of a clip of one person: for each frame x, y and 1 (0.1 if not well seen, 0 if missing) of each body point."""
    body = clip.person(0)[:, BODY].astype(np.float64).round(2)
    body[..., 2] = np.where(is_seen(clip.person(0)[:, BODY]), 1, np.where(body[..., 2] > 0, 0.1, 0))
    return list(body.reshape(len(body), -1).tolist())


def edit_pose(clip: PoseClip, edits: PoseEdits) -> PoseClip:
    """A clip of one person (`P == 1`), with the edits made to its 18 body points.

    Keys beyond the clip's end count as if it went on. Moved points keep their scores, placed ones get 1. Each hand and foot goes rigidly
    with its wrist or ankle and turns with the limb that ends there; the face goes with nose, eyes and ears by the rigid motion nearest to
    theirs. What hangs on a hidden point is hidden. Raises PoseError for a clip of several people.
    """
    if clip.points.shape[1] != 1:
        raise PoseError(f"edits apply to one person, but the clip has {clip.points.shape[1]}: choose one first")
    if not len(edits):
        return clip
    edits = edits.on(clip.width, clip.height)
    before = clip.person(0).astype(np.float64)
    after = before.copy()
    hidden = edits.hidden[(np.searchsorted(edits.frames, np.arange(len(clip)), side="right") - 1).clip(0)]
    for point in range(JOINTS):
        after[:, point] = edit_point(before[:, point], edits, point)
    after[:, BODY][hidden] = 0
    carry_ends(before, after, hidden)
    carry_face(before, after)
    # a point that leaves every picture's range stays at its edge, for PoseClip refuses it
    after[..., :2] = after[..., :2].clip(-LARGEST, LARGEST)
    return clip.of(after.astype(np.float32))


def edit_point(track: Array, edits: PoseEdits, point: int) -> Array:
    """One body point over the clip, `[F, 3]`: moved where it is seen, placed where it is not."""
    out = track.copy()
    frame = np.arange(len(track))
    seen = is_seen(track)
    for axis in range(2):
        move = np.interp(frame, edits.frames, edits.moves[:, point, axis])
        out[seen, axis] += move[seen]
    placed = ~np.isnan(edits.places[:, point, 0])
    for start, stop in gaps(seen):
        held = placed & (edits.frames >= start) & ((edits.frames < stop) | (stop == len(track)))
        if held.any():
            span = slice(start, stop)
            out[span, 2] = 1
            for axis in range(2):
                out[span, axis] = np.interp(frame[span], edits.frames[held], edits.places[held, point, axis])
    return out


def gaps(seen: Array) -> list[tuple[int, int]]:
    """(first frame, frame after the last) of each run of frames in which a point is not seen."""
    edges = np.flatnonzero(np.diff(np.concatenate([[True], seen, [True]])))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def carry_ends(before: Array, after: Array, hidden: Array) -> None:
    """Hands and feet along with wrists and ankles, in place; `[F, 134, 3]`, hidden `[F, 18]`."""
    for part, joint, root in ENDS:
        both = np.asarray(is_seen(np.stack([before, after])[:, :, [joint, root]]).all(0))  # [F, 2]
        old, new = (points[:, joint, :2] - points[:, root, :2] for points in (before, after))
        angle = np.where(both.all(-1), turn(old[:, None], new[:, None]), 0)
        carry(after[:, part], before[:, joint, :2], after[:, joint, :2], angle, both[:, 0])
        after[:, part][hidden[:, joint]] = 0


def carry_face(before: Array, after: Array) -> None:
    """The face along with the head's body points, in place; `[F, 134, 3]`."""
    head = list(HEAD)
    seen = is_seen(np.stack([before, after])[:, :, head])
    both = np.asarray(seen.all(0))[..., None]
    count = both.sum(1).clip(1)
    centres = [(points[:, head, :2] * both).sum(1) / count for points in (before, after)]
    old, new = ((points[:, head, :2] - centre[:, None]) * both for points, centre in zip((before, after), centres, strict=True))
    carry(after[:, FACE], centres[0], centres[1], turn(old, new), np.asarray(both.any((1, 2))))
    after[:, FACE][seen[0].any(-1) & ~seen[1].any(-1)] = 0


def turn(old: Array, new: Array) -> Array:
    """The angles `[F]` in radians by which vectors `[F, N, 2]` are best turned into others, by least squares."""
    cross = old[..., 0] * new[..., 1] - old[..., 1] * new[..., 0]
    return np.arctan2(cross.sum(-1), (old * new).sum((-1, -2)))


def carry(part: Array, old: Array, new: Array, angle: Array, where: Array) -> None:
    """Turns points `[F, N, 3]` about `old` `[F, 2]` and brings that to `new`, in the frames `where`; in place."""
    where = where & ((old != new).any(-1) | (angle != 0))
    cos, sin = np.cos(angle[where])[:, None], np.sin(angle[where])[:, None]
    x, y = np.moveaxis(part[where][..., :2] - old[where][:, None], -1, 0)
    part[where, :, :2] = np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1) + new[where][:, None]
