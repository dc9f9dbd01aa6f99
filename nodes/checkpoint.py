"""Where Multi-Frame Sampler keeps the state of a run, and by what it knows the same run again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import folder_paths

from ..animate_core.resume import Checkpoint, digest
from .host_model import loaded_from
from .sockets import Pose, Reference

FOLDER = "marionette_checkpoints"  # in the host's output folder: the temporary one is emptied when the host starts


def graph_above(prompt: Mapping[str, Any], node: str, known: dict[str, str]) -> str:
    """A digest of a node and all that it is fed by, whatever their ids. known: digests by id, filled in."""
    def of(value: Any) -> Any:
        if isinstance(value, list) and len(value) == 2 and value[0] in prompt:
            return [graph_above(prompt, value[0], known), value[1]]
        return json.dumps(value, sort_keys=True, default=str)

    if node not in known:
        inputs = {name: of(value) for name, value in prompt[node].get("inputs", {}).items()}
        known[node] = digest([prompt[node].get("class_type"), inputs])
    return known[node]


def model_graph(hidden: Any) -> str:
    """A digest of the nodes that the MODEL comes through: loaders, LoRAs, patches; empty where the graph is not told."""
    prompt = getattr(hidden, "prompt", None) or {}
    link = prompt.get(getattr(hidden, "unique_id", None), {}).get("inputs", {}).get("model")
    return graph_above(prompt, link[0], {}) if isinstance(link, list) and link[0] in prompt else ""


def checkpoint_of(hidden: Any, model: Any, reference: Reference, pose: Pose, values: Mapping[str, Any], every: int) -> Checkpoint:
    """For a run of this node. values: the node's other inputs by name."""
    guider = pose.guider and [pose.guider.source, pose.guider.family, str(pose.guider.dtype)]
    settings = {
        "model": digest([model_graph(hidden), loaded_from(model)]),
        "reference": digest([reference.features, reference.token, reference.unconditional]),
        "pose": digest([pose.kept, guider, pose.family, pose.stored_statistics]),
        **{name: digest(value) for name, value in values.items()},
    }
    return Checkpoint(Path(folder_paths.get_output_directory()) / FOLDER, settings, every)
