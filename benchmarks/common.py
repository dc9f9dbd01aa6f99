"""What every benchmark has: a name, options, a table; and what is noted beside its results."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import torch

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True)
class Options:
    """quick: small sizes, seconds, figures of no interest. cases, rounds and memory are `step`'s; rounds None: the benchmark's own."""

    quick: bool = False
    rounds: int | None = None
    cases: tuple[str, ...] = ()
    memory: bool = True


class Benchmark(Protocol):
    """A module or object that measures one thing; its docstring says what, its table is Markdown of `run`'s results alone."""

    __doc__: str | None
    name: str
    title: str

    def run(self, options: Options) -> dict[str, Any]: ...

    def table(self, results: dict[str, Any]) -> str: ...


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor() or "unknown")


def environment() -> dict[str, Any]:
    return {"date": date.today().isoformat(), "torch": torch.__version__, "cpu": cpu_name(), "threads": torch.get_num_threads()}


def save(folder: Path, benchmark: Benchmark, results: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{benchmark.name}.json"
    path.write_text(json.dumps({"environment": environment(), "results": results}, indent=1) + "\n", encoding="utf-8")
    return path


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
