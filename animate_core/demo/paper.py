"""A figure on its paper: the light levelled, printed lines told from strokes, the figure found, the sheet without it.

All lengths are parts of the picture's longer side, so that a scan and a phone's photograph of one sheet give the same.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

Array = np.ndarray

MOST_SIDE, LEAST_SIDE = 1024, 480  # larger pictures are reduced to, smaller ones enlarged to about, this longer side
LEAST_FIGURE = 20  # pixels of the picture: a lower figure shows too little to animate
LEAST_INK = 7.0  # Lab distance from the paper at which something is drawn, if the paper has no noise
LEAST_STROKES = 0.002  # share of the picture
MOST_FIGURE = 0.9  # share of the picture: beyond it no paper is left to tell the figure from
ANOTHER = 0.3  # a figure of so much of the largest's area is another figure, not a detail
RECTANGLE = 0.93  # a figure that fills so much of a rectangle is the sheet itself, on a table
FLAT_SIDES = 0.35  # a thing along so much of a side of the picture is the table's edge, not a figure
SLOPES = np.linspace(-0.08, 0.08, 81)  # of printed lines: a sheet photographed askew by up to 4.5 degrees


class DrawingError(ValueError):
    """A picture in which no figure can be found: what is wrong, and what would be right."""


@dataclass(frozen=True)
class Sheet:
    """A drawing, at `scale` times its picture's size.

    levelled `[H, W, 3]` float32 in [0, 1]: the picture in even light. mask `[H, W]` float32 in [0, 1]: the figure. hidden `[H, W]` bool: it
    and what its edge colours. paper `[3]`: the sheet's colour. tilts: slopes of the printed lines, level and upright; None without lines.
    found: how many figures there are. notes: what a person should know.
    """

    levelled: Array
    mask: Array
    hidden: Array
    paper: Array
    tilts: tuple[float, float] | None
    scale: float
    found: int
    notes: tuple[str, ...]

    def bare(self, left: int = 0, top: int = 0, right: int = 0, bottom: int = 0) -> Array:
        """The sheet without the figure, enlarged by so many pixels on each side `[top + H + bottom, left + W + right, 3]`; lines go on."""
        height, width = self.mask.shape
        rows, columns = np.arange(-top, height + bottom), np.arange(-left, width + right)
        out = np.broadcast_to(self.paper, (len(rows), len(columns), 3)).copy()
        if self.tilts:
            level = usual(self.levelled, self.hidden, self.paper, self.tilts[0], rows, columns)
            turned = usual(self.levelled.transpose(1, 0, 2), self.hidden.T, self.paper, self.tilts[1], columns, rows)
            out = (level + turned.transpose(1, 0, 2) - self.paper).clip(0, 1)
        soft = np.clip(ndimage().gaussian_filter(self.hidden.astype(np.float32), 2) * 2, 0, 1)
        soft[self.hidden] = 1
        inside = out[top:top + height, left:left + width]
        inside[:] = self.levelled * (1 - soft[..., None]) + inside * soft[..., None]
        return out.astype(np.float32)


def ndimage() -> Any:
    """scipy.ndimage. Raises DrawingError if scipy is missing."""
    try:
        import scipy.ndimage
    except ImportError as error:
        raise DrawingError("Fit Drawing needs the package scipy, which is part of ComfyUI; install it: pip install scipy") from error
    return scipy.ndimage


def to_lab(rgb: Array) -> Array:
    """`[H, W, 3]` in [0, 1] -> CIE Lab. Raises DrawingError if kornia is missing."""
    try:
        from kornia.color import rgb_to_lab
    except ImportError as error:
        raise DrawingError("Fit Drawing needs the package kornia, which is part of ComfyUI; install it: pip install kornia") from error
    return np.asarray(rgb_to_lab(torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))[None])[0]).transpose(1, 2, 0)


def disc(radius: float) -> Array:
    r = max(1, round(radius))
    y, x = np.mgrid[-r:r + 1, -r:r + 1]
    return np.asarray(x * x + y * y <= (r + 0.4) ** 2)


def closed(mask: Array, radius: float) -> Array:
    """Gaps up to twice the radius bridged, then what is enclosed filled; the border is no wall."""
    r = max(1, round(radius))
    nd = ndimage()
    far = nd.distance_transform_edt(~np.pad(mask, 2 * r)) <= r  # dilation by a disc
    shut = nd.distance_transform_edt(far) > r
    return np.asarray(nd.binary_fill_holes(shut | np.pad(mask, 2 * r))[2 * r:-2 * r, 2 * r:-2 * r])


# ------------------------------------------------------------------------------------------------------------------------------- light

def resized(image: Array, width: int, height: int, nearest: bool = False) -> Array:
    """float32 `[h, w]` or `[h, w, 3]` at another size."""
    if image.shape[:2] == (height, width):
        return image
    how = Image.Resampling.NEAREST if nearest else Image.Resampling.BOX if width < image.shape[1] else Image.Resampling.BICUBIC
    layers = [image] if image.ndim == 2 else [image[..., i] for i in range(image.shape[-1])]
    made = [np.asarray(Image.fromarray(np.ascontiguousarray(layer, np.float32)).resize((width, height), how)) for layer in layers]
    return made[0] if image.ndim == 2 else np.stack(made, axis=-1)


def monomials(height: int, width: int, order: int) -> Array:
    """`[H * W, N]`: products of powers of x and y in [-1, 1] up to an order."""
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    return np.stack([(x**i * y**k).ravel() for i in range(order + 1) for k in range(order + 1 - i)], axis=-1)


def paper_light(picture: Array) -> tuple[Array, Array]:
    """The bare paper's colour at each pixel `[H, W, 3]`, and its share of the evidence at a coarse grid.

    A smooth surface through what most of the picture agrees on: robust fits of growing order, begun once from the border and once from
    the commonest colour; the one that explains more of the picture counts.
    """
    height, width = picture.shape[:2]
    scale = 128 / max(height, width)
    h, w = max(8, round(height * scale)), max(8, round(width * scale))
    small = resized(picture, w, h).reshape(-1, 3)
    edge = np.ones((h, w), bool)
    edge[max(1, h // 12):-max(1, h // 12), max(1, w // 12):-max(1, w // 12)] = False
    shades, inverse, counts = np.unique((small * 12).round().astype(int), axis=0, return_inverse=True, return_counts=True)
    common = small[inverse.ravel() == counts.argmax()].mean(0)
    best, trust, share = np.zeros((len(small), 3)), np.zeros(len(small)), -1.0
    for start in (np.median(small[edge.ravel()], axis=0), common):
        field = np.tile(start, (len(small), 1))
        for order, spread in ((1, 0.3), (1, 0.2), (2, 0.14), (2, 0.1), (3, 0.08), (3, 0.06), (3, 0.06)):
            off = np.abs(small - field).max(-1) / spread
            weight = np.where(off < 1, (1 - off**2) ** 2, 0)
            if weight.sum() < 40:
                break
            base = monomials(h, w, order)
            root = np.sqrt(weight)[:, None]
            field = base @ np.linalg.lstsq(base * root, small * root, rcond=None)[0]
        if (weight > 0.2).mean() > share:
            best, trust, share = field, weight, float((weight > 0.2).mean())
    # what the surface misses nearby, as folds do
    seen, rest = trust.reshape(h, w), (small - best).reshape(h, w, 3)
    blur = ndimage().gaussian_filter
    support = blur(seen, 5)
    local = np.stack([blur(rest[..., i] * seen, 5) / np.maximum(support, 0.15) for i in range(3)], axis=-1)
    return resized((best.reshape(h, w, 3) + local).astype(np.float32), width, height), seen


# ------------------------------------------------------------------------------------------------------------------------------- lines

def printed_rows(ink: Array) -> tuple[Array, Array, float]:
    """`[H, W]` bool each: what is thin across the rows; and where straight lines, level or nearly so, run across the whole sheet. Their
    slope."""
    height, width = ink.shape
    thick = max(3, round(0.012 * max(height, width)))
    thin = np.asarray(ink & ~ndimage().binary_opening(ink, np.ones((thick + 1, 1), bool)))
    y, x = np.nonzero(thin)
    best, rows, tilt = 0.0, np.zeros(3 * height, bool), 0.0
    for slope in SLOPES:
        share = np.bincount(np.round(y - slope * (x - width / 2)).astype(int) + height, minlength=3 * height) / width
        if (score := float((share**2).sum())) > best:
            # a line that is drawn askew lies in two rows at times
            share = np.convolve(share, np.ones(3), "same")
            best, tilt, rows = score, slope, share > 0.4
            if share.max() < 0.8 and (rows[1:] & ~rows[:-1]).sum() < 3:
                rows = np.zeros_like(rows)
    rows = np.convolve(rows, np.ones(3), "same") > 0  # a photograph's compression blurs them
    place = np.arange(height)[:, None] - tilt * (np.arange(width) - width / 2)
    return thin, np.asarray(rows[np.round(place).astype(int) + height]), tilt if rows.any() else 0.0


def printed_lines(ink: Array, contrast: Array) -> tuple[Array, tuple[float, float]]:
    """The lines of ruled and squared paper, `[H, W]` bool, and their slopes; strokes that cross them, which are darker, stay."""
    level, rows, row_tilt = printed_rows(ink)
    upright, columns, column_tilt = printed_rows(ink.T)
    lines = ink & (level & rows | upright.T & columns.T | rows & columns.T)
    if lines.any():
        lines &= contrast < 1.4 * np.quantile(contrast[level & rows | upright.T & columns.T], 0.9)
    return np.asarray(lines), (row_tilt, column_tilt)


def usual(levelled: Array, hidden: Array, paper: Array, tilt: float, rows: Array, columns: Array) -> Array:
    """The median along tilted rows of what is not hidden, at the given rows and columns, `[rows, columns, 3]`: a ruled sheet's lines.

    The paper's colour where little is seen.
    """
    height, width = hidden.shape

    def shift(x: Array) -> Array:
        return np.round(tilt * (x - width / 2)).astype(int)

    across = np.arange(width)
    there = np.arange(height)[:, None] + shift(across)
    outside = (there < 0) | (there >= height)
    there = there.clip(0, height - 1)
    seen = np.where((hidden[there, across] | outside)[..., None], np.nan, levelled[there, across])
    seen[(~np.isnan(seen[..., 0])).mean(1) < 0.2] = paper
    lines = np.nanmedian(seen, axis=1)
    place = rows[:, None] - shift(columns)
    return np.asarray(np.where(((place < 0) | (place >= height))[..., None], paper, lines[place.clip(0, height - 1)]), np.float32)


# ------------------------------------------------------------------------------------------------------------------------------ figure

def figures(strokes: Array) -> tuple[list[Array], bool]:
    """Masks of the figures, the largest first, outlines filled; and whether any was left out as a thing along the picture's border."""
    nd = ndimage()
    side = max(strokes.shape)
    whole = closed(strokes, 0.004 * side)
    wide = closed(strokes, 0.012 * side)
    if wide.sum() > 1.25 * whole.sum():
        whole = wide  # an outline had gaps
    # what lies close by belongs together: eyes and hair, hands beside their arms
    labels, count = nd.label(nd.distance_transform_edt(~whole) <= 0.008 * side)
    parts = []
    edges = False
    for index, place in enumerate(nd.find_objects(labels), 1):
        part = np.zeros_like(whole)
        part[place] = whole[place] & (labels[place] == index)
        if part.sum() < 0.0004 * side * side:
            continue
        along = [float(line.mean()) for line in (part[0], part[-1], part[:, 0], part[:, -1])]
        if max(along) > FLAT_SIDES or sum(share > 0 for share in along) > 2:
            edges = True
            if count > 1:
                continue
        parts.append(part)
    return sorted(parts, key=lambda part: -int(part.sum())), edges


