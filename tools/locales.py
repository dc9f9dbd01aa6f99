"""Writes the English texts of the nodes, which the translations in `locales/` follow: `python -m tools.locales` after a text has changed.

The code holds the English texts; `locales/en` is their copy as of the last translation. Tests say when it is out of date, so that the other
languages are brought up to date with it.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.host.host_server import HostServer

ROOT = Path(__file__).resolve().parents[1]
LOCALES = ROOT / "locales"
PREFIX = "Marionette"


def key(name: str) -> str:
    """As the page writes an id in its keys."""
    return name.replace(".", "_")


def commands() -> dict[str, Any]:
    """Contents of commands.json: the command of web/old_workflows.js."""
    code = (ROOT / "web" / "old_workflows.js").read_text(encoding="utf-8")
    command, title = (re.search(rf'^const {name} = "(.+)";$', code, re.MULTILINE) for name in ("COMMAND", "TITLE"))
    if command is None or title is None:
        raise ValueError("web/old_workflows.js: no COMMAND or TITLE")
    return {key(command[1]): {"label": title[1]}}


def texts(label: str, tooltip: str | None) -> dict[str, str]:
    return {"name": label, "tooltip": tooltip} if tooltip else {"name": label}


def english(nodes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Contents of nodeDefs.json and main.json for the host's `/object_info`."""
    definitions: dict[str, Any] = {}
    categories: dict[str, str] = {}
    for node, info in sorted(nodes.items()):
        if not node.startswith(PREFIX):
            continue
        inputs = {}
        for kind in ("required", "optional"):
            for name, (_, *options) in info["input"].get(kind, {}).items():
                settings = options[0] if options else {}
                inputs[key(name)] = texts(settings.get("display_name") or name, settings.get("tooltip"))
        outputs = {str(i): texts(name, tooltip) for i, (name, tooltip)
                   in enumerate(zip(info["output_name"], info["output_tooltips"], strict=True))}
        definitions[key(node)] = {"display_name": info["display_name"], "description": info["description"], "inputs": inputs,
                                  "outputs": outputs}
        categories |= {part: part for part in info["category"].split("/")}
    return definitions, {"nodeCategories": dict(sorted(categories.items()))}


def write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, HostServer(Path(folder)) as host:
        definitions, other = english(host.object_info())
    write(LOCALES / "en" / "nodeDefs.json", definitions)
    write(LOCALES / "en" / "main.json", other)
    write(LOCALES / "en" / "commands.json", commands())


if __name__ == "__main__":
    main()
