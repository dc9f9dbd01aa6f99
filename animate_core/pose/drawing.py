"""Skeleton pictures as pose guiders take them (docs/method.md H.4, H.5), to the pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ..preprocess import Fit
from .keypoints import BODY, FACE, FEET, LEFT_HAND, LIMBS, NUM_POINTS, RIGHT_HAND, SCORE_THRESHOLD, PoseError
from .raster import Array, Canvas, joined

LARGEST_SIDE = 16384
FARTHEST = 1e9  # points further off, which no picture has, are left out

FIRST, SECOND = np.array(LIMBS).T
COLOURS = np.array([
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85), (0, 255, 170),
    (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85),
], np.uint8)
FINGERS = np.array([(0 if i % 4 == 0 else i, i + 1) for i in range(20)])


def hues(count: int) -> Array:
    """`[count, 3]` uint8: evenly spaced hues of full saturation and value, rounded."""
    place = np.arange(count)[:, None] / count * 6
    distance = np.abs((place - (0, 2, 4) + 3) % 6 - 3)
    return np.rint((2 - distance).clip(0, 1) * 255).astype(np.uint8)


FINGER_COLOURS = hues(len(FINGERS))
HAND_POINT, FACE_POINT = np.array([(0, 0, 255)], np.uint8), np.array([(255, 255, 255)], np.uint8)


@dataclass(frozen=True)
class DrawStyle:
    """What of a person is drawn, and how; lengths in pixels.

    limb_widths: half the width of a limb shorter than `limb_lengths[i]`; one more than those, for longer limbs.
    hand_line: width of a finger's lines; 0: the number that `limb_widths` gives for a line of its length.
    limb_brightness: of the limbs' colours; joints have theirs in full.
    score_threshold: body and feet are drawn above it, hands and face from it on.
    one_by_one: each person with hands and face on top of the ones before; otherwise all bodies come first, then all hands, then all faces.
    swap_red_blue: the picture's channels are blue, green, red.
    """

    body: bool = True
    hands: bool = True
    face: bool = True
    feet: bool = False
    limb_widths: tuple[int, ...] = (4,)
    limb_lengths: tuple[float, ...] = ()
    hand_line: int = 2
    joint_radius: int = 4
    hand_radius: int = 4
    face_radius: int = 3
    limb_brightness: float = 0.6
    score_threshold: float = SCORE_THRESHOLD
    one_by_one: bool = False
    swap_red_blue: bool = False

    def with_stick(self, radius: float) -> DrawStyle:
        """The same style for a larger or smaller picture: joints of so many pixels' radius, all other lengths in proportion."""
        factor = radius / self.joint_radius

        def scaled(length: int) -> int:
            return max(1, round(length * factor))

        return replace(
            self, limb_widths=tuple(map(scaled, self.limb_widths)), limb_lengths=tuple(length * factor for length in self.limb_lengths),
            hand_line=scaled(self.hand_line) if self.hand_line else 0, joint_radius=scaled(self.joint_radius),
            hand_radius=scaled(self.hand_radius), face_radius=scaled(self.face_radius))

    def widths(self, lengths: Array) -> Array:
        """`limb_widths` for lengths `[N]`."""
        return np.array(self.limb_widths)[np.searchsorted(self.limb_lengths, lengths, side="right")]


STYLES: dict[str, DrawStyle] = {
    "Moore": DrawStyle(),
    "MusePose": DrawStyle(face=False, limb_widths=(1, 2, 3, 4, 5, 6, 7, 8), limb_lengths=(5, 10, 20, 40, 80, 160, 320), hand_line=0,
                          hand_radius=3, swap_red_blue=True),
    "OpenPose": DrawStyle(face=False, one_by_one=True),
}
MOORE = STYLES["Moore"]


def check_picture(width: int, height: int) -> None:
    """Raises PoseError for a size of which no picture is drawn."""
    if not (1 <= width <= LARGEST_SIDE and 1 <= height <= LARGEST_SIDE):
        raise PoseError(f"width and height must be 1 to {LARGEST_SIDE} pixels to draw; got {width}x{height}")


def fit_points(points: Array, source: tuple[int, int], target: tuple[int, int], fit: Fit) -> Array:
    """Points `[..., 3]` of a canvas of `source` pixels (width, height) on one of `target`, as `fit_image` brings pictures there."""
    scales = np.divide(target, source)
    if fit != "stretch":
        scales[:] = scales.max() if fit == "crop" else scales.min()
    size = np.rint(np.multiply(source, scales)).clip(1)
    margin = (np.array(target) - size) // 2
    if (size == source).all() and not margin.any():
        return points  # float32 numbers as they are: see draw_people
    return points * np.append(size / source, 1) + np.append(margin, 0)


