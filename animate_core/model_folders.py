"""Where the host looks for model files, without the host: its models folder, and extra_model_paths.yaml beside it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .model_files import ModelFile

WEIGHTS = (".safetensors", ".sft", ".pth", ".pt", ".bin", ".ckpt")
EXTRA_PATHS = "extra_model_paths.yaml"
_ONNX_FOLDERS = ("detection", "dwpose", "onnx")  # where the pack's pose nodes look besides


class FolderError(ValueError):
    """A folder cannot be used. The message names it and says what would be right."""


@dataclass(frozen=True)
class HostFolders:
    """The folders of a ComfyUI.

    models: its models folder. extra: further folders by category, in the host's order; before: those that come before the host's own.
    """

    models: Path
    before: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    extra: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)

    def of(self, category: str) -> tuple[Path, ...]:
        """All folders of a category; new files go to the first."""
        return (*self.before.get(category, ()), self.models / category, *self.extra.get(category, ()))

    def target(self, file: ModelFile) -> Path:
        """Where a new file goes."""
        return self.of(file.category)[0] / file.choice

    def found(self, file: ModelFile) -> Path | None:
        """The file where it already is, also as another format of the same name (`.pth` converted to `.safetensors`)."""
        also = _ONNX_FOLDERS if file.name.endswith(".onnx") else ()
        for folder in (*self.of(file.category), *(folder for category in also for folder in self.of(category))):
            path = folder / file.choice
            for candidate in (path, *(path.with_suffix(suffix) for suffix in WEIGHTS if path.suffix in WEIGHTS)):
                if candidate.exists():
                    return candidate
        return None


def host_folders(models: Path | None = None, pack: Path | None = None) -> HostFolders:
    """The folders of the ComfyUI whose models folder is `models`, else of that in whose custom_nodes the pack is.

    Raises:
        FolderError: no models folder is there, or extra_model_paths.yaml cannot be read.
    """
    if models is None:
        models = _around(pack or Path(__file__).absolute().parents[1])
    if not models.is_dir():
        raise FolderError(f"{models} is no folder: give ComfyUI's models folder, --models .../ComfyUI/models")
    models = models.absolute()
    return HostFolders(models, *_extra_paths(models.parent / EXTRA_PATHS))


def _around(pack: Path) -> Path:
    # a pack that is linked into custom_nodes is seen there by the shell's name for the folder alone
    for place in (pack, Path(os.environ.get("PWD", ""))):
        if place.parent.name == "custom_nodes":
            return place.parent.parent / "models"
    raise FolderError(f"{pack} is not in a custom_nodes folder: say where ComfyUI's models folder is, --models .../ComfyUI/models")


def _extra_paths(config: Path) -> tuple[dict[str, tuple[Path, ...]], dict[str, tuple[Path, ...]]]:
    """The folders that the file adds, by category: `(before the host's own, after)`, as the host reads it."""
    before: dict[str, tuple[Path, ...]] = {}
    after: dict[str, tuple[Path, ...]] = {}
    if not config.is_file():
        return before, after
    try:
        import yaml
    except ImportError:
        raise FolderError(f"{config} needs the Python package pyyaml, which ComfyUI brings: use the Python that runs ComfyUI") from None
    try:
        read = yaml.safe_load(config.read_text(encoding="utf-8")) or {}
        for section in filter(None, read.values()):
            base = _absolute(os.path.expandvars(os.path.expanduser(section.get("base_path") or "")), config.parent)
            for category, lines in section.items():
                if category in ("base_path", "is_default"):
                    continue
                folders = tuple(_absolute(line, base) for line in lines.split("\n") if line)
                if section.get("is_default"):
                    # the host puts each at the front, so that the last comes first
                    before[category] = (*reversed(folders), *before.get(category, ()))
                else:
                    after[category] = (*after.get(category, ()), *folders)
    except (OSError, UnicodeError, AttributeError, yaml.YAMLError) as error:
        raise FolderError(f"{config} cannot be read as the host reads it: {error}") from error
    return before, after


def _absolute(path: Any, base: Path) -> Path:
    return Path(os.path.normpath(os.path.join(base, path)))
