"""AniPortrait's and Champ's guiders beside their golden numbers (tests/parity): what their errors say, and what they do not depend on."""

from __future__ import annotations

import pytest
import torch

from animate_core.guiders import GuidanceEncoder, MultiScaleGuider, sum_of_features

SMALL = {"channels": (3, 8, 8, 8, 8, 16, 16, 32), "outputs": (32, 32, 64, 64, 64), "inner": 32}


@pytest.fixture(scope="module")
def guider() -> MultiScaleGuider:
    torch.manual_seed(0)
    return MultiScaleGuider(**SMALL).eval()  # type: ignore[arg-type]


@torch.inference_mode()
def test_a_feature_depends_on_the_whole_window_unless_statistics_are_stored(guider: MultiScaleGuider) -> None:
    images = torch.rand(4, 3, 64, 96)
    for stored in (False, True):
        alone, whole = guider(images[:2], stored_statistics=stored), guider(images, stored_statistics=stored)
        assert [tuple(f.shape[-2:]) for f in whole] == [(8, 12), (4, 6), (2, 3), (1, 2), (1, 2)]
        assert all(torch.allclose(a, w[:2], atol=1e-4) for a, w in zip(alone, whole, strict=True)) is stored


@torch.inference_mode()
def test_a_picture_without_statistics_is_refused(guider: MultiScaleGuider) -> None:
    with pytest.raises(ValueError, match="a single image of 64x64 pixels is too small for batch statistics"):
        guider(torch.rand(1, 3, 64, 64))
    assert len(guider(torch.rand(2, 3, 64, 64))) == len(guider(torch.rand(1, 3, 64, 64), stored_statistics=True)) == 5


@torch.inference_mode()
def test_champs_frames_do_not_see_each_other_even_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    encoder, images = GuidanceEncoder((8, 16, 24, 32), 32).eval(), torch.rand(5, 3, 64, 48)
    whole = encoder(images)
    assert torch.allclose(whole, torch.cat([encoder(frame) for frame in images.split(1)]), atol=1e-5)
    monkeypatch.setattr("animate_core.blocks.CPU_PART_BYTES", 1 << 14)
    assert torch.allclose(encoder(images), whole, atol=1e-5)


def test_weighted_sum() -> None:
    a, b = torch.full((1, 2), 3.0), torch.full((1, 2), 5.0)
    assert sum_of_features({"a": a, "b": b}).tolist() == [[8.0, 8.0]]
    assert sum_of_features({"a": a, "b": b}, {"b": 0.5}).tolist() == [[5.5, 5.5]]
    assert a.tolist() == [[3.0, 3.0]]
    with pytest.raises(ValueError, match="no features"):
        sum_of_features({})
