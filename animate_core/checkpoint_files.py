"""Reading checkpoint files safely, and telling from names and shapes alone what a file holds.

Nothing here copies or reads tensor data: the files are memory-mapped, and only names and shapes are looked at.
Pickles are read with `weights_only=True`, so a file cannot run code.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

_WRAPPERS = ("state_dict", "model_state_dict", "module", "model", "params", "params_ema")
_PREFIXES = ("module.", "_orig_mod.", "model.", "diffusion_model.", "unet.", "denoising_unet.", "reference_unet.", "pose_guider.", "net.")
# what ComfyUI's Save Model writes beside the weights, to tell the prediction type
_MARKERS = ("v_pred", "ztsnr", "edm_vpred.sigma_max", "edm_vpred.sigma_min")
_SAFETENSORS = (".safetensors", ".sft")
_WEB_PAGE = (b"<!doctype", b"<html", b"<?xml")


class CheckpointError(ValueError):
    """A checkpoint file cannot be used. The message names the file, what is wrong, and what would be right."""


class Kind(str, Enum):
    """What a checkpoint file holds."""

    REFERENCE_NET = "reference_net"
    DENOISER = "denoiser"
    MERGED = "merged"  # a denoiser and its motion modules in one file
    MOTION_MODULE = "motion_module"
    MOTION_MODULE_DIFFUSERS = "motion_module_diffusers"  # the names of diffusers' MotionAdapter
    POSE_GUIDER = "pose_guider"
    CLIP_VISION = "clip_vision"
    VAE = "vae"
    SD_UNET_LDM = "sd_unet_ldm"
    CONTROLNET = "controlnet"
    LORA = "lora"
    PIPELINE = "pipeline"  # several networks under prefixes
    UNKNOWN = "unknown"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class CheckpointInfo:
    """What a file holds, by its tensor names and shapes.

    Attributes:
        kind: see `Kind`.
        family: whose weights they seem to be ("Moore" stands for everything of Moore's shape), None where shapes do not say.
        description: a noun phrase for messages, such as "an AniPortrait pose guider".
        supported: whether one of this package's loaders takes it.
    """

    kind: Kind
    family: str | None
    description: str
    supported: bool


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a checkpoint file by name, on the CPU, memory-mapped where the format allows.

    `.safetensors` and `.sft` (under any name), and PyTorch pickles (`.pth`, `.pt`, `.bin`, `.ckpt`).
    Wrappers and common prefixes are removed as by `clean_state_dict`.

    Raises:
        CheckpointError: missing, empty, truncated or foreign file, a pickle that holds more than tensors, or no tensors at all.
    """
    path = Path(path)
    if not path.is_file():
        state = "is a folder, not a checkpoint file" if path.is_dir() else "does not exist"
        raise CheckpointError(f"{path} {state}: choose a .safetensors or .pth file.")
    size = path.stat().st_size
    if size == 0:
        raise CheckpointError(f"{path.name} is empty (0 bytes): download it again.")
    with path.open("rb") as file:
        head = file.read(64)
    start = head.lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{path.name} is a Git LFS pointer, not the weights: download the file itself (`git lfs pull`).")
    if start.startswith(_WEB_PAGE):
        raise CheckpointError(f"{path.name} is a web page, not the weights: download the file itself.")
    raw: object
    # safetensors: the header's length as 8 bytes, then the header; looked for first, as the length's bytes may be a pickle's
    if head[5:9] == b"\0\0\0{":
        raw = _read_safetensors(path)
    elif head.startswith((b"PK\x03\x04", b"\x80")):
        if path.suffix.lower() in _SAFETENSORS:  # torch.load goes by the name
            raise CheckpointError(f"{path.name} is not a safetensors file: rename a PyTorch file to .pth, or download the file again.")
        raw = _read_pickle(path, zipped=head.startswith(b"PK"))
    elif path.suffix.lower() in _SAFETENSORS:
        raw = _read_safetensors(path)
    else:
        raise CheckpointError(f"{path.name} is not a checkpoint: neither a safetensors file nor a file saved by PyTorch.")
    return clean_state_dict(raw, path.name)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is no mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path.name} is damaged or incomplete ({error}): download it again.") from error


def _read_pickle(path: Path, *, zipped: bool) -> object:
    try:
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
        except (OSError, RuntimeError):
            if not zipped:
                raise
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises nearly anything
        # PyTorch's own text tells the reader how to load it unsafely, so it is not passed on
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        if named or "TorchScript" in str(error):
            what = named.group(1) if named else "a TorchScript program"
            raise CheckpointError(
                f"{path.name} is refused: it contains more than tensors ({what}), and loading it could run code. "
                "Choose a .safetensors file, or a file with weights only."
            ) from None
        raise CheckpointError(
            f"{path.name} is damaged or incomplete, or not a PyTorch checkpoint ({type(error).__name__}): download it again."
        ) from None


