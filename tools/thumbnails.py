"""The templates' thumbnails: python -m tools.thumbnails [NAME ...]

Runs each template's graph in a real ComfyUI and writes workflows/NAME.jpg: the picture, what drives it, and the clip, as an animated WebP.
The name is the only one that the template browser asks a node pack for; browsers tell the format by the content.
Graphs that need downloaded files run with the built-in model and a drawn character in the place of the loaders, and say so.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from animate_core.demo.character import HELD_OUT_SEED
from tests.host import graphs
from tests.host.host_server import HostError, HostServer
from tests.host.result import Graph

FOLDER = Path(__file__).resolve().parents[1] / "workflows"
LARGEST = 400_000
HEIGHT = 480
FPS = 12.0
STEPS, CFG = 12, 1.0  # the built-in model's
SECONDS = 900
# what stands in the place of nodes that need files: node class -> output -> node and output; the rest falls away
SWAPS: dict[str, dict[int, list[Any]]] = {
    "MarionetteLoadMotionUNet": {0: ["built_in", 0]},
    "MarionetteLoadReferenceNet": {0: ["built_in", 1]},
    "MarionetteLoadPoseGuider": {0: ["built_in", 2]},
    "MarionetteLoadClipVision": {0: ["built_in", 3]},
    "VAELoader": {0: ["built_in", 4]},
    "MarionetteLoadAnimateAnyone": {slot: ["built_in", slot] for slot in range(4)},
    "LoadImage": {0: ["who", 0]},
    "GetVideoComponents": {0: ["driver", 1]},
    "ImageFromBatch": {0: ["driver", 1]},
    "MarionetteExtractPose": {0: ["driver", 2]},
    "MediaPipeFaceLandmarker": {},
}
OUTPUTS = ("SaveImage", "SaveLatent", "SaveVideo", "SaveAnimatedWEBP", "PreviewImage")


@dataclass(frozen=True)
class Thumbnail:
    """twin: the API graph. who, motion, frames: whom it shows, what they do, how long. driver: another character whose motion it is.

    face: show the heads alone. shown: nodes and outputs of picture and driver, in a graph without Demo Character. clip: the node whose
    frames are the clip. poses: a node that takes one frame of the driver, which takes all of them here.
    """

    twin: str
    who: int = 0
    motion: str = "dance"
    frames: int = 16
    driver: int | None = None
    face: bool = False
    shown: tuple[tuple[str, int], tuple[str, int]] | None = None
    clip: str = "decode"
    poses: str = ""


THUMBNAILS = {
    "demo": Thumbnail("demo"),
    "retarget": Thumbnail("retarget", driver=5),
    "my_drawing": Thumbnail("my_drawing", shown=(("fit", 0), ("retarget", 1))),
    "new_background": Thumbnail("new_background", clip="composite"),
    "video_background": Thumbnail("video_background", clip="composite"),
    "locked_background": Thumbnail("locked_background", clip="lock"),
    "repose": Thumbnail("repose", poses="one"),
    "pieces": Thumbnail("pieces"),
    "basic": Thumbnail("basic", 1, "wave"),
    "ksampler": Thumbnail("ksampler", 2, "jump"),
    "long_clip": Thumbnail("long", 3, "walk", 24),
    "video": Thumbnail("video", 4, "dance", driver=6),
    "champ": Thumbnail("champ", 7, "squat"),
    "aniportrait": Thumbnail("aniportrait", 8, "wave", face=True),
    "face_reenactment": Thumbnail("face_reenactment", 9, "swing", face=True),
}


def built_in(about: Thumbnail, size: dict[str, int], period: float) -> Graph:
    """The template's graph with the built-in model's parts, and its pictures saved. size, period: Demo Character's defaults."""
    graph = graphs.load(about.twin)
    if about.poses:
        graph[about.poses]["inputs"] |= {"batch_index": 0, "length": about.frames}
    needs_files = any(node["class_type"] in SWAPS for node in graph.values())
    if needs_files:
        graph = swapped(graph, size)
        graphs.add(graph, "built_in", "MarionetteLoadDemoModel")
        for node, seed in (("who", about.who), ("driver", about.who if about.driver is None else about.driver)):
            graphs.add(graph, node, "MarionetteDemoCharacter", seed=HELD_OUT_SEED + seed, motion=about.motion, frames=about.frames,
                       period=period, **size)
    if about.shown:
        picture, driver = about.shown
        graph["retarget"]["inputs"]["overlay_frames"] = graph["moves"]["inputs"]["frames"]
    else:
        who, driven = ("who", "driver") if needs_files else ("character", "character" if about.driver is None else "driver")
        picture, driver = (who, 0), (driven, 1 if about.driver is None else 3)
    for name in [name for name, node in graph.items() if node["class_type"] in OUTPUTS]:
        del graph[name]
    graphs.add(graph, "picture_saved", "SaveImage", images=[*picture], filename_prefix="picture")
    graphs.add(graph, "driver_saved", "SaveImage", images=[*driver], filename_prefix="driver")
    return graphs.add(graph, "clip_saved", "SaveImage", images=[about.clip, 0], filename_prefix="clip")


