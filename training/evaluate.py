"""The built-in model against the renderer's truth, on characters and motions that it never saw, with its parts taken away in turn."""

from __future__ import annotations

import json
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
from animate_core.demo.clip import DemoClip, demo_clip
from animate_core.demo.motion import MOTIONS
from animate_core.families import FAMILIES

from .animate import animate
from .autoencoder import Autoencoder, load_autoencoder
from .config import Networks
from .demo_data import clip_pixels, held_out, picture_tensor
from .figures import colour_error, flicker, psnr, ssim, to_bytes, to_unit
from .networks import FILES, AnimateNetworks
from .stages import load_networks

log = logging.getLogger(__name__)

VAE_FILE, CLIP_FILE = "vae.safetensors", "clip_vision.safetensors"
LABEL = 14


@dataclass(frozen=True)
class Model:
    """A finished model: four networks and the autoencoder, on the CPU."""

    networks: AnimateNetworks
    vae: Autoencoder
    clip: torch.nn.Module
    clip_size: int

    @torch.no_grad()
    def animate(self, reference: DemoClip, poses: Tensor, *, steps: int, guidance: float, seed: int, motion: bool = True) -> Tensor:
        """poses `[F, 3, H, W]` in [0, 1] -> frames `[F, 3, H, W]` in [0, 1]."""
        token = self.clip(pixel_values=clip_pixels(reference.frames[0], self.clip_size)).image_embeds.unsqueeze(1)
        latent = self.vae.encode(picture_tensor(reference.frames))
        latents = animate(self.networks, latent, token, poses, FAMILIES["Demo"], steps=steps, guidance=guidance, seed=seed, motion=motion)
        return self.decode(latents)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """`[F, 4, h, w]` -> pictures `[F, 3, 8h, 8w]` in [0, 1]."""
        with torch.autocast("cpu", torch.bfloat16):
            return to_unit(torch.cat([self.vae.decode(part).float() for part in latents.split(4)]))


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
    return load_autoencoder(read_state_dict(folder / VAE_FILE)), clip, int(clip.config.image_size)


@torch.no_grad()
def evaluate(model: Model, count: int, frames: int, *, steps: int, guidance: float,
             ablations: bool = True) -> tuple[dict[str, dict[str, float]], Image.Image]:
    """Figures of each way, mean over `count` held-out characters, and a contact sheet of the first ones.

    Ways: ours; still: the reference shown unchanged; vae: the truth through the autoencoder; wrong reference: another character's;
    wrong poses: another motion's; no motion modules.
    """
    cases = held_out(count, frames)
    sums: dict[str, dict[str, list[float]]] = {}
    rows: list[tuple[DemoClip, DemoClip, Tensor]] = []
    begun = time.monotonic()

    def add(way: str, pictures: Tensor, truth: Tensor, masks: Tensor) -> None:
        values = {"psnr": psnr(pictures, truth), "ssim": ssim(pictures, truth),
                  "flicker": flicker(pictures, truth) if len(truth) > 1 else 0.0,
                  "colour": colour_error(pictures, truth, masks)}
        for key, value in values.items():
            sums.setdefault(way, {}).setdefault(key, []).append(value)

    for i, (reference, clip, motion) in enumerate(cases):
        truth = to_unit(picture_tensor(clip.frames))
        masks = torch.from_numpy(clip.masks.copy()).float() / 255
        poses = to_unit(picture_tensor(clip.poses))
        run = partial(model.animate, steps=steps, guidance=guidance, seed=i)
        ours = run(reference, poses)
        add("ours", ours, truth, masks)
        add("still", to_unit(picture_tensor(reference.frames)).expand_as(truth), truth, masks)
        add("vae", model.decode(torch.cat([model.vae.encode(p) for p in picture_tensor(clip.frames).split(4)])), truth, masks)
        if ablations:
            other = cases[(i + 1) % len(cases)][0]
            add("wrong reference", run(other, poses), truth, masks)
            names = list(MOTIONS)
            moved = demo_clip(clip.character.seed, names[(names.index(motion) + 3) % len(names)], frames)
            add("wrong poses", run(reference, to_unit(picture_tensor(moved.poses))), truth, masks)
            add("no motion modules", run(reference, poses, motion=False), truth, masks)
        if len(rows) < 8:
            rows.append((reference, clip, ours))
        log.info("%d of %d, %.0f s; ours %.2f dB", i + 1, count, time.monotonic() - begun, float(np.mean(sums["ours"]["psnr"])))
    return {way: {k: float(np.mean(v)) for k, v in values.items()} for way, values in sums.items()}, contact_sheet(rows)


