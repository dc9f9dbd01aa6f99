"""Random weights that anyone can make again from a seed (the recipe of `../shared/golden/README.md`)."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from animate_core.motion import position_table


def recipe_tensor(seed: int, module: str, key: str, shape: Sequence[int]) -> Tensor:
    """The float16 tensor of one key; float32 for position tables and int64 for counters, which are not drawn."""
    if key.endswith(".pe"):
        return position_table(shape[1], shape[2]).unsqueeze(0)
    if key.endswith("num_batches_tracked"):
        return torch.zeros(tuple(shape), dtype=torch.int64)
    x = np.random.RandomState(zlib.crc32(f"{seed}/{module}/{key}".encode("ascii"))).standard_normal(tuple(shape))
    if key.endswith("running_var"):
        x = 1 + 0.1 * np.abs(x)
    elif key == "scale":
        x = 2 + 0.1 * x
    elif len(shape) == 1:
        x = 1 + 0.1 * x if key.endswith("weight") else 0.05 * x
    else:
        x = x * (gain(module, key) / np.sqrt(np.prod(shape[1:])))
    return torch.from_numpy(x.astype(np.float32).astype(np.float16))


def gain(module: str, key: str) -> float:
    if module.startswith(("pose_guider", "guidance_encoder")) and not key.startswith(("attentions.", "guidance_attention.", "cross_attn")):
        return 1.9
    if ".to_q." in key or ".to_k." in key:
        return 1.5
    if ".to_v." in key or ".to_out.0." in key:
        return 1.0
    return 1.6 if "time_emb" in key else 0.7


def recipe_state_dict(seed: int, module: str, shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Weights of `reference_unet`, `denoising_unet`, `motion_module` or a guider for the given shapes."""
    return {key: recipe_tensor(seed, module, key, shape) for key, shape in shapes.items()}
