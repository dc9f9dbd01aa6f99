"""`python -m training` as a person runs it, from settings to figures; and what it says to bad settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image
from safetensors.torch import save_file

from animate_core.checkpoints import read_state_dict
from animate_core.demo.clip import HEIGHT, WIDTH
from animate_core.demo.model import demo_files
from training.__main__ import main
from training.config import read_config
from training.loop import TrainingError
from training.networks import small_networks

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "training" / "demo.toml"


@pytest.fixture(autouse=True)
def one_accelerator_a_process() -> None:
    """Trainings of several precisions never share a process but here; accelerate keeps the first one's."""
    AcceleratorState._reset_state(reset_partial_state=True)


def config_file(folder: Path, **changes: str) -> Path:
    """The built-in model's settings with some lines replaced, on small pictures."""
    lines = DEMO.read_text().splitlines()
    for line, other in {"sizes__0": '["64x96"]', **changes}.items():
        key, number = line.rsplit("__", 1)
        places = [i for i, text in enumerate(lines) if text.split(" = ")[0] == key]
        lines[places[int(number)]] = f"{key} = {other}"
    path = folder / "config.toml"
    path.write_text("\n".join(lines))
    return path


def test_help_names_everything() -> None:
    text = subprocess.run([sys.executable, "-m", "training", "--help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for word in ("--stage", "--config", "vae", "clip", "evaluate", "report", "--vae-only", "accelerate launch"):
        assert word in text


def test_from_settings_to_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both stages, resumed, exported and measured, a few steps each: begins with the shipped encoders."""
    config = config_file(tmp_path, pose_characters__0="50", clip_characters__0="50", pose_frames__0="2", clip_frames__0="3", steps__0="2",
                         steps__1="2", clips__0="2", frames__0="2", frames__1="3")
    words = ["--config", str(config), "--folder", str(tmp_path / "work")]
    assert main(["evaluate", *words, "--count", "1"]) == 1
    assert "at least 2" in capsys.readouterr().err
    assert main(["--stage", "2", *words]) == 1
    assert "stage 2 starts from the weights of stage 1" in capsys.readouterr().err
    assert main(["--stage", "1", *words]) == 0
    assert main(["--stage", "2", *words]) == 0
    assert main(["export", *words, "--model", str(tmp_path / "model")]) == 0
    assert sum(f.stat().st_size for f in (tmp_path / "model").iterdir()) <= 24e6
    capsys.readouterr()
    assert main(["evaluate", *words, "--model", str(tmp_path / "model"), "--count", "2", "--frames", "2", "--steps", "1",
                 "--worlds", "home,polygons", "--output", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert set(report["worlds"]) == {"home", "polygons"}
    for world, part in report["worlds"].items():
        assert set(part["figures"]) == {"ours", "still", "vae", "wrong reference", "wrong poses", "no motion modules"}
        assert all(word in printed for word in (world, *part["figures"]))
    assert (report["settings"]["width"], report["settings"]["height"], report["settings"]["steps"]) == (WIDTH, HEIGHT, 1)
    sheet = Image.open(tmp_path / "out" / "evaluation.webp")
    assert sheet.width == 13 * WIDTH and sheet.height > 4 * HEIGHT
    assert list((tmp_path / "work").glob("stage1/sheet-*.png"))


def test_the_autoencoder_alone_is_measured_from_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "vae.safetensors").write_bytes(demo_files().vae.read_bytes())
    words = ["evaluate", "--model", str(tmp_path), "--output", str(tmp_path), "--count", "2", "--frames", "2", "--worlds", "strokes"]
    assert main(words) == 1
    assert "denoising_unet.safetensors" in capsys.readouterr().err
    assert main([*words, "--vae-only", "--size", "72x64"]) == 0
    report = json.loads((tmp_path / "evaluation.json").read_text())
    assert set(report["worlds"]["strokes"]["figures"]) == {"still", "vae"}
    assert Image.open(tmp_path / "evaluation.webp").width == 13 * 72


@pytest.mark.parametrize(("words", "told"), [
    (["--size", "100x200"], "multiples of 8"), (["--size", "large"], "WIDTHxHEIGHT is wanted"), (["--size", "32x64"], "from 64 up"),
    (["--worlds", "home,mars"], "'mars': there are home, polygons, strokes"), (["--worlds", ""], "'': there are"),
    (["--worlds", "home,home"], "home is named twice")])
def test_bad_words_to_evaluate(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", *words])
    assert told in capsys.readouterr().err


def test_resuming_with_another_configuration_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = {"pose_characters__0": "50", "clip_characters__0": "50", "pose_frames__0": "2", "steps__0": "1", "clips__0": "1",
             "frames__0": "1"}
    words = ["--stage", "1", "--folder", str(tmp_path / "work"), "--config"]
    assert main([*words, str(config_file(tmp_path, **small))]) == 0
    assert main([*words, str(config_file(tmp_path, **small, lr__0="5e-3"))]) == 1
    assert "stage1.lr: 0.0015 then, 0.005 now" in capsys.readouterr().err


def test_two_processes_train_together(tmp_path: Path) -> None:
    """As on two GPUs: batches of their own, one set of weights. (On CPUs `accelerate launch` starts one process, torch's launcher two.)"""
    config = config_file(tmp_path, pose_characters__0="50", pose_frames__0="2", steps__0="2", clips__0="1", frames__0="2",
                         unconditional__0="0.5", precision__0='"no"')
    words = ["--nproc_per_node", "2", "-m", "training"]
    run = subprocess.run([sys.executable, "-m", "torch.distributed.run", *words, "--stage", "1", "--config", str(config), "--folder",
                          str(tmp_path / "work")], cwd=ROOT, capture_output=True, text=True, timeout=300,
                         env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"})
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stderr.count("weights written") == 1, "both processes wrote"
    alone = tmp_path / "alone"
    assert main(["--stage", "1", "--config", str(config), "--folder", str(alone)]) == 0
    one, two = (read_state_dict(folder / "stage1" / "weights" / "pose_guider.safetensors") for folder in (alone, tmp_path / "work"))
    assert any(not torch.equal(one[k], two[k]) for k in one), "the second process had no say"


def video(path: Path, frames: int, pose: bool) -> None:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=12)
        stream.width, stream.height, stream.pix_fmt = 64, 96, "yuv420p"
        for i in range(frames):
            picture = np.full((96, 64, 3), 0 if pose else 90, np.uint8)
            picture[10 + i:40 + i, 20:40] = (255, 0, 0) if pose else (20, 200, 60)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        file.mux(stream.encode())


def test_own_clips_from_files_to_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both stages on videos, beginning with a denoiser that has no motion modules, and no pose guider: as one begins with SD 1.5."""
    clips = tmp_path / "clips"
    clips.mkdir()
    for name in ("a", "b"):
        video(clips / f"{name}.mp4", 12, pose=False)
        video(clips / f"{name}_pose.mp4", 12, pose=True)
    torch.manual_seed(3)
    start = small_networks((16, 24), (8, 8, 8, 16), 64, 2, 2)
    bare = {k: v for k, v in start.denoiser.state_dict().items() if ".motion_modules." not in k}
    save_file(bare, tmp_path / "unet.safetensors")
    save_file(start.reference.state_dict(), tmp_path / "reference.safetensors")
    encoders = ROOT / "models" / "demo"
    path = tmp_path / "c.toml"
    stage = 'steps = 2\nclips = 2\nframes = {}\nprecision = "no"\nlr = 1e-2\noptimizer = "muon"\naccumulate = 2\n'
    path.write_text(f"[networks]\ndenoiser = '{tmp_path / 'unet.safetensors'}'\nreference = '{tmp_path / 'reference.safetensors'}'\n"
                    f"guider_widths = [8, 8, 8, 16]\nheads = 2\ngroups = 2\nvae = '{encoders / 'vae.safetensors'}'\n"
                    f"clip = '{encoders / 'clip_vision.safetensors'}'\n[data]\nsource = '{clips}'\nwidth = 64\nheight = 96\nstride = 2\n"
                    f"workers = 0\nreference_margin = 4\n[stage1]\n{stage.format(1)}[stage2]\n{stage.format(4)}checkpointing = true\n")
    words = ["--config", str(path), "--folder", str(tmp_path / "work")]
    assert main(["--stage", "1", *words]) == 0, capsys.readouterr().err
    first = read_state_dict(tmp_path / "work" / "stage1" / "weights" / "denoising_unet.safetensors")
    assert any(not torch.equal(first[k], v.half()) for k, v in bare.items()), "stage 1 moved nothing"
    assert main(["--stage", "2", "--begin", str(tmp_path / "work" / "stage1" / "weights"), *words]) == 0, capsys.readouterr().err
    second = read_state_dict(tmp_path / "work" / "stage2" / "weights" / "denoising_unet.safetensors")
    moved = {k for k in first if not torch.equal(first[k], second[k])}
    assert moved and all(".motion_modules." in k for k in moved)
    for number, columns in ((1, 1), (2, 4)):
        with Image.open(tmp_path / "work" / f"stage{number}" / "sheet-000002.png") as sheet:
            assert sheet.size == (64 * columns, 96 * 4)  # reference, poses, truth, ours
    (clips / "b_pose.mp4").unlink()
    assert main(["--stage", "1", "--config", str(path), "--folder", str(tmp_path / "other")]) == 1
    assert "b.mp4" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "message"), [
    ("[stage1]\nstep = 5", "stage1.step is unknown; choose from: steps"),
    ("[stage1]\nsteps = 'many'", "stage1.steps must be of type int; got 'many'"),
    ("[stage1]\noptimizer = 'sgd'", "stage1.optimizer: 'sgd' is unknown; choose from: 'adamw'"),
    ("[data]\nsizes = ['100x96']\nkind = 'demo'\n[networks]\nwidths = [64, 64]", "'100x96'; must be like 192x288"),
    ("[data]\nwidth = 100\nkind = 'demo'", "multiples of 8"),
    ("stage1 = 3", "a table"),
    ("[networks]\nwidths = 64", "a list of numbers"),
    ("[networks]\nwidths = [64, 64]", "data.source"),
    ("[networks]\nwidths = [64, 64]\n[data]\nsource = 'x'", "networks.vae and networks.clip"),
    ("[data]\nkind = 'demo'", "set files"),
    ("[stage1]\nunconditional = 2.0\n[networks]\nwidths=[64]\n[data]\nkind='demo'\nwidth = 128\nheight = 192", "must be between 0 and 1"),
    ("[stage1\n", "not a TOML file"),
])
def test_bad_settings_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(TrainingError, match=message.replace("[", r"\[")) as error:
        read_config(path)
    assert str(path) in str(error.value)


def test_missing_settings_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--stage", "1", "--config", str(tmp_path / "none.toml")]) == 1
    assert "none.toml cannot be read" in capsys.readouterr().err


def test_folder_without_videos_is_refused_before_any_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "videos").mkdir()
    path = tmp_path / "c.toml"
    path.write_text(f"[networks]\nwidths = [64, 64]\ntoken = 64\nheads = 2\ngroups = 8\nvae = '{ROOT / 'models/demo/vae.safetensors'}'\n"
                    f"clip = '{ROOT / 'models/demo/clip_vision.safetensors'}'\n[data]\nsource = '{tmp_path / 'videos'}'\n")
    assert main(["--stage", "1", "--config", str(path), "--folder", str(tmp_path / "work")]) == 1
    assert "videos" in capsys.readouterr().err
