"""Accelerate in both sampling paths, alone and beside host nodes that run the network more often, less often, or compiled."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.device.scenarios import Bench, distance, scenario, told

ALL = ("cpu", "cuda", "dynamic", "mps")
STEPS = 8
# custom: every setting at work
SETTINGS = ("custom", 2, 2, 3, 0.0, 0.9, 0.9)
# EasyCache leaves out nothing where the halves of a step differ from the last step's
SETTINGS_BESIDE = {"EasyCache": ("custom", 2, 2, 1, 0.0, 0.9, 0.9)}
BESIDE = {"Perturbed-Attention Guidance": ("PerturbedAttentionGuidance", 3.0), "RescaleCFG": ("RescaleCFG", 0.7),
          "EasyCache": ("EasyCache", 1.0, 0.3, 0.95, False), "FreeU": ("FreeU_V2", 1.3, 1.4, 0.9, 0.2),
          "TorchCompileModel": ("TorchCompileModel", "eager")}


def sampled(bench: Bench, path: str, model: Any) -> Any:
    windows = bench.host.windows(4, 1)  # shifted: other frames at most steps
    return bench.k_sample(model, windows, steps=STEPS) if path == "k_sampler" else bench.multi_frame(model, windows=windows, steps=STEPS)


def alone(bench: Bench, path: str, little: bool) -> dict[str, Any]:
    """In fp32; with the card's memory, and without, where what is kept goes off it."""
    bench.host.forget()
    model = bench.host.node("MarionetteAccelerate", bench.exact_model, *SETTINGS)
    with bench.rows(bench.exact_model) as rows:
        if little:
            with bench.host.little_memory():
                result = told(sampled(bench, path, model))
        else:
            result = told(sampled(bench, path, model))
    return {**result, "rows": rows.count, "left": bench.host.left_on_card()}


def beside(bench: Bench, label: str, path: str) -> dict[str, Any]:
    """A host node and Accelerate, either first, against each of them alone."""
    class_type, *inputs = BESIDE[label]
    base = bench.exact_model

    def node(model: Any) -> Any:
        return bench.host.node(class_type, model, *inputs)

    def accelerate(model: Any) -> Any:
        return bench.host.node("MarionetteAccelerate", model, *SETTINGS_BESIDE.get(label, SETTINGS))

    both = sampled(bench, path, accelerate(node(base)))
    others = {"other order": node(accelerate(base)), "node": node(base), "accelerated": accelerate(base)}
    return {f"from {name}": distance(both, sampled(bench, path, model)) for name, model in others.items()}


for _path in ("k_sampler", "multi_frame"):
    for _little in (False, True):
        scenario(f"accelerate/{_path}/{'little' if _little else 'room'}", *ALL)(partial(alone, path=_path, little=_little))
    # tracing the graphs of whole and other steps takes long, and the network is the same in both paths
    for _label in BESIDE.keys() - ({"TorchCompileModel"} if _path == "k_sampler" else set()):
        scenario(f"accelerate/{_path}/{_label}", "cpu")(partial(beside, label=_label, path=_path))
