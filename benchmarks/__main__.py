"""`python -m benchmarks [NAME ...] [--quick] [--json FOLDER]`: measures, prints a table of each, and keeps the figures as JSON.

`python -m benchmarks --json benchmarks/results` renews what `python -m benchmarks.page` makes docs/benchmarks.md of.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from . import acceleration, cleaning, drawing, long, memory, pieces, retargeting, step
from .common import Benchmark, Options, save

BENCHMARKS: tuple[Benchmark, ...] = (step, memory, acceleration, long, pieces, drawing, cleaning, retargeting)


def main() -> None:
    by_name = {benchmark.name: benchmark for benchmark in BENCHMARKS}
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(by_name)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="small sizes: seconds, figures of no interest")
    parser.add_argument("--json", type=Path, metavar="FOLDER", help="also save everything measured as FOLDER/NAME.json")
    parser.add_argument("--threads", type=int, help="threads of torch (default: its own choice)")
    parser.add_argument("--rounds", type=int, help="step and drawing: timed runs of each way")
    parser.add_argument("--case", action="append", default=[], metavar="TEXT",
                        help="step: only cases whose name contains TEXT (256x192, bf16, ...); may be repeated")
    parser.add_argument("--no-memory", action="store_true", help="step: leave out peak memory, which builds each network twice more")
    args = parser.parse_args()
    unknown = [name for name in args.names if name not in by_name]
    if unknown or (args.rounds is not None and args.rounds < 1):
        parser.error(f"no such benchmark, or no rounds; benchmarks: {', '.join(by_name)}")
    if args.threads:
        torch.set_num_threads(args.threads)
    options = Options(args.quick, args.rounds, tuple(args.case), not args.no_memory)
    for name in args.names or by_name:
        benchmark = by_name[name]
        print(f"{benchmark.title}\n", flush=True)
        try:
            results = benchmark.run(options)
        except ValueError as error:
            parser.error(str(error))
        if args.json:
            save(args.json, benchmark, results)
        print(f"\n{benchmark.table(results)}\n\n{(benchmark.__doc__ or '').strip()}\n", flush=True)


if __name__ == "__main__":
    main()
