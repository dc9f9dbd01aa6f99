"""Checkpoint files: reading every format, refusing bad ones, and the converter."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from animate_core import checkpoints
from animate_core.checkpoints import CheckpointError, Kind, identify
from animate_core.pose_guider import PoseGuider
from animate_core.unet import UNet, UNetConfig

State = dict[str, Tensor]
ROOT = Path(__file__).parents[2]


def motion_state(rows: int = 32) -> State:
    """The tensors of a small motion module."""
    config = UNetConfig(block_out_channels=(32, 64), layers_per_block=1, cross_attention_dim=24, motion=True, motion_max_frames=rows)
    return {key: t for key, t in UNet(config).state_dict().items() if "motion_modules" in key}


# ---- reading -----------------------------------------------------------------------------------------------------------------


def save(state: Any, path: Path) -> Path:
    if path.suffix in (".safetensors", ".sft"):
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=path.suffix != ".ckpt")  # .ckpt stands for the old form here
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".sft", ".pth", ".pt", ".bin", ".ckpt"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_formats(tmp_path: Path, suffix: str, dtype: torch.dtype) -> None:
    state = {"conv_in.weight": torch.arange(12.0, dtype=dtype).reshape(3, 4), "steps": torch.tensor(3)}
    read = checkpoints.read_state_dict(save(state, tmp_path / f"a{suffix}"))
    assert read.keys() == state.keys()
    assert all(torch.equal(read[key], t) and read[key].dtype is t.dtype for key, t in state.items())


def test_header_length_that_looks_like_a_pickle(tmp_path: Path) -> None:
    path = save({"a": torch.ones(3)}, tmp_path / "a.safetensors")
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    path.write_bytes((128).to_bytes(8, "little") + content[8:8 + length].ljust(128) + content[8 + length:])
    assert path.read_bytes()[0] == 0x80  # where a pickle has its protocol mark
    assert torch.equal(checkpoints.read_state_dict(path)["a"], torch.ones(3))


def test_files_under_the_other_format_s_name(tmp_path: Path) -> None:
    save_file({"a": torch.ones(3)}, tmp_path / "a.pth")
    assert torch.equal(checkpoints.read_state_dict(tmp_path / "a.pth")["a"], torch.ones(3))
    torch.save({"a": torch.ones(3)}, tmp_path / "b.safetensors")
    with pytest.raises(CheckpointError, match="b.safetensors is not a safetensors file: rename a PyTorch file to .pth"):
        checkpoints.read_state_dict(tmp_path / "b.safetensors")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.skipif(sys.platform != "linux", reason="looks at Linux's list of mapped files")
def test_files_are_mapped(tmp_path: Path, suffix: str) -> None:
    path = save({"a": torch.ones(100_000)}, tmp_path / f"mapped{suffix}")
    read = checkpoints.read_state_dict(path)
    assert any(line.rstrip().endswith(str(path)) for line in Path("/proc/self/maps").read_text().splitlines())
    assert float(read["a"].sum()) == 100_000


@pytest.mark.parametrize("wrap", [
    lambda s: {"state_dict": s, "epoch": 3, "animatediff_config": {"lr": 1e-4}},
    lambda s: {"module": s, "global_step": torch.tensor(5)},
    lambda s: {"state_dict": {"module." + k: t for k, t in s.items()}, "animatediff_config": "text"},
    lambda s: {"module." + k: t for k, t in s.items()},
    lambda s: {"model.diffusion_model." + k: t for k, t in s.items()},
    lambda s: s | {"epoch": 3, "name": "x", "betas": [1.0]},
])
def test_wrappers(tmp_path: Path, wrap: Callable[[State], Any]) -> None:
    state = motion_state()
    read = checkpoints.read_state_dict(save(wrap(state), tmp_path / "a.pth"))
    assert read.keys() == state.keys()
    assert identify(read).kind is Kind.MOTION_MODULE


def test_prefix_that_not_all_names_share_stays() -> None:
    state = {"module.a": torch.zeros(1), "b": torch.zeros(1)}
    assert checkpoints.clean_state_dict(state, "x").keys() == state.keys()


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="gone.pth does not exist: choose a .safetensors or .pth file"):
        checkpoints.read_state_dict(tmp_path / "gone.pth")
    with pytest.raises(CheckpointError, match="is a folder, not a checkpoint file"):
        checkpoints.read_state_dict(tmp_path)


@pytest.mark.parametrize(("content", "text"), [
    (b"", r"a\.\w+ is empty \(0 bytes\)"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
    (b"\n<!DOCTYPE html><html>", "is a web page"),
    (b"PK\x03\x04" + bytes(500), "damaged or incomplete|not a safetensors file"),
    (b"\x80\x02" + bytes(range(100)), "damaged or incomplete|not a safetensors file"),
])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_bad_content(tmp_path: Path, content: bytes, text: str, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=text):
        checkpoints.read_state_dict(path)


def test_text_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_text("learning_rate: 1e-5")
    with pytest.raises(CheckpointError, match="a.pth is not a checkpoint"):
        checkpoints.read_state_dict(tmp_path / "a.pth")
    (tmp_path / "a.safetensors").write_text("learning_rate: 1e-5")
    with pytest.raises(CheckpointError, match="a.safetensors is damaged or incomplete"):
        checkpoints.read_state_dict(tmp_path / "a.safetensors")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".ckpt"])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.999])
def test_truncated(tmp_path: Path, suffix: str, share: float) -> None:
    path = save({f"t{i}": torch.randn(100) for i in range(20)}, tmp_path / f"a{suffix}")
    content = path.read_bytes()
    path.write_bytes(content[:int(len(content) * share)])
    with pytest.raises(CheckpointError, match="^a.*(download it again|not a checkpoint)"):
        checkpoints.read_state_dict(path)


@pytest.mark.parametrize(("content", "text"), [
    (torch.zeros(3), "contains a Tensor instead of named tensors"), ([torch.zeros(3)], "contains a list"),
    ({"epoch": 3}, "contains no tensors"), ({"state_dict": {}}, "contains no tensors"),
    ({"state_dict": {"epoch": 1}}, "contains no tensors")])
def test_no_tensors(tmp_path: Path, content: Any, text: str) -> None:
    with pytest.raises(CheckpointError, match=f"a.pth {text}"):
        checkpoints.read_state_dict(save(content, tmp_path / "a.pth"))


def test_dictionary_that_holds_itself() -> None:
    endless: dict[str, Any] = {}
    endless["state_dict"] = endless
    with pytest.raises(CheckpointError, match="contains no tensors"):
        checkpoints.clean_state_dict(endless, "a.pth")


class Touch:
    """Unpickled, it makes a file: what a malicious checkpoint would do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("write", [
    lambda content, path: torch.save(content, path),
    lambda content, path: torch.save(content, path, _use_new_zipfile_serialization=False),
    lambda content, path: path.write_bytes(pickle.dumps(content, protocol=0)),
    lambda content, path: path.write_bytes(pickle.dumps(content, protocol=2)),
    lambda content, path: path.write_bytes(pickle.dumps(content, protocol=4)),
], ids=["zip", "legacy", "protocol0", "protocol2", "protocol4"])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_malicious_pickle(tmp_path: Path, write: Callable[[Any, Path], object]) -> None:
    mark, path = tmp_path / "mark", tmp_path / "evil.pth"
    write({"conv_in.weight": torch.zeros(1), "x": Touch(mark)}, path)
    with pytest.raises(CheckpointError, match="^evil.pth is (refused|damaged|not a checkpoint)") as caught:
        checkpoints.read_state_dict(path)
    assert not mark.exists()
    assert "weights_only" not in str(caught.value)


