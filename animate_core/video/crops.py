"""A part of a figure as a clip of its own: boxes that follow it, crops of them at another size, and the way back into the frames.

Positions are in pixels and continuous: pixel i covers i to i + 1. A box is left, top, width, height.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..pose import keypoints as k
from ..pose.filters import fill, gap_lengths, local_polynomial, window_mean
from ..pose.keypoints import SCORE_THRESHOLD, PoseClip

Array = np.ndarray

HEAD = 1.5  # side of a head's box, of the larger of the distances from ear to ear and from nose to neck
HAND, HAND_MIDDLE = 0.74, 0.4  # a hand's length, and its middle beyond the wrist, in forearms (keypoints.SPANS)
WELL_SEEN = 3  # points of a hand that place it
LONGEST_GAP = 12  # frames for which an unseen part is expected on a straight line
FADE = 3  # frames at an end of a run of crops, where that is not an end of the clip
CUBIC = -0.5  # the cubic kernel's parameter (Keys 1981), as Pillow has it


@dataclass(frozen=True)
class Placement:
    """Where crops lie in a clip of `total` frames of width x height pixels.

    boxes `[n, 4]`: left, top, width, height of each crop in its frame. frames `[n]`: which frame that is, ascending. opacity `[n]`: how
    much of the crop goes back, 0 to 1. crop_width, crop_height: of the crops in pixels. found: in how many frames the part is seen.
    """

    boxes: Array
    frames: Array
    opacity: Array
    width: int
    height: int
    total: int
    crop_width: int
    crop_height: int
    found: int

    @property
    def zoom(self) -> Array:
        """`[n]`: how many times as large as in its frame the part is in its crop."""
        return np.asarray(self.crop_width / self.boxes[:, 2])

    def of_pose(self, clip: PoseClip) -> PoseClip:
        """The keypoints of the cropped frames in pixels of the crops. clip: of all frames, its canvas of any size."""
        points = clip.points[self.frames].astype(float)
        boxes = self.boxes[:, None, None]
        places = points[..., :2] * (self.width / clip.width, self.height / clip.height) - boxes[..., :2]
        places *= (self.crop_width, self.crop_height) / boxes[..., 2:]
        return PoseClip(np.concatenate([places, points[..., 2:]], -1), self.crop_width, self.crop_height)


# ---------------------------------------------------------------------------------------------------------------------------- boxes
# Extents are `[F, 2, 2]`: the low corner and the high one, inf and -inf where the part is not seen.

def nothing(points: Array) -> Array:
    return np.broadcast_to(np.array([[np.inf], [-np.inf]]), (len(points), 2, 2))


def extent(points: Array) -> Array:
    """Of the seen ones among points `[F, N, 3]`."""
    seen, places = points[..., 2:] > SCORE_THRESHOLD, points[..., :2]
    return np.stack([np.where(seen, places, np.inf).min(1), np.where(seen, places, -np.inf).max(1)], axis=1)


def joined(*extents: Array) -> Array:
    return np.stack([np.min([x[:, 0] for x in extents], axis=0), np.max([x[:, 1] for x in extents], axis=0)], axis=1)


def square(middle: Array, side: Array) -> Array:
    """middle `[F, 2]`, side `[F]`."""
    return middle[:, None] + np.array([[-0.5], [0.5]]) * side[:, None, None]


def apart(points: Array, a: int, b: int) -> Array:
    """Distance `[F]` of two points; 0 where one of them is not seen."""
    both = (points[:, (a, b), 2] > SCORE_THRESHOLD).all(-1)
    return np.where(both, np.linalg.norm(points[:, a, :2] - points[:, b, :2], axis=-1), 0)


def head(points: Array) -> Array:
    found = extent(points[:, k.HEAD_POINTS])
    seen = np.isfinite(found).all((1, 2))
    found = np.where(seen[:, None, None], found, 0)
    side = np.where(seen, HEAD * np.maximum((found[:, 1] - found[:, 0]).max(-1), apart(points, k.NOSE, k.NECK)), 0)
    return np.where((side > 0)[:, None, None], square(found.mean(1), side), nothing(points))


def upper_body(points: Array) -> Array:
    return joined(head(points), extent(points[:, (k.NECK, k.R_SHOULDER, k.L_SHOULDER, k.R_HIP, k.L_HIP)]))


def figure(points: Array) -> Array:
    return joined(head(points), extent(points))


def hand(points: Array, own: slice, elbow: int, wrist: int) -> Array:
    """Of the hand's points; where only the arm is seen, of where the hand must be."""
    forearm = apart(points, elbow, wrist)
    middle = points[:, wrist, :2] + HAND_MIDDLE * (points[:, wrist, :2] - points[:, elbow, :2])
    guess = np.where((forearm > 0)[:, None, None], square(middle, HAND * forearm), nothing(points))
    seen = (points[:, own, 2] > SCORE_THRESHOLD).sum(-1) >= WELL_SEEN
    return np.where(seen[:, None, None], extent(points[:, own]), guess)


