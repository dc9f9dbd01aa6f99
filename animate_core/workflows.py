"""Workflows of older Animate Anyone packs, made into workflows of this one.

`python -m animate_core.workflows convert old.json new.json` takes both of ComfyUI's formats, the page's and the API's.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .graph_files import ApiGraph, Graph, Numbers, PageGraph, WorkflowError
from .old_nodes import OLD_NODES
from .revival import WEIGHTS, Conversion, Files

NOTE_TITLE = "Converted for Marionette"
CATEGORIES = ("animate_anyone", "clip_vision", "vae")  # folders of the host's models that are looked into
PICTURES = (".png", ".webp", ".jpg", ".jpeg", ".mp4", ".gif")


@dataclass(frozen=True)
class Converted:
    """workflow: in the format of the old one. replaced: types of the old nodes. notes: what was lost or changed."""

    workflow: dict[str, Any]
    replaced: list[str]
    notes: list[str]


def convert(workflow: Any, files: Files | None = None) -> Converted:
    """A workflow with the old nodes replaced, those in subgraphs included; what was given is left as it is.

    files: the user's model files, of which the loaders are given those that fit. A workflow of the page gets a note of what was lost.
    Raises WorkflowError for what is no workflow. One without old nodes comes back as it is.
    """
    workflow = copy.deepcopy(workflow)
    graphs = open_graphs(workflow)
    runs = [Conversion(graph, files or {}) for graph in graphs]
    for run in runs:
        run.run()
    replaced = [kind for run in runs for kind in run.replaced]
    notes = [note for run in runs for note in run.notes]
    numbers = Numbers()
    for run, graph in zip(runs, graphs, strict=True):
        if not isinstance(graph, PageGraph):
            continue
        numbers = graph.numbers
        if run.made:
            graph.make_room(run.made)
            if graph is graphs[0]:
                graph.note(NOTE_TITLE, "\n".join(["Nodes of older packs were replaced:", "", *(f"- {note}" for note in notes)]))
            graph.store()
    if replaced and "nodes" in workflow:
        workflow.update(last_node_id=numbers.node, last_link_id=numbers.link)
    return Converted(workflow, replaced, notes)


def open_graphs(workflow: Any) -> list[Graph]:
    """The graph of a workflow, then those of its subgraphs. Raises WorkflowError."""
    if not isinstance(workflow, dict):
        raise WorkflowError(f"a workflow is a JSON object, not a {type(workflow).__name__}")
    if isinstance(workflow.get("nodes"), list):
        definitions = workflow.get("definitions")
        subgraphs = definitions.get("subgraphs") if isinstance(definitions, dict) else None
        parts = [workflow, *(part for part in subgraphs or [] if isinstance(part, dict) and isinstance(part.get("nodes"), list))]
        numbers = Numbers()
        numbers.seen(workflow.get("last_node_id", 0), workflow.get("last_link_id", 0))
        return [PageGraph(part, numbers) for part in parts]
    wrong = [name for name, about in workflow.items() if not (isinstance(about, dict) and isinstance(about.get("class_type"), str)
                                                              and isinstance(about.get("inputs"), dict))]
    if wrong or not workflow:
        why = f"its entry {wrong[0]!r} has no class_type and inputs" if wrong else "it is empty"
        raise WorkflowError(f"this is neither a workflow of the page (it has no list of nodes) nor one of the API ({why})")
    return [ApiGraph(workflow)]


def read_workflow(path: Path) -> Any:
    """Raises WorkflowError for a file that cannot be read, or holds no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise WorkflowError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        hint = " (a picture with a workflow in it: open it in the page and save the workflow)" if path.suffix.lower() in PICTURES else ""
        raise WorkflowError(f"{path} is no text file{hint}") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise WorkflowError(f"{path} is no JSON: {error}") from error


def write_workflow(path: Path, workflow: Any, force: bool) -> None:
    """The whole file or none. Raises WorkflowError, also where the file is there and force is not set."""
    if path.exists() and not force:
        raise WorkflowError(f"{path} is there already; --force replaces it")
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(json.dumps(workflow, indent=2), encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise WorkflowError(f"{path}: {error.strerror or error}") from error


def model_files(models: Path) -> Files:
    """Names of the weights in a folder that is laid out as the host's models folder, as its loaders list them."""
    if not models.is_dir():
        raise WorkflowError(f"{models} is no folder; --models takes ComfyUI's models folder")
    return {category: sorted(path.relative_to(models / category).as_posix() for path in (models / category).rglob("*")
                             if path.suffix in WEIGHTS) for category in CATEGORIES}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status: 1 if nothing was written."""
    parser = argparse.ArgumentParser(prog="python -m animate_core.workflows", description="Revives workflows of older packs.")
    commands = parser.add_subparsers(dest="command", required=True)
    converter = commands.add_parser("convert", help="replace the nodes of ComfyUI-AnimateAnyone-Evolved, ComfyUI-Moore-AnimateAnyone and "
                                                    "Comfyui-MusePose")
    converter.add_argument("source", type=Path, metavar="OLD.json", help="a workflow as the page saves it, or in the API's format")
    converter.add_argument("target", type=Path, metavar="NEW.json")
    converter.add_argument("--force", action="store_true", help="replace NEW.json if it exists")
    converter.add_argument("--models", type=Path, metavar="FOLDER", help="ComfyUI's models folder, to choose your files in the loaders")
    options = parser.parse_args(arguments)
    try:
        done = convert(read_workflow(options.source), model_files(options.models) if options.models else None)
        if not done.replaced:
            raise WorkflowError(f"{options.source} has no old nodes to replace. These are known: {', '.join(sorted(OLD_NODES))}")
        write_workflow(options.target, done.workflow, options.force)
    except WorkflowError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("".join(f"{line}\n" for line in (*done.notes, f"{len(done.replaced)} old nodes replaced: {options.target}")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
