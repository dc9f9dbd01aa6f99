"""Workflow files, as the page saves them and as the API takes them, open to changes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .old_nodes import CONTROL, NEW_NODES, NewNode

COLUMN, ROW, GAP = 400, 26, 60  # of the page, in pixels: a column of nodes, a row in a node, between nodes (with a title)
NODE_WIDTH = 340
PREVIEWS = {"LoadVideo": 510}  # heights of nodes that grow when the page shows what they load
SUBGRAPH_INPUTS, SUBGRAPH_OUTPUTS = "-10", "-20"  # a subgraph's own ends stand in its links as if they were nodes
LINK_KEYS = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")


class WorkflowError(ValueError):
    """What was given is no workflow."""


class Source(NamedTuple):
    """An output."""

    node: str
    slot: int


class Graph(ABC):
    """Nodes by id. Changes are made in place."""

    @abstractmethod
    def kinds(self) -> dict[str, str]:
        """Node id -> type."""

    @abstractmethod
    def stored(self, node: str) -> Mapping[str, Any] | Sequence[Any]:
        """Widgets' values: by name, or in the page's order."""

    @abstractmethod
    def source(self, node: str, name: str) -> Source | None:
        """What feeds an input, past reroutes; None where nothing does."""

    @abstractmethod
    def used(self, node: str, slot: int | None = None) -> bool:
        """Whether an output of the node is, or the one given."""

    @abstractmethod
    def add(self, kind: str, inputs: Mapping[str, Any], like: str) -> str:
        """A new node's id. inputs: values, and what feeds it as Source. like: the node whose mode (muted, bypassed) it takes."""

    @abstractmethod
    def replace(self, node: str, kind: str, inputs: Mapping[str, Any]) -> None:
        """Makes a node one of another type; what its outputs feed is kept."""

    @abstractmethod
    def redirect(self, old: Source, new: Source) -> None:
        """Whatever the old output fed, the new one feeds."""

    @abstractmethod
    def remove(self, node: str) -> None:
        """With its links."""

    @abstractmethod
    def arrange(self, node: str, columns: Sequence[Sequence[str]]) -> None:
        """Places the new nodes from where the old one was to the right; it is in one of the columns."""

    @abstractmethod
    def title(self, node: str) -> str:
        """For messages."""


class ApiGraph(Graph):
    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data

    def kinds(self) -> dict[str, str]:
        return {node: about["class_type"] for node, about in self.data.items()}

    def stored(self, node: str) -> Mapping[str, Any]:
        return {name: value for name, value in self.data[node]["inputs"].items() if not _is_link(value)}

    def source(self, node: str, name: str) -> Source | None:
        value = self.data[node]["inputs"].get(name)
        return Source(str(value[0]), value[1]) if _is_link(value) else None

    def used(self, node: str, slot: int | None = None) -> bool:
        return any(_is_link(value) and str(value[0]) == node and slot in (None, value[1])
                   for about in self.data.values() for value in about["inputs"].values())

    def add(self, kind: str, inputs: Mapping[str, Any], like: str) -> str:
        node = str(max((int(name) for name in self.data if name.isdecimal()), default=0) + 1)
        self.data[node] = {}
        self.replace(node, kind, inputs)
        return node

    def replace(self, node: str, kind: str, inputs: Mapping[str, Any]) -> None:
        new = NEW_NODES[kind]
        defaults = {widget.name: widget.default for widget in new.widgets if widget.name != CONTROL}
        given = {name: list(value) if isinstance(value, Source) else value for name, value in inputs.items()
                 if value is not None and name != CONTROL}
        self.data[node] = {"class_type": kind, "inputs": {**defaults, **given}, "_meta": {"title": kind}}

    def redirect(self, old: Source, new: Source) -> None:
        for about in self.data.values():
            for name, value in about["inputs"].items():
                if _is_link(value) and Source(str(value[0]), value[1]) == old:
                    about["inputs"][name] = list(new)

    def remove(self, node: str) -> None:
        del self.data[node]
        for about in self.data.values():
            about["inputs"] = {name: value for name, value in about["inputs"].items() if not (_is_link(value) and str(value[0]) == node)}

    def arrange(self, node: str, columns: Sequence[Sequence[str]]) -> None:
        """There are no places in this format."""

    def title(self, node: str) -> str:
        return f"{self.data[node]['class_type']} (node {node})"


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int) and type(value[1]) is int


class _Link:
    def __init__(self, origin: Source, target: str, slot: int, kind: Any) -> None:
        self.origin, self.target, self.slot, self.kind = origin, target, slot, kind


class Numbers:
    """Fresh ids of nodes and links, of a whole workflow with its subgraphs."""

    def __init__(self) -> None:
        self.node = self.link = 0

    def seen(self, node: Any = 0, link: Any = 0) -> None:
        self.node = max(self.node, int(node)) if str(node).isdecimal() else self.node
        self.link = max(self.link, int(link)) if str(link).isdecimal() else self.link

    def new_node(self) -> int:
        self.node += 1
        return self.node

    def new_link(self) -> int:
        self.link += 1
        return self.link


