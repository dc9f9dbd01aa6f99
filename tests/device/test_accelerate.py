"""Accelerate on a pretended card gives what it gives on the CPU, leaves nothing there, and goes with the host's nodes."""

from __future__ import annotations

import pytest

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
    """8 steps, guided up to 0.9 of them, the unconditional half in steps 0, 3 and 6: 11 passes of three windows of 4 frames."""
    rows = run("cpu").of(f"accelerate/{path}/room")["rows"]
    assert rows % 4 == 0 and 2 * (STEPS + 3) <= rows // 4 <= 3 * (STEPS + 3)


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
