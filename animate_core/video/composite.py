"""A character over a new background: its place, the camera's path, light, the shadow where it stands."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .pictures import LUMA, blurred, resized

SCENE, BEHIND = "scene", "background only"
CAMERA_MOVES = (SCENE, BEHIND)
REPEAT, HOLD, BACK_AND_FORTH = "repeat", "hold last", "back and forth"
AFTER_END = (REPEAT, HOLD, BACK_AND_FORTH)
MOST_LIGHT = 1.6  # a colour channel's light changes by at most this factor
SHADOW_REACH, SHADOW_LIFT = 0.06, 0.18  # in heights of the figure: how far up from the ground it darkens it, and above which it does not
SHADOW_FLAT = 0.016  # half the shadow's height, in heights of the figure


@dataclass(frozen=True)
class Spot:
    """Where an output shows a layer: pixels of the output in one of the layer's; its top left corner in the output's pixels."""

    zoom: float
    left: float
    top: float


@dataclass(frozen=True)
class Staging:
    """One frame's place and camera.

    x, y: the figure's shift to the right and down, in parts of the output's width and height; at 0 its frame is centred and its lower edge
    is the output's. scale: its frame's height in the output's. camera_x, camera_y: -1 to 1, from one edge of the background to the other.
    zoom: at least 1.
    """

    x: float = 0.0
    y: float = 0.0
    scale: float = 1.0
    camera_x: float = 0.0
    camera_y: float = 0.0
    zoom: float = 1.0


def source_frame(index: int, frames: int, rate: float, after_end: str) -> int:
    """Which of so many frames of a background stands behind a clip's frame. rate: its frames per second by the clip's."""
    at = int(index * rate + 1e-6)
    if at < frames or after_end == REPEAT:
        return at % frames
    if after_end == HOLD or frames == 1:
        return frames - 1
    at %= 2 * frames - 2
    return at if at < frames else 2 * frames - 2 - at


def output_size(frames: tuple[int, int], background: tuple[int, int], as_background: bool) -> tuple[int, int]:
    """Width and height, both even, of (width, height) each."""
    width, height = background if as_background else frames
    return width - width % 2 if width > 1 else 1, height - height % 2 if height > 1 else 1


def spots(frame: tuple[int, int], background: tuple[int, int], size: tuple[int, int], how: Staging, moves: str) -> tuple[Spot, Spot]:
    """The figure's and the background's. Sizes as (width, height)."""
    (w, h), (wide, tall), (width, height) = frame, background, size
    cover = max(width / wide, height / tall)
    # the middle of the view, in pixels of the covering background, and where that lies without a camera
    view = (width / how.zoom, height / how.zoom)
    middle = [(full * cover) / 2 + (full * cover - seen) / 2 * at for full, seen, at in
              zip((wide, tall), view, (how.camera_x, how.camera_y), strict=True)]
    behind = Spot(cover * how.zoom, width / 2 - middle[0] * how.zoom, height / 2 - middle[1] * how.zoom)
    zoom = how.scale * height / h
    left, top = width / 2 - zoom * w / 2 + how.x * width, height - zoom * h + how.y * height
    if moves == SCENE:
        moved = [at - (full * cover - side) / 2 for at, full, side in zip(middle, (wide, tall), (width, height), strict=True)]
        zoom, left, top = (zoom * how.zoom, (left - moved[0]) * how.zoom + width / 2, (top - moved[1]) * how.zoom + height / 2)
    return Spot(zoom, left, top), behind


def shown(layer: Tensor, spot: Spot, width: int, height: int, border: str, snap: bool) -> Tensor:
    """A layer `[F, C, h, w]` in [0, 1] where its spot says, `[F, C, height, width]`.

    border: "zeros" or "replicate", what lies beyond its edges. snap: its corner goes to a whole pixel, which keeps what stands still sharp;
    a layer at its own size is then copied.
    """
    tall, wide = layer.shape[-2:]
    zoom, left, top = spot.zoom, spot.left, spot.top
    if zoom < 1:
        # reduced first, so that no pixel is skipped
        layer, zoom = resized(layer, max(1, round(wide * zoom)), max(1, round(tall * zoom))), 1.0
        tall, wide = layer.shape[-2:]
    if zoom == 1 and snap:
        return pasted(layer, round(left), round(top), width, height, border)
    x = (torch.arange(width, device=layer.device) + 0.5 - left) / zoom
    y = (torch.arange(height, device=layer.device) + 0.5 - top) / zoom
    grid = torch.stack(torch.meshgrid(2 * y / tall - 1, 2 * x / wide - 1, indexing="ij")[::-1], -1)
    beyond = "zeros" if border == "zeros" else "border"
    return F.grid_sample(layer, grid.expand(len(layer), -1, -1, -1), "bicubic", beyond, align_corners=False).clamp(0, 1)


def pasted(layer: Tensor, left: int, top: int, width: int, height: int, border: str) -> Tensor:
    """Pixel for pixel."""
    inside = layer[..., max(0, -top):max(0, height - top), max(0, -left):max(0, width - left)]
    if not inside.numel():
        return layer.new_zeros(*layer.shape[:2], height, width)
    room = (max(0, left), max(0, width - left - layer.shape[-1]), max(0, top), max(0, height - top - layer.shape[-2]))
    return F.pad(inside, room, "constant" if border == "zeros" else "replicate") if any(room) else inside


# -------------------------------------------------------------------------------------------------------------------------------- light

def linear(x: Tensor) -> Tensor:
    """sRGB -> light."""
    return torch.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def gamma(x: Tensor) -> Tensor:
    """Light -> sRGB."""
    return torch.where(x <= 0.0031308, x * 12.92, 1.055 * x.clamp_min(1e-8) ** (1 / 2.4) - 0.055)


def light_of(colours: Tensor, weight: Tensor) -> Tensor:
    """The light `[3]` that falls on a scene: the sixth norm of each channel's linear values (shades of grey, Finlayson and Trezzi 2004).

    colours `[F, 3, H, W]` in sRGB, weight `[F, 1, H, W]`.
    """
    return ((linear(colours) ** 6 * weight).sum((0, 2, 3)) / weight.sum().clamp_min(1e-6)) ** (1 / 6)


def light_gain(colours: Tensor, alpha: Tensor, background: Tensor, strength: float) -> Tensor:
    """The factors `[3]` of the figure's linear colours that give it the brightness and the colour of the background's light.

    The figure's own light is taken as white. strength: 0..1, the exponent of the whole way. Frames and backgrounds: some of the clip's.
    """
    luma = torch.tensor(LUMA, device=colours.device)
    own = (light_of(colours, alpha) * luma).sum()
    theirs = light_of(background, torch.ones_like(background[:, :1]))
    return ((theirs.clamp_min(1e-3) / own.clamp_min(1e-3)) ** strength).clamp(1 / MOST_LIGHT, MOST_LIGHT)


def lit(colours: Tensor, gain: Tensor) -> Tensor:
    return gamma(linear(colours) * gain.view(3, 1, 1)).clamp(0, 1)


# ------------------------------------------------------------------------------------------------------------------------------- shadow

def ground(alpha: Tensor) -> tuple[float, float] | None:
    """The lowest row of the figure in a clip's mattes `[F, 1, H, W]`, and its height in pixels; None where its feet are out of the picture,
    or nothing is there."""
    rows = (alpha[:, 0] > 0.5).any(-1)
    if not rows.any():
        return None
    filled = rows.any(0).nonzero().flatten()
    # legs cut off by the lower edge stand on nothing
    if float((alpha[:, 0, -1] > 0.5).any(-1).float().mean()) > 0.5:
        return None
    return float(filled[-1]) + 1, float(rows.sum(-1).float().max())


def shadow(alpha: Tensor, low: float, tall: float) -> Tensor:
    """How dark the ground is, `[F, 1, H, W]` in [0, 1], under placed mattes of the same shape: an ellipse under what is near the ground.

    low: the ground's row, tall: the figure's height, in the output's pixels.
    """
    height, width = alpha.shape[-2:]
    y = torch.arange(height, device=alpha.device) + 0.5
    near = (1 - (low - y) / (SHADOW_LIFT * tall)).clamp(0, 1) * (y <= low + 1)
    feet = (alpha * near.view(-1, 1)).amax(2)  # [F, 1, W]
    wide = max(0.7, SHADOW_REACH * tall / 2)
    across = blurred(feet.unsqueeze(2), wide).clamp(0, 1)
    down = torch.exp(-0.5 * ((y - low + 0.3 * SHADOW_FLAT * tall) / max(0.7, SHADOW_FLAT * tall)) ** 2)
    return across * down.view(1, 1, -1, 1)


def composite(figure: Tensor, alpha: Tensor, background: Tensor, dark: Tensor | None = None, strength: float = 0.0) -> Tensor:
    """figure `[F, 3, H, W]` multiplied by alpha `[F, 1, H, W]`, over background, which the shadow `dark` makes darker."""
    if dark is not None:
        background = background * (1 - strength * dark)
    return figure + background * (1 - alpha)

