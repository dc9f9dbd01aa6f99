"""A clip through the pack in a real ComfyUI: `python dev.py demo`.

Without options: the workflow `demo`, in which the pack's built-in model animates a drawn character.
With --picture FILE: the workflow `my_drawing`: a drawing of your own dances on its own sheet.
With --models DIR: a picture and a pose video through the published networks.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
import webbrowser
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageOps

from animate_core.checkpoints import CheckpointError, Kind, identify, read_state_dict
from animate_core.demo.character import HELD_OUT_SEED, LAST_SEED, check_seed
from animate_core.demo.fitting import fit_drawing
from animate_core.demo.motion import MOTIONS
from animate_core.demo.paper import DrawingError
from tests.host import equipment, graphs, published
from tests.host.host_server import PACK, HostError, HostServer
from tests.host.result import Graph, Result

BASE = Path.home() / ".cache" / "marionette" / "demo"
WEIGHTS = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
# with the built-in model the workflow's own settings count
FULL = {"frames": 24, "width": 512, "height": 768, "steps": 25, "seed": 42}
RESULTS = {"mp4": "demo.mp4", "webp": "demo.webp", "beside_webp": "demo_side_by_side.webp"}
SHEET_COLUMNS, SHEET_WIDTH = 6, 256
HOUR = 3600.0


class DemoError(Exception):
    """Something that the person at the keyboard can mend; shown without a traceback."""


def say(text: str) -> None:
    print(f"[demo] {text}", flush=True)


def parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dev.py demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, help=f"who is drawn, 0 to {LAST_SEED} (from {HELD_OUT_SEED} up: never trained on); with "
                        "--picture: the motion's style; with --models: the noise")
    parser.add_argument("--motion", choices=MOTIONS, help="what the drawn character does")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="a drawing of your own, on paper or cut out: a figure that stands and "
                        "faces us")
    parser.add_argument("--models", type=Path, metavar="DIR", help="folder with the published files: denoising UNet, motion module, "
                        "ReferenceNet, pose guider, image encoder and VAE, told apart by what is in them")
    parser.add_argument("--image", type=Path, help="with --models: picture of the character")
    parser.add_argument("--pose", type=Path, help="with --models: pose video, skeletons on black")
    parser.add_argument("--frames", type=int, help="16, with --models 24")
    parser.add_argument("--width", type=int, help="128, with --models 512")
    parser.add_argument("--height", type=int, help="192, with --models 768")
    parser.add_argument("--steps", type=int, help="the workflow's, with --models 25")
    parser.add_argument("--output", type=Path, default=Path("output"), metavar="DIR", help="where the results go (./output)")
    parser.add_argument("--open", action="store_true", help="leave the server running and open its page with the same workflow")
    arguments = parser.parse_args(words)
    check(arguments)
    return arguments


def check(arguments: argparse.Namespace) -> None:
    """Raises DemoError for options that cannot be."""
    for name in ("frames", "steps"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise DemoError(f"--{name} must be at least 1; got {value}")
    if arguments.models is None:
        if arguments.image or arguments.pose:
            raise DemoError("--image and --pose need --models DIR; for the built-in model, set a drawing by --picture FILE")
        try:
            check_seed(HELD_OUT_SEED if arguments.seed is None else arguments.seed)
        except ValueError as error:
            raise DemoError(f"--{error}") from error
        if arguments.picture is not None:
            check_picture(arguments.picture)
        return
    if arguments.picture is not None:
        raise DemoError("--picture is for the built-in model; with --models, set the image by --image FILE")
    if arguments.motion:
        raise DemoError("--motion is for the built-in model; with --models, set a pose video: --pose FILE")
    for name in ("image", "pose", "models"):
        path = getattr(arguments, name)
        if path is not None and not path.exists():
            raise DemoError(f"--{name}: {path} not found")


def check_picture(path: Path) -> None:
    """Raises DemoError for a file in which no figure is found, before the host starts."""
    if not path.is_file():
        raise DemoError(f"--picture: {path} is a folder; give an image file" if path.is_dir() else f"--picture: {path} not found")
    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened).convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DemoError(f"--picture: {path} cannot be read as an image ({error})") from error
    pixels = np.asarray(picture, np.float32) / 255
    try:
        report = fit_drawing(pixels[..., :3], 1 - pixels[..., 3]).report
    except DrawingError as error:
        raise DemoError(f"--picture: {path}: {error}") from error
    for line in report.splitlines():
        say(line)


# ------------------------------------------------------------------------------------------------------ built-in model

def given(arguments: argparse.Namespace, *names: str) -> dict[str, int | str]:
    """The options that were stated."""
    return {name: value for name in names if (value := getattr(arguments, name)) is not None}


def drawing_graph(arguments: argparse.Namespace, name: str) -> Graph:
    """The workflow `my_drawing` on a file of the host's input folder, with everything saved that the results need."""
    size = given(arguments, "width", "height")
    motion = given(arguments, "seed", "motion", "frames")
    if arguments.frames:
        motion["period"] = max(4, arguments.frames)
    graph = graphs.load("my_drawing", moves=motion, fit={**size, "image": ["load", 0], "mask": ["load", 1]}, reference=size, pose=size,
                        sampler=given(arguments, "steps"))
    graphs.add(graph, "load", "LoadImage", image=name)
    graph["retarget"]["inputs"]["overlay_frames"] = graph["moves"]["inputs"]["frames"]
    for node, source in (("reference_picture", ["fit", 0]), ("pose_pictures", ["retarget", 1])):
        graphs.add(graph, node, "SaveImage", images=source, filename_prefix=f"{node}/{node}")
    return add_clip(graph, graph["webp"]["inputs"]["fps"], "place")



