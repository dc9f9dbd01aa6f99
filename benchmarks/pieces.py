"""Clips in pieces by the built-in model: how much the joints of pieces show.

Each piece begins with the last frames of what is there, which are given at every step (`animate_core.pieces`), and is one window of the
model. The figure is that of "Long clips in one go": the change from frame to frame by the truth's, at the joints of pieces over elsewhere;
here a joint is the place between the last given frame and the first new one. Beside it the same pieces without anything given, cut where
the others are: what the given frames are for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from animate_core.demo.character import HELD_OUT_SEED
from animate_core.demo.clip import demo_clip
from animate_core.demo.model import TRAINED_MOTIONS
from animate_core.pieces import begun, joined
from animate_core.sampling import Known
from animate_core.windows import Windows
from training.evaluate import Model

from .builtin import PRESET, Subject, builtin_model, decode, sample, subject
from .common import Options, markdown
from .seams import changes, geometric, liveliness, seam

name = "pieces"
title = "Clips in pieces"

FIRST = 1000  # held-out characters from here on, as in `long`
PIECES, CLIPS, STEPS = 3, 12, 4
LENGTH, OVERLAPS = PRESET.window_length, (4, 8)
ONE_WINDOW = Windows(LENGTH, 0)

Array = np.ndarray


def in_pieces(model: Model, who: Subject, skeletons: Array, overlap: int, given: bool, *, steps: int, seed: int) -> tuple[Tensor, Array]:
    """Latents of a clip made piece by piece, and `[F - 1]`: 1 at the joints. given False: each piece begins with nothing."""
    clip = sample(model, who, skeletons[:LENGTH], ONE_WINDOW, steps=steps, seed=seed)
    joint = np.zeros(len(skeletons) - 1)
    while len(clip) < len(skeletons):
        start = len(clip) - overlap
        latents, mask = begun(clip, overlap, min(LENGTH - overlap, len(skeletons) - len(clip)))
        seed += 1
        piece = sample(model, who, skeletons[start:start + len(latents)], ONE_WINDOW, steps=steps, seed=seed,
                       known=Known(latents, mask) if given else None)
        joint[len(clip) - 1] = 1
        clip = joined(clip, piece, overlap) if given else torch.cat([clip, piece[overlap:]])
    return clip, joint


def measure(overlap: int, clips: int, pieces: int, steps: int) -> list[dict[str, Any]]:
    """A line for each clip, with and without given frames."""
    model = builtin_model()
    frames, out = LENGTH + (pieces - 1) * (LENGTH - overlap), []
    for index in range(clips):
        seed, motion = HELD_OUT_SEED + FIRST + index, TRAINED_MOTIONS[index % len(TRAINED_MOTIONS)]
        clip = demo_clip(seed, motion, frames)
        truth = changes(clip.frames)
        with torch.inference_mode():
            who = subject(model, seed)
            for given in (True, False):
                latents, joint = in_pieces(model, who, clip.poses, overlap, given, steps=steps, seed=100 * index)
                result = changes(decode(model, latents))
                out.append({"frames": frames, "steps": steps, "overlap": overlap, "motion": motion, "seed": seed, "given": given,
                            "change": liveliness(result, truth, 0 * truth + 1), "joints": seam(result, truth, joint)})
                print(f"  {frames} frames, {motion}, overlap {overlap}, given {given}: {out[-1]['joints']:.3f}", flush=True)
    return out


def run(options: Options) -> dict[str, Any]:
    if options.quick:
        return {"seams": measure(OVERLAPS[0], 1, 2, 1)}
    return {"seams": [line for overlap in OVERLAPS for line in measure(overlap, CLIPS, PIECES, STEPS)]}


def with_error(values: Sequence[float]) -> str:
    found = geometric(values)
    return f"{found['mean']:.3f}" + (f" ± {found['error']:.3f}" if found["error"] is not None else "")


def table(results: dict[str, Any]) -> str:
    rows = []
    for overlap, given in sorted({(line["overlap"], line["given"]) for line in results["seams"]}, key=lambda key: (key[0], not key[1])):
        of = [line for line in results["seams"] if (line["overlap"], line["given"]) == (overlap, given)]
        rows.append([str(overlap), "given" if given else "made anew", str(len(of)), str(of[0]["frames"]),
                     with_error([line["joints"] for line in of]), with_error([line["change"] for line in of])])
    return markdown(["overlap", "first frames of a piece", "clips", "frames", "joints over elsewhere", "change by the truth's"], rows)
