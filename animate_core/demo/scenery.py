"""What stands behind a character."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from .character import PAPERS, Background, mix, shade

SMOOTH = 3  # pictures are drawn this many times larger and reduced


def draw_background(background: Background, width: int, height: int) -> Image.Image:
    """The scene as an RGB picture."""
    w, h = width * SMOOTH, height * SMOOTH
    image = Image.new("RGB", (w, h), background.upper)
    draw = ImageDraw.Draw(image)
    line = background.horizon * h
    s = background.shapes
    if background.kind == "gradient":
        t = np.linspace(0, 1, h)[:, None, None]
        rows = (1 - t) * np.array(background.upper) + t * np.array(background.lower)
        image = Image.fromarray(np.broadcast_to(rows.round().astype(np.uint8), (h, w, 3)))
    elif background.kind == "horizon":
        draw.rectangle((0, line, w, h), fill=background.lower)
    elif background.kind in PAPERS:
        draw_paper(draw, background, w, h)
    elif background.kind == "hills":
        radius = (0.06 + 0.06 * s[0]) * w
        x, y = s[1] * w, (0.1 + 0.15 * s[2]) * h
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=shade(background.upper, 1.6))
        across = np.linspace(0, 1, 40)
        for i, colour in enumerate((mix(background.upper, background.third, 0.6), background.lower)):
            wave = np.sin(2 * np.pi * (across * (0.6 + s[3 + i]) + s[5 + i]))
            top = line + (0.06 * wave - 0.1 * (1 - i)) * h
            draw.polygon([*zip(across * w, top, strict=True), (w, h), (0, h)], fill=colour)
    elif background.kind == "room":
        draw.rectangle((0, line, w, h), fill=background.lower)
        draw.rectangle((0, line - 0.02 * h, w, line), fill=shade(background.upper, 0.8))
        size, x, y = (0.22 + 0.1 * s[0]) * w, (0.02 if s[1] < 0.5 else 0.72) * w, (0.08 + 0.2 * s[2]) * h
        draw.rectangle((x, y, x + size, y + size * (0.8 + 0.6 * s[3])), fill=background.third, outline=shade(background.third, 0.6),
                       width=w // 90)
    picture = image.reduce(SMOOTH)
    return lit_unevenly(picture, background) if background.kind == "photo" else picture


def draw_paper(draw: ImageDraw.ImageDraw, background: Background, w: int, h: int) -> None:
    """Lines and squares of a sheet; a photographed one may have lines too."""
    s = background.shapes
    step = (0.03 + 0.04 * s[0]) * h
    lined, squared = background.kind == "lined", background.kind == "squared"
    if background.kind == "photo":
        lined, squared = s[1] < 0.3, s[1] > 0.75
    line = max(1, round(0.003 * h))
    if lined or squared:
        for y in np.arange(step * s[2], h, step):
            draw.line((0, y, w, y), fill=background.third, width=line)
    if squared:
        for x in np.arange(step * s[3], w, step):
            draw.line((x, 0, x, h), fill=background.third, width=line)


def lit_unevenly(picture: Image.Image, background: Background) -> Image.Image:
    """As photographed: brighter towards one side, darker to the corners."""
    s = background.shapes
    pixels = np.asarray(picture, np.float32)
    y, x = np.mgrid[:pixels.shape[0], :pixels.shape[1]]
    y, x = y / pixels.shape[0] - 0.5, x / pixels.shape[1] - 0.5
    angle = 2 * np.pi * s[4]
    light = 1 + 0.3 * (s[5] - 0.2) * (x * np.cos(angle) + y * np.sin(angle)) * 2 - 0.35 * s[6] * (x**2 + y**2)
    return Image.fromarray((pixels * light[..., None]).clip(0, 255).round().astype(np.uint8))
