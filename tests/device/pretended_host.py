"""The real host's modules with the pack in this process, on a pretended card or on the CPU; only for a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import sys
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from tests.device import card
from tests.device.driver import GIB, Driver, PlainPages, install_paging
from tests.host import graphs
from tests.host.host_server import host_path
from tests.host.result import Graph

ROOT = Path(__file__).resolve().parents[2]
SIZE, FRAMES = 96, 12  # pixels and frames of the clips that scenarios make without a graph
LITTLE = 800 * 2**20  # less than the host keeps back for itself, so that no weight stays on the card


class GraphError(Exception):
    """A graph that the host refused, or a node that raised in it."""

    def __init__(self, kind: str, message: str, node: str = "") -> None:
        super().__init__(message)
        self.kind, self.message, self.node = kind, message, node


class Receiver:
    """Takes the executor's messages, as the host's server does for a page."""

    client_id = "tests"
    last_node_id: str | None = None
    last_prompt_id: str | None = None
    sockets_metadata: dict[str, Any] = {}

    def send_sync(self, event: Any, data: Any, sid: str | None = None) -> None:
        return


class Warnings(logging.Handler):
    """What is logged from WARNING on."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class PretendedHost:
    """The host as main.py sets it up, without its server. One to a process.

    base: its base directory, with models/ and input/. kind: "cuda", "mps" or "cpu". dynamic: with DynamicVRAM, on "cuda".
    """

    def __init__(self, base: Path, kind: str, dynamic: bool = False, arguments: Sequence[str] = ()) -> None:
        self.base = base
        self.driver = Driver(kind)
        self.mode: Any = contextlib.nullcontext()
        if kind != "cpu":
            self.driver.install()
            self.mode = card.CardMode()
        # streams and pinned memory are the driver's own; what the host does with them is not seen here
        sys.argv = ["main.py", "--base-directory", str(base), "--disable-async-offload", "--disable-pinned-memory", "--disable-cuda-graphs",
                    "--database-url", "sqlite:///:memory:", *(["--cpu"] if kind == "cpu" else []), *arguments]
        sys.path.insert(0, str(host_path()))
        os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
        torch.set_num_threads(1)
        self.import_host(dynamic)

    def import_host(self, dynamic: bool) -> None:
        import comfy.options

        comfy.options.enable_args_parsing()
        if dynamic:
            install_paging()
        import comfy.memory_management
        import comfy.model_management
        import comfy.model_patcher
        import execution
        import folder_paths

        import nodes

        for name in ("output", "temp", "input", "user"):
            (self.base / name).mkdir(parents=True, exist_ok=True)
        if dynamic:
            comfy.model_patcher.CoreModelPatcher = comfy.model_patcher.ModelPatcherDynamic
            comfy.memory_management.aimdo_enabled = True
        self.mm = comfy.model_management
        self.nodes, self.execution, self.folder_paths = nodes, execution, folder_paths
        self.args = comfy.cli_args.args
        with self.mode:
            asyncio.run(self.load_nodes())
        # nothing of it is on the card: the search for what is left there need not look at it again
        gc.collect()
        gc.freeze()
        self.pack = {name: self.module(name) for name in ("host", "host_model", "host_sampler", "sampling", "sockets", "loaders")}

    async def load_nodes(self) -> None:
        await self.nodes.init_extra_nodes(init_custom_nodes=False, init_api_nodes=False)
        if not await self.nodes.load_custom_node(str(ROOT)):
            raise ImportError("the host could not load the pack")

    def module(self, name: str) -> ModuleType:
        """A module of the pack's nodes/ as the host has loaded it."""
        return sys.modules[f"{str(ROOT).replace('.', '_x_')}.nodes.{name}"]

    # ------------------------------------------------------------------------------------------------------- settings

    @contextlib.contextmanager
    def flags(self, **values: Any) -> Iterator[None]:
        """The host's command line with other values, for things that it asks at the time of use."""
        before = {name: getattr(self.args, name) for name in values}
        vars(self.args).update(values)
        try:
            yield
        finally:
            vars(self.args).update(before)

    @contextlib.contextmanager
    def little_memory(self, free: int = LITTLE) -> Iterator[None]:
        """Inside, weights do not stay on the card."""
        PlainPages.resident = False
        try:
            with self.driver.little_memory(free):
                yield
        finally:
            PlainPages.resident = True

    def exact(self) -> contextlib.AbstractContextManager[None]:
        """Inside, networks are loaded in fp32, so that a card and a CPU give the same numbers."""
        return self.flags(fp32_unet=True, fp32_vae=True, fp32_text_enc=True)

    def forget(self) -> None:
        """Takes every model off the card."""
        self.mm.free_memory(1e30, self.mm.get_torch_device())
        self.mm.cleanup_models_gc()

    def left_on_card(self) -> int:
        """Pieces of the card's memory that are held and are no weights of a model that the host keeps there."""
        loaded = [each.model.model for each in self.mm.current_loaded_models if each.model is not None]
        kept: list[Any] = [weight for model in loaded for weight in (*model.parameters(), *model.buffers())]
        for thing in gc.get_objects():
            if type(thing) is PlainPages:
                kept += thing.pages.values()
            elif issubclass(type(thing), torch.nn.Module) and "_v" in vars(thing):
                kept += vars(thing).values()  # the host's views of pages, which the paging library may have given away since
        return len(card.storages(card.live()) - card.storages(kept))

    # --------------------------------------------------------------------------------------------------------- graphs

    def run_graph(self, graph: Graph) -> dict[str, tuple[Any, ...]]:
        """Runs a graph by the host's own executor; each node's outputs by its name. Raises GraphError."""
        return asyncio.run(self.execute(graph))

    async def execute(self, graph: Graph) -> dict[str, tuple[Any, ...]]:
        prompt_id = uuid.uuid4().hex
        valid, error, wanted, node_errors = await self.execution.validate_prompt(prompt_id, graph, None)
        if not valid or node_errors:
            raise GraphError("invalid", f"{error} {node_errors}")
        executor = self.execution.PromptExecutor(Receiver(), cache_type=self.execution.CacheType.CLASSIC,
                                                 cache_args={"lru": 0, "ram": 0.0, "ram_inactive": 0.0})
        with self.mode:
            await executor.execute_async(graph, prompt_id, {"client_id": "tests"}, wanted)
        for event, data in executor.status_messages:
            if event == "execution_error":
                raise GraphError(data["exception_type"], data["exception_message"].strip(), data["node_type"])
            if event == "execution_interrupted":
                raise GraphError("interrupted", "", data["node_type"])
        outputs = {}
        for node in graph:
            entry = await executor.caches.outputs.get(node)
            if entry is not None:
                # one value for each output: lists of results hold one, since no input is a list here
                outputs[node] = tuple(values[0] if values else None for values in entry.outputs)
        return outputs

    # --------------------------------------------------------------------------------------------------------- pieces

    def node(self, class_type: str, *args: Any, **inputs: Any) -> Any:
        """Runs one node of the host or of the pack by its name; its first output."""
        return self.node_outputs(class_type, *args, **inputs)[0]

    def node_outputs(self, class_type: str, *args: Any, **inputs: Any) -> tuple[Any, ...]:
        """All of its outputs."""
        made = self.nodes.NODE_CLASS_MAPPINGS[class_type]
        if hasattr(made, "GET_SCHEMA"):
            # the executor hands over a copy that the node may write its hidden inputs to
            answer = made.PREPARE_CLASS_CLONE(None).execute(*args, **inputs) if hasattr(made, "PREPARE_CLASS_CLONE") else None
            return tuple(getattr(answer, "result", answer) or ())
        answer = getattr(made(), made.FUNCTION)(*args, **inputs)
        return tuple(answer) if isinstance(answer, (tuple, list)) else ()

    def model(self, files: str = "small", weight_dtype: str = "auto", **options: Any) -> Any:
        """The MODEL of models/animate_anyone/FILES."""
        folder = self.base / "models" / "animate_anyone" / files
        return self.pack["host_model"].load_motion_unet(str(folder / "denoising_unet.safetensors"),
                                                        str(folder / "motion_module.safetensors"), "auto", weight_dtype, **options)

    def encoded(self, width: int = SIZE, height: int = SIZE, frames: int = FRAMES, files: str = "small",
                keep: str = "features") -> tuple[Any, Any]:
        """Reference and pose of the test picture and clip, through the pack's own encoders. keep: what Encode Pose keeps."""
        size = {"width": width, "height": height}
        graph = graphs.load("basic", reference=size, pose={**size, "keep": keep}, poses={"length": frames},
                            reference_net={"file": f"{files}/reference_unet.safetensors"},
                            pose_guider={"file": f"{files}/pose_guider.safetensors"})
        return self.made_by(graph, "reference", "pose", without=("sampler", "decode", "save", "frames", "model"))

    def made_by(self, graph: Graph, *nodes: str, without: Sequence[str]) -> tuple[Any, ...]:
        """First outputs of some nodes of a graph, which runs without others."""
        for node in without:
            del graph[node]
        for name in nodes:
            graphs.add(graph, f"keep_{name}", "PreviewAny", source=[name, 0])
        outputs = self.run_graph(graph)
        return tuple(outputs[name][0] for name in nodes)

    def windows(self, length: int, overlap: int = 2, **options: Any) -> Any:
        return self.node("MarionetteWindows", length, overlap, **options)

    def multi_frame(self, model: Any, reference: Any, pose: Any, *, steps: int = 4, cfg: float = 3.5, windows: Any = None,
                    scheduler: str = "DDIM (published)", seed: int = 0, **options: Any) -> Tensor:
        """Latents by Multi-Frame Sampler, with noise drawn as KSampler draws it."""
        options = {"noise": "ComfyUI", **options}
        with torch.inference_mode(), self.mode:
            latent = self.node("MarionetteMultiFrameSampler", model, reference, pose, seed, steps, cfg, scheduler, windows=windows,
                               **options)
        return latent["samples"]

    def conditioning(self, model: Any, reference: Any, pose: Any, windows: Any = None, frames: int = 0,
                     strengths: Any = None) -> SimpleNamespace:
        """Animate Conditioning's outputs: model, positive, negative, latent."""
        with torch.inference_mode(), self.mode:
            values = self.node_outputs("MarionetteAnimateConditioning", model, reference, pose, frames, windows, strengths=strengths)
        return SimpleNamespace(**dict(zip(("model", "positive", "negative", "latent"), values, strict=True)))

    def k_sample(self, about: SimpleNamespace, *, model: Any = None, steps: int = 4, cfg: float = 3.5, sampler: str = "euler",
                 seed: int = 0) -> Tensor:
        """Latents by the host's sampler at the sigmas of Animate Sigmas, as SamplerCustomAdvanced runs them."""
        chosen = about.model if model is None else model
        with torch.inference_mode(), self.mode:
            guider = self.node("CFGGuider", chosen, about.positive, about.negative, cfg)
            sigmas = self.node("MarionetteAnimateSigmas", chosen, steps)
            method, noise = self.node("KSamplerSelect", sampler), self.node("RandomNoise", seed)
            latent = self.node("SamplerCustomAdvanced", noise, guider, method, sigmas, about.latent)
        return latent["samples"]


@contextlib.contextmanager
def warnings_logged() -> Iterator[list[str]]:
    """The warnings that are logged inside."""
    handler = Warnings()
    logging.getLogger().addHandler(handler)
    try:
        yield handler.lines
    finally:
        logging.getLogger().removeHandler(handler)


__all__ = ["FRAMES", "GIB", "GraphError", "PretendedHost", "SIZE", "warnings_logged"]
