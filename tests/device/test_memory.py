"""Weights in 8 bits and poses kept as pictures, on a pretended card."""

from __future__ import annotations

import pytest

from tests.device.conftest import Run
from tests.device.networks import EIGHT_BITS

CARDS = ("cuda", "dynamic")
# of a trained network's latents from fp16: e4m3 keeps 4 significant bits, e5m2 keeps 3
NEAR = {"fp8_e4m3fn": 0.1, "fp8_e5m2": 0.2}


@pytest.mark.parametrize("choice", EIGHT_BITS)
@pytest.mark.parametrize("configuration", CARDS)
def test_weights_in_8_bits_are_near_those_in_16(run: Run, configuration: str, choice: str) -> None:
    result = run(configuration).of(f"fp8/{choice}")
    assert result["finite"] and result["left"] == 0
    assert (result["weights"], result["compute"]) == (str(EIGHT_BITS[choice]), "torch.float16")
    assert 1e-4 < result["from plain"] < NEAR[choice]
    assert result["offloaded"] < 1e-3
    assert 1e-4 < run(configuration).of(f"fp8/reference/{choice}")["distance"] < NEAR[choice]


@pytest.mark.parametrize("choice", ["auto", "as stored"])
@pytest.mark.parametrize("files", EIGHT_BITS)
@pytest.mark.parametrize("configuration", ["cpu", *CARDS])
def test_files_in_8_bits(run: Run, configuration: str, files: str, choice: str) -> None:
    result = run(configuration).of(f"fp8 files/{files}/{choice}")
    assert result["finite"] and result["left"] == 0
    assert result["from fp32"] < (1e-3 if configuration == "cpu" else 0.1)
    if choice == "as stored" or configuration == "cpu":
        assert result["stored"] == sorted([str(EIGHT_BITS[files]), "torch.float16"])


def test_8_bits_halve_the_published_sizes(run: Run) -> None:
    sizes = run("cpu").of("fp8/bytes")["sizes"]
    assert sizes["motion UNet"]["fp16"] == pytest.approx(2522 * 2**20, rel=0.01)
    for size in sizes.values():
        for choice in EIGHT_BITS:
            # norms, biases and position tables stay as they are
            assert 0.5 < size[choice] / size["fp16"] < 0.51


def test_a_device_without_8_bits_says_so(run: Run) -> None:
    result = run("mps").about["fp8/refused"]
    assert result["error"] == "ValueError" and "mps does not support fp8_e4m3fn; choose fp16" in result["message"]


@pytest.mark.parametrize(("configuration", "name"), [
    *((configuration, name) for configuration in CARDS for name in ("multi_frame", "k_sample", "little")),
    ("cpu", "multi_frame"), ("cpu", "k_sample"), ("cuda", "two cards")])
def test_poses_kept_as_pictures_guide_as_features(run: Run, configuration: str, name: str) -> None:
    result = run(configuration).of(f"pictures/{name}")
    assert result["kept"] == [[6, 64, 64, 3], "torch.uint8", "cpu"]
    assert result["finite"] and result["left"] == 0
    assert result["distance"] < 1e-3


def test_the_guiders_work_is_claimed(run: Run) -> None:
    result = run("cuda").of("pictures/claim")
    assert list(result["told"]["features"].values()) == [[4, 0, 1]]
    assert list(result["told"]["pictures"].values()) == [[4, result["bytes"], 1]]
    assert result["bytes"] > 0 and result["claim"] == 10**12
