"""Family presets, against the published constants and the tables they lead to in diffusers' own scheduler."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import pytest

from animate_core import families
from animate_core.demo import clip


def test_names() -> None:
    assert families.FAMILY_NAMES == ("Moore", "MusePose", "novita", "Champ", "AniPortrait", "Moore face")
    assert [families.family_preset(name).name for name in families.FAMILY_NAMES] == list(families.FAMILY_NAMES)


def test_presets_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        families.FAMILIES["Moore"] = families.FAMILIES["MusePose"]  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        families.FAMILIES["Moore"].steps = 1  # type: ignore[misc]
    families.scheduler_config(families.FAMILIES["Moore"])["beta_start"] = 1.0
    assert families.scheduler_config(families.FAMILIES["Moore"])["beta_start"] == 0.00085


@pytest.mark.parametrize("name", ["auto", "moore", "EchoMimic", ""])
def test_unknown_family(name: str) -> None:
    with pytest.raises(ValueError, match=r"is unknown; choose from: Moore, MusePose, novita"):
        families.family_preset(name)


@pytest.mark.parametrize(("name", "expected"), [
    ("Moore", {"window_length": 24, "window_overlap": 4, "closed_loop": True, "max_frames": 32, "guidance": 3.5, "steps": 30, "width": 512,
               "height": 784, "draw_face": True, "colour_order": "RGB", "clip_fit": "squash", "pose_channels": (16, 32, 96, 256)}),
    ("MusePose", {"window_length": 48, "window_overlap": 4, "closed_loop": False, "max_frames": 128, "guidance": 3.5, "steps": 20,
                  "width": 768, "height": 768, "draw_face": False, "colour_order": "BGR", "clip_fit": "squash",
                  "pose_channels": (16, 32, 96, 256)}),
    ("novita", {"window_length": 24, "window_overlap": 4, "closed_loop": True, "max_frames": 32, "guidance": 3.5, "colour_order": "RGB",
                "pose_channels": (16, 32, 64, 128)}),
    ("Champ", {"beta_schedule": "linear", "window_length": 24, "window_overlap": 4, "closed_loop": True, "steps": 20, "width": 512,
               "height": 512, "picture_range": (0, 1), "picture_resample": "BICUBIC", "unconditional_reference": False,
               "guiders": ("guidance_encoder_depth", "guidance_encoder_normal", "guidance_encoder_semantic_map",
                           "guidance_encoder_dwpose")}),
    ("AniPortrait", {"beta_schedule": "linear", "window_length": 16, "window_overlap": 4, "closed_loop": True, "steps": 25, "width": 512,
                     "height": 512, "picture_range": (-1, 509), "colour_order": "BGR", "guided_by_window": True, "max_frames": 32}),
    ("Moore face", {"beta_schedule": "linear", "window_length": 24, "window_overlap": 4, "closed_loop": True, "steps": 20, "width": 512,
                    "height": 512, "guiders": ("pose_guider1", "pose_guider2"), "unconditional_reference": True}),
])
def test_published_settings(name: str, expected: dict[str, Any]) -> None:
    preset = families.family_preset(name)
    assert {key: getattr(preset, key) for key in expected} == expected


def test_the_built_in_model_has_a_preset_of_its_own() -> None:
    """Not among those to choose from in the loaders for published files, which know neither its heads nor its norm groups."""
    preset = families.family_preset("Demo")
    assert "Demo" not in families.FAMILY_NAMES and set(families.FAMILIES) == {*families.FAMILY_NAMES, "Demo"}
    # what it was trained with, and drawn at
    assert (preset.prediction_type, preset.zero_snr, preset.beta_schedule) == ("v_prediction", True, "scaled_linear")
    assert (preset.width, preset.height, preset.draw_face, preset.colour_order) == (clip.WIDTH, clip.HEIGHT, False, "RGB")
    assert preset.window_length <= preset.max_frames


def test_musepose_licence_is_told() -> None:
    assert "non-commercial" in families.FAMILIES["MusePose"].licence


# abar after zero-SNR rescaling at t = 0, 1, 249, 499, 749, 998, 999, computed once from the published formula in float32
ALPHAS = {
    "linear": (0.99914998, 0.99825388, 0.55570304, 0.14252943, 0.013368186, 6.2773644e-08, 0.0),
    "scaled_linear": (0.99914998, 0.9982335, 0.65418869, 0.242359, 0.033171456, 1.9679629e-07, 0.0),
}


@pytest.mark.parametrize(("name", "schedule"), [
    ("Moore", "linear"), ("novita", "linear"), ("Champ", "linear"), ("AniPortrait", "linear"),
    ("MusePose", "scaled_linear"), ("Demo", "scaled_linear")])
def test_ddim_alphas_and_timesteps(name: str, schedule: str) -> None:
    schedulers = pytest.importorskip("diffusers.schedulers")
    scheduler = schedulers.DDIMScheduler(**families.ddim_config(families.family_preset(name)))
    alphas = [float(scheduler.alphas_cumprod[t]) for t in (0, 1, 249, 499, 749, 998, 999)]
    assert alphas == pytest.approx(ALPHAS[schedule], rel=1e-3, abs=1e-7)
    assert float(scheduler.final_alpha_cumprod) == 1.0
    assert scheduler.config.prediction_type == "v_prediction"
    assert not scheduler.config.clip_sample
    scheduler.set_timesteps(30)
    assert scheduler.timesteps.tolist() == [
        999, 966, 932, 899, 866, 832, 799, 766, 732, 699, 666, 632, 599, 566, 532,
        499, 466, 432, 399, 366, 332, 299, 266, 232, 199, 166, 132, 99, 66, 32]


@pytest.mark.parametrize("scheduler", [
    "DDIMScheduler", "DPMSolverMultistepScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler",
    "UniPCMultistepScheduler", "LCMScheduler"])
def test_every_scheduler_takes_the_common_settings(scheduler: str) -> None:
    schedulers = pytest.importorskip("diffusers.schedulers")
    common = families.scheduler_config(families.FAMILIES["Moore"])
    assert set(common) <= set(inspect.signature(getattr(schedulers, scheduler)).parameters)