def clean_state_dict(raw: object, source: str) -> dict[str, Tensor]:
    """The tensors of a loaded checkpoint under their bare names.

    Unwraps `state_dict`, `module`, `model` and the like, removes prefixes that all names share (`module.`, `model.`, ...),
    and leaves out entries that are no tensors (`epoch`, `animatediff_config`, ...) and markers of the
    prediction type (`v_pred`). Tensors are passed on as they are.

    Args:
        raw: what the file's reader returned.
        source: the file's name, for messages.

    Raises:
        CheckpointError: there are no tensors in it.
    """
    for _ in range(4):  # a pickle may hold itself, so not without end
        if not isinstance(raw, Mapping):
            raise CheckpointError(f"{source} contains a {type(raw).__name__} instead of named tensors: choose a file with weights.")
        inner = [raw[key] for key in _WRAPPERS if isinstance(raw.get(key), Mapping) and raw[key]]
        if not inner:
            break
        raw = inner[0]
    if not isinstance(raw, Mapping):
        raise CheckpointError(f"{source} contains no named tensors: choose a file with weights.")
    tensors = {key: value for key, value in raw.items() if isinstance(key, str) and isinstance(value, Tensor) and key not in _MARKERS}
    if not tensors:
        raise CheckpointError(f"{source} contains no tensors: choose a file with weights.")
    while prefix := next((p for p in _PREFIXES if all(key.startswith(p) for key in tensors)), ""):
        tensors = {key[len(prefix):]: value for key, value in tensors.items()}
    return tensors


def position_rows(state_dict: Mapping[str, Tensor]) -> int | None:
    """Rows of the stored position tables `[1, rows, C]`: the longest window that the weights know. None without tables."""
    rows = [t.shape[1] for key, t in state_dict.items() if key.endswith((".pos_encoder.pe", ".pos_embed.pe")) and t.ndim == 3]
    return max(rows, default=None)


def is_motion(key: str) -> bool:
    """Whether the tensor belongs to a motion module."""
    return ".motion_modules." in key


