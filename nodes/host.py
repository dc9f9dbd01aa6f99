"""What this pack knows of the host's internals: model folders, patchers, devices and dtypes, attention, cancel, previews."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import comfy.clip_vision
import comfy.model_management as mm
import comfy.model_patcher
import comfy.ops
import comfy.sd
import comfy.utils
import folder_paths
import latent_preview
import torch
from comfy.ldm.modules import attention as host_attention
from PIL import Image
from torch import Tensor, nn

from ..animate_core.blocks import Attention
from ..animate_core.checkpoints import CheckpointError, clean_state_dict, read_state_dict

log = logging.getLogger(__name__)

MODEL_FOLDER = "animate_anyone"
POSE_FOLDER = "animate_anyone_pose"
WEIGHT_DTYPES = {"auto": None, "fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32,
                 "fp8_e4m3fn": torch.float8_e4m3fn, "fp8_e5m2": torch.float8_e5m2}
PREVIEW_FRAMES = 6
# Sage attention has kernels for heads up to 128 wide; with few keys (motion modules, the deepest level) quantising gains nothing.
LOW_PRECISION_WIDTH = 128
LOW_PRECISION_KEYS = 256


def register_model_folder() -> None:
    """Adds `models/animate_anyone`; users may place the category elsewhere in extra_model_paths.yaml."""
    folder_paths.add_model_folder_path(MODEL_FOLDER, os.path.join(folder_paths.models_dir, MODEL_FOLDER))
    paths, _ = folder_paths.folder_names_and_paths[MODEL_FOLDER]
    # a new category starts with no extensions, which lists every file
    folder_paths.folder_names_and_paths[MODEL_FOLDER] = (paths, set(folder_paths.supported_pt_extensions))
    register_pose_folder([*paths, *folder_paths.folder_names_and_paths.get("detection", ([],))[0]])


def register_pose_folder(places: list[str]) -> None:
    """A category for pose models, which are no PyTorch files and so in no other category's list, wherever packs and people keep them."""
    places = [*places, *(os.path.join(folder_paths.models_dir, name) for name in ("detection", "dwpose", "onnx")),
              *(os.path.join(path, "comfyui_controlnet_aux", "ckpts") for path in folder_paths.get_folder_paths("custom_nodes"))]
    for place in places:
        folder_paths.add_model_folder_path(POSE_FOLDER, place)
    folder_paths.folder_names_and_paths[POSE_FOLDER] = (folder_paths.get_folder_paths(POSE_FOLDER), {".onnx"})


def model_list(category: str) -> list[str]:
    """A category's files, as the host lists them but with `/` on Windows too, where the templates' names would be on no list otherwise."""
    return [name.replace(os.sep, "/") for name in folder_paths.get_filename_list(category)]


def file_stamp(*paths: str) -> tuple[tuple[str, int, int], ...]:
    """Changes when a file does: what a loader's `fingerprint_inputs` returns."""
    return tuple((p, os.stat(p).st_mtime_ns, os.stat(p).st_size) for p in paths if os.path.exists(p))


def stays_inside(name: str) -> bool:
    """Whether a folder's name, joined to another's path, stays below it; hosts before 0.27 have no such check. Links may lead out."""
    words = name.replace("\\", "/").split("/")
    return words[0] != "" and ".." not in words and not os.path.splitdrive(name)[0]


def load_state_dict(path: str) -> dict[str, Tensor]:
    """A checkpoint's tensors, through the host's zero-copy reader where it has one. Raises CheckpointError."""
    if path.lower().endswith((".safetensors", ".sft")):
        try:
            return clean_state_dict(comfy.utils.load_torch_file(path), path)
        except Exception as error:
            log.debug("the host could not read %s (%s); reading it again for a clear message", path, error)
    return read_state_dict(path)


def choose_dtypes(choice: str, state_dict: dict[str, Tensor]) -> tuple[torch.dtype, torch.dtype | None]:
    """Storage dtype, and compute dtype where it differs (else None), for a weight_dtype widget and a file.

    Raises ValueError for 8 bits on a device that has none.
    """
    stored = comfy.utils.weight_dtype(state_dict)
    dtype = WEIGHT_DTYPES[choice]
    device = mm.get_torch_device()
    if dtype is None:
        dtype = mm.unet_dtype(model_params=comfy.utils.calculate_parameters(state_dict), weight_dtype=stored)
        if mm.is_device_cpu(device) and stored is not None and stored.itemsize < dtype.itemsize:
            # the CPU computes in fp32; the weights may stay as they are and take half the memory, or a quarter
            dtype = stored
    elif not mm.supports_cast(device, dtype):
        raise ValueError(f"weight_dtype: {device.type} does not support {choice}; choose fp16")
    return dtype, mm.unet_manual_cast(dtype, device)


def build_patcher(network: Callable[..., nn.Module], state_dict: dict[str, Tensor], choice: str) -> tuple[Any, torch.dtype]:
    """A network with its weights in the host's patcher, and the dtype that it computes in.

    network: takes `operations`, `dtype` and `device`.
    """
    dtype, cast = choose_dtypes(choice, state_dict)
    offload = mm.unet_offload_device()
    model = network(operations=comfy.ops.pick_operations(dtype, cast), dtype=dtype, device=offload).eval().requires_grad_(False)
    patcher = comfy.model_patcher.CoreModelPatcher(model, load_device=mm.get_torch_device(), offload_device=offload)
    mm.archive_model_dtypes(model)
    assign_weights(patcher, model, state_dict, dtype)
    return patcher, cast or dtype


