"""The pictures of the help pages, made with the built-in model: `python -m tools.help_pictures` writes them into web/docs/images."""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from animate_core.demo.character import HELD_OUT_SEED
from animate_core.demo.clip import demo_clip, reference_frame
from animate_core.demo.model import DEMO_FOLDER, NORM_NUM_GROUPS, NUM_HEADS
from animate_core.families import FAMILIES
from animate_core.pose.drawing import MOORE, draw_people
from animate_core.pose.keypoints import PoseClip, body_clip
from animate_core.pose.moves import MOVES, move_clip
from animate_core.pose.retargeting import retarget
from training.evaluate import load_model
from training.figures import to_bytes
from training.worlds import WORLDS

Array = np.ndarray

IMAGES = Path(__file__).resolve().parents[1] / "web" / "docs" / "images"
LARGEST = 60_000  # bytes, which tests/core/test_help.py checks
FRAME_MS = 83
HEIGHT = 192  # of a panel in pixels
CHARACTER = HELD_OUT_SEED
LONG_LEGGED, SHORT_LEGGED = HELD_OUT_SEED + 26, HELD_OUT_SEED + 9
FAILURES = (0, 3)  # figures of strokes
LABEL = 14


def labelled(frame: Array, text: str) -> Image.Image:
    """A frame at the height of a panel, above its label."""
    picture = Image.fromarray(frame)
    picture = picture.resize((round(picture.width * HEIGHT / picture.height), HEIGHT), Image.Resampling.LANCZOS)
    panel = Image.new("RGB", (picture.width, HEIGHT + LABEL), "white")
    panel.paste(picture, (0, LABEL))
    ImageDraw.Draw(panel).text((3, 1), text, fill="black")
    return panel


def write(name: str, panels: dict[str, Array]) -> None:
    """Clips `[F, H, W, 3]` uint8 side by side as an animated WebP, as good as the size limit allows."""
    length = max(len(clip) for clip in panels.values())
    frames = []
    for i in range(length):
        row = [labelled(clip[i % len(clip)], label) for label, clip in panels.items()]
        sheet = Image.new("RGB", (sum(panel.width for panel in row), row[0].height))
        for n, panel in enumerate(row):
            sheet.paste(panel, (sum(p.width for p in row[:n]), 0))
        frames.append(sheet)
    for quality in range(85, 0, -5):
        buffer = io.BytesIO()
        frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:], duration=FRAME_MS, loop=0, quality=quality, method=6)
        if buffer.tell() <= LARGEST:
            (IMAGES / name).write_bytes(buffer.getvalue())
            print(f"{name}: {buffer.tell()} bytes, quality {quality}")
            return
    raise SystemExit(f"{name} does not fit in {LARGEST} bytes")


def skeletons(clip: PoseClip, backdrop: Array) -> Array:
    """The clip's skeletons over pictures `[F or 1, H, W, 3]`, as Retarget Pose's overlay draws them."""
    style = replace(MOORE, face=False).with_stick(max(1.0, min(clip.width, clip.height) / 96))
    drawn = np.stack([draw_people(people, clip.width, clip.height, style) for people in clip.points])
    return np.where(drawn.any(-1, keepdims=True), drawn, np.broadcast_to(backdrop, drawn.shape))


def demo_character() -> dict[str, Array]:
    clip = demo_clip(CHARACTER, "dance")
    return {"reference": reference_frame(CHARACTER).frames, "poses": clip.poses, "truth": clip.frames}


def demo() -> dict[str, Array]:
    preset, clip = FAMILIES["Demo"], demo_clip(CHARACTER, "dance")
    made = load_model(DEMO_FOLDER, NUM_HEADS, NORM_NUM_GROUPS).animate(reference_frame(CHARACTER).frames[0], clip.poses,
                                                                      steps=preset.steps, guidance=preset.guidance, seed=42)
    generated = (made.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return {"poses": clip.poses, "generated": generated, "ground truth": clip.frames}


def failures() -> dict[str, Array]:
    """Hatched and chalked figures, whose lines the autoencoder blurs and the model does not carry along."""
    preset, model = FAMILIES["Demo"], load_model(DEMO_FOLDER, NUM_HEADS, NORM_NUM_GROUPS)
    panels: dict[str, Array] = {}
    for index in FAILURES:
        clip = WORLDS["strokes"](index, 8, preset.width, preset.height, index)
        made = model.animate(clip.reference, clip.poses, steps=preset.steps, guidance=preset.guidance, seed=index)
        panels |= {f"reference {index}": clip.reference[None], f"generated {index}": to_bytes(made).numpy()}
    return panels


def retargeted() -> dict[str, Array]:
    """The driving video is square, so its figure is smaller on the reference's canvas."""
    reference = reference_frame(SHORT_LEGGED)
    driver = demo_clip(LONG_LEGGED, "dance", width=max(reference.size), height=max(reference.size))
    source, target = (body_clip(drawn.keypoints, *drawn.size) for drawn in (driver, reference))
    return {"driving video": driver.frames, "mode none": skeletons(retarget(source, target, "none"), reference.frames),
            "mode full": skeletons(retarget(source, target), reference.frames)}


def moves() -> dict[str, Array]:
    black = np.zeros((1, 1, 1, 3), np.uint8)
    return {name: skeletons(move_clip(name, width=128, height=HEIGHT), black) for name in list(MOVES)[:6]}


PICTURES = {"demo_character": demo_character, "demo": demo, "failures": failures, "retarget": retargeted, "moves": moves}


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.help_pictures", description=__doc__)
    parser.add_argument("--only", choices=PICTURES, help="make one picture instead of all")
    only = parser.parse_args(words).only
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name in [only] if only else PICTURES:
        write(f"{name}.webp", PICTURES[name]())


if __name__ == "__main__":
    main()
