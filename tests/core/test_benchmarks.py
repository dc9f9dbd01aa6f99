"""The counters of the benchmarks against sums done by hand, the seam measure on clips whose seams are known, and the page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from animate_core.accelerate import PRESETS, Acceleration
from animate_core.demo.character import HELD_OUT_SEED
from animate_core.demo.clip import demo_clip
from animate_core.windows import Windows
from benchmarks import acceleration, cleaning, drawing, memory, pieces, retargeting, step
from benchmarks.__main__ import BENCHMARKS
from benchmarks.builtin import builtin_model, decode, draw_skeletons, sample, subject
from benchmarks.card import CardFlops, flops_of, peak_of, pretended_card
from benchmarks.common import Options, save
from benchmarks.page import DOCS, page, stored
from benchmarks.plots import PLOTS, draw
from benchmarks.seams import joint_share, joints, seam

MIB = 2**20


def test_the_page_is_what_the_stored_results_give() -> None:
    results = stored()
    assert "memory" in results
    assert (DOCS / "benchmarks.md").read_text(encoding="utf-8") == page(results)
    for name in results.keys() & PLOTS.keys():
        assert (DOCS / "benchmarks" / f"{name}.svg").is_file()


@pytest.mark.parametrize("benchmark", [step, memory, acceleration, pieces, drawing, cleaning, retargeting], ids=lambda b: b.name)
def test_a_quick_run_gives_results_that_can_be_stored_and_shown(benchmark: object, tmp_path: Path) -> None:
    assert benchmark in BENCHMARKS
    results = benchmark.run(Options(quick=True, rounds=1, memory=False))  # type: ignore[attr-defined]
    path = save(tmp_path, benchmark, results)  # type: ignore[arg-type]
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert benchmark.table(kept["results"]) == benchmark.table(results)  # type: ignore[attr-defined]
    assert kept["environment"]["torch"] == torch.__version__
    assert stored(tmp_path).keys() == {benchmark.name}  # type: ignore[attr-defined]


def test_pictures_of_the_same_results_are_the_same(tmp_path: Path) -> None:
    kept = stored()["memory"]["results"]
    for name in ("a.svg", "b.svg"):
        draw("memory", kept, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


class Layers(nn.Module):
    """Two linear layers of 1024, whose results of 1 MiB live beside the input and, at the height, beside each other."""

    def __init__(self, dtype: torch.dtype = torch.float16, device: str = "cuda") -> None:
        super().__init__()
        self.first = nn.Linear(1024, 1024, bias=False, dtype=dtype, device=device)
        self.second = nn.Linear(1024, 1024, bias=False, dtype=torch.float16, device="cuda")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x))


def test_peaks_and_flops_are_those_done_by_hand() -> None:
    with pretended_card():
        network = Layers()

        def prepare():  # type: ignore[no-untyped-def]
            x = torch.empty(512, 1024, dtype=torch.float16, device="cuda")
            return lambda: network(x)

        peak = peak_of(network, prepare)
        assert (peak.weights, peak.kept, peak.above) == (4 * MIB, MIB, 3 * MIB)
        assert peak.where == "second (mm)"
        x = torch.empty(512, 1024, dtype=torch.float16, device="cuda")
        assert flops_of(lambda: network(x)) == 2 * 2 * 512 * 1024 * 1024
        with CardFlops(network) as counter:
            network(x)
        assert {place for place, _ in counter.counted} == {"first", "second"}
        # one number takes a step of the allocator
        assert peak_of(nn.Identity(), lambda: torch.empty(1, device="cuda").neg).above == 1024


@pytest.mark.parametrize(("dtype", "device", "error"), [(torch.float32, "cuda", TypeError), (torch.float16, "cpu", RuntimeError)])
def test_weights_of_another_dtype_or_device_are_errors(dtype: torch.dtype, device: str, error: type[Exception]) -> None:
    with pretended_card():
        network = Layers(dtype, device)
        with pytest.raises(error):
            peak_of(network, lambda: lambda: network(torch.empty(8, 1024, dtype=torch.float16, device="cuda")))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_attention_is_counted_as_a_fused_kernel(dtype: torch.dtype) -> None:
    """4,096 tokens: weights written out would take 8 heads x 4096 x 4096 numbers, 256 MiB at 16 bits."""
    with pretended_card():
        def prepare():  # type: ignore[no-untyped-def]
            q = torch.empty(1, 8, 4096, 40, dtype=dtype, device="cuda")
            return lambda: F.scaled_dot_product_attention(q, q, q)

        assert peak_of(nn.Identity(), prepare).above < 16 * MIB
        assert flops_of(prepare()) == 2 * 2 * 8 * 4096 * 4096 * 40


def test_both_halves_and_longer_windows_take_more() -> None:
    def above(width: int, frames: int, clips: int) -> int:
        return memory.peak_of_step(width, 512, frames, clips, torch.float16).above

    one = above(512, 16, 1)
    assert one < above(512, 16, 2) < 2.1 * one
    assert above(512, 8, 1) < one < above(768, 16, 1)


def test_step_flops_are_the_sum_of_known_parts() -> None:
    """Only the half with the reference reads its keys; everything else is twice the same."""
    both, one = memory.flops_of_step(512, 512, 16, 2), memory.flops_of_step(512, 512, 16, 1)
    assert both.keys() == one.keys()
    for kind in both:
        if kind == "spatial attention":
            assert 1.3 * one[kind] < both[kind] < 2 * one[kind]
        else:
            assert both[kind] == 2 * one[kind], kind


def test_presets_save_what_they_promise_at_full_size() -> None:
    passes = acceleration.flops_by_pass(512, 768, 24)
    plain = acceleration.run_flops(passes, Acceleration(), 25)
    assert plain == 25 * (passes["conditional", 0] + passes["unconditional", 0])
    assert plain / acceleration.run_flops(passes, PRESETS["Balanced"], 25) > 2
    assert plain / acceleration.run_flops(passes, PRESETS["Fast"], 25) > 3.5


PUBLISHED = Windows(16, 4, schedule="published", weights="flat")


def test_joints_are_where_windows_begin_and_end() -> None:
    # windows 0-15, 12-27, 24-39, 36-51, the last one over the end to frames 0-3
    assert np.flatnonzero(joints(PUBLISHED, 0, 48)).tolist() == [3, 11, 15, 23, 27, 35, 39]
    assert not joints(PUBLISHED, 0, 16).any()
    share = joint_share(Windows(16, 4), 12, 96)
    assert 0.08 < share.mean() < 0.25 and share[20:76].max() < 0.5
    assert (joint_share(PUBLISHED, 12, 96) == joints(PUBLISHED, 3, 96)).all()


def test_the_seam_figure_finds_jumps_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    truth, weight = rng.uniform(0.5, 2, 95), joints(PUBLISHED, 0, 96)
    assert seam(truth, truth, weight) == pytest.approx(1)
    assert seam(1.3 * truth, truth, weight) == pytest.approx(1)
    assert seam(truth * (1 + 0.2 * weight), truth, weight) == pytest.approx(1.2)
    with pytest.raises(ValueError, match="joints"):
        seam(truth, truth, 0 * weight)


def test_skeletons_drawn_alone_are_those_of_the_whole_clip() -> None:
    seed, frames = HELD_OUT_SEED + 5, 3
    assert (draw_skeletons(seed, "dance", frames) == demo_clip(seed, "dance", frames).poses).all()


def test_a_clip_in_windows_is_near_the_clip_in_one() -> None:
    """In two windows of 8 frames, shown as pictures: another prediction, of the same character at the same place."""
    seed = HELD_OUT_SEED + 5
    truth = demo_clip(seed, "dance", 12)
    model = builtin_model()
    with torch.inference_mode():
        who = subject(model, seed)
        one, two = (decode(model, sample(model, who, truth.poses, windows, steps=2, seed=0)).astype(float)
                    for windows in (Windows(16, 4), Windows(8, 4)))
    still = np.abs(truth.frames[:1].astype(float) - truth.frames).mean()
    assert 0 < np.abs(one - two).mean() < 0.5 * still
    assert np.abs(two - truth.frames).mean() < still
