"""A card that is not there: tensors that hold real numbers on the CPU but say that they are on `cuda:N` or `mps`.

Operations that mix devices raise as they do on the card, a device without float64 refuses it, and every copy between the
card and the host's memory, and every place where the program would wait for the card, is counted by file and line.
Nothing is learned about speed or about the card's own kernels: the numbers are the CPU's.
"""

from __future__ import annotations

import functools
import gc
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

torch._C._ensureCUDADeviceGuardSet()  # a guard that does nothing, since there is no driver

ROOT = Path(__file__).resolve().parents[2]
OURS = tuple(str(ROOT / folder) + "/" for folder in ("animate_core", "nodes"))
CARDS = ("cuda", "mps")
UPLOAD, DOWNLOAD, SYNC = "upload", "download", "sync"
# asked of a tensor on the card, each of these waits for it
SYNC_OPS = {"_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select", "_unique2", "unique_dim"}
SYNC_METHODS = {"__float__", "__int__", "__bool__", "__index__", "__contains__", "__format__", "item", "tolist"}
PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "matmul", "linear", "convolution", "conv2d"}
INDEX_OPS = {"index", "index_put", "index_put_", "_index_put_impl_"}


def on_card(device: Any) -> bool:
    """Whether a device, or its name, is one of a card."""
    return device is not None and torch.device(device).type in CARDS


def whole_device(device: Any) -> torch.device:
    """The device with its number, as tensors tell it."""
    device = torch.device(device)
    return torch.device(device.type, device.index or 0) if device.type in CARDS else device


@dataclass(frozen=True)
class Event:
    """A copy or a wait. place: the nearest line outside of PyTorch; ours: the nearest of the pack's lines, empty if there is none."""

    kind: str
    place: str
    ours: str


@dataclass
class Traffic:
    """What went over the bus: how often, and how many bytes, by event."""

    count: Counter[Event] = field(default_factory=Counter)
    size: Counter[Event] = field(default_factory=Counter)

    def note(self, kind: str, size: int = 0) -> None:
        """Counts one event of the code that is running."""
        place, ours = "", ""
        frame = sys._getframe(1)
        while frame is not None and not (place and ours):
            name = frame.f_code.co_filename
            if name != __file__ and "/torch/" not in name:
                place = place or short(name, frame.f_lineno)
                if name.startswith(OURS):
                    ours = short(name, frame.f_lineno)
            frame = frame.f_back  # type: ignore[assignment]
        event = Event(kind, place or "?", ours)
        self.count[event] += 1
        self.size[event] += size

    def clear(self) -> None:
        self.count.clear()
        self.size.clear()

    def of(self, *kinds: str) -> Counter[str]:
        """Counts by the nearest line, of the given kinds (all if none is named)."""
        counts: Counter[str] = Counter()
        for event, count in self.count.items():
            if not kinds or event.kind in kinds:
                counts[event.place] += count
        return counts

    def of_ours(self, *kinds: str, most: float = float("inf")) -> Counter[str]:
        """Counts by the pack's line that did it itself, without those that happen further inside, in the host or in a library.

        most: bytes of a copy, on average; lines with larger ones are left out.
        """
        counts: Counter[str] = Counter()
        for event, count in self.count.items():
            if event.place == event.ours and (not kinds or event.kind in kinds) and self.size[event] <= most * count:
                counts[event.ours] += count
        return counts


@functools.lru_cache(None)
def short(name: str, line: int) -> str:
    """`nodes/host.py:12` for the pack's files, and as much of the path for others'."""
    path = Path(name)
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else Path(*path.parts[-2:])
    return f"{shown}:{line}"


