"""Picture preparation; the reference implementation's own numbers are in tests/parity."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from animate_core.preprocess import clip_square, fit_image, pose_input, vae_input


def gradient(width: int, height: int) -> Image.Image:
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, np.full_like(x, 200)], axis=-1).astype(np.uint8))


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_every_fit_gives_the_size_and_agrees_on_equal_aspect(fit: str) -> None:
    assert fit_image(gradient(90, 40), 64, 96, fit).size == (64, 96)
    assert np.array_equal(fit_image(gradient(128, 192), 64, 96, fit), fit_image(gradient(128, 192), 64, 96, "stretch"))


def test_crop_fills_and_pad_shows_all() -> None:
    wide = gradient(200, 100)
    crop, pad = (np.asarray(fit_image(wide, 64, 64, fit)) for fit in ("crop", "pad"))
    assert crop[..., 2].min() > 190
    assert crop[:, 0, 0].mean() == pytest.approx(255 / 4, abs=4), "the left quarter is cut off"
    assert pad[0].max() == 0 and pad[-1].max() == 0
    assert pad[32, 0, 0] < 8 and pad[32, -1, 0] > 247


def test_ranges() -> None:
    assert vae_input(gradient(50, 70), 64, 96).shape == (1, 3, 96, 64)
    assert vae_input(gradient(50, 70), 64, 96).min() == -1
    assert pose_input(gradient(50, 70), 64, 96).min() == 0
    assert pose_input(gradient(50, 70).convert("L"), 64, 96).shape == (1, 3, 96, 64)


def test_clip_squash_keeps_the_borders_and_crop_does_not() -> None:
    wide = gradient(300, 100)
    squash, crop = (torch.from_numpy(np.array(clip_square(wide, 32, squash))) for squash in (True, False))
    assert squash[:, 0, 0].float().mean() < 8
    assert crop[:, 0, 0].float().mean() == pytest.approx(255 / 3, abs=6)
