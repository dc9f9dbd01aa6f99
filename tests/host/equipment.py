"""What stands in a user's folders: models good and bad, a reference picture, a pose clip."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file

from tests.host import networks
from tests.parity.recipe import recipe_state_dict

ROOT = Path(__file__).resolve().parents[2]
MEDIA = ROOT.parent / "shared" / "media"
PICTURE = "person.png"
CLIP = "dance.mp4"
EVIL_MARK = "evil-was-here"


def link_tree(source: Path, target: Path) -> None:
    """The same files under another folder, without a copy where the disk allows it."""

    def link(a: str, b: str) -> None:
        try:
            os.link(a, b)
        except OSError:
            shutil.copyfile(a, b)

    shutil.copytree(source, target, copy_function=link, dirs_exist_ok=True)


def write_models(models: Path) -> None:
    """One whole small model and what goes with it."""
    networks.write_family(models / "animate_anyone" / "small", networks.small_family())
    networks.write_clip_vision(models / "clip_vision" / "small_clip")
    (models / "vae").mkdir(parents=True, exist_ok=True)
    save_file(networks.tiny_vae(), models / "vae" / "small_vae.safetensors")
    networks.lora_file(models / "loras" / "small_lora.safetensors")


class Evil:
    """Unpickles to a call that leaves a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


def write_bad_models(models: Path) -> None:
    """Files that a loader, or the node that joins two of them, must refuse. Their folder is `bad`."""
    bad = models / "animate_anyone" / "bad"
    good = models / "animate_anyone" / "small"
    bad.mkdir(parents=True, exist_ok=True)
    whole = (good / "reference_unet.safetensors").read_bytes()
    (bad / "truncated.safetensors").write_bytes(whole[: len(whole) // 2])
    (bad / "empty.safetensors").write_bytes(b"")
    (bad / "empty.pth").write_bytes(b"")
    torch.save(recipe_state_dict(networks.SEED, "pose_guider", networks.pose_shapes()), bad / "whole.pth")
    pickled = (bad / "whole.pth").read_bytes()
    (bad / "truncated.pth").write_bytes(pickled[: len(pickled) // 2])
    torch.save({"state_dict": Evil(models / EVIL_MARK)}, bad / "evil.pth")
    save_file(networks.tiny_vae(), bad / "vae.safetensors")
    half = networks.denoiser_shapes()[1]
    half = {key: shape for key, shape in half.items() if not key.startswith("up_blocks.3")}
    save_file(recipe_state_dict(networks.SEED, "motion_module", half), bad / "half_motion_module.safetensors")
    wide = networks.small_family(channels=(64, 64, 96, 96))
    networks.write_family(bad / "wide", wide)
    token64 = recipe_state_dict(networks.SEED, "reference_unet", networks.reference_shapes(token=64))
    save_file(token64, bad / "token64_reference.safetensors")
    for name in ("lacking/a", "twice/a", "twice/b"):
        target = models / "animate_anyone" / f"{name}.safetensors"
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(good / "pose_guider.safetensors", target)
    (models / "animate_anyone" / "lacking" / "broken.pth").write_bytes(b"")
    networks.write_clip_vision(models / "clip_vision" / "wide_clip", projection=64)
    save_file(networks.tiny_vae(latent_channels=16), models / "vae" / "wide_vae.safetensors")


def draw_person(path: Path) -> None:
    picture = Image.new("RGBA", (448, 672), (200, 205, 210, 255))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((184, 60, 264, 160), fill=(226, 186, 160, 255))
    draw.rounded_rectangle((160, 165, 288, 380), 30, fill=(40, 80, 160, 255))
    for left in (165, 235):
        draw.rounded_rectangle((left, 370, left + 48, 620), 20, fill=(50, 50, 60, 255))
    for left in (120, 292):
        draw.rounded_rectangle((left, 180, left + 36, 380), 16, fill=(40, 80, 160, 255))
    picture.save(path)


def draw_dance(path: Path, frames: int = 48, width: int = 256, height: int = 384) -> None:
    """A stick figure that swings its arms, on black, 30 frames a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for t in range(frames):
            picture = Image.new("RGB", (width, height))
            draw = ImageDraw.Draw(picture)
            neck, hip = (width / 2, height * 0.28), (width / 2, height * 0.58)
            swing = 0.9 * math.sin(2 * math.pi * t / 24)
            draw.line((neck, hip), fill=(255, 85, 0), width=8)
            for side, colour in ((-1, (85, 255, 0)), (1, (0, 170, 255))):
                hand = (neck[0] + side * 80 * math.cos(swing), neck[1] + 80 * math.sin(side * swing) + 40)
                draw.line((neck, hand), fill=colour, width=8)
                draw.line((hip, (hip[0] + side * 40 + 20 * swing, height * 0.92)), fill=(0, 85, 255), width=8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")))
        container.mux(stream.encode())


def write_media(inputs: Path) -> None:
    """The shared picture and pose clip, or drawn ones where the shared folder is not there."""
    inputs.mkdir(parents=True, exist_ok=True)
    if (MEDIA / "person-1.png").is_file():
        shutil.copyfile(MEDIA / "person-1.png", inputs / PICTURE)
    else:
        draw_person(inputs / PICTURE)
    if (MEDIA / "dance-2_pose.mp4").is_file():
        shutil.copyfile(MEDIA / "dance-2_pose.mp4", inputs / CLIP)
    else:
        draw_dance(inputs / CLIP)


def pose_frames(path: Path, count: int) -> list[Image.Image]:
    """The clip's first frames as the host decodes them (planar float, then 8 bits at Encode Pose)."""
    frames = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            values = np.clip(frame.to_ndarray(format="gbrpf32le"), 0, 1)
            frames.append(Image.fromarray((values * np.float32(255)).round().astype(np.uint8)))
            if len(frames) == count:
                break
    return frames