def contact_sheet(rows: Sequence[tuple[DemoClip, DemoClip, Tensor]], shown: int = 4) -> Image.Image:
    """A line for each character: the reference, then for some frames pose, truth and ours."""
    width, height = rows[0][0].size
    sheet = Image.new("RGB", (width * (1 + 3 * shown), LABEL + height * len(rows)), (24, 24, 24))
    pen = ImageDraw.Draw(sheet)
    for column, label in enumerate(["reference"] + ["pose", "truth", "ours"] * shown):
        pen.text((column * width + 2, 1), label, fill=(230, 230, 230))
    for y, (reference, clip, ours) in enumerate(rows):
        made = to_bytes(ours).numpy()
        line = [reference.frames[0]]
        for i in np.linspace(0, len(clip.frames) - 1, min(shown, len(clip.frames))).round().astype(int):
            line += [clip.poses[i], clip.frames[i], made[i]]
        for x, picture in enumerate(line):
            sheet.paste(Image.fromarray(picture), (x * width, LABEL + y * height))
    return sheet


def targets(figures: dict[str, dict[str, float]]) -> list[tuple[str, float, float, bool]]:
    """What the built-in model must reach: name, value, limit, reached."""
    f = figures
    lines = [("PSNR above the reference shown still, dB", f["ours"]["psnr"] - f["still"]["psnr"], 3.0, True),
             ("SSIM above the reference shown still", f["ours"]["ssim"] - f["still"]["ssim"], 0.05, True),
             ("PSNR below the autoencoder's, dB", f["vae"]["psnr"] - f["ours"]["psnr"], 4.0, False),
             ("colour error inside the mask", f["ours"]["colour"], 0.06, False)]
    if "wrong reference" in f:
        lines += [("PSNR above another character's reference, dB", f["ours"]["psnr"] - f["wrong reference"]["psnr"], 3.0, True),
                  ("PSNR above another motion's poses, dB", f["ours"]["psnr"] - f["wrong poses"]["psnr"], 2.0, True),
                  ("flicker below without motion modules", 1 - f["ours"]["flicker"] / f["no motion modules"]["flicker"], 0.2, True)]
    return [(name, value, limit, value >= limit if more else value <= limit) for name, value, limit, more in lines]


def table(figures: dict[str, dict[str, float]]) -> str:
    lines = [f"{'':24}{'PSNR dB':>9}{'SSIM':>8}{'flicker':>9}{'colour':>8}"]
    lines += [f"{way:24}{v['psnr']:9.2f}{v['ssim']:8.3f}{v['flicker']:9.4f}{v['colour']:8.4f}" for way, v in figures.items()]
    lines += ["",
              *(f"{'reached' if ok else 'MISSED':8} {name}: {value:.3f} (wanted {limit:g})" for name, value, limit, ok in targets(figures))]
    return "\n".join(lines)


def write_report(figures: dict[str, dict[str, float]], sheet: Image.Image, output: Path, settings: dict[str, float]) -> None:
    output.mkdir(parents=True, exist_ok=True)
    report = {"settings": settings, "figures": figures,
              "targets": [{"name": n, "value": v, "wanted": w, "reached": bool(ok)} for n, v, w, ok in targets(figures)]}
    (output / "evaluation.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    sheet.save(output / "evaluation.png")
