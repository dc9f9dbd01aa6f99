"""`python -m training`: see `--help`."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import logging
import re
import shutil
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from animate_core.checkpoints import CheckpointError
from animate_core.demo.clip import HEIGHT, WIDTH
from animate_core.demo.model import DEMO_FOLDER

from . import evaluate as evaluation
from .autoencoder import autoencoder_file, train_autoencoder
from .config import Config, read_config
from .image_encoder import train_image_encoder
from .loop import Plan, TrainingError, write_file, write_tensors
from .networks import FILES, AnimateNetworks
from .report import table, update_readme, write_report
from .stages import EXPORT, make_accelerator, prepare_demo, run_stage
from .videos import DataError
from .worlds import HOME, WORLDS

log = logging.getLogger("training")

HERE = Path(__file__).resolve().parent
DEMO_CONFIG = HERE / "demo.toml"
WORK = Path.home() / ".cache" / "marionette" / "training"
VAE, CLIP, DATA = evaluation.VAE_FILE, evaluation.CLIP_FILE, "data"
EPILOG = """commands:
  (none)     train a stage: --stage 1 (pictures with a reference), then --stage 2 (motion modules on clips)
  vae        train the built-in model's autoencoder on procedural characters
  clip       train the built-in model's image encoder
  prepare    draw and encode the characters that the built-in model's stages train on (the stages do it too, if it was not done)
  export     collect the trained files of --folder into --model
  evaluate   measure the model in --model on held-out characters, and on drawings of worlds that no training sees; writes
             evaluation.json and evaluation.webp into --output
  report     put the tables of --model's evaluation.json into its README.md

A training may be stopped and started again: it goes on from its last checkpoint.
Several GPUs: accelerate launch -m training --stage 1 --config FILE"""


def parse(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training", description="Trains Animate Anyone networks.", epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", nargs="?", choices=("stage", "vae", "clip", "prepare", "export", "evaluate", "report"), default="stage")
    parser.add_argument("--stage", type=int, choices=(1, 2), help="which stage to train")
    parser.add_argument("--config", type=Path, default=DEMO_CONFIG, help="settings (TOML); default: those of the built-in model")
    parser.add_argument("--folder", type=Path, default=WORK, help=f"folder for checkpoints, weights and contact sheets (default: {WORK})")
    parser.add_argument("--begin", type=Path, help="folder with the weights to start from; stage 2 uses those of stage 1 by default")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after this many minutes and save a checkpoint")
    parser.add_argument("--steps", type=int, help="total number of training steps, instead of the configuration's; evaluate: denoising "
                                                  "steps, instead of the family's")
    parser.add_argument("--model", type=Path, default=DEMO_FOLDER, help="folder of the finished model (export, evaluate, report)")
    parser.add_argument("--output", type=Path, help="evaluate: output folder (default: --folder)")
    parser.add_argument("--worlds", type=world_names, default=list(WORLDS), help=f"evaluate: some of {','.join(WORLDS)} (default: all)")
    parser.add_argument("--size", type=picture_size, default=(WIDTH, HEIGHT),
                        help=f"evaluate: width x height of the images, multiples of 8 (default: {WIDTH}x{HEIGHT})")
    parser.add_argument("--count", type=int, default=64, help="evaluate: characters per world")
    parser.add_argument("--frames", type=int, default=16, help="evaluate: frames per clip")
    parser.add_argument("--guidance", type=float, help="evaluate: guidance scale (default: the family's)")
    parser.add_argument("--no-ablations", action="store_true", help="evaluate: only the full model, no ablations")
    parser.add_argument("--vae-only", action="store_true", help="evaluate: only the autoencoder of --model, which needs no other file")
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args(words)
    if arguments.command == "stage" and arguments.stage is None:
        parser.error("choose --stage 1, --stage 2 or one of the commands")
    return arguments


def world_names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in WORLDS]:
        raise argparse.ArgumentTypeError(f"{', '.join(map(repr, unknown))}: there are {', '.join(WORLDS)}")
    if twice := [name for name in WORLDS if names.count(name) > 1]:
        raise argparse.ArgumentTypeError(f"{twice[0]} is named twice")
    return names


def picture_size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    width, height = map(int, match.groups()) if match else (0, 0)
    if min(width, height) < 64 or width % 8 or height % 8:
        raise argparse.ArgumentTypeError(f"{text!r}: WIDTHxHEIGHT is wanted, multiples of 8 from 64 up, for instance {WIDTH}x{HEIGHT}")
    return width, height


def train_stage(config: Config, arguments: argparse.Namespace, until: float) -> None:
    accelerator = make_accelerator(config.stage(arguments.stage))
    folder = arguments.folder / f"stage{arguments.stage}"
    begin = arguments.begin
    if arguments.stage == 2 and begin is None and not config.networks.denoiser:
        begin = arguments.folder / "stage1" / EXPORT
    sample = None
    if config.data.kind == "demo":
        # with several processes, the first one works alone and the others find its files
        with accelerator.main_process_first():
            prepare(config, arguments, (arguments.stage,))

        def sample(networks: AnimateNetworks, step: int) -> None:
            sheet(config, networks, arguments.folder, folder / f"sheet-{step:06d}.png", arguments.stage)

    run_stage(config, arguments.stage, accelerator, folder, encoded(arguments), sample=sample, begin=begin, until=until)


def sheet(config: Config, networks: AnimateNetworks, work: Path, path: Path, stage: int) -> None:
    """Some held-out characters by the networks as they are, in clips as long as the stage's."""
    files = evaluation.read_encoders(work)
    model = evaluation.Model(networks, *files)
    rows = []
    for i in range(6):
        clip = WORLDS[HOME](i, config.stage(stage).frames, WIDTH, HEIGHT, i)
        rows.append((clip, model.animate(clip.reference, clip.poses, steps=8, guidance=1.0, seed=i, motion=stage == 2)))
    evaluation.contact_sheet(rows).save(path)
    log.info("sheet: %s", path)


