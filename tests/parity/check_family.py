"""The cases that single families have: Champ, AniPortrait, Moore's face reenactment, MusePose."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from folder import FORWARD, Golden, Line, clips, difference, limit, resized, rows
from safetensors.torch import load_file
from torch import Tensor, nn

from animate_core.blocks import sdpa
from animate_core.guiders import GUIDANCE_TYPES, GuidanceEncoder, MultiScaleGuider, sum_of_features, unused_shapes
from animate_core.pose.landmarks import draw_points, landmark_pictures
from animate_core.pose_guider import PoseGuider
from animate_core.preprocess import mask_semantics, resize_video
from animate_core.sampling import WindowPose
from animate_core.unet import UNet, UNetConfig
from animate_core.windows import padded_length, thinned, whole_calls


def check_full_keys(g: Golden, file: str) -> Iterator[Line]:
    """Names and shapes at the published size: 0 where they are the same."""
    theirs: dict[str, dict[str, list[int]]] = json.loads((g.folder / file).read_text())
    head = "conv_out.weight" in theirs.get("reference_unet", {})
    reference = UNet(UNetConfig(out_channels=4 if head else None), device="meta")
    ours: dict[str, dict[str, Sequence[int]]] = {"reference_unet": shapes(reference)}
    for key, shape in shapes(UNet(UNetConfig(motion=True, motion_max_frames=g.family.max_frames), device="meta")).items():
        ours.setdefault("motion_module" if "motion_modules" in key else "denoising_unet", {})[key] = shape
    for name in g.family.guiders:
        guider = {"pose": PoseGuider, "guidance": GuidanceEncoder, "multi-scale": MultiScaleGuider}[g.family.guider_class](device="meta")
        ours[name] = shapes(guider)
        if isinstance(guider, GuidanceEncoder):
            ours[name] |= unused_shapes((16, 32, 96, 256))
    for module, expected in theirs.items():
        yield f"{module} ({len(expected)} tensors)", float(expected != {k: list(s) for k, s in ours.get(module, {}).items()}), 0.0


def shapes(network: nn.Module) -> dict[str, Sequence[int]]:
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def check_guidance_encoder(g: Golden, file: str) -> Iterator[Line]:
    cases, tensors = g.cases(file)
    for case in cases:
        t, features = tensors(case), {}
        for kind in GUIDANCE_TYPES:
            name = f"guidance_encoder_{kind}"
            features[name] = g.guided(name, t[f"{kind}/images_u8"])
            yield f"{case} {kind}", difference(clips(features[name], 1), t[f"{kind}/features"]), FORWARD
        yield f"{case} sum", difference(clips(sum_of_features(features), 1), t["sum"]), FORWARD
        if "depth/before_attention" in t:
            transformer = next(iter(g.guider("guidance_encoder_depth").attentions.values()))
            out = transformer(rows(t["depth/before_attention"]).clone(), sdpa)
            yield f"{case} depth attention", difference(clips(out, 1), t["depth/after_attention"]), FORWARD


def check_champ_forward(g: Golden, file: str) -> Iterator[Line]:
    cases, tensors = g.cases(file)
    for case, p in cases.items():
        t, unet = tensors(case), g.denoiser()
        parts = dict(zip(GUIDANCE_TYPES, t["multi_guidance_u8"].split(3, dim=1), strict=True))
        pose = sum_of_features({kind: g.guided(f"guidance_encoder_{kind}", u8) for kind, u8 in parts.items()})
        yield f"{case} guidance_sum", difference(clips(pose, p["batch"]), t["guidance_sum"]), FORWARD
        x = rows(t["noisy_latents"])
        time = unet.time_projections(t["timesteps"], x.dtype)
        for name in ("output_bank_fp32", "output_bank_fp16", "output_uncond_fwd"):
            clip_conditions = []
            for token, latent in zip(t["clip_image_embeds"].split(1), t["ref_image_latents"].split(1), strict=True):
                features = None if name == "output_uncond_fwd" else g.reference_net.reference_features(latent, token)
                if features is not None and name == "output_bank_fp16":
                    features = {k: v.half().float() for k, v in features.items()}
                clip_conditions.append(unet.condition(token, features))
            yield f"{case} {name[7:]}", difference(clips(unet(x, time, clip_conditions, pose), p["batch"]), t[name]), FORWARD


def check_semantic_mask(g: Golden, file: str) -> Iterator[Line]:
    _, tensors = g.cases(file)
    for case in sorted({k.split("/")[0] for k in g.files[file]["tensors"]}):
        t = tensors(case)
        ours = torch.from_numpy(mask_semantics(t["semantic_u8"].numpy(), t["mask_u8"].numpy()))
        yield case, difference(ours, t["output_u8"]), 0.0


def check_pose_guiders(g: Golden, file: str) -> Iterator[Line]:
    _, tensors = g.cases(file)
    for case in sorted({k.split("/")[0] for k in g.files[file]["tensors"]}):
        t = tensors(case)
        features = {name: g.guided(name, t[key]) for name, key in (("pose_guider1", "up_u8"), ("pose_guider2", "down_u8"))}
        for i, x in enumerate((*features.values(), sum_of_features(features)), start=1):
            yield f"{case} {i}", difference(clips(x, 1), t["sum" if i == 3 else f"features{i}"]), FORWARD


def check_multi_scale(g: Golden, case: str, p: dict[str, Any], t: dict[str, Tensor]) -> Iterator[Line]:
    """A case of AniPortrait's guider: the published range and statistics, and those of training."""
    guider, u8 = g.guider("pose_guider"), rows(t["images_u8"]).float()
    for kind in sorted({k.split("/")[0] for k in t if "stats" in k}):
        unit, stored = kind.endswith("unit_range"), kind.startswith("running")
        ours = guider(u8 / 127.5 - 1 if unit else 2 * u8 - 1, stored_statistics=stored)
        for i, x in enumerate(ours):
            limit_of = limit(FORWARD, {"inherent_spread": p["inherent_spread"][f"f{i}"]})
            yield f"{case} {kind} f{i}", difference(clips(x, 1), t[f"{kind}/f{i}"]), limit_of