def swapped(graph: Graph, size: dict[str, int]) -> Graph:
    """Without the nodes of SWAPS; skeletons guide where Champ's videos or a face's mesh would."""
    made: Graph = {}
    for name, node in graph.items():
        kind, inputs = node["class_type"], {}
        if kind in SWAPS:
            continue
        for key, value in node["inputs"].items():
            instead = SWAPS.get(graph[value[0]]["class_type"]) if isinstance(value, list) else None
            if instead is None:
                inputs[key] = value
            elif key == "reference_pose":
                inputs[key] = ["who", 5]
            elif key == "fps":
                inputs[key] = FPS
            elif value[1] in instead:
                inputs[key] = instead[value[1]]
        if kind == "MarionetteEncodeGuidance" or "face_landmarks" in node["inputs"]:
            kind = "MarionetteEncodePose"
            inputs = {"pose_guider": inputs["pose_guider"], "images": ["driver", 1], "fit": "crop"}
        if kind.startswith("MarionetteEncode"):
            inputs |= size
        if "cfg" in inputs:
            inputs |= {"steps": STEPS, "cfg": CFG}
        made[name] = {"class_type": kind, "inputs": inputs}
    return made


def head(pictures: np.ndarray) -> np.ndarray:
    """The upper middle, in the same proportions. `[F, H, W, 3]`"""
    height, width = pictures.shape[1:3]
    return pictures[:, height // 24:height // 24 + height // 2, width // 4:width // 4 + width // 2]


def compose(picture: np.ndarray, driver: np.ndarray, clip: np.ndarray, note: str) -> list[Image.Image]:
    """Frames: at the left the clip, at the right the picture over what drives it. Pictures `[F, H, W, 3]` uint8."""
    width = round(HEIGHT * clip.shape[2] / clip.shape[1])
    font = ImageFont.load_default(18)

    def scaled(values: np.ndarray, share: int) -> Image.Image:
        return Image.fromarray(values).resize((width // share, HEIGHT // share), Image.Resampling.BICUBIC)

    frames = []
    for index in range(len(clip)):
        frame = Image.new("RGB", (width // 2 + width, HEIGHT))
        frame.paste(scaled(clip[index], 1), (0, 0))
        frame.paste(scaled(picture[0], 2), (width, 0))
        frame.paste(scaled(driver[index], 2), (width, HEIGHT // 2))
        if note:
            corner = (width - 8, HEIGHT - 8)
            ImageDraw.Draw(frame).text(corner, note, (255, 255, 255), font, "rd", stroke_width=2, stroke_fill=(0, 0, 0))
        frames.append(frame)
    return frames


def write(path: Path, frames: Sequence[Image.Image], fps: float) -> int:
    """An endless animated WebP below LARGEST; gives its size in bytes."""
    for quality in (85, 70, 55, 40):
        part = path.with_suffix(".part")
        frames[0].save(part, "WEBP", save_all=True, append_images=frames[1:], duration=round(1000 / fps), loop=0, quality=quality, method=6)
        if part.stat().st_size < LARGEST:
            break
    part.replace(path)
    return path.stat().st_size


def make(host: HostServer, name: str) -> str:
    """Writes one thumbnail; gives a line about it. Raises HostError where the graph does not run."""
    about, started = THUMBNAILS[name], time.monotonic()
    inputs = host.object_info("MarionetteDemoCharacter")["input"]["required"]
    width, height, period = (inputs[key][1]["default"] for key in ("width", "height", "period"))
    graph = built_in(about, {"width": width, "height": height}, period)
    result = host.run(graph, SECONDS)
    if result.status != "success":
        raise HostError(f"{name}: {result.error_node}: {result.error}")
    picture, driver, clip = (result.images(f"{node}_saved") for node in ("picture", "driver", "clip"))
    if about.face:
        picture, driver, clip = head(picture), head(driver), head(clip)
    written = write(FOLDER / f"{name}.jpg", compose(picture, driver, clip, "built-in model" if "built_in" in graph else ""), FPS)
    return f"{name}.jpg: {len(clip)} frames, {written / 1000:.0f} kB, {time.monotonic() - started:.0f} s"


def main(names: Sequence[str]) -> int:
    unknown = set(names) - set(THUMBNAILS)
    if unknown:
        print(f"no template {', '.join(sorted(unknown))}; there are {', '.join(THUMBNAILS)}", file=sys.stderr)
        return 1
    device = [] if torch.cuda.is_available() else ["--cpu"]
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "")}
    with tempfile.TemporaryDirectory() as folder, HostServer(Path(folder), environment=threads, device=device) as host:
        for name in names or THUMBNAILS:
            print(make(host, name), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
