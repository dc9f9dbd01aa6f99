"""A character off its background: its mask, estimated where none is given; a plate in a colour that it does not have; what lies behind it.

The estimate is in the manner of GrabCut (Rother, Kolmogorov, Blake 2004): colours of figure and background as mixtures of Gaussians, fitted
in turn with the mask; the mask is smoothed as a random walk with priors (Grady, "Multilabel Random Walker", 2005), one sparse
linear system.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..demo.paper import ndimage, to_lab
from ..pose.keypoints import FACE, L_HIP, L_SHOULDER, LIMBS, NECK, NOSE, R_HIP, R_SHOULDER, SCORE_THRESHOLD
from .matte import Matting, are_hard, behind_figure, finished, own_colours, refined
from .pictures import dilated, resized

Array = np.ndarray

LONGER_SIDE = 160  # of the picture in which the mask is estimated
ROUNDS = 4
COLOURS = 6  # Gaussians for each of figure and background
LIMB, REACH = 0.035, 0.12  # half a limb's width, and how far hair and clothes reach from the skeleton, in heights of the body
UNLIKE = 4.0  # log likelihood below the background's usual at which a pixel is hardly background
PLACE = 0.35  # weight of where a pixel is, against its colour, in the background's mixture
PLATES = {"green": (0, 177, 64), "blue": (0, 71, 187), "magenta": (200, 40, 160), "cyan": (40, 190, 200), "yellow": (230, 210, 40),
          "red": (200, 40, 40), "white": (240, 240, 240), "grey": (128, 128, 128)}


@dataclass(frozen=True)
class Isolated:
    """picture, background `[1, 3, H, W]` in [0, 1]: the character on its plate; the picture without it. mask `[1, 1, H, W]`. plate `[3]`:
    its colour."""

    picture: Tensor
    background: Tensor
    mask: Tensor
    plate: Tensor


def isolate(picture: Tensor, mask: Tensor | None = None, people: Array | None = None, plate: Tensor | None = None,
            matting: Matting | None = None) -> Isolated:
    """The character of a picture `[1, 3, H, W]` in [0, 1].

    mask `[1, 1, H, W]`: of the character; estimated if it is not given. people `[P, 134, 3]`: skeletons in the picture's pixels, which help
    the estimate. plate `[3]`: its colour; the one farthest from the character's if it is not given. Raises ValueError for a mask, or an
    estimate, without a figure.
    """
    matting = matting or Matting()
    if mask is None:
        mask = estimate_mask(picture, people)
    if not 0 < float((mask > 0.5).float().mean()) < 0.98:
        raise ValueError("mask: it is empty, or covers the whole image; it must be 1 on the character and 0 elsewhere")
    alpha = finished(refined(picture, mask) if are_hard(mask) else mask, matting)
    colours = own_colours(picture, alpha, behind_figure(picture, alpha, None), matting.despill)
    plate = farthest_plate(colours, alpha) if plate is None else plate.to(picture)
    return Isolated(colours * alpha + plate.view(3, 1, 1) * (1 - alpha), filled(picture, alpha), alpha, plate)


def farthest_plate(colours: Tensor, alpha: Tensor) -> Tensor:
    """The colour of PLATES, `[3]`, whose nearest colours of the character are farthest from it, by Lab distance."""
    own = colours.movedim(1, -1)[alpha[:, 0] > 0.9]
    own = own[:: max(1, len(own) // 4000)]
    choices = torch.tensor(list(PLATES.values()), dtype=torch.float32) / 255
    lab, others = (torch.from_numpy(to_lab(np.asarray(x.cpu(), np.float32)[None])[0].copy()) for x in (own, choices))
    # a few pixels of eyes or buttons do not decide
    near = torch.cdist(others, lab).quantile(0.02, dim=1)
    return choices[int(near.argmax())].to(colours)


# ------------------------------------------------------------------------------------------------------------------------------ estimate

def estimate_mask(picture: Tensor, people: Array | None = None) -> Tensor:
    """The mask `[1, 1, H, W]` of a picture's character; the skeletons' where there are any, else what its border does not explain.

    Raises ValueError where no figure stands out.
    """
    height, width = picture.shape[-2:]
    scale = min(1.0, LONGER_SIDE / max(height, width))
    w, h = max(8, round(width * scale)), max(8, round(height * scale))
    small = np.asarray(resized(picture, w, h)[0].movedim(0, -1).cpu(), np.float32)
    known = people is not None and bool((people[:, :FACE.start, 2] > SCORE_THRESHOLD).any())
    prior, sure_figure, sure_behind = by_skeleton(people * (scale, scale, 1), h, w) if people is not None and known else by_border(h, w)
    figure = grown_mask(to_lab(small) / 100, prior, sure_figure, sure_behind)
    found = largest(figure > 0.5, sure_figure)
    if not found.any():
        raise ValueError("no character stands out from the background; connect its mask, or its skeleton to pose")
    soft = torch.from_numpy(np.where(found, figure, np.minimum(figure, 0.49)).astype(np.float32))[None, None].to(picture)
    large = F.interpolate(soft, (height, width), mode="bicubic").clamp(0, 1)
    return refined(picture, (large > 0.5).float())


def by_border(height: int, width: int) -> tuple[Array, Array, Array]:
    """Without a skeleton: log odds of figure by place, no sure figure, the border as sure background, but for the lower edge, on which a
    figure may stand."""
    y, x = np.mgrid[:height, :width]
    across, down = (x + 0.5) / width - 0.5, (y + 0.5) / height - 0.55
    prior = 1.0 - 14 * across**2 - 7 * down**2
    behind = np.zeros((height, width), bool)
    side = max(1, round(0.03 * max(height, width)))
    behind[:side] = behind[:-side, :side] = behind[:-side, -side:] = True
    return prior, np.zeros_like(behind), behind


def by_skeleton(people: Array, height: int, width: int) -> tuple[Array, Array, Array]:
    """Log odds of figure by the distance from a skeleton `[P, 134, 3]`, what is surely figure, and surely background. Each `[H, W]`."""
    prior, sure, away = np.full((height, width), -6.0), np.zeros((height, width), bool), np.ones((height, width), bool)
    for person in people:
        far, tall = from_limbs(person, height, width)
        prior = np.maximum(prior, 4 * np.tanh((0.5 * (LIMB + REACH) - far / tall) / (0.35 * (REACH - LIMB))))
        sure |= far < 0.4 * LIMB * tall
        away &= far > 1.6 * REACH * tall
    return prior, sure, away


def from_limbs(person: Array, height: int, width: int) -> tuple[Array, float]:
    """Each pixel's distance from a person's limbs, trunk and head `[H, W]`, in pixels, and the person's height."""
    seen = person[:, 2] > SCORE_THRESHOLD
    if not seen[:FACE.start].any():
        return np.full((height, width), 1e6), 1.0
    spots = person[:FACE.start][seen[:FACE.start], :2]
    tall = max(8.0, float(np.ptp(spots[:, 1])), float(np.ptp(spots[:, 0])))
    y, x = np.mgrid[:height, :width] + 0.5
    far = np.full((height, width), 1e6)
    trunk = [(a, b) for a in (R_SHOULDER, L_SHOULDER, NECK) for b in (R_HIP, L_HIP)] + [(R_SHOULDER, L_SHOULDER), (R_HIP, L_HIP)]
    for a, b in [*LIMBS, *trunk]:
        if seen[a] and seen[b]:
            start, way = person[a, :2], person[b, :2] - person[a, :2]
            along = (((x - start[0]) * way[0] + (y - start[1]) * way[1]) / max(1e-6, float(way @ way))).clip(0, 1)
            far = np.minimum(far, np.hypot(x - start[0] - along * way[0], y - start[1] - along * way[1]))
    if seen[NOSE]:
        # a head is as wide as it is far from its neck
        radius = 0.6 * float(np.hypot(*(person[NOSE, :2] - person[NECK, :2]))) if seen[NECK] else 0.06 * tall
        far = np.minimum(far, np.hypot(x - person[NOSE, 0], y - person[NOSE, 1]) - radius)
    return far, tall


