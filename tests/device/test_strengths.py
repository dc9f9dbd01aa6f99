"""Strengths on a pretended card give what they give on the CPU, leave nothing there, and go with other nodes."""

from __future__ import annotations

import pytest

from tests.device.conftest import Run
from tests.device.scenarios_strengths import BESIDE, PATHS, SETTINGS, STEPS
from tests.host.core_run import relative_l2

EXACT, CHANGES = 2e-3, 5e-3
FRAMES = 6


@pytest.mark.parametrize("name", [*(f"strengths/{path}/card" for path in PATHS), "strengths/several"])
@pytest.mark.parametrize("configuration", ["cuda", "dynamic", "mps"])
def test_a_card_gives_what_the_cpu_gives(run: Run, configuration: str, name: str) -> None:
    result = run(configuration).of(name)
    assert result["finite"] and result["left"] == 0 and result["device"] == "cpu"
    assert relative_l2(run(configuration).samples(name), run("cpu").samples(name)) < EXACT


def test_both_paths_agree(run: Run) -> None:
    """4 steps divide 1000: there euler is the published DDIM."""
    k_sampler, multi_frame = (run("cpu").samples(f"strengths/{path}/card") for path in PATHS)
    assert relative_l2(k_sampler, multi_frame) < EXACT


@pytest.mark.parametrize("path", PATHS)
def test_ones_change_nothing_and_every_setting_changes_something(run: Run, path: str) -> None:
    result = run("cpu").of(f"strengths/{path}/others")
    assert result["ones"] is True
    assert all(result[name] > CHANGES for name in SETTINGS), result


@pytest.mark.parametrize("path", PATHS)
def test_steps_without_guidance_compute_one_half(run: Run, path: str) -> None:
    assert run("cpu").of(f"strengths/{path}/rows")["rows"] == FRAMES * (2 + 1) * STEPS // 2


@pytest.mark.parametrize(("label", "path"), [(label, path) for label in BESIDE for path in PATHS
                                             if (label, path) != ("TorchCompileModel", "k_sampler")])
def test_beside_another_node(run: Run, label: str, path: str) -> None:
    result = run("cpu").of(f"strengths/{path}/{label}")
    assert result["nearly one"] < EXACT
    assert result["from node"] > CHANGES, "the strengths are at work"
    if label == "TorchCompileModel":
        assert result["from strengths"] < EXACT
    else:
        assert result["from strengths"] > CHANGES, f"{label} is at work"


def test_accelerate_comes_before_or_after_animate_conditioning(run: Run) -> None:
    assert run("cpu").of("strengths/accelerated after")["distance"] < EXACT


def test_a_model_without_the_guidances_strength_is_told_of(run: Run) -> None:
    result = run("cpu").of("strengths/other model")
    assert result["distance"] == 0
    assert [line for line in result["log"] if "strength of the guidance has no effect" in line]
