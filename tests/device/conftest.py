"""Runs the scenarios of a configuration once, in a process of their own: this one must never import the host (tests/conftest.py)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.device.networks import write_base
from tests.host.host_server import host_path

SCRIPT = Path(__file__).parent / "scenarios.py"
CONFIGURATIONS = ("cuda", "dynamic", "cpu", "mps")  # the longest first
MANY = 30  # tests
LIMIT = 1800  # seconds; a busy machine takes several times its own


@dataclass(frozen=True)
class Results:
    """What the scenarios of one configuration gave."""

    about: dict[str, dict[str, Any]]
    tensors: dict[str, Tensor]

    def of(self, name: str) -> dict[str, Any]:
        """A scenario's result. Fails the test where the scenario raised."""
        result = self.about[name]
        assert "error" not in result, f"{name}: {result['error']} at {result['where']}: {result['message']}"
        return result

    def samples(self, name: str) -> Tensor:
        self.of(name)
        return self.tensors[f"{name}/samples"]


Run = Callable[[str], Results]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A host's base directory with small models in every dtype."""
    folder = tmp_path_factory.mktemp("device-host")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    write_base(folder)
    torch.set_num_threads(threads)
    return folder


@pytest.fixture(scope="session")
def run(base: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Run]:
    """The results of a configuration by its name; its process runs at the first call, or, if many tests ask, those of all at once."""
    out = tmp_path_factory.mktemp("device-results")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH" and not key.startswith("PYTEST_")}
    environment["OMP_NUM_THREADS"] = "1"
    many = sum(item.path.parent == SCRIPT.parent for item in request.session.items) > MANY
    host_path()

    def start(configuration: str) -> Results:
        command = [sys.executable, str(SCRIPT), configuration, str(base), str(out / configuration)]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT)
        assert ended.returncode == 0, f"{configuration}: exit code {ended.returncode}\n{ended.stderr[-4000:]}"
        about = json.loads((out / f"{configuration}.json").read_text(encoding="utf-8"))
        return Results(about, load_file(out / f"{configuration}.safetensors"))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        running = {configuration: pool.submit(start, configuration) for configuration in CONFIGURATIONS if many}

        def results(configuration: str) -> Results:
            if configuration not in running:
                running[configuration] = pool.submit(start, configuration)
            return running[configuration].result()

        yield results
