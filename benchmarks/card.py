"""A CUDA card that is not there: networks run on it at full size in seconds, their memory and FLOPs counted and nothing computed.

Tensors are torch's fake ones (`FakeTensorMode`): they have shape, dtype, device and storage size, and no numbers. Counted bytes are those
of live storages on the card in steps of 512, as torch's allocator hands them out. Not counted: what kernels of cuDNN and cuBLAS take for
themselves while they run, and fragmentation.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

ALLOCATION = 512
# Kernels that take one dtype; fake ones do not look. Sums of two dtypes are promoted, and the next of these kernels sees it.
SAME_DTYPE = ("mm", "addmm", "bmm", "baddbmm", "convolution", "native_layer_norm", "native_group_norm", "cat",
              "_scaled_dot_product_flash_attention", "_scaled_dot_product_efficient_attention")


class FusedAttention(TorchFunctionMode):
    """`scaled_dot_product_attention` as the kernel that a card has for it: flash at 16 bits, memory-efficient in fp32."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        return self.fused(*args, **(kwargs or {}))

    @staticmethod
    def fused(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0, is_causal: bool = False,
              scale: float | None = None, enable_gqa: bool = False) -> Tensor:
        if attn_mask is not None or enable_gqa:
            raise NotImplementedError("attention with a mask or grouped queries is not counted")
        aten = torch.ops.aten
        if q.dtype == torch.float32:
            return aten._scaled_dot_product_efficient_attention(q, k, v, None, False, dropout_p, is_causal, scale=scale)[0]
        return aten._scaled_dot_product_flash_attention(q, k, v, dropout_p, is_causal, scale=scale)[0]


@contextmanager
def pretended_card() -> Iterator[None]:
    """Tensors made inside are fake; device "cuda" is there whatever the machine has. Gradients are off."""
    # no_grad, not inference_mode: the latter hands composite operations to a counter whole, with what they allocate inside
    with FakeTensorMode(), FusedAttention(), torch.no_grad():
        yield


class Places:
    """Names of the modules that are running, innermost last, for a network whose passes are counted."""

    def __init__(self, network: nn.Module | None) -> None:
        self.stack: list[str] = []
        for name, module in network.named_modules() if network is not None else ():
            module.register_forward_pre_hook(lambda _, __, name=name: self.stack.append(name))
            module.register_forward_hook(self.leave)

    def leave(self, *_: Any) -> None:
        self.stack.pop()

    @property
    def current(self) -> str:
        return self.stack[-1] if self.stack else ""


def base_name(func: Any) -> str:
    return func._schema.name.split("::")[-1]


def tensors(values: Any) -> list[Tensor]:
    return [t for t in tree_leaves(values) if isinstance(t, Tensor)]


class CardMemory(TorchDispatchMode):
    """Counts the card's live bytes: `live` now, `peak` since `restart`, and `where` that was.

    Raises TypeError where a kernel is given tensors of two dtypes, RuntimeError (torch's own) for tensors of two devices.
    """

    def __init__(self, network: nn.Module | None = None) -> None:
        super().__init__()
        self.places = Places(network)
        self.live = self.peak = 0
        self.where = ""
        self.storages: dict[int, int] = {}

    def restart(self) -> None:
        self.peak, self.where = self.live, ""

    def note(self, t: Tensor, size: int) -> None:
        storage = t.untyped_storage()
        if t.device.type == "cuda" and storage._cdata not in self.storages:
            self.storages[storage._cdata] = size
            self.live += size
            weakref.finalize(storage, self.freed, storage._cdata)

    def freed(self, key: int) -> None:
        self.live -= self.storages.pop(key)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if base_name(func) in SAME_DTYPE:
            inputs = [t for t in tensors((args, kwargs)) if t.ndim and t.is_floating_point()]
            if len({t.dtype for t in inputs}) > 1:
                raise TypeError(f"{self.places.current}: {base_name(func)} of {[(tuple(t.shape), t.dtype) for t in inputs]}")
        for t in tensors((args, kwargs)):
            self.note(t, 0)  # what was there before counting began: weights, of which views are taken
        out = func(*args, **kwargs)
        for t in tensors(out):
            self.note(t, -(-t.untyped_storage().nbytes() // ALLOCATION) * ALLOCATION)
        if self.live > self.peak:
            self.peak, self.where = self.live, f"{self.places.current} ({base_name(func)})"
        return out


class CardFlops(TorchDispatchMode):
    """Counts FLOPs of matrix products, convolutions and attention, by running module and operation."""

    def __init__(self, network: nn.Module | None = None) -> None:
        super().__init__()
        self.places = Places(network)
        self.counted: Counter[tuple[str, str]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func._overloadpacket in flop_registry:
            self.counted[self.places.current, base_name(func)] += flop_registry[func._overloadpacket](*args, **kwargs, out_val=out)
        return out


def flops_of(call: Callable[[], Any]) -> int:
    """FLOPs of anything that runs on fake tensors; to be called inside `pretended_card`, where the call's tensors were made."""
    with CardFlops() as counter:
        call()
    return sum(counter.counted.values())


@dataclass(frozen=True)
class Peak:
    """Bytes on the card. above: at the height, all but the weights; kept: of it, what was there before; where: module and operation."""

    above: int
    kept: int
    weights: int
    where: str


def peak_of(network: nn.Module, prepare: Callable[[], Callable[[], Any]]) -> Peak:
    """The height of a call, whose inputs `prepare` makes and keeps; to be called inside `pretended_card`."""
    weights = sum(t.nbytes for t in [*network.parameters(), *network.buffers()])
    with CardMemory(network) as memory:
        call = prepare()
        kept = memory.live
        memory.restart()
        call()
        return Peak(memory.peak, kept, weights, memory.where)
