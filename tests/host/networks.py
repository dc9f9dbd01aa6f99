"""Small networks with random weights, and their files, as a user would have them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from animate_core.guiders import GuidanceEncoder, MultiScaleGuider, unused_shapes
from animate_core.pose_guider import PoseGuider
from animate_core.unet import UNet, UNetConfig
from tests.parity.recipe import recipe_state_dict

Shapes = dict[str, tuple[int, ...]]

CHANNELS = (32, 64, 96, 96)
POSE_CHANNELS = (8, 16, 24, 32)
POSE_CHANNELS_OF_32 = (8, 32, 64, 96)  # Champ's transformers, the unused ones too, have norms of 32 groups
TOKEN = 32
SEED = 7

FULL_CHANNELS = (320, 640, 1280, 1280)
FULL_POSE_CHANNELS = (16, 32, 96, 256)
FULL_TOKEN = 768


def shapes(module: nn.Module) -> Shapes:
    return {key: tuple(value.shape) for key, value in module.state_dict().items()}


def reference_shapes(channels: Sequence[int] = CHANNELS, token: int = TOKEN) -> Shapes:
    config = UNetConfig(out_channels=None, block_out_channels=tuple(channels), cross_attention_dim=token)
    return shapes(UNet(config, device="meta"))


def denoiser_shapes(channels: Sequence[int] = CHANNELS, token: int = TOKEN) -> tuple[Shapes, Shapes]:
    """Shapes of the spatial layers and of the motion modules, which are published as two files."""
    config = UNetConfig(block_out_channels=tuple(channels), cross_attention_dim=token, motion=True)
    every = shapes(UNet(config, device="meta"))
    motion = {key: shape for key, shape in every.items() if "motion_modules" in key}
    return {key: shape for key, shape in every.items() if key not in motion}, motion


def pose_shapes(widths: Sequence[int] = POSE_CHANNELS, out: int = CHANNELS[0]) -> Shapes:
    return shapes(PoseGuider(widths, out, device="meta"))


def small_family(seed: int = SEED, channels: Sequence[int] = CHANNELS, token: int = TOKEN) -> dict[str, dict[str, Tensor]]:
    """The four files of a family by module name, weights by the recipe."""
    denoiser, motion = denoiser_shapes(channels, token)
    wanted = {"reference_unet": reference_shapes(channels, token), "denoising_unet": denoiser, "motion_module": motion,
              "pose_guider": pose_shapes(out=channels[0])}
    return {module: recipe_state_dict(seed, module, all_shapes) for module, all_shapes in wanted.items()}


def write_family(folder: Path, family: Mapping[str, Mapping[str, Tensor]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for module, weights in family.items():
        save_file(dict(weights), folder / f"{module}.safetensors")


def write_clip_vision(folder: Path, projection: int = TOKEN, hidden: int = 64, layers: int = 2, heads: int = 4, patch: int = 32) -> None:
    """A Hugging Face folder with a random image encoder.

    In float16, because the host keeps image encoders so: rounding is then no difference between it and the library.
    """
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    config = CLIPVisionConfig(hidden_size=hidden, intermediate_size=4 * hidden, num_hidden_layers=layers, num_attention_heads=heads,
                              patch_size=patch, image_size=224, projection_dim=projection, hidden_act="quick_gelu")
    with torch.device("meta"):
        parameters = {key: tuple(value.shape) for key, value in CLIPVisionModelWithProjection(config).named_parameters()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(random_fp16(parameters), folder / "model.safetensors")
    told = {"architectures": ["CLIPVisionModelWithProjection"], **config.to_dict()}
    (folder / "config.json").write_text(json.dumps(told), encoding="utf-8")


def tiny_vae(latent_channels: int = 4, seed: int = SEED) -> dict[str, Tensor]:
    """A VAE of the shape that the host knows as TAESD, its weights random but of a scale that keeps pictures varied.

    vae_scale is SD 1.5's factor, so that latents have the magnitude that a real VAE's have.
    """
    generator = torch.Generator().manual_seed(seed)
    weights: dict[str, Tensor] = {"vae_scale": torch.tensor(0.18215), "vae_shift": torch.tensor(0.0)}

    def conv(path: str, inside: int, outside: int, bias: bool = True, gain: float = 1.0) -> None:
        weights[f"{path}.weight"] = torch.randn(outside, inside, 3, 3, generator=generator) * gain / (9 * inside) ** 0.5
        if bias:
            weights[f"{path}.bias"] = torch.zeros(outside)

    def block(path: str) -> None:
        # three convolutions beside an identity: a small gain keeps the deviation from growing block by block
        for layer in (0, 2, 4):
            conv(f"{path}.conv.{layer}", 64, 64, gain=0.7)

    conv("taesd_encoder.0", 3, 64, gain=2.0)
    for layer in range(1, 14):
        if layer in (2, 6, 10):
            conv(f"taesd_encoder.{layer}", 64, 64, bias=False)
        else:
            block(f"taesd_encoder.{layer}")
    conv("taesd_encoder.14", 64, latent_channels)
    conv("taesd_decoder.1", latent_channels, 64, gain=1.4)
    for layer in range(3, 19):
        if layer in (7, 12, 17):
            conv(f"taesd_decoder.{layer}", 64, 64, bias=False)
        elif layer not in (6, 11, 16):
            block(f"taesd_decoder.{layer}")
    conv("taesd_decoder.19", 64, 3, gain=0.7)
    weights["taesd_decoder.19.bias"] = torch.full((3,), 0.5)
    return weights


def lora_file(path: Path, rank: int = 2, seed: int = SEED) -> None:
    """A LoRA in the form that SD 1.5's trainers write, for the query projections of the first level."""
    generator = torch.Generator().manual_seed(seed)
    width, weights = CHANNELS[0], {}
    for layer in (0, 1):
        name = f"lora_unet_down_blocks_0_attentions_{layer}_transformer_blocks_0_attn1_to_out_0"
        weights[f"{name}.lora_down.weight"] = torch.randn(rank, width, generator=generator)
        weights[f"{name}.lora_up.weight"] = torch.randn(width, rank, generator=generator)
        weights[f"{name}.alpha"] = torch.tensor(float(rank))
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, path)


