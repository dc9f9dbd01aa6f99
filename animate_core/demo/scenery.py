"""What stands behind a character."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from .character import Background, mix, shade

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
    return image.reduce(SMOOTH)
