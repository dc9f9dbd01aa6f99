"""The loop that every training shares: steps, learning rate, averaging, progress, samples, checkpoints, resuming."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from .optim import Average

log = logging.getLogger(__name__)

LAST = "last.pt"


class TrainingError(RuntimeError):
    """What a person can mend: bad settings, bad data, a checkpoint that does not fit."""


@dataclass
class Plan:
    """steps: in all. warmup: steps of rising learning rate. decay: share of the steps at whose end the rate has fallen to nothing.

    accumulate: batches of one step. log_every, save_every and sample_every are seconds.
    """

    steps: int
    lr: float
    warmup: int = 1
    decay: float = 0.0
    clip: float = 1.0
    average: float = 0.999
    accumulate: int = 1
    log_every: float = 20
    save_every: float = 180
    sample_every: float = 600


def rate(plan: Plan, step: int) -> float:
    """Share of the learning rate at a step: rising linearly, constant, then falling linearly."""
    rising = min(1.0, (step + 1) / max(1, plan.warmup))
    left = (plan.steps - step) / max(1e-9, plan.decay * plan.steps) if plan.decay else 1.0
    return min(rising, left, 1.0)


def write_file(path: Path, write: Callable[[Path], None]) -> bool:
    """Replaces a file as a whole or not at all. On failure (disk full) the old one stays, and False comes back."""
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(partial)
        os.replace(partial, path)
    except (OSError, RuntimeError, SafetensorError) as error:
        log.error("could not save %s (%s); the previous file is kept", path, error)
        try:
            partial.unlink(missing_ok=True)
        except OSError:
            log.debug("and could not remove %s", partial)
        return False
    return True


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """A safetensors file, as a whole or not at all. Raises TrainingError if it cannot be written."""
    if not write_file(path, lambda partial: save_file(tensors, partial)):
        raise TrainingError(f"{path}: could not be written; free disk space and run the command again: the checkpoint is kept")


def read_checkpoint(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint made with the same settings. Raises TrainingError, naming each difference."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        old = content["settings"]
    except Exception as error:
        raise TrainingError(f"{path}: cannot be read as a checkpoint ({error}); delete it to start again") from error
    different = [f"{k}: {old.get(k)!r} then, {settings.get(k)!r} now" for k in sorted({*old, *settings}) if old.get(k) != settings.get(k)]
    if different:
        raise TrainingError(f"{path} was made with different settings ({'; '.join(different)}); use the same settings, or another --folder")
    return content


def clock(seconds: float) -> str:
    return f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02d}:{int(seconds) % 60:02d}"


def train(network: nn.Module, optimizer: torch.optim.Optimizer, loss: Callable[[int], tuple[Tensor, dict[str, float]]], plan: Plan,
          folder: Path, settings: dict[str, Any], *, sample: Callable[[int], None] | None = None, main: bool = True,
          backward: Callable[[Tensor], None] = torch.Tensor.backward,
          clip: Callable[[Any, float], Tensor | None] = nn.utils.clip_grad_norm_, until: float = math.inf) -> Average:
    """Trains `network` and returns its averaged weights (`Average.swap` puts them in).

    loss(n) -> the loss of the n-th batch, and figures to report. settings: what a resumed run must share. sample(step): called now and
    then with the averaged weights in place. main: whether this process writes. backward, clip: accelerate's, where it scales.
    until: `time.time()` at which to save and stop.
    Raises TrainingError for a checkpoint that does not fit, or a loss that is not finite.
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    average = Average(network, plan.average)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LAST
    step = 0
    if path.exists():
        content = read_checkpoint(path, settings)
        network.load_state_dict(content["network"])
        optimizer.load_state_dict(content["optimizer"])
        average.weights = {k: v.to(average.weights[k].device) for k, v in content["average"].items()}
        step = content["step"]
        log.info("resuming %s at step %d of %d", path, step, plan.steps)

    def save() -> None:
        if main:
            content = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "average": average.weights, "step": step,
                       "settings": settings}
            write_file(path, lambda partial: torch.save(content, partial))

    begun = logged = saved = sampled = time.monotonic()
    first, sums, count = step, {}, 0  # type: int, dict[str, float], int
    while step < plan.steps and time.time() < until:
        for group in optimizer.param_groups:
            group["lr"] = plan.lr * rate(plan, step)
        optimizer.zero_grad(set_to_none=True)
        for part in range(plan.accumulate):
            value, figures = loss(step * plan.accumulate + part)
            if not torch.isfinite(value):
                raise TrainingError(f"the loss is NaN or infinite at step {step}; the last checkpoint is kept. Lower the learning rate")
            backward(value / plan.accumulate)
            for key, number in {"loss": float(value.detach()), **figures}.items():
                sums[key] = sums.get(key, 0.0) + number / plan.accumulate
        norm = clip(parameters, plan.clip)
        optimizer.step()
        average.update(step)
        step += 1
        sums["gradient"] = sums.get("gradient", 0.0) + (0.0 if norm is None else float(norm))
        count += 1
        now = time.monotonic()
        if main and (now - logged > plan.log_every or step == plan.steps):
            each = (now - begun) / (step - first)
            report = ", ".join(f"{k} {v / count:.4f}" for k, v in sums.items())
            log.info("step %d of %d, %s, %.2f s a step, %s left", step, plan.steps, report, each, clock(each * (plan.steps - step)))
            sums, count, logged = {}, 0, now
        if now - saved > plan.save_every:
            save()
            saved = time.monotonic()
        if main and sample and (now - sampled > plan.sample_every or step == plan.steps):
            average.swap()
            network.eval()
            try:
                with torch.no_grad():
                    sample(step)
            except OSError as error:
                log.error("no sheet at step %d (%s); training goes on", step, error)
            network.train()
            average.swap()
            sampled = time.monotonic()
    save()
    return average
