"""The published checkpoint families, and the built-in model, with the settings that their weights were made for.

A family is chosen by name (or found by `animate_core.checkpoints` from the files), so that nobody types a beta.
Values: the families' own inference scripts and configuration files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

NUM_TRAIN_TIMESTEPS = 1000
BETA_START = 0.00085
BETA_END = 0.012


@dataclass(frozen=True)
class FamilyPreset:
    """Everything that differs between families beside the weights.

    Attributes:
        name: the family's name, as in `FAMILIES`.
        beta_schedule: "linear" or "scaled_linear" at inference; beta runs from 0.00085 to 0.012 over 1000 timesteps.
        prediction_type: what the denoiser predicts; diffusers' vocabulary.
        zero_snr: whether betas are rescaled so that the last timestep holds no signal.
        spacing: how inference timesteps are spread; diffusers' vocabulary.
        window_length: frames of one context window.
        window_overlap: frames that neighbouring windows share.
        closed_loop: whether the published windows wrap round from the last frame to the first.
        max_frames: rows of the position table that the motion module was trained with; no window may be longer.
        guidance: classifier-free guidance scale.
        steps: denoising steps.
        width: pixels.
        height: pixels.
        draw_face: whether the skeleton pictures of the training data show the face's points.
        colour_order: channel order of the skeleton's colours, as the pose guider expects them.
        draw_side: pixels of the short side of the pictures on which the training data's skeletons were drawn, before they were resized.
            0: twice that of the picture asked for, with sticks of 1/64 of it.
        clip_fit: how the reference picture comes to CLIP's 224x224: "squash" ignores the aspect, "crop" takes the centre.
        pose_channels: channel widths of the pose guider; empty where the file alone tells.
        licence: what is known about the licence of the published weights.
        guiders: what the family's guiders are called, in the order of their features' sum.
        guider_class: "pose" Moore's convolutions, "guidance" Champ's encoders, "multi-scale" AniPortrait's.
        picture_range: values that black and full white have at the guider's input.
        picture_resample: how pictures are resized for the guider; Pillow's names.
        content: what the guider's pictures show.
        guided_by_window: whether features depend on the other frames of their window.
        unconditional_reference: whether the unconditional half of the guidance reads a reference too, that of a zero latent and token.
        reference_head: whether the ReferenceNet's file has an output head.
        latent_rgb: for previews, red, green and blue in -1..1 of each latent channel, then their bias; empty: Stable Diffusion 1.5's.
    """

    name: str
    beta_schedule: Literal["linear", "scaled_linear"]
    prediction_type: Literal["v_prediction", "epsilon"]
    zero_snr: bool
    spacing: Literal["trailing", "leading", "linspace"]
    window_length: int
    window_overlap: int
    closed_loop: bool
    max_frames: int
    guidance: float
    steps: int
    width: int
    height: int
    draw_face: bool
    colour_order: Literal["RGB", "BGR"]
    draw_side: int
    clip_fit: Literal["squash", "crop"]
    pose_channels: tuple[int, ...]
    licence: str
    guiders: tuple[str, ...] = ("pose_guider",)
    guider_class: Literal["pose", "guidance", "multi-scale"] = "pose"
    picture_range: tuple[float, float] = (0.0, 1.0)
    picture_resample: Literal["LANCZOS", "BICUBIC", "BILINEAR"] = "LANCZOS"
    content: Literal["skeleton", "guidance", "face mesh", "face points"] = "skeleton"
    guided_by_window: bool = False
    unconditional_reference: bool = False
    reference_head: bool = False
    latent_rgb: tuple[tuple[float, float, float], ...] = ()


_MOORE = FamilyPreset(
    name="Moore",
    beta_schedule="linear",
    prediction_type="v_prediction",
    zero_snr=True,
    spacing="trailing",
    window_length=24,
    window_overlap=4,
    closed_loop=True,
    max_frames=32,
    guidance=3.5,
    steps=30,
    width=512,
    height=784,
    draw_face=True,
    colour_order="RGB",
    draw_side=512,
    clip_fit="squash",
    pose_channels=(16, 32, 96, 256),
    licence="Apache-2.0",
)

_MUSEPOSE = FamilyPreset(
    name="MusePose",
    beta_schedule="scaled_linear",
    prediction_type="v_prediction",
    zero_snr=True,
    spacing="trailing",
    window_length=48,
    window_overlap=4,
    closed_loop=False,
    max_frames=128,
    guidance=3.5,
    steps=20,
    width=768,
    height=768,
    draw_face=False,
    colour_order="BGR",
    draw_side=1024,
    clip_fit="squash",
    pose_channels=(16, 32, 96, 256),
    licence="non-commercial research only, by the project's README",
)

_NOVITA = FamilyPreset(
    name="novita",
    beta_schedule="linear",
    prediction_type="v_prediction",
    zero_snr=True,
    spacing="trailing",
    window_length=24,
    window_overlap=4,
    closed_loop=True,
    max_frames=32,
    guidance=3.5,
    steps=30,
    width=512,
    height=784,
    draw_face=True,
    colour_order="RGB",
    draw_side=512,
    clip_fit="squash",
    pose_channels=(16, 32, 64, 128),
    licence="Apache-2.0",
)

_CHAMP = replace(
    _MOORE,
    name="Champ",
    steps=20,
    width=512,
    height=512,
    guiders=tuple(f"guidance_encoder_{kind}" for kind in ("depth", "normal", "semantic_map", "dwpose")),
    guider_class="guidance",
    picture_resample="BICUBIC",
    content="guidance",
)

_ANIPORTRAIT = replace(
    _MOORE,
    name="AniPortrait",
    window_length=16,
    steps=25,
    width=512,
    height=512,
    colour_order="BGR",
    pose_channels=(),
    guider_class="multi-scale",
    # 2 u - 1 of 8-bit values u, as the published scripts run; trained with -1 to 1
    picture_range=(-1.0, 509.0),
    picture_resample="BILINEAR",
    content="face mesh",
    guided_by_window=True,
)

_MOORE_FACE = replace(
    _MOORE,
    name="Moore face",
    steps=20,
    width=512,
    height=512,
    guiders=("pose_guider1", "pose_guider2"),
    content="face points",
    licence="not stated",
    unconditional_reference=True,
    reference_head=True,
)

_DEMO = FamilyPreset(
    name="Demo",
    beta_schedule="scaled_linear",
    prediction_type="v_prediction",
    zero_snr=True,
    spacing="trailing",
    window_length=16,
    window_overlap=4,
    closed_loop=True,
    max_frames=32,
    guidance=1.0,
    steps=2,
    width=192,
    height=288,
    draw_face=False,
    colour_order="RGB",
    draw_side=0,
    clip_fit="squash",
    pose_channels=(),
    licence="Apache-2.0",
    # least squares over 80 pictures and their latents, `training.autoencoder.preview_colours`
    latent_rgb=((0.1575, -0.159, -0.1199), (0.358, -0.0237, 0.2212), (-0.18, -0.416, -0.134),
                (-0.1377, -0.0591, 0.2544), (-0.1182, -0.0495, -0.1222)),
)

# to choose from; the built-in model has heads and norm groups of its own, and so its own loader
_PUBLISHED = (_MOORE, _MUSEPOSE, _NOVITA, _CHAMP, _ANIPORTRAIT, _MOORE_FACE)
FAMILY_NAMES: tuple[str, ...] = tuple(preset.name for preset in _PUBLISHED)
FAMILIES: Mapping[str, FamilyPreset] = MappingProxyType({preset.name: preset for preset in (*_PUBLISHED, _DEMO)})


def family_preset(name: str) -> FamilyPreset:
    """The preset called `name`.

    Raises:
        ValueError: unknown name; the message lists the known ones.
    """
    try:
        return FAMILIES[name]
    except KeyError:
        raise ValueError(f"family: {name!r} is unknown; choose from: {', '.join(FAMILY_NAMES)}") from None


def scheduler_config(preset: FamilyPreset) -> dict[str, Any]:
    """Keyword arguments that every one of diffusers' schedulers used here takes; a new dict at each call."""
    return {
        "num_train_timesteps": NUM_TRAIN_TIMESTEPS,
        "beta_start": BETA_START,
        "beta_end": BETA_END,
        "beta_schedule": preset.beta_schedule,
        "prediction_type": preset.prediction_type,
        "rescale_betas_zero_snr": preset.zero_snr,
        "timestep_spacing": preset.spacing,
    }


def ddim_config(preset: FamilyPreset) -> dict[str, Any]:
    """Keyword arguments for diffusers' `DDIMScheduler`, as the families' scripts build it."""
    return {**scheduler_config(preset), "clip_sample": False, "steps_offset": 1, "set_alpha_to_one": True}
