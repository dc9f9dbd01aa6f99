"""Compares animate_core with a folder of numbers that the reference implementation gave.

    python tests/parity/check.py FOLDER [--only CASES]

FOLDER has the form that the golden folder's README describes: config.json, manifest.json and the case files that the
manifest lists; weights stored, or made by the recipe. Prints a line a case with the largest absolute error and the
tolerance; exits with 1 if one is past it, 2 if the folder cannot be checked.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
if not any(Path(p or ".").resolve() == ROOT for p in sys.path):
    sys.path.append(str(ROOT))
sys.path.append(str(Path(__file__).resolve().parent))

from check_dwpose import check_detector, check_drawing  # noqa: E402
from check_family import FAMILY_CHECKS, check_multi_scale, check_pipeline_features  # noqa: E402
from check_pose_align import check_pose_align  # noqa: E402
from folder import FORWARD, LOOP, Golden, Line, UnsupportedError, clips, difference, difference_of_alphas, limit, pose_features, rows, under  # noqa: E402

from animate_core.blocks import ClipConditioning, Run, sdpa  # noqa: E402
from animate_core.preprocess import clip_input, pose_input, vae_input  # noqa: E402
from animate_core.sampling import (  # noqa: E402
    DDIM,
    ddim_timesteps,
    interpolate_latents,
    make_scheduler,
    rescale_guidance,
    sample_clip,
    set_timesteps,
    unet_predictor,
)
from animate_core.windows import Windows, uniform_windows  # noqa: E402


def check_pose_guider(g: Golden, file: str) -> Iterator[Line]:
    _, tensors = g.cases(file)
    for case in sorted({k.split("/")[0] for k in g.files[file]["tensors"]}):
        t = tensors(case)
        if "features" in t:
            yield case, difference(clips(g.guided("pose_guider", t["images_u8"]), t["images_u8"].shape[0]), t["features"]), FORWARD
        else:
            yield from check_multi_scale(g, case, g.files[file]["cases"][case], t)


def check_reference_features(g: Golden, file: str) -> Iterator[Line]:
    _, tensors = g.cases(file)
    for case in sorted({k.split("/")[0] for k in g.files[file]["tensors"]}):
        t = tensors(case)
        token = t["image_embeds"].unsqueeze(1)
        conditional = g.reference_net.reference_features(t["reference_latent"], token)
        unconditional = g.unconditional_features(t) or g.reference_net.reference_features(t["reference_latent"], torch.zeros_like(token))
        for kind in sorted({k.split("/")[0] for k in t} & {"cfg", "nocfg"}):
            theirs = under(t, kind)
            ours = {k: torch.cat([unconditional[k], v]) if kind == "cfg" else v for k, v in conditional.items()}
            error = max(difference(ours[k], theirs[k]) for k in theirs) if ours.keys() == theirs.keys() else math.inf
            yield f"{case} {kind} ({len(theirs)} blocks)", error, FORWARD


def check_bank_pairing(g: Golden, file: str) -> Iterator[Line]:
    pairs = json.loads((g.folder / file).read_text())
    widths = {b.path: b.norm1.weight.shape[0] for b in g.reference_net.spatial_blocks()}
    ours = {b.path: widths.get(b.path) for b in g.denoiser().spatial_blocks()}
    wrong = [p for p in pairs if p["reader"] != p["writer"] or ours.get(p["reader"]) != p["channels"]]
    yield f"{len(pairs)} pairs", float(len(wrong)) + abs(len(pairs) - len(ours)), 0.0


def check_denoise(g: Golden, file: str) -> Iterator[Line]:
    cases, tensors = g.cases(file)
    for case, p in cases.items():
        t = tensors(case)
        unet = g.denoiser(**p["unet_overrides"])
        batch = 2 if p["cfg"] else 1
        x, pose = rows(t["sample"]), pose_features(t)
        time = unet.time_projections(t["timestep"], x.dtype)
        for name in sorted(k for k in t if k.startswith("output")):
            if name in ("output_no_reader", "output_no_reference"):
                conditions = [unet.condition(e.view(1, 1, -1)) for e in t["encoder_hidden_states"]]
            else:
                conditions = g.conditioning(t, unet, p["cfg"], rounded=name == "output_bank_fp16")
            yield f"{case} {name[7:]}", difference(clips(unet(x, time, conditions, pose), batch), t[name]), limit(FORWARD, p)


def check_denoise_intermediates(g: Golden, file: str) -> Iterator[Line]:
    theirs = load_file(g.folder / file)
    _, tensors = g.cases("cases/denoise.safetensors")
    t = tensors("traced")
    unet, seen = g.denoiser(), {}
    stages = {f"{kind}_blocks.{i}": s for kind in ("down", "up") for i, s in enumerate(getattr(unet, f"{kind}_blocks"))}
    modules = dict(unet.named_modules())
    # a block's output is that of its last layer
    modules |= {name: [*s.downsamplers, *s.upsamplers, s.motion_modules[-1]][0] for name, s in stages.items()}
    modules["mid_block"] = unet.mid_block.resnets[1]
    # copies: later layers work in place
    hooks = [modules[name].register_forward_hook(lambda module, args, out, name=name: seen.__setitem__(name, out.clone()))
             for name in theirs]
    x = rows(t["sample"])
    unet(x, unet.time_projections(t["timestep"], x.dtype), g.conditioning(t, unet, True), pose_features(t))
    for hook in hooks:
        hook.remove()
    for name, value in sorted(theirs.items()):
        ours = seen[name].expand_as(value) if name == "time_embedding" else clips(seen[name], 2)
        yield name, difference(ours, value), FORWARD


def check_temporal(g: Golden, file: str) -> Iterator[Line]:
    cases, tensors = g.cases(file)
    for case, p in cases.items():
        t = tensors(case)
        run = Run(p["frames"], [ClipConditioning({})] * p["batch"], {}, sdpa)
        module = g.denoiser().get_submodule(p["module"])
        yield f"{case} {p['module']}", difference(clips(module(rows(t["input"]), run), p["batch"]), t["output"]), FORWARD


def run_pipeline(g: Golden, case: str, p: dict[str, Any], t: dict[str, Tensor], windows: Windows, raw_key: str) -> Iterator[Line]:
    cfg, x = p["guidance"] > 1.0, rows(t["initial_latents"])
    unet, pose = g.denoiser(), g.pose(t, x.shape[0])
    spans = windows.at(0, x.shape[0])
    poses = [pose[s] if isinstance(pose, Tensor) else pose(s) for s in spans]
    yield f"{case} reference_latent", difference(t["vae_mean"] * g.config["vae_scale"], t["reference_latent"]), 1e-6
    yield from check_pipeline_features(g, case, t, pose, poses)
    recorded = {"final_latents", "guided_noise", "latents_after_step", "raw_noise", "raw_noise_first_step", "interpolated_latents"}
    for bank in sorted({k.split("/")[0] for k in t if k.startswith("bank_")}) or [""]:
        theirs = {k: v for k, v in (under(t, bank) if bank else t).items() if k in recorded}
        conditions = g.conditioning(t, unet, cfg, rounded=bank == "bank_fp16")
        predict = unet_predictor(unet, conditions[-1], conditions[0] if cfg else None, pose, windows)
        raw, guided, after, rescale = [], [], [], p.get("guidance_rescale", 0.0)

        def recording(x: Tensor, timestep: Tensor, step: int, predict: Any = predict, raw: list = raw, guided: list = guided,
                      rescale: float = rescale) -> Any:
            u, c = predict(x, timestep, step)
            raw.append(torch.stack([c] if u is None else [u, c]).transpose(1, 2))
            guided.append(c if u is None else rescale_guidance(u + p["guidance"] * (c - u), c, rescale))
            return u, c

        final = sample_clip(recording, x, g.preset(), scheduler=DDIM, steps=p["steps"], guidance=p["guidance"], rescale=rescale,
                            callback=lambda step, steps, x, clean, after=after: after.append(x.transpose(0, 1).unsqueeze(0)))
        ours = {"guided_noise": torch.stack([x.transpose(0, 1).unsqueeze(0) for x in guided]), "latents_after_step": torch.stack(after),
                "final_latents": clips(final, 1), "raw_noise": torch.stack(raw)}
        if "interpolation_factor" in p:
            between = interpolate_latents(final, p["interpolation_factor"], p["interpolation"] == "slerp")
            ours["interpolated_latents"] = clips(between, 1)
        if raw_key == "raw_noise_first_step" and raw_key in theirs:
            time = unet.time_projections(t["timesteps"][:1], x.dtype)
            outs = [unet(x[s].repeat(len(conditions), 1, 1, 1), time, conditions, f) for s, f in zip(spans, poses, strict=True)]
            ours[raw_key] = torch.stack([clips(o, len(conditions)) for o in outs])
        for name in sorted(theirs):
            least = FORWARD if name == "raw_noise_first_step" else LOOP
            yield f"{case} {bank} {name}", difference(ours[name], theirs[name]), limit(least, p)


def check_timesteps(g: Golden, case: str, p: dict[str, Any], t: dict[str, Tensor]) -> Line:
    ours = set_timesteps(make_scheduler(DDIM, g.preset()), p["steps"], 1.0)
    return f"{case} timesteps", difference(ours, t["timesteps"]), 0.0


def check_pipeline_short(g: Golden, file: str) -> Iterator[Line]:
    cases, tensors = g.cases(file)
    for case, p in cases.items():
        t = tensors(case)
        yield check_timesteps(g, case, p, t)
        yield from run_pipeline(g, case, p, t, Windows(length=p["f"], overlap=0), "raw_noise")


def check_pipeline_long(g: Golden, file: str) -> Iterator[Line]:
    cases, tensors = g.cases(file)
    for case, p in cases.items():
        t = tensors(case)
        windows = Windows(p["context_frames"], p["context_overlap"], p["context_stride"], "published",
                          "flat" if p["guidance"] > 1.0 else "sum", closed_loop=g.family.closed_loop)
        yield check_timesteps(g, case, p, t)
        wrong = sum(windows.at(step, p["f"]) != theirs for step, theirs in enumerate(p["windows_per_step"]))
        yield f"{case} windows", float(wrong), 0.0
        yield from run_pipeline(g, case, p, t, windows, "raw_noise_first_step")


def check_preprocess(g: Golden, file: str) -> Iterator[Line]:
    cases, tensors = g.cases(file)
    for case, p in cases.items():
        t = tensors(case)
        image = Image.fromarray(t["image_u8"].numpy())
        poses = [Image.fromarray(frame.numpy()) for frame in t["poses_u8"]]
        yield f"{case} vae_input", difference(vae_input(image, p["width"], p["height"]), t["vae_input"]), 1e-6
        for pipeline, squash, resample in (("long", True, Image.Resampling.LANCZOS), ("short", False, Image.Resampling.BICUBIC)):
            theirs = t[f"{pipeline}/clip_pixel_values"]
            ours = clip_input(image, 224, squash)
            thin = ours.shape[-1] // theirs.shape[-1]
            # stored as float16: half a unit in the last place of values up to 4
            yield f"{case} {pipeline} clip_pixel_values", difference(ours[..., ::thin, ::thin], theirs), 1.1e-3
            ours = torch.stack([pose_input(pose, p["width"], p["height"], resample=resample)[0] for pose in poses], dim=1).unsqueeze(0)
            yield f"{case} {pipeline} pose_tensor", difference((ours * 255).round(), t[f"{pipeline}/pose_tensor_u8"]), 0.0


def check_context_windows(g: Golden, file: str) -> Iterator[Line]:
    entries, wrong = json.loads((g.folder / file).read_text()), 0
    for e in entries:
        args = (e["num_frames"], e["context_size"], e["context_stride"], e["context_overlap"], e["closed_loop"])
        try:
            steps = e.get("windows_by_step", {"0": None})
            wrong += {s: uniform_windows(int(s), *args) for s in steps} != steps
        except ValueError:
            wrong += "error" not in e
    yield f"{len(entries)} settings", float(wrong), 0.0


def check_ddim_tables(g: Golden, file: str) -> Iterator[Line]:
    worst: dict[str, float] = {}
    entries = json.loads((g.folder / file).read_text())
    for e in entries:
        preset = g.preset(beta_schedule=e["beta_schedule"], zero_snr=e["rescale_betas_zero_snr"], spacing=e["timestep_spacing"])
        scheduler = make_scheduler(DDIM, preset)
        timesteps = set_timesteps(scheduler, e["steps"], 1.0)
        previous = timesteps - 1000 // e["steps"]
        a = scheduler.alphas_cumprod[timesteps]
        ap = torch.where(previous >= 0, scheduler.alphas_cumprod[previous.clamp(min=0)], scheduler.final_alpha_cumprod)
        differ = (timesteps.tolist(), previous.tolist()) != (e["timesteps"], e["prev_timesteps"])
        if e["timestep_spacing"] == "trailing":
            differ |= ddim_timesteps(e["steps"]).tolist() != e["timesteps"]
        worst["integers"] = max(worst.get("integers", 0), float(differ))
        ours = {
            "alphas_cumprod_at_timesteps": a, "alphas_cumprod_prev": ap,
            "alphas_cumprod_first": scheduler.alphas_cumprod[0], "alphas_cumprod_last": scheduler.alphas_cumprod[-1],
            "final_alpha_cumprod": scheduler.final_alpha_cumprod, "init_noise_sigma": scheduler.init_noise_sigma,
        }
        for name, value in ours.items():
            worst[name] = max(worst.get(name, 0), difference_of_alphas(value, e[name]))
        theirs = [0.0 if s is None else 1 / (1 + s * s) for s in e["sigmas"]]
        worst["sigmas, as alphas"] = max(worst.get("sigmas, as alphas", 0), difference_of_alphas(a, theirs))
    for name, error in worst.items():
        yield f"{name} of {len(entries)} tables", error, 0.0 if name == "integers" else 1e-6


def check_ddim_steps(g: Golden, file: str) -> Iterator[Line]:
    cases, tensors = g.cases(file)
    worst: dict[str, float] = {}
    for case, p in cases.items():
        t = tensors(case)
        prediction, spacing = case.split("/")[:2]
        preset = g.preset(beta_schedule=p["beta_schedule"], zero_snr=p["zero_snr"], prediction_type=prediction, spacing=spacing)
        scheduler = make_scheduler(DDIM, preset)
        timestep = set_timesteps(scheduler, p["steps"], 1.0)[p["index"]]
        out = scheduler.step(t["model_output"], timestep, t["sample"])
        error = max(difference(out.prev_sample, t["prev_sample"]), difference(out.pred_original_sample, t["pred_original_sample"]))
        worst[prediction] = max(worst.get(prediction, 0), error if int(timestep) == p["timestep"] else math.inf)
    for prediction, error in worst.items():
        yield f"{prediction} ({len(cases)} steps)", error, FORWARD
    for key, theirs in load_file(g.folder / file).items():
        if key.startswith("alphas_cumprod/"):
            schedule, snr = key.split("/")[1:]
            ours = make_scheduler(DDIM, g.preset(beta_schedule=schedule, zero_snr=snr == "zero_snr")).alphas_cumprod
            yield key, difference_of_alphas(ours, theirs), 1e-6


CHECKS: dict[str, Callable[[Golden, str], Iterator[Line]]] = {
    "cases/pose_guider.safetensors": check_pose_guider,
    "cases/reference_features.safetensors": check_reference_features,
    "cases/bank_pairing.json": check_bank_pairing,
    "cases/denoise.safetensors": check_denoise,
    "cases/denoise_intermediates.safetensors": check_denoise_intermediates,
    "cases/temporal.safetensors": check_temporal,
    "cases/pipeline_short.safetensors": check_pipeline_short,
    "cases/pipeline_long.safetensors": check_pipeline_long,
    "cases/preprocess.safetensors": check_preprocess,
    "cases/context_windows.json": check_context_windows,
    "cases/ddim_tables.json": check_ddim_tables,
    "cases/ddim_steps.safetensors": check_ddim_steps,
    "cases/pipeline.safetensors": check_pipeline_long,
    "cases/pose_align.safetensors": lambda g, file: check_pose_align(g.folder, file, g.files[file]["cases"]),
    **FAMILY_CHECKS,
    "dwpose/draw_cases.json": lambda g, file: check_drawing(g.folder / file),
    "dwpose/detector_cases.json": lambda g, file: check_detector(g.folder / file),
}


@torch.inference_mode()
def check_folder(folder: Path, only: str | None = None) -> Iterator[Line]:
    """Every case of the folder, file by file, or those of one file alone. Raises UnsupportedError for a case file that nothing here
    covers."""
    golden = Golden(folder)
    cases = [f for f in golden.files
             if f.startswith(("cases/", "dwpose/", "keys/")) and not f.endswith(".png") and only in (None, Path(f).stem)]
    unknown = [f for f in cases if f not in CHECKS and not f.startswith("keys/")]
    if unknown or not cases:
        raise UnsupportedError(f"{folder}: no check for {', '.join(unknown)}" if unknown else f"{folder}: there is no case file {only}")
    for file, check in CHECKS.items():
        if file in cases:
            for name, error, tolerance in check(golden, file):
                yield f"{Path(file).stem}: {name}", error, tolerance


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", metavar="CASES", help="the cases of one file, by its name without the ending")
    args = parser.parse_args()
    if not (args.folder / "manifest.json").is_file():
        print(f"{args.folder}: no manifest.json there")
        return 2
    count = failed = 0
    try:
        for name, error, tolerance in check_folder(args.folder, args.only):
            count, bad = count + 1, not error <= tolerance
            failed += bad
            print(f"{'FAIL' if bad else 'ok  '} {name:<78} {error:.2e}  (<= {tolerance:.0e})", flush=True)
    except UnsupportedError as problem:
        print(f"cannot check: {problem}")
        return 2
    print(f"{count - failed} passed, {failed} failed")
    return 1 if failed or not count else 0


if __name__ == "__main__":
    sys.exit(main())
