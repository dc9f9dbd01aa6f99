"""Where Multi-Frame Sampler keeps the state of a run, and by what it knows the same run again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import folder_paths

from ..animate_core.resume import Checkpoint, digest, graph_digest
from .host_model import loaded_from
from .sockets import Pose, Reference

FOLDER = "marionette_checkpoints"  # in the host's output folder: the temporary one is emptied when the host starts


def model_graph(hidden: Any) -> str:
    """A digest of the nodes that the MODEL comes through: loaders, LoRAs, patches; empty where the graph is not told."""
    prompt = getattr(hidden, "prompt", None) or {}
    link = prompt.get(getattr(hidden, "unique_id", None), {}).get("inputs", {}).get("model")
    return graph_digest(prompt, link[0]) if isinstance(link, list) and link[0] in prompt else ""


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
