"""From guider files of any family to networks: which class, which widths, exact checks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import torch
from torch import Tensor, nn

from .checkpoint_files import CheckpointError, CheckpointInfo, Kind, first_dimension, identify
from .checkpoints import check_keys, pose_guider_config, prepare_pose_guider, wrong_kind
from .families import FAMILIES
from .guiders import MULTI_SCALE_HEADS, GuidanceEncoder, MultiScaleGuider, unused_shapes
from .pose_guider import PoseGuider

# words in a file's name -> which of a family's guiders it is: their tensors have the same names and shapes
_TYPE_WORDS = {"depth": "depth", "normal": "normal", "semantic": "semantic_map", "dwpose": "dwpose", "dw_pose": "dwpose"}


@dataclass(frozen=True)
class GuiderConfig:
    """What a guider's shapes tell.

    guider_class: as in `FamilyPreset`. channels: widths of its layers. outputs: widths of its features, in the order of the places where
    they enter the denoiser. inner: width of the multi-scale guider's transformers.
    """

    guider_class: str
    channels: tuple[int, ...]
    outputs: tuple[int, ...]
    inner: int = 0

    def build(self, *, operations: Any = nn, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> nn.Module:
        kw = {"operations": operations, "dtype": dtype, "device": device}
        if self.guider_class == "multi-scale":
            return MultiScaleGuider(self.channels, self.outputs, self.inner, **kw)
        return (GuidanceEncoder if self.guider_class == "guidance" else PoseGuider)(self.channels, self.outputs[0], **kw)


def prepare_guider(state_dict: Mapping[str, Tensor], source: str) -> tuple[GuiderConfig, dict[str, Tensor], CheckpointInfo]:
    """Checks a guider's tensors, of any family.

    Returns `(config, state dict for load_state_dict(strict=True), info)`; what Champ's files hold and nothing runs is checked, and left
    out. Raises CheckpointError.
    """
    info = identify(state_dict)
    if info.kind is Kind.POSE_GUIDER and info.family == "AniPortrait":
        config = GuiderConfig("multi-scale", *_multi_scale_widths(state_dict, source))
        unused: dict[str, Sequence[int]] = {}
    elif info.kind is Kind.POSE_GUIDER and info.family == "Champ":
        channels, out_channels = pose_guider_config(state_dict, source)
        config, unused = GuiderConfig("guidance", channels, (out_channels,)), dict(unused_shapes(channels))
    else:
        (channels, out_channels), weights, info = prepare_pose_guider(state_dict, source)
        return GuiderConfig("pose", channels, (out_channels,)), weights, info
    try:
        expected = {key: t.shape for key, t in config.build(device="meta").state_dict().items()}
    except (ValueError, IndexError, RuntimeError) as error:
        raise CheckpointError(f"{source}: {info.description} cannot be built from it: {error}.") from error
    check_keys({**expected, **unused}, state_dict, source=source, expected_kind=Kind.POSE_GUIDER)
    return config, {key: state_dict[key] for key in expected}, info


def _multi_scale_widths(state_dict: Mapping[str, Tensor], source: str) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """`(channels, outputs, inner)` of AniPortrait's guider."""

    def convolutions(prefix: str) -> Iterator[int]:
        """Output channels of a list's convolutions; its norms have tensors of one dimension."""
        found = {int(m[1]): t for key, t in state_dict.items() if (m := re.fullmatch(rf"{prefix}\.(\d+)\.weight", key)) and t.ndim == 4}
        return (first_dimension(found[i]) for i in sorted(found))

    channels, outputs = tuple(convolutions("conv_layers")), []
    levels = sum(re.fullmatch(r"conv_layers_\d+\.0\.weight", key) is not None for key in state_dict)
    for k in range(1, levels + 1):
        outputs += list(convolutions(f"conv_layers_{k}"))[-1:]
    first, inner = state_dict.get("final_proj.weight"), state_dict.get("cross_attn1.proj_in.weight")
    if first is None or inner is None or len(channels) != 8 or len(outputs) != 4 or first_dimension(inner) % MULTI_SCALE_HEADS:
        raise CheckpointError(f"{source} is not a complete AniPortrait pose guider: it has {len(channels)} of 8 convolutions before "
                              f"final_proj and {len(outputs)} of 4 levels after it. Download this file again, or choose a complete "
                              "file such as pose_guider.pth.")
    return channels, (first_dimension(first), *outputs), first_dimension(inner)


def guider_part(name: str, info: CheckpointInfo) -> str:
    """Which of its family's guiders (`FamilyPreset.guiders`) a file is: where there are several, its name alone tells. Empty: it does not.

    info: of `identify`; a guider of Moore's class may be one of face reenactment's two.
    """
    stem = PurePath(name.replace("\\", "/")).stem.lower()
    if info.family == "Champ":
        found = {part for word, part in _TYPE_WORDS.items() if word in stem}
        return f"guidance_encoder_{found.pop()}" if len(found) == 1 else ""
    two = re.search(r"guider[_-]?([12])$", stem)
    if two and info.family != "AniPortrait":
        return f"pose_guider{two[1]}"
    return "pose_guider"


def family_of_guiders(parts: Sequence[str], infos: Sequence[CheckpointInfo]) -> str | None:
    """The family that guiders of one model, by `guider_part`, are of; None where they tell none (a Moore guider may be MusePose's)."""
    families = {info.family for info in infos}
    if families == {"Champ"}:
        return "Champ"
    if families == {"AniPortrait"}:
        return "AniPortrait"
    return "Moore face" if set(parts) == set(FAMILIES["Moore face"].guiders) else None


def check_guider_file(state_dict: Mapping[str, Tensor], source: str) -> CheckpointInfo:
    """Raises CheckpointError unless a guider file is complete."""
    info = identify(state_dict)
    if info.kind is not Kind.POSE_GUIDER or not info.supported:
        raise wrong_kind(info, source, Kind.POSE_GUIDER)
    return prepare_guider(state_dict, source)[2]
