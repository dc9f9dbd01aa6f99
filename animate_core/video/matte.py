"""The matte of a character in a clip, from its plate's colour or from masks, steady over time; and the character's own colours.

A pixel at an edge is a mixture, I = a * F + (1 - a) * B, of the figure's colour F and the background's B (Smith and Blinn, "Blue Screen
Matting", 1996). Here B is known, or the mean of what lies around the figure; F is what lies within it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .pictures import blurred, dilated, eroded, local_mean, tidy

NEAR = 0.2  # distance (of 0..1) from the plate's colour up to which a pixel may still be plate: sampled plates drift
QUIET = 0.012  # the noise of a clean plate: 8 bits, rounded
FIGURE, STEEP = 0.15, 0.4  # with noise: distance that is surely figure; part of the way to the figure's colour over which a matte rises
SAME_DIRECTION = 0.97  # cosine: an edge is a mixture of the plate with the colour next to it, in the same direction from the plate's
SAME_FRAME = 0.04  # colour difference between frames at which a pixel begins to be another


@dataclass(frozen=True)
class Matting:
    """holes: enclosed holes of up to this share of the picture are closed, specks of as much removed. grow: pixels by which mattes grow, or
    shrink below 0. soften: blur of the edge in pixels. steady: 0..1, how much of a matte is its neighbours' in time where the picture is
    the same. despill: 0..1, how much of the plate's colour is taken out of the edge."""

    holes: float = 0.0006
    grow: int = 0
    soften: float = 0.0
    steady: float = 0.5
    despill: float = 1.0


@dataclass(frozen=True)
class Plate:
    """colour `[3]` in [0, 1]; noise: how far its pixels are from that, at most, apart from a slow drift."""

    colour: Tensor
    noise: float


def distance(x: Tensor, colour: Tensor) -> Tensor:
    """Of each pixel from a colour, `[F, 1, H, W]`; 1 from black to white."""
    return (x - colour).square().mean(1, keepdim=True).sqrt()


def edge_width(height: int) -> int:
    """Pixels over which an edge may be soft."""
    return max(2, round(height / 96))