def assign_weights(patcher: Any, network: nn.Module, state_dict: dict[str, Tensor], dtype: torch.dtype) -> None:
    """Gives a network its weights: the file's own tensors, memory-mapped, if their dtype fits, so that no copy takes RAM.

    A dynamic patcher casts when a layer runs; others need the dtype that was asked for. In 8 bits, only matrices and kernels are kept so.
    """
    as_stored = {key for key, x in state_dict.items() if key.endswith(".pe") or dtype.itemsize == 1 and x.ndim < 2}
    if not patcher.is_dynamic():
        state_dict = {key: x if key in as_stored else x.to(dtype) for key, x in state_dict.items()}
    network.load_state_dict(state_dict, strict=True, assign=True)
    for key in as_stored:
        path, _, name = key.rpartition(".")
        # where the host looks up what dtype it is to have on the card
        setattr(network.get_submodule(path), f"{name}_comfy_model_dtype", state_dict[key].dtype)


@contextmanager
def on_device(patcher: Any, memory: int) -> Iterator[torch.device]:
    """Loads a network with `memory` bytes of activations to spare; afterwards the GPU is given back."""
    mm.load_models_gpu([patcher], memory_required=memory)
    try:
        yield patcher.load_device
    finally:
        mm.free_memory(1e30, patcher.load_device, [loaded for loaded in mm.current_loaded_models if loaded.model is not patcher])


def make_room(memory: int) -> None:
    """Unloads models until so many bytes of the GPU are free, for work that the host does not manage."""
    mm.free_memory(memory, mm.get_torch_device())


def output_device() -> torch.device:
    """Where the host keeps what nodes give out: off the GPU, unless the user said otherwise."""
    return mm.intermediate_device()


def keep(value: Tensor, room: float) -> Tensor:
    """The tensor where it is, if so many bytes are free there beside it, else off the GPU."""
    # by the factor that the host asks for before it computes both halves in one batch
    return value if mm.get_free_memory(value.device) > 1.5 * room else value.to(output_device())


def attention(transformer_options: dict[str, Any]) -> Attention:
    """The host's attention, with the user's overrides; quantised kernels are for what they can do and gain by."""

    def run(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
        exact = q.shape[-1] // heads > LOW_PRECISION_WIDTH or k.shape[1] < LOW_PRECISION_KEYS
        precision = {"low_precision_attention": False} if exact else {}
        return host_attention.optimized_attention(q, k, v, heads, transformer_options=transformer_options, **precision)

    return run


def check_cancel() -> None:
    mm.throw_exception_if_processing_interrupted()


def clip_vision_from(config: dict[str, Any], weights: dict[str, Tensor]) -> Any:
    """The host's CLIP_VISION of any size from Hugging Face weights."""
    # a file, since hosts before 0.23 take no dict
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "config.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump({**config, "model_type": "clip_vision_model"}, file)
        clip = comfy.clip_vision.ClipVisionModel(path)
    clip.load_sd(weights)
    return clip


def vae_from(weights: dict[str, Tensor], source: str) -> Any:
    """The host's VAE of a file that holds a whole one. Raises CheckpointError."""
    vae = comfy.sd.VAE(sd=dict(weights))
    # the host only warns of missing tensors, and keeps what memory happens to hold in their place
    missing = [] if vae.first_stage_model is None else sorted(vae.first_stage_model.state_dict().keys() - weights.keys())
    if vae.first_stage_model is None or missing:
        lacking = f": {len(missing)} tensors are missing ({', '.join(missing[:3])})" if missing else ""
        raise CheckpointError(f"{source} is not a complete VAE that ComfyUI knows{lacking}")
    return vae


def preview_frames(frames: int) -> list[int]:
    """Some frames, evenly spread over a clip."""
    count = min(PREVIEW_FRAMES, frames)
    return [round(i * (frames - 1) / max(1, count - 1)) for i in range(count)]


def frame_strip(latents: Tensor) -> Tensor:
    """Some frames of a clip side by side as one latent picture: `[F, C, h, w]` -> `[1, C, h, n * w]`."""
    return torch.cat([latents[i] for i in preview_frames(len(latents))], dim=-1).unsqueeze(0)


class FrameProgress:
    """Progress over frames; raises if the user cancelled."""

    def __init__(self, total: int) -> None:
        self.bar = comfy.utils.ProgressBar(total)

    def update(self, count: int) -> None:
        check_cancel()
        self.bar.update(count)


class ClipProgress:
    """Progress over steps and windows, with a picture of several frames of the clip after each step."""

    def __init__(self, model: Any, total: int) -> None:
        self.bar = comfy.utils.ProgressBar(total)
        self.previewer = latent_preview.get_previewer(model.load_device, model.model.latent_format)
        self.done = 0

    def window(self, clips: int) -> None:
        """Called before each window of so many clips; raises if the user cancelled."""
        check_cancel()
        self.bar.update_absolute(min(self.done, self.bar.total))
        self.done += clips

    def step(self, clean: Tensor) -> None:
        """clean: predicted latents `[F, 4, h, w]`."""
        preview = None
        if self.previewer is not None:
            # one at a time: a decoder's activations for six pictures at 512x768 take 1.7 GiB
            pictures = [self.previewer.decode_latent_to_preview(clean[i:i + 1]) for i in preview_frames(len(clean))]
            strip = Image.new("RGB", (sum(picture.width for picture in pictures), pictures[0].height))
            for i, picture in enumerate(pictures):
                strip.paste(picture, (i * picture.width, 0))
            preview = ("JPEG", strip, latent_preview.MAX_PREVIEW_RESOLUTION)
        self.bar.update_absolute(self.done, preview=preview)
