"""Strengths and several references in both sampling paths, on cards and beside nodes that change attention, guidance or the work."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tests.device.scenarios import Bench, distance, scenario, told

ALL = ("cpu", "cuda", "dynamic", "mps")
STEPS = 4
# every setting at work; lists of numbers, text that is stretched, a part of the steps
SETTINGS = {"reference_curve": [[0.0, 0.4, 1.0, 1.0, 2.0, 0.0]], "pose_curve": ["1, 0.5"], "guidance_curve": [0.0, 1.0, 2.0],
            "reference_end": [0.75], "pose_start": [0.25], "guidance_end": [0.5]}
NEARLY_ONE = {"reference": [1 - 1e-6]}
BESIDE = {"Perturbed-Attention Guidance": ("PerturbedAttentionGuidance", 10.0), "HyperTile": ("HyperTile", 32, 2, 0, False),
          "TorchCompileModel": ("TorchCompileModel", "eager"), "Accelerate": ("MarionetteAccelerate", "custom", 2, 2, 3, 0.0, 0.9, 0.9)}
PATHS = ("k_sampler", "multi_frame")


def strengths(bench: Bench, **settings: Any) -> Any:
    return bench.host.node("MarionetteStrengths", **settings)


def sampled(bench: Bench, path: str, model: Any = None, **settings: Any) -> Tensor:
    """In windows that are others at most steps, in fp32."""
    model = bench.exact_model if model is None else model
    chosen = strengths(bench, **settings) if settings else None
    sample = bench.k_sample if path == "k_sampler" else bench.multi_frame
    return sample(model, windows=bench.host.windows(4, 1), steps=STEPS, strengths=chosen)


def on_a_card(bench: Bench, path: str) -> dict[str, Any]:
    bench.host.forget()
    result = told(sampled(bench, path, **SETTINGS))
    return {**result, "left": bench.host.left_on_card()}


def several_references(bench: Bench) -> dict[str, Any]:
    """The reference and its mirrored tokens, the first counting more."""
    bench.host.forget()
    reference, pose = bench.pieces
    both = {path: torch.cat([x, x.flip(1)], dim=1) for path, x in reference.features.items()}
    joined = replace(reference, features=both, weights=(0.7, 0.3))
    samples = bench.host.multi_frame(bench.exact_model, joined, pose, steps=2, windows=bench.host.windows(4, 1))
    return {**told(samples), "left": bench.host.left_on_card()}


def against_others(bench: Bench, path: str) -> dict[str, Any]:
    """Ones against the plain run, to the bit; what each setting changes."""
    plain = sampled(bench, path)
    ones = sampled(bench, path, reference=[1.0], pose_curve=["1 1 1"], guidance_curve=[[1.0] * 6])
    changes = {name: distance(sampled(bench, path, **{name: value}), plain) for name, value in SETTINGS.items()}
    return {"ones": bool(torch.equal(ones, plain)), **changes}


def beside(bench: Bench, label: str, path: str) -> dict[str, Any]:
    """A node, and strengths that are 1 but for rounding, against the node alone; and the settings against both."""
    class_type, *inputs = BESIDE[label]
    model = bench.host.node(class_type, bench.exact_model, *inputs)
    alone = sampled(bench, path, model)
    whole = sampled(bench, path, model, **SETTINGS)
    return {"nearly one": distance(sampled(bench, path, model, **NEARLY_ONE), alone), "from node": distance(whole, alone),
            "from strengths": distance(whole, sampled(bench, path, **SETTINGS))}


def accelerated_after(bench: Bench) -> dict[str, Any]:
    """Accelerate behind Animate Conditioning is Accelerate before it."""
    about = bench.conditioning(bench.exact_model, strengths=strengths(bench, **SETTINGS))
    class_type, *inputs = BESIDE["Accelerate"]
    after = bench.host.k_sample(about, model=bench.host.node(class_type, about.model, *inputs), steps=STEPS)
    model = bench.host.node(class_type, bench.exact_model, *inputs)
    before = bench.host.k_sample(bench.conditioning(model, strengths=strengths(bench, **SETTINGS)), steps=STEPS)
    return {"distance": distance(after, before)}


def other_model(bench: Bench) -> dict[str, Any]:
    """The loader's MODEL in the place of Animate Conditioning's."""
    chosen = strengths(bench, guidance=[0.5])
    about = bench.conditioning(bench.exact_model, strengths=chosen)
    return {"distance": distance(bench.host.k_sample(about, model=bench.exact_model), bench.k_sample(bench.exact_model, steps=4))}


def rows(bench: Bench, path: str) -> dict[str, Any]:
    """Guided in the first half of the steps: how many frames are computed in one window."""
    chosen, sample = strengths(bench, guidance_end=[0.5]), bench.k_sample if path == "k_sampler" else bench.multi_frame
    with bench.rows(bench.exact_model) as counted:
        sample(bench.exact_model, steps=STEPS, strengths=chosen)
    return {"rows": counted.count}


scenario("strengths/several", *ALL)(several_references)
scenario("strengths/accelerated after", "cpu")(accelerated_after)
scenario("strengths/other model", "cpu")(other_model)
for _path in PATHS:
    scenario(f"strengths/{_path}/card", *ALL)(partial(on_a_card, path=_path))
    scenario(f"strengths/{_path}/others", "cpu")(partial(against_others, path=_path))
    scenario(f"strengths/{_path}/rows", "cpu")(partial(rows, path=_path))
    # tracing takes long, and the network is the same in both paths
    for _label in BESIDE.keys() - ({"TorchCompileModel"} if _path == "k_sampler" else set()):
        scenario(f"strengths/{_path}/{_label}", "cpu")(partial(beside, label=_label, path=_path))
