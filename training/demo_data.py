"""The built-in model's training data: procedural characters, rendered and encoded once, then read from disk."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor

from animate_core.demo.character import HELD_OUT_SEED
from animate_core.demo.clip import HEIGHT, WIDTH, DemoClip, demo_clip, draw_pose, reference_frame
from animate_core.demo.motion import MOTIONS
from animate_core.demo.world import make_drawing
from animate_core.preprocess import clip_input

from .loop import write_tensors
from .networks import Batch

log = logging.getLogger(__name__)

Encode = Callable[[Tensor], Tensor]  # pictures in [-1, 1] -> latents
Embed = Callable[[Tensor], Tensor]  # CLIP pixel values -> [B, 1, D]
PART = 50  # characters in one file


@dataclass(frozen=True)
class DemoSet:
    """What a set holds. frames: pictures of each character beside its reference; moving: consecutive ones, else each of another motion."""

    characters: int
    frames: int
    moving: bool
    first_seed: int
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def name(self) -> str:
        """The set's folder; a set of more characters goes on in the same one."""
        return f"{'clips' if self.moving else 'poses'}-of-{self.frames}-from-{self.first_seed}-{self.width}x{self.height}"

    @property
    def parts(self) -> list[str]:
        return [f"{start:06d}.safetensors" for start in range(0, self.characters, PART)]


def draw(plan: DemoSet, index: int) -> tuple[DemoClip, DemoClip]:
    """Reference and frames of the set's character `index`."""
    seed = plan.first_seed + index
    if not 0 <= seed < HELD_OUT_SEED:
        raise ValueError(f"seed {seed} is held out from training")
    rng = np.random.default_rng((0xDA7A, seed, plan.moving))

    def clip(frames: int) -> DemoClip:
        return demo_clip(seed, random_motion(rng, seed, plan.width, plan.height), frames, motion_seed=int(rng.integers(HELD_OUT_SEED)),
                         period=rng.uniform(12, 28), width=plan.width, height=plan.height)

    reference = reference_frame(seed, width=plan.width, height=plan.height)
    if plan.moving:
        return reference if rng.random() < 0.5 else clip(1), clip(plan.frames)
    singles = [clip(1) for _ in range(plan.frames)]
    return reference, DemoClip(reference.character, *(np.concatenate([getattr(s, n) for s in singles])
                                                      for n in ("frames", "masks", "poses", "keypoints")))


def random_motion(rng: np.random.Generator, seed: int, width: int, height: int) -> str:
    """One of MOTIONS that fits the picture."""
    return fitting_motion(str(rng.choice(list(MOTIONS))), seed, width, height)


def fitting_motion(motion: str, seed: int, width: int, height: int) -> str:
    """The motion; "free" in place of lying down where the body does not fit between the picture's sides."""
    return "free" if motion == "lie_down" and make_drawing(seed).height * height > 0.9 * width else motion


def random_pictures(count: int, width: int, height: int, seed: int) -> np.ndarray:
    """Single frames of `count` random characters of the training seeds, in motion, `[count, height, width, 3]` uint8."""
    rng = np.random.default_rng((0x91C, seed))
    out = np.empty((count, height, width, 3), np.uint8)
    for i in range(count):
        who = int(rng.integers(HELD_OUT_SEED))
        motion = random_motion(rng, who, width, height)
        out[i] = demo_clip(who, motion, 1, motion_seed=int(rng.integers(HELD_OUT_SEED)), width=width, height=height).frames[0]
    return out


def roughened(keypoints: Tensor, generator: torch.Generator) -> Tensor:
    """Points `[F, 18, 3]` of one clip as detectors give them: half of the clips exact, others with jitter, some with points not seen."""
    kind = float(torch.rand((), generator=generator))
    if kind < 0.5:
        return keypoints
    out = keypoints.clone()
    span = float((keypoints[..., 1].amax(-1) - keypoints[..., 1].amin(-1)).mean())
    out[..., :2] += span * 0.006 * torch.rand((), generator=generator) * torch.randn(out.shape[:2] + (2,), generator=generator)
    if kind > 0.75:
        hidden = torch.rand(18, generator=generator) < 0.08
        hidden[14:18] |= torch.rand(4, generator=generator) < 0.25  # eyes and ears, which detectors miss in drawings
        out[:, hidden, 2] = 0
    return out