class CardTensor(Tensor):
    """A tensor on the card. inner: its numbers, an ordinary tensor of the same layout."""

    inner: Tensor
    traffic = Traffic()
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor, device: torch.device) -> CardTensor:
        if device.type == "mps" and inner.dtype in (torch.float64, torch.complex128):
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64. "
                            "Please use float32 instead.")
        made = Tensor._make_wrapper_subclass(cls, inner.size(), strides=inner.stride(), storage_offset=inner.storage_offset(),
                                             dtype=inner.dtype, layout=inner.layout, device=device, requires_grad=False)
        made.inner = inner
        return made

    def __repr__(self) -> str:  # type: ignore[override]
        return f"CardTensor({tuple(self.shape)}, {self.dtype}, {self.device})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = dict(kwargs or {})
        op = func._schema.name.split("::")[-1]
        tensors = tensors_in((args, kwargs))
        cards = [t for t in tensors if isinstance(t, CardTensor)]
        if op == "_has_compatible_shallow_copy_type":
            return False
        if op in SYNC_OPS:
            cls.traffic.note(SYNC)
        if op == "copy_":
            return copy_into(args[0], args[1])
        target = None
        if kwargs.get("device") is not None:
            target, kwargs["device"] = whole_device(kwargs["device"]), torch.device("cpu")
        if not (op == "_to_copy" or "like" in op or op.startswith("new_")):
            check_devices(op, args, tensors, cards)
        target = target or cards[0].device
        out = func(*mapped(numbers, args), **mapped(numbers, kwargs)) if op not in PRODUCTS else product(func, args, kwargs)
        given = {id(t.inner): t for t in cards}

        def placed(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            if not on_card(target):
                cls.traffic.note(DOWNLOAD, value.nbytes)
                return value
            return given[id(value)] if id(value) in given else CardTensor(value, target)

        return mapped(placed, out)


def product(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """A matrix product or a convolution as a card computes it: factors of 16 bits, sums of 32. The CPU's own of fp16 are slow besides."""
    dtype = next(t.dtype for t in tensors_in(args))
    if dtype not in (torch.float16, torch.bfloat16):
        return func(*mapped(numbers, args), **mapped(numbers, kwargs))
    exact = mapped(lambda value: value.inner.float() if isinstance(value, CardTensor) else value, args)
    return func(*exact, **mapped(numbers, kwargs)).to(dtype)


def mapped(function: Callable[[Any], Any], value: Any) -> Any:
    """Every value in tuples, lists and dicts through a function. Much of a run's time is spent here, and torch's own is slower."""
    kind = type(value)
    if kind is tuple or kind is list:
        return kind([mapped(function, part) for part in value])
    if kind is dict:
        return {key: mapped(function, part) for key, part in value.items()}
    if isinstance(value, tuple):  # results by name
        parts = [mapped(function, part) for part in value]
        return kind(*parts) if hasattr(value, "_fields") else kind(parts)
    return function(value)


def tensors_in(value: Any) -> list[Tensor]:
    found: list[Tensor] = []
    mapped(lambda part: found.append(part) if isinstance(part, Tensor) else None, value)
    return found


def numbers(value: Any) -> Any:
    """The ordinary tensor of a tensor on the card; anything else as it is."""
    return value.inner if isinstance(value, CardTensor) else value


def copy_into(target: Tensor, source: Tensor) -> Tensor:
    """`target.copy_(source)`, which may cross devices."""
    if isinstance(target, CardTensor) != isinstance(source, CardTensor):
        CardTensor.traffic.note(UPLOAD if isinstance(target, CardTensor) else DOWNLOAD, source.nbytes)
    numbers(target).copy_(numbers(source))
    return target


def check_devices(op: str, args: Sequence[Any], tensors: Sequence[Tensor], cards: Sequence[CardTensor]) -> None:
    """Raises RuntimeError where the card would: tensors on several devices; numbers without dimensions, and indices, may be elsewhere."""
    strange = [t for t in tensors if not isinstance(t, CardTensor) and t.ndim > 0]
    if op in INDEX_OPS:
        if not isinstance(args[0], CardTensor):
            raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
        for index in [t for t in strange if t.dtype in (torch.int64, torch.int32, torch.bool, torch.uint8)]:
            CardTensor.traffic.note(UPLOAD, index.nbytes)
            strange = [t for t in strange if t is not index]
        if any(t.dtype in (torch.bool, torch.uint8) for t in tensors[1:]):
            CardTensor.traffic.note(SYNC)  # how many are chosen must be known
    if strange or len({t.device for t in cards}) > 1:
        where = [(tuple(t.shape), str(t.device)) for t in tensors]
        raise RuntimeError(f"Expected all tensors to be on the same device, but found at least two devices ({op}): {where}")


class CardMode(TorchFunctionMode):
    """Makes new tensors on the card where a device of the card is asked for, and moves those that are sent there."""

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None) -> Any:
        name = getattr(func, "__name__", "")
        if name == "__get__":  # a shape, a dtype, a device
            return func(*args)
        kwargs = dict(kwargs or {})
        if func in MOVES:
            return moved(args[0], *MOVES[func](args[1:], kwargs))
        first = args[0] if args else None
        if isinstance(first, CardTensor):
            if name in ("numpy", "__array__"):
                raise TypeError(f"can't convert {first.device} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host "
                                "memory first.")
            if name == "data_ptr":
                return first.inner.data_ptr()
            if name in SYNC_METHODS:
                CardTensor.traffic.note(SYNC)
                with torch._C.DisableTorchFunction():
                    return func(first.inner, *args[1:], **kwargs)
        if func == Tensor.data.__set__ and any(isinstance(t, CardTensor) for t in args):  # type: ignore[attr-defined]
            # a weight is moved in place, which here is another kind of tensor
            torch.utils.swap_tensors(first, torch.nn.Parameter(args[1], requires_grad=False))
            return None
        if func is Tensor.copy_ and any(isinstance(t, CardTensor) for t in args[:2]):
            return copy_into(args[0], args[1])  # here already, since the binding asks a device for its driver
        if func in (Tensor.__getitem__, Tensor.__setitem__) and any(isinstance(t, CardTensor) for t in tensors_in(args)):
            return indexed(func, *args)
        device = kwargs.get("device")
        if func is torch.as_tensor and isinstance(first, Tensor):
            return first.to(device=device, dtype=kwargs.get("dtype"))
        if on_card(device):
            made = func(*mapped(numbers, args), **{**mapped(numbers, kwargs), "device": "cpu"})
            return mapped(lambda t: CardTensor(t, whole_device(device)) if isinstance(t, Tensor) else t, made)
        return func(*args, **kwargs)


Move = tuple[torch.device | None, torch.dtype | None, bool, torch.memory_format | None]


def parsed_to(args: Sequence[Any], kwargs: dict[str, Any]) -> Move:
    """Device, dtype, copy and memory format of a call of `Tensor.to`."""
    copy = bool(kwargs.pop("copy", False)) or (len(args) > 3 and bool(args[3]))
    if "other" in kwargs:
        args = (kwargs.pop("other"), *args)
    if args and isinstance(args[0], Tensor):
        return args[0].device, args[0].dtype, copy or (len(args) > 2 and bool(args[2])), kwargs.get("memory_format")
    device, dtype = kwargs.get("device"), kwargs.get("dtype")
    for value in args[:2]:
        if isinstance(value, torch.dtype):
            dtype = value
        elif value is not None and not isinstance(value, bool):
            device = value
    if args and isinstance(args[0], torch.dtype):
        copy = copy or (len(args) > 2 and bool(args[2]))
    return None if device is None else torch.device(device), dtype, copy, kwargs.get("memory_format")


def to_dtype(dtype: torch.dtype) -> Callable[[Sequence[Any], dict[str, Any]], Move]:
    return lambda args, kwargs: (None, dtype, False, kwargs.get("memory_format"))


MOVES: dict[Any, Callable[[Sequence[Any], dict[str, Any]], Move]] = {
    Tensor.to: parsed_to,
    Tensor.cpu: lambda args, kwargs: (torch.device("cpu"), None, False, None),
    Tensor.cuda: lambda args, kwargs: (whole_device(args[0] if args and args[0] is not None else "cuda"), None, False, None),
    Tensor.float: to_dtype(torch.float32),
    Tensor.half: to_dtype(torch.float16),
    Tensor.bfloat16: to_dtype(torch.bfloat16),
    Tensor.double: to_dtype(torch.float64),
}


def moved(x: Tensor, device: torch.device | None, dtype: torch.dtype | None, copy: bool, layout: torch.memory_format | None) -> Tensor:
    """`x.to(...)`, counted where it crosses from or to the card."""
    target = x.device if device is None else whole_device(device)
    with torch._C.DisableTorchFunction():
        if target == x.device and dtype in (None, x.dtype) and not copy and layout is None:
            return x
        if not isinstance(x, CardTensor) and not on_card(target):
            return x.to(device=target, dtype=dtype or x.dtype, copy=copy, memory_format=layout or torch.preserve_format)
        made = numbers(x).to(dtype=dtype or x.dtype, copy=True, memory_format=layout or torch.preserve_format)
    if not on_card(target):
        CardTensor.traffic.note(DOWNLOAD, made.nbytes)
        return made
    if not isinstance(x, CardTensor):
        CardTensor.traffic.note(UPLOAD, made.nbytes)
    return CardTensor(made, target)


def indexed(func: Any, x: Tensor, index: Any, value: Any = None) -> Any:
    """`x[index]`, or `x[index] = value`, where one of them is on the card. A list or tensor of numbers from elsewhere is uploaded."""
    if not isinstance(x, CardTensor):
        if any(isinstance(t, CardTensor) for t in tensors_in(index)):
            raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
        CardTensor.traffic.note(DOWNLOAD, value.nbytes)
        x[index] = numbers(value)
        return None
    for part in index if isinstance(index, tuple) else (index,):
        if isinstance(part, list) or (isinstance(part, Tensor) and not isinstance(part, CardTensor) and part.ndim):
            CardTensor.traffic.note(UPLOAD, 8 * len(part))
        if isinstance(part, Tensor) and part.dtype in (torch.bool, torch.uint8) and part.ndim:
            CardTensor.traffic.note(SYNC)
    with torch._C.DisableTorchFunction():
        place = index if isinstance(index, list) else mapped(numbers, index)
        if func is Tensor.__getitem__:
            return CardTensor(x.inner[place], x.device)
        if isinstance(value, Tensor) and value.ndim and not isinstance(value, CardTensor):
            CardTensor.traffic.note(UPLOAD, value.nbytes)
        x.inner[place] = numbers(value)
        return None


def storages(tensors: Sequence[Any]) -> set[int]:
    """The memory that tensors on the card lie in, each piece once."""
    return {t.inner.untyped_storage().data_ptr() for t in tensors if isinstance(t, CardTensor)}


def live() -> list[CardTensor]:
    """Every tensor on the card that something still holds."""
    gc.collect()
    return [thing for thing in gc.get_objects() if type(thing) is CardTensor]


@contextmanager
def counted() -> Iterator[Traffic]:
    """The traffic of what runs inside."""
    before, CardTensor.traffic = CardTensor.traffic, Traffic()
    try:
        yield CardTensor.traffic
    finally:
        CardTensor.traffic = before
