"""The semantic branch: CLIP's image encoder through `transformers` (docs/method.md E)."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from .checkpoints import CheckpointError, read_state_dict
from .preprocess import clip_input

if TYPE_CHECKING:
    from transformers import CLIPVisionModelWithProjection

log = logging.getLogger(__name__)

WEIGHT_FILES = ("model.safetensors", "pytorch_model.safetensors", "pytorch_model.bin")
LAYER = "vision_model.encoder.layers."


def vision_weights(state_dict: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """The image encoder's tensors of a CLIP state dict (a whole CLIPModel's too).

    Raises CheckpointError if they, or the projection, are not there.
    """
    keep = {k: v for k, v in state_dict.items() if k.startswith(("vision_model.", "visual_projection.")) and not k.endswith("position_ids")}
    if f"{LAYER}0.self_attn.q_proj.weight" not in keep:
        raise CheckpointError(f"{source} contains no CLIP image encoder (no vision_model.*): choose the image_encoder of "
                              "sd-image-variations, or another CLIP ViT-L/14 vision model in Hugging Face's format")
    if "visual_projection.weight" not in keep:
        raise CheckpointError(f"{source} has no visual_projection.weight; Animate Anyone needs the projected image embedding "
                              "(CLIPVisionModelWithProjection)")
    return keep


def vision_config(state_dict: Mapping[str, Tensor], given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The encoder's configuration, from its tensors' shapes and, where it is there, from its config.json.

    Shapes cannot tell the number of heads (64 channels each in OpenAI's models) and the activation (quick_gelu).
    """
    patch = state_dict["vision_model.embeddings.patch_embedding.weight"]
    tokens = state_dict["vision_model.embeddings.position_embedding.weight"].shape[0]
    hidden, size = patch.shape[0], patch.shape[-1]
    layers = 1 + max(int(k[len(LAYER):].split(".")[0]) for k in state_dict if k.startswith(LAYER))
    config: dict[str, Any] = {
        "num_attention_heads": max(1, hidden // 64), "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5,
        **{k: v for k, v in (given or {}).items() if k in ("num_attention_heads", "hidden_act", "layer_norm_eps")},
        "hidden_size": hidden, "num_hidden_layers": layers, "patch_size": size, "num_channels": patch.shape[1],
        "image_size": size * round((tokens - 1) ** 0.5),
        "intermediate_size": state_dict[f"{LAYER}0.mlp.fc1.weight"].shape[0],
        "projection_dim": state_dict["visual_projection.weight"].shape[0],
    }
    return config


def read_clip_vision(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Configuration and weights of a Hugging Face folder, or of one file with or without a config.json beside it.

    Raises CheckpointError for what is no CLIP image encoder.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    if path.is_dir():
        files = [path / name for name in WEIGHT_FILES if (path / name).is_file()] or sorted(path.glob("*.safetensors"))
        if not files:
            raise CheckpointError(f"{path}: the folder contains no weights; it needs {', '.join(WEIGHT_FILES)} or another .safetensors")
        path = files[0]
    weights = vision_weights(read_state_dict(path), str(path))
    given: dict[str, Any] = {}
    if (folder / "config.json").is_file():
        try:
            given = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{folder / 'config.json'} is not a JSON configuration ({error})") from error
        given = given.get("vision_config", given)
    return vision_config(weights, given), weights


def load_clip_vision(path: str | Path, *, dtype: torch.dtype | None = None,
                     device: torch.device | str | None = None) -> CLIPVisionModelWithProjection:
    """The encoder as transformers' model, in evaluation mode. Raises CheckpointError."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    config, weights = read_clip_vision(path)
    model = CLIPVisionModelWithProjection(CLIPVisionConfig(**config))
    missing, unexpected = model.load_state_dict(weights, strict=False)
    missing = [k for k in missing if not k.endswith("position_ids")]
    if missing or unexpected:
        raise CheckpointError(f"{path}: {len(missing)} tensors missing {missing[:3]}, {len(unexpected)} unexpected {unexpected[:3]}")
    return model.eval().to(device=device, dtype=dtype)


@torch.inference_mode()
def image_tokens(model: CLIPVisionModelWithProjection, image: Image.Image, squash: bool = True) -> Tensor:
    """The picture's projected embedding as one token `[1, 1, D]` (not L2-normalised; D = 768 for the published models)."""
    pixels = clip_input(image, model.config.image_size, squash).to(model.device, model.dtype)
    return model(pixel_values=pixels).image_embeds.unsqueeze(1)