def picture_tensor(pictures: np.ndarray) -> Tensor:
    """`[F, H, W, 3]` uint8 -> `[F, 3, H, W]` in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def clip_pixels(picture: np.ndarray, size: int) -> Tensor:
    """CLIP's input of one picture `[H, W, 3]` uint8, as at inference: squashed. `[1, 3, size, size]`."""
    return clip_input(Image.fromarray(picture), size)


def prepare(plan: DemoSet, folder: Path, encode: Encode, embed: Embed, clip_size: int) -> Path:
    """Renders and encodes a set, in parts of PART characters; parts that are there are kept. Returns the set's folder.

    A part holds latents `[n, 1 + F, 4, h, w]` (the reference first), tokens `[n, 1 + F, D]` (a moving set:
    the reference's alone) and keypoints `[n, 1 + F, 18, 3]`.
    """
    target = folder / plan.name
    for number, name in enumerate(plan.parts):
        path = target / name
        if path.exists():
            continue
        latents, tokens, points = [], [], []
        for index in range(number * PART, (number + 1) * PART):
            reference, clip = draw(plan, index)
            pictures = np.concatenate([reference.frames, clip.frames])
            latents.append(encode(picture_tensor(pictures)).half())
            # any frame of a still set may be the reference
            shown = pictures[:1] if plan.moving else pictures
            tokens.append(embed(torch.cat([clip_pixels(p, clip_size) for p in shown])).half().squeeze(1))
            points.append(torch.from_numpy(np.concatenate([reference.keypoints, clip.keypoints])))
        write_tensors(path, {"latents": torch.stack(latents).contiguous(), "tokens": torch.stack(tokens), "keypoints": torch.stack(points)})
        log.info("%s: %d of %d characters", plan.name, (number + 1) * PART, plan.characters)
    return target


class EncodedSet:
    """A prepared set in memory, as batches."""

    def __init__(self, plan: DemoSet, folder: Path) -> None:
        self.plan = plan
        parts: dict[str, list[Tensor]] = {"latents": [], "tokens": [], "keypoints": []}
        for name in plan.parts:
            with safe_open(folder / plan.name / name, "pt") as file:
                for key, tensors in parts.items():
                    tensors.append(file.get_tensor(key))
        self.latents, self.tokens, self.keypoints = (torch.cat(parts[k]) for k in parts)

    def poses(self, keypoints: Tensor, generator: torch.Generator) -> Tensor:
        """`[B, F, 18, 3]` -> skeleton pictures `[B, F, 3, H, W]` in [0, 1], each clip's in a thickness of its own."""
        clips = []
        for points in keypoints:
            thickness = float(torch.rand((), generator=generator))
            factor = 1.0 if thickness < 0.5 else 0.6 + 1.2 * (2 * thickness - 1)
            drawn = np.stack([draw_pose(p, self.plan.width, self.plan.height, factor) for p in roughened(points, generator).numpy()])
            clips.append(torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 255)
        return torch.stack(clips)

    def batch(self, clips: int, frames: int, generator: torch.Generator) -> Batch:
        """Random characters. A still set: any picture is the reference of the others; a moving one: its reference frame."""
        which = torch.randint(len(self.latents), (clips,), generator=generator).tolist()
        target, reference, token, points = [], [], [], []
        for i in which:
            if self.plan.moving:
                start = int(torch.randint(self.plan.frames - frames + 1, (1,), generator=generator))
                chosen, source = list(range(1 + start, 1 + start + frames)), 0
            else:
                source, *chosen = torch.randperm(self.plan.frames + 1, generator=generator)[:frames + 1].tolist()
            target.append(self.latents[i, chosen])
            reference.append(self.latents[i, source])
            token.append(self.tokens[i, source])
            points.append(self.keypoints[i, chosen])
        return Batch(torch.stack(target).float(), torch.stack(reference).float(), torch.stack(token).float().unsqueeze(1),
                     self.poses(torch.stack(points), generator))
