"""What node Accelerate and fewer steps save, and how close the clip stays to the plain run.

Plain run: the published settings, 25 steps of DDIM, guidance 3.5, nothing skipped. FLOPs: of the denoising UNet over the whole run, with
Stable Diffusion 1.5's widths, 512x768, one window of 24 frames, by count (`benchmarks.card`). Nearness: clips of the built-in model,
128x192, 16 frames, compared with the plain run of the same character, motion and noise, mean over clips: SSIM, PSNR, and flicker, the
mean absolute difference between the frame-to-frame changes of the two clips. Time: plain run by accelerated run, in processor seconds of
the built-in model's sampling; in its small networks, a larger part of the time cannot be skipped.

Two limits. The ground truth is no measure here, because the built-in model is best with 2 steps and no guidance. And its denoising UNet
is smooth: fewer steps cost it less than they cost the published models, which we could not run. Guidance 7.5 is the stress test, because
it drives the conditional and the unconditional pass further apart. Without a reference the model has to invent a character, and is no
more sensitive (SSIM 0.996 with 12 steps).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from animate_core.accelerate import PRESETS, Acceleration
from animate_core.blocks import ClipConditioning, DeepFeatures
from animate_core.demo.character import HELD_OUT_SEED
from animate_core.demo.clip import demo_clip
from animate_core.demo.motion import FRAMED_MOTIONS
from animate_core.sampling import DDIM, draw_noise, sample_clip, unet_predictor
from animate_core.unet import UNet
from animate_core.windows import Windows
from training.demo_data import picture_tensor
from training.evaluate import Model
from training.figures import flicker, psnr, ssim

from .builtin import PRESET, builtin_model, decode, subject
from .card import flops_of, pretended_card
from .cases import feature_shapes
from .common import Options, markdown
from .memory import CONFIG

name = "acceleration"
title = "Acceleration: work saved, and nearness to the plain run"

WIDTH, HEIGHT, FRAMES = 512, 768, 24
CLIPS, CLIP_FRAMES = 4, 16
FIRST = 2000  # held-out characters from here on
STEPS, GUIDANCE, STRESS = 25, 3.5, 7.5

# FLOPs of one pass of a half, by half and by the layers that run in every step; 0: a whole pass
Passes = Mapping[tuple[str, int], int]


@dataclass(frozen=True)
class Setting:
    """One way of sampling; with none of it the plain run."""

    label: str
    acceleration: Acceleration = Acceleration()
    scheduler: str = DDIM
    steps: int = STEPS
    guided: bool = True


PLAIN = Setting("plain")
SETTINGS = (
    PLAIN,
    Setting("no guidance at all", guided=False),
    Setting("DDIM, 12 steps", steps=12),
    *(Setting(f"{solver}, {steps} steps", scheduler=solver, steps=steps) for solver in ("DPM++ 2M", "UniPC") for steps in (15, 10)),
    Setting("guidance_end 0.75", Acceleration(guidance_end=0.75)),
    Setting("guidance_start 0.1", Acceleration(guidance_start=0.1)),
    *(Setting(f"guidance_every {n}", Acceleration(guidance_every=n)) for n in (2, 4)),
    *(Setting(f"deep_every {n}", Acceleration(deep_every=n)) for n in (2, 3, 5)),
    Setting("deep_every 3, deep_layers 3", Acceleration(deep_every=3, deep_layers=3)),
    Setting("reference_end 0.9", Acceleration(reference_end=0.9)),
    *(Setting(preset, acceleration) for preset, acceleration in PRESETS.items()),
    Setting("Balanced, DPM++ 2M", PRESETS["Balanced"], "DPM++ 2M"),
    Setting("Balanced, 15 steps", PRESETS["Balanced"], steps=15),
    Setting("deep_every 2, DPM++ 2M, 15 steps", Acceleration(deep_every=2), "DPM++ 2M", 15),
)
STRESSED = ("DPM++ 2M, 15 steps", "guidance_every 4", "deep_every 3", *PRESETS, "deep_every 2, DPM++ 2M, 15 steps")


def flops_by_pass(width: int, height: int, frames: int) -> Passes:
    """Of the conditional half, which reads the reference, and of the unconditional one; pixels and frames of a window."""
    out: dict[tuple[str, int], int] = {}
    with pretended_card():
        half = torch.float16
        unet = UNet(CONFIG, dtype=half, device="cuda").eval()
        h, w = height // 8, width // 8
        token = torch.empty(1, 1, unet.config.cross_attention_dim, dtype=half, device="cuda")
        features = {path: torch.empty(1, *shape, dtype=half) for path, shape in feature_shapes(unet, h, w).items()}
        x = torch.empty(frames, unet.config.in_channels, h, w, dtype=half, device="cuda")
        pose = torch.empty(frames, unet.config.block_out_channels[0], h, w, dtype=half, device="cuda")
        projections = unet.time_projections(torch.full((1,), 999, device="cuda"), half)

        def count(clip: ClipConditioning, deep: DeepFeatures | None) -> int:
            return flops_of(lambda: unet(x, projections, [clip], pose, deep=deep))

        for name_of_half, clip in (("conditional", unet.condition(token, features)), ("unconditional", unet.condition(token))):
            out[name_of_half, 0] = count(clip, None)
            for layers in range(1, unet.config.layers_per_block + 2):
                deep = DeepFeatures(layers)
                unet(x, projections, [clip], pose, deep=deep)
                out[name_of_half, layers] = count(clip, deep)
    return out


def run_flops(passes: Passes, acceleration: Acceleration, steps: int, guided: bool = True) -> int:
    """FLOPs of a run by its plan. A half that did not run in the last whole step runs whole."""
    total, ran = 0, {"conditional": -1, "unconditional": -1}
    for step in range(steps):
        plan = acceleration.at(step, steps)
        for half in ("conditional", "unconditional") if guided and plan.guidance == "computed" else ("conditional",):
            reused = plan.reuse and ran[half] == plan.whole
            ran[half] = plan.whole
            # without the reference both halves cost the same
            kind = half if plan.reference else "unconditional"
            total += passes[kind, plan.deep_layers if reused else 0]
    return total


@dataclass(frozen=True)
class Subject:
    """A character's conditioning, poses and noise."""

    conditional: ClipConditioning
    unconditional: ClipConditioning
    pose: Tensor
    noise: Tensor


