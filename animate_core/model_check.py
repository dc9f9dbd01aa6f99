"""What the files in a user's folders are, by their tensors; which families are complete, and what the others lack."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from .checkpoint_files import CheckpointError, CheckpointInfo, Kind, identify, position_rows, read_state_dict
from .checkpoints import check_file
from .clip_vision import vision_weights
from .demo.model import DEMO_FOLDER
from .families import FAMILIES
from .guider_files import family_of_guiders, guider_part
from .model_download import sha256_of
from .model_files import (
    CLIP,
    DENOISER,
    FACE_MODEL,
    GUIDER,
    MOTION,
    OWN_FOLDER,
    REFERENCE_NET,
    VAE,
    FileSet,
    ModelFile,
    every_file,
    family_in,
    file_set,
    size_text,
    with_needs,
)
from .model_folders import WEIGHTS, HostFolders

_TOKEN_WIDTH = 768  # of the published families' image token
_LATENT_CHANNELS = 4
_PARTS = {Kind.DENOISER: DENOISER, Kind.MERGED: DENOISER, Kind.MOTION_MODULE: MOTION, Kind.MOTION_MODULE_DIFFUSERS: MOTION,
          Kind.REFERENCE_NET: REFERENCE_NET, Kind.POSE_GUIDER: GUIDER}


@dataclass(frozen=True)
class Checked:
    """One file that was looked at.

    Attributes:
        path: the file.
        description: what it is, in words; for a file that cannot be used, why.
        part: what it can serve as (a constant of `model_files`), empty for nothing here.
        usable: False for a damaged or incomplete file.
        info: what its tensors tell; None where none were read.
        rows: frames that a motion module knows, None where it does not say.
        published: the file of the table that it is, by its size (and checksum, where it was asked for).
    """

    path: Path
    description: str
    part: str = ""
    usable: bool = True
    info: CheckpointInfo | None = None
    rows: int | None = None
    published: ModelFile | None = None


def weight_files(folder: Path) -> Iterator[Path]:
    """Every file below a folder that may hold weights, sorted; hidden ones, such as downloads under way, left out."""
    for root, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.lower().endswith((*WEIGHTS, ".onnx")) and not name.startswith("."):
                yield Path(root, name)


def check(path: Path, *, checksum: bool = False) -> Checked:
    """What a file is. checksum: also compare with the published SHA-256, where its name and size are those of a published file."""
    if path.parent.resolve() == DEMO_FOLDER:
        return Checked(path, "a part of the built-in model, which Load Demo Model loads")
    size = path.stat().st_size
    published = next((file for _, file in every_file() if file.exact and (file.name, file.size) == (path.name, size)), None)
    if published is None and checksum:
        published = _by_checksum(path)
    elif published and published.sha256 and checksum and sha256_of(path) != published.sha256:
        return Checked(path, f"has the name and size of the published {published.part}, and another SHA-256: download it again",
                       usable=False)
    if path.suffix.lower() == ".onnx":
        if published is None:
            return Checked(path, "an ONNX model, not looked into (its size is not that of a published file)")
        return Checked(path, f"the {published.part} of DWPose, by name and size", published.part, published=published)
    if published and published.part == FACE_MODEL:
        return Checked(path, "ComfyUI's file of MediaPipe's face model, by name and size", published.part, published=published)
    try:
        state_dict = read_state_dict(path)
        return _by_tensors(path, state_dict, published)
    except CheckpointError as error:
        return Checked(path, str(error), usable=False)


def _by_checksum(path: Path) -> ModelFile | None:
    """The published file whose exact size is not known here, by name and checksum."""
    known = {file.sha256: file for _, file in every_file() if file.sha256 and not file.exact and file.name == path.name}
    return known.get(sha256_of(path)) if known else None


def _by_tensors(path: Path, state_dict: Mapping[str, Tensor], published: ModelFile | None) -> Checked:
    """Raises CheckpointError for an incomplete file of a kind that is used here."""
    info = identify(state_dict)
    if info.kind is Kind.CLIP_VISION:
        try:
            width = vision_weights(state_dict, path.name)["visual_projection.weight"].shape[0]
        except CheckpointError as error:
            return Checked(path, f"{info.description}, not used by Animate Anyone ({error})", info=info)
        fits = width == _TOKEN_WIDTH
        return Checked(path, info.description if fits else f"{info.description} with tokens of {width} numbers; {_TOKEN_WIDTH} are needed",
                       CLIP if fits else "", info=info, published=published)
    if info.kind is Kind.VAE:
        first = next((t for key, t in state_dict.items() if key.endswith("decoder.conv_in.weight")), None)
        fits = first is not None and first.ndim == 4 and first.shape[1] == _LATENT_CHANNELS
        return Checked(path, info.description if fits else f"{info.description} of another model", VAE if fits else "", info=info,
                       published=published)
    if not info.supported or info.kind not in _PARTS:
        return Checked(path, f"{info.description}, not used by Animate Anyone", info=info)
    return Checked(path, info.description, _PARTS[info.kind], info=check_file(state_dict, path.name), rows=position_rows(state_dict),
                   published=published)


@dataclass(frozen=True)
class Model:
    """The files of one folder that make up a model.

    Attributes:
        folder: where they are.
        family: whose they are: by guiders and position tables, else by the folder's name, else Moore.
        lacks: published files that are not there, with the set that each is of; ones from outside the folder (encoder, VAE) included.
        notes: what else keeps it from running.
    """

    folder: Path
    family: str
    lacks: tuple[tuple[FileSet, ModelFile], ...]
    notes: tuple[str, ...]


def models_of(checked: list[Checked], host: HostFolders | None = None) -> list[Model]:
    """The models that the usable files make up, one a folder. What families share may also lie in the host's folders."""
    folders: dict[Path, list[Checked]] = {}
    for file in checked:
        if file.usable and file.part in (DENOISER, MOTION, REFERENCE_NET, GUIDER):
            folders.setdefault(file.path.parent, []).append(file)
    everywhere = {file.part for file in checked if file.usable}
    everywhere |= {file.part for found, file in every_file() if found.name not in FAMILIES and host and host.found(file)}
    # a UNet or a motion module by itself may be Stable Diffusion's or AnimateDiff's
    return [_model(folder, files, everywhere) for folder, files in folders.items()
            if family_in(folder.name) or {file.part for file in files} not in ({DENOISER}, {MOTION})]


