"""Small networks under the names of the published files, as the workflows in workflows/ expect them."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tests.host import networks

FAMILY = "Moore"
CLIP_FILE = "sd-image-variations/pytorch_model.bin"
VAE_FILE = "vae-ft-mse-840000-ema-pruned.safetensors"
PICTURE, CLIP = "character.png", "pose.mp4"


def write_published(models: Path) -> None:
    """A whole small model in the folders and formats that the notes in the workflows tell people to get."""
    folder = models / "animate_anyone" / FAMILY
    folder.mkdir(parents=True, exist_ok=True)
    for name, weights in networks.small_family().items():
        torch.save(dict(weights), folder / f"{name}.pth")
    # as one file without config.json, which is what the workflows name
    scratch = models / "scratch"
    networks.write_clip_vision(scratch)
    encoder = load_file(scratch / "model.safetensors")
    shutil.rmtree(scratch)
    for path in (models / "clip_vision" / CLIP_FILE, models / "vae" / VAE_FILE):
        path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(encoder, models / "clip_vision" / CLIP_FILE)
    save_file(networks.tiny_vae(), models / "vae" / VAE_FILE)