def grown_mask(lab: Array, prior: Array, sure_figure: Array, sure_behind: Array) -> Array:
    """The figure's probability `[H, W]`: colour mixtures and mask, in turn."""
    height, width = prior.shape
    y, x = np.mgrid[:height, :width] / max(height, width)
    lab = lab.astype(np.float64)
    placed = np.concatenate([lab, PLACE * np.stack([y, x], -1)], -1)
    walk = walker(lab)
    figure = np.where(sure_figure, 1.0, np.where(sure_behind, 0.0, prior > 0))
    behind = likelihood(placed, sure_behind)
    for _ in range(ROUNDS):
        usual = np.median(behind[sure_behind])
        # a figure's colours are learnt where the background does not explain them
        own = (figure > 0.5) & (behind < usual - UNLIKE)
        area = PLACE**2 * float(own.sum()) / max(height, width) ** 2
        odds = prior + likelihood(lab, own | sure_figure) - np.log(max(area, 1e-6)) - behind
        evidence = 1 / (1 + np.exp(-odds.clip(-8, 8)))
        evidence[sure_figure], evidence[sure_behind] = 1, 0
        figure = walk(evidence)
        if figure.max() < 0.5:
            break
        behind = likelihood(placed, (figure < 0.5) & ~sure_figure)
    return np.asarray(figure)


