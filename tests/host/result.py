"""What came of one graph."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.host.events import ENDS, Event

Graph = dict[str, dict[str, Any]]
SAMPLERS = ("MarionetteMultiFrameSampler", "KSampler", "SamplerCustomAdvanced")


@dataclass(frozen=True)
class Result:
    """status: "success", "error", "interrupted", or "invalid" for a graph that the host refused before running any of it.

    outputs: the host's own record of what each output node made. refusal: the reply to an invalid graph.
    """

    graph: Graph
    status: str
    folder: Path
    outputs: dict[str, Any] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    messages: list[Any] = field(default_factory=list)
    refusal: dict[str, Any] = field(default_factory=dict)

    def of_kind(self, kind: str) -> list[Event]:
        return [event for event in self.events if event.kind == kind]

    @property
    def executed(self) -> list[str]:
        """Ids of the nodes that really ran, in order."""
        return [event.data["node"] for event in self.of_kind("executing") if event.data.get("node")]

    @property
    def cached(self) -> set[str]:
        """Ids of the nodes whose outputs the host still had."""
        return {node for event in self.of_kind("execution_cached") for node in event.data["nodes"]}

    def ran(self, class_type: str) -> bool:
        return any(self.graph[node]["class_type"] == class_type for node in self.executed if node in self.graph)

    @property
    def error(self) -> str:
        """What a user reads: the node's exception, or the host's words about the inputs that it refused."""
        if self.status == "invalid":
            lines = [str(self.refusal.get("error", {}).get("message", ""))]
            for node in (self.refusal.get("node_errors") or {}).values():
                lines += [f"{node['class_type']}: {error['message']}: {error['details']}" for error in node["errors"]]
            return "\n".join(lines)
        return "\n".join(str(data["exception_message"]) for kind, data in self.messages if kind == "execution_error")

    @property
    def traceback(self) -> str:
        return "\n".join("".join(data["traceback"]) for kind, data in self.messages if kind == "execution_error")

    @property
    def error_node(self) -> str | None:
        """Class of the node that raised."""
        return next((data["node_type"] for kind, data in self.messages if kind == "execution_error"), None)

    @property
    def sampling_started(self) -> bool:
        return any(event.data.get("node") in self.sampler_nodes for event in self.of_kind("progress"))

    @property
    def sampler_nodes(self) -> set[str]:
        return {node for node, about in self.graph.items() if about["class_type"] in SAMPLERS}

    def progress(self, node: str) -> list[tuple[int, int]]:
        """(value, maximum) of each report of a node's progress bar."""
        return [(event.data["value"], event.data["max"]) for event in self.of_kind("progress") if event.data.get("node") == node]

    def previews(self, node: str) -> list[Image.Image]:
        return [Image.open(io.BytesIO(event.data["image"])) for event in self.of_kind("preview") if event.data["node"] == node]

    @property
    def seconds(self) -> float:
        """From the first event to the last."""
        return self.events[-1].time - self.events[0].time if self.events else 0.0

    def _files(self, node: str, kind: str) -> list[Path]:
        assert self.status == "success", f"{self.status}: {self.error}\n{self.traceback}"
        return [self.folder / entry["subfolder"] / entry["filename"] for entry in self.outputs[node][kind]]

    def latent(self, node: str = "save") -> torch.Tensor:
        """What a Save Latent node wrote, `[F, C, h, w]`."""
        return load_file(self._files(node, "latents")[0])["latent_tensor"]

    def images(self, node: str = "frames") -> np.ndarray:
        """What a Save Image node wrote, `[F, H, W, 3]` uint8."""
        return np.stack([np.asarray(Image.open(path).convert("RGB")) for path in self._files(node, "images")])


def result_of(graph: Graph, history: dict[str, Any], events: list[Event], folder: Path) -> Result:
    """Reads a finished prompt's entry of the host's history."""
    messages = [tuple(message) for message in history["status"]["messages"]]
    kinds = {kind for kind, _ in messages}
    end = next((kind for kind in ENDS if kind in kinds), "execution_error")
    status = {"execution_success": "success", "execution_error": "error", "execution_interrupted": "interrupted"}[end]
    return Result(graph, status, folder, history.get("outputs", {}), events, messages)
