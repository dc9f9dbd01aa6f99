"""Given frames and regions, runs that are stopped and go on, and frames by themselves, in both sampling paths."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from tests.device.scenarios import Bench, distance, scenario, told

ALL = ("cpu", "cuda", "dynamic", "mps")
PATHS = ("multi_frame", "k_sampler")
STEPS = 4
RESUMED = ("DDIM (published)", "DPM++ 2M", "UniPC", "Euler a")


class StoppedError(Exception):
    pass


def given(bench: Bench) -> dict[str, Tensor]:
    """A LATENT whose first two frames are given, and half of each of the others."""
    samples = torch.randn(bench.frames, 4, bench.size // 8, bench.size // 8, generator=torch.Generator().manual_seed(3))
    mask = torch.ones(bench.frames, 1, bench.size, bench.size)
    mask[:2], mask[:, :, :bench.size // 2] = 0, 0
    return {"samples": samples, "noise_mask": mask}


def sampled(bench: Bench, path: str, latent: dict[str, Tensor] | None = None, model: Any = None, motion: bool = True,
            **options: Any) -> Tensor:
    model, windows = bench.exact_model if model is None else model, bench.host.windows(4, 1)
    if path == "multi_frame":
        return bench.multi_frame(model, windows=windows, steps=STEPS, latent=latent, motion=motion, **options)
    values = bench.host.node_outputs("MarionetteAnimateConditioning", model, *bench.pieces, 0, windows, motion)
    about = SimpleNamespace(**dict(zip(("model", "positive", "negative", "latent"), values, strict=True)))
    if latent is not None:
        about.latent = latent
    return bench.host.k_sample(about, steps=STEPS)


def known(bench: Bench, path: str) -> dict[str, Any]:
    bench.host.forget()
    latent = given(bench)
    result = told(sampled(bench, path, latent))
    held = torch.zeros_like(latent["samples"], dtype=torch.bool)
    held[:2], held[:, :, :bench.size // 16] = True, True
    off = (result["samples"] - latent["samples"])[held].abs().max()
    ones = {**latent, "noise_mask": torch.ones_like(latent["noise_mask"])}
    plain = sampled(bench, path)
    free = distance(result["samples"][~held], plain.cpu()[~held])
    return {**result, "off": float(off), "free": free, "ones": distance(sampled(bench, path, ones), plain),
            "left": bench.host.left_on_card()}


def gradual(bench: Bench) -> dict[str, Any]:
    """Differential Diffusion, whose mask changes from step to step, in both paths."""
    latent = given(bench)
    latent["noise_mask"] = torch.linspace(0, 1, bench.size).expand_as(latent["noise_mask"]).contiguous()
    model = bench.host.node("DifferentialDiffusion", bench.exact_model, 1.0)
    one, other = (sampled(bench, path, latent, model) for path in PATHS)
    return {"between paths": distance(one, other), "from plain": distance(one, sampled(bench, "multi_frame", latent))}


def resumed(bench: Bench, scheduler: str, accelerated: bool) -> dict[str, Any]:
    """A run that is stopped before its last step and goes on; how many pictures it computes then, and what is left of the file."""
    bench.host.forget()
    model = bench.exact_model
    if accelerated:
        model = bench.host.node("MarionetteAccelerate", model, "custom", 2, 1, 2, 0.0, 1.0, 1.0)
    latent = given(bench)

    def run() -> Tensor:
        return sampled(bench, "multi_frame", latent, model, scheduler=scheduler, checkpoint_every=1)

    with bench.rows(model) as rows:
        whole = run()
    first, calls = model.model.diffusion_model.conv_in, []

    def stop(module: Any, inputs: Any) -> None:
        calls.append(inputs[0].shape[0])
        if sum(calls) > 0.8 * rows.count:
            raise StoppedError

    handle = first.register_forward_pre_hook(stop)
    try:
        run()
    except StoppedError:
        pass
    finally:
        handle.remove()
    folder = bench.host.base / "output" / "marionette_checkpoints"
    kept = len(list(folder.iterdir()))
    with bench.rows(model) as left:
        result = told(run())
    return {**result, "from whole": distance(result["samples"], whole.cpu()), "share": left.count / rows.count, "kept": kept,
            "after": len(list(folder.iterdir())), "left": bench.host.left_on_card()}


def alone(bench: Bench, path: str) -> dict[str, Any]:
    """Without motion modules: a clip, and one of its frames made as a clip of one."""
    bench.host.forget()
    result = told(sampled(bench, path, motion=False))
    return {**result, "from motion": distance(result["samples"], sampled(bench, path).cpu()), "left": bench.host.left_on_card()}


for _path in PATHS:
    scenario(f"pieces/known/{_path}", *ALL)(partial(known, path=_path))
    scenario(f"pieces/alone/{_path}", *ALL)(partial(alone, path=_path))
scenario("pieces/gradual", "cpu", "cuda")(gradual)
for _scheduler in RESUMED:
    scenario(f"pieces/resumed/{_scheduler}", "cpu", "cuda")(partial(resumed, scheduler=_scheduler, accelerated=False))
scenario("pieces/resumed/accelerated", "cpu", "cuda")(partial(resumed, scheduler="DDIM (published)", accelerated=True))
