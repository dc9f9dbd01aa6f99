"""Accelerate on a pretended card gives what it gives on the CPU, leaves nothing there, and goes with the host's nodes."""

from __future__ import annotations

import pytest

from animate_core.windows import Windows
from tests.device.conftest import Run
from tests.device.scenarios_accelerate import BESIDE, STEPS
from tests.host.core_run import relative_l2

PATHS = ("k_sampler", "multi_frame")
EXACT, CHANGES = 2e-3, 5e-3


@pytest.mark.parametrize("little", ["room", "little"])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("configuration", ["cuda", "dynamic", "mps"])
def test_a_card_gives_what_the_cpu_gives(run: Run, configuration: str, path: str, little: str) -> None:
    name = f"accelerate/{path}/{little}"
    result = run(configuration).of(name)
    assert result["finite"] and result["left"] == 0 and result["device"] == "cpu"
    assert relative_l2(run(configuration).samples(name), run("cpu").samples(name)) < EXACT
    assert result["rows"] == run("cpu").of(name)["rows"]


@pytest.mark.parametrize("path", PATHS)
def test_rows_are_those_of_the_plan(run: Run, path: str) -> None:
    """6 frames; windows are those of steps 0, 2, 4 and 6, and the unconditional half runs in steps 0, 3 and 6."""
    expected = sum((2 if step in (0, 3, 6) else 1) * 4 * len(Windows(4, 1).at(step - step % 2, 6)) for step in range(STEPS))
    assert run("cpu").of(f"accelerate/{path}/room")["rows"] == expected


@pytest.mark.parametrize(("label", "path"), [(label, path) for label in BESIDE for path in PATHS
                                             if (label, path) != ("TorchCompileModel", "k_sampler")])
def test_beside_a_node_of_the_hosts(run: Run, label: str, path: str) -> None:
    result = run("cpu").of(f"accelerate/{path}/{label}")
    assert result["from other order"] < EXACT
    assert result["from node"] > CHANGES, "Accelerate is at work"
    if label == "TorchCompileModel":
        assert result["from accelerated"] < EXACT
    else:
        assert result["from accelerated"] > CHANGES, f"{label} is at work"
