"""A denoising step of the full-size network beside the published way of computing it.

One step is one guided evaluation of the denoiser (both halves) for one window; random weights, on the CPU. Included: time embedding, all
layers, motion modules. Not included, because both ways do it once per clip or not at all in a step: the ReferenceNet's pass, the pose
guider, VAE, scheduler. "once per clip" is what our way computes beforehand from the reference's features (their keys and values in each
block, and cross-attention's vectors); the published way has no such stage.

Time: median of the runs in turns; ratio: median of the rounds' ratios. On a machine that others use too, look at the best runs' processor
time (with --threads 1). Peak memory: above the weights, in a process of its own. Share: FLOP/s of the step over the rate of a large square
matmul in the same dtype, measured in the same process. The published implementation itself took 23.7 s (fp32) and 9.9 s (bf16) for the
256x192 step on two quiet cores with matmul rates of 171 and 473 GFLOP/s: 138 and 330 GFLOP/s by this count, shares of 0.81 and 0.70.
"""

from __future__ import annotations

from typing import Any

from .cases import all_cases
from .common import Options, markdown
from .measure import measure

name = "step"
title = "A denoising step beside the published way"

ROUNDS = 5


def run(options: Options) -> dict[str, Any]:
    """Raises ValueError where no case's name contains one of the texts asked for."""
    every = all_cases(options.quick)
    cases = [c for c in every if not options.cases or any(text in c.name for text in options.cases)]
    if not cases:
        raise ValueError(f"no such case; cases: {', '.join(c.name for c in every)}")
    out = []
    for case in cases:
        print(f"  measuring {case.name} ...", flush=True)
        out.append(measure(case, options.rounds or ROUNDS, options.memory))
    return {"cases": out}


def table(results: dict[str, Any]) -> str:
    rows, notes = [], []
    for r in results["cases"]:
        peak, ratios, d = r["peak_bytes_above_weights"], r["ratios"], r["difference"]
        for way in ("published", "ours"):
            rows.append([r["case"], way, f"{r['median_seconds'][way]:.2f}", f"{r['flops'][way] / 1e12:.3f}",
                         f"{r['flops'][way] / r['median_seconds'][way] / 1e9:.0f}", f"{r['share_of_matmul_rate'][way]:.2f}",
                         f"{peak[way] / 2**20:.0f}" if peak else "-", f"{r['matmul_flops_per_second'] / 1e9:.0f}"])
        rows.append([r["case"], "ratio", f"{ratios['time']:.2f}x", f"{ratios['flops']:.3f}x", "", "",
                     f"{ratios['peak']:.2f}x" if ratios["peak"] else "-", ""])
        notes.append(f"- {r['case']}: best against best {ratios['time_best']:.2f}x in time, {ratios['processor_time_best']:.2f}x in "
                     f"processor time; once per clip {r['once_per_clip_seconds']:.2f} s; outputs differ by {d['max_over_scale']:.1e} of "
                     f"the largest value, relative L2 {d['relative_l2']:.1e}")
    head = ["case", "way", "time s", "TFLOP", "GFLOP/s", "share", "peak MiB", "matmul GFLOP/s"]
    return "\n\n".join([markdown(head, rows), "\n".join(notes)])