def figure_of(parts: list[Array], which: int) -> tuple[Array, int]:
    """The which-th largest figure, and how many there are. Raises DrawingError."""
    sizes = [int(part.sum()) for part in parts]
    found = sum(size > ANOTHER * sizes[0] for size in sizes)
    if which > len(parts):
        raise DrawingError(f"which: figure {which} does not exist; {len(parts)} found in the image")
    return parts[which - 1], found


def read_mask(mask: Array, height: int, width: int) -> tuple[Array, bool] | None:
    """A figure's mask at the picture's size, from what came with it, and whether the rest is transparent; None where it says nothing, being
    of one value.

    Load Image gives 1 where a picture is transparent, a painted mask 1 where the figure is: 1 along most of the border is the former.
    Raises DrawingError for a mask of another shape.
    """
    mask = np.clip(mask, 0, 1)
    if mask.max() - mask.min() < 0.5:
        return None
    if abs(mask.shape[1] / mask.shape[0] * height / width - 1) > 0.05:
        raise DrawingError(f"mask: {mask.shape[1]}x{mask.shape[0]} pixels do not have the shape of the image, {width}x{height}; "
                           "connect the mask of this image")
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    transparent = bool((border > 0.5).mean() > 0.5)
    return resized(1 - mask if transparent else mask, width, height), transparent


