"""Workflows by the host's own executor, and every storage of weights with every choice of weight_dtype."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import Any

from tests.device.scenarios import Bench, scenario, told
from tests.host import graphs
from tests.host.result import Graph

ALL = ("cpu", "cuda", "dynamic", "mps")
SMALL_GRAPHS = ("basic", "ksampler", "sigmas", "long")
FILES = ("fp16", "bf16", "fp32")


def small_graph(name: str, **changes: dict[str, Any]) -> Graph:
    """A workflow with few frames and steps."""
    size = {"width": 64, "height": 64}
    frames = 6 if name == "long" else 4
    graph = graphs.load(name, reference=size, pose=size, poses={"length": frames}, trimmed={"duration": 0.4})
    steps = "sigmas" if name == "sigmas" else "sampler"
    graphs.change(graph, **{steps: {"steps": 2}}, **changes)
    return graphs.change(graph, windows={"length": 4, "overlap": 2}) if name == "long" else graph


def built_in_graph(name: str) -> Graph:
    """A workflow of the built-in model, of fewer frames and steps."""
    graph = graphs.load(name, sampler={"steps": 2})
    clips = {"demo": {"character": {"frames": 4}}, "retarget": {"driver": {"frames": 4}}}[name]
    return graphs.change(graph, **clips)


def run(bench: Bench, graph: Graph, exact: bool) -> dict[str, Any]:
    """A workflow with networks in fp32, or as the host chooses."""
    bench.host.forget()
    with bench.host.exact() if exact else nullcontext():
        outputs = bench.host.run_graph(graph)
    result = told(outputs["sampler"][0]["samples"])
    del outputs
    return {**result, "left": bench.host.left_on_card()}


for _name in SMALL_GRAPHS:
    scenario(f"graph/{_name}", "dynamic")(lambda bench, name=_name: run(bench, small_graph(name), False))
    scenario(f"graph/{_name}/fp32", "cpu", "cuda", "mps")(lambda bench, name=_name: run(bench, small_graph(name), True))
for _name in ("demo", "retarget"):
    scenario(f"graph/{_name}", "cuda", "dynamic")(lambda bench, name=_name: run(bench, built_in_graph(name), False))
    scenario(f"graph/{_name}/fp32", "cpu", "mps")(lambda bench, name=_name: run(bench, built_in_graph(name), True))


def stored(bench: Bench, files: str, choice: str, little: bool) -> dict[str, Any]:
    """Weights from a file of one dtype, as weight_dtype says: Multi-Frame Sampler with room, the host's sampler without."""
    bench.host.forget()
    model = bench.host.model(f"small_{files}", choice)
    if little:
        with bench.host.little_memory():
            result = told(bench.k_sample(model, bench.several(), steps=2))
    else:
        result = told(bench.multi_frame(model, windows=bench.several(), steps=2))
    placed = sorted({str(weight.device) for weight in model.model.parameters()})
    return {**result, "left": bench.host.left_on_card(), "weights": placed, "compute": str(model.model.get_dtype_inference())}


WHERE = {"auto": ("cuda", "dynamic", "mps"), "fp32": ALL, "fp16": ("cuda", "mps"), "bf16": ("cuda",)}
for _files in FILES:
    for _choice, _where in WHERE.items():
        for _little in (False, True):
            _name = f"stored/{_files}/{_choice}/{'little' if _little else 'room'}"
            # there is no offloading where the card's memory is the machine's
            _places = [where for where in _where if where != "mps" or not _little]
            scenario(_name, *_places)(partial(stored, files=_files, choice=_choice, little=_little))
