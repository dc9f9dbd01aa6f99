"""Settings of a training, from a TOML file: every key is known, typed and checked before anything long begins."""

from __future__ import annotations

import dataclasses
import re
import sys
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from animate_core.demo.clip import HEIGHT, WIDTH

from .demo_data import PART
from .loop import TrainingError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")


@dataclass(frozen=True)
class Networks:
    """Where the networks come from: published files (paths), or nothing, with the widths given here.

    denoiser, reference, guider: files to start from. motion: motion modules beside a denoiser that has none.
    widths, guider_widths, token, heads, groups: shape of networks made from nothing (heads and groups also of files that were).
    vae: a file in TAESD's shape, or a diffusers AutoencoderKL folder. clip: a Hugging Face image encoder, file or folder.
    """

    denoiser: str = ""
    motion: str = ""
    reference: str = ""
    guider: str = ""
    widths: tuple[int, ...] = ()
    guider_widths: tuple[int, ...] = (16, 32, 96, 256)
    token: int = 768
    heads: int = 8
    groups: int = 32
    vae: str = ""
    clip: str = ""


@dataclass(frozen=True)
class Data:
    """kind "demo": procedural characters (counts of characters for stage 1 and 2). "videos": the folder or JSON list `source`.

    width, height: of videos. sizes: of procedural characters, "192x288"; a size named twice gets twice the share. clip_sizes: those of
    stage 2, if they differ.
    unreadable: whether a bad file stops the run or is left out with a warning.
    """

    kind: Literal["demo", "videos"] = "videos"
    source: str = ""
    unreadable: Literal["refuse", "skip"] = "refuse"
    width: int = 512
    height: int = 768
    sizes: tuple[str, ...] = (f"{WIDTH}x{HEIGHT}",)
    clip_sizes: tuple[str, ...] = ()
    stride: int = 4
    reference_margin: int = 30
    workers: int = 2
    pose_characters: int = 3000
    pose_frames: int = 4
    clip_characters: int = 400
    clip_frames: int = 20

    def demo_sizes(self, stage: int) -> dict[tuple[int, int], int]:
        """Width and height -> how often it is named. Raises TrainingError."""
        out: dict[tuple[int, int], int] = {}
        key = "clip_sizes" if stage == 2 and self.clip_sizes else "sizes"
        for text in getattr(self, key):
            match = re.fullmatch(r"(\d+)x(\d+)", text)
            size = (int(match[1]), int(match[2])) if match else (0, 0)
            if size[0] % 8 or size[1] % 8 or min(size) < 64:
                raise TrainingError(f"data.{key}: {text!r}; must be like 192x288, both multiples of 8 from 64 up")
            out[size] = out.get(size, 0) + 1
        return out


@dataclass(frozen=True)
class Stage:
    """clips, frames: clips of a batch and frames of a clip; in stage 1 pictures that share a reference (1 in the published recipe).

    unconditional: share of batches without token and reference. late: see `Noising`. average: decay of the averaged weights.
    temporal: weight of the error's change from frame to frame in stage 2, against flicker (the published objective has none).
    precision: "no" is float32. accumulate: batches of one optimiser step.
    """

    steps: int = 30_000
    clips: int = 4
    frames: int = 1
    lr: float = 1e-5
    optimizer: Literal["adamw", "adamw8bit", "muon"] = "adamw"
    warmup: int = 1
    decay: float = 0.0
    weight_decay: float = 1e-2
    average: float = 0.999
    unconditional: float = 0.1
    late: float = 0.25
    noise_offset: float = 0.05
    temporal: float = 0.0
    precision: Literal["no", "bf16", "fp16"] = "bf16"
    checkpointing: bool = False
    accumulate: int = 1
    crop_scale: tuple[float, ...] = (0.9, 1.0)
    crop_ratio: tuple[float, ...] = (0.9, 1.0)
    save_every: float = 300
    sample_every: float = 1200
    seed: int = 12580