def test_refusal_says_why(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    torch.save({"x": Touch(mark)}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match=r"more than tensors \((posix|nt).mkdir\).*could run code. Choose a .safetensors"):
        checkpoints.read_state_dict(tmp_path / "evil.pth")
    torch.load(tmp_path / "evil.pth", weights_only=False)  # the file is what it claims to be
    assert mark.exists()


# ---- converter ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_convert(tmp_path: Path, dtype: torch.dtype) -> None:
    state = motion_state(128) | {"count": torch.tensor(3), "turned": torch.arange(6.0).reshape(2, 3).T}
    source = save(state, tmp_path / "m.pth")
    target = tmp_path / "m.safetensors"
    done = checkpoints.convert(source, target, dtype)
    written = load_file(target)
    assert written.keys() == state.keys()
    for key, tensor in written.items():
        wanted = torch.float32 if key.endswith(".pe") else torch.int64 if key == "count" else dtype
        assert tensor.dtype is wanted, key
        assert torch.equal(tensor, state[key].to(wanted)), key
    with safe_open(target, framework="pt") as file:
        assert file.metadata() == {"format": "pt", "source": "m.pth", "kind": "motion_module", "family": "MusePose"}
    assert (done.tensors, done.bytes_before, done.bytes_after) == (len(state), source.stat().st_size, target.stat().st_size)
    assert checkpoints.read_state_dict(target).keys() == state.keys()


def test_views_of_a_shared_buffer_shrink(tmp_path: Path) -> None:
    """As MusePose's files: every tensor a view of one buffer that also holds what other files hold."""
    buffer = torch.randn(2_000_000).half()
    state, at = {}, 1_500_000
    for key, tensor in PoseGuider((16, 32, 64, 128), device="meta").state_dict().items():
        state[key] = buffer[at:at + tensor.numel()].view(tensor.shape)
        at = (at + tensor.numel()) % 400_000
    source = save(state, tmp_path / "pose_guider.pth")
    assert source.stat().st_size > 4_000_000
    done = checkpoints.convert(source, tmp_path / "g.safetensors", torch.float16)
    assert 514_896 * 2 < done.bytes_after < 514_896 * 2 + 4096
    written = load_file(tmp_path / "g.safetensors")
    assert all(torch.equal(written[key], t) for key, t in state.items())
    guider_config, kept, info = checkpoints.prepare_pose_guider(written, "g.safetensors")
    assert info.family == "novita"
    PoseGuider(*guider_config).load_state_dict(kept, strict=True)


def test_target_is_complete_or_untouched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = save({"a": torch.randn(1000)}, tmp_path / "a.pth"), tmp_path / "out.safetensors"
    target.write_bytes(b"old")

    def full_disk(tensors: State, path: Path, metadata: dict[str, str]) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_file", full_disk)
        with pytest.raises(CheckpointError, match="out.safetensors could not be written .*No space left.*free disk space"):
            checkpoints.convert(source, target, torch.float16, force=True)
    assert target.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pth", "out.safetensors"]
    with pytest.raises(CheckpointError, match="out.safetensors already exists: choose another name, or use --force"):
        checkpoints.convert(source, target, torch.float16)
    assert target.read_bytes() == b"old"
    checkpoints.convert(source, target, torch.float16, force=True)
    assert load_file(target)["a"].dtype is torch.float16
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pth", "out.safetensors"]


def test_convert_refuses(tmp_path: Path) -> None:
    source = save({"big.weight": torch.tensor([1.0, 1e6])}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="big.weight has values outside the range of float16; convert to bf16"):
        checkpoints.convert(source, tmp_path / "b.safetensors", torch.float16)
    with pytest.raises(CheckpointError, match="is the source file"):
        checkpoints.convert(source, source, torch.bfloat16, force=True)
    with pytest.raises(CheckpointError, match="must end in .safetensors"):
        checkpoints.convert(source, tmp_path / "b.pth", torch.bfloat16)
    with pytest.raises(CheckpointError, match="is not a folder"):
        checkpoints.convert(source, tmp_path / "none" / "b.safetensors", torch.bfloat16)
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = save(motion_state(), tmp_path / "m.pth"), tmp_path / "m.safetensors"
    assert checkpoints.main(["convert", str(source), str(target), "--dtype", "fp16"]) == 0
    out = capsys.readouterr().out
    assert "kind motion_module, family Moore" in out
    assert f"{source.stat().st_size:,} -> {target.stat().st_size:,} bytes" in out
    assert checkpoints.main(["convert", str(source), str(target), "--dtype", "fp16"]) == 1
    assert "--force" in capsys.readouterr().err
    assert checkpoints.main(["inspect", str(target), str(tmp_path / "gone.pth"), str(source)]) == 1
    captured = capsys.readouterr()
    assert captured.out.count("a motion module (the original names, with the mid block, 32 positions)") == 2
    assert "float16, float32" in captured.out
    assert "gone.pth does not exist" in captured.err


def test_runs_as_a_module(tmp_path: Path) -> None:
    source = save(motion_state(), tmp_path / "m.pth")
    done = subprocess.run([sys.executable, "-m", "animate_core.checkpoints", "inspect", str(source)], cwd=ROOT, capture_output=True,
                          text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("m.pth: a motion module")
