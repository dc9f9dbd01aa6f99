"""POSE_KEYPOINT, in all its dialects, to a PoseClip and back (field.md 2, "Pose ecosystem")."""

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
    the figure would be 3 pixels high in the corner in every frame). Then face and hands are judged likewise by their own points, for
    editors that scale the body alone; where the body is in pixels, everything is. A canvas of up to 2 pixels decides nothing.
    Hands named the wrong way round (ComfyUI's own SDPose Keypoint Extractor) are put right: where over the clip they begin at the other
    side's wrist.
    Raises PoseError, with the place, for anything else; for canvases that differ; for animals.
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
    for index, frame in enumerate(frames_of(value)):
        where = f"frame {index}"
        frames.append([read_person(person, f"{where}, person {row}") for row, person in enumerate(people_of(frame, where))])
        sizes.append(canvas_of(frame, where) or stated)
    if not frames:
        raise PoseError("the clip holds no frames; at least one is wanted")
    width, height = common_canvas(sizes, size)
    rows = max([1, *map(len, frames)])
    if len(frames) * rows > MAX_ROWS:
        raise PoseError(f"{len(frames)} frames of {rows} people are too many at once; split the clip, or leave out people")
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
        raise PoseError(f"{describe(value)} is no pose: a list of frames {FRAME} is wanted")


def people_of(frame: Any, where: str) -> list[Any]:
    if frame is None:
        return []
    key = next((key for key in PEOPLE_KEYS if key in frame), None)
    animals = frame.get("animals")
    if "animals" in frame and (key is None or (isinstance(animals, list) and animals)):
        raise PoseError(f"{where}: these are keypoints of animals (AP10K); only people's can be used")
    if key is None:
        raise PoseError(f"{where}: {describe(frame)} is no frame: {FRAME} is wanted")
    people = frame[key]
    if isinstance(people, dict):
        people = [people]  # some data sets keep one person without the list
    if not isinstance(people, (list, tuple, type(None))):
        raise PoseError(f"{where}: its people are {describe(people)}; a list is wanted, empty where there is nobody")
    return list(people or [])


def canvas_of(frame: Any, where: str) -> Size | None:
    frame = frame or {}
    width, height = (pixels_of(frame.get(key), f"{where}, {key}") for key in ("canvas_width", "canvas_height"))
    return None if width is None or height is None else (width, height)


def read_person(person: Any, where: str) -> Array:
    """`[134, 3]`: in the units that they come in."""
    points = np.zeros((NUM_POINTS, 3))
    if person is None:
        return points
    if not isinstance(person, dict):
        raise PoseError(f"{where}: {describe(person)} is no person; a dict with pose_keypoints_2d is wanted")
    if person and not KEYS & person.keys():
        raise PoseError(f"{where}: {describe(person)} is no person; pose_keypoints_2d, face_keypoints_2d, hand_left_keypoints_2d or "
                        "hand_right_keypoints_2d is wanted")
    key = next((key for key in BODY_KEYS if person.get(key) is not None), BODY_KEYS[0])
    body = points_of(person.get(key), BODY_COUNTS, f"{where}, {key}", person.get("keypoint_scores"))
    if body is not None:
        place_body(points, body)
    for keys, part, counts in PARTS:
        key = next((key for key in keys if person.get(key) is not None), keys[0])
        found = points_of(person.get(key), counts, f"{where}, {key}")
        if found is not None:
            points[part] = found[:part.stop - part.start]
    return points


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


def write_pose(clip: PoseClip, binary: bool = False, threshold: float = SCORE_THRESHOLD) -> list[dict[str, Any]]:
    """A clip as POSE_KEYPOINT.

    Flat lists in pixels: 18 body, 70 face (the eyes stand for the pupils), 21 hand points, and 6 foot points if the clip has any. Parts
    that were not seen are there with score 0: readers differ over absent ones, and ComfyUI's own takes only the full number of points.

    Entry p of each frame is row p of the clip: who is absent before someone present is an entry of zeros; after the last one present the
    list ends.
    binary: scores above the threshold become 1, all other points vanish. For controlnet_aux, which takes scores below 1 for missing.
    """
    points = clip.points
    if binary:
        points = np.where(points[..., 2:] > threshold, points, 0)
        points[..., 2] = points[..., 2] > 0
    last = np.where(points[..., 2].any(-1), np.arange(1, points.shape[1] + 1), 0).max(-1)
    feet = bool(points[:, :, FEET, 2].any())
    return [
        {"people": [write_person(person, feet) for person in people[:count]], "canvas_width": clip.width, "canvas_height": clip.height}
        for people, count in zip(points, last, strict=True)
    ]


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