def built_in_graph(arguments: argparse.Namespace) -> Graph:
    """The workflow `demo`, with everything saved that the results need."""
    size = given(arguments, "width", "height")
    graph = graphs.load("demo", character={**given(arguments, "seed", "motion", "frames"), **size}, reference=size, pose=size,
                        sampler=given(arguments, "steps"))
    fps = graph["webp"]["inputs"]["fps"]
    for name, source in (("reference_picture", ["character", 0]), ("pose_pictures", ["character", 1]), ("truth", ["character", 3])):
        graphs.add(graph, name, "SaveImage", images=source, filename_prefix=f"{name}/{name}")
    graphs.add(graph, "beside_webp", "SaveAnimatedWEBP", **{**graph["webp"]["inputs"], "images": ["beside", 0]})
    return add_clip(graph, fps)


def add_clip(graph: Graph, fps: object, source: str = "decode", **video: object) -> Graph:
    """The frames of a node as pictures and as mp4; in place."""
    graphs.add(graph, "frames", "SaveImage", images=[source, 0], filename_prefix="frames/frame")
    graphs.add(graph, "clip", "CreateVideo", images=[source, 0], fps=fps, **video)
    return graphs.add(graph, "mp4", "SaveVideo", video=["clip", 0], filename_prefix="demo", format="mp4", codec="auto")


# ---------------------------------------------------------------------------------------------------- published models


def link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.symlink_to(source.resolve())
    except OSError as error:
        raise DemoError(f"could not link {source} to {target} ({error}); on Windows, turn on Developer Mode") from error


def weight_files(folder: Path) -> list[Path]:
    """A model's files, in folders of folders too. Raises DemoError for two of one name."""
    found: dict[str, Path] = {}
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in WEIGHTS):
        if path.name in found:
            raise DemoError(f"--models: {found[path.name]} and {path} have the same name; set a folder with the files of one model")
        found[path.name] = path
    return list(found.values())


