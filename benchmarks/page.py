"""`python -m benchmarks.page`: writes docs/benchmarks.md and its pictures from benchmarks/results/, measuring nothing."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from .__main__ import BENCHMARKS
from .common import RESULTS, Benchmark
from .plots import PLOTS, draw

DOCS = Path(__file__).resolve().parents[1] / "docs"
INTRODUCTION = """\
# Benchmarks

`python -m benchmarks.page` writes this page from the figures in `benchmarks/results/`. To measure one section again, run
`python -m benchmarks NAME --json benchmarks/results`."""


def stored(folder: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """Results by benchmark, in the order of BENCHMARKS; those without a file are left out."""
    paths = {benchmark.name: folder / f"{benchmark.name}.json" for benchmark in BENCHMARKS}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.is_file()}


def section(benchmark: Benchmark, kept: dict[str, Any]) -> str:
    where = kept["environment"]
    circumstances = f"{where['date']}, torch {where['torch']}, {where['cpu']}, threads: {where['threads']}"
    parts = [f"## {benchmark.title}", (benchmark.__doc__ or "").strip(),
             f"`python -m benchmarks {benchmark.name}`; {circumstances}.",
             benchmark.table(kept["results"])]
    if benchmark.name in PLOTS:
        parts.append(f"![{PLOTS[benchmark.name][0]}](benchmarks/{benchmark.name}.svg)")
    return "\n\n".join(parts)


def page(results: dict[str, dict[str, Any]]) -> str:
    sections = [section(benchmark, results[benchmark.name]) for benchmark in BENCHMARKS if benchmark.name in results]
    return "\n\n".join([INTRODUCTION, *sections]) + "\n"


def main() -> None:
    argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__).parse_args()
    results = stored()
    (DOCS / "benchmarks").mkdir(parents=True, exist_ok=True)
    for name in results.keys() & PLOTS.keys():
        draw(name, results[name]["results"], DOCS / "benchmarks" / f"{name}.svg")
    (DOCS / "benchmarks.md").write_text(page(results), encoding="utf-8")


if __name__ == "__main__":
    main()