def likelihood(features: Array, where: Array) -> Array:
    """Log likelihood `[H, W]` of features `[H, W, N]` under Gaussians fitted to some pixels."""
    from scipy.cluster.vq import kmeans2

    data = features[where]
    size = features.shape[-1]
    if len(data) < 4 * size:
        return np.full(where.shape, -20.0)
    data = data[:: max(1, len(data) // 6000)]
    _, label = kmeans2(data, min(COLOURS, len(data) // (2 * size)), minit="++", seed=0)
    scores = []
    for index in range(label.max() + 1):
        own = data[label == index]
        if len(own) <= size:
            continue
        spread = np.cov(own.T) + np.eye(size) * 4e-4
        off = features - own.mean(0)
        scores.append(np.log(len(own) / len(data)) - 0.5 * (np.einsum("hwi,ij,hwj->hw", off, np.linalg.inv(spread), off)
                                                           + np.linalg.slogdet(spread)[1] + size * np.log(2 * np.pi)))
    return np.asarray(np.logaddexp.reduce(scores, axis=0))


def walker(lab: Array, contrast: float = 300.0, trust: float = 0.12) -> Callable[[Array], Array]:
    """What smooths evidence `[H, W]` along the picture's colours: neighbours agree unless there is an edge between them."""
    from scipy.sparse import coo_matrix, diags
    from scipy.sparse.linalg import factorized

    height, width = lab.shape[:2]
    index = np.arange(height * width).reshape(height, width)
    rows, columns, weights = [], [], []
    for a, b in (((slice(None), slice(None, -1)), (slice(None), slice(1, None))), ((slice(None, -1),), (slice(1, None),))):
        rows.append(index[a].ravel())
        columns.append(index[b].ravel())
        weights.append(np.exp(-contrast * ((lab[a] - lab[b]) ** 2).sum(-1)).ravel() + 1e-3)
    i, j, value = (np.concatenate(x) for x in (rows, columns, weights))
    links = coo_matrix((value, (i, j)), (index.size, index.size))
    links = (links + links.T).tocsc()
    solve = factorized((diags(np.asarray(links.sum(1)).ravel() + trust) - links).tocsc())
    return lambda evidence: solve(trust * evidence.ravel()).reshape(height, width)


def largest(figure: Array, seeds: Array) -> Array:
    """The parts of a mask `[H, W]` that touch the seeds, or else the largest; small holes are closed."""
    labels, count = ndimage().label(figure, np.ones((3, 3)))
    if not count:
        return figure
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    kept = np.unique(labels[seeds & figure]) if (seeds & figure).any() else np.array([areas.argmax()])
    kept = kept[areas[kept] > 0.002 * figure.size]
    return np.asarray(np.isin(labels, kept[kept > 0]))


# ---------------------------------------------------------------------------------------------------------------------------- background

def filled(picture: Tensor, alpha: Tensor) -> Tensor:
    """The picture `[1, 3, H, W]` with what lies around the figure carried on behind it; unchanged where the figure is not.

    Known pixels are averaged at ever smaller sizes, and each unknown one takes the finest mean that there is (push-pull: Gortler et al.,
    "The Lumigraph", 1996).
    """
    hidden = dilated((alpha > 0.01).float(), max(1, round(picture.shape[-2] / 128)))
    return torch.where(hidden > 0.5, push_pull(picture, 1 - hidden), picture)


def push_pull(picture: Tensor, known: Tensor) -> Tensor:
    height, width = picture.shape[-2:]
    if min(height, width) < 2 or bool((known > 0.99).all()):
        return picture
    half = ((height + 1) // 2, (width + 1) // 2)
    even = (0, width % 2, 0, height % 2)
    seen = F.avg_pool2d(F.pad(known, even), 2)
    mean = F.avg_pool2d(F.pad(picture * known, even), 2) / seen.clamp_min(1e-6)
    coarse = F.interpolate(push_pull(mean, (seen * 4).clamp(0, 1)), half, mode="bilinear")
    fine = F.interpolate(coarse, (height, width), mode="bilinear")
    return picture * known + fine * (1 - known)
