"""torch.compile of the UNet, and which attention may be of low precision."""

from __future__ import annotations

import pytest

from tests.device.conftest import Run


def test_the_unet_is_one_graph_for_all_windows(run: Run) -> None:
    result = run("cpu").of("compile/aot_eager")
    assert result["windows"] > 1
    assert (result["graphs"], result["breaks"]) == (1, 0)
    assert result["distance"] < 1e-3


@pytest.mark.parametrize("width", [40, 80])
def test_wide_pictures_may_be_attended_at_low_precision(run: Run, width: int) -> None:
    calls = run("cpu").of(f"attention/spatial, head width {width}")["calls"]
    assert len(calls) == 1 and calls[0].get("low_precision_attention") is not False


def test_a_head_width_that_sage_does_not_know_is_not_given_to_it(run: Run) -> None:
    result = run("cpu").of("attention/spatial, head width 160")
    assert [call.get("low_precision_attention") for call in result["calls"]] == [False]
    assert result["distance"] < 1e-5


def test_temporal_attention_is_not_quantised(run: Run) -> None:
    result = run("cpu").of("attention/in the network")
    assert result["temporal"] > 0 and result["temporal marked"] == result["temporal"]
    assert result["spatial"] > 0 and result["spatial marked"] == 0