def guider_widths(state_dict: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Channel widths of a pose guider of Moore's class: of `conv_in`, then of each stride-2 convolution `blocks.1, 3, 5`."""
    odd = sorted(int(m[1]) for key in state_dict if (m := re.fullmatch(r"blocks\.(\d*[13579])\.weight", key)))
    return tuple(first_dimension(state_dict[key]) for key in ("conv_in.weight", *(f"blocks.{i}.weight" for i in odd)))


def first_dimension(tensor: Tensor) -> int:
    """Output channels of a weight; 0 for a scalar."""
    return tensor.shape[0] if tensor.ndim else 0


def identify(state_dict: Mapping[str, Tensor]) -> CheckpointInfo:
    """Says what a cleaned state dict is, from names and shapes alone. Never raises for a state dict."""
    keys = state_dict.keys()

    def has(*parts: str) -> bool:
        return any(part in key for part in parts for key in keys)

    if any(re.search(r"(^|[._])lora[._]|\.hada_w|\.lokr_w", key.lower()) for key in keys):
        return CheckpointInfo(Kind.LORA, None, "a LoRA", False)
    if len({key.split(".", 1)[0] for key in keys} & {"denoising_unet", "reference_unet", "pose_guider", "motion_module"}) > 1:
        return CheckpointInfo(Kind.PIPELINE, None, "a single file with several networks of a pipeline", False)
    if has("input_blocks.0.0.weight"):
        whole = has("first_stage_model.", "cond_stage_model.")
        name = "a whole Stable Diffusion checkpoint" if whole else "a Stable Diffusion UNet"
        return CheckpointInfo(Kind.SD_UNET_LDM, None, f"{name} with the original (LDM) names", False)
    if "conv_layers.0.weight" in keys:
        return _identify_conv_layers(state_dict)
    if {"conv_in.weight", "blocks.0.weight", "conv_out.weight"} <= keys:
        return _identify_guider(state_dict)
    if has("controlnet_down_blocks.", "controlnet_cond_embedding.", "zero_convs."):
        return CheckpointInfo(Kind.CONTROLNET, None, "a ControlNet", False)
    if any(map(is_motion, keys)) or "time_embedding.linear_1.weight" in keys and has("down_blocks.0.resnets."):
        return _identify_unet(state_dict)
    if has("vision_model.embeddings.patch_embedding.weight") or "visual.conv1.weight" in keys:
        name = "a whole CLIP model, vision and text" if has("text_model.", "token_embedding.") else "a CLIP vision model"
        return CheckpointInfo(Kind.CLIP_VISION, None, name, True)
    if has("encoder.conv_in.weight", "decoder.conv_in.weight", "taesd_decoder."):
        return CheckpointInfo(Kind.VAE, None, "a VAE", False)
    return CheckpointInfo(Kind.UNKNOWN, None, f"an unknown kind of file ({_some(keys)})", False)


def _identify_conv_layers(state_dict: Mapping[str, Tensor]) -> CheckpointInfo:
    """The guiders that are lists of convolutions."""
    if "cross_attn1.proj_in.weight" in state_dict or "conv_layers_1.0.weight" in state_dict:
        return CheckpointInfo(Kind.POSE_GUIDER, "AniPortrait", "an AniPortrait pose guider", True)
    form = "original" if "conv_layers.1.running_mean" in state_dict else "hack"
    return CheckpointInfo(Kind.POSE_GUIDER, "Open-AnimateAnyone", f"an Open-AnimateAnyone pose guider (the {form} form)", False)


def _identify_guider(state_dict: Mapping[str, Tensor]) -> CheckpointInfo:
    if any(key.startswith(("guidance_attention.", "attentions.")) for key in state_dict):
        return CheckpointInfo(Kind.POSE_GUIDER, "Champ", "a Champ guidance encoder", True)
    widths = guider_widths(state_dict)
    known: dict[tuple[int, ...], tuple[str | None, str]] = {
        (16, 32, 96, 256): ("Moore", "Moore or MusePose"),
        (16, 32, 64, 128): ("novita", "novita"),
    }
    family, owner = known.get(widths, (None, "of Moore's class"))
    return CheckpointInfo(Kind.POSE_GUIDER, family, f"a pose guider ({owner}, channels {', '.join(map(str, widths))})", True)


def _identify_unet(state_dict: Mapping[str, Tensor]) -> CheckpointInfo:
    """UNets and motion modules with diffusers' block names."""
    keys = state_dict.keys()
    motion = [key for key in keys if is_motion(key)]
    spatial = any(".resnets." in key for key in keys)
    rows = position_rows(state_dict)
    family = {32: "Moore", 128: "MusePose"}.get(rows or 0)
    if motion and not spatial:
        positions = f"{rows} positions" if rows else "no position table"
        mid = "with" if any(key.startswith("mid_block.") for key in motion) else "without"
        adapter = not any(".temporal_transformer." in key for key in motion)
        kind, names = (Kind.MOTION_MODULE_DIFFUSERS, "diffusers' names") if adapter else (Kind.MOTION_MODULE, "the original names")
        return CheckpointInfo(kind, family, f"a motion module ({names}, {mid} the mid block, {positions})", True)
    if other := _other_unet(state_dict):
        return CheckpointInfo(Kind.UNKNOWN, None, other, False)
    if motion:
        return CheckpointInfo(Kind.MERGED, family, "a denoising UNet with its motion modules in the same file", True)
    if "conv_out.weight" in keys:
        same = "a denoising UNet without motion modules (a plain Stable Diffusion 1.5 UNet has the same names)"
        return CheckpointInfo(Kind.DENOISER, None, same, True)
    last = "up_blocks.3.attentions.2.transformer_blocks.0."
    if f"{last}norm1.weight" in keys and f"{last}attn1.to_q.weight" not in keys:
        return CheckpointInfo(Kind.REFERENCE_NET, "Open-AnimateAnyone", "an Open-AnimateAnyone ReferenceNet (without the last block's "
                              "tail)", False)
    return CheckpointInfo(Kind.REFERENCE_NET, None, "a ReferenceNet (a UNet without output head)", True)


def _other_unet(state_dict: Mapping[str, Tensor]) -> str:
    """Names the UNets that share the block names and are of another model; empty for Stable Diffusion 1.5's."""
    if "add_embedding.linear_1.weight" in state_dict:
        return "an SDXL UNet"
    if any(key.endswith(".proj_in.weight") and ".attentions." in key and t.ndim == 2 for key, t in state_dict.items()):
        return "a Stable Diffusion 2 UNet"
    conv_in = state_dict.get("conv_in.weight")
    if conv_in is not None and conv_in.ndim == 4 and conv_in.shape[1] == 9:
        return "an inpainting UNet"
    return ""


def _some(keys: Iterable[str], count: int = 3) -> str:
    names = list(keys)
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")
