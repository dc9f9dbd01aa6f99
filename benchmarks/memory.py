"""Memory and FLOPs of the networks at full size on a CUDA card, by count (`benchmarks.card`): no card is needed.

The widths are Stable Diffusion 1.5's. Bytes are activations at the peak of a pass, that is everything on the card except the weights: the
latents of the window, pose features, the reference's keys and values, and what the layers make. A step is one evaluation of the denoising
UNet for one window. Guidance has two halves, the conditional and the unconditional pass: "one half" runs one at a time, "both" runs them in
one batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from animate_core.guiders import MultiScaleGuider
from animate_core.memory import step_bytes
from animate_core.pose_guider import PoseFrames, PoseGuider
from animate_core.strengths import StepStrengths
from animate_core.unet import UNet, UNetConfig

from .card import CardFlops, Peak, peak_of, pretended_card
from .cases import feature_shapes
from .common import Options, markdown

name = "memory"
title = "Memory and FLOPs at full size on a card, by count"

CONFIG = UNetConfig(motion=True, motion_max_frames=128)
SIZES = ((512, 512), (512, 768), (768, 768), (768, 1024))
FRAMES = (16, 24, 48)
HALVES = {1: "one half", 2: "both"}
POSES_AT_ONCE = (1, 4, 16)
FLOP_CASES = ((512, 768, 24), (768, 768, 48))


def prepare_step(unet: UNet, width: int, height: int, frames: int, clips: int, dtype: torch.dtype,
                 guider: PoseGuider | None = None, weights: tuple[float, ...] = (1.0,)) -> Callable[[], Tensor]:
    """A step's inputs on the card, and the call. The last clip sees the reference; with two, the first is the unconditional half.

    guider: poses are kept as pictures, off the card, and encoded in the call. weights: of the reference's pictures.
    """
    h, w = height // 8, width // 8
    token = torch.empty(1, 1, unet.config.cross_attention_dim, dtype=dtype, device="cuda")
    features = {path: torch.empty(1, len(weights) * n, c, dtype=dtype) for path, (n, c) in feature_shapes(unet, h, w).items()}
    clip = StepStrengths().read(unet.condition(token, features, weights), range(frames))
    conditions = [clip if i == clips - 1 else unet.condition(token) for i in range(clips)]
    sample = torch.empty(clips * frames, unet.config.in_channels, h, w, dtype=dtype, device="cuda")
    poses = PoseFrames(torch.empty(frames, unet.config.block_out_channels[0], h, w, dtype=dtype, device="cuda"))
    if guider is not None:
        poses = PoseFrames(torch.empty(frames, height, width, 3, dtype=torch.uint8), guider)
    time = unet.time_projections(torch.full((1,), 999, device="cuda"), dtype)
    return lambda: unet(sample, time, conditions, poses.at(range(frames), sample.device, dtype))


def peak_of_step(width: int, height: int, frames: int, clips: int, dtype: torch.dtype, pictures: bool = False,
                 weights: tuple[float, ...] = (1.0,)) -> Peak:
    """One evaluation of the denoiser for one window. width and height in pixels; clips 1 or 2: halves of the guidance at once.

    pictures: poses are kept as pictures; the guider's own weights are not counted. weights: of the reference's pictures.
    """
    with pretended_card():
        unet = UNet(CONFIG, dtype=dtype, device="cuda").eval()
        guider = PoseGuider(dtype=dtype, device="cuda").eval() if pictures else None
        return peak_of(unet, lambda: prepare_step(unet, width, height, frames, clips, dtype, guider, weights))


def peak_of_reference(width: int, height: int, dtype: torch.dtype) -> Peak:
    """`UNet.reference_features` of one picture, its features kept until the end."""
    with pretended_card():
        unet = UNet(UNetConfig(out_channels=None), dtype=dtype, device="cuda").eval()

        def prepare() -> Callable[[], Any]:
            latent = torch.empty(1, unet.config.in_channels, height // 8, width // 8, dtype=dtype, device="cuda")
            token = torch.empty(1, 1, unet.config.cross_attention_dim, dtype=dtype, device="cuda")
            return lambda: unet.reference_features(latent, token)

        return peak_of(unet, prepare)


def peak_of_pose(width: int, height: int, frames_at_once: int, dtype: torch.dtype, network: type[nn.Module] = PoseGuider) -> Peak:
    """A guider on pictures of width x height, in 8 bits."""
    with pretended_card():
        guider = network(dtype=dtype, device="cuda").eval()

        def prepare() -> Callable[[], Any]:
            pictures = torch.empty(frames_at_once, height, width, 3, dtype=torch.uint8, device="cuda")
            if isinstance(guider, MultiScaleGuider):
                return lambda: guider(pictures.permute(0, 3, 1, 2).to(dtype))
            return lambda: guider.encode(pictures, dtype, frames_at_once)

        return peak_of(guider, prepare)


def kind_of_layer(module: str, operation: str) -> str:
    motion = ".motion_modules." in module
    if "attention" in operation:
        return "temporal attention" if motion else "spatial attention"
    if ".ff." in module:
        return "feed-forward of motion modules" if motion else "feed-forward of spatial blocks"
    if motion:
        return "projections of motion modules"
    return "projections of spatial blocks" if ".attentions." in module else "residual blocks and other convolutions"


def flops_of_step(width: int, height: int, frames: int, clips: int, weights: tuple[float, ...] = (1.0,)) -> dict[str, int]:
    """FLOPs of one evaluation of the denoiser by kind of layer; the keys of what is prepared once per clip are not among them."""
    with pretended_card():
        unet = UNet(CONFIG, dtype=torch.float16, device="cuda").eval()
        call = prepare_step(unet, width, height, frames, clips, torch.float16, weights=weights)
        with CardFlops(unet) as counter:
            call()
    kinds: Counter[str] = Counter()
    for (module, operation), flops in counter.counted.items():
        kinds[kind_of_layer(module, operation)] += flops
    return dict(kinds)


def run(options: Options) -> dict[str, Any]:
    half = torch.float16
    sizes, frames, flop_cases = (SIZES[:1], FRAMES[:1], FLOP_CASES[:1]) if options.quick else (SIZES, FRAMES, FLOP_CASES)
    return {
        "steps": [{"width": w, "height": h, "frames": f, "clips": c, **asdict(peak_of_step(w, h, f, c, half)),
                   "claim": step_bytes(w // 8, h // 8, f, c, half.itemsize)}
                  for w, h in sizes for f in frames for c in HALVES],
        "reference": [{"width": w, "height": h, **asdict(peak_of_reference(w, h, half))} for w, h in sizes],
        "pose": [{"width": w, "height": h, "frames_at_once": n, **asdict(peak_of_pose(w, h, n, half))} for w, h in sizes
                 for n in POSES_AT_ONCE],
        "flops": [{"width": w, "height": h, "frames": f, "both": flops_of_step(w, h, f, 2), "one half": flops_of_step(w, h, f, 1)}
                  for w, h, f in flop_cases],
    }


def mib(count: int) -> str:
    return f"{count / 2**20:.0f}"


def step_table(steps: list[dict[str, Any]]) -> str:
    rows = [[f"{s['width']}x{s['height']}", str(s["frames"]), HALVES[s["clips"]], mib(s["above"]), mib(s["claim"]),
             f"{s['claim'] / s['above']:.2f}", f"`{s['where'].split(' ')[0]}`"] for s in steps]
    head = ["picture", "frames", "guidance", "count MiB", "claim MiB", "claim / count", "where"]
    return markdown(head, rows)


def flop_table(cases: list[dict[str, Any]]) -> str:
    kinds = sorted(cases[0]["both"], key=lambda kind: -cases[0]["both"][kind])
    totals = [sum(c["both"].values()) for c in cases]
    rows = [[kind, *(f"{c['both'][kind] / 1e12:.2f} ({c['both'][kind] / t:.1%})" for c, t in zip(cases, totals, strict=True))]
            for kind in kinds]
    rows.append(["all, both halves", *(f"{t / 1e12:.1f}" for t in totals)])
    rows.append(["all, the half with the reference", *(f"{sum(c['one half'].values()) / 1e12:.1f}" for c in cases)])
    return markdown(["layers", *(f"{c['width']}x{c['height']}, {c['frames']} frames" for c in cases)], rows)


def table(results: dict[str, Any]) -> str:
    weights = results["steps"][0]["weights"]
    return "\n\n".join([
        f"One step of the denoiser, fp16 (weights apart: {mib(weights)} MiB):", step_table(results["steps"]),
        "Encode Reference (the ReferenceNet's pass) and Encode Pose (the guider, some frames at once), fp16:",
        markdown(["picture", "reference, MiB", *(f"pose, {n} at once, MiB" for n in POSES_AT_ONCE)],
                 [[f"{r['width']}x{r['height']}", mib(r["above"]),
                   *(mib(p["above"]) for p in results["pose"] if (p["width"], p["height"]) == (r["width"], r["height"]))]
                  for r in results["reference"]]),
        "TFLOP of one step with both halves, by kind of layer:", flop_table(results["flops"]),
    ])
