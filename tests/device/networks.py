"""The small networks of tests/host in every dtype, and files of LoRAs for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.host import equipment, networks

CALM = 0.25
EIGHT_BITS = {"fp8_e4m3fn": torch.float8_e4m3fn, "fp8_e5m2": torch.float8_e5m2}
FAMILIES = ("Champ", "AniPortrait", "Moore face")
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


def write_base(base: Path) -> None:
    """A host's base directory: models/ with the small family as it is and as `small_fp16`, `small_bf16`, `small_fp32`,
    Champ, AniPortrait and face reenactment; input/."""
    equipment.write_models(base / "models")
    equipment.write_media(base / "input")
    family = networks.small_family()
    # with the recipe's weights each step makes rounding, which differs from processor to processor, ten times as large
    family["denoising_unet"]["conv_out.weight"] *= CALM
    networks.write_family(base / "models" / "animate_anyone" / "small", family)
    for name, dtype in DTYPES.items():
        converted = {module: {key: value.to(dtype) for key, value in weights.items()} for module, weights in family.items()}
        networks.write_family(base / "models" / "animate_anyone" / f"small_{name}", converted)
    for name, dtype in EIGHT_BITS.items():
        halved = {module: {key: value.to(dtype if value.ndim > 1 and not key.endswith(".pe") else torch.float16)
                           for key, value in weights.items()} for module, weights in family.items()}
        networks.write_family(base / "models" / "animate_anyone" / f"small_{name}", halved)
    for name in FAMILIES:
        of_family = networks.of_a_family(name)
        of_family["denoising_unet"]["conv_out.weight"] *= CALM
        networks.write_family(base / "models" / "animate_anyone" / name, of_family)
    decoder = {key.removeprefix("taesd_decoder."): value for key, value in networks.tiny_vae().items() if key.startswith("taesd_decoder.")}
    (base / "models" / "vae_approx").mkdir(parents=True, exist_ok=True)
    save_file(decoder, base / "models" / "vae_approx" / "taesd_decoder.safetensors")


def lora_weights(network: nn.Module, ends: Sequence[str], rank: int = 4, strength: float = 0.1, seed: int = 5) -> dict[str, Tensor]:
    """A LoRA for every weight whose name ends so, by the names that SD 1.5's trainers write. strength: of each factor's numbers."""
    generator = torch.Generator().manual_seed(seed)
    weights: dict[str, Tensor] = {}
    for key, value in network.state_dict().items():
        if key.endswith(tuple(ends)):
            name = "lora_unet_" + key.removesuffix(".weight").replace(".", "_")
            kernel = (1, 1) if value.ndim == 4 else ()
            weights[f"{name}.lora_up.weight"] = strength * torch.randn(value.shape[0], rank, *kernel, generator=generator)
            weights[f"{name}.lora_down.weight"] = strength * torch.randn(rank, *value.shape[1:], generator=generator)
            weights[f"{name}.alpha"] = torch.tensor(float(rank))
    return weights


def write_lora(path: Path, network: nn.Module, ends: Sequence[str]) -> dict[str, Tensor]:
    """`lora_weights` in a file; gives them as well."""
    weights = lora_weights(network, ends)
    save_file(weights, path)
    return weights