def find_vae(folder: Path) -> Path:
    """The VAE among a folder's files, by its tensors."""
    for path in weight_files(folder):
        try:
            if identify(read_state_dict(path)).kind is Kind.VAE:
                return path
        except CheckpointError as error:
            say(str(error))
    raise DemoError(f"--models: {folder} contains no VAE; put vae-ft-mse-840000-ema-pruned.safetensors beside the other files")


def link_models(models: Path, given: Path) -> None:
    """Under the names that the workflows in workflows/ expect, so that the page can run them too."""
    for path in weight_files(given):
        link(path, models / "animate_anyone" / published.FAMILY / path.name)
    link(find_vae(given), models / "vae" / published.VAE_FILE)


def write_inputs(inputs: Path, image: Path | None, pose: Path | None) -> None:
    """The given picture and clip, else the shared ones, else drawn ones."""
    inputs.mkdir(parents=True)
    drawn = inputs.parent / "drawn"
    equipment.write_media(drawn)
    source = image or drawn / equipment.PICTURE
    try:
        Image.open(source).convert("RGB").save(inputs / published.PICTURE)
    except OSError as error:
        raise DemoError(f"--image: {source} is not a readable image ({error})") from error
    shutil.copyfile(pose or drawn / equipment.CLIP, inputs / published.CLIP)
    shutil.rmtree(drawn)


def published_graph(arguments: argparse.Namespace) -> Graph:
    """The workflow `basic` with Load Animate Anyone in the place of the single loaders, and everything saved that the results need."""
    values = {name: default if (value := getattr(arguments, name)) is None else value for name, default in FULL.items()}
    size = {"width": values["width"], "height": values["height"]}
    graph = graphs.load(
        "basic", picture={"image": published.PICTURE}, video={"file": published.CLIP}, vae={"vae_name": published.VAE_FILE},
        # enough for any clip of 12 frames a second or more; the exact number is cut from it
        trimmed={"duration": max(1.0, values["frames"] / 12)}, poses={"length": values["frames"]}, reference=size, pose=size,
        sampler={"steps": values["steps"], "seed": values["seed"]})
    slots = {"model": 0, "reference_net": 1, "pose_guider": 2, "clip_vision": 3}
    for name in ("save", *slots):
        del graph[name]
    for about in graph.values():
        for key, value in about["inputs"].items():
            if isinstance(value, list) and value[0] in slots:
                about["inputs"][key] = ["all", slots[value[0]]]
    graphs.add(graph, "all", "MarionetteLoadAnimateAnyone", folder=published.FAMILY, family="auto", weight_dtype="auto")
    graphs.add(graph, "reference_picture", "SaveImage", images=["picture", 0], filename_prefix="reference/reference")
    graphs.add(graph, "pose_pictures", "SaveImage", images=["poses", 0], filename_prefix="poses/pose")
    graphs.add(graph, "webp", "SaveAnimatedWEBP", images=["decode", 0], filename_prefix="demo", fps=["components", 2], lossless=False,
               quality=85, method="default")
    return add_clip(graph, ["components", 2], audio=["components", 1])


# ----------------------------------------------------------------------------------------------------------------- run


def run_graph(host: HostServer, graph: Graph) -> Result:
    """Runs it with progress on the way. Raises DemoError."""
    queued = host.submit(graph)
    if not isinstance(queued, str):
        raise DemoError(f"ComfyUI refused the graph: {queued.error.strip()}")
    told: set[str] = set()
    started = time.monotonic()
    while not host.events.finished(queued) and host.process.poll() is None:
        for event in host.events.of(queued):
            text = ""
            if event.kind == "executing" and event.data.get("node") in graph:
                text = graph[event.data["node"]]["class_type"].removeprefix("Marionette")
            elif event.kind == "progress" and event.data.get("node") == "sampler":
                text = f"  sampling: {event.data['value']} of {event.data['max']} windows"
            if text and text not in told:
                told.add(text)
                say(f"{event.time - started:6.1f} s  {text}")
        time.sleep(0.2)
    result = host.wait(graph, queued, HOUR)
    if result.status != "success":
        raise DemoError(f"{result.error_node}: {result.error}")
    say(f"{time.monotonic() - started:6.1f} s  done: {len(result.images('frames'))} frames")
    return result


