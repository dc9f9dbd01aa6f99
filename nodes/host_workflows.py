"""What the host and its page ask to revive workflows of older packs: the host's node replacements, and a route that converts a graph."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import folder_paths
from aiohttp import web
from comfy_api.latest import ComfyAPI, io
from server import PromptServer

from ..animate_core.graph_files import WorkflowError
from ..animate_core.old_nodes import NEW_NODES, OLD_NODES
from ..animate_core.revival import Files, choose_file
from ..animate_core.workflows import CATEGORIES, convert

ROUTE = "/marionette/convert_workflow"  # web/old_workflows.js knows it


def user_files() -> Files:
    return {category: folder_paths.get_filename_list(category) for category in CATEGORIES}


def replacements() -> list[io.NodeReplace]:
    """Of each old node whose place one node takes. A file is named where the user has it when ComfyUI starts, else the loader's default."""
    files = user_files()
    found = []
    for old, about in OLD_NODES.items():
        if not about.new:
            continue
        mapping: list[dict[str, Any]] = [{"new_id": new, "old_id": given} for new, given in about.inputs]
        # graphs of the API have to name every widget, those at their defaults too
        values = {widget.name: widget.default for widget in NEW_NODES[about.new].widgets if widget.default is not None}
        mapping += [{"new_id": new, "set_value": value} for new, value in {**values, **dict(about.fixed)}.items()]
        for new, _, usual in about.files:
            if (name := choose_file(usual, files)) in files[usual.category]:
                mapping.append({"new_id": new, "set_value": name})
        found.append(io.NodeReplace(new_node_id=about.new, old_node_id=old, old_widget_ids=list(about.widgets), input_mapping=mapping,
                                    output_mapping=[{"old_idx": 0, "new_idx": 0}]))
    return found


async def convert_workflow(request: web.Request) -> web.Response:
    """A workflow -> {workflow, replaced, notes}; 400 and {error} for what is none."""
    try:
        done = await asyncio.to_thread(convert, await request.json(), user_files())
    except (WorkflowError, json.JSONDecodeError, UnicodeDecodeError) as error:
        return web.json_response({"error": str(error)}, status=400)
    return web.json_response({"workflow": done.workflow, "replaced": done.replaced, "notes": done.notes})


async def revive_old_workflows() -> None:
    """Tells the host of the old nodes. To be called once, while it loads the pack."""
    server = getattr(PromptServer, "instance", None)
    if server is None:  # scripts load nodes without a server, and so without a page
        return
    api = ComfyAPI()
    for replacement in replacements():
        await api.node_replacement.register(replacement)
    server.routes.post(ROUTE)(convert_workflow)
