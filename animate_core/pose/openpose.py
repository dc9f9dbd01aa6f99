"""POSE_KEYPOINT, in all its dialects, to a PoseClip and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .keypoints import (
    BODY,
    FACE,
    FEET,
    L_EYE,
    L_HIP,
    L_WRIST,
    LEFT_HAND,
    NUM_POINTS,
    R_EYE,
    R_HIP,
    R_WRIST,
    RIGHT_HAND,
    SCORE_THRESHOLD,
    PoseClip,
    PoseError,
    from_wholebody,
)
from .parsing import Array, Size, common_canvas, describe, pixels_of, points_of, without_missing
from .posedata import is_posedata, read_posedata

FRAME = '{"people": [...], "canvas_width": w, "canvas_height": h}'
FORMAT = "marionette-pose"  # the header of this pack's own files
MAX_ROWS = 500_000  # frames times people: 1.6 GB of points

# A part's keys: OpenPose's, then COCO-WholeBody's
BODY_KEYS = ("pose_keypoints_2d", "keypoints")
PARTS: tuple[tuple[tuple[str, str], slice, tuple[int, ...]], ...] = (
    (("foot_keypoints_2d", "foot_kpts"), FEET, (6,)),
    (("face_keypoints_2d", "face_kpts"), FACE, (68, 70)),
    (("hand_left_keypoints_2d", "lefthand_kpts"), LEFT_HAND, (21,)),
    (("hand_right_keypoints_2d", "righthand_kpts"), RIGHT_HAND, (21,)),
)
GRADED = "marionette_graded"  # a frame's people again, with graded scores, beside those with scores of 0 and 1
KEYS = {key for keys in (BODY_KEYS, *(keys for keys, _, _ in PARTS)) for key in keys}
PEOPLE_KEYS = ("people", "instances")
FRAMES_KEYS = ("frames", "instance_info")

COCO, OPENPOSE, BODY_25, WHOLEBODY = 17, 18, 25, 133
BODY_COUNTS = (OPENPOSE, BODY_25, COCO, WHOLEBODY, NUM_POINTS)
MID_HIP = 8  # in BODY_25, which otherwise is the 18 with this one put in, and the feet at the end

UNIT = (-1.0, 2.0)  # where coordinates of 0..1 lie, with room for points off the canvas
UNIT_SHARE = 0.9
SWAPPED = 0.25


def read_pose(value: Any, name: str = "pose", size: Size | None = None) -> PoseClip:
    """Whatever lies on a POSE_KEYPOINT socket, or was read from a JSON file, as a clip.

    value: a list over frames of `{"people": [...], "canvas_width": w, "canvas_height": h}`, one such dict, lists of lists of them, a dict
    with the list under "frames", WanAnimate's POSEDATA, or a PoseClip. A frame may be None, and hold nobody. A person's parts may be
    absent, None or empty; flat or nested; of triples or pairs (score 1). Bodies of 18 points, 25 (BODY_25), 17 (COCO), 133
    (COCO-WholeBody) or 134 (this pack's order); faces of 68 or 70 (pupils are left out); hands of 21; feet of 6. Row p of the clip is entry
    p of each frame's list.
    size: width and height in pixels, for frames that state none. name: for errors.

    Units are decided for the whole clip. Nine tenths of all body points lie between -1 and 2: they are fractions of the canvas (as pixels,
    the figure would be 3 pixels high in the corner in every frame). Then face and hands are judged the same way by their own points, for
    editors that scale the body alone; where the body is in pixels, everything is. A canvas of up to 2 pixels decides nothing.
    Hands named the wrong way round (ComfyUI's own SDPose Keypoint Extractor) are put right: where over the clip they begin at the other
    side's wrist. Graded scores that write_pose left beside scores of 0 and 1 are taken up again.
    Raises PoseError, with the place, for anything else; for canvases that differ; for animals; for a body of 17 points among longer ones.
    """
    if isinstance(value, PoseClip):
        return value
    try:
        return read_posedata(value, size) if is_posedata(value) else read_frames(value, size)
    except PoseError as error:
        raise PoseError(f"{name}: {error}") from error


def read_frames(value: Any, size: Size | None) -> PoseClip:
    header = value if isinstance(value, dict) else {}
    stated = canvas_of(header, "the clip")
    frames, sizes = [], []
    bodies: dict[int, str] = {}
    for index, frame in enumerate(frames_of(value)):
        where = f"frame {index}"
        people = [read_person(person, f"{where}, person {row}", bodies) for row, person in enumerate(people_of(frame, where))]
        frames.append(with_grades(people, frame, where))
        sizes.append(canvas_of(frame, where) or stated)
    if not frames:
        raise PoseError("the clip contains no frames; it needs at least one")
    if COCO in bodies and len(bodies) > 1:
        other = next(count for count in bodies if count != COCO)
        raise PoseError(f"{bodies[COCO]}: a body of {COCO} points (COCO's format) in a clip where the others have {other} "
                        f"({bodies[other]}): restore the missing point, or keep poses of different programs apart")
    width, height = common_canvas(sizes, size)
    rows = max([1, *map(len, frames)])
    if len(frames) * rows > MAX_ROWS:
        raise PoseError(f"{len(frames)} frames with {rows} people are too many at once; split the clip, or leave out people")
    points = np.zeros((len(frames), rows, NUM_POINTS, 3))
    for row, people in zip(points, frames, strict=True):
        row[:len(people)] = np.stack(people) if people else 0
    points = without_missing(points)
    if header.get("format") != FORMAT:
        to_pixels(points, width, height)
        unswap_hands(points)
    return PoseClip(points, width, height)


def frames_of(value: Any, depth: int = 0) -> Iterator[Any]:
    """Each frame, a dict or None, of lists in lists of them."""
    if isinstance(value, dict):
        inner = next((value[key] for key in FRAMES_KEYS if isinstance(value.get(key), (list, tuple))), None)
        if inner is None or any(key in value for key in PEOPLE_KEYS):
            yield value
        else:
            yield from frames_of(inner, depth + 1)
    elif isinstance(value, (list, tuple)) and depth < 4:
        for item in value:
            if item is None:
                yield item
            else:
                yield from frames_of(item, depth + 1)
    else:
        raise PoseError(f"it must be a list of frames {FRAME}; got {describe(value)}")


def people_of(frame: Any, where: str) -> list[Any]:
    if frame is None:
        return []
    key = next((key for key in PEOPLE_KEYS if key in frame), None)
    animals = frame.get("animals")
    if "animals" in frame and (key is None or (isinstance(animals, list) and animals)):
        raise PoseError(f"{where}: these are keypoints of animals (AP10K); only people's can be used")
    if key is None:
        raise PoseError(f"{where}: a frame must be {FRAME}; got {describe(frame)}")
    people = frame[key]
    if isinstance(people, dict):
        people = [people]  # some data sets keep one person without the list
    if not isinstance(people, (list, tuple, type(None))):
        raise PoseError(f"{where}: people must be a list, empty if there is nobody; got {describe(people)}")
    return list(people or [])


def canvas_of(frame: Any, where: str) -> Size | None:
    frame = frame or {}
    width, height = (pixels_of(frame.get(key), f"{where}, {key}") for key in ("canvas_width", "canvas_height"))
    return None if width is None or height is None else (width, height)


def read_person(person: Any, where: str, bodies: dict[int, str]) -> Array:
    """`[134, 3]`: in the units that they come in. bodies: where a body of each length was first seen."""
    points = np.zeros((NUM_POINTS, 3))
    if person is None:
        return points
    if not isinstance(person, dict):
        raise PoseError(f"{where}: a person must be a dict with pose_keypoints_2d; got {describe(person)}")
    if person and not KEYS & person.keys():
        raise PoseError(f"{where}: a person needs pose_keypoints_2d, face_keypoints_2d, hand_left_keypoints_2d or "
                        f"hand_right_keypoints_2d; got {describe(person)}")
    key = next((key for key in BODY_KEYS if person.get(key) is not None), BODY_KEYS[0])
    body = points_of(person.get(key), BODY_COUNTS, f"{where}, {key}", person.get("keypoint_scores"))
    if body is not None:
        bodies.setdefault(len(body), f"{where}, {key}")
        place_body(points, body)
    for keys, part, counts in PARTS:
        key = next((key for key in keys if person.get(key) is not None), keys[0])
        found = points_of(person.get(key), counts, f"{where}, {key}")
        if found is not None:
            points[part] = found[:part.stop - part.start]
    return points


def with_grades(people: list[Array], frame: Any, where: str) -> list[Array]:
    """A frame's people, each `[134, 3]`, with the graded scores that write_pose left, of those points that nobody has touched since.

    A hidden point is untouched if it is still hidden and something of its frame is still where it was: other nodes scale whole frames.
    """
    graded = frame.get(GRADED) if frame else None
    if not isinstance(graded, (list, tuple)):
        return people
    own = np.zeros((max(len(people), len(graded)), NUM_POINTS, 3))
    points = own.copy()
    points[:len(people)] = people or 0
    for row, person in enumerate(graded):
        own[row] = read_person(person, f"{where}, {GRADED} {row}", {})
    seen, as_written = points[..., 2] > 0, np.append(own[..., :2], np.ones((*own.shape[:2], 1)), axis=-1)
    hidden = own[..., 2:].astype(np.float32) <= SCORE_THRESHOLD  # as the clip's numbers were when it was written
    untouched = np.asarray(np.where(seen[..., None], points == as_written, hidden).all(-1))
    return list(np.where(untouched[..., None], own, points)) if (untouched & seen).any() or not seen.any() else people


def place_body(points: Array, body: Array) -> None:
    """Writes a body of any of the known lengths into `[134, 3]`."""
    if len(body) == OPENPOSE:
        points[BODY] = body
    elif len(body) == BODY_25:
        points[BODY] = np.delete(body[:19], MID_HIP, 0)
        points[FEET] = body[19:]
    elif len(body) == COCO:
        points[BODY] = from_wholebody(np.concatenate([without_missing(body), np.zeros((WHOLEBODY - COCO, 3))]))[BODY]
    else:
        points[:] = body if len(body) == NUM_POINTS else from_wholebody(without_missing(body))


def to_pixels(points: Array, width: int, height: int) -> None:
    """Scales what is in 0..1, in place; `[F, P, 134, 3]`. The rule is read_pose's."""
    if max(width, height) <= UNIT[1]:
        return

    def fractions(part: Array) -> bool | None:
        places = part[part[..., 2] > 0][:, :2]
        inside = ((places >= UNIT[0]) & (places <= UNIT[1])).all(-1)
        return bool(inside.mean() >= UNIT_SHARE) if len(places) else None

    groups = (points[:, :, :FEET.stop], points[:, :, FACE], points[:, :, LEFT_HAND.start:])
    body = fractions(groups[0])
    for group in groups:
        if body is not False and fractions(group):
            group[..., :2] *= (width, height)


def unswap_hands(points: Array) -> None:
    """Exchanges the hands of a whole clip where they are named the wrong way round, in place; `[F, P, 134, 3]`."""
    roots = points[:, :, [LEFT_HAND.start, RIGHT_HAND.start]]
    wrists = points[:, :, [L_WRIST, R_WRIST]]
    usable = (roots[..., 2] > 0) & (wrists[..., 2] > 0).all(-1, keepdims=True)
    if not usable.any():
        return
    own = np.linalg.norm(roots[..., :2] - wrists[..., :2], axis=-1)[usable]
    other = np.linalg.norm(roots[..., :2] - wrists[:, :, ::-1, :2], axis=-1)[usable]
    if np.median(other) < SWAPPED * np.median(own):
        points[:, :, LEFT_HAND.start:] = np.concatenate([points[:, :, RIGHT_HAND], points[:, :, LEFT_HAND]], axis=2)


def binary_scores(clip: PoseClip, threshold: float = SCORE_THRESHOLD) -> PoseClip:
    """The clip with score 1 for points above the threshold, and without the others."""
    points = np.where(clip.points[..., 2:] > threshold, clip.points, 0)
    points[..., 2] = points[..., 2] > 0
    return clip.of(points)


def write_pose(clip: PoseClip, binary: bool = True, threshold: float = SCORE_THRESHOLD) -> list[dict[str, Any]]:
    """A clip as POSE_KEYPOINT.

    Flat lists in pixels: 18 body, 70 face (the eyes stand for the pupils), 21 hand points, and 6 foot points if the clip has any. Parts
    that were not seen are there with score 0: readers differ over absent ones, and ComfyUI's own takes only the full number of points.

    Entry p of each frame is row p of the clip: who is absent before someone present is an entry of zeros; after the last one present the
    list ends.
    binary: scores as binary_scores, which every node of the field reads; controlnet_aux takes scores below 1 for missing. Frames with other
    scores hold their people a second time with them, under a key of this pack, for read_pose.
    """
    feet = bool(clip.scores[:, :, FEET].any())

    def write(clip: PoseClip) -> list[list[dict[str, list[float]]]]:
        last = np.where(clip.present, np.arange(1, clip.points.shape[1] + 1), 0).max(-1)
        return [[write_person(person, feet) for person in people[:count]] for people, count in zip(clip.points, last, strict=True)]

    graded = write(clip)
    standard = write(binary_scores(clip, threshold)) if binary else graded
    return [{"people": people, "canvas_width": clip.width, "canvas_height": clip.height, **({GRADED: own} if own != people else {})}
            for people, own in zip(standard, graded, strict=True)]


def write_person(points: Array, feet: bool) -> dict[str, list[float]]:
    """points `[134, 3]`."""
    pupils = points[[R_EYE, L_EYE]] * points[FACE, 2].any()  # none in a face that was not seen
    parts = {
        "pose_keypoints_2d": points[BODY],
        "face_keypoints_2d": np.concatenate([points[FACE], pupils]),
        "hand_left_keypoints_2d": points[LEFT_HAND],
        "hand_right_keypoints_2d": points[RIGHT_HAND],
        **({"foot_keypoints_2d": points[FEET]} if feet else {}),
    }
    return {key: part.ravel().tolist() for key, part in parts.items()}


def to_body_25(points: Array) -> Array:
    """`[..., 134, 3]` to OpenPose's BODY_25 `[..., 25, 3]`; the middle of the hips is there if both are."""
    hips = points[..., (R_HIP, L_HIP), :]
    middle = np.where((hips[..., 2:] > 0).all(-2, keepdims=True), hips.mean(-2, keepdims=True), 0)
    return np.concatenate([points[..., :MID_HIP, :], middle, points[..., MID_HIP:FEET.stop, :]], axis=-2)
