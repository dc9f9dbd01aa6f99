"""Samplers, flags, LoRAs, cancelling, waits and two cards, on a pretended card."""

from __future__ import annotations

import pytest

from animate_core.sampling import DDIM, SCHEDULERS
from tests.device.conftest import Run
from tests.host.core_run import relative_l2

FLAGS = {"fp8_e4m3fn_unet": "torch.float8_e4m3fn", "fp8_e5m2_unet": "torch.float8_e5m2", "bf16_unet": "torch.bfloat16",
         "fp16_unet": "torch.float16", "fp32_unet": "torch.float32", "force_fp16": "torch.float16"}
PATHS = ("multi_frame", "k_sample")


@pytest.mark.parametrize("configuration", ["cuda", "mps"])
def test_the_pretended_card_refuses_what_a_card_refuses(run: Run, configuration: str) -> None:
    result = run(configuration).of("card/rules")
    wanted = {"mixed", "numpy", "index"} | ({"float64"} if configuration == "mps" else set())
    assert set(result["refused"]) == wanted
    assert (result["sum"], result["listed"], result["view"]) == (6.0, [1.0, 1.0], f"{configuration}:0")
    assert result["kinds"] == {"upload": 2, "sync": 1, "download": 1}


@pytest.mark.parametrize(("scheduler", "denoise"), [*((name, "1") for name in SCHEDULERS), (DDIM, "0.5")])
def test_a_scheduler_gives_on_the_card_what_it_gives_without(run: Run, scheduler: str, denoise: str) -> None:
    name = f"scheduler/{scheduler}/{denoise}"
    result = run("cuda").of(name)
    assert result["finite"] and result["device"] == "cpu" and result["left"] == 0
    assert relative_l2(run("cuda").samples(name), run("cpu").samples(name)) < 1e-3


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("configuration", ["cuda", "dynamic"])
def test_a_cancelled_run_leaves_nothing_on_the_card(run: Run, configuration: str, path: str) -> None:
    result = run(configuration).of(f"cancel/{path}")
    assert result["ended"] == "interrupted" and result["left"] == 0


@pytest.mark.parametrize("graph", ["basic", "ksampler"])
def test_gpu_only_keeps_what_nodes_give_out_on_the_card(run: Run, graph: str) -> None:
    result = run("cuda").of(f"gpu-only/{graph}")
    assert result["finite"] and result["device"] == "cuda:0"


@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize("configuration", ["cuda", "dynamic"])
def test_a_dtype_by_the_command_line(run: Run, configuration: str, flag: str) -> None:
    result = run(configuration).of(f"flag/{flag}")
    assert result["finite"] and result["weights"] == FLAGS[flag]
    assert result["offloaded"] < 0.05, "weights that are brought when needed give another result"


@pytest.mark.parametrize("kind", ["every kind of layer", "attn2 alone"])
@pytest.mark.parametrize("configuration", ["cuda", "dynamic"])
def test_a_lora_on_the_card_and_off_it(run: Run, configuration: str, kind: str) -> None:
    result = run(configuration).of(f"lora/{kind}")
    assert result["finite"] and result["left"] == 0 and result["changes"] > 0.1
    assert result["offloaded"] < 1e-2  # the host adds LoRAs in fp16 on such a card, at two places
    assert result["multi_frame"] < 0.1  # the two paths round the noise schedule differently


@pytest.mark.parametrize("path", PATHS)
def test_a_step_waits_for_the_card_once_at_most(run: Run, path: str) -> None:
    result = run("cuda").of(f"loop/{path}")
    assert result["per_step"]["waits"] <= 1, result["waits"]


@pytest.mark.parametrize("path", PATHS)
def test_no_list_of_numbers_is_uploaded_for_each_window(run: Run, path: str) -> None:
    result = run("cuda").of(f"loop/{path}")
    by_windows = {line: count for line, count in result["uploads"].items() if count >= result["windows"]}
    assert not by_windows, "uploads for each window of a step"


@pytest.mark.parametrize("path", PATHS)
def test_two_cards_give_what_one_gives(run: Run, path: str) -> None:
    result = run("cuda").of(f"two cards/{path}")
    assert result["finite"] and result["one card"] < 0.05
    if path == "k_sample":
        assert set(result["devices"]) == {"cuda:0", "cuda:1"}


def test_multi_frame_sampler_uses_both_cards_or_says_that_it_does_not(run: Run) -> None:
    result = run("cuda").of("two cards/multi_frame")
    assert set(result["devices"]) == {"cuda:0", "cuda:1"} or any("MultiGPU" in line for line in result["log"])


@pytest.mark.parametrize("path", PATHS)
def test_previews_decode_one_frame_at_a_time(run: Run, path: str) -> None:
    result = run("cuda").of(f"preview/{path}")
    assert result["shapes"], "no preview was decoded"
    assert {tuple(shape) for shape in result["shapes"]} == {(1, 4, result["side"], result["side"])}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("configuration", ["cuda", "dynamic"])
def test_torch_compile_loads_files_of_another_dtype(run: Run, configuration: str, path: str) -> None:
    assert run(configuration).of(f"compiled/{path}")["distance"] < 0.05
