"""POSEDATA, as the WanAnimate preprocessors exchange it (kijai/ComfyUI-WanAnimatePreprocess)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from .keypoints import BODY, FACE, FEET, LEFT_HAND, NUM_POINTS, RIGHT_HAND, PoseClip, PoseError
from .parsing import Array, Size, common_canvas, describe, pixels_of, points_of, without_missing

BIG_TOES = [0, 3]  # of the feet: left, right
LISTS = ("pose_metas", "pose_metas_original")
# A part's names: of the drawn metas (pixels, scores apart), and of the original ones (fractions of the canvas)
PARTS: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    ("kps_body", "keypoints_body", (18, 20)),
    ("kps_face", "keypoints_face", (68, 69, 70)),
    ("kps_lhand", "keypoints_left_hand", (21,)),
    ("kps_rhand", "keypoints_right_hand", (21,)),
)
FEET_PARTS = ("kps_feet", "keypoints_feet", (6,))  # of this pack: the standard parts hold a point for each foot's toes, and one heel
CLOSE = 0.01  # pixels


def is_posedata(value: Any) -> bool:
    return isinstance(value, dict) and any(key in value for key in LISTS)


def read_posedata(value: dict[str, Any], size: Size | None = None) -> PoseClip:
    """The one person of a POSEDATA: as retargeted for drawing (`pose_metas`), or else as detected (`pose_metas_original`).

    A body of 20 is OpenPose's 18, then the left and right toes, which become the big toes. A face of 69 begins with the right heel; the
    eyes at the end of one of 70 are left out. All six points of the feet come back where write_posedata left them. Raises PoseError.
    """
    key = next((key for key in LISTS if isinstance(value.get(key), (list, tuple)) and len(value[key])), None)
    if key is None:
        raise PoseError(f"this POSEDATA contains no frames: its pose_metas are {describe(value.get(LISTS[0]))}")
    points = np.zeros((len(value[key]), 1, NUM_POINTS, 3))
    sizes: list[Size | None] = []
    for index, meta in enumerate(value[key]):
        where = f"{key}, frame {index}"
        fields = meta if isinstance(meta, dict) else getattr(meta, "__dict__", None)
        if fields is None or not any(name in fields for names in PARTS for name in names[:2]):
            raise PoseError(f"{where}: a WanAnimate pose needs kps_body or keypoints_body; got {describe(meta)}")
        width, height = (pixels_of(fields.get(side), f"{where}, {side}") for side in ("width", "height"))
        sizes.append(None if width is None or height is None else (width, height))
        body, face, left, right, feet = (part_of(fields, drawn, original, counts, where, (width, height))
                                         for drawn, original, counts in (*PARTS, FEET_PARTS))
        person = points[index, 0]
        if body is not None:
            person[BODY] = body[:18]
            person[FEET][BIG_TOES[:len(body) - 18]] = body[18:]
        if face is not None and len(face) == 69:
            person[FEET][-1], face = face[0], face[1:]
        for part, found in ((FACE, face), (LEFT_HAND, left), (RIGHT_HAND, right)):
            if found is not None:
                person[part] = found[:part.stop - part.start]
        if feet is not None and np.allclose(toes_and_heel(feet), toes_and_heel(person[FEET]), rtol=0, atol=CLOSE):
            person[FEET] = feet  # else another node has moved the person since
    return PoseClip(points, *common_canvas(sizes, size))


def part_of(fields: dict[str, Any], drawn: str, original: str, counts: tuple[int, ...], where: str,
            canvas: tuple[int | None, int | None]) -> Array | None:
    """`[N, 3]` in pixels."""
    if fields.get(drawn) is not None:
        points = points_of(fields[drawn], counts, f"{where}, {drawn}", fields.get(f"{drawn}_p"))
        return None if points is None else without_missing(points)
    points = points_of(fields.get(original), counts, f"{where}, {original}")
    if points is None:
        return None
    width, height = canvas
    if width is None or height is None:
        raise PoseError(f"{where}: {original} are fractions of a canvas, but its width and height are missing")
    return without_missing(points) * (width, height, 1)


def write_posedata(clip: PoseClip, person: int = 0) -> dict[str, Any]:
    """One person as POSEDATA: what DrawViTPose draws from. Its drawing reads plain attributes, so none of that pack's classes is needed.

    The toes of its 20 body points are the middles of the big and the small toe, or the one of them that was seen; the feet are there whole
    under names of this pack, too. Raises PoseError if there is no such person.
    """
    if not 0 <= person < clip.points.shape[1]:
        raise PoseError(f"person {person} is not in the clip; it has {clip.points.shape[1]}, counted from 0")
    canvas = np.array([clip.width, clip.height, 1], np.float32)
    metas, originals = [], []
    for points in clip.person(person):
        *toes, heel = toes_and_heel(points[FEET])
        parts = (np.stack([*points[BODY], *toes]), np.stack([heel, *points[FACE]]), points[LEFT_HAND], points[RIGHT_HAND], points[FEET])
        fields: dict[str, Any] = {"image_id": "", "width": clip.width, "height": clip.height}
        for (name, _, _), part in zip((*PARTS, FEET_PARTS), parts, strict=True):
            fields |= {name: part[:, :2].copy(), f"{name}_p": part[:, 2].copy()}
        metas.append(SimpleNamespace(**fields))
        originals.append({"width": clip.width, "height": clip.height,
                          **{name: part / canvas for (_, name, _), part in zip((*PARTS, FEET_PARTS), parts, strict=True)}})
    return {"retarget_image": None, "pose_metas": metas, "refer_pose_meta": None, "pose_metas_original": originals}


def toes_and_heel(feet: Array) -> Array:
    """What the standard parts hold of the feet `[6, 3]`: left and right toes, right heel, `[3, 3]`."""
    toes = feet.reshape(2, 3, 3)[:, :2]  # side, toe
    seen = (toes[..., 2:] > 0).sum(1)
    return np.concatenate([toes.sum(1) / np.maximum(seen, 1), feet[-1:]])