def _model(folder: Path, files: list[Checked], everywhere: set[str]) -> Model:
    guiders = [(guider_part(file.path.name, file.info), file.info) for file in files if file.part == GUIDER and file.info]
    family = family_of(folder, files, guiders)
    there = {file.part for file in files}
    if any(file.info and file.info.kind is Kind.MERGED for file in files):
        there.add(MOTION)
    notes = []
    by_part: dict[str, list[str]] = {}
    for file in files:
        by_part.setdefault(file.part, []).append(file.path.name)
    if FAMILIES[family].reference_head and len(by_part.get(DENOISER, [])) == 2:
        there.add(REFERENCE_NET)  # face reenactment's looks like a denoiser
        del by_part[DENOISER]
    if family in ("Champ", "Moore face"):
        by_part.pop(GUIDER, None)
    for part, names in by_part.items():
        if len(names) > 1:
            notes.append(f"several files can be the {part} ({', '.join(names)}): Load Animate Anyone needs one model a folder")
    parts = {part for part, _ in guiders}

    def lacking(found: FileSet, wanted: ModelFile) -> bool:
        if wanted.part == GUIDER:
            return Path(wanted.name).stem not in parts
        return wanted.part not in (there if found.name == family else everywhere)

    lacks = [(found, wanted) for found in with_needs(family) for wanted in found.files if lacking(found, wanted)]
    return Model(folder, family, tuple(lacks), tuple(notes))


def family_of(folder: Path, files: list[Checked], guiders: list[tuple[str, CheckpointInfo]]) -> str:
    """Whose weights a folder's are."""
    told = family_of_guiders([part for part, _ in guiders], [info for _, info in guiders]) if guiders else None
    if told:
        return told
    if any(info.family == "novita" for _, info in guiders):
        return "novita"
    if any(file.rows == FAMILIES["MusePose"].max_frames for file in files):
        return "MusePose"
    return family_in(folder.name) or "Moore"


def report(checked: list[Checked], host: HostFolders | None) -> list[str]:
    """Lines: each file, then each model. host: for where files belong, None where it is not known."""
    base = host.models if host else Path("models")
    lines = []
    for file in checked:
        size = size_text(file.path.stat().st_size)
        published = f"; the published {file.published.choice}" if file.published and file.info else ""
        lines += [str(file.path), f"    {'' if file.usable else 'UNUSABLE: '}{file.description} ({size}{published})"]
    for model in models_of(checked, host):
        own = file_set(model.family)
        lines += ["", f"{model.folder}: {model.family} (licence: {own.licence}), {'lacks:' if model.lacks else 'complete'}"]
        for found, wanted in model.lacks:
            lines.append(f"    {wanted.part}: {wanted.name} ({size_text(wanted.size)}), {wanted.url or found.elsewhere}")
            lines.append(f"        into {base / wanted.folder}")
        if host and not {model.folder, *model.folder.parents} & set(host.of(OWN_FOLDER)):
            lines.append(f"    ComfyUI does not look here: move these files to {host.target(own.files[0]).parent}, or name the folder in "
                         "extra_model_paths.yaml")
        lines += [f"    {note}" for note in model.notes]
    return lines