class PageGraph(Graph):
    """A graph of the page's format, or one of its subgraphs, which has the same form. `store` writes the changes back."""

    def __init__(self, data: dict[str, Any], numbers: Numbers) -> None:
        self.data, self.numbers = data, numbers
        self.nodes: dict[str, dict[str, Any]] = {}
        for i, node in enumerate(data["nodes"]):
            if not isinstance(node, dict) or not isinstance(node.get("type"), str) or not isinstance(node.get("id"), str | int):
                raise WorkflowError(f"nodes: entry {i} has no type and id")
            for part in ("inputs", "outputs"):
                slots = node.get(part) or []
                if not isinstance(slots, list) or not all(map(_is_slot, slots)):
                    raise WorkflowError(f"nodes: the {part} of node {node['id']} are not as the page writes them")
            self.nodes[str(node["id"])] = node
            numbers.seen(node=node["id"])
        self.links: dict[int, _Link] = {}
        links = data.get("links") or []
        for i, link in enumerate(links if isinstance(links, list) else [links]):
            try:
                number, origin, slot, target, at, kind = [link[key] for key in LINK_KEYS] if isinstance(link, dict) else link[:6]
                number, read = int(number), _Link(Source(str(origin), int(slot)), str(target), int(at), kind)
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                raise WorkflowError(f"links: entry {i} is not as the page writes it") from error
            if self._output(read.origin) is not None:  # files hold links of nodes that were deleted
                self.links[number] = read
            numbers.seen(link=number)
        self.as_dicts = any(isinstance(link, dict) for link in links)

    def store(self) -> None:
        self.data["nodes"] = list(self.nodes.values())
        rows = [[number, _number(link.origin.node), link.origin.slot, _number(link.target), link.slot, link.kind]
                for number, link in self.links.items()]
        self.data["links"] = [dict(zip(LINK_KEYS, row, strict=True)) for row in rows] if self.as_dicts else rows

    def kinds(self) -> dict[str, str]:
        return {node: about["type"] for node, about in self.nodes.items()}

    def stored(self, node: str) -> Mapping[str, Any] | Sequence[Any]:
        values = self.nodes[node].get("widgets_values")
        return values if isinstance(values, dict | list) else []

    def source(self, node: str, name: str) -> Source | None:
        for slot in self.nodes[node].get("inputs") or []:
            if slot.get("name") == name and slot.get("link") in self.links:
                return self._past_reroutes(self.links[slot["link"]].origin)
        return None

    def _past_reroutes(self, source: Source) -> Source | None:
        for _ in self.nodes:
            about = self.nodes.get(source.node)
            if about is None or not about["type"].startswith("Reroute"):
                return source
            link = next((slot.get("link") for slot in about.get("inputs") or []), None)
            if link not in self.links:
                return None
            source = self.links[link].origin
        return None

    def used(self, node: str, slot: int | None = None) -> bool:
        return any(link.origin.node == node and slot in (None, link.origin.slot) for link in self.links.values())

    def add(self, kind: str, inputs: Mapping[str, Any], like: str) -> str:
        number = self.numbers.new_node()
        self.nodes[str(number)] = {"id": number, "pos": [0, 0], "mode": self.nodes[like].get("mode", 0), "order": 0}
        self._become(str(number), kind, inputs)
        return str(number)

    def replace(self, node: str, kind: str, inputs: Mapping[str, Any]) -> None:
        self._unlink([number for number, link in self.links.items() if link.target == node])
        self._become(node, kind, inputs)

    def _become(self, node: str, kind: str, inputs: Mapping[str, Any]) -> None:
        about, new = self.nodes[node], NEW_NODES[kind]
        kept = [[number for number in slot.get("links") or [] if number in self.links] for slot in about.get("outputs") or []]
        outputs = [{"name": name, "type": of, "links": kept[i] if i < len(kept) else []} for i, (name, of) in enumerate(new.outputs)]
        for output in outputs:
            for number in output["links"]:
                self.links[number].kind = output["type"]
        about.pop("title", None)
        about.update({
            "type": kind, "size": [NODE_WIDTH, PREVIEWS.get(kind, _height(new))], "flags": {}, "properties": {"Node name for S&R": kind},
            "inputs": [{"name": name, "type": of, "link": None} for name, of in new.sockets], "outputs": outputs,
            "widgets_values": [widget.default if isinstance(value := inputs.get(widget.name), Source | None) else value
                               for widget in new.widgets],
        })
        for name, value in inputs.items():
            if isinstance(value, Source):
                self._connect(value, node, name)

    def _connect(self, origin: Source, target: str, name: str) -> None:
        slots, kind = self.nodes[target]["inputs"], (self._output(origin) or {}).get("type", "*")
        at = next((i for i, slot in enumerate(slots) if slot["name"] == name), len(slots))
        if at == len(slots):  # a widget that is fed by a link
            slots.append({"name": name, "type": kind, "widget": {"name": name}})
        number = self.numbers.new_link()
        self.links[number] = _Link(origin, target, at, kind)
        slots[at]["link"] = number
        self._leaving(origin).append(number)

    def _output(self, origin: Source) -> dict[str, Any] | None:
        """The output's entry, that of a subgraph's inputs included; None if there is none."""
        about = self.data if origin.node == SUBGRAPH_INPUTS else self.nodes.get(origin.node, {})
        outputs = about.get("inputs" if origin.node == SUBGRAPH_INPUTS else "outputs") or []
        if not isinstance(outputs, list) or not 0 <= origin.slot < len(outputs) or not _is_slot(outputs[origin.slot]):
            return None
        found: dict[str, Any] = outputs[origin.slot]
        return found

    def _leaving(self, origin: Source) -> list[int]:
        """The list that an output keeps of the links that leave it."""
        output, key = self._output(origin), "linkIds" if origin.node == SUBGRAPH_INPUTS else "links"
        assert output is not None
        output[key] = output.get(key) or []
        kept: list[int] = output[key]
        return kept

    def _unlink(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            link = self.links.pop(number)
            lists = [self._leaving(link.origin)]
            ends = self.data.get("outputs") or []
            if link.target == SUBGRAPH_OUTPUTS and 0 <= link.slot < len(ends):
                lists.append(ends[link.slot].get("linkIds") or [])
            for kept in lists:
                kept[:] = [other for other in kept if other != number]
            for slot in self.nodes.get(link.target, {}).get("inputs") or []:
                if slot.get("link") == number:
                    slot["link"] = None

    def redirect(self, old: Source, new: Source) -> None:
        for number in [number for number, link in self.links.items() if link.origin == old]:
            left = self._leaving(old)
            left[:] = [other for other in left if other != number]
            self._leaving(new).append(number)
            self.links[number].origin = new

    def remove(self, node: str) -> None:
        self._unlink([number for number, link in self.links.items() if node in (link.target, link.origin.node)])
        del self.nodes[node]

    def arrange(self, node: str, columns: Sequence[Sequence[str]]) -> None:
        x, y = _pair(self.nodes[node].get("pos"))
        new = {other for column in columns for other in column}
        shift = (len(columns) - 1) * COLUMN
        for other, about in self.nodes.items():
            at = _pair(about.get("pos"))
            if other not in new and at[0] >= x:
                about["pos"] = [at[0] + shift, at[1]]
        for i, column in enumerate(columns):
            below = y
            for other in column:
                self.nodes[other]["pos"] = [x + i * COLUMN, below]
                below += self.nodes[other]["size"][1] + GAP

    def make_room(self, moved: set[str]) -> None:
        """Moves nodes down that lie under others, where either is one of those named."""
        placed: list[tuple[str, dict[str, Any]]] = []
        for node, about in sorted(self.nodes.items(), key=lambda item: _pair(item[1].get("pos"))[1]):
            for other, above in placed:
                if moved & {node, other} and _overlap(above, about):
                    about["pos"] = [_pair(about["pos"])[0], _pair(above["pos"])[1] + _pair(above.get("size"))[1] + GAP]
            placed.append((node, about))

    def note(self, title: str, text: str) -> None:
        """A note at the graph's upper left."""
        corners = [_pair(about.get("pos")) for about in self.nodes.values()]
        number = self.numbers.new_node()
        self.nodes[str(number)] = {
            "id": number, "type": "MarkdownNote", "title": title, "pos": [min(x for x, _ in corners) - 480, min(y for _, y in corners)],
            "size": [420, 60 + 16 * (text.count("\n") + len(text) // 60)], "flags": {}, "order": 0, "mode": 0, "inputs": [], "outputs": [],
            "properties": {}, "widgets_values": [text], "color": "#432", "bgcolor": "#653",
        }

    def title(self, node: str) -> str:
        return f"{self.nodes[node]['type']} (node {node})"


def _is_slot(slot: Any) -> bool:
    """Whether this is an entry for an input or an output, of a node or of a subgraph."""
    if not isinstance(slot, dict) or not isinstance(slot.get("link"), int | None):
        return False
    lists = [slot.get(key) or [] for key in ("links", "linkIds")]
    return all(isinstance(numbers, list) and all(isinstance(number, int) for number in numbers) for numbers in lists)


def _number(node: str) -> int | str:
    return int(node) if node.lstrip("-").isdecimal() else node


def _pair(value: Any) -> list[float]:
    """A place or size, which older pages wrote as {"0": x, "1": y}."""
    try:
        return [float(value["0"]), float(value["1"])] if isinstance(value, dict) else [float(value[0]), float(value[1])]
    except (KeyError, IndexError, TypeError, ValueError):
        return [0.0, 0.0]


def _height(new: NewNode) -> int:
    return ROW * (max(len(new.sockets), len(new.outputs)) + len(new.widgets)) + 20


def _overlap(a: dict[str, Any], b: dict[str, Any]) -> bool:
    (ax, ay), (aw, ah), (bx, by), (bw, bh) = (_pair(node.get(key)) for node in (a, b) for key in ("pos", "size"))
    return ax < bx + bw and bx < ax + aw and ay < by + bh and by < ay + ah + GAP / 2
