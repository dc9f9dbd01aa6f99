"""The measures: time in turns, FLOPs, peak memory in a process of its own, and the machine's matmul rate."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from .cases import DTYPES, WAYS, Case, build_unet, make_inputs

MATMUL_SIZE = 2048


def timed(run: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


Times = dict[str, list[float]]


def time_in_turns(steps: Mapping[str, Callable[[], Any]], rounds: int) -> tuple[Times, Times]:
    """Seconds of each of `rounds` runs of every step, one after the other in turns (A B A B), after a warm-up run of each.

    Wall-clock and processor seconds (of all threads). With one thread the latter hardly feel other processes; with
    several, threads that wait for one another count too.
    """
    for step in steps.values():
        step()
    wall: Times = {name: [] for name in steps}
    processor: Times = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            begin = time.process_time()
            wall[name].append(timed(step))
            processor[name].append(time.process_time() - begin)
    return wall, processor


def ratio(seconds: Mapping[str, list[float]], a: str, b: str) -> float:
    """Median over the rounds of a's time by b's: a disturbance of the machine weighs on one round only."""
    return median(x / y for x, y in zip(seconds[a], seconds[b], strict=True))


def attention_flops(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """Of `[b, h, nq, d]`, `[b, h, nk, d]`: products of queries and keys, and of weights and values."""
    b, h, nq, d = query
    return 2 * b * h * nq * key[2] * (d + value[3])


def count_flops(step: Callable[[], Any]) -> int:
    # torch's counter has no formula for the CPU's fused attention; the CUDA ones it counts the same way
    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    with FlopCounterMode(display=False, custom_mapping={fused: attention_flops}) as counter:
        step()
    return counter.get_total_flops()


def matmul_rate(dtype: torch.dtype, rounds: int = 5) -> float:
    """FLOP/s of this machine, with this many threads, in a square matrix product; the best of a few."""
    a, b = (torch.randn(MATMUL_SIZE, MATMUL_SIZE).to(dtype) for _ in range(2))
    a @ b
    return 2 * MATMUL_SIZE**3 / min(timed(lambda: a @ b) for _ in range(rounds))


def compare(a: Tensor, b: Tensor) -> dict[str, float]:
    """Largest absolute difference over the largest value, and relative L2."""
    a, b = a.double(), b.double()
    return {"max_over_scale": ((a - b).abs().max() / b.abs().max()).item(), "relative_l2": ((a - b).norm() / b.norm()).item()}


def status_bytes(field: str) -> int | None:
    """A field of Linux's /proc/self/status in bytes; None elsewhere."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), None)


def peak_of_step(case: Case, way: str) -> int:
    """Bytes above the loaded weights at the height of two steps, conditioning included. To be run in a process of its own."""
    unet = build_unet(case)
    before = status_bytes("VmRSS")
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from here
    except OSError:
        before = None
    with torch.inference_mode():
        step = WAYS[way](unet, make_inputs(case, unet))
        step()
        step()
    peak = status_bytes("VmHWM")
    if before is None or peak is None:
        unit = 1 if sys.platform == "darwin" else 1024
        weights = sum(t.numel() * t.element_size() for t in unet.state_dict().values())
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - weights
    return peak - before


def peak_memory(case: Case, way: str) -> int:
    """`peak_of_step` in a fresh process. Raises CalledProcessError if it fails."""
    code = ("import json, sys; from benchmarks.cases import Case; from benchmarks.measure import peak_of_step; "
            "import torch; torch.set_num_threads(int(sys.argv[3])); print(peak_of_step(Case(**json.loads(sys.argv[1])), sys.argv[2]))")
    command = [sys.executable, "-c", code, json.dumps(asdict(case)), way, str(torch.get_num_threads())]
    root = Path(__file__).resolve().parents[1]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=root).stdout.split()[-1])


def measure(case: Case, rounds: int, memory: bool = True) -> dict[str, Any]:
    """All measures of a case. Raises ArithmeticError where the two ways do not give the same output."""
    peaks = {way: peak_memory(case, way) for way in WAYS} if memory else None
    with torch.inference_mode():
        unet = build_unet(case)
        inputs = make_inputs(case, unet)
        steps = {way: make(unet, inputs) for way, make in WAYS.items()}
        outputs: dict[str, Tensor] = {}

        def keep(way: str) -> Callable[[], None]:
            return lambda: outputs.update({way: steps[way]()})

        flops = {way: count_flops(keep(way)) for way in WAYS}
        difference = compare(outputs["ours"], outputs["published"])
        if difference["max_over_scale"] > 1e-4 if case.dtype == "fp32" else difference["relative_l2"] > 0.05:
            raise ArithmeticError(f"{case.name}: the two ways differ: {difference}")
        rate = matmul_rate(DTYPES[case.dtype])
        seconds, processor = time_in_turns(steps, rounds)
        rate = max(rate, matmul_rate(DTYPES[case.dtype]))
        once = timed(lambda: unet.condition(inputs.token, inputs.features))
    return {
        "case": case.name, **asdict(case), "threads": torch.get_num_threads(), "torch": torch.__version__,
        "difference": difference, "matmul_flops_per_second": rate, "flops": flops, "seconds": seconds, "processor_seconds": processor,
        "median_seconds": {way: median(s) for way, s in seconds.items()}, "peak_bytes_above_weights": peaks,
        "share_of_matmul_rate": {way: flops[way] / median(seconds[way]) / rate for way in WAYS},
        "once_per_clip_seconds": once,
        "ratios": {
            "time": ratio(seconds, "published", "ours"),
            "time_best": min(seconds["published"]) / min(seconds["ours"]),
            "processor_time_best": min(processor["published"]) / min(processor["ours"]),
            "flops": flops["published"] / flops["ours"],
            "peak": peaks["published"] / peaks["ours"] if peaks else None,
        },
    }