@dataclass(frozen=True)
class Config:
    networks: Networks = field(default_factory=Networks)
    data: Data = field(default_factory=Data)
    stage1: Stage = field(default_factory=Stage)
    stage2: Stage = field(default_factory=lambda: Stage(steps=10_000, clips=1, frames=24, checkpointing=True, crop_scale=(1.0, 1.0),
                                                        crop_ratio=(1.0, 1.0)))

    def stage(self, number: int) -> Stage:
        return self.stage1 if number == 1 else self.stage2


def fill(default: T, values: dict[str, Any], where: str) -> T:
    """The dataclass with the values put in. Raises TrainingError for an unknown key or a value of another type."""
    hints = typing.get_type_hints(type(default))
    changes: dict[str, Any] = {}
    for key, value in values.items():
        if key not in hints:
            raise TrainingError(f"{where}{key} is unknown; choose from: {', '.join(hints)}")
        if dataclasses.is_dataclass(hints[key]):
            if not isinstance(value, dict):
                raise TrainingError(f"{where}{key} must be a table [{key}]")
            changes[key] = fill(getattr(default, key), value, f"{where}{key}.")
            continue
        changes[key] = fitting(value, hints[key], f"{where}{key}")
    return dataclasses.replace(default, **changes)  # type: ignore[type-var]


def fitting(value: Any, hint: Any, name: str) -> Any:
    origin, choices = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value not in choices:
            raise TrainingError(f"{name}: {value!r} is unknown; choose from: {', '.join(map(repr, choices))}")
        return value
    if origin is tuple:
        if not isinstance(value, list) or not value:
            raise TrainingError(f"{name} must be a list of numbers; got {value!r}")
        return tuple(fitting(v, choices[0], name) for v in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, hint) or isinstance(value, bool) != (hint is bool):
        kind = hint.__name__ if not isinstance(hint, types.UnionType) else str(hint)
        raise TrainingError(f"{name} must be of type {kind}; got {value!r}")
    return value


def check(config: Config) -> Config:
    """Raises TrainingError for values that cannot work together."""
    data = config.data
    if data.width % 8 or data.height % 8 or min(data.width, data.height) < 64:
        raise TrainingError(f"data.width and data.height must be multiples of 8, at least 64; got {data.width}x{data.height}")
    if data.kind == "videos" and not data.source:
        raise TrainingError("data.source is missing: set a folder of videos with pose videos beside them, or a JSON list")
    if data.kind == "videos" and not (config.networks.vae and config.networks.clip):
        raise TrainingError("networks.vae and networks.clip are missing: set the autoencoder and the image encoder to train with")
    if not config.networks.widths and not (config.networks.denoiser and config.networks.reference):
        raise TrainingError("networks: set files (denoiser, reference, guider), or widths to train from scratch")
    for number in (1, 2):
        data.demo_sizes(number)
        stage = config.stage(number)
        for key in ("steps", "clips", "frames", "accumulate"):
            if getattr(stage, key) < 1:
                raise TrainingError(f"stage{number}.{key} must be at least 1; got {getattr(stage, key)}")
        for key in ("unconditional", "late", "decay"):
            if not 0 <= getattr(stage, key) <= 1:
                raise TrainingError(f"stage{number}.{key} must be between 0 and 1; got {getattr(stage, key)}")
        for key in ("crop_scale", "crop_ratio"):
            if len(getattr(stage, key)) != 2:
                raise TrainingError(f"stage{number}.{key} must be two numbers, the minimum and the maximum")
    if data.kind == "demo" and (config.stage1.frames > data.pose_frames or config.stage2.frames > data.clip_frames):
        raise TrainingError("data: pose_frames and clip_frames must be at least the frames of stage 1 and of stage 2")
    if data.kind == "demo" and (data.pose_characters % PART or data.clip_characters % PART):
        raise TrainingError(f"data.pose_characters and data.clip_characters must be multiples of {PART}")
    return config


def read_config(path: Path) -> Config:
    """The settings of a TOML file. Raises TrainingError, naming the file and what is wrong."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingError(f"{path} cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainingError(f"{path} is not a TOML file ({error})") from error
    try:
        return check(fill(Config(), values, ""))
    except TrainingError as error:
        raise TrainingError(f"{path}: {error}") from error
