"""`python -m benchmarks [--json FILE] [--quick]`: a denoising step of the full-size network beside the published way."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from .cases import all_cases
from .measure import measure

NOTE = """\
One step = one guided evaluation of the denoiser (both halves) for one window; random weights, CPU, {threads} threads, torch {torch}.
Included: time embedding, all layers, motion modules. Not included, because both ways do it once per clip or not at all in a
step: the ReferenceNet's pass, the pose guider, VAE, scheduler. "once per clip" is what our way computes beforehand from the
reference's features (their keys and values in each block, and cross-attention's vectors); the published way has no such stage.
Time: median of the runs in turns; ratio: median of the rounds' ratios. On a machine that others use too, look at the best runs'
processor time (with --threads 1). The published implementation itself took 23.7 s (fp32) and 9.9 s (bf16) for the 256x192 step on two
quiet cores with matmul rates of 171 and 473 GFLOP/s: 138 and 330 GFLOP/s by this count, shares of 0.81 and 0.70.
Peak memory: above the weights, in a process of its own.
Share: FLOP/s of the step over the rate of a large square matmul in the same dtype, measured in the same process.
"""


def line(cells: list[str]) -> str:
    return "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, (20, 10, 9, 9, 8, 7, 10, 9), strict=True))


def table(results: list[dict[str, Any]]) -> str:
    lines = [line(["case", "way", "time s", "TFLOP", "GFLOP/s", "share", "peak MiB", "matmul"])]
    for r in results:
        for way in ("published", "ours"):
            peak = r["peak_bytes_above_weights"]
            lines.append(line([
                r["case"], way, f"{r['median_seconds'][way]:.2f}", f"{r['flops'][way] / 1e12:.3f}",
                f"{r['flops'][way] / r['median_seconds'][way] / 1e9:.0f}", f"{r['share_of_matmul_rate'][way]:.2f}",
                f"{peak[way] / 2**20:.0f}" if peak else "-", f"{r['matmul_flops_per_second'] / 1e9:.0f}",
            ]))
        ratios = r["ratios"]
        lines.append(line(["", "ratio", f"{ratios['time']:.2f}x", f"{ratios['flops']:.3f}x", "", "",
                           f"{ratios['peak']:.2f}x" if ratios["peak"] else "-", ""]))
        lines.append(f"{'':>22}best against best: {ratios['time_best']:.2f}x in time, "
                     f"{ratios['processor_time_best']:.2f}x in processor time")
        d = r["difference"]
        lines.append(f"{'':>22}once per clip {r['once_per_clip_seconds']:.2f} s; outputs differ by "
                     f"{d['max_over_scale']:.1e} of the largest value, relative L2 {d['relative_l2']:.1e}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also save everything measured here")
    parser.add_argument("--quick", action="store_true", help="a narrow network and small pictures: seconds, figures of no interest")
    parser.add_argument("--case", action="append", metavar="TEXT",
                        help="only cases whose name contains TEXT (256x192, bf16, ...); may be repeated")
    parser.add_argument("--rounds", type=int, default=5, help="timed runs of each way (default 5)")
    parser.add_argument("--threads", type=int, help="threads of torch (default: its own choice)")
    parser.add_argument("--no-memory", action="store_true", help="leave out peak memory, which builds each network twice more")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    cases = [c for c in all_cases(args.quick) if not args.case or any(text in c.name for text in args.case)]
    if not cases or args.rounds < 1:
        parser.error(f"no such case, or no rounds; cases: {', '.join(c.name for c in all_cases(args.quick))}")

    results = []
    for case in cases:
        print(f"measuring {case.name} ...", flush=True)
        results.append(measure(case, args.rounds, not args.no_memory))
        if args.json:
            args.json.write_text(json.dumps({"results": results}, indent=2) + "\n")
    print("\n" + table(results) + "\n\n" + NOTE.format(threads=torch.get_num_threads(), torch=torch.__version__))


if __name__ == "__main__":
    main()
