"""MusePose's pose_align against the published script's numbers and pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from check_dwpose import PIXELS, differing, golden_picture
from safetensors.numpy import load_file

from animate_core.pose.drawing import STYLES, draw_people
from animate_core.pose.keypoints import BODY, FACE, LEFT_HAND, RIGHT_HAND, SCORE_THRESHOLD, PoseClip
from animate_core.pose.pose_align import aligned, in_heights, one_person, pose_align, pose_scales

Array = np.ndarray
Line = tuple[str, float, float]

EXACT = 1e-9  # of scales: both compute in float64
ROUNDED = 1e-6  # of points, in parts of the picture: the script's matrices are float32
PIXEL = 2e-3  # of a clip, whose points are float32 pixels
SCALES = {"neck": "neck", "face": "face", "shoulder": "shoulder", "arm_upper": "upper arm", "arm_lower": "lower arm", "hand": "hand",
          "body_len": "body", "leg_upper": "upper leg", "leg_lower": "lower leg"}


def furthest(ours: Array, theirs: Array) -> float:
    """Largest difference, infinite where only one is infinite or not a number."""
    if ours.shape != theirs.shape or (np.isfinite(ours) != np.isfinite(theirs)).any():
        return float("inf")
    known = np.isfinite(theirs)
    return float(np.abs(ours[known] - theirs[known]).max(initial=0))


def parts_of(t: dict[str, Array]) -> list[tuple[slice, Array]]:
    return [(BODY, t["out_body"]), (LEFT_HAND, t["out_hands"][:, 0]), (RIGHT_HAND, t["out_hands"][:, 1]), (FACE, t["out_faces"][:, 0])]


def clip_error(t: dict[str, Array], p: dict[str, Any], driver: PoseClip, reference: PoseClip) -> float:
    """Of the library's own clip, in pixels: what is missing in it must be outside the picture there."""
    out = pose_align(driver, reference, p["align_frame"]).points[:, 0]
    worst = 0.0
    for part, theirs in parts_of(t):
        seen = out[:, part, 2] > 0
        worst = max(worst, furthest(out[:, part, :2][seen].astype(float), theirs[seen] * (reference.width, reference.height)))
        if ((theirs[~seen] > 0) & (theirs[~seen] < 1)).all(-1).any():
            return float("inf")
    return worst


def drawn(out: Array, p: dict[str, Any]) -> Array:
    """The first frame as the script draws it: on a canvas of the driving video's shape, then stretched to the reference's."""
    height, width = p["draw_canvas_height_width"]
    picture = draw_people(out[:1] * (width, height, 1), width, height, STYLES["MusePose"])
    wide, high = p["picture_width_height"]
    pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float()
    resized = torch.nn.functional.interpolate(pixels, (high, wide), mode="bilinear", align_corners=False)
    return resized[0].permute(1, 2, 0).round().numpy()


def check_pose_align(folder: Path, file: str, cases: dict[str, Any]) -> Iterator[Line]:
    tensors = load_file(folder / file)
    for case, p in cases.items():
        t = {key.split("/", 1)[1]: value for key, value in tensors.items() if key.startswith(case + "/")}
        sizes = p["video_size"], p["reference_size"]
        driver, reference = t["frames"][:p["max_frame"]] * (*sizes[0], 1), t["reference"] * (*sizes[1], 1)  # in pixels
        frames = driver[p["align_frame"]:]
        first, target = (in_heights(one_person(people)[0], *size) for people, size in zip((frames, reference[None]), sizes, strict=True))
        scales = pose_scales(first, target)
        theirs = np.array([float(p["scales"][f"scale_{name}"]) for name in SCALES])
        yield f"{case} scales", furthest(np.array([scales[name] for name in SCALES.values()]), theirs), EXACT
        places, _ = aligned(frames, sizes[0], reference, sizes[1])
        yield f"{case} points", max(furthest(places[:, part], out) for part, out in parts_of(t)), ROUNDED
        scores = one_person(frames)[..., 2]
        yield f"{case} body points drawn", float(((scores[:, BODY] > SCORE_THRESHOLD) != (t["out_subset"][:, 0] >= 0)).sum()), 0.0
        yield f"{case} clip in pixels", clip_error(t, p, PoseClip(driver, *sizes[0]), PoseClip(reference[None], *sizes[1])), PIXEL
        picture = folder / "pose_align" / f"{case}.png"
        if picture.is_file():
            person = np.concatenate([places[0], scores[0][..., None]], axis=-1)[None]
            # OpenCV's weights have 11 bits
            yield f"{case} share of pixels", differing(drawn(person, p), golden_picture(picture), 1), PIXELS