def read_sheet(picture: Array, mask: Array | None = None, which: int = 1) -> Sheet:
    """Finds the figure.

    picture `[H, W, 3]` in [0, 1]. mask `[h, w]` in [0, 1]: of the figure, or of what is transparent; see `read_mask`. which: 1 is the
    largest figure, 2 the next. Raises DrawingError for a picture without a figure to be found.
    """
    height, width = picture.shape[:2]
    if min(height, width) < LEAST_FIGURE:
        raise DrawingError(f"the image is too small: {width}x{height} pixels; the figure must be at least {LEAST_FIGURE} pixels high")
    longer = max(height, width)
    enlarge = -(-LEAST_SIDE // longer) if longer < LEAST_SIDE else 0
    scale = float(enlarge) if enlarge else min(1.0, MOST_SIDE / longer)
    h, w = max(1, round(height * scale)), max(1, round(width * scale))
    if min(h, w) < LEAST_FIGURE:
        raise DrawingError(f"the image is a strip of {width}x{height} pixels; crop it to the figure")
    sized = resized(picture.astype(np.float32), w, h, nearest=bool(enlarge))
    given = None if mask is None else read_mask(mask, height, width)
    if given is None:
        return found_sheet(sized, scale, which)
    return masked_sheet(sized, resized(given[0], w, h, nearest=bool(enlarge)), given[1], scale, which)


def masked_sheet(picture: Array, mask: Array, transparent: bool, scale: float, which: int) -> Sheet:
    """A drawing whose figure is known. picture and mask at `scale` times their size."""
    parts, _ = figures(mask > 0.5)
    if not parts:
        raise DrawingError("mask: it is empty; paint the figure, or disconnect the mask to detect the figure")
    chosen, found = figure_of(parts, which)
    if transparent:
        # whatever colour lies under transparency is nobody's
        levelled, paper = np.where(mask[..., None] > 0.02, picture, 1).astype(np.float32), np.ones(3, np.float32)
    else:
        levelled, paper, _, _ = even_light(picture)
    soft = np.where(ndimage().binary_dilation(chosen, disc(2)) & (mask > 0.02), mask, 0).astype(np.float32)
    return sheet_of(levelled, soft, chosen, paper, None, scale, found, which, ["the figure is the mask's"])


def found_sheet(picture: Array, scale: float, which: int, on_table: bool = False) -> Sheet:
    """A drawing whose figure is to be found. picture at `scale` times its size; on_table: it is a sheet that was cut out of one."""
    levelled, paper, contrast, limit = even_light(picture)
    strokes, tilts = strokes_of(contrast, limit)
    parts, edges = figures(strokes)
    if not parts:
        raise DrawingError("no figure found: there are only specks, or strokes along the border of the image. Use a photo of the sheet "
                           "alone, or a mask of the figure")
    chosen, found = figure_of(parts, which)
    if not on_table and (inside := sheet_on_table(chosen)) is not None:
        with suppress(DrawingError):  # nothing is drawn on it: a figure as square as a sheet
            return found_sheet(cut_out(picture, inside), scale, which, on_table=True)
    if chosen.mean() > MOST_FIGURE:
        raise DrawingError("no bare paper around the figure, or not a drawing on paper: the image needs a margin of plain paper, or a mask "
                           "of the figure")
    notes = ["the sheet was cut out of the image"] if on_table else []
    if tilts:
        notes.append("printed lines ignored")
    if edges:
        notes.append("strokes along the border of the image ignored")
    soft = np.clip(ndimage().gaussian_filter(chosen.astype(np.float32), 0.0008 * max(chosen.shape)), 0, 1)
    return sheet_of(levelled, soft, chosen, paper, tilts, scale, found, which, notes)


def sheet_of(levelled: Array, soft: Array, chosen: Array, paper: Array, tilts: tuple[float, float] | None, scale: float, found: int,
             which: int, notes: list[str]) -> Sheet:
    """Raises DrawingError for a figure that is too low."""
    rows = np.flatnonzero(chosen.any(1))
    tall = (rows[-1] + 1 - rows[0]) / scale
    if tall < LEAST_FIGURE:
        raise DrawingError(f"the figure is only {tall:.0f} pixels high and must have at least {LEAST_FIGURE}; use a larger image, or a "
                           "crop of the full-size one")
    if found > 1:
        notes.append(f"{found} figures found; using number {which} by size (which)")
    hidden = np.asarray(ndimage().distance_transform_edt(~chosen) <= 0.008 * max(chosen.shape))
    return Sheet(levelled, soft, hidden, paper, tilts, scale, found, tuple(notes))


def sheet_on_table(figure: Array) -> Array | None:
    """Where a large rectangle lies in the picture, a little within its edges `[H, W]` bool; None where the figure is none."""
    if figure.mean() < 0.2:
        return None
    y, x = np.nonzero(figure & ~ndimage().binary_erosion(figure))
    turns = np.radians(np.arange(-15, 16))
    area = min(np.ptp(x * np.cos(a) + y * np.sin(a)) * np.ptp(y * np.cos(a) - x * np.sin(a)) for a in turns)
    if figure.sum() < RECTANGLE * area:
        return None
    return np.asarray(ndimage().distance_transform_edt(np.pad(figure, 1))[1:-1, 1:-1] > 0.012 * max(figure.shape))


def cut_out(picture: Array, inside: Array) -> Array:
    """The box of a part of the picture, what lies outside of the part taken from its nearest pixel."""
    nearest = ndimage().distance_transform_edt(~inside, return_distances=False, return_indices=True)
    rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    return np.asarray(picture[tuple(nearest)][rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1])


def even_light(picture: Array) -> tuple[Array, Array, Array, float]:
    """The picture in even light, its paper's colour `[3]`, each pixel's Lab distance from it `[H, W]`, and from which on it is drawn.

    Raises DrawingError for a picture of one colour.
    """
    light, trust = paper_light(picture)
    paper = np.quantile(light.reshape(-1, 3), 0.9, axis=0).clip(0.02, 1).astype(np.float32)
    levelled = np.clip(picture * (paper / np.maximum(light, 0.02)).clip(0.4, 3), 0, 1).astype(np.float32)
    fine = 0.0007 * max(picture.shape)
    smooth = ndimage().gaussian_filter(levelled, (fine, fine, 0))
    contrast = np.linalg.norm(to_lab(smooth) - to_lab(paper[None, None]), axis=-1)
    calm = resized(trust.astype(np.float32), picture.shape[1], picture.shape[0]) > 0.6
    noise = float(np.quantile(contrast[calm], 0.75)) if calm.any() else 0.0
    limit = max(LEAST_INK, 2.5 * noise)
    if np.quantile(contrast, 1 - LEAST_STROKES) < limit:
        raise DrawingError("the image has (nearly) one colour: too little on it differs from the paper")
    return levelled, paper, contrast, limit


def strokes_of(contrast: Array, limit: float) -> tuple[Array, tuple[float, float] | None]:
    """What is drawn `[H, W]` bool, without the paper's printed lines, and their slopes, None without lines."""
    nd = ndimage()
    lines, tilts = printed_lines(contrast > 0.5 * limit, contrast)
    weak = (contrast > limit) & ~lines
    labels, _ = nd.label(weak, np.ones((3, 3)))
    strong = np.unique(labels[contrast > 1.6 * limit])
    strokes = weak & np.isin(labels, strong[strong > 0])
    if lines.any():
        # the strokes go on where a line crossed them; remains of lines are thinner than strokes
        strokes = nd.binary_closing(np.pad(strokes, 4), disc(2))[4:-4, 4:-4] & (strokes | lines)
        labels, count = nd.label(strokes, np.ones((3, 3)))
        areas = np.bincount(labels.ravel())
        strokes &= areas[labels] > 0.0002 * max(strokes.shape) ** 2
    return strokes, tilts if lines.any() else None