def make_subject(model: Model, index: int, frames: int) -> Subject:
    seed, n = HELD_OUT_SEED + FIRST + index, model.networks
    who, clip = subject(model, seed), demo_clip(seed, FRAMED_MOTIONS[index % len(FRAMED_MOTIONS)], frames)
    pose = n.guider(torch.from_numpy(clip.poses).permute(0, 3, 1, 2).float() / 255)
    features = n.reference.reference_features(who.latent, who.token)
    return Subject(n.denoiser.condition(who.token, features), n.denoiser.condition(torch.zeros_like(who.token)), pose,
                   draw_noise(index, frames, *who.latent.shape[-2:]))


def sampled(model: Model, who: Subject, setting: Setting, guidance: float, steps: int) -> tuple[Tensor, float]:
    """Pictures `[F, 3, H, W]` in [0, 1], and processor seconds of sampling."""
    plans = [setting.acceleration.at(step, steps) for step in range(steps)] if setting.acceleration != Acceleration() else []
    predict = unet_predictor(model.networks.denoiser, who.conditional, who.unconditional if setting.guided else None, who.pose,
                             Windows(len(who.noise), 0), plans=plans)
    begin = time.process_time()
    latents = sample_clip(predict, who.noise, PRESET, scheduler=setting.scheduler, steps=steps, guidance=guidance)
    seconds = time.process_time() - begin
    return (picture_tensor(decode(model, latents)) + 1) / 2, seconds


@torch.inference_mode()
def nearness(settings: tuple[Setting, ...], clips: int, frames: int, guidance: float, divisor: int) -> list[dict[str, Any]]:
    """A line for each setting, means over the clips; steps are divided by `divisor`."""
    model = builtin_model()
    subjects = [make_subject(model, index, frames) for index in range(clips)]
    plain = [sampled(model, who, PLAIN, guidance, STEPS // divisor) for who in subjects]
    lines = []
    for setting in settings:
        runs = plain if setting == PLAIN else [sampled(model, who, setting, guidance, setting.steps // divisor) for who in subjects]
        pairs = [(pictures, truth) for (pictures, _), (truth, _) in zip(runs, plain, strict=True)]
        lines.append({"label": setting.label, "guidance": guidance, "ssim": mean(ssim(*pair) for pair in pairs),
                      "worst_ssim": min(ssim(*pair) for pair in pairs), "psnr": mean(psnr(*pair) for pair in pairs),
                      "flicker": mean(flicker(*pair) for pair in pairs),
                      "seconds": sum(s for _, s in runs), "plain_seconds": sum(s for _, s in plain)})
        print(f"  guidance {guidance}, {setting.label}: SSIM {lines[-1]['ssim']:.4f}", flush=True)
    return lines


def run(options: Options) -> dict[str, Any]:
    passes = flops_by_pass(WIDTH, HEIGHT, FRAMES)
    plain = run_flops(passes, PLAIN.acceleration, PLAIN.steps)
    flops = {s.label: run_flops(passes, s.acceleration, s.steps, s.guided) / plain for s in SETTINGS}
    settings, clips, frames, divisor = ((PLAIN, SETTINGS[-1]), 1, 4, 5) if options.quick else (SETTINGS, CLIPS, CLIP_FRAMES, 1)
    stressed = tuple(s for s in settings if s.label in STRESSED)
    return {"passes": {f"{half}, {layers} layers" if layers else half: n for (half, layers), n in passes.items()}, "flops": flops,
            "lines": nearness(settings, clips, frames, GUIDANCE, divisor) + nearness(stressed, max(1, clips // 2), frames, STRESS, divisor)}


def line_table(results: dict[str, Any], guidance: float) -> str:
    rows = []
    for line in (line for line in results["lines"] if line["guidance"] == guidance):
        decibels = f"{line['psnr']:.1f}" if line["label"] != PLAIN.label else "-"
        rows.append([line["label"], f"{1 / results['flops'][line['label']]:.2f}x", f"{line['plain_seconds'] / line['seconds']:.2f}x",
                     f"{line['ssim']:.4f}", f"{line['worst_ssim']:.4f}", decibels, f"{line['flicker']:.5f}"])
    return markdown(["setting", "fewer FLOPs", "less time", "SSIM", "worst clip", "PSNR dB", "flicker"], rows)


def table(results: dict[str, Any]) -> str:
    passes = markdown(["pass of one half", "TFLOP"], [[label, f"{n / 1e12:.1f}"] for label, n in results["passes"].items()])
    return "\n\n".join([f"What a pass costs, {WIDTH}x{HEIGHT}, {FRAMES} frames; \"n layers\": in a step between whole ones:", passes,
                        f"Guidance {GUIDANCE}:", line_table(results, GUIDANCE), f"Guidance {STRESS}:", line_table(results, STRESS)])
