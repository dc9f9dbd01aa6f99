"""How rows of a clip read its reference's keys where not all of them read all of it alike.

A reference has one picture or several of one size, their tokens one picture behind the other. A picture's strength s adds log s to the
logits of its keys: the share of attention that it gets, a / (a + b) beside the other keys' b, becomes s a / (s a + b). 1 is the plain
softmax over all keys. At 0 the picture's keys are left out, and what is left is the softmax over the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

Attend = Callable[[Tensor, Tensor, Tensor, int], Tensor]
# channels of a head come in multiples of this, which fused kernels ask for
ALIGNMENT = 8


@dataclass(frozen=True)
class Reading:
    """Neighbouring rows that read the same pictures.

    rows: how many. pictures: numbers of those that they read, out of `of`.
    bias: log strengths `[rows, len(pictures)]`, float32; None: all 0.
    """

    rows: int
    pictures: tuple[int, ...]
    of: int
    bias: Tensor | None = None

    def keys(self, x: Tensor) -> Tensor:
        """The keys or values `[1, N of, C]` that are read: `[1, N len(pictures), C]`."""
        if len(self.pictures) == self.of:
            return x
        parts = x.chunk(self.of, dim=1)
        return torch.cat([parts[i] for i in self.pictures], dim=1)

    def attend(self, attention: Attend, q: Tensor, k: Tensor, v: Tensor, rk: Tensor, rv: Tensor, heads: int) -> Tensor:
        """Attention of these rows `[B, N, C]`, B = rows or a multiple of it, over their own keys and those of the reference `[1, n, C]`."""
        if not self.pictures:
            return attention(q, k, v, heads)
        rk, rv = self.keys(rk), self.keys(rv)
        if self.bias is None:
            return attention(q, with_keys(k, rk), with_keys(v, rv), heads)
        bias = self.bias.to(q).repeat_interleave(rk.shape[1] // len(self.pictures), dim=1)
        return biased(attention, q, k, v, rk, rv, heads, bias.repeat_interleave(len(q) // self.rows, dim=0))


def biased(attention: Attend, q: Tensor, k: Tensor, v: Tensor, rk: Tensor, rv: Tensor, heads: int, bias: Tensor) -> Tensor:
    """Attention over `[k, rk]` with bias `[B, n]` on the logits of the n keys rk.

    Through a channel more for each head, 1 in the queries and the bias in the keys, so that kernels without a mask do it too.
    """
    inner = q.shape[-1] // heads
    wide = (inner // ALIGNMENT + 1) * ALIGNMENT
    # the kernel divides the logits by the root of its own width
    rows, root = len(q), math.sqrt(wide)

    def widened(own: Tensor, more: Tensor | None = None) -> Tensor:
        x = own.new_zeros(rows, own.shape[1] + (0 if more is None else more.shape[1]), heads, wide)
        x[:, :own.shape[1], :, :inner] = own.unflatten(-1, (heads, inner))
        if more is not None:
            x[:, own.shape[1]:, :, :inner] = more.unflatten(-1, (heads, inner))
        return x

    queries, keys, values = widened(q * (root / math.sqrt(inner))), widened(k, rk), widened(v, rv)
    queries[..., inner] = 1.0
    keys[:, k.shape[1]:, :, inner] = root * bias.unsqueeze(-1)
    out = attention(queries.flatten(2), keys.flatten(2), values.flatten(2), heads)
    return out.unflatten(-1, (heads, wide))[..., :inner].flatten(2)


def with_keys(own: Tensor, more: Tensor) -> Tensor:
    """Keys or values `[rows, N, C]`, and those `[1, n, C]` that all rows share behind them."""
    return torch.cat([own, more.expand(len(own), -1, -1)], dim=1)


def readings(strengths: Sequence[Sequence[float]], device: torch.device) -> tuple[Reading, ...]:
    """How rows read a reference's pictures: strengths of each row, one for each picture, all at least 0."""
    of, found = len(strengths[0]), []

    def kind(row: Sequence[float]) -> tuple[tuple[int, ...], bool]:
        read = tuple(i for i, s in enumerate(row) if s > 0)
        return read, all(row[i] == 1.0 for i in read)

    for (pictures, plain), group in groupby(strengths, kind):
        rows = list(group)
        bias = None
        if not plain:
            bias = torch.tensor([[math.log(row[i]) for i in pictures] for row in rows]).to(device, non_blocking=True)
        found.append(Reading(len(rows), pictures, of, bias))
    return tuple(found)


def of_rows(found: Sequence[Reading], span: slice) -> Iterator[Reading]:
    """The readings of a span of their rows."""
    start = 0
    for reading in found:
        low, high = max(span.start - start, 0), min(span.stop - start, reading.rows)
        if low < high:
            yield Reading(high - low, reading.pictures, reading.of, None if reading.bias is None else reading.bias[low:high])
        start += reading.rows
