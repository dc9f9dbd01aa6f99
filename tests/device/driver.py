"""What PyTorch tells of a card that is not there, and DynamicVRAM's paging in plain memory; both before the host is imported."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import mmap
import os
import platform
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from tests.device.card import SYNC, CardMode, CardTensor, whole_device

GIB = 2**30


class Driver:
    """One kind of card. free: bytes that it says are free, whatever lies on it; tests set it to make the host offload."""

    def __init__(self, kind: str, total: int = 10 * GIB) -> None:
        self.kind = kind
        self.total = total
        self.free = 8 * GIB
        self.threads = threading.local()

    @contextlib.contextmanager
    def little_memory(self, free: int) -> Iterator[None]:
        """Inside, the card has less memory free."""
        before, self.free = self.free, free
        try:
            yield
        finally:
            self.free = before

    def install(self) -> None:
        """Makes PyTorch report the card in this process, and every thread that starts from now on see it."""
        start = threading.Thread.run

        def run(thread: threading.Thread) -> None:
            with CardMode():
                start(thread)

        threading.Thread.run = run  # type: ignore[method-assign]
        if self.kind == "cuda":
            self.install_cuda()
        elif self.kind == "mps":
            torch.backends.mps.is_available = functools.lru_cache(lambda: True)
            torch.mps.empty_cache = lambda: None
            platform.mac_ver = lambda *args: ("15.5", ("", "", ""), "arm64")

    def install_cuda(self) -> None:
        """Two cards of the kind that 8 to 12 GB are common for."""
        properties = SimpleNamespace(major=8, minor=6, name="NVIDIA GeForce RTX 3080", total_memory=self.total, multi_processor_count=68)
        told: dict[str, Any] = {
            "is_available": lambda: True,
            "device_count": lambda: 2,
            # each thread has its own
            "current_device": lambda: getattr(self.threads, "current", 0),
            "set_device": lambda device: setattr(self.threads, "current", whole_device(device).index),
            "get_device_properties": lambda device=None: properties,
            "get_device_name": lambda device=None: properties.name,
            "get_device_capability": lambda device=None: (properties.major, properties.minor),
            "mem_get_info": lambda device=None: (self.free, self.total),
            "memory_stats": lambda device=None: {"active_bytes.all.current": 0, "reserved_bytes.all.current": 0},
            "is_bf16_supported": lambda *args: True,
            "get_allocator_backend": lambda: "native",
            "synchronize": lambda device=None: CardTensor.traffic.note(SYNC),
            "empty_cache": lambda: None,
            "ipc_collect": lambda: None,
        }
        for name, value in told.items():
            setattr(torch.cuda, name, value)


class PlainMap:
    """A file in memory, by the interface of comfy-aimdo's ModelMMAP."""

    def __init__(self, path: str) -> None:
        self.file = open(path, "rb")  # noqa: SIM115
        self.map = mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_COPY)
        self.view = (ctypes.c_uint8 * len(self.map)).from_buffer(self.map)

    def get(self) -> int:
        return ctypes.addressof(self.view)

    def get_file_handle(self) -> int:
        return self.file.fileno()

    def bounce(self) -> bool:
        return True


class PlainBuffer:
    """No pinned memory, by the interface of comfy-aimdo's HostBuffer."""

    def __init__(self, *args: Any) -> None:
        self.size = 0

    def truncate(self, *args: Any, **kwargs: Any) -> None:
        self.size = 0


class PlainPages:
    """The card's pages of one model, by the interface of comfy-aimdo's ModelVBAR.

    resident: whether the card has room, so that a weight stays once it is there; without, each is brought again for each use.
    """

    resident = True

    def __init__(self, size: float, device: int) -> None:
        self.offset = 0
        self.signature = 1  # changes when what was on the card is gone
        self.pages: dict[int, Tensor] = {}

    def alloc(self, size: int) -> tuple[PlainPages, int, int]:
        self.offset += size
        return self, self.offset - size, size

    def prioritize(self, *args: Any) -> None:
        return

    def loaded_size(self) -> int:
        return sum(page.nbytes for page in self.pages.values())

    def free_memory(self, size: float) -> int:
        freed = self.loaded_size()
        self.pages.clear()
        self.signature += 1
        return freed


def install_paging() -> None:
    """Puts plain memory in the place of comfy-aimdo's paging. What the host does with it stays the host's."""
    import comfy_aimdo.host_buffer
    import comfy_aimdo.model_mmap
    import comfy_aimdo.model_vbar
    import comfy_aimdo.torch

    def fault(place: tuple[PlainPages, int, int]) -> int | None:
        return place[0].signature if PlainPages.resident else None

    def tensor(place: tuple[PlainPages, int, int], device: torch.device) -> Tensor:
        pages, offset, size = place
        if offset not in pages.pages:
            pages.pages[offset] = torch.empty((size,), dtype=torch.uint8, device=device)
        return pages.pages[offset]

    def read(file: int, offset: int, size: int, stream: int, target: int, device: int, mark_cold: bool = True) -> None:
        ctypes.memmove(target, os.pread(file, size, offset), size)

    modules = {
        comfy_aimdo.host_buffer: {"HostBuffer": PlainBuffer, "read_file_to_device": read},
        comfy_aimdo.model_mmap: {"ModelMMAP": PlainMap},
        comfy_aimdo.model_vbar: {"ModelVBAR": PlainPages, "vbar_fault": fault, "vbar_unpin": lambda place: None,
                                 "vbar_signature_compare": lambda a, b: a is not None and a == b, "vbars_analyze": lambda device=None: 0,
                                 "vbars_reset_watermark_limits": lambda: None},
        comfy_aimdo.torch: {"aimdo_to_tensor": tensor},
    }
    for module, names in modules.items():
        for name, value in names.items():
            setattr(module, name, value)
