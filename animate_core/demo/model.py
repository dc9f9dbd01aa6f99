"""The built-in model's files in `models/demo/`, and what their tensors' shapes cannot tell."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from ..checkpoints import CheckpointError

DEMO_FOLDER = Path(__file__).resolve().parents[2] / "models" / "demo"
DEMO_FAMILY = "Demo"  # its preset in `families.FAMILIES`
NUM_HEADS = 2
NORM_NUM_GROUPS = 8  # with 32 a group would be two or three channels, whose common level, the colours, the norm takes away


@dataclass(frozen=True)
class DemoFiles:
    """denoising_unet holds the motion modules too; vae has TAESD's names and shapes; clip_vision Hugging Face's names."""

    denoising_unet: Path
    reference_unet: Path
    pose_guider: Path
    vae: Path
    clip_vision: Path


def demo_files(folder: Path = DEMO_FOLDER) -> DemoFiles:
    """The files of a folder. Raises CheckpointError if one is not there."""
    files = DemoFiles(**{field.name: folder / f"{field.name}.safetensors" for field in fields(DemoFiles)})
    missing = [path.name for path in vars(files).values() if not path.is_file()]
    if missing:
        raise CheckpointError(f"{folder}: files of the built-in model are missing: {', '.join(missing)}; reinstall the pack, or restore "
                              "the folder in a clone with: git checkout -- models/demo")
    return files
