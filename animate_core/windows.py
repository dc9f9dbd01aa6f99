"""Context windows: how a clip longer than the motion modules' reach is cut, and how the pieces are joined.

`published` is the reference implementation's uniform schedule, called as it calls it (docs/method.md G.4). `shifted` is
ours: full windows only, no wrap-round, their joints moved at every step so that no frame is always at a seam.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SCHEDULES = ("shifted", "published")
# "sum" is what the reference does without guidance: overlapping predictions are added up and not averaged
WEIGHTS = ("pyramid", "flat", "sum")


def bit_reversed_fraction(value: int) -> float:
    """0, 1/2, 1/4, 3/4, 1/8 ...: the 64 bits of `value` reversed, over 2^64."""
    return int(f"{value:064b}"[::-1], 2) / 2**64


@dataclass(frozen=True)
class Windows:
    """length and overlap in frames; stride (published only) up to 2^(stride-1) frames between a window's neighbours. pad (published only):
    the last pose is repeated until no window wraps round, and the result is cut, as MusePose does.

    Raises ValueError for lengths below 1, overlaps not below the length, strides below 1, unknown names.
    """

    length: int = 24
    overlap: int = 4
    stride: int = 1
    schedule: str = "shifted"
    weights: str = "pyramid"
    closed_loop: bool = False
    pad: bool = False

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError(f"windows: length must be at least 1 frame; got {self.length}")
        if not 0 <= self.overlap < self.length:
            raise ValueError(f"windows: overlap must be 0 or more and less than the length ({self.length}); got {self.overlap}")
        if self.stride < 1:
            raise ValueError(f"windows: stride must be at least 1; got {self.stride}")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"windows: schedule {self.schedule!r} is unknown; choose from: {', '.join(SCHEDULES)}")
        if self.weights not in WEIGHTS:
            raise ValueError(f"windows: weights {self.weights!r} is unknown; choose from: {', '.join(WEIGHTS)}")
        if self.schedule == "shifted" and self.stride > 1:
            raise ValueError("windows: stride above 1 needs schedule 'published'; 'shifted' windows always contain neighbouring frames")
        if self.pad and (self.schedule == "shifted" or self.closed_loop or self.stride > 1):
            raise ValueError("windows: pad needs schedule 'published', stride 1 and no closed_loop; without closed_loop, 'shifted' windows "
                             "never wrap around")

    def padded(self, frames: int) -> int:
        """Frames that are made of a clip; those behind its end show its last pose, and are cut off."""
        return padded_length(frames, self.length, self.overlap) if self.pad and frames > self.length else frames

    def at(self, step: int, frames: int) -> list[list[int]]:
        """Frame indices of each window at denoising step `step`, covering 0..frames-1."""
        if frames <= self.length:
            return [list(range(frames))]
        if self.schedule == "published":
            # the reference passes step 0 whatever the step
            return uniform_windows(0, frames, self.length, self.stride, self.overlap, self.closed_loop)
        return shifted_windows(step, frames, self.length, self.overlap, self.closed_loop)

    def differ_by_step(self, frames: int) -> bool:
        """Whether a clip's windows depend on the denoising step."""
        return frames > self.length and self.schedule == "shifted"

    def frame_weights(self, count: int, device: torch.device | None = None) -> Tensor:
        """Weight of each place in a window of `count` frames, float32 `[count]`, all above 0."""
        if self.weights == "pyramid":
            ramp = torch.arange(1, count + 1, dtype=torch.float32, device=device)
            return torch.minimum(ramp, ramp.flip(0))
        return torch.ones(count, device=device)


def runs(indices: Sequence[int]) -> Iterator[slice]:
    """The indices as slices, in order: whole stretches of a tensor are views, where a list of indices would be uploaded to the GPU."""
    start = 0
    while start < len(indices):
        step = max(1, indices[start + 1] - indices[start]) if start + 1 < len(indices) else 1
        end = start + 1
        while end < len(indices) and indices[end] == indices[end - 1] + step:
            end += 1
        yield slice(indices[start], indices[end - 1] + 1, step)
        start = end


def take(x: Tensor, indices: Sequence[int], dim: int = 0) -> Tensor:
    """`x[indices]` along `dim` without an index tensor; a view where the indices are one stretch."""
    parts = [x[(slice(None),) * dim + (run,)] for run in runs(indices)]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)


