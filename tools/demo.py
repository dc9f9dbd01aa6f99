"""A picture and a pose video through the pack in a real ComfyUI: `python dev.py demo`.

Without --models it makes small networks that nobody trained: every node, file format and setting of the way from picture to clip is
real, the look of the frames is not.
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

import torch
from PIL import Image, ImageDraw

from animate_core.checkpoints import CheckpointError, Kind, identify, read_state_dict
from tests.host import equipment, graphs, published
from tests.host.host_server import PACK, HostError, HostServer
from tests.host.result import Graph

BASE = Path.home() / ".cache" / "marionette" / "demo"
WEIGHTS = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
UNTRAINED = "made by networks that were not trained: they show that the path works, not what a clip looks like"
SHEET_COLUMNS, SHEET_WIDTH = 6, 160
HOUR = 3600.0


class DemoError(Exception):
    """Something that the person at the keyboard can mend; shown without a traceback."""


def say(text: str) -> None:
    print(f"[demo] {text}", flush=True)


def parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dev.py demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, help="picture of the character")
    parser.add_argument("--pose", type=Path, help="pose video: skeletons on black")
    parser.add_argument("--models", type=Path, metavar="DIR", help="folder with the published files: denoising UNet, motion module, "
                        "ReferenceNet, pose guider, image encoder and VAE, told apart by what is in them")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--width", type=int, help="512 with --models, else 128")
    parser.add_argument("--height", type=int, help="768 with --models, else 192")
    parser.add_argument("--steps", type=int, help="25 with --models, else 6")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--output", type=Path, default=Path("output"), metavar="DIR", help="where the results go (./output)")
    parser.add_argument("--open", action="store_true", help="leave the server running and open its page with the same workflow")
    arguments = parser.parse_args(words)
    for name, small, full in (("width", 128, 512), ("height", 192, 768), ("steps", 6, 25)):
        if getattr(arguments, name) is None:
            setattr(arguments, name, full if arguments.models else small)
    for name in ("image", "pose", "models"):
        path = getattr(arguments, name)
        if path is not None and not path.exists():
            raise DemoError(f"--{name}: there is no {path}")
    return arguments


# --------------------------------------------------------------------------------------------------------------- files


def link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.symlink_to(source.resolve(), target_is_directory=source.is_dir())
    except OSError as error:
        raise DemoError(f"could not link {source} to {target} ({error}); on Windows, turn on Developer Mode") from error


def find_vae(folder: Path) -> Path:
    """The VAE among a folder's files, by its tensors."""
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in WEIGHTS):
        try:
            if identify(read_state_dict(path)).kind is Kind.VAE:
                return path
        except CheckpointError as error:
            say(str(error))
    raise DemoError(f"--models: {folder} holds no VAE; put vae-ft-mse-840000-ema-pruned.safetensors beside the other files")


def write_models(models: Path, given: Path | None) -> None:
    """Under the names that the workflows in workflows/ expect, so that the page can run them too."""
    if given is None:
        published.write_published(models)
        return
    link(given, models / "animate_anyone" / published.FAMILY)
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
        raise DemoError(f"--image: {source} is no picture that can be read ({error})") from error
    shutil.copyfile(pose or drawn / equipment.CLIP, inputs / published.CLIP)
    shutil.rmtree(drawn)


# --------------------------------------------------------------------------------------------------------------- graph


def build_graph(arguments: argparse.Namespace) -> Graph:
    """The basic graph, with everything saved that the results need."""
    size = {"width": arguments.width, "height": arguments.height}
    graph = graphs.load(
        "basic", picture={"image": published.PICTURE}, video={"file": published.CLIP}, vae={"vae_name": published.VAE_FILE},
        # enough for any clip of 12 frames a second or more; the exact number is cut from it
        trimmed={"duration": max(1.0, arguments.frames / 12)}, poses={"length": arguments.frames}, reference=size, pose=size,
        sampler={"steps": arguments.steps, "seed": arguments.seed}, frames={"filename_prefix": "frames/frame"})
    del graph["save"]
    if arguments.models is None:
        folder = published.FAMILY
        graphs.change(graph, reference_net={"file": f"{folder}/reference_unet.pth"}, pose_guider={"file": f"{folder}/pose_guider.pth"},
                      model={"denoiser": f"{folder}/denoising_unet.pth", "motion": f"{folder}/motion_module.pth"},
                      clip_vision={"file": published.CLIP_FILE})
    else:
        load_by_content(graph)
    graphs.add(graph, "pose_pictures", "SaveImage", images=["poses", 0], filename_prefix="poses/pose")
    graphs.add(graph, "clip", "CreateVideo", images=["decode", 0], fps=["components", 2], audio=["components", 1])
    graphs.add(graph, "mp4", "SaveVideo", video=["clip", 0], filename_prefix="demo", format="mp4", codec="auto")
    graphs.add(graph, "webp", "SaveAnimatedWEBP", images=["decode", 0], filename_prefix="demo", fps=["components", 2], lossless=False,
               quality=85, method="default")
    return graph