def save_results(host: HostServer, result: Result, output: Path) -> list[Path]:
    """Copies the clip out of the host's folder, draws the contact sheet, and gives their paths."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        made = []
        for node, name in RESULTS.items():
            if node in result.outputs:
                entry = result.outputs[node]["images"][0]
                made.append(output / name)
                shutil.copyfile(host.output / entry["subfolder"] / entry["filename"], made[-1])
        rows = {"pose": "pose_pictures", "truth": "truth", "frame": "frames"}
        made.append(output / "demo.png")
        contact_sheet(result.images("reference_picture")[0], {label: result.images(node) for label, node in rows.items()
                                                              if node in result.outputs}).save(made[-1])
    except OSError as error:
        raise DemoError(f"--output: {output} could not be written ({error})") from error
    return made


def contact_sheet(reference: np.ndarray, rows: dict[str, np.ndarray]) -> Image.Image:
    """The reference at the left; some moments of the clip as columns, one row for each clip. Pictures `[H, W, 3]` uint8."""
    last = len(next(iter(rows.values()))) - 1
    count = min(SHEET_COLUMNS, last + 1)
    chosen = [round(i * last / max(1, count - 1)) for i in range(count)]
    height = max(round(SHEET_WIDTH * pictures.shape[1] / pictures.shape[2]) for pictures in (reference[None], *rows.values()))
    gap, line = 8, 20
    sheet = Image.new("RGB", ((count + 1) * (SHEET_WIDTH + gap) + gap, len(rows) * (height + line + gap)), (24, 24, 24))
    draw = ImageDraw.Draw(sheet)

    def place(picture: np.ndarray, column: int, row: int, label: str) -> None:
        x, y = gap + column * (SHEET_WIDTH + gap), row * (height + line + gap)
        draw.text((x, y + 4), label, fill=(230, 230, 230))
        size = (SHEET_WIDTH, round(SHEET_WIDTH * picture.shape[0] / picture.shape[1]))
        sheet.paste(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC), (x, y + line))

    place(reference, 0, 0, "reference")
    for row, (label, pictures) in enumerate(rows.items()):
        for column, i in enumerate(chosen, 1):
            place(pictures[i], column, row, f"{label} {i + 1}")
    return sheet


def demo(arguments: argparse.Namespace) -> None:
    shutil.rmtree(BASE, ignore_errors=True)
    if arguments.picture is not None:
        name = f"drawing{arguments.picture.suffix}"
        (BASE / "input").mkdir(parents=True)
        shutil.copyfile(arguments.picture, BASE / "input" / name)
        workflow, graph = "my_drawing", drawing_graph(arguments, name)
    elif arguments.models is None:
        workflow, graph = "demo", built_in_graph(arguments)
    else:
        workflow, graph = "basic", published_graph(arguments)
        link_models(BASE / "models", arguments.models)
        write_inputs(BASE / "input", arguments.image, arguments.pose)
    say("starting ComfyUI with the pack in its custom_nodes folder")
    device = [] if torch.cuda.is_available() else ["--cpu"]
    # no value: as many threads as the machine has, unless the person says otherwise
    with HostServer(BASE, environment={"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "")}, device=device) as host:
        for path in save_results(host, run_graph(host, graph), arguments.output):
            say(f"saved {path.resolve()}")
        if arguments.open:
            url = f"{host.url}/?template={workflow}&source={PACK}"
            webbrowser.open(url)
            say(f"the page: {url}   (Ctrl+C ends it)")
            while host.process.poll() is None:
                time.sleep(0.5)


def main(words: Sequence[str]) -> int:
    try:
        demo(parse(words))
    except (DemoError, HostError) as problem:
        print(f"[demo] error: {problem}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