def write_face_landmarker(path: Path, seed: int = SEED) -> None:
    """A file for ComfyUI's face landmarks (MediaPipe) that finds a face of 478 points in the middle of every square picture.

    It holds what decides that; the host fills in the other layers.
    """
    generator = torch.Generator().manual_seed(seed)
    anchors = {"cls_16": (88, 2), "cls_8": (96, 6), "reg_16": (88, 32), "reg_8": (96, 96)}
    weights = {f"detector_short.{name}.weight": torch.zeros(outside, inside, 1, 1) for name, (inside, outside) in anchors.items()}
    # of the answers, which are all as sure, the first counts: the corner's. Box (x, y, width, height) and six points, from there, in 1/128
    middle = torch.tensor([56, 56, 0, 0] + 12 * [56], dtype=torch.float32)
    box = middle + torch.tensor([0, 0, 64, 64, -14, -10, 14, -10, 0, 4, 0, 18, -28, 0, 28, 0])
    weights |= {"detector_short.cls_16.bias": torch.full((2,), 4.0), "detector_short.cls_8.bias": torch.full((6,), -9.0),
                "detector_short.reg_16.bias": box.repeat(2), "detector_short.reg_8.bias": box.repeat(6)}
    places = torch.cat([96 + 48 * torch.randn(478, 2, generator=generator).clamp(-1, 1), torch.randn(478, 1, generator=generator)], dim=1)
    weights |= {"mesh.head_landmarks.weight": torch.zeros(478 * 3, 8, 3, 3), "mesh.head_landmarks.bias": places.flatten()}
    weights |= {"canonical_vertices": torch.randn(468, 3, generator=generator), "procrustes_indices": torch.arange(0, 468, 12),
                "procrustes_weights": torch.ones(39)}
    for part in ("face_oval", "left_eye", "right_eye", "left_eyebrow", "right_eyebrow", "lips", "irises", "nose", "tesselation"):
        weights[f"topology.{part}"] = torch.tensor([[0, 1]], dtype=torch.int32)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, path)


def random_fp16(all_shapes: Mapping[str, Sequence[int]], seed: int = SEED) -> dict[str, Tensor]:
    """Quick weights for large files: pieces of one stretch of normal numbers, scaled by fan-in; norms at one, biases at zero."""
    period = 2**20
    largest = max(torch.Size(shape).numel() for shape in all_shapes.values())
    normal = torch.randn(period, generator=torch.Generator().manual_seed(seed)).repeat(largest // period + 2)
    weights, place = {}, 0
    for key, shape in all_shapes.items():
        if key.endswith(".pe"):
            weights[key] = recipe_state_dict(seed, "motion_module", {key: shape})[key]
        elif len(shape) == 1:
            weights[key] = (torch.ones if key.endswith("weight") else torch.zeros)(tuple(shape), dtype=torch.float16)
        else:
            place = (place + 7919) % period
            values = normal[place:place + torch.Size(shape).numel()]
            weights[key] = (values * (0.7 / torch.Size(shape[1:]).numel() ** 0.5)).half().view(tuple(shape))
    return weights


FACE_CHANNELS = (64, 96, 128, 128)  # not narrower: with one channel a norm group, the pass over a zero latent amplifies rounding


def of_a_family(name: str, seed: int = SEED) -> dict[str, dict[str, Tensor]]:
    """The files of Champ, AniPortrait or Moore's face reenactment by module name, small; weights by the recipe, as published."""
    face = name == "Moore face"
    channels = FACE_CHANNELS if face else CHANNELS
    denoiser, motion = denoiser_shapes(channels)
    files = {"reference_unet": reference_shapes(channels), "denoising_unet": denoiser, "motion_module": motion}
    if face:
        files["reference_unet"] = denoiser  # with its output head
    if name == "Champ":
        encoder = shapes(GuidanceEncoder(POSE_CHANNELS_OF_32, channels[0], device="meta"))
        unused = {key: tuple(shape) for key, shape in unused_shapes(POSE_CHANNELS_OF_32).items()}
        files |= {f"guidance_encoder_{kind}": encoder | unused for kind in ("depth", "normal", "semantic_map", "dwpose")}
    elif name == "AniPortrait":
        files["pose_guider"] = shapes(MultiScaleGuider((3, 8, 8, 8, 8, 16, 16, 32), (channels[0], *channels), 32, device="meta"))
    else:
        files |= {guider: pose_shapes(out=channels[0]) for guider in ("pose_guider1", "pose_guider2")}
    made = {module: recipe_state_dict(seed, module, wanted) for module, wanted in files.items()}
    if face:
        made["denoising_unet"] |= made.pop("motion_module")  # published in one file
    return made
