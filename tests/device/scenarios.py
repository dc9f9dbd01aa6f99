"""What is tried on a pretended host: named functions with results that go into a file, run by `python tests/device/scenarios.py`.

A scenario that raises is a result too: {"error": type, "message": text, "where": line}, so that a test can ask for a refusal by name.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    # at the end, since the pack's nodes/ must not come before the host's `nodes`; the host's own tests/ not before ours
    sys.path[:] = [place for place in sys.path if Path(place).resolve() != Path(__file__).parent]
    sys.path.append(str(ROOT))

import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from torch import Tensor  # noqa: E402

from tests.device import card  # noqa: E402
from tests.device.pretended_host import GraphError, PretendedHost, warnings_logged  # noqa: E402

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "cpu": {"kind": "cpu", "arguments": ("--use-pytorch-cross-attention",)},  # as on the cards
    "cuda": {"kind": "cuda"},
    "dynamic": {"kind": "cuda", "dynamic": True},
    "mps": {"kind": "mps"},
}
MODULES = ("scenarios_graphs", "scenarios_cards", "scenarios_memory", "scenarios_accelerate", "scenarios_patches", "scenarios_kernels",
           "scenarios_families", "scenarios_strengths", "scenarios_pieces")

Scenario = Callable[["Bench"], dict[str, Any]]
SCENARIOS: dict[str, dict[str, Scenario]] = {name: {} for name in CONFIGURATIONS}


def scenario(name: str, *configurations: str) -> Callable[[Scenario], Scenario]:
    """Registers a function under a name, for some configurations."""

    def register(function: Scenario) -> Scenario:
        for configuration in configurations:
            if name in SCENARIOS[configuration]:
                raise KeyError(f"{configuration}: {name} twice")
            SCENARIOS[configuration][name] = function
        return function

    return register


class Rows:
    """How many pictures the UNet computed: counted at its first layer, so that what a cache answers does not count."""

    def __init__(self) -> None:
        self.count = 0


class Bench:
    """The host of this process with what most scenarios need: a small model, a reference, a pose of a few frames."""

    size, frames, steps = 64, 6, 2

    def __init__(self, host: PretendedHost) -> None:
        self.host = host
        self.known: dict[Any, Any] = {}  # what scenarios share

    @cached_property
    def pieces(self) -> tuple[Any, Any]:
        """Reference and pose, encoded in fp32 so that they are the same wherever they are made."""
        with self.host.exact():
            return self.host.encoded(self.size, self.size, self.frames)

    @cached_property
    def model(self) -> Any:
        """The MODEL of the fp16 files, as a user's weight_dtype "auto" loads it."""
        return self.host.model()

    @cached_property
    def exact_model(self) -> Any:
        """The MODEL in fp32, which gives the same numbers everywhere."""
        return self.host.model("small_fp32", "fp32")

    def several(self, **options: Any) -> Any:
        """Windows that cut the clip in two at every step."""
        return self.host.windows(4, 2, schedule="published", **options)

    def multi_frame(self, model: Any = None, **options: Any) -> Tensor:
        options.setdefault("steps", self.steps)
        return self.host.multi_frame(self.model if model is None else model, *self.pieces, **options)

    def conditioning(self, model: Any = None, windows: Any = None, strengths: Any = None) -> Any:
        return self.host.conditioning(self.model if model is None else model, *self.pieces, windows=windows, strengths=strengths)

    def k_sample(self, model: Any = None, windows: Any = None, strengths: Any = None, **options: Any) -> Tensor:
        options.setdefault("steps", self.steps)
        return self.host.k_sample(self.conditioning(model, windows, strengths), **options)

    @contextmanager
    def rows(self, model: Any = None) -> Iterator[Rows]:
        """Counts what the model computes inside."""
        counted = Rows()
        first = (self.model if model is None else model).model.diffusion_model.conv_in

        def count(module: Any, inputs: tuple[Tensor, ...]) -> None:
            counted.count += inputs[0].shape[0]

        handle = first.register_forward_pre_hook(count)
        try:
            yield counted
        finally:
            handle.remove()


def distance(a: Tensor, b: Tensor) -> float:
    """|a - b| / |b|."""
    return float((a.double() - b.double()).norm() / b.double().norm())


def told(samples: Tensor) -> dict[str, Any]:
    """A sampler's result for the file: where it lies, whether it is finite, and its numbers."""
    on_cpu = samples.cpu() if isinstance(samples, card.CardTensor) else samples
    return {"device": str(samples.device), "dtype": str(samples.dtype), "finite": bool(torch.isfinite(on_cpu).all()),
            "samples": on_cpu.float().contiguous().clone()}


def failure(error: BaseException) -> dict[str, Any]:
    if isinstance(error, GraphError):
        return {"error": error.kind, "message": error.message, "where": error.node}
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/torch/" not in frame.filename]
    frames = [frame for frame in frames if not frame.filename.startswith(str(Path(__file__).parent))] or frames
    return {"error": type(error).__name__, "message": str(error), "where": card.short(frames[-1].filename, frames[-1].lineno or 0)}


def attempt(bench: Bench, name: str, function: Scenario) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A scenario's result, its tensors apart."""
    started = time.process_time()
    with warnings_logged() as lines:
        try:
            with torch.inference_mode(), bench.host.mode:
                result = dict(function(bench))
        except Exception as error:
            result = failure(error)
    tensors = {f"{name}/{key}": result.pop(key) for key in [key for key, value in result.items() if isinstance(value, Tensor)]}
    return {**result, "log": lines, "seconds": round(time.process_time() - started, 2)}, tensors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configuration", choices=CONFIGURATIONS)
    parser.add_argument("base", type=Path, help="the host's base directory, with models/ and input/")
    parser.add_argument("out", type=Path, help="NAME.json and NAME.safetensors are written")
    parser.add_argument("--only", default="", help="only scenarios whose name holds this")
    chosen = parser.parse_args()
    # under its own name, in which the others register, and not as __main__
    import importlib

    registry = importlib.import_module("tests.device.scenarios")
    for module in MODULES:
        importlib.import_module(f"tests.device.{module}")
    bench = registry.Bench(PretendedHost(chosen.base, **CONFIGURATIONS[chosen.configuration]))
    results, tensors = {}, {}
    for name, function in registry.SCENARIOS[chosen.configuration].items():
        if chosen.only in name:
            results[name], found = registry.attempt(bench, name, function)
            tensors.update(found)
            print(f"{results[name]['seconds']:6.1f} s  {name}  {results[name].get('message', '')[:200]}", file=sys.stderr, flush=True)
    chosen.out.with_suffix(".json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    save_file(tensors, chosen.out.with_suffix(".safetensors"))


if __name__ == "__main__":
    main()
