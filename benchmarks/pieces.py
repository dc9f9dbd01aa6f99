"""Clips in pieces by the built-in model: how much the joints of pieces show.

Each piece begins with the last frames of what is there, which are given at every step (`animate_core.pieces`), and is one window of the
model. The figure is that of "Long clips in one go": the change from frame to frame by the truth's, at the joints of pieces over elsewhere;
here a joint is the place between the last given frame and the first new one. Three ways: all pieces with the same seed, each with one of
its own, and the latter with nothing given but cut where the others are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from animate_core.demo.character import HELD_OUT_SEED
from animate_core.demo.clip import demo_clip
from animate_core.demo.motion import FRAMED_MOTIONS
from animate_core.pieces import begun, joined
from animate_core.sampling import Known
from animate_core.windows import Windows
from training.evaluate import Model

from .builtin import PRESET, Subject, builtin_model, decode, sample, subject
from .common import Options, markdown
from .long import with_error
from .seams import changes, geometric, liveliness, seam

name = "pieces"
title = "Clips in pieces"

FIRST = 1000  # held-out characters from here on, as in `long`
PIECES, CLIPS, STEPS = 3, 6, 4
LENGTH, OVERLAP = PRESET.window_length, 4
ONE_WINDOW = Windows(LENGTH, 0)
# way -> whether frames are given, and what each piece adds to the seed of the one before it
WAYS = {"given, the same seed": (True, 0), "given, other seeds": (True, 1), "made anew, other seeds": (False, 1)}

Array = np.ndarray


def next_piece(model: Model, who: Subject, skeletons: Array, clip: Tensor, given: bool, *, steps: int, seed: int) -> Tensor:
    """The clip with one piece more. given False: the piece begins with nothing."""
    start = len(clip) - OVERLAP
    latents, mask = begun(clip, OVERLAP, LENGTH - OVERLAP)
    known = Known(latents, mask) if given else None
    piece = sample(model, who, skeletons[start:start + LENGTH], ONE_WINDOW, steps=steps, seed=seed, known=known)
    return joined(clip, piece, OVERLAP) if given else torch.cat([clip, piece[OVERLAP:]])


def measure(clips: int, pieces: int, steps: int) -> list[dict[str, Any]]:
    """A line for each clip and way."""
    model = builtin_model()
    frames, out = LENGTH + (pieces - 1) * (LENGTH - OVERLAP), []
    joint = np.zeros(frames - 1)
    joint[LENGTH - 1::LENGTH - OVERLAP] = 1
    for index in range(clips):
        seed, motion = HELD_OUT_SEED + FIRST + index, FRAMED_MOTIONS[index % len(FRAMED_MOTIONS)]
        drawn = demo_clip(seed, motion, frames)
        truth = changes(drawn.frames)
        with torch.inference_mode():
            who = subject(model, seed)
            first = sample(model, who, drawn.poses[:LENGTH], ONE_WINDOW, steps=steps, seed=100 * index)
            for way, (given, more) in WAYS.items():
                clip = first
                for piece in range(1, pieces):
                    clip = next_piece(model, who, drawn.poses, clip, given, steps=steps, seed=100 * index + more * piece)
                result = changes(decode(model, clip))
                out.append({"frames": frames, "steps": steps, "motion": motion, "seed": seed, "way": way,
                            "change": liveliness(result, truth, 0 * truth + 1), "joints": seam(result, truth, joint)})
                print(f"  {frames} frames, {motion}, {way}: {out[-1]['joints']:.3f}", flush=True)
    return out


def run(options: Options) -> dict[str, Any]:
    return {"seams": measure(1, 2, 1) if options.quick else measure(CLIPS, PIECES, STEPS)}


def table(results: dict[str, Any]) -> str:
    rows = []
    for way in WAYS:
        of = [line for line in results["seams"] if line["way"] == way]
        figures = [with_error(geometric([line[figure] for line in of])) for figure in ("joints", "change")]
        rows.append([way, str(len(of)), str(of[0]["frames"]), str(of[0]["steps"]), *figures])
    return markdown(["first frames of a piece", "clips", "frames", "steps", "joints over elsewhere", "change by the truth's"], rows)
