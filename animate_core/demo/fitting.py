"""A user's drawing on the built-in model's canvas, and the animated figure back on its own sheet, or on any background."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..pose.keypoints import PoseClip, body_clip
from .clip import HEIGHT, WIDTH
from .paper import Sheet, disc, ndimage, read_sheet, resized
from .skeleton import standing_skeleton

Array = np.ndarray

SAMPLE = Path(__file__).resolve().parents[2] / "models" / "demo" / "drawing.webp"
# Where the built-in model's characters stand: their height and the soles' line as parts of the canvas's height, and room at the sides
FIGURE, GROUND, WIDEST = 0.78, 0.947, 0.94
PLAIN, OWN, WHITE = "plain paper", "own paper", "white"
BACKGROUNDS = (PLAIN, OWN, WHITE)
DIFFERENT = (0.05, 0.15)  # difference from the background, of 1, at which a frame's pixel begins to be figure, and is it wholly
SPECK = 0.004  # of the canvas: smaller parts of a frame's figure are noise


@dataclass(frozen=True)
class Fitted:
    """A figure on its canvas, and its way back.

    picture, background `[H, W, 3]` float32 in [0, 1]: the canvas with and without the figure. mask `[H, W]`: the figure. pose: its first
    skeleton. sheet `[h, w, 3]`: the whole drawing without the figure, large enough for the canvas to lie within. left, top: where on it the
    canvas's corner lies; scale: pixels of the sheet in a pixel of the canvas. report: what was found, in a person's words.
    """

    picture: Array
    mask: Array
    background: Array
    pose: PoseClip
    sheet: Array
    left: int
    top: int
    scale: float
    report: str


def sample_drawing() -> Array:
    """The drawing that comes with the pack, `[H, W, 3]` float32 in [0, 1]."""
    with Image.open(SAMPLE) as picture:
        return np.asarray(picture.convert("RGB"), np.float32) / 255


def fit_drawing(picture: Array, mask: Array | None = None, *, which: int = 1, width: int = WIDTH, height: int = HEIGHT,
                figure_height: float = FIGURE, background: str = PLAIN) -> Fitted:
    """The figure of a drawing, as high as the model's characters, on their ground, in the middle.

    picture `[H, W, 3]` in [0, 1], mask and which: as in `read_sheet`. figure_height: part of the canvas's; less where the figure would be
    too wide. background: one of BACKGROUNDS. Raises DrawingError for a picture without a figure, ValueError for bad arguments.
    """
    if background not in BACKGROUNDS:
        raise ValueError(f"background: {background!r} is unknown; choose from: {', '.join(BACKGROUNDS)}")
    if not 0.2 <= figure_height <= 0.95:
        raise ValueError(f"figure_height must be between 0.2 and 0.95; got {figure_height}")
    drawing = read_sheet(picture, mask, which)
    rows, columns = (np.flatnonzero((drawing.mask > 0.5).any(axis)) for axis in (1, 0))
    tall, wide = rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0]
    scale = min(figure_height * height / tall, WIDEST * width / wide)
    middle = float((drawing.mask.sum(0) * np.arange(drawing.mask.shape[1])).sum() / drawing.mask.sum()) + 0.5
    side = (1 - WIDEST) / 2 * width / scale
    x = float(np.clip(middle - width / 2 / scale, columns[-1] + 1 + side - width / scale, columns[0] - side))
    y = rows[-1] + 1 - GROUND * height / scale
    sheet, region, left, top = enlarged(drawing, x, y, width / scale, height / scale)

    def on_canvas(image: Array) -> Array:
        return cropped(image, region, width, height).clip(0, 1)

    outside = ((top, sheet.shape[0] - top - len(drawing.mask)), (left, sheet.shape[1] - left - drawing.mask.shape[1]))
    shape = on_canvas(np.pad(drawing.mask, outside))
    figure = on_canvas(pad_with(drawing.levelled, outside, drawing.paper))
    behind = on_canvas(sheet) if background == OWN else np.broadcast_to(drawing.paper if background == PLAIN else 1.0, figure.shape)
    behind = np.ascontiguousarray(behind, np.float32)
    points, guesses = standing_skeleton(shape)
    return Fitted(picture=figure * shape[..., None] + behind * (1 - shape[..., None]), mask=shape, background=behind,
                  pose=body_clip(points[None], width, height), sheet=sheet, left=round(region[0]), top=round(region[1]), scale=1 / scale,
                  report="\n".join(said(drawing, picture, tall, scale, guesses)))


def said(drawing: Sheet, picture: Array, tall: int, scale: float, guesses: tuple[str, ...]) -> list[str]:
    """The report's lines."""
    high = tall / drawing.scale
    lines = [f"figure of {high:.0f} pixels in an image of {picture.shape[1]}x{picture.shape[0]}, "
             + ("reduced" if scale * drawing.scale < 1 else "enlarged") + f" to {high * scale * drawing.scale:.0f}", *drawing.notes]
    colour = "#" + "".join(f"{round(255 * float(part)):02x}" for part in drawing.paper)
    lines.append(f"paper colour: {colour}")
    lines += [f"skeleton: {guess}; usual proportions used, check it in Edit Pose" for guess in guesses]
    return lines