def uniform_windows(step: int, frames: int, length: int, stride: int, overlap: int, closed_loop: bool) -> list[list[int]]:
    """The reference's uniform schedule (docs/method.md G.4). Raises ValueError where its hop `length * s - overlap` is 0."""
    if frames <= length:
        return [list(range(frames))]
    strides = min(stride, math.ceil(math.log2(frames / length)) + 1)
    windows = []
    for s in (2**k for k in range(strides)):
        hop = length * s - overlap
        if hop <= 0:
            raise ValueError(f"overlap must be less than the length of a window ({length} frames); got {overlap}")
        fraction = bit_reversed_fraction(step)
        pad = round(frames * fraction)
        for start in range(int(fraction * s) + pad, frames + pad - (0 if closed_loop else overlap), hop):
            windows.append([i % frames for i in range(start, start + length * s, s)])
    return windows


def padded_length(frames: int, length: int, overlap: int) -> int:
    """Frames of a clip that uniform windows fill without wrapping: the least number from `frames` up that is length + k (length - overlap).

    MusePose repeats the last pose so far, and cuts the result. Raises ValueError for an overlap that is not below the length.
    """
    if not 0 <= overlap < length:
        raise ValueError(f"overlap must be 0 or more and less than the length ({length}); got {overlap}")
    return frames + (length - frames) % (length - overlap)


def thinned(frames: int, skip: int, limit: int) -> list[int]:
    """Which frames of a video MusePose's script takes: every (skip + 1)-th of the first `limit`; whole steps only."""
    step = skip + 1
    return list(range(0, min(limit, frames) // step * step, step))


def whole_calls(frames: int, batch: int, multiple: int = 24) -> list[list[int]]:
    """How Moore's reenactment script cuts a video: whole multiples of a window's length, at most `batch` frames a call."""
    used = frames // multiple * multiple
    return [list(range(start, min(start + batch, used))) for start in range(0, used, batch)]


def shifted_windows(step: int, frames: int, length: int, overlap: int, closed_loop: bool) -> list[list[int]]:
    """Windows of exactly `length` neighbouring frames, starts offset by a bit-reversed part of the hop at each step.

    Without closed_loop the outer windows are pushed inside the clip; with it, windows pass over its end.
    """
    hop = length - overlap
    offset = round(hop * bit_reversed_fraction(step))
    if closed_loop:
        return [[i % frames for i in range(start, start + length)] for start in range(offset, offset + frames, hop)]
    last = frames - length
    starts = sorted({min(max(start, 0), last) for start in range(offset - hop if offset else 0, last + hop, hop)})
    return [list(range(start, start + length)) for start in starts]


def predict_in_windows(predict: Callable[[Tensor, list[int]], Tensor], x: Tensor, clips: int, windows: Windows, step: int) -> Tensor:
    """Runs `predict` window by window and joins the results.

    predict: (latents of a window `[clips * n, 4, h, w]`, its frame indices) -> the same shape.
    x: `[clips * F, 4, h, w]` -> joined prediction, the same shape, float32 where several windows were joined.
    """
    frames = x.shape[0] // clips
    spans = windows.at(step, frames)
    if len(spans) == 1 and spans[0] == list(range(frames)):
        return predict(x, spans[0])
    x = x.unflatten(0, (clips, frames))
    total = torch.zeros(x.shape, dtype=torch.float32, device=x.device)
    weight = torch.zeros(frames, dtype=torch.float32, device=x.device)
    for span in spans:
        out = predict(take(x, span, 1).flatten(0, 1), span).unflatten(0, (clips, len(span)))
        # a strided window can hold a frame twice: the later place counts, once
        places = sorted({frame: place for place, frame in enumerate(span)}.values())
        out, w = take(out, places, 1).float(), take(windows.frame_weights(len(span), x.device), places)
        start = 0
        for run in runs([span[place] for place in places]):
            part = slice(start, start + len(range(run.start, run.stop, run.step)))
            total[:, run] += out[:, part] * w[part].view(-1, 1, 1, 1)
            weight[run] += w[part]
            start = part.stop
    if windows.weights != "sum":
        total /= weight.view(-1, 1, 1, 1)
    return total.flatten(0, 1)
