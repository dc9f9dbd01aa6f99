"""API-format graphs, and the changes that tests make to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.host.result import Graph

FOLDER = Path(__file__).parent / "graphs"


def load(name: str, **changes: dict[str, Any]) -> Graph:
    """The graph of graphs/NAME.json, with `node={input: value}` set; a value of None takes the input away."""
    return change(json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")), **changes)


def change(graph: Graph, **changes: dict[str, Any]) -> Graph:
    """The graph with inputs of nodes changed, in place. Raises KeyError for a node that it does not have."""
    for node, inputs in changes.items():
        for key, value in inputs.items():
            if value is None:
                graph[node]["inputs"].pop(key, None)
            else:
                graph[node]["inputs"][key] = value
    return graph


def add(graph: Graph, node: str, class_type: str, **inputs: Any) -> Graph:
    """The graph with one more node, or another node in its place; in place."""
    graph[node] = {"class_type": class_type, "inputs": inputs}
    return graph


def add_windows(graph: Graph, **inputs: Any) -> Graph:
    """The graph with a Windows node called `windows`, not yet connected; in place."""
    defaults = {"length": 24, "overlap": 4, "stride": 1, "schedule": "shifted", "weights": "pyramid", "closed_loop": False}
    return add(graph, "windows", "MarionetteWindows", **{**defaults, **inputs})


def model_from(graph: Graph, node: str) -> Graph:
    """Whatever took the loader's MODEL takes it from `node` instead; in place."""
    for name, about in graph.items():
        for key, value in about["inputs"].items():
            if name != node and value == ["model", 0]:
                about["inputs"][key] = [node, 0]
    return graph
