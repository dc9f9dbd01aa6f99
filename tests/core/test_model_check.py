"""`python -m animate_core.models check`: what the files in a folder are, and what the models lack, told by tensors and not by names."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from animate_core import model_check, models
from animate_core.demo.model import DEMO_FOLDER
from animate_core.model_files import every_file, file_set
from tests.host import networks

Family = dict[str, dict[str, Tensor]]


def clip_weights(width: int = 768) -> dict[str, Tensor]:
    """What tells a CLIP image encoder and the width of its token."""
    return {"vision_model.embeddings.patch_embedding.weight": torch.zeros(8, 3, 14, 14),
            "vision_model.encoder.layers.0.self_attn.q_proj.weight": torch.zeros(8, 8), "visual_projection.weight": torch.zeros(width, 8)}


def vae_weights(channels: int = 4) -> dict[str, Tensor]:
    return {"encoder.conv_in.weight": torch.zeros(8, 3, 3, 3), "decoder.conv_in.weight": torch.zeros(8, channels, 3, 3)}


def write(path: Path, weights: Mapping[str, Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file({key: tensor.clone().contiguous() for key, tensor in weights.items()}, path)
    else:
        torch.save(dict(weights), path)


@pytest.fixture(scope="module")
def small() -> Family:
    return networks.small_family()


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A models folder with a VAE and an image encoder."""
    folder = tmp_path / "models"
    write(folder / "vae" / "my vae.safetensors", vae_weights())
    write(folder / "clip_vision" / "encoder.bin", clip_weights())
    return folder


