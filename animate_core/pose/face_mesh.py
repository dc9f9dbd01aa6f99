"""The picture of a face that AniPortrait is guided by: contours of MediaPipe's face mesh, a colour each, on black.

Source: AniPortrait `src/utils/draw_util.py` (contours, colours, line width, the canvas of 512 x 512); MediaPipe's numbering of the mesh.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ..preprocess import Fit, fit_image
from .keypoints import SCORE_THRESHOLD, PoseClip, PoseError
from .landmarks import main_face
from .raster import Canvas

Array = np.ndarray

CANVAS = 512
THICKNESS = 2
FEWEST_POINTS = 468  # of a mesh; with the irises it has 478

# Contour -> colour, and its lines as chains of points: of the mesh, and of DWPose's 68. Left and right are the subject's, but those of
# the lips the picture's. Colours in the channel order of the published array, as the guider takes them.
Contour = tuple[tuple[int, int, int], tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]
CONTOURS: Mapping[str, Contour] = {
    "oval without forehead": ((10, 200, 10), ((251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150,
                                              136, 172, 58, 132, 93, 234, 127, 162, 21),), (tuple(range(17)),)),
    "left eye": ((180, 200, 10), ((263, 249, 390, 373, 374, 380, 381, 382, 362), (263, 466, 388, 387, 386, 385, 384, 398, 362)),
                 ((42, 43, 44, 45, 46, 47, 42),)),
    "left eyebrow": ((180, 220, 10), ((276, 283, 282, 295, 285), (300, 293, 334, 296, 336)), ((22, 23, 24, 25, 26),)),
    "right eye": ((10, 200, 180), ((33, 7, 163, 144, 145, 153, 154, 155, 133), (33, 246, 161, 160, 159, 158, 157, 173, 133)),
                  ((36, 37, 38, 39, 40, 41, 36),)),
    "right eyebrow": ((10, 220, 180), ((46, 53, 52, 65, 55), (70, 63, 105, 66, 107)), ((17, 18, 19, 20, 21),)),
    "outer lip, bottom left": ((10, 180, 20), ((61, 146, 91, 181, 84, 17),), ((48, 59, 58, 57),)),
    "outer lip, bottom right": ((20, 10, 180), ((17, 314, 405, 321, 375, 291),), ((57, 56, 55, 54),)),
    "inner lip, bottom left": ((100, 100, 30), ((78, 95, 88, 178, 87, 14),), ((60, 67, 66),)),
    "inner lip, bottom right": ((100, 150, 50), ((14, 317, 402, 318, 324, 308),), ((66, 65, 64),)),
    "outer lip, top left": ((20, 80, 100), ((61, 185, 40, 39, 37, 0),), ((48, 49, 50, 51),)),
    "outer lip, top right": ((80, 100, 20), ((0, 267, 269, 270, 409, 291),), ((51, 52, 53, 54),)),
    "inner lip, top left": ((120, 100, 200), ((78, 191, 80, 81, 82, 13),), ((60, 61, 62),)),
    "inner lip, top right": ((150, 120, 100), ((13, 312, 311, 310, 415, 308),), ((62, 63, 64),)),
}


@dataclass(frozen=True)
class FaceClip:
    """One face in each frame: points `[N, 2]`, x before y in pixels, NaN where not seen; None where no face is. N is 68 (DWPose) or that of
    MediaPipe's mesh. width, height: of the picture in pixels."""

    frames: Sequence[Array | None]
    width: int
    height: int

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def lacking(self) -> list[int]:
        """Frames in which there is no face."""
        return [i for i, points in enumerate(self.frames) if points is None]


def draw_mesh(points: Array, width: int, height: int) -> Array:
    """Points `[N, 2]` of a picture of width x height pixels -> `[512, 512, 3]` uint8, whatever its aspect ratio.

    Lines with an end that is outside of the picture, or NaN, are left out, as by MediaPipe's drawing.
    """
    canvas = Canvas(CANVAS, CANVAS)
    part = points / (width, height)
    with np.errstate(invalid="ignore"):
        inside: Array = np.asarray(((part >= 0) & (part <= 1)).all(-1))
    pixels = np.where(inside[:, None], np.minimum(part * CANVAS, CANVAS - 1), 0).astype(np.int64)
    lines, colours = [], []
    for contour in CONTOURS.values():
        for chain in contour[2] if len(points) == 68 else contour[1]:
            for a, b in zip(chain[:-1], chain[1:], strict=True):
                if inside[a] and inside[b]:
                    lines.append((pixels[a], pixels[b]))
                    colours.append(contour[0])
    if lines:
        starts, ends = (np.stack([line[i] for line in lines]) for i in (0, 1))
        canvas.paint(canvas.lines(starts, ends, np.full(len(lines), THICKNESS)), np.array(colours, np.uint8))
    return canvas.picture


def mesh_pictures(clip: FaceClip, width: int, height: int, fit: Fit = "crop") -> Iterator[Image.Image]:
    """The picture of each frame, width x height pixels; black where there is no face. Drawn at 512 x 512 and resized, as published."""
    for points in clip.frames:
        if points is None:
            yield Image.new("RGB", (width, height))
            continue
        drawn = Image.fromarray(draw_mesh(points, clip.width, clip.height)).resize((clip.width, clip.height), Image.Resampling.BILINEAR)
        yield fit_image(drawn, width, height, fit, Image.Resampling.BILINEAR)


def checked(clip: FaceClip, name: str) -> FaceClip:
    """The clip, if there is a face in it. Raises PoseError."""
    if not len(clip) or len(clip.lacking) == len(clip):
        raise PoseError(f"{name}: no face in any frame; use images with a face that is large enough to detect")
    return clip


def faces_of_pose(clip: PoseClip, name: str = "pose_keypoint") -> FaceClip:
    """The face of whom most is seen in each frame. name: of the input, for errors. Raises PoseError where there is none at all."""
    faces = [main_face(people) for people in clip.points]
    return checked(FaceClip([None if face is None else np.where(face[:, 2:] > SCORE_THRESHOLD, face[:, :2], np.nan) for face in faces],
                            clip.width, clip.height), name)


def read_face_landmarks(value: Any, name: str) -> FaceClip:
    """The host's FACE_LANDMARKS: `frames`, lists of faces with `landmarks_xy` `[478, 2]` in pixels and a `score`, and `image_size` (height,
    width). Of several faces the one of the highest score is taken. Raises PoseError."""
    try:
        height, width = (int(n) for n in value["image_size"])
        frames: list[Array | None] = []
        for faces in value["frames"]:
            best = max(faces, key=lambda face: float(face.get("score", 1.0)), default=None)
            frames.append(None if best is None else np.asarray(best["landmarks_xy"], np.float64)[:, :2])
    except (TypeError, KeyError, ValueError, AttributeError, IndexError) as error:
        raise PoseError(f"{name}: these are not face landmarks from Detect Face Landmarks (MediaPipe) ({error!r})") from error
    if min(width, height) < 1 or any(points is not None and (points.ndim != 2 or len(points) < FEWEST_POINTS) for points in frames):
        raise PoseError(f"{name}: a face must have at least {FEWEST_POINTS} points of MediaPipe's mesh, and an image size")
    return checked(FaceClip(frames, width, height), name)
