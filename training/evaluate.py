"""The built-in model against the renderers' truth, on characters that it never saw, at home and away, with its parts taken away in turn."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from animate_core.checkpoints import read_state_dict
from animate_core.clip_vision import load_clip_vision
from animate_core.families import FAMILIES

from .animate import animate
from .autoencoder import Autoencoder, load_autoencoder
from .config import Networks
from .demo_data import clip_pixels, picture_tensor
from .elsewhere.record import Clip
from .figures import colour_error, edges, flicker, halo, psnr, ssim, to_bytes, to_unit
from .networks import FILES, AnimateNetworks
from .report import Figures
from .stages import load_networks
from .worlds import WORLDS

log = logging.getLogger(__name__)

VAE_FILE, CLIP_FILE = "vae.safetensors", "clip_vision.safetensors"
LABEL = 14
SHOWN = 4  # characters of a world on the sheet


@dataclass(frozen=True)
class Model:
    """A finished model: four networks and the autoencoder, on the CPU."""

    networks: AnimateNetworks
    vae: Autoencoder
    clip: torch.nn.Module
    clip_size: int

    @torch.no_grad()
    def animate(self, reference: np.ndarray, poses: np.ndarray, *, steps: int, guidance: float, seed: int, motion: bool = True) -> Tensor:
        """reference `[H, W, 3]`, poses `[F, H, W, 3]` uint8 -> frames `[F, 3, H, W]` in [0, 1]."""
        token = self.clip(pixel_values=clip_pixels(reference, self.clip_size)).image_embeds.unsqueeze(1)
        latent = self.vae.encode(picture_tensor(reference[None]))
        latents = animate(self.networks, latent, token, to_unit(picture_tensor(poses)), FAMILIES["Demo"], steps=steps, guidance=guidance,
                          seed=seed, motion=motion)
        return decode(self.vae, latents)


@torch.no_grad()
def decode(vae: Autoencoder, latents: Tensor) -> Tensor:
    """`[F, 4, h, w]` -> pictures `[F, 3, 8h, 8w]` in [0, 1]."""
    with torch.autocast("cpu", torch.bfloat16):
        return to_unit(torch.cat([vae.decode(part).float() for part in latents.split(4)]))


@torch.no_grad()
def through(vae: Autoencoder, frames: np.ndarray) -> Tensor:
    """Frames `[F, H, W, 3]` uint8 through the autoencoder: `[F, 3, H, W]` in [0, 1]."""
    return decode(vae, torch.cat([vae.encode(part) for part in picture_tensor(frames).split(4)]))


def load_model(folder: Path, heads: int, groups: int) -> Model:
    """The files of a finished model. Raises CheckpointError."""
    denoiser, reference, guider = (str(folder / FILES[part]) for part in ("denoiser", "reference", "guider"))
    networks = load_networks(Networks(denoiser=denoiser, reference=reference, guider=guider, heads=heads, groups=groups),
                             torch.device("cpu"))
    networks.eval().requires_grad_(False)
    return Model(networks, *read_encoders(folder))


def read_encoders(folder: Path) -> tuple[Autoencoder, torch.nn.Module, int]:
    """Autoencoder, image encoder and the latter's picture size. Raises CheckpointError."""
    clip = load_clip_vision(folder / CLIP_FILE).float()
    return read_autoencoder(folder), clip, int(clip.config.image_size)


def read_autoencoder(folder: Path) -> Autoencoder:
    """Raises CheckpointError."""
    return load_autoencoder(read_state_dict(folder / VAE_FILE))


def measure(pictures: Tensor, truth: Tensor, masks: Tensor) -> dict[str, float]:
    return {"psnr": psnr(pictures, truth), "ssim": ssim(pictures, truth), "edges": edges(pictures, truth),
            "halo": halo(pictures, truth, masks), "flicker": flicker(pictures, truth), "colour": colour_error(pictures, truth, masks)}


def evaluate(model: Model | Autoencoder, world: str, count: int, frames: int, width: int, height: int, *, steps: int, guidance: float,
             ablations: bool = True) -> tuple[Figures, list[tuple[Clip, Tensor]]]:
    """Figures of each way, mean over the first `count` figures of one of WORLDS, and the first clips with what was made of them.

    Ways: ours; still: the reference shown unchanged; vae: the truth through the autoencoder; wrong reference: another character's;
    wrong poses: another motion's; no motion modules. An autoencoder alone is measured as vae and still.
    """
    draw, begun = WORLDS[world], time.monotonic()
    values: dict[str, list[dict[str, float]]] = {}
    shown: list[tuple[Clip, Tensor]] = []
    for i in range(count):
        clip = draw(i, frames, width, height, i)
        truth = to_unit(picture_tensor(clip.frames))
        ways: dict[str, Tensor] = {}
        if isinstance(model, Model):
            run = partial(model.animate, steps=steps, guidance=guidance, seed=i)
            ways["ours"] = run(clip.reference, clip.poses)
        ways["still"] = to_unit(picture_tensor(clip.reference[None])).expand_as(truth)
        ways["vae"] = through(model.vae if isinstance(model, Model) else model, clip.frames)
        if isinstance(model, Model) and ablations:
            other = (i + 1) % count
            ways["wrong reference"] = run(draw(other, 1, width, height, other).reference, clip.poses)
            ways["wrong poses"] = run(clip.reference, draw(i, frames, width, height, i + 3).poses)
            ways["no motion modules"] = run(clip.reference, clip.poses, motion=False)
        masks = torch.from_numpy(clip.masks.copy()).float() / 255
        for way, pictures in ways.items():
            values.setdefault(way, []).append(measure(pictures, truth, masks))
        if len(shown) < SHOWN:
            shown.append((clip, ways.get("ours", ways["vae"])))
        first = next(iter(values))
        log.info("%s: %d of %d, %.0f s; %s %.2f dB", world, i + 1, count, time.monotonic() - begun, first,
                 np.mean([v["psnr"] for v in values[first]]))
    return {way: {k: float(np.mean([one[k] for one in each])) for k in each[0]} for way, each in values.items()}, shown


def contact_sheet(rows: Sequence[tuple[Clip, Tensor]], columns: int = 4) -> Image.Image:
    """A line for each character: the reference, then for some frames pose, truth and what was made."""
    width, height = rows[0][0].size
    sheet = Image.new("RGB", (width * (1 + 3 * columns), LABEL + height * len(rows)), (24, 24, 24))
    pen = ImageDraw.Draw(sheet)
    for column, label in enumerate(["reference"] + ["pose", "truth", "ours"] * columns):
        pen.text((column * width + 2, 1), label, fill=(230, 230, 230))
    for y, (clip, made) in enumerate(rows):
        pictures = to_bytes(made).numpy()
        line = [clip.reference]
        for i in np.linspace(0, len(clip.frames) - 1, min(columns, len(clip.frames))).round().astype(int):
            line += [clip.poses[i], clip.frames[i], pictures[i]]
        for x, picture in enumerate(line):
            sheet.paste(Image.fromarray(picture), (x * width, LABEL + y * height))
    return sheet
