"""Whole workflows on a pretended card, and weights of every storage and choice."""

from __future__ import annotations

import pytest
import torch

from tests.device.conftest import Results, Run
from tests.host.core_run import relative_l2

SMALL = ("basic", "ksampler", "sigmas", "long")
BUILT_IN = ("demo", "retarget")
EXACT = 1e-3
# relative distance from fp32 on the CPU: the random networks of the tests amplify rounding, and bf16 has 8 bits
NEAR = {"torch.float32": 2e-3, "torch.float16": 0.1, "torch.bfloat16": 0.5}


def check(results: Results, name: str) -> None:
    """Finite, off the card, and nothing of it left there."""
    result = results.of(name)
    assert result["finite"] and result["device"] == "cpu" and result["left"] == 0, result
    assert torch.isfinite(results.samples(name)).all()


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("configuration", ["cuda", "mps"])
def test_a_workflow_in_fp32_gives_what_the_cpu_gives(run: Run, configuration: str, name: str) -> None:
    check(run(configuration), f"graph/{name}/fp32")
    distance = relative_l2(run(configuration).samples(f"graph/{name}/fp32"), run("cpu").samples(f"graph/{name}/fp32"))
    assert distance < EXACT


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_built_in_model_in_fp32_gives_on_mps_what_the_cpu_gives(run: Run, name: str) -> None:
    check(run("mps"), f"graph/{name}/fp32")
    assert relative_l2(run("mps").samples(f"graph/{name}/fp32"), run("cpu").samples(f"graph/{name}/fp32")) < EXACT


@pytest.mark.parametrize("name", SMALL)
def test_a_workflow_runs_with_dynamic_vram(run: Run, name: str) -> None:
    check(run("dynamic"), f"graph/{name}")
    # the VAE in bf16 and the encoders in fp16 give other features from the same picture
    assert relative_l2(run("dynamic").samples(f"graph/{name}"), run("cpu").samples(f"graph/{name}/fp32")) < 0.5


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("configuration", ["cuda", "dynamic"])
def test_the_built_in_model_runs_as_the_host_chooses(run: Run, configuration: str, name: str) -> None:
    check(run(configuration), f"graph/{name}")
    assert relative_l2(run(configuration).samples(f"graph/{name}"), run("cpu").samples(f"graph/{name}/fp32")) < 0.05


@pytest.mark.parametrize("little", ["room", "little"])
@pytest.mark.parametrize("choice", ["auto", "fp32", "fp16", "bf16"])
@pytest.mark.parametrize("files", ["fp16", "bf16", "fp32"])
def test_files_of_every_dtype_with_every_choice_on_cuda(run: Run, files: str, choice: str, little: str) -> None:
    stored(run, "cuda", files, choice, little)


@pytest.mark.parametrize("little", ["room", "little"])
@pytest.mark.parametrize("choice", ["auto", "fp32"])
@pytest.mark.parametrize("files", ["fp16", "bf16", "fp32"])
def test_files_of_every_dtype_with_dynamic_vram(run: Run, files: str, choice: str, little: str) -> None:
    stored(run, "dynamic", files, choice, little)


@pytest.mark.parametrize("choice", ["auto", "fp32", "fp16"])
@pytest.mark.parametrize("files", ["fp16", "bf16", "fp32"])
def test_files_of_every_dtype_on_mps_without_float64(run: Run, files: str, choice: str) -> None:
    stored(run, "mps", files, choice, "room")


def stored(run: Run, configuration: str, files: str, choice: str, little: str) -> None:
    name = f"stored/{files}/{choice}/{little}"
    check(run(configuration), name)
    result = run(configuration).of(name)
    if configuration == "cuda":
        assert result["weights"] == (["cpu"] if little == "little" else ["cuda:0"]), "the card's memory was not used as it should"
    distance = relative_l2(run(configuration).samples(name), run("cpu").samples(f"stored/{files}/fp32/{little}"))
    assert distance < NEAR[result["compute"]], f"{distance} in {result['compute']}"
