"""Small networks under the names of the published files, as the workflows in workflows/ expect them."""

from __future__ import annotations

import shutil
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from animate_core.guiders import GUIDANCE_TYPES
from tests.core import onnx_models
from tests.host import networks

FAMILY = "Moore"
CLIP_FILE = "sd-image-variations/pytorch_model.bin"
VAE_FILE = "vae-ft-mse-840000-ema-pruned.safetensors"
PICTURE, CLIP = "character.png", "pose.mp4"
DRIVER = "driver.mp4"
PORTRAIT, FACE = "portrait.png", "face.mp4"
GUIDANCE_CLIPS = tuple(f"{kind}.mp4" for kind in GUIDANCE_TYPES)
# folder -> family, as the notes name the folders
FAMILY_FOLDERS = {"Champ": "Champ", "AniPortrait": "AniPortrait", "Moore-face": "Moore face"}
DETECTOR, POSE_MODEL = "yolox_l.onnx", "dw-ll_ucoco_384.onnx"
FACE_LANDMARKER = "mediapipe_face_fp32.safetensors"


def write_published(models: Path) -> None:
    """A whole small model in the folders and formats that the notes in the workflows tell people to get."""
    folder = models / "animate_anyone" / FAMILY
    folder.mkdir(parents=True, exist_ok=True)
    for name, weights in networks.small_family().items():
        torch.save(dict(weights), folder / f"{name}.pth")
    # as one file without config.json, which is what the workflows name
    scratch = models / "scratch"
    networks.write_clip_vision(scratch)
    encoder = load_file(scratch / "model.safetensors")
    shutil.rmtree(scratch)
    for path in (models / "clip_vision" / CLIP_FILE, models / "vae" / VAE_FILE):
        path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(encoder, models / "clip_vision" / CLIP_FILE)
    save_file(networks.tiny_vae(), models / "vae" / VAE_FILE)


def write_families(models: Path) -> None:
    """The files of Champ, AniPortrait and face reenactment, small, and ComfyUI's file for MediaPipe."""
    for name, family in FAMILY_FOLDERS.items():
        folder = models / "animate_anyone" / name
        folder.mkdir(parents=True, exist_ok=True)
        for module, weights in networks.of_a_family(family).items():
            torch.save(dict(weights), folder / f"{module}.pth")
    networks.write_face_landmarker(models / "detection" / FACE_LANDMARKER)


def write_people(models: Path, inputs: Path, count: int) -> None:
    """Pose models under the published names that see coloured people alone, pictures of one, and videos of one who walks."""
    onnx_models.write_detector(models / DETECTOR, batch=1)
    onnx_models.write_pose_model(models / POSE_MODEL)
    frames = []
    for x in range(30, 30 + 6 * count, 6):
        frame = np.full((320, 320, 3), 40, np.uint8)
        onnx_models.draw_person(frame, (x, 60, x + 80, 260), np.array([[x + 20, 90], [x + 55, 120], [x + 30, 230]]), (255, 0, 0))
        frames.append(frame)
    for name in (PICTURE, PORTRAIT):
        Image.fromarray(frames[0]).save(inputs / name)
    with av.open(str(inputs / DRIVER), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 320, 320, "yuv444p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    shutil.copyfile(inputs / DRIVER, inputs / FACE)