def checked(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    status = models.main(["check", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out + captured.err


def test_a_whole_model_under_any_names(base: Path, capsys: pytest.CaptureFixture[str], small: Family) -> None:
    folder = base / "animate_anyone" / "mine"
    for i, weights in enumerate(small.values()):
        write(folder / f"{i}.{'pth' if i % 2 else 'safetensors'}", weights)
    status, text = checked(capsys, "--models", base)
    assert status == 0
    assert f"{folder}: Moore (licence: Apache-2.0), complete" in text and "does not look here" not in text
    for what in ("a ReferenceNet", "a denoising UNet", "a motion module", "a pose guider", "a CLIP vision model", "a VAE"):
        assert what in text
    assert "UNUSABLE" not in text


@pytest.mark.parametrize(("family", "folder"), [("Champ", "whatever"), ("AniPortrait", "whatever"), ("Moore face", "whatever")])
def test_families_are_told_by_their_guiders(base: Path, capsys: pytest.CaptureFixture[str], family: str, folder: str) -> None:
    for name, weights in networks.of_a_family(family).items():
        write(base / "animate_anyone" / folder / f"{name}.pth", weights)
    for file in (*file_set("DWPose").files, *file_set("MediaPipe face").files):
        path = base / file.folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as sparse:
            sparse.truncate(file.size)
    status, text = checked(capsys, "--models", base)
    assert status == 0, text
    assert f"{base / 'animate_anyone' / folder}: {family} (licence: {file_set(family).licence}), complete" in text
    assert "several files" not in text


def test_musepose_is_told_by_its_positions(base: Path, capsys: pytest.CaptureFixture[str], small: Family) -> None:
    family = dict(small)
    family["motion_module"] = {key: torch.zeros(1, 128, t.shape[2]) if key.endswith(".pe") else t
                               for key, t in family["motion_module"].items()}
    del family["reference_unet"]
    networks.write_family(base / "animate_anyone" / "x", family)
    _, text = checked(capsys, "--models", base)
    assert "x: MusePose (licence: non-commercial research only" in text
    lacking = file_set("MusePose").files[2]
    assert f"ReferenceNet: reference_unet.pth (3.44 GB), {lacking.url}\n        into {base / lacking.folder}" in text


def test_what_is_missing_is_named_with_its_address(tmp_path: Path, capsys: pytest.CaptureFixture[str], small: Family) -> None:
    base = tmp_path / "models"
    networks.write_family(base / "animate_anyone" / "novita", {"pose_guider": small["pose_guider"]})
    status, text = checked(capsys, "--models", base)
    assert status == 0 and "novita: novita (licence: Apache-2.0), lacks:" in text
    for found in (file_set("novita"), file_set("image encoder"), file_set("VAE")):
        for file in found.files:
            assert (f"{file.name} (" in text.split("lacks:")[1]) == (file.name != "pose_guider.pth"), file.name
            assert file.name == "pose_guider.pth" or file.url in text


def test_shared_files_in_the_hosts_folders_count(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], small: Family) -> None:
    networks.write_family(tmp_path / "old pack", small)
    encoder, vae = file_set("image encoder").files[0], file_set("VAE").files[0]
    for file in (encoder, vae):
        (base / file.folder).mkdir(parents=True, exist_ok=True)
        (base / file.folder / file.name).touch()
    status, text = checked(capsys, tmp_path / "old pack", "--models", base)
    assert status == 0 and f"{tmp_path / 'old pack'}: Moore (licence: Apache-2.0), complete" in text
    assert f"move these files to {base / 'animate_anyone' / 'Moore'}" in text
    (base / vae.folder / vae.name).unlink()
    assert "lacks:\n    VAE: vae-ft-mse" in checked(capsys, tmp_path / "old pack", "--models", base)[1]


def test_files_that_cannot_be_used(base: Path, capsys: pytest.CaptureFixture[str], small: Family) -> None:
    folder = base / "animate_anyone"
    family = small
    whole = family["reference_unet"]
    write(folder / "half.safetensors", dict(list(whole.items())[: len(whole) // 2]))
    (folder / "empty.pth").touch()
    (folder / "page.bin").write_bytes(b"<!DOCTYPE html><html>")
    write(folder / "cut.pth", family["pose_guider"])
    (folder / "cut.pth").write_bytes((folder / "cut.pth").read_bytes()[:-2000])
    (folder / ".hidden.pth.part").write_bytes(b"x")
    (folder / ".hidden.pth").write_bytes(b"x")
    status, text = checked(capsys, "--models", base)
    assert status == 1
    assert text.count("UNUSABLE") == 4 and "hidden" not in text
    for name, word in (("half.safetensors", "missing"), ("empty.pth", "0 bytes"), ("page.bin", "web page"), ("cut.pth", "damaged")):
        told = text.split(str(folder / name))[1].split("\n")[1]
        assert "UNUSABLE" in told and word in told, told


def test_other_peoples_files_are_left_in_peace(base: Path, capsys: pytest.CaptureFixture[str], small: Family) -> None:
    write(base / "clip_vision" / "sigclip.safetensors", {"vision_model.embeddings.patch_embedding.weight": torch.zeros(8, 3, 14, 14)})
    write(base / "clip_vision" / "wide.safetensors", clip_weights(1024))
    write(base / "vae" / "flux.safetensors", vae_weights(16))
    write(base / "animate_anyone" / "animatediff.safetensors", small["motion_module"])
    networks.lora_file(base / "animate_anyone" / "lora.safetensors")
    status, text = checked(capsys, "--models", base)
    assert status == 0, text
    assert "tokens of 1024 numbers; 768 are needed" in text and "a VAE of another model" in text
    assert text.count("not used by Animate Anyone") == 2
    assert "lacks" not in text and "complete" not in text


def test_two_models_in_a_folder(base: Path, capsys: pytest.CaptureFixture[str], small: Family) -> None:
    networks.write_family(base / "animate_anyone" / "both", small)
    write(base / "animate_anyone" / "both" / "second.pth", small["reference_unet"])
    _, text = checked(capsys, "--models", base)
    assert "several files can be the ReferenceNet (reference_unet" in text and "second.pth" in text


def test_published_checksums(base: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, small: Family) -> None:
    networks.write_family(base / "animate_anyone" / "Moore", small)
    path = next((base / "animate_anyone" / "Moore").glob("pose_guider*"))
    content = path.read_bytes()
    found, file = next((s, f) for s, f in every_file() if f.choice == "Moore/pose_guider.pth")
    known = replace(file, path=path.name, sha256=hashlib.sha256(content).hexdigest())
    exact = replace(known, size=len(content), exact=True)

    monkeypatch.setattr(model_check, "every_file", lambda: [(found, known)])
    assert "the published Moore/" in checked(capsys, "--models", base, "--checksum")[1]
    assert "the published Moore/" not in checked(capsys, "--models", base)[1], "its size is rounded, so nothing was compared"

    monkeypatch.setattr(model_check, "every_file", lambda: [(found, exact)])
    assert "the published Moore/" in checked(capsys, "--models", base)[1]
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    status, text = checked(capsys, "--models", base, "--checksum")
    assert status == 1 and "another SHA-256: download it again" in text


def test_the_built_in_model_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    status, text = checked(capsys, DEMO_FOLDER)
    assert status == 0 and text.count("a part of the built-in model") == len(list(DEMO_FOLDER.glob("*.safetensors"))) > 3
    assert "lacks" not in text


def test_an_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, text = checked(capsys, tmp_path)
    assert status == 0 and f"No model files in {tmp_path}" in text and "`list`" in text


def test_list_says_what_is_there(base: Path, capsys: pytest.CaptureFixture[str], small: Family) -> None:
    networks.write_family(base / "animate_anyone" / "Champ", {"motion_module": small["motion_module"]})
    assert models.main(["list", "--models", str(base)]) == 0
    lines = capsys.readouterr().out.splitlines()
    state = {line.split()[-1] + "/" + line.split()[0]: line.split()[3] for line in lines if " models/" in line and "unknown" not in line}
    assert state.pop("models/animate_anyone/Champ/motion_module.pth") == "there"
    assert set(state.values()) == {"missing"}
    for _, file in every_file():
        assert not file.url or any(line.strip() == file.url for line in lines)