def enlarged(drawing: Sheet, x: float, y: float, wide: float, tall: float) -> tuple[Array, tuple[float, float, float, float], int, int]:
    """The sheet without the figure, so large that the region (x, y, wide, tall) of the drawing lies within; the region on it as left, top,
    right, bottom; and by how much it grew at the left and the top."""
    height, width = drawing.mask.shape
    left, top = max(0, int(np.ceil(-x))), max(0, int(np.ceil(-y)))
    right, bottom = max(0, int(np.ceil(x + wide - width))), max(0, int(np.ceil(y + tall - height)))
    sheet = drawing.bare(left, top, right, bottom)
    return sheet, (x + left, y + top, x + left + wide, y + top + tall), left, top


def pad_with(image: Array, widths: tuple[tuple[int, int], tuple[int, int]], colour: Array) -> Array:
    """A picture with a border of one colour."""
    (top, bottom), (left, right) = widths
    out = np.broadcast_to(colour, (top + image.shape[0] + bottom, left + image.shape[1] + right, 3)).astype(np.float32)
    out[top:top + image.shape[0], left:left + image.shape[1]] = image
    return out


def cropped(image: Array, region: tuple[float, float, float, float], width: int, height: int) -> Array:
    """A region (left, top, right, bottom) of a float32 picture `[h, w]` or `[h, w, 3]` at another size."""
    # a reduced picture's pixels are means, an enlarged one's are blended
    how = Image.Resampling.BOX if region[2] - region[0] > width else Image.Resampling.BICUBIC
    region = (max(0.0, region[0]), max(0.0, region[1]), min(float(image.shape[1]), region[2]), min(float(image.shape[0]), region[3]))
    layers = [image] if image.ndim == 2 else [image[..., i] for i in range(image.shape[-1])]
    made = [np.asarray(Image.fromarray(np.ascontiguousarray(layer, np.float32)).resize((width, height), how, region)) for layer in layers]
    return made[0] if image.ndim == 2 else np.stack(made, axis=-1)


# -------------------------------------------------------------------------------------------------------------------------------- back

def figure_in(frame: Array, background: Array) -> Array:
    """Where a frame `[H, W, 3]` in [0, 1] differs from its background: the figure, `[H, W]` in [0, 1], what it encloses filled.

    A cast over the whole frame, which a model may add, counts for nothing.
    """
    nd = ndimage()
    low, high = DIFFERENT
    edge = np.ones(frame.shape[:2], bool)
    margin = max(1, round(0.04 * max(edge.shape)))
    edge[margin:-margin, margin:-margin] = False
    background = background + np.median((frame - background)[edge], axis=0)
    off = np.clip((np.abs(frame - background).max(-1) - low) / (high - low), 0, 1)
    labels, count = nd.label(off > 0.5)
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    speck = labels * (areas[labels] < SPECK * labels.size) > 0
    solid = (off > 0.5) & ~speck
    filled = nd.binary_fill_holes(solid)
    return np.asarray(np.where(nd.binary_erosion(filled), 1.0, off * nd.binary_dilation(filled, disc(1))), np.float32)


def put_back(frame: Array, fitted: Fitted, background: Array | None = None, longer_side: int = 640) -> tuple[Array, Array]:
    """An animated frame `[h, w, 3]` in [0, 1] of the canvas, at any size, on the figure's own sheet or on a background `[H, W, 3]`.

    The background is cropped to the sheet's shape. Gives the picture, its longer side at most `longer_side`, both even, and the figure's
    mask, `[H', W', 3]` and `[H', W']` float32.
    """
    tall, wide = fitted.sheet.shape[:2]
    ratio = min(1.0, longer_side / max(tall, wide))
    width, height = (max(2, 2 * round(side * ratio / 2)) for side in (wide, tall))
    under = resized(fitted.sheet, width, height) if background is None else covering(background, width, height)
    behind = fitted.background if frame.shape[:2] == fitted.background.shape[:2] else resized(fitted.background, frame.shape[1],
                                                                                              frame.shape[0])
    alpha = figure_in(frame, behind)
    # the colour of the figure alone: at its edge the background is mixed in
    share = alpha[..., None]
    colour = np.where(share > 0.02, (frame - behind * (1 - share)) / np.maximum(share, 0.3), frame).clip(0, 1)
    across, down = width / wide, height / tall
    place = (round(fitted.left * across), round(fitted.top * down))
    size = (max(1, round(fitted.picture.shape[1] * fitted.scale * across)), max(1, round(fitted.picture.shape[0] * fitted.scale * down)))
    shape = resized(alpha, *size).clip(0, 1)
    premultiplied = resized((colour * share).astype(np.float32), *size).clip(0, shape[..., None])
    out, mask = under.copy(), np.zeros((height, width), np.float32)
    rows, columns = min(size[1], height - place[1]), min(size[0], width - place[0])
    there = (slice(place[1], place[1] + rows), slice(place[0], place[0] + columns))
    out[there] = out[there] * (1 - shape[:rows, :columns, None]) + premultiplied[:rows, :columns]
    mask[there] = shape[:rows, :columns]
    return out.clip(0, 1), mask


def covering(picture: Array, width: int, height: int) -> Array:
    """A picture cut at its longer sides to the shape of width x height, and resized."""
    tall, wide = picture.shape[:2]
    part = min(wide / width, tall / height)
    left, top = (wide - part * width) / 2, (tall - part * height) / 2
    return cropped(picture.astype(np.float32), (left, top, left + part * width, top + part * height), width, height).clip(0, 1)