PARTS: dict[str, Callable[[Array], Array]] = {
    "face": head, "upper body": upper_body, "figure": figure,
    "right hand": lambda points: hand(points, k.RIGHT_HAND, k.R_ELBOW, k.R_WRIST),
    "left hand": lambda points: hand(points, k.LEFT_HAND, k.L_ELBOW, k.L_WRIST),
}


def follow_boxes(extents: Array, width: int, height: int, aspect: float, margin: float, smooth: int) -> tuple[Array, Array]:
    """Boxes `[F, 4]` of one shape (width / height) that follow a part, inside frames of width x height, and where they are told `[F]`.

    The middle is smoothed by a local parabola over `smooth` frames on each side, which steady motion passes unchanged; the size is the
    largest within these frames, so that a box always holds its part, margin times as large. Gaps of up to LONGEST_GAP frames are bridged.
    """
    size = extents[:, 1] - extents[:, 0]
    seen = np.isfinite(size).all(-1) & (size > 0).any(-1)
    told = seen | ((gap_lengths(seen[:, None]) <= LONGEST_GAP)[:, 0] & seen.any())
    known = fill(np.where(seen[:, None, None], extents, 0).reshape(len(extents), 1, 4), seen[:, None])[:, 0]
    middle, size = (known[:, :2] + known[:, 2:]) / 2, known[:, 2:] - known[:, :2]
    if smooth > 1:  # a parabola needs more than three points to smooth
        smoothed = local_polynomial(middle[:, None], np.ones((len(middle), 1)), smooth)[:, 0]
        size, middle = size + 2 * np.abs(smoothed - middle), smoothed
    wide = margin * np.maximum(size[:, 0], aspect * size[:, 1])
    if smooth > 0:
        padded = np.pad(wide, smooth, mode="edge")
        wide = window_mean(np.lib.stride_tricks.sliding_window_view(padded, 2 * smooth + 1).max(-1)[:, None], smooth)[:, 0]
    wide = np.minimum(wide, min(width, aspect * height))
    box = np.stack([wide, wide / aspect], axis=-1)
    corner = np.clip(middle - box / 2, 0, np.array([width, height]) - box)
    return np.concatenate([corner, box], axis=-1), told


def place_part(clip: PoseClip, part: str, width: int, height: int, crop_width: int, crop_height: int, *, margin: float = 1.5,
               smooth: int = 6, least_zoom: float = 1.25) -> Placement:
    """The crops of a part through a clip of one person, with frames of width x height pixels; the clip's canvas may have another size.

    part: one of PARTS. margin, smooth: as in `follow_boxes`. Frames in which the crop would be less than least_zoom times as large as the
    part are left out, as are those without it; where they begin and end, the crops' opacity rises and falls over FADE frames. If all are
    left out there is one crop, of opacity 0. Raises ValueError for a part that is unknown.
    """
    if part not in PARTS:
        raise ValueError(f"part: {part!r} is unknown; choose from: {', '.join(PARTS)}")
    points = clip.person(0).astype(float) * (width / clip.width, height / clip.height, 1)
    aspect = crop_width / crop_height
    boxes, told = follow_boxes(PARTS[part](points), width, height, aspect, margin, smooth)
    used = told & (crop_width >= least_zoom * boxes[:, 2])
    if used.any():
        frames = np.flatnonzero(used)
        away = np.abs(frames[:, None] - np.flatnonzero(~used)).min(-1, initial=FADE + 1)
        opacity = np.minimum(1.0, away / (FADE + 1))
    else:
        wide = min(width, aspect * height)
        boxes = np.array([[(width - wide) / 2, (height - wide / aspect) / 2, wide, wide / aspect]])
        frames, opacity = np.zeros(1, int), np.zeros(1)
    return Placement(boxes[frames], frames, opacity, width, height, len(clip), crop_width, crop_height, int(told.sum()))