def load_by_content(graph: Graph) -> None:
    """Load Animate Anyone in the place of the single loaders; in place."""
    slots = {"model": 0, "reference_net": 1, "pose_guider": 2, "clip_vision": 3}
    for name in slots:
        del graph[name]
    for about in graph.values():
        for key, value in about["inputs"].items():
            if isinstance(value, list) and value[0] in slots:
                about["inputs"][key] = ["all", slots[value[0]]]
    graphs.add(graph, "all", "MarionetteLoadAnimateAnyone", folder=published.FAMILY, family="auto", weight_dtype="auto")


def run_graph(host: HostServer, graph: Graph, output: Path) -> list[Path]:
    """Runs it with progress on the way; copies its results to `output` and gives their paths. Raises DemoError."""
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
    output.mkdir(parents=True, exist_ok=True)
    made = []
    for node in ("mp4", "webp"):
        entry = result.outputs[node]["images"][0]
        made.append(output / f"demo.{node}")
        shutil.copyfile(host.output / entry["subfolder"] / entry["filename"], made[-1])
    made.append(output / "demo.png")
    reference = host.input / published.PICTURE
    note = "frames, by untrained networks" if "all" not in graph else "frames"
    contact_sheet(Image.open(reference).convert("RGB"), result.images("pose_pictures"), result.images("frames"), note).save(made[-1])
    say(f"{time.monotonic() - started:6.1f} s  done: {len(result.images('frames'))} frames")
    return made


def contact_sheet(reference: Image.Image, poses: Sequence, frames: Sequence, note: str) -> Image.Image:
    """The reference at the left; some poses, and under each its frame. poses, frames: `[H, W, 3]` uint8 each."""
    count = min(SHEET_COLUMNS, len(frames))
    chosen = [round(i * (len(frames) - 1) / max(1, count - 1)) for i in range(count)]
    height = round(SHEET_WIDTH * frames[0].shape[0] / frames[0].shape[1])
    gap, line = 8, 20
    sheet = Image.new("RGB", ((count + 1) * (SHEET_WIDTH + gap) + gap, 2 * (height + line + gap)), (24, 24, 24))
    draw = ImageDraw.Draw(sheet)

    def place(picture: Image.Image, column: int, row: int, label: str) -> None:
        x, y = gap + column * (SHEET_WIDTH + gap), row * (height + line + gap)
        draw.text((x, y + 4), label, fill=(230, 230, 230))
        picture = picture.copy()
        picture.thumbnail((SHEET_WIDTH, height))
        sheet.paste(picture, (x, y + line))

    place(reference, 0, 0, "reference")
    for column, i in enumerate(chosen, 1):
        place(Image.fromarray(poses[i]).resize((SHEET_WIDTH, round(SHEET_WIDTH * poses[i].shape[0] / poses[i].shape[1]))), column, 0,
              f"pose {i + 1}")
        place(Image.fromarray(frames[i]).resize((SHEET_WIDTH, height)), column, 1, note if column == 1 else "")
    return sheet


# ----------------------------------------------------------------------------------------------------------------- run


def demo(arguments: argparse.Namespace) -> None:
    if arguments.models is None:
        say(f"no --models: the frames will be {UNTRAINED}.")
    shutil.rmtree(BASE, ignore_errors=True)
    write_models(BASE / "models", arguments.models)
    write_inputs(BASE / "input", arguments.image, arguments.pose)
    graph = build_graph(arguments)
    say("starting ComfyUI with the pack in its custom_nodes folder")
    device = [] if torch.cuda.is_available() else ["--cpu"]
    # no value: as many threads as the machine has, unless the person says otherwise
    with HostServer(BASE, environment={"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "")}, device=device) as host:
        for path in run_graph(host, graph, arguments.output):
            say(f"saved {path}")
        if arguments.models is None:
            say(f"The frames are {UNTRAINED}. For a clip to look at, give --models DIR with the published files (README.md).")
        if arguments.open:
            url = f"{host.url}/?template=basic&source={PACK}"
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