def check_pipeline_features(g: Golden, case: str, t: dict[str, Tensor], pose: Tensor | WindowPose, poses: list[Any]) -> Iterator[Line]:
    """What a pipeline case recorded of the guiders."""
    if "guidance_sum" in t and isinstance(pose, Tensor):
        yield f"{case} guidance_sum", difference(clips(pose, 1), t["guidance_sum"]), FORWARD
    if "resized_u8/depth" in t:
        h, w = (8 * n for n in t["initial_latents"].shape[-2:])
        yield f"{case} resized", difference(resized(t["guidance_u8/depth"], w, h), t["resized_u8/depth"]), 0.0
    for f in ("f3", "f4"):
        # few values a channel: the spread of a case is that of the guider's cases
        guider_cases = g.files.get("cases/pose_guider.safetensors", {}).get("cases", {})
        least = limit(FORWARD, {"inherent_spread": max((c["inherent_spread"][f] for c in guider_cases.values()), default=0.0)})
        if f"features/{f}" in t:
            yield f"{case} {f}", difference(clips(poses[0][int(f[1])], 1), t[f"features/{f}"]), least
        if f"first_step_features/{f}" in t:
            ours = torch.stack([clips(x[int(f[1])], 1) for x in poses])
            yield f"{case} {f} of {len(poses)} windows", difference(ours, t[f"first_step_features/{f}"]), least


def check_frame_padding(g: Golden, file: str) -> Iterator[Line]:
    entries, wrong = json.loads((g.folder / file).read_text()), 0
    for e in entries:
        taken = thinned(e["source_frames"], e["skip"], e["L"])
        length = padded_length(len(taken), e["S"], e["O"])
        poses = [taken[min(i, len(taken) - 1)] for i in range(length)]
        ours = poses, length, len(taken), e["source_fps"] // (e["skip"] + 1)
        wrong += ours != (e["source_frame_of_each_pose"], e["video_length"], e["frames_kept"], e["fps"])
    yield f"{len(entries)} clips", float(wrong), 0.0


def check_resize_frames(g: Golden, file: str) -> Iterator[Line]:
    t = load_file(g.folder / file)
    wanted = t["output"]
    ours = resize_video(rows(t["video"])[:wanted.shape[2]], wanted.shape[-1], wanted.shape[-2])
    yield "clip", difference(clips(ours, 1), wanted), 1e-6


def check_landmarks(g: Golden, file: str) -> Iterator[Line]:
    """The drawing. The script's own alignment is a mistake that the library does not make, so it is made here: the first frame's
    points are divided by the picture's sides (rows by its width), and nothing else moves."""
    cases, tensors = g.cases(file)
    for case, p in cases.items():
        t = tensors(case)
        height, width = p["driving_size_height_width"]
        points = t["driving_landmarks"][..., :2].clone()
        points[0] /= torch.tensor([width, height])
        yield f"{case} adjusted", difference(points, t["adjusted_landmarks"]), 1e-5
        drawn = [landmark_pictures(rows_first.flip(-1).numpy(), width, height, p["mask_ratio"]) for rows_first in t["adjusted_landmarks"]]
        for name, i in (("up_u8", 0), ("down_u8", 1)):
            yield f"{case} {name}", difference(torch.from_numpy(np.stack([pictures[i] for pictures in drawn])), t[name]), 0.0
        plain = t["plain/landmarks"].flip(-1).numpy()
        yield f"{case} plain face", difference(torch.from_numpy(draw_points(plain, width, height)), t["plain/face_u8"]), 0.0
        yield f"{case} plain mouth", difference(torch.from_numpy(landmark_pictures(plain, width, height)[1]), t["plain/mouth_u8"]), 0.0


def check_batches(g: Golden, file: str) -> Iterator[Line]:
    entries = json.loads((g.folder / file).read_text())
    wrong = 0
    for e in entries:
        calls = whole_calls(e["pose_len"], e["batch_size"])
        wrong += (calls, sum(map(len, calls))) != (e["batches"], e["used"])
    yield f"{len(entries)} clips", float(wrong), 0.0


def check_feature_names(g: Golden, file: str) -> Iterator[Line]:
    names = json.loads((g.folder / file).read_text())
    ours = {block.path for block in g.denoiser().spatial_blocks()} & {block.path for block in g.reference_net.spatial_blocks()}
    yield f"{len(names)} names", float(set(names.values()) != ours or len(names) != len(ours)), 0.0


FAMILY_CHECKS: dict[str, Callable[[Golden, str], Iterator[Line]]] = {
    "keys/full.json": check_full_keys,
    "keys/feature_names.json": check_feature_names,
    "cases/guidance_encoder.safetensors": check_guidance_encoder,
    "cases/champ_forward.safetensors": check_champ_forward,
    "cases/semantic_mask.safetensors": check_semantic_mask,
    "cases/pose_guiders.safetensors": check_pose_guiders,
    "cases/landmarks.safetensors": check_landmarks,
    "cases/batches.json": check_batches,
    "cases/frame_padding.json": check_frame_padding,
    "cases/resize_frames.safetensors": check_resize_frames,
}
