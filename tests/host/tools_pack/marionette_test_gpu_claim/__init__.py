"""No nodes. onnxruntime says here that it has DirectML, and the log tells, in order, when room on the GPU and sessions are asked for."""

from __future__ import annotations

import logging
from typing import Any

import comfy.model_management
import onnxruntime

free_memory, open_session = comfy.model_management.free_memory, onnxruntime.InferenceSession


def free_memory_told(memory_required: float, *args: Any, **kwargs: Any) -> Any:
    logging.info("TEST room for %d MiB", memory_required / 2**20)
    return free_memory(memory_required, *args, **kwargs)


def open_session_told(path: str, options: Any, providers: list[str]) -> Any:
    logging.info("TEST session by %s", providers[0])
    return open_session(path, options, providers=providers)


comfy.model_management.free_memory = free_memory_told
onnxruntime.InferenceSession = open_session_told
onnxruntime.get_available_providers = lambda: ["DmlExecutionProvider", "CPUExecutionProvider"]
NODE_CLASS_MAPPINGS: dict[str, type] = {}
