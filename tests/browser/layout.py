"""Whether a graph in the page reads from left to right."""

from __future__ import annotations

import itertools
from typing import Any

from tests.browser.comfy_page import ComfyPage


def overlap(a: dict[str, Any], b: dict[str, Any]) -> bool:
    (ax, ay, aw, ah), (bx, by, bw, bh) = a["box"], b["box"]
    return ax < bx + bw and bx < ax + aw and ay < by + bh and by < ay + ah


def filled(group: dict[str, Any], nodes: list[dict[str, Any]]) -> float:
    """The share of a group's area that its nodes take."""
    x, y, width, height = group["box"]
    shared = 0.0
    for left, top, wide, high in (node["box"] for node in nodes):
        shared += max(0.0, min(x + width, left + wide) - max(x, left)) * max(0.0, min(y + height, top + high) - max(y, top))
    return shared / (width * height)


def check_layout(shown: ComfyPage) -> None:
    """Of the graph in view: nodes apart from each other, every wire from left to right."""
    nodes = {node["id"]: node for node in shown.nodes()}
    assert [(a["title"], b["title"]) for a, b in itertools.combinations(nodes.values(), 2) if overlap(a, b)] == []
    wires = [(nodes[origin], nodes[target]) for _, origin, _, target, *_ in shown.links() if origin in nodes and target in nodes]
    assert [(a["title"], b["title"]) for a, b in wires if a["box"][0] + a["box"][2] > b["box"][0]] == [], "wires that go left"
