"""Background Lock: the reference's background, pixel for pixel, wherever the person is not."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..demo.fitting import figure_in
from ..demo.paper import ndimage
from .isolate import LIMB, REACH, from_limbs

Array = np.ndarray


def person_mask(frame: Tensor, background: Tensor, people: Array | None = None) -> Tensor:
    """Where a frame `[3, H, W]` shows something else than its background, `[H, W]` in [0, 1].

    people `[P, 134, 3]`: skeletons in the frame's pixels; then only what is near them counts, and what lies on them counts always.
    """
    off = figure_in(*(np.ascontiguousarray(x.movedim(0, -1).cpu().numpy()) for x in (frame, background)))
    if people is not None:
        near, on = np.zeros(off.shape, bool), np.zeros(off.shape, bool)
        for person in people:
            far, tall = from_limbs(person, *off.shape)
            near |= far < REACH * tall
            on |= far < LIMB * tall
        off = np.where(on, 1, off * near).astype(np.float32)
    return torch.from_numpy(off).to(frame.device)


def kept(mask: Tensor, grow: float, feather: float) -> Tensor:
    """How much of the frame stays, `[H, W]`: 1 in a mask and `grow` pixels around it, then down to exactly 0 within `feather` more."""
    solid = (mask > 0.5).cpu().numpy()
    if not solid.any():
        return torch.zeros_like(mask)
    away = torch.from_numpy(ndimage().distance_transform_edt(~solid)).to(mask)
    share = (1 - (away - grow) / max(feather, 1e-3)).clamp(0, 1)
    return share * share * (3 - 2 * share)


def locked(frame: Tensor, background: Tensor, share: Tensor) -> Tensor:
    """The frame `[3, H, W]` where share `[H, W]` is 1, its background, bit by bit, where it is 0."""
    return frame * share + background * (1 - share)
