"""The library against numbers that the reference implementation gave (golden/: a subset of the public set)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from animate_core.pose_guider import PoseGuider
from animate_core.unet import UNet, UNetConfig

HERE = Path(__file__).resolve().parent
GOLDEN = HERE / "golden"
FAMILY = HERE / "golden_family"


def check(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, HERE / "check.py", folder, *options], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def report() -> subprocess.CompletedProcess[str]:
    return check(GOLDEN)


def test_every_case_is_within_its_tolerance(report: subprocess.CompletedProcess[str]) -> None:
    assert report.returncode == 0, report.stdout + report.stderr
    assert report.stdout.splitlines()[-1] == "150 passed, 0 failed"


@pytest.mark.parametrize("part", [
    "pose_guider", "reference_features", "bank_pairing", "denoise: cfg bank_fp16", "denoise: plain_groupnorm", "denoise: odd_size_10x14",
    "denoise_intermediates", "temporal: max_len", "pipeline_short", "pipeline_long: stride2_duplicates",
    "pipeline_long: nocfg_sum_not_mean",
    "preprocess: portrait short", "context_windows: 756", "ddim_tables: integers of 84", "ddim_steps: epsilon (40 steps)",
    "draw_cases: draw_04_body.png", "detector_cases: detector_02.png 134 points", "detector_cases: detector_01.png share of pixels",
    "pose_align: two_people points", "pose_align: missing_points share of pixels", "pose_align: no_length scales",
])
def test_the_subset_covers(part: str, report: subprocess.CompletedProcess[str]) -> None:
    assert f"ok   {part}" in report.stdout


@pytest.mark.parametrize(("family", "count"), [("champ", 27), ("aniportrait", 20), ("moore_face", 19), ("musepose", 14)])
def test_the_rest_of_the_family(family: str, count: int) -> None:
    """A subset of each reference implementation's numbers; names and shapes of its guiders at the published size."""
    result = check(FAMILY / family)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.splitlines()[-1] == f"{count} passed, 0 failed"


def test_the_place_of_a_feature_counts(tmp_path: Path) -> None:
    """AniPortrait's features in each other's places are of the right shapes, and wrong."""
    shutil.copytree(FAMILY / "aniportrait", tmp_path / "golden")
    file = tmp_path / "golden/cases/denoise.safetensors"
    tensors = load_file(file)
    third, fourth = (f"odd_9x13/pose_features/f{i}" for i in (3, 4))
    tensors[third], tensors[fourth] = tensors[fourth], tensors[third]
    save_file(tensors, file)
    entries = [e for e in json.loads((FAMILY / "aniportrait/manifest.json").read_text()) if e.get("file") == "cases/denoise.safetensors"]
    (tmp_path / "golden/manifest.json").write_text(json.dumps(entries))
    result = check(tmp_path / "golden")
    assert result.returncode == 1 and "FAIL denoise: odd_9x13 bank_fp32" in result.stdout


def test_a_wrong_number_fails(tmp_path: Path) -> None:
    (tmp_path / "cases").mkdir()
    file = "cases/pose_guider.safetensors"
    tensors = load_file(GOLDEN / file)
    tensors["one_frame/features"][0, 0, 0, 0, 0] += 2e-4
    save_file(tensors, tmp_path / file)
    (tmp_path / "config.json").write_bytes((GOLDEN / "config.json").read_bytes())
    entries = [e for e in json.loads((GOLDEN / "manifest.json").read_text()) if e["file"] in ("config.json", file)]
    (tmp_path / "manifest.json").write_text(json.dumps(entries))
    result = check(tmp_path)
    assert result.returncode == 1
    assert "FAIL pose_guider: one_frame" in result.stdout
    assert result.stdout.splitlines()[-1] == "1 passed, 1 failed"


def test_a_shifted_joint_fails(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "dwpose", tmp_path / "dwpose")
    shutil.copyfile(GOLDEN / "config.json", tmp_path / "config.json")
    files = ("config.json", "dwpose/draw_cases.json", "dwpose/detector_cases.json")
    (tmp_path / "manifest.json").write_text(json.dumps([{"file": file} for file in files]))
    cases = json.loads((tmp_path / files[1]).read_text())
    cases[0]["candidate"][3][0] += 0.02
    (tmp_path / files[1]).write_text(json.dumps(cases))
    cases = json.loads((tmp_path / files[2]).read_text())
    cases[1]["converted"]["keypoints_134"][0][5][1] += 1e-4
    (tmp_path / files[2]).write_text(json.dumps(cases))
    result = check(tmp_path)
    assert result.returncode == 1
    failed = [line for line in result.stdout.splitlines() if line.startswith("FAIL")]
    assert len(failed) == 3 and "draw_00.png" in failed[0] and "draw_00_body.png" in failed[1] and "detector_01.png 134 points" in failed[2]


def test_a_moved_wrist_fails(tmp_path: Path) -> None:
    (tmp_path / "cases").mkdir()
    file = "cases/pose_align.safetensors"
    tensors = load_file(GOLDEN / file)
    tensors["two_people/frames"][0, 1, 95, 0] += 1e-4  # of the second person's left hand, which is taken for the first one's right
    save_file(tensors, tmp_path / file)
    for kept in ("config.json", "manifest.json"):
        shutil.copyfile(GOLDEN / kept, tmp_path / kept)
    result = check(tmp_path, "--only", "pose_align")
    assert result.returncode == 1
    failed = [line for line in result.stdout.splitlines() if line.startswith("FAIL")]
    assert len(failed) == 2 and "two_people points" in failed[0] and "two_people clip in pixels" in failed[1]


def test_cases_that_are_not_there_are_refused() -> None:
    result = check(GOLDEN, "--only", "pose_aline")
    assert result.returncode == 2 and "there is no case file pose_aline" in result.stdout


@pytest.mark.parametrize(("file", "count", "network"), [
    ("reference_unet.pth", 682, lambda: UNet(UNetConfig(out_channels=None), device="meta")),
    ("denoising_unet.pth", 686, lambda: UNet(UNetConfig(), device="meta")),
    ("motion_module.pth", 588, lambda: UNet(UNetConfig(motion=True), device="meta")),
    ("pose_guider.pth", 16, lambda: PoseGuider(device="meta")),
])
def test_names_and_shapes_are_the_published_ones(file: str, count: int, network: type[torch.nn.Module]) -> None:
    published = json.loads((HERE / "published_keys.json").read_text())[file]
    ours = {key: list(value.shape) for key, value in network().state_dict().items()}
    if file == "motion_module.pth":
        ours = {key: shape for key, shape in ours.items() if "motion_modules" in key}
    assert len(published) == count
    assert ours == published