# ----------------------------------------------------------------------------------------------------------------- crop and paste

def resampling(size: int, start: float, length: float, count: int) -> Array:
    """`[count, size]`: weights by which `count` pixels that divide start..start + length are made of a row of `size` pixels.

    Cubic interpolation; where the row is reduced the kernel is as much wider, so that nothing aliases. Beyond its ends the row is cut.
    """
    step = length / count
    wider = max(1.0, step)
    x = np.abs(start + step * (np.arange(count)[:, None] + 0.5) - np.arange(size) - 0.5) / wider
    near, far = ((CUBIC + 2) * x - (CUBIC + 3)) * x**2 + 1, CUBIC * (((x - 5) * x + 8) * x - 4)
    weights = np.where(x < 1, near, np.where(x < 2, far, 0))
    return np.asarray(weights / weights.sum(-1, keepdims=True))


def resampled(image: Tensor, box: Array, width: int, height: int) -> Tensor:
    """A box of a picture `[H, W, C]` at width x height pixels: `[height, width, C]` in [0, 1]."""
    left, top, wide, tall = box
    across, down = (torch.from_numpy(resampling(*about)).to(image.dtype).to(image.device) for about in ((image.shape[1], left, wide, width),
                                                                                  (image.shape[0], top, tall, height)))
    return torch.einsum("yh,hwc,xw->yxc", down, image, across).clamp(0, 1)


def crop(frames: Tensor, placement: Placement, on_frame: Callable[[], None] = lambda: None) -> Tensor:
    """The crops `[n, crop_height, crop_width, 3]` of frames `[total, height, width, 3]` in [0, 1]. on_frame: called after each."""
    out = frames.new_empty(len(placement.frames), placement.crop_height, placement.crop_width, frames.shape[-1])
    for place, frame, box in zip(out, placement.frames, placement.boxes, strict=True):
        place.copy_(resampled(frames[frame], box, placement.crop_width, placement.crop_height))
        on_frame()
    return out


def ramp(first: int, last: int, start: float, length: float, feather: float, size: int) -> Array:
    """`[last - first]`: weights of pixels of a row of `size`: 0 outside start..start + length, rising to 1 over `feather` pixels inside.

    A smoothstep, which with its mirror image adds up to 1. At an end that is the row's own nothing is feathered.
    """
    at = np.arange(first, last) + 0.5
    inside = np.minimum(at - start if start > 0 else np.inf, start + length - at if start + length < size else np.inf)
    t = np.clip(inside / max(feather, 1e-6), 0, 1)
    return t * t * (3 - 2 * t)


def paste(frames: Tensor, crops: Tensor, placement: Placement, feather: float, on_frame: Callable[[], None] = lambda: None) -> Tensor:
    """Frames with the crops `[n, h, w, 3]` back in their places; frames `[total, H, W, 3]` and crops in [0, 1], of any size.

    feather: width of the soft edge, of half the box's shorter side. on_frame: called after each crop.
    """
    out = frames.clone()
    tall, wide = frames.shape[1:3]
    scale = np.array([wide / placement.width, tall / placement.height] * 2)
    for image, frame, own, opacity in zip(crops.to(frames), placement.frames, placement.boxes * scale, placement.opacity, strict=True):
        left, top, width, height = own
        soft = feather * min(width, height) / 2
        x0, y0 = int(np.floor(left)), int(np.floor(top))
        x1, y1 = min(wide, int(np.ceil(left + width))), min(tall, int(np.ceil(top + height)))
        per_pixel = np.array([image.shape[1] / width, image.shape[0] / height])
        region = np.array([x0 - left, y0 - top, x1 - x0, y1 - y0]) * np.tile(per_pixel, 2)
        weight = np.outer(ramp(y0, y1, top, height, soft, tall), ramp(x0, x1, left, width, soft, wide)) * opacity
        there = out[frame, y0:y1, x0:x1]
        there += torch.from_numpy(weight).to(out)[..., None] * (resampled(image, region, x1 - x0, y1 - y0) - there)
        on_frame()
    return out