def prepare(config: Config, arguments: argparse.Namespace, stages: Sequence[int] = (1, 2)) -> None:
    for name, command in ((VAE, "vae"), (CLIP, "clip")):
        if not (arguments.folder / name).is_file():
            if not (arguments.model / name).is_file():
                raise TrainingError(f"{arguments.folder / name} not found; run `python -m training {command}` first")
            arguments.folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(arguments.model / name, arguments.folder / name)
    prepare_demo(config, stages, encoded(arguments), str(arguments.folder / VAE), str(arguments.folder / CLIP))


def encoded(arguments: argparse.Namespace) -> Path:
    """Where the encoded characters lie: another folder for other encoders, so that no latents of an older autoencoder are ever used."""
    digest = hashlib.sha256()
    for name in (VAE, CLIP):
        path = arguments.folder / name
        digest.update(path.read_bytes() if path.is_file() else b"")
    return arguments.folder / DATA / digest.hexdigest()[:8]


def export(arguments: argparse.Namespace) -> None:
    """The newest stage's networks with the two encoders. Raises TrainingError if something is not there."""
    stages = [arguments.folder / f"stage{n}" / EXPORT for n in (2, 1)]
    weights = next((folder for folder in stages if (folder / FILES["denoiser"]).is_file()), None)
    if weights is None:
        raise TrainingError(f"{arguments.folder} contains no trained stage")
    sources = [weights / name for name in FILES.values()] + [arguments.folder / VAE, arguments.folder / CLIP]
    for source in sources:
        if not source.is_file():
            raise TrainingError(f"{source} not found")
    arguments.model.mkdir(parents=True, exist_ok=True)
    for source in sources:
        if not write_file(arguments.model / source.name, partial(shutil.copyfile, source)):
            raise TrainingError(f"{arguments.model / source.name} could not be written")
    log.info("%s: %.1f MB", arguments.model, sum((arguments.model / s.name).stat().st_size for s in sources) / 1e6)


def evaluate(config: Config, arguments: argparse.Namespace) -> None:
    preset = evaluation.FAMILIES["Demo"]
    steps = preset.steps if arguments.steps is None else arguments.steps
    guidance = preset.guidance if arguments.guidance is None else arguments.guidance
    model = (evaluation.read_autoencoder(arguments.model) if arguments.vae_only else
             evaluation.load_model(arguments.model, config.networks.heads, config.networks.groups))
    width, height = arguments.size
    output = arguments.output or arguments.folder
    settings = {"characters": arguments.count, "frames": arguments.frames, "width": width, "height": height, "steps": steps,
                "guidance": guidance}
    figures, rows = {}, []
    for world in arguments.worlds:
        figures[world], shown = evaluation.evaluate(model, world, arguments.count, arguments.frames, width, height, steps=steps,
                                                    guidance=guidance, ablations=not arguments.no_ablations)
        rows += shown
        print(table(world, figures[world]), flush=True)
    write_report(figures, settings, output)
    evaluation.contact_sheet(rows).save(output / "evaluation.webp", quality=90)
    print(f"written: {output / 'evaluation.json'}, {output / 'evaluation.webp'}")


def main(words: list[str] | None = None) -> int:
    arguments = parse(words)
    logging.basicConfig(level=logging.DEBUG if arguments.verbose else logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    until = time.time() + 60 * arguments.minutes
    try:
        config = read_config(arguments.config)
        if arguments.command == "evaluate" and (arguments.count < 2 or arguments.frames < 2):
            raise TrainingError("--count and --frames must be at least 2, to compare characters and neighbouring frames")
        if arguments.command == "stage" and arguments.steps:
            name = f"stage{arguments.stage}"
            config = dataclasses.replace(config, **{name: dataclasses.replace(getattr(config, name), steps=arguments.steps)})
        if arguments.command == "stage":
            train_stage(config, arguments, until)
        elif arguments.command == "vae":
            plan = Plan(arguments.steps or 6000, 1e-3, warmup=100, decay=0.8, average=0.998)
            begin = arguments.begin / VAE if arguments.begin else None
            network, average = train_autoencoder(arguments.folder / "vae", plan, begin=begin, until=until)
            average.swap()
            write_tensors(arguments.folder / VAE, autoencoder_file(network))
        elif arguments.command == "clip":
            plan = Plan(arguments.steps or 600, 1e-3, warmup=50, decay=0.6, average=0.99)
            encoder, average = train_image_encoder(arguments.folder / "clip", plan, until=until)
            average.swap()
            tower = {k: v.detach().half().contiguous() for k, v in encoder.tower.state_dict().items() if v.dtype.is_floating_point}
            write_tensors(arguments.folder / CLIP, tower)
        elif arguments.command == "prepare":
            prepare(config, arguments)
        elif arguments.command == "export":
            export(arguments)
        elif arguments.command == "report":
            print(f"written: {update_readme(arguments.model)}")
        else:
            evaluate(config, arguments)
    except (TrainingError, DataError, CheckpointError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        log.info("stopped; the last checkpoint is kept")
        return 130
    return 0


if __name__ == "__main__":
    torch.set_float32_matmul_precision("high")
    sys.exit(main())
