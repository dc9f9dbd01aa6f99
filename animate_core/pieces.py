"""Clips in pieces: which frames are given, how one piece begins with the end of the last one, and how they are joined.

Latents are `[F, 4, h, w]`. Noise masks are `[F, 1, h, w]`: 0 where latents are given, 1 where new ones are made.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor

# a sampler gives known frames back but for rounding; other frames differ by more than half
SAME_FRAMES = 0.05


def frame_list(text: str, frames: int) -> list[int]:
    """Indices of frames from text such as "0, 4-8, -1": numbers and ranges from 0 up, or from the end down from -1.

    Sorted, each once. Raises ValueError for anything else, and for frames that the clip does not have.
    """
    found: set[int] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = re.fullmatch(r"(-?\d+)(?:\s*-\s*(-?\d+))?", part)
        if match is None:
            raise ValueError(f"keep: {part!r} is no frame and no range of frames; write numbers from 0 and ranges, as in '0, 4-8, -1'")
        ends = [int(end) + (frames if int(end) < 0 else 0) for end in match.groups(match[1])]
        if not 0 <= ends[0] <= ends[1] < frames:
            raise ValueError(f"keep: {part!r} is not within the clip, which has the frames 0 to {frames - 1}")
        found |= set(range(ends[0], ends[1] + 1))
    return sorted(found)


def of_length(latents: Tensor, frames: int) -> Tensor:
    """The first frames; the last one is repeated where there are not so many."""
    return torch.cat([latents[:frames], latents[-1:].expand(max(0, frames - len(latents)), -1, -1, -1)])


def begun(previous: Tensor, overlap: int, new: int) -> tuple[Tensor, Tensor]:
    """Latents and noise mask of a piece that begins with the last `overlap` frames of what is there, and has `new` more, still empty."""
    known = previous[-overlap:]
    latents = torch.cat([known, torch.zeros_like(known[:1]).expand(new, -1, -1, -1)])
    mask = torch.ones_like(latents[:, :1])
    mask[:overlap] = 0
    return latents, mask


def joined(previous: Tensor, piece: Tensor, overlap: int) -> Tensor:
    """The frames that are there, and those of the piece that are new. Raises ValueError where the piece begins with others."""
    if previous.shape[1:] != piece.shape[1:]:
        raise ValueError(f"piece: its latents are {tuple(piece.shape[1:])}, those of previous {tuple(previous.shape[1:])}; use pieces of "
                         "the same size")
    if not 1 <= overlap <= min(len(previous), len(piece) - 1):
        raise ValueError(f"overlap: it must be at least 1, at most {len(previous)} (previous) and less than {len(piece)} (piece); got "
                         f"{overlap}")
    end, begin = previous[-overlap:].float(), piece[:overlap].to(previous.device).float()
    if (begin - end).norm() > SAME_FRAMES * end.norm():
        raise ValueError(f"piece: its first {overlap} frames are not the last {overlap} frames of previous; set the same overlap as in "
                         "Continue Clip, and connect the same previous")
    return torch.cat([previous, piece[overlap:].to(previous)])
