"""Checkpoints: a training that was cut off goes on as if it had not been; nothing good is ever lost."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from training.loop import LAST, Plan, TrainingError, rate, train, write_tensors
from training.optim import MuonWithAdamW

SETTINGS = {"lr": 0.01, "batch": 4}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 1, 1))


def run(folder: Path, steps: int, settings: dict[str, float] = SETTINGS, **plan: float) -> dict[str, Tensor]:
    net = network()
    optimizer = MuonWithAdamW(net.parameters(), 0.01)

    def loss(n: int) -> tuple[Tensor, dict[str, float]]:
        x = torch.randn(4, 1, 6, 6, generator=torch.Generator().manual_seed(n))
        return (net(x) - x.roll(1, -1)).square().mean(), {}

    average = train(net, optimizer, loss, Plan(steps, 0.01, warmup=3, **plan), folder, dict(settings))  # type: ignore[arg-type]
    return {**net.state_dict(), **{f"average.{k}": v for k, v in average.weights.items()}}


def test_resumed_training_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", 20)
    run(tmp_path / "parts", 9)
    parts = run(tmp_path / "parts", 20)
    assert whole.keys() == parts.keys()
    for key, value in whole.items():
        assert torch.equal(value, parts[key]), key
    assert not torch.equal(whole["0.weight"], network().state_dict()["0.weight"])


def test_accumulation_equals_one_large_batch(tmp_path: Path) -> None:
    net, other = network(), network()
    data = torch.randn(8, 1, 6, 6, generator=torch.Generator().manual_seed(5))
    train(net, torch.optim.SGD(net.parameters(), 0.1), lambda n: (net(data[4 * n:4 * n + 4]).square().mean(), {}),
          Plan(1, 0.1, clip=1e9, accumulate=2), tmp_path / "a", {})
    train(other, torch.optim.SGD(other.parameters(), 0.1), lambda n: (other(data).square().mean(), {}), Plan(1, 0.1, clip=1e9),
          tmp_path / "b", {})
    for a, b in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-7)


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    run(tmp_path, 2)
    with pytest.raises(TrainingError, match=r"lr: 0.01 then, 0.02 now"):
        run(tmp_path, 4, {"lr": 0.02, "batch": 4})


def test_broken_checkpoint_is_refused(tmp_path: Path) -> None:
    run(tmp_path, 2)
    path = tmp_path / LAST
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(TrainingError, match="cannot be read as a checkpoint"):
        run(tmp_path, 4)


@contextmanager
def small_files(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: the operating system refuses as it does on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_full_disk_keeps_the_last_checkpoint_and_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(tmp_path, 5)
    before = (tmp_path / LAST).read_bytes()
    with small_files(2000):
        trained = run(tmp_path, 12)
    assert (tmp_path / LAST).read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [LAST], "a half-written file was left"
    assert "could not save" in caplog.text
    assert all(torch.equal(v, trained[k]) for k, v in run(tmp_path, 12).items()), "from the good checkpoint the same end is reached"


def test_full_disk_leaves_no_half_weights(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    write_tensors(path, {"a": torch.ones(3)})
    with small_files(2000), pytest.raises(TrainingError, match="could not be written"):
        write_tensors(path, {"a": torch.zeros(5000)})
    assert torch.equal(load_file(path)["a"], torch.ones(3))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_sheet_that_cannot_be_saved_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def sheet(step: int) -> None:
        (tmp_path / "nowhere" / "sheet.png").write_bytes(b"x")

    net = network()
    train(net, torch.optim.SGD(net.parameters(), 0.1), lambda n: (net(torch.ones(1, 1, 3, 3)).square().mean(), {}), Plan(2, 0.1), tmp_path,
          {},
          sample=sheet)
    assert "no sheet at step 2" in caplog.text
    assert torch.load(tmp_path / LAST, weights_only=True)["step"] == 2


def test_loss_that_is_not_finite_stops(tmp_path: Path) -> None:
    net = network()
    with pytest.raises(TrainingError, match="NaN or infinite at step 0"):
        train(net, torch.optim.SGD(net.parameters(), 0.1), lambda n: (net(torch.ones(1, 1, 3, 3)).mean() * float("nan"), {}), Plan(3, 0.1),
              tmp_path, {})


def test_learning_rate_rises_holds_and_falls() -> None:
    plan = Plan(100, 1.0, warmup=10, decay=0.5)
    assert [rate(plan, s) for s in (0, 9, 49, 75, 99)] == pytest.approx([0.1, 1.0, 1.0, 0.5, 0.02])