def find_plate(frames: Tensor, colour: Tensor | None = None) -> Plate:
    """The plate of a clip's frames `[F, 3, H, W]`; a few of them do. colour `[3]`: where it is known, else the border's median.

    Raises ValueError where the border has no one colour.
    """
    height, width = frames.shape[-2:]
    margin = max(1, round(0.04 * max(height, width)))
    edge = torch.ones(height, width, dtype=torch.bool, device=frames.device)
    edge[margin:, margin:width - margin] = False  # the figure may stand on the lower edge
    border = frames[..., edge]
    found = border.movedim(1, 0).flatten(1).median(1).values
    given = found if colour is None else colour.to(frames)
    near = distance(frames, found.view(3, 1, 1)) < NEAR
    if not near[..., edge].float().mean() > 0.5 or (found - given).square().mean().sqrt() > NEAR:
        raise ValueError("the images have no plain plate behind the character" + ("" if colour is None else " of the given colour")
                         + "; connect masks, or use Isolate Character's image as reference image")
    # a model's plate has its own shade
    fields = field(frames, found, near)
    # within the figure there may be colours that are near the plate's
    off = distance(frames, fields)[(eroded(near.float(), edge_width(height)) > 0.5) & edge]
    return Plate(found, max(QUIET, 1.5 * float(torch.quantile(off[:: max(1, len(off) // 100_000)], 0.98))))


def field(frames: Tensor, colour: Tensor, near: Tensor) -> Tensor:
    """The plate's colour at each pixel `[F, 3, H, W]`: the mean of what is surely plate around it."""
    sure = eroded(near.float(), edge_width(frames.shape[-2]))
    mean, support = local_mean(frames, sure, 0.05 * frames.shape[-2])
    trust = (support / 0.05).clamp(0, 1)
    return mean * trust + colour.view(3, 1, 1) * (1 - trust)


def behind_figure(frames: Tensor, alpha: Tensor, plate: Plate | None) -> Tensor:
    """The background's colour at each pixel `[F, 3, H, W]`: the plate's, or the mean of what is around the figure."""
    if plate is None:
        return local_mean(frames, (alpha < 0.02).float(), edge_width(frames.shape[-2]))[0]
    near = distance(frames, plate.colour.view(3, 1, 1)) < max(QUIET, min(NEAR, 2 * plate.noise))
    return field(frames, plate.colour, near)


def from_plate(frames: Tensor, plate: Plate) -> Tensor:
    """Mattes `[F, 1, H, W]`.

    An edge's matte is its distance from the plate's colour against that of the strongest colour near it which lies in the same direction.
    A plate with noise, such as a model makes, has blurred edges with colours of their own: there the matte is steep, and its middle lies
    half way between the plate and the figure.
    """
    around = edge_width(frames.shape[-2])
    off = frames - behind_figure(frames, frames[:, :1], plate)
    length = off.square().mean(1, keepdim=True).sqrt()
    if plate.noise > 1.5 * QUIET:
        figure, support = local_mean(length, (length > FIGURE).float() * length, 2.5 * around)
        steep = ((length / figure.clamp_min(FIGURE) - 0.5) / STEEP + 0.5).clamp(0, 1)
        return steep * (support > 1e-3)
    way = off / (length * 3**0.5).clamp_min(1e-6)
    strongest = length.clone()
    for down in range(-around, around + 1):
        for across in range(-around, around + 1):
            moved, turned = (torch.roll(x, (down, across), (-2, -1)) for x in (length, way))
            alike = (way * turned).sum(1, keepdim=True) > SAME_DIRECTION
            strongest = torch.where(alike, torch.maximum(strongest, moved), strongest)
    low = plate.noise
    alpha = ((length - low) / (strongest - low).clamp_min(low)).clamp(0, 1)
    # what lies further within than an edge reaches is figure, whatever its shade
    inner = dilated((length < 2 * low).float(), around) < 0.5
    return torch.where(inner, torch.ones_like(alpha), alpha)


def refined(frames: Tensor, masks: Tensor) -> Tensor:
    """Hard masks with the soft edge that the frames show: each pixel near the edge between the mean colours of both sides."""
    around = edge_width(frames.shape[-2])
    solid = (masks > 0.5).float()
    soft = blurred(solid, 0.5 * around)
    inside, outside = eroded(solid, around // 2), 1 - dilated(solid, around // 2)
    figure, has_figure = local_mean(frames, inside, 1.0 * around)
    behind, has_behind = local_mean(frames, outside, 1.0 * around)
    across = figure - behind
    spread = across.square().sum(1, keepdim=True)
    between = (((frames - behind) * across).sum(1, keepdim=True) / spread.clamp_min(1e-6)).clamp(0, 1)
    # where both sides have one colour, the mask's own edge counts
    trust = (spread / 0.05).clamp(0, 1) * ((has_figure > 0.01) & (has_behind > 0.01))
    band = dilated(solid, around // 2 + 1) * (1 - eroded(solid, around // 2 + 1))
    return torch.where(band > 0.5, between * trust + soft * (1 - trust), solid)


def are_hard(masks: Tensor) -> bool:
    """Whether masks `[F, 1, H, W]` have no soft edge."""
    solid = (masks > 0.5).float()
    edge = dilated(solid, 1) - eroded(solid, 1) > 0.5
    soft = (masks > 0.02) & (masks < 0.98)
    return bool(soft.sum() < 0.15 * edge.sum())


def finished(alpha: Tensor, how: Matting) -> Tensor:
    """Mattes without holes and specks, grown and softened. `[F, 1, H, W]`"""
    size = how.holes * alpha.shape[-2] * alpha.shape[-1]
    if size >= 1:
        alpha = tidy(alpha, size, size)
    if how.grow:
        alpha = dilated(alpha, how.grow) if how.grow > 0 else eroded(alpha, -how.grow)
    return blurred(alpha, how.soften) if how.soften > 0 else alpha


def steadied(frames: Tensor, alpha: Tensor, strength: float) -> Tensor:
    """Mattes with less flicker: the mean with the frames before and after, of those pixels whose colour stays. `[F, 1, H, W]`

    The first and the last frame have one neighbour.
    """
    if strength <= 0 or len(alpha) < 2:
        return alpha
    total, weight = alpha.clone(), torch.ones_like(alpha)
    for here, there in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
        same = strength * torch.exp(-distance(frames[here], frames[there]).div(SAME_FRAME).square())
        total[here] += same * alpha[there]
        weight[here] += same
    return total / weight


def own_colours(frames: Tensor, alpha: Tensor, behind: Tensor, despill: float) -> Tensor:
    """The figure's colour at each pixel `[F, 3, H, W]`, without the background that its edge mixes in and reflects.

    despill: 0..1, how much of the background's tint goes that a pixel beside an edge has more of than the figure within.
    """
    around = edge_width(frames.shape[-2])
    within, support = local_mean(frames, eroded(alpha, 1) * (alpha > 0.9), 0.8 * around)
    alone = ((frames - behind * (1 - alpha)) / alpha.clamp_min(0.1)).clamp(0, 1)
    # a pixel with little of the figure tells little about its colour
    trust = torch.where(support > 1e-3, ((alpha - 0.1) / 0.5).clamp(0, 1), torch.ones_like(alpha))
    colour = alone * trust + within * (1 - trust)
    if despill > 0:
        # the background's tint: its colour without its grey
        tint = behind - behind.mean(1, keepdim=True)
        tint = tint / tint.norm(dim=1, keepdim=True).clamp_min(0.05)
        spilt = ((colour * tint).sum(1, keepdim=True) - (within * tint).sum(1, keepdim=True).clamp_min(0)).clamp_min(0)
        edge = dilated(1 - alpha, around) * (support > 1e-3)
        colour = colour - despill * edge * spilt * tint
    return colour.clamp(0, 1)
