"""Context windows. The published schedule's tables are in tests/parity; here are its examples from the method's notes, and ours."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from animate_core.windows import Windows, bit_reversed_fraction, padded_length, predict_in_windows


def spans(windows: list[list[int]]) -> list[tuple[int, int]]:
    return [(w[0], w[-1]) for w in windows]


@pytest.mark.parametrize(("frames", "closed", "expected"), [
    (30, True, [(0, 23), (20, 13)]), (64, True, [(0, 23), (20, 43), (40, 63), (60, 19)]),
    (100, True, [(0, 23), (20, 43), (40, 63), (60, 83), (80, 3)]), (64, False, [(0, 23), (20, 43), (40, 63)]), (24, True, [(0, 23)]),
])
def test_published_schedule(frames: int, closed: bool, expected: list[tuple[int, int]]) -> None:
    windows = Windows(24, 4, schedule="published", weights="flat", closed_loop=closed)
    assert spans(windows.at(0, frames)) == expected
    assert windows.at(7, frames) == windows.at(0, frames), "the reference passes step 0 whatever the step"


def test_bit_reversal() -> None:
    assert [bit_reversed_fraction(i) for i in range(6)] == [0, 0.5, 0.25, 0.75, 0.125, 0.625]


@pytest.mark.parametrize("frames", [25, 26, 30, 47, 48, 64, 100, 101])
@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize(("length", "overlap"), [(24, 4), (16, 0), (12, 11)])
def test_shifted_windows_cover_every_frame_with_full_windows(frames: int, closed: bool, length: int, overlap: int) -> None:
    windows = Windows(length, overlap, closed_loop=closed)
    seams = set()
    for step in range(16):
        at = windows.at(step, frames)
        assert {f for w in at for f in w} == set(range(frames))
        assert all(len(w) == length for w in at)
        assert all((b - a) % frames == 1 for w in at for a, b in zip(w, w[1:], strict=False))
        if not closed:
            assert all(w[0] < w[-1] for w in at), "no window runs over the end"
        seams.add(tuple(w[0] for w in at))
    if overlap < length - 1 and frames > length + 1:
        assert len(seams) > 1, "joints move"


def test_one_window_is_the_network_itself() -> None:
    x = torch.randn(2 * 5, 4, 3, 3)
    out = predict_in_windows(lambda xw, frames: xw * 2, x, 2, Windows(8, 2), 0)
    assert torch.equal(out, x * 2)


@pytest.mark.parametrize("weights", ["flat", "pyramid"])
@pytest.mark.parametrize("schedule", ["shifted", "published"])
def test_windows_that_agree_are_joined_without_a_trace(weights: str, schedule: str) -> None:
    x = torch.randn(2 * 30, 4, 3, 3)
    pose = torch.randn(30, 4, 3, 3)

    def predict(xw: Tensor, frames: list[int]) -> Tensor:
        assert xw.shape[0] == 2 * len(frames)
        return xw + pose[frames].repeat(2, 1, 1, 1)

    out = predict_in_windows(predict, x, 2, Windows(8, 3, schedule=schedule, weights=weights, closed_loop=True), 3)
    assert torch.allclose(out, x + pose.repeat(2, 1, 1, 1), atol=1e-6)


def test_pyramid_weights_count_the_middle_most() -> None:
    assert Windows(5, 1).frame_weights(5).tolist() == [1, 2, 3, 2, 1]
    assert Windows(5, 1).frame_weights(4).tolist() == [1, 2, 2, 1]
    # two windows of 4 over 6 frames, predicting 0 and 1: frames 2 and 3 are weighted 2:1 and 1:2
    x, call = torch.zeros(6, 1, 1, 1), iter((0.0, 1.0))
    out = predict_in_windows(lambda xw, frames: torch.full_like(xw, next(call)), x, 1, Windows(4, 2), 0)
    assert out.flatten().tolist() == pytest.approx([0, 0, 1 / 3, 2 / 3, 1, 1])


@pytest.mark.parametrize(("arguments", "message"), [
    ({"length": 0}, "length must be .*got 0"), ({"length": 4, "overlap": 4}, "less than the length"),
    ({"overlap": -1}, "overlap must be .*got -1"), ({"stride": 0}, "stride must be .*got 0"), ({"stride": 2}, "needs schedule 'published'"),
    ({"schedule": "loop"}, "is unknown; choose from"),
    ({"weights": "gauss"}, "is unknown; choose from"),
])
def test_settings_out_of_range(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Windows(**arguments)


@pytest.mark.parametrize(("frames", "length", "overlap", "padded"), [
    (9, 8, 3, 13), (20, 48, 4, 48), (48, 48, 4, 48), (49, 48, 4, 92), (75, 48, 4, 92), (92, 48, 4, 92), (2, 48, 4, 4)])
def test_no_window_of_a_padded_clip_wraps(frames: int, length: int, overlap: int, padded: int) -> None:
    assert padded_length(frames, length, overlap) == padded
    for window in Windows(length, overlap, schedule="published").at(0, padded):
        assert window == list(range(window[0], window[0] + len(window)))


def test_padding_is_for_published_windows_that_wrap() -> None:
    windows = Windows(8, 3, schedule="published", pad=True)
    assert [windows.padded(n) for n in (5, 8, 9, 13)] == [5, 8, 13, 13]
    assert Windows(8, 3, schedule="published").padded(9) == 9
    for wrong in ({"schedule": "shifted"}, {"schedule": "published", "closed_loop": True}, {"schedule": "published", "stride": 2}):
        with pytest.raises(ValueError, match="pad needs schedule 'published'"):
            Windows(8, 3, pad=True, **wrong)  # type: ignore[arg-type]