def draw_people(people: Array, width: int, height: int, style: DrawStyle = MOORE) -> Array:
    """The people of one frame on black: `[height, width, 3]` uint8, RGB unless the style swaps it.

    people `[P, 134, 3]`: x, y in pixels of this picture, score. P may be 0. A point off the picture is drawn as far as it is inside.
    Coordinates are cut to whole pixels towards zero, as the reference does, which can flip by the rounding of float32 where one is whole
    by a hair: give float64 where that matters.
    Raises PoseError for another shape or a size that is none.
    """
    if people.ndim != 3 or people.shape[1:] != (NUM_POINTS, 3):
        raise PoseError(f"people must be [people, {NUM_POINTS}, 3]; got shape {people.shape}")
    check_picture(width, height)
    canvas = Canvas(width, height, style.swap_red_blue)
    for group in people[:, None] if style.one_by_one else people[None]:
        draw_group(canvas, group, style)
    return canvas.picture


def draw_group(canvas: Canvas, people: Array, style: DrawStyle) -> None:
    """Bodies, then left hands, right hands and faces of people `[P, 134, 3]`."""
    places = people[..., :2].astype(np.float64)
    # in float32, so that a score of just the threshold stays one, whatever the caller's numbers are
    scores, threshold = people[..., 2].astype(np.float32), np.float32(style.score_threshold)
    near = (np.abs(places) < FARTHEST).all(-1) & (scores > 0)
    places = np.where(near[..., None], places, 0)
    pixels = places.astype(np.int64)
    body = near & (scores > threshold)
    # docs/method.md H.4: of hands and faces, what lies in the first column or row is left out, too
    detail = near & (scores >= threshold) & (pixels >= 1).all(-1)
    if style.body:
        draw_limbs(canvas, places[:, BODY], body[:, BODY], style)
    for part, wanted in ((BODY, style.body), (FEET, style.feet)):
        if wanted:
            point, person = np.nonzero(body[:, part].T)
            canvas.paint(canvas.discs(pixels[:, part][person, point], style.joint_radius), COLOURS[point])
    if style.hands:
        hands, seen = (np.concatenate([array[:, LEFT_HAND], array[:, RIGHT_HAND]]) for array in (pixels, detail))
        draw_hands(canvas, hands, seen, style)
    if style.face:
        point, dots = canvas.discs(pixels[:, FACE][detail[:, FACE]], style.face_radius)
        canvas.paint((np.zeros_like(point), dots), FACE_POINT)


def draw_limbs(canvas: Canvas, places: Array, seen: Array, style: DrawStyle) -> None:
    """places `[P, 18, 2]` float64, seen `[P, 18]`."""
    limb, person = np.nonzero((seen[:, FIRST] & seen[:, SECOND]).T)
    start, end = places[person, FIRST[limb]], places[person, SECOND[limb]]
    way = start - end
    lengths = np.sqrt((way * way).sum(-1))
    # by the C library: NumPy's vectorised arctan2 may be a last bit off, and one bit below 45 degrees is 44
    angles = np.array([int(math.degrees(math.atan2(y, x))) for x, y in way.tolist()], np.int64)
    axes = np.stack([(lengths / 2).astype(np.int64), style.widths(lengths)], axis=-1)
    ellipses = canvas.ellipses(((start + end) / 2).astype(np.int64), axes, angles)
    canvas.paint(ellipses, (COLOURS * style.limb_brightness).astype(np.uint8)[limb])


def draw_hands(canvas: Canvas, pixels: Array, seen: Array, style: DrawStyle) -> None:
    """pixels `[N, 21, 2]`, seen `[N, 21]`. Hand by hand: its fingers' lines, then its points."""
    hand, finger = np.nonzero(seen[:, FINGERS].all(-1))
    start, end = pixels[hand[:, None], FINGERS[finger]].swapaxes(0, 1)
    lengths = np.sqrt(((start - end).astype(np.float64) ** 2).sum(-1))
    lines = canvas.lines(start, end, np.full(len(start), style.hand_line) if style.hand_line else style.widths(lengths))
    points = canvas.discs(pixels[seen], style.hand_radius)
    colours = np.concatenate([FINGER_COLOURS, HAND_POINT])
    order = joined([(hand * len(colours) + finger, lines), (np.nonzero(seen)[0] * len(colours) + len(FINGERS), points)])
    canvas.paint(order, np.tile(colours, (len(pixels), 1)))


def draw_body(points: Array, width: int, height: int, stick_width: int = 4) -> Array:
    """One body alone in Moore's style, RGB `[height, width, 3]` uint8.

    points `[18, 3]`: x, y in pixels, score. stick_width: half the width of a limb, and the radius of a joint, in pixels.
    """
    person = np.zeros((1, NUM_POINTS, 3))
    person[0, BODY] = points
    return draw_people(person, width, height, replace(MOORE, hands=False, face=False).with_stick(stick_width))
