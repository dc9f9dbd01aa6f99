"""Whole clips, a few frames at a time: mattes, a character over a background, a locked background.

Clips are IMAGE batches `[F, H, W, 3]` in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from .composite import (
    REPEAT,
    SCENE,
    Staging,
    composite,
    ground,
    light_gain,
    lit,
    output_size,
    shadow,
    shown,
    source_frame,
    spots,
)
from .lock import kept, locked, person_mask
from .matte import Matting, Plate, are_hard, behind_figure, find_plate, finished, from_plate, own_colours, refined, steadied
from .pictures import channels_first, covering, parts, resized

SAMPLES = 8  # frames by which what holds for a whole clip is told
Array = np.ndarray
OnFrames = Callable[[int], None]


@dataclass(frozen=True)
class Scene:
    """How a clip stands over its background. staging: one for all frames, or one each. rate: the background's frames per second by the
    clip's. light: 0..1, how far the figure's light becomes the background's. shadow: 0..1, its darkness."""

    staging: Sequence[Staging] = (Staging(),)
    camera_moves: str = SCENE
    as_background: bool = False
    rate: float = 1.0
    after_end: str = REPEAT
    light: float = 0.0
    shadow: float = 0.0
    matting: Matting = field(default_factory=Matting)


def sampled(clip: Tensor) -> Tensor:
    """Some of a clip's frames, evenly spread."""
    return clip[torch.linspace(0, len(clip) - 1, min(SAMPLES, len(clip))).round().long()]


def as_frames(masks: Tensor, index: slice, width: int, height: int) -> Tensor:
    """MASK `[F, h, w]`, or one for all, of some frames: `[n, 1, height, width]`."""
    part = masks.float()[index if len(masks) > 1 else slice(0, 1)].clamp(0, 1)[:, None]
    return resized(part, width, height).expand(index.stop - index.start, -1, -1, -1)


def mattes(images: Tensor, masks: Tensor | None, colour: Tensor | None, how: Matting, on_frames: OnFrames) -> tuple[Tensor, Plate | None]:
    """Mattes `[F, 1, H, W]` from masks `[F, h, w]`, or else from the plate's colour `[3]`, or from the plate that is found.

    Raises ValueError where there is no plate.
    """
    height, width = images.shape[1:3]
    plate = find_plate(channels_first(sampled(images)), colour) if masks is None else None
    hard = masks is not None and are_hard(resized(sampled(masks).float().clamp(0, 1)[:, None], width, height))
    alpha = torch.empty(len(images), 1, height, width, device=images.device)
    for part in parts(len(images)):
        frames = channels_first(images[part])
        if plate is not None:
            raw = from_plate(frames, plate)
        else:
            assert masks is not None
            raw = as_frames(masks, part, width, height).to(frames)
            raw = refined(frames, raw) if hard else raw
        alpha[part] = finished(raw, how)
        on_frames(part.stop - part.start)
    before: Tensor | None = None
    for part in parts(len(images) if how.steady > 0 else 0):
        window = slice(max(0, part.start - 1), part.stop + 1)
        seen = alpha[window].clone()
        if before is not None:
            seen[:1] = before
        before = alpha[part.stop - 1:part.stop].clone()
        first = part.start - window.start
        alpha[part] = steadied(channels_first(images[window]), seen, how.steady)[first:first + part.stop - part.start]
    return alpha, plate


def over_background(images: Tensor, background: Tensor, scene: Scene, masks: Tensor | None = None, colour: Tensor | None = None,
                    on_frames: OnFrames = lambda count: None) -> tuple[Tensor, Tensor]:
    """A clip's character over a background `[B, h, w, 3]`: frames `[F, H', W', 3]` and mattes `[F, H', W']`.

    masks, colour: as in `mattes`. on_frames: called with a number of frames, twice for each frame. Raises ValueError where the images
    have no plate.
    """
    count, tall, wide = images.shape[:3]
    alpha, plate = mattes(images, masks, colour, scene.matting, on_frames)
    width, height = output_size((wide, tall), (background.shape[2], background.shape[1]), scene.as_background)
    staging = [*scene.staging] * count if len(scene.staging) == 1 else scene.staging
    still = len(set(staging)) == 1
    stands = ground(alpha) if scene.shadow > 0 else None
    gain = None
    if scene.light > 0:
        some, its = channels_first(sampled(images)), sampled(alpha)
        scenery = torch.cat([covering(channels_first(b[None]).to(images.device), width, height) for b in sampled(background)])
        gain = light_gain(own_colours(some, its, behind_figure(some, its, plate), scene.matting.despill), its, scenery, scene.light)
    out = torch.empty(count, height, width, 3, device=images.device)
    placed = torch.empty(count, height, width, device=images.device)
    drawn, view = None, torch.empty(0)
    for part in parts(count):
        frames = channels_first(images[part])
        share = alpha[part]
        colours = own_colours(frames, share, behind_figure(frames, share, plate), scene.matting.despill)
        layers = torch.cat([(colours if gain is None else lit(colours, gain)) * share, share], 1)
        for i in range(part.start, part.stop):
            figure_at, behind_at = spots((wide, tall), (background.shape[2], background.shape[1]), (width, height), staging[i],
                                         scene.camera_moves)
            if drawn != (drawn := (source_frame(i, len(background), scene.rate, scene.after_end), behind_at)):
                view = shown(channels_first(background[drawn[0]][None]).to(images.device), behind_at, width, height, "replicate", still)
            layer = shown(layers[i - part.start][None], figure_at, width, height, "zeros", still)
            figure, matte = torch.minimum(layer[:, :3], layer[:, 3:]), layer[:, 3:]
            dark = None
            if stands is not None:
                dark = shadow(matte, figure_at.top + figure_at.zoom * stands[0], figure_at.zoom * stands[1])
            out[i] = composite(figure, matte, view, dark, scene.shadow)[0].movedim(0, -1)
            placed[i] = matte[0, 0]
        on_frames(part.stop - part.start)
    return out, placed


def lock_background(images: Tensor, background: Tensor, grow: float, feather: float, masks: Tensor | None = None,
                    people: Sequence[Array] | None = None, on_frames: OnFrames = lambda count: None) -> tuple[Tensor, Tensor]:
    """A clip `[F, H, W, 3]` with a background `[B, H, W, 3]`, one or one for each frame, wherever the person is not; and how much of each
    frame was kept, `[F, H, W]`.

    masks `[F, h, w]`: of the person. people: skeletons `[P, 134, 3]` of each frame, in pixels. Without masks the person is what differs
    from the background. Outside, the result is the background bit by bit.
    """
    count, height, width = images.shape[:3]
    out, shares = torch.empty_like(images, dtype=torch.float32), torch.empty(count, height, width, device=images.device)
    for i in range(count):
        frame = images[i].float().movedim(-1, 0)
        behind = background[min(i, len(background) - 1)].to(frame).movedim(-1, 0)
        if masks is None:
            mask = person_mask(frame, behind, None if people is None else people[min(i, len(people) - 1)])
        else:
            mask = as_frames(masks, slice(i, i + 1), width, height)[0, 0].to(frame)
        shares[i] = kept(mask, grow, feather)
        out[i] = locked(frame, behind, shares[i]).movedim(0, -1)
        on_frames(1)
    return out, shares
