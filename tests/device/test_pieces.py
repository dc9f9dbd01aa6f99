"""Given frames, runs that go on after a stop, and frames by themselves, on a pretended card as on the CPU."""

from __future__ import annotations

import pytest

from tests.device.conftest import Run
from tests.device.scenarios_pieces import PATHS, RESUMED
from tests.host.core_run import relative_l2

EXACT, CHANGES = 2e-3, 5e-3
CARDS = ("cuda", "dynamic", "mps")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("configuration", ("cpu", *CARDS))
def test_what_is_given_comes_out(run: Run, configuration: str, path: str) -> None:
    result = run(configuration).of(f"pieces/known/{path}")
    # the host's own samplers step to the given values, which rounds
    assert result["off"] == 0 if path == "multi_frame" else result["off"] < 1e-4
    assert result["finite"] and result["left"] == 0 and result["device"] == "cpu"
    # those also add the latent, which is nothing beside noise times their largest sigma, but not exactly nothing
    assert result["ones"] < (1e-6 if path == "multi_frame" else 1e-3), "a mask of ones is none"
    assert result["free"] > CHANGES, "the rest fits to what is given"
    assert relative_l2(run(configuration).samples(f"pieces/known/{path}"), run("cpu").samples(f"pieces/known/{path}")) < EXACT


def test_both_paths_give_the_same(run: Run) -> None:
    """Euler at the published sigmas is the published DDIM, with given frames too; 4 steps divide 1000."""
    for kind in ("known", "alone"):
        assert relative_l2(*(run("cpu").samples(f"pieces/{kind}/{path}") for path in PATHS)) < EXACT


@pytest.mark.parametrize("configuration", ["cpu", "cuda"])
def test_a_mask_that_changes_from_step_to_step(run: Run, configuration: str) -> None:
    result = run(configuration).of("pieces/gradual")
    assert result["between paths"] < EXACT and result["from plain"] > CHANGES


@pytest.mark.parametrize("scheduler", [*RESUMED, "accelerated"])
@pytest.mark.parametrize("configuration", ["cpu", "cuda"])
def test_a_stopped_run_goes_on(run: Run, configuration: str, scheduler: str) -> None:
    result = run(configuration).of(f"pieces/resumed/{scheduler}")
    assert result["from whole"] < 1e-6 and 0 < result["share"] < 0.75
    assert (result["kept"], result["after"]) == (1, 0) and result["left"] == 0


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("configuration", ("cpu", *CARDS))
def test_frames_by_themselves(run: Run, configuration: str, path: str) -> None:
    result = run(configuration).of(f"pieces/alone/{path}")
    assert result["finite"] and result["left"] == 0 and result["from motion"] > CHANGES
    assert relative_l2(run(configuration).samples(f"pieces/alone/{path}"), run("cpu").samples(f"pieces/alone/{path}")) < EXACT
