"""The model that the pack ships does what it is for. (The full measurement is `python -m training evaluate`: models/demo/README.md.)"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import CLIPVisionModelWithProjection

from animate_core.clip_vision import read_clip_vision
from animate_core.demo.model import DEMO_FOLDER, NORM_NUM_GROUPS, NUM_HEADS, demo_files
from animate_core.families import FAMILIES
from training.config import read_config
from training.evaluate import evaluate, load_model
from training.figures import colour_error, flicker, psnr, ssim

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def figures() -> dict[str, dict[str, float]]:
    model = load_model(DEMO_FOLDER, NUM_HEADS, NORM_NUM_GROUPS)
    preset = FAMILIES["Demo"]
    return evaluate(model, 6, 8, steps=preset.steps, guidance=preset.guidance)[0]


def test_better_than_the_reference_shown_still(figures: dict[str, dict[str, float]], measured: Callable[[str], None]) -> None:
    told = ", ".join(f"{way} {v['psnr']:.1f} dB, flicker {v['flicker']:.4f}" for way, v in figures.items())
    measured(f"built-in model, 6 characters, 8 frames: {told}")
    assert figures["ours"]["psnr"] > figures["still"]["psnr"] + 2
    assert figures["ours"]["ssim"] > figures["still"]["ssim"]
    assert figures["ours"]["colour"] < 0.06


def test_every_part_does_its_work(figures: dict[str, dict[str, float]]) -> None:
    assert figures["ours"]["psnr"] > figures["wrong reference"]["psnr"] + 3
    assert figures["ours"]["psnr"] > figures["wrong poses"]["psnr"] + 2
    assert figures["ours"]["flicker"] < 0.85 * figures["no motion modules"]["flicker"]
    assert figures["vae"]["psnr"] > 27


def test_settings_that_no_shape_tells_are_those_of_training() -> None:
    networks = read_config(ROOT / "training" / "demo.toml").networks
    assert (networks.heads, networks.groups) == (NUM_HEADS, NORM_NUM_GROUPS)


def test_transformers_loads_the_image_encoder(tmp_path: Path) -> None:
    config, weights = read_clip_vision(demo_files().clip_vision)
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "clip_vision_model"}))
    (tmp_path / "model.safetensors").write_bytes(demo_files().clip_vision.read_bytes())
    model, info = CLIPVisionModelWithProjection.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert model.config.projection_dim == weights["visual_projection.weight"].shape[0]


def test_figures_are_what_their_names_say() -> None:
    truth = torch.rand(4, 3, 32, 24, generator=torch.Generator().manual_seed(0))
    assert psnr(truth + 0.1, truth) == pytest.approx(20.0, abs=1e-3)
    assert psnr(torch.cat([truth[:2] + 0.1, truth[2:] + 0.01]), truth) == pytest.approx(30.0, abs=1e-3)
    assert ssim(truth, truth) == pytest.approx(1.0, abs=1e-5) and ssim(truth.roll(7, -1), truth) < 0.5
    assert flicker(truth + 0.2, truth) == pytest.approx(0, abs=1e-6), "a constant error does not flicker"
    shaken = truth.clone()
    shaken[1::2] += 0.3
    assert flicker(shaken, truth) == pytest.approx(0.3, abs=1e-5)
    mask = torch.zeros(4, 32, 24)
    mask[:, :10] = 1
    off = truth.clone()
    off[:, :, :10] += 0.05
    off[:, :, 10:] += 0.5
    assert colour_error(off, truth, mask) == pytest.approx(0.05, abs=1e-5)
