"""The help pages against the real host: one for each node, as the page asks for it, with the inputs and outputs that the node has."""

from __future__ import annotations

import re
from pathlib import Path

from tests.host.host_server import PACK, HostServer

DOCS = Path(__file__).resolve().parents[2] / "web" / "docs"
ROW = re.compile(r"^\| ([^|]+?) \|", re.MULTILINE)


def names(page: str, title: str) -> list[str]:
    """The first column of the first table below a heading."""
    table = page.partition(f"\n## {title}\n")[2].partition("\n## ")[0].strip().partition("\n\n")[0]
    return [name for name in ROW.findall(table) if name not in ("input", "output", "---")]


def test_every_node_has_a_page_that_names_all_it_has(host: HostServer) -> None:
    known = {node: info for node, info in host.object_info().items() if node.startswith("Marionette")}
    assert {path.stem for path in DOCS.glob("*.md")} == set(known), "a page for each node, and no other"
    for node, info in known.items():
        page = host.get(f"/extensions/{PACK}/docs/{node}.md")
        assert page.startswith(f"# {info['display_name']}\n"), node
        inputs = [name for kind in ("required", "optional") for name in info["input"].get(kind, {})]
        assert sorted(names(page, "Inputs")) == sorted(inputs), f"{node}: the inputs of the page are not those of the node"
        assert names(page, "Outputs") == info["output_name"], f"{node}: the outputs of the page are not those of the node"
