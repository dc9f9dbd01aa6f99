"""A run's state in a file, so that a run that was stopped goes on where it was, with the result that it would have had.

Files are safetensors, written beside their final name and then put in its place: there is never half a file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

log = logging.getLogger(__name__)

# what diffusers' solvers carry from step to step, besides their place in the schedule; one-step solvers have none of it
SOLVER_STATE = ("model_outputs", "timestep_list", "lower_order_nums", "last_sample", "this_order")
LATENTS, GENERATOR = "latents", "generator"
FILE_PREFIX, FILE_ENDING = "resume_", ".safetensors"


def digest(value: Any) -> str:
    """A fingerprint in hex of text, numbers, None, tensors, and lists, mappings and dataclasses of them. Raises TypeError for others."""
    state = hashlib.blake2b(digest_size=16)

    def add(part: Any) -> None:
        if isinstance(part, Tensor):
            state.update(f"tensor {part.dtype} {tuple(part.shape)}".encode())
            state.update(part.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        elif dataclasses.is_dataclass(part) and not isinstance(part, type):
            add({item.name: getattr(part, item.name) for item in dataclasses.fields(part)})
        elif isinstance(part, Mapping):
            state.update(f"mapping {len(part)} ".encode())
            for key in sorted(part):
                add(key)
                add(part[key])
        elif isinstance(part, Sequence) and not isinstance(part, (str, bytes)):
            state.update(f"sequence {len(part)} ".encode())
            for item in part:
                add(item)
        elif part is None or isinstance(part, (str, int, float)):
            state.update(f"{type(part).__name__} {part!r} ".encode())
        else:
            raise TypeError(f"no digest of a {type(part).__name__}")

    add(value)
    return state.hexdigest()


def graph_digest(graph: Mapping[str, Any], node: str) -> str:
    """A fingerprint of a node of an API graph and of all that it is fed by: classes and values, whatever the nodes' ids."""
    known: dict[str, str] = {}

    def of(node: str) -> str:
        if node not in known:
            known[node] = digest([graph[node].get("class_type"), {key: fed(value) for key, value in graph[node].get("inputs", {}).items()}])
        return known[node]

    def fed(value: Any) -> Any:
        if isinstance(value, list) and len(value) == 2 and value[0] in graph:
            return [of(value[0]), value[1]]
        return json.dumps(value, sort_keys=True, default=str)

    return of(node)


@dataclass
class Checkpoint:
    """Where a run keeps its state, and how often.

    folder: is made if it does not exist. settings: name -> `digest` of each thing that the result depends on; a file is read again only if
    all of them are the same. every: steps between two writes. ready: whether a run may begin at a step; between others nothing is written.
    """

    folder: Path
    settings: Mapping[str, str]
    every: int = 1
    ready: Callable[[int], bool] = lambda step: True
    written: int = field(default=0, init=False)

    @property
    def path(self) -> Path:
        return self.folder / f"{FILE_PREFIX}{digest(self.settings)}{FILE_ENDING}"

    def restore(self, solver: Any, generator: torch.Generator | None, device: torch.device) -> tuple[int, Tensor] | None:
        """Steps that are done, and the latents after them on `device`; solver and generator are brought to where they were then.

        None where there is no file of these settings, or it cannot be read (which is logged).
        """
        if not self.path.exists():
            self.tell_of_others()
            return None
        try:
            with safe_open(self.path, "pt") as file:
                state = json.loads(file.metadata()["state"])
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        except (OSError, SafetensorError, TypeError, KeyError, ValueError) as error:
            log.warning("resume: %s cannot be read (%s); the run starts from its first step", self.path, error)
            return None

        def revived(value: Any) -> Any:
            if isinstance(value, list):
                return [revived(item) for item in value]
            if not isinstance(value, str):
                return value
            # timesteps stay on the CPU, where the solvers keep their schedules
            return tensors[value].to(device) if tensors[value].ndim else tensors[value]

        for name, value in state["solver"].items():
            setattr(solver, name, revived(value))
        if hasattr(solver, "set_begin_index"):
            solver.set_begin_index(solver.begin_index + state["done"])
        if generator is not None:
            generator.set_state(tensors[GENERATOR])
        self.written = state["done"]
        log.info("resume: %d steps are already done (%s)", state["done"], self.path)
        return state["done"], tensors[LATENTS].to(device)

    def after(self, done: int, x: Tensor, solver: Any, generator: torch.Generator | None) -> None:
        """To be called with the latents x after each step; writes the file where it is time. A full disk is logged and stops nothing."""
        if done - self.written < self.every or not self.ready(done):
            return
        tensors = {LATENTS: x}
        if generator is not None:
            tensors[GENERATOR] = generator.get_state()

        def kept(name: str, value: Any) -> Any:
            """The value as JSON: tensors are put aside under their name."""
            if isinstance(value, list):
                return [kept(f"{name}.{index}", item) for index, item in enumerate(value)]
            if isinstance(value, Tensor):
                tensors[name] = value
                return name
            return value

        state = {"done": done, "solver": {name: kept(name, getattr(solver, name)) for name in SOLVER_STATE if hasattr(solver, name)}}
        part = self.path.with_suffix(".part")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # copies: two names may be one tensor, which the format does not store
            save_file({name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}, part,
                      {"state": json.dumps(state), "settings": json.dumps(dict(self.settings))})
            os.replace(part, self.path)
            self.written = done
        except (OSError, SafetensorError) as error:
            log.warning("resume: the state after step %d could not be written to %s (%s)", done, self.path, error)
            with suppress(OSError):
                part.unlink(missing_ok=True)

    def remove(self) -> None:
        """The run is over. A file that cannot be removed is logged: the clip is not lost for it."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("resume: %s could not be removed (%s)", self.path, error)

    def tell_of_others(self) -> None:
        """Logs in what the newest file of another run differs, so that nobody wonders why it is not used."""
        files = sorted(self.folder.glob(f"{FILE_PREFIX}*{FILE_ENDING}"), key=lambda path: path.stat().st_mtime)
        if not files:
            return
        try:
            with safe_open(files[-1], "pt") as file:
                theirs = json.loads(file.metadata()["settings"])
        except (OSError, SafetensorError, TypeError, KeyError, ValueError):
            theirs = {}
        differ = [name for name in self.settings if theirs.get(name) != self.settings[name]]
        log.info("resume: no run with these settings was stopped; %s is of other settings (%s) and is left alone", files[-1],
                 ", ".join(differ))
