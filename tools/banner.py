"""The registry's icon and banner, made with the built-in model: `python -m tools.banner` writes them into assets/."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from animate_core.demo.character import HELD_OUT_SEED
from animate_core.demo.clip import demo_clip, reference_frame
from animate_core.demo.model import DEMO_FOLDER, NORM_NUM_GROUPS, NUM_HEADS
from animate_core.families import FAMILIES
from animate_core.pose.drawing import draw_body
from animate_core.pose.keypoints import L_ANKLE, L_WRIST, NOSE, R_ANKLE, R_WRIST
from training.evaluate import load_model

ASSETS = Path(__file__).resolve().parents[1] / "assets"
ICON = 400
BANNER = (1260, 540)  # 21:9
SMOOTH = 4  # drawn so much larger and reduced
NIGHT, WOOD, STRING, WORDS = (28, 26, 46), (196, 148, 92), (214, 210, 226), (240, 238, 248)
CHARACTER = HELD_OUT_SEED + 2
SHOWN = (0, 3, 6, 9)  # frames of the banner's clip
MARGIN, GAP = 30, 12

# A figure on strings, `[18]` points of the body in a square of 100, and its cross, in front of them
FIGURE = ((50, 34), (50, 43), (41, 43.5), (32, 50), (24, 40), (59, 43.5), (68, 51), (76, 41), (44.5, 63), (41, 77), (36, 90), (55.5, 63),
          (62, 75), (59, 89), (47.5, 31.5), (52.5, 31.5), (44.5, 33), (55.5, 33))
CROSS = (((22, 12), (78, 12)), ((50, 5), (50, 17)))
STRINGS = ((R_WRIST, (24, 12)), (L_WRIST, (76, 12)), (NOSE, (50, 17)), (R_ANKLE, (36, 12)), (L_ANKLE, (64, 12)))


def marionette(size: int) -> Image.Image:
    """A skeleton as the model knows them, hanging from a cross: `size` x `size` pixels, on NIGHT."""
    large = SMOOTH * size
    scale = large / 100
    picture = Image.new("RGB", (large, large), NIGHT)
    draw = ImageDraw.Draw(picture)
    for point, end in STRINGS:
        draw.line([*(scale * value for value in (*FIGURE[point], *end))], STRING, round(0.6 * scale))
    for bar in CROSS:
        draw.line([*(scale * value for end in bar for value in end)], WOOD, round(3.6 * scale))
        for x, y in bar:
            draw.ellipse([scale * (x - 1.8), scale * (y - 1.8), scale * (x + 1.8), scale * (y + 1.8)], WOOD)
    points = np.concatenate([np.array(FIGURE) * scale, np.ones((len(FIGURE), 1))], axis=1)
    body = draw_body(points, large, large, round(2.2 * scale))
    figure = Image.fromarray(np.minimum(body * 1.5, 255).astype(np.uint8))  # limbs are drawn dim, for a black picture
    picture.paste(figure, (0, 0), Image.fromarray(body.any(-1)))
    return picture.reduce(SMOOTH)


def icon() -> Image.Image:
    """Rounded corners on nothing."""
    mask = Image.new("L", (SMOOTH * ICON, SMOOTH * ICON))
    ImageDraw.Draw(mask).rounded_rectangle([0, 0, SMOOTH * ICON - 1, SMOOTH * ICON - 1], SMOOTH * ICON * 0.18, 255)
    picture = marionette(ICON)
    picture.putalpha(mask.reduce(SMOOTH))
    return picture


def generated() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The reference `[H, W, 3]`, and the poses and the built-in model's frames `[F, H, W, 3]`, uint8."""
    preset, clip, reference = FAMILIES["Demo"], demo_clip(CHARACTER, "dance"), reference_frame(CHARACTER)
    model = load_model(DEMO_FOLDER, NUM_HEADS, NORM_NUM_GROUPS)
    made = model.animate(reference.frames[0], clip.poses, steps=preset.steps, guidance=preset.guidance, seed=42)
    frames = (made.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return reference.frames[0], clip.poses, frames


def banner() -> Image.Image:
    """Name, figure and reference at the left; skeletons above what the built-in model makes of them at the right."""
    reference, poses, frames = generated()
    picture = Image.new("RGB", BANNER, NIGHT)
    height = (BANNER[1] - 2 * MARGIN - GAP) // 2
    width = height * reference.shape[1] // reference.shape[0]

    def place(pixels: np.ndarray, x: int, y: int) -> None:
        picture.paste(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS), (x, y))

    left = BANNER[0] - MARGIN - len(SHOWN) * width - (len(SHOWN) - 1) * GAP
    for column, i in enumerate(SHOWN):
        x = left + column * (width + GAP)
        place(poses[i], x, MARGIN)
        place(frames[i], x, MARGIN + height + GAP)
    place(reference, left - 3 * GAP - width, MARGIN + height + GAP)
    draw = ImageDraw.Draw(picture)
    arrow_x, arrow_y = left - 2.4 * GAP, MARGIN + 1.5 * height + GAP
    draw.polygon([(arrow_x, arrow_y - GAP), (arrow_x + 1.6 * GAP, arrow_y), (arrow_x, arrow_y + GAP)], WORDS)
    picture.paste(marionette(height + 2 * GAP), (MARGIN + 2 * GAP, MARGIN + height - GAP))
    draw.text((MARGIN, MARGIN + 40), "Marionette", WORDS, ImageFont.load_default(84))
    draw.text((MARGIN + 4, MARGIN + 144), "Animate Anyone for ComfyUI", STRING, ImageFont.load_default(32))
    return picture


def main(_: Sequence[str] = ()) -> None:
    ASSETS.mkdir(exist_ok=True)
    icon().save(ASSETS / "icon.png", optimize=True)
    banner().save(ASSETS / "banner.png", optimize=True)


if __name__ == "__main__":
    main()
