"""Champ, AniPortrait in several windows, and face reenactment, in fp32 and in both sampling paths; Accelerate on AniPortrait."""

from __future__ import annotations

from functools import partial
from typing import Any

from animate_core.guiders import GUIDANCE_TYPES
from tests.device.scenarios import Bench, scenario
from tests.device.scenarios_graphs import run
from tests.host import graphs
from tests.host.result import Graph

FAMILIES = {"Champ": GUIDANCE_TYPES, "AniPortrait": ("images",), "Moore face": ("images", "mouth_images")}
PATHS = {"multi_frame": "basic", "k_sampler": "sigmas"}
FRAMES, WINDOW, STEPS = 6, 4, 2
ACCELERATED_STEPS = 4


def family_graph(base: str, family: str, accelerated: bool = False, steps: int = STEPS) -> Graph:
    """A family's model, each of its inputs from other frames of the clip. AniPortrait in two windows, face reenactment with rescale."""
    size, several = {"width": 64, "height": 64}, family == "AniPortrait"
    frames = FRAMES if several else 3
    graph = graphs.load(base, reference={**size, "reference_net": ["all", 1], "clip_vision": ["all", 3]}, trimmed={"duration": 0.6})
    for node in ("reference_net", "model", "pose_guider", "clip_vision", "poses", "pose", "decode", "frames"):
        graph.pop(node, None)
    graphs.add(graph, "all", "MarionetteLoadAnimateAnyone", folder=family, family="auto", weight_dtype="auto")
    graphs.add(graph, "accelerate", "MarionetteAccelerate", model=["all", 0], preset="Balanced", deep_every=2, deep_layers=1,
               guidance_every=4, guidance_start=0.0, guidance_end=1.0, reference_end=1.0)
    for about in graph.values():
        if about["inputs"].get("model") == ["model", 0]:
            about["inputs"]["model"] = ["accelerate" if accelerated else "all", 0]
    given: dict[str, Any] = {}
    for place, name in enumerate(FAMILIES[family]):
        graphs.add(graph, name, "ImageFromBatch", image=["components", 0], batch_index=2 * place, length=frames)
        given[name] = [name, 0]
    node = "MarionetteEncodeGuidance" if family == "Champ" else "MarionetteEncodePose"
    graphs.add(graph, "pose", node, pose_guider=["all", 2], fit="crop", **size, **given)
    if several:
        graphs.add_windows(graph, length=WINDOW, overlap=2)
        graphs.change(graph, **{"sampler" if base == "basic" else "animate": {"windows": ["windows", 0]}})
    elif base == "basic" and family == "Moore face":
        graphs.change(graph, sampler={"rescale": 0.7})
    return graphs.change(graph, **{"sampler" if base == "basic" else "sigmas": {"steps": steps}})


def sampled(bench: Bench, graph: Graph) -> dict[str, Any]:
    return run(bench, graph, exact=True)


for _path, _base in PATHS.items():
    for _family in FAMILIES:
        scenario(f"family/{_family}/{_path}", "cpu", "cuda")(partial(sampled, graph=family_graph(_base, _family)))
    for _accelerated in (False, True):
        _name = f"family/AniPortrait/{_path}/{'accelerated' if _accelerated else 'plain'}"
        _graph = family_graph(_base, "AniPortrait", _accelerated, ACCELERATED_STEPS)
        scenario(_name, *(("cpu", "cuda") if _accelerated else ("cpu",)))(partial(sampled, graph=_graph))
