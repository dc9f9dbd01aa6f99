"""The model that the pack ships does what it is for. (The full measurement is `python -m training evaluate`: models/demo/README.md.)"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import CLIPVisionModelWithProjection

from animate_core.clip_vision import read_clip_vision
from animate_core.demo.clip import HEIGHT, WIDTH
from animate_core.demo.model import DEMO_FOLDER, NORM_NUM_GROUPS, NUM_HEADS, demo_files
from animate_core.families import FAMILIES
from training.config import read_config
from training.evaluate import Model, evaluate, load_model
from training.figures import HALO, colour_error, edges, flicker, halo, psnr, ssim
from training.loop import TrainingError
from training.report import BEGIN, END, markdown, targets, update_readme
from training.worlds import HOME

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(DEMO_FOLDER, NUM_HEADS, NORM_NUM_GROUPS)


@pytest.fixture(scope="module")
def figures(model: Model) -> dict[str, dict[str, float]]:
    preset = FAMILIES["Demo"]
    return evaluate(model, HOME, 6, 8, WIDTH, HEIGHT, steps=preset.steps, guidance=preset.guidance)[0]


def test_better_than_the_reference_shown_still(figures: dict[str, dict[str, float]], measured: Callable[[str], None]) -> None:
    told = ", ".join(f"{way} {v['psnr']:.1f} dB, flicker {v['flicker']:.4f}" for way, v in figures.items())
    measured(f"built-in model, 6 characters, 8 frames: {told}")
    assert figures["ours"]["psnr"] > figures["still"]["psnr"] + 2
    assert figures["ours"]["ssim"] > figures["still"]["ssim"]
    assert figures["ours"]["colour"] < 0.065


def test_every_part_does_its_work(figures: dict[str, dict[str, float]]) -> None:
    assert figures["ours"]["psnr"] > figures["wrong reference"]["psnr"] + 3
    assert figures["ours"]["psnr"] > figures["wrong poses"]["psnr"] + 2
    assert figures["ours"]["flicker"] < 0.85 * figures["no motion modules"]["flicker"]
    assert figures["vae"]["psnr"] > 27


def test_away_from_home_the_poses_are_followed(model: Model, measured: Callable[[str], None]) -> None:
    preset = FAMILIES["Demo"]
    away, _ = evaluate(model, "polygons", 3, 4, WIDTH, HEIGHT, steps=preset.steps, guidance=preset.guidance, ablations=False)
    measured("built-in model on polygons, 3 figures, 4 frames: " + ", ".join(f"{way} {v['psnr']:.1f} dB" for way, v in away.items()))
    assert away["ours"]["psnr"] > away["still"]["psnr"] + 1
    assert away["ours"]["edges"] > away["still"]["edges"]


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


def test_edges_are_where_the_truth_has_them() -> None:
    truth = torch.zeros(2, 3, 32, 40)
    truth[:, :, 8:24, 10:30] = 1
    assert edges(truth, truth) == pytest.approx(1, abs=1e-5)
    assert edges(0.5 - 0.4 * truth, truth) == pytest.approx(1, abs=1e-5), "neither contrast nor level counts"
    assert edges(truth.roll(8, -1), truth) < 0.6
    assert edges(torch.nn.functional.avg_pool2d(truth, 5, 1, 2), truth) < 0.95, "a soft edge is no sharp one"
    assert edges(torch.full_like(truth, 0.5), truth) == pytest.approx(0, abs=1e-5)
    mixed = torch.cat([truth[:1], torch.full_like(truth[:1], 0.5)])
    assert edges(mixed, truth) == pytest.approx(0.5, abs=1e-5), "mean over frames"


def test_halo_is_the_error_just_outside() -> None:
    truth, mask = torch.full((1, 3, 64, 64), 0.5), torch.zeros(1, 64, 64)
    mask[:, 24:40, 24:40] = 1
    mask[:, 40] = 0.1  # hardly hides anything, but belongs to the character
    off = truth + mask.unsqueeze(1)
    assert halo(off, truth, mask) == pytest.approx(0, abs=1e-6), "the inside does not count"
    far = truth.clone()
    far[:, :, :24 - HALO] += 0.5
    assert halo(far, truth, mask) == pytest.approx(0, abs=1e-6), "nor does what is far off"
    assert halo(truth + 0.03, truth, mask) == pytest.approx(0.03, abs=1e-6)


def report(figures: dict[str, dict[str, float]]) -> dict[str, object]:
    worlds = {name: {"figures": figures, "targets": targets(name, figures)} for name in (HOME, "polygons")}
    return {"settings": {"characters": 6, "frames": 8, "width": 64, "height": 96, "steps": 4, "guidance": 1.0}, "worlds": worlds}


def test_aims_are_judged_by_world() -> None:
    vae = {"psnr": 32.0, "ssim": 0.95, "edges": 0.9, "halo": 0.008, "flicker": 0.01, "colour": 0.03}
    ours = {**vae, "psnr": 29.0, "edges": 0.8, "flicker": 0.0125}
    figures = {"ours": ours, "still": {**vae, "psnr": 20.5, "ssim": 0.8, "flicker": 0.02}, "vae": vae}
    judged = {world: {t["name"]: t["reached"] for t in targets(world, figures)} for world in (HOME, "strokes")}
    assert not judged[HOME].pop("PSNR above the reference shown still, dB") and not judged[HOME].pop("PSNR below the autoencoder's, dB")
    assert all(judged[HOME].values()) and all(judged["strokes"].values()) and len(judged["strokes"]) == 9
    worse = copy.deepcopy(figures)
    worse["ours"].update(edges=0.79, halo=0.011, flicker=0.0126)
    assert [t["name"] for t in targets("strokes", worse) if not t["reached"]] == ["edges", "halo", "flicker, of the autoencoder's"]
    assert [t["name"] for t in targets(HOME, {"vae": vae, "still": vae})] == ["autoencoder's PSNR, dB", "autoencoder's edges"]
    ways = {**figures, **dict.fromkeys(("wrong reference", "wrong poses", "no motion modules"), ours)}
    assert [t["reached"] for t in targets(HOME, ways)][-3:] == [False] * 3


def test_tables_in_the_readme_are_written_from_the_report(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="README.md: is not there"):
        update_readme(tmp_path)
    figures = {way: {"psnr": 20 + i, "ssim": 0.9, "edges": 0.8, "halo": 0.01, "flicker": 0.01, "colour": 0.05}
               for i, way in enumerate(("ours", "still", "vae"))}
    (tmp_path / "evaluation.json").write_text(json.dumps(report(figures)))
    readme = tmp_path / "README.md"
    readme.write_text("words")
    with pytest.raises(TrainingError, match="has no place for the tables"):
        update_readme(tmp_path)
    readme.write_text(f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n")
    for _ in range(2):
        update_readme(tmp_path)
        text = readme.read_text()
        assert text.startswith("before\n\n") and text.endswith("\n\nafter\n") and "old" not in text
        assert text.count("| the model | 20.00 | 0.900 | 0.800 | 0.0100 | 0.0100 | 0.0500 |") == 2
        assert "6 characters of each world, 8 frames of 64x96 pixels each, 4 steps, guidance 1." in text
        assert "| PSNR below the autoencoder's, dB | 2.000 (<= 2.5: yes) | 2.000 (<= 3.5: yes) |" in text
        assert "| autoencoder's PSNR, dB | 22.000 (>= 32: **no**) | 22.000 (>= 30: **no**) |" in text


def test_the_shipped_tables_are_those_of_the_shipped_report() -> None:
    text = (DEMO_FOLDER / "README.md").read_text(encoding="utf-8")
    made = markdown(json.loads((DEMO_FOLDER / "evaluation.json").read_text(encoding="utf-8")))
    assert f"{BEGIN}\n\n{made}\n\n{END}" in text, "run python -m training report"
