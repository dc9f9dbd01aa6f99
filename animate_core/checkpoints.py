"""From checkpoint files to networks: configuration from shapes, merging, exact checks, conversion.

    python -m animate_core.checkpoints inspect FILE...
    python -m animate_core.checkpoints check FILE...
    python -m animate_core.checkpoints convert IN OUT.safetensors --dtype fp16

The `prepare_*` functions return what `load_state_dict(strict=True)` takes, or raise a `CheckpointError` that names the file,
what it seems to be, and what to choose instead. Tensors are renamed, never copied; only position tables are recomputed.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from .checkpoint_files import (
    CheckpointError,
    CheckpointInfo,
    Kind,
    clean_state_dict,
    first_dimension,
    guider_widths,
    identify,
    is_motion,
    position_rows,
    read_state_dict,
)
from .families import family_preset
from .motion import position_table
from .pose_guider import PoseGuider
from .unet import UNet, UNetConfig

__all__ = [
    "CheckpointError", "CheckpointInfo", "Conversion", "Kind", "check_keys", "clean_state_dict", "convert", "identify", "is_motion",
    "merge_motion", "pose_guider_config", "position_rows", "prepare_denoiser", "prepare_pose_guider", "prepare_reference_net",
    "published_names", "read_state_dict", "unet_config", "with_position_tables",
]

logger = logging.getLogger(__name__)

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}

# kind wanted -> (what it is called, a file that is one, the node that takes it)
_WANTED = {
    Kind.REFERENCE_NET: ("a ReferenceNet", "reference_unet.pth", "Load ReferenceNet"),
    Kind.DENOISER: ("a denoising UNet", "denoising_unet.pth", "Load Motion UNet"),
    Kind.MERGED: ("a denoising UNet", "denoising_unet.pth", "Load Motion UNet"),
    Kind.MOTION_MODULE: ("a motion module in `motion`", "motion_module.pth", "Load Motion UNet"),
    Kind.MOTION_MODULE_DIFFUSERS: ("a motion module in `motion`", "motion_module.pth", "Load Motion UNet"),
    Kind.POSE_GUIDER: ("a pose guider of Moore-AnimateAnyone, MusePose, novita or AniPortrait, or a guidance encoder of Champ,",
                       "pose_guider.pth", "Load Pose Guider"),
}
_HEAD = ("conv_norm_out.", "conv_out.")
# below `transformer_blocks.0.` of a motion module: diffusers' MotionAdapter -> published
_ADAPTER_NAMES = {
    "norm1.": "norms.0.",
    "norm2.": "norms.1.",
    "norm3.": "ff_norm.",
    "attn1.": "attention_blocks.0.",
    "attn2.": "attention_blocks.1.",
}


# ---- names -------------------------------------------------------------------------------------------------------------------


def published_names(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors with motion modules under the published (AnimateDiff's original) names; other names stay.

    diffusers' MotionAdapter keeps one position table a module, which becomes those of both attention blocks.
    """
    renamed: dict[str, Tensor] = {}
    for key, tensor in state_dict.items():
        match = re.fullmatch(r"(.+\.motion_modules\.\d+\.)(?!temporal_transformer\.)(.+)", key)
        if match is None:
            renamed[key] = tensor
            continue
        module, rest = f"{match[1]}temporal_transformer.", match[2]
        block = "transformer_blocks.0."
        if rest == f"{block}pos_embed.pe":
            for i in range(2):
                renamed[f"{module}{block}attention_blocks.{i}.pos_encoder.pe"] = tensor
            continue
        for theirs, ours in _ADAPTER_NAMES.items():
            if rest.startswith(block + theirs):
                rest = block + ours + rest[len(block + theirs):]
                break
        renamed[module + rest] = tensor
    return renamed


def merge_motion(denoiser: Mapping[str, Tensor], motion: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """One state dict of a denoiser file and a motion file; where both have a tensor, the denoiser's counts, as published.

    Of the motion file its motion modules alone are taken, so that a merged file can serve as one.
    """
    taken = {key: t for key, t in published_names(motion or {}).items() if is_motion(key)}
    return {**taken, **published_names(denoiser)}


def with_position_tables(state_dict: Mapping[str, Tensor], rows: int) -> dict[str, Tensor]:
    """The same tensors with every `pos_encoder.pe` made by the formula: `[1, rows, C]`, float32 (docs/method.md C.3).

    Files hold them rounded to their own dtype, with differing rows, or not at all.
    """
    tables = {key: t for key, t in state_dict.items() if not key.endswith(".pos_encoder.pe")}
    for key, tensor in state_dict.items():
        match = re.fullmatch(r"(.+\.temporal_transformer\.transformer_blocks\.\d+\.attention_blocks\.\d+\.)to_q\.weight", key)
        if match and tensor.ndim == 2 and tensor.shape[-1] % 2 == 0:
            tables[f"{match[1]}pos_encoder.pe"] = position_table(rows, tensor.shape[-1]).unsqueeze(0)
    return tables


# ---- configuration -----------------------------------------------------------------------------------------------------------


def unet_config(state_dict: Mapping[str, Tensor], *, reference_net: bool, num_heads: int = 8, norm_num_groups: int = 32,
                source: str = "the file") -> UNetConfig:
    """The configuration of the UNet whose tensors these are (published names); heads and norm groups leave no trace in shapes.

    Raises:
        CheckpointError: a tensor that the configuration is read from is missing.
    """
    levels = _levels(state_dict, "resnets.0.conv1.weight")
    layers = sum(re.fullmatch(r"down_blocks\.0\.resnets\.\d+\.conv1\.weight", key) is not None for key in state_dict)
    cross = next((t for key, t in state_dict.items() if key.endswith(".attn2.to_k.weight")), None)
    conv_in, conv_out = state_dict.get("conv_in.weight"), state_dict.get("conv_out.weight")
    absent = [name for name, value in {
        "conv_in.weight": conv_in,
        "down_blocks.*.resnets.*.conv1.weight": levels or None,
        "*.attn2.to_k.weight": cross,
        "conv_out.weight": True if reference_net else conv_out,
    }.items() if value is None]
    if absent or conv_in is None or cross is None:
        raise CheckpointError(f"{source} is not a complete UNet: {', '.join(absent)} missing. {_instead(source, Kind.DENOISER)}")
    if conv_in.ndim != 4 or cross.ndim != 2 or (not reference_net and conv_out is not None and conv_out.ndim != 4):
        raise CheckpointError(f"{source} is not a UNet of this kind: its tensors have different numbers of dimensions.")
    motion = not reference_net and any(map(is_motion, state_dict))
    return UNetConfig(
        in_channels=conv_in.shape[1],
        out_channels=None if reference_net or conv_out is None else conv_out.shape[0],
        block_out_channels=levels,
        layers_per_block=layers,
        cross_attention_dim=cross.shape[1],
        num_heads=num_heads,
        norm_num_groups=norm_num_groups,
        motion=motion,
        motion_mid_block=not motion or any(key.startswith("mid_block.motion_modules.") for key in state_dict),
        motion_max_frames=(position_rows(state_dict) if motion else None) or 32,
    )


def _levels(state_dict: Mapping[str, Tensor], tensor: str) -> tuple[int, ...]:
    """First dimension of `down_blocks.{0, 1, ...}.{tensor}` for each level that has it."""
    widths: list[int] = []
    while (found := state_dict.get(f"down_blocks.{len(widths)}.{tensor}")) is not None and found.ndim:
        widths.append(found.shape[0])
    return tuple(widths)


def pose_guider_config(state_dict: Mapping[str, Tensor], source: str = "the file") -> tuple[tuple[int, ...], int]:
    """`(channels, out_channels)` of a pose guider of Moore's class.

    Raises:
        CheckpointError: it has not the three halvings that lead from pixels to latents.
    """
    if not {"conv_in.weight", "conv_out.weight"} <= state_dict.keys():
        raise CheckpointError(f"{source} is not a complete pose guider: conv_in or conv_out missing. {_instead(source, Kind.POSE_GUIDER)}")
    channels = guider_widths(state_dict)
    if len(channels) != 4 or not all(channels):
        raise CheckpointError(f"{source} is not a suitable pose guider: its channels are {_list(channels)}; it needs four widths, to "
                              "scale the image down by 8.")
    return channels, first_dimension(state_dict["conv_out.weight"])


# ---- checks ------------------------------------------------------------------------------------------------------------------


def check_keys(expected: Mapping[str, Sequence[int]], state_dict: Mapping[str, Tensor], *, source: str, expected_kind: Kind) -> None:
    """Raises a `CheckpointError` unless the tensors have exactly the expected names and shapes.

    The message names the first few missing, unexpected and misshapen tensors, what the file seems to be, and what to choose.
    """
    missing = [key for key in expected if key not in state_dict]
    unexpected = [key for key in state_dict if key not in expected]
    misshapen = [
        f"{key} {list(state_dict[key].shape)} instead of {list(shape)}"
        for key, shape in expected.items() if key in state_dict and tuple(state_dict[key].shape) != tuple(shape)
    ]
    faults = [f"{len(names)} {'tensor' if len(names) == 1 else 'tensors'} {what} ({_first(names)})" for what, names in
              (("missing", missing), ("unexpected", unexpected), ("misshapen", misshapen)) if names]
    if faults:
        raise CheckpointError(f"{source} does not fit: {'; '.join(faults)}. It seems to be {identify(state_dict).description}. "
                              f"{_instead(source, expected_kind)}")


def _first(names: Sequence[str], count: int = 3) -> str:
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")


def _instead(source: str, kind: Kind) -> str:
    what, example, node = _WANTED[kind]
    again = "download this file again, or choose" if Path(source).name == example else "choose"
    return f"{node} needs {what}: {again} a complete file such as {example}."


def wrong_kind(info: CheckpointInfo, source: str, wanted: Kind) -> CheckpointError:
    """The error for a file of another kind than the node needs."""
    what, example, node = _WANTED[wanted]
    unsupported = "" if info.supported or info.kind not in _WANTED else ", which is not supported"
    message = f"{source} is {info.description}{unsupported}; {node} needs {what} such as {example}."
    if info.supported and info.kind in _WANTED and _WANTED[info.kind] != _WANTED[wanted]:
        other = _WANTED[info.kind][2]
        message += f" {other} takes this file{' in `motion`' if info.kind.value.startswith('motion') else ''}."
    return CheckpointError(message)


def _unet_shapes(config: UNetConfig, source: str) -> dict[str, Sequence[int]]:
    try:
        return {key: t.shape for key, t in UNet(config, device="meta").state_dict().items()}
    except (ValueError, IndexError) as error:
        raise CheckpointError(f"{source}: no UNet can be built from it: {error}.") from error


# ---- what the loaders call ---------------------------------------------------------------------------------------------------


def prepare_reference_net(state_dict: Mapping[str, Tensor], source: str, *, num_heads: int = 8, norm_num_groups: int = 32,
                          family: str = "auto") -> tuple[UNetConfig, dict[str, Tensor], CheckpointInfo]:
    """Checks a ReferenceNet's tensors.

    One with an output head is refused: by names and shapes it may as well be the denoiser, and would give wrong pictures in silence.
    That of face reenactment has one, of which nothing is read: with that family it must be there, and is left out.
    Returns `(config, state dict for load_state_dict(strict=True), info)`. Raises CheckpointError.
    """
    info = identify(state_dict)
    if family != "auto" and family_preset(family).reference_head and info.kind is Kind.DENOISER:
        whole = unet_config(state_dict, reference_net=False, num_heads=num_heads, norm_num_groups=norm_num_groups, source=source)
        check_keys(_unet_shapes(whole, source), state_dict, source=source, expected_kind=Kind.REFERENCE_NET)
        headless = {key: t for key, t in state_dict.items() if not key.startswith(_HEAD)}
        return replace(whole, out_channels=None), headless, replace(identify(headless), family=family)
    if info.kind is not Kind.REFERENCE_NET or not info.supported:
        error = wrong_kind(info, source, Kind.REFERENCE_NET)
        if info.kind is Kind.DENOISER:
            error = CheckpointError(f"{error} If it is a ReferenceNet that was saved with its output head, take that off first: "
                                    "python -m animate_core.checkpoints convert IN OUT --dtype fp16 --drop-head. "
                                    "If it is that of Moore's face reenactment, choose this family.")
        raise error
    config = unet_config(state_dict, reference_net=True, num_heads=num_heads, norm_num_groups=norm_num_groups, source=source)
    check_keys(_unet_shapes(config, source), state_dict, source=source, expected_kind=Kind.REFERENCE_NET)
    return config, dict(state_dict), info


def prepare_denoiser(denoiser: Mapping[str, Tensor], motion: Mapping[str, Tensor] | None, denoiser_source: str, motion_source: str = "",
                     family: str = "auto", *, num_heads: int = 8,
                     norm_num_groups: int = 32) -> tuple[UNetConfig, dict[str, Tensor], CheckpointInfo]:
    """Merges and checks a denoiser's tensors and its motion modules', from one file or two.

    Args:
        denoiser: the denoising UNet, with or without motion modules.
        motion: the motion modules (published or MotionAdapter names, or a merged file), None if `denoiser` has them.
        denoiser_source, motion_source: the files' names, for messages.
        family: a name of `families.FAMILIES`, or "auto": MusePose by its 128 positions, else Moore.

    Returns `(config, state dict for load_state_dict(strict=True), info)`, where `info.family` is a name of `FAMILIES`.
    Raises CheckpointError; ValueError for an unknown family.
    """
    preset = None if family == "auto" else family_preset(family)
    info = identify(denoiser)
    if info.kind not in (Kind.DENOISER, Kind.MERGED):
        raise wrong_kind(info, denoiser_source, Kind.DENOISER)
    if motion is None:
        if info.kind is Kind.DENOISER:
            raise CheckpointError(f"{denoiser_source} is {info.description}: motion module missing. "
                                  "Choose motion_module.pth of the same model in `motion`.")
    else:
        motion_info = identify(motion)
        if motion_info.kind not in (Kind.MOTION_MODULE, Kind.MOTION_MODULE_DIFFUSERS, Kind.MERGED):
            raise wrong_kind(motion_info, motion_source, Kind.MOTION_MODULE)
        _check_fit(denoiser, published_names(motion), denoiser_source, motion_source)
        if info.kind is Kind.MERGED:
            logger.warning("%s has motion modules of its own, which count; those of %s are not used where both have a tensor.",
                           denoiser_source, motion_source)
    merged = merge_motion(denoiser, motion)
    rows = position_rows(merged) or (preset.max_frames if preset else 32)
    merged = with_position_tables(merged, rows)
    config = unet_config(merged, reference_net=False, num_heads=num_heads, norm_num_groups=norm_num_groups, source=denoiser_source)
    expected = _unet_shapes(config, denoiser_source)
    if motion is None or info.kind is Kind.MERGED:
        check_keys(expected, merged, source=denoiser_source, expected_kind=Kind.MERGED)
    else:
        foreign = {} if motion_info.kind is Kind.MERGED else {key: t for key, t in motion.items() if not is_motion(key)}
        for of_motion, source in ((False, denoiser_source), (True, motion_source)):
            check_keys({key: shape for key, shape in expected.items() if is_motion(key) is of_motion},
                       {key: t for key, t in merged.items() if is_motion(key) is of_motion} | (foreign if of_motion else {}),
                       source=source, expected_kind=Kind.MOTION_MODULE if of_motion else Kind.DENOISER)
    found = "MusePose" if rows == 128 else "Moore"
    return config, merged, replace(identify(merged), family=preset.name if preset else found)


def _check_fit(denoiser: Mapping[str, Tensor], motion: Mapping[str, Tensor], denoiser_source: str, motion_source: str) -> None:
    spatial = _levels(denoiser, "resnets.0.conv1.weight")
    temporal = _levels(motion, "motion_modules.0.temporal_transformer.norm.weight")
    if spatial != temporal:
        raise CheckpointError(f"{motion_source} and {denoiser_source} do not fit together: the motion module has channels "
                              f"{_list(temporal)}, the denoising UNet {_list(spatial)}. Choose two files of the same model.")


def _list(values: Iterable[object]) -> str:
    return ", ".join(map(str, values)) or "(none found)"


def prepare_pose_guider(state_dict: Mapping[str, Tensor],
                        source: str) -> tuple[tuple[tuple[int, ...], int], dict[str, Tensor], CheckpointInfo]:
    """Checks a pose guider's tensors.

    Returns `((channels, out_channels), state dict for load_state_dict(strict=True), info)`. Raises CheckpointError.
    """
    info = identify(state_dict)
    if info.kind is not Kind.POSE_GUIDER or not info.supported:
        raise wrong_kind(info, source, Kind.POSE_GUIDER)
    channels, out_channels = pose_guider_config(state_dict, source)
    expected = {key: t.shape for key, t in PoseGuider(channels, out_channels, device="meta").state_dict().items()}
    check_keys(expected, state_dict, source=source, expected_kind=Kind.POSE_GUIDER)
    return (channels, out_channels), dict(state_dict), info


# ---- conversion --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Conversion:
    """What `convert` did: the file's kind, its number of tensors, and both files' sizes in bytes."""

    info: CheckpointInfo
    tensors: int
    bytes_before: int
    bytes_after: int


def convert(source: str | os.PathLike[str], target: str | os.PathLike[str], dtype: torch.dtype, *, force: bool = False,
            drop_head: bool = False) -> Conversion:
    """Writes a checkpoint's tensors as safetensors, floating-point ones in `dtype`, position tables in float32.

    drop_head leaves out a UNet's conv_norm_out and conv_out, which makes a ReferenceNet of it.

    Each tensor is written by itself, so files whose tensors are views of one shared buffer (MusePose's) shrink to what they hold.
    The target appears complete or not at all.

    Raises:
        CheckpointError: the source cannot be read, its values do not fit `dtype`, or the target exists (without `force`),
            is the source, is not named `.safetensors`, or cannot be written.
    """
    source, target = Path(source), Path(target)
    if target.suffix != ".safetensors":
        raise CheckpointError(f"{target.name} must end in .safetensors: that is the format the converter writes.")
    if not target.parent.is_dir():
        raise CheckpointError(f"{target.parent} is not a folder: create it first.")
    if target.exists() and source.exists() and target.samefile(source):
        raise CheckpointError(f"{target} is the source file: choose another name.")
    if target.exists() and not force:
        raise CheckpointError(f"{target} already exists: choose another name, or use --force to replace it.")
    state_dict = read_state_dict(source)
    if drop_head:
        state_dict = {key: t for key, t in state_dict.items() if not key.startswith(_HEAD)}
    info = identify(state_dict)
    tensors = {key: _converted(key, tensor, dtype, source.name) for key, tensor in state_dict.items()}
    metadata = {"format": "pt", "source": source.name, "kind": str(info.kind), "family": info.family or ""}
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        save_file(tensors, partial, metadata)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, target)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{target} could not be written ({error}): check free disk space and the folder's permissions.") from error
    finally:
        partial.unlink(missing_ok=True)
    return Conversion(info, len(tensors), source.stat().st_size, target.stat().st_size)


def _converted(key: str, tensor: Tensor, dtype: torch.dtype, source: str) -> Tensor:
    """A contiguous copy with storage of its own; the dtype changes for floating-point tensors alone."""
    if tensor.is_floating_point():
        wanted = torch.float32 if key.endswith(".pe") else dtype
        new = tensor.to(wanted, copy=True, memory_format=torch.contiguous_format)
        if wanted is torch.float16 and not new.isfinite().all() and tensor.isfinite().all():
            raise CheckpointError(f"{source}: {key} has values outside the range of float16; convert to bf16.")
        return new
    return tensor.clone(memory_format=torch.contiguous_format)


def check_file(state_dict: Mapping[str, Tensor], source: str) -> CheckpointInfo:
    """Raises CheckpointError unless a file of one network is complete: every tensor of its kind, no other, all of the right shape."""
    from .guider_files import prepare_guider  # which needs this module

    info = identify(state_dict)
    if not info.supported or info.kind not in _WANTED:
        raise CheckpointError(f"{source} is {info.description}, which cannot be checked.")
    if info.kind is Kind.POSE_GUIDER:
        return prepare_guider(state_dict, source)[2]
    if info.kind is Kind.REFERENCE_NET:
        return prepare_reference_net(state_dict, source)[2]
    if info.kind is Kind.MERGED:
        prepare_denoiser(state_dict, None, source)
    elif info.kind is Kind.DENOISER:
        config = unet_config(state_dict, reference_net=False, source=source)
        check_keys(_unet_shapes(config, source), state_dict, source=source, expected_kind=info.kind)
    else:
        motion = with_position_tables(published_names(state_dict), position_rows(state_dict) or 32)
        widths = _levels(motion, "motion_modules.0.temporal_transformer.norm.weight")
        mid = any(key.startswith("mid_block.") for key in motion)
        config = UNetConfig(block_out_channels=widths, motion=True, motion_mid_block=mid, motion_max_frames=position_rows(motion) or 32)
        expected = {key: shape for key, shape in _unet_shapes(config, source).items() if is_motion(key)}
        check_keys(expected, motion, source=source, expected_kind=info.kind)
    return info


def _check(path: Path) -> str:
    state_dict = read_state_dict(path)
    info = check_file(state_dict, path.name)
    return f"{path.name}: complete, {len(state_dict)} tensors: {info.description}"


def _inspect(path: Path) -> str:
    state_dict = read_state_dict(path)
    info = identify(state_dict)
    dtypes = sorted({str(t.dtype).removeprefix("torch.") for t in state_dict.values()})
    return (f"{path.name}: {info.description}\n"
            f"  kind {info.kind}, family {info.family or 'not told by shapes'}, {'supported' if info.supported else 'not supported'}\n"
            f"  {len(state_dict)} tensors, {sum(t.numel() for t in state_dict.values()):,} values, {', '.join(dtypes)}, "
            f"{path.stat().st_size:,} bytes")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status: 1 if a file could not be used."""
    parser = argparse.ArgumentParser(prog="python -m animate_core.checkpoints", description="Looks at checkpoint files and converts them.")
    commands = parser.add_subparsers(dest="command", required=True)
    inspect = commands.add_parser("inspect", help="say what files are")
    inspect.add_argument("files", nargs="+", type=Path, metavar="FILE")
    check = commands.add_parser("check", help="say whether files are complete")
    check.add_argument("files", nargs="+", type=Path, metavar="FILE")
    converter = commands.add_parser("convert", help="write a file as safetensors with fewer bits")
    converter.add_argument("source", type=Path, metavar="IN")
    converter.add_argument("target", type=Path, metavar="OUT", help="ends in .safetensors")
    converter.add_argument("--dtype", choices=DTYPES, required=True)
    converter.add_argument("--force", action="store_true", help="replace OUT if it exists")
    converter.add_argument("--drop-head", action="store_true", help="leave out a UNet's output head: a ReferenceNet has none")
    options = parser.parse_args(arguments)

    status = 0
    if options.command in ("inspect", "check"):
        for path in options.files:
            try:
                _say((_inspect if options.command == "inspect" else _check)(path))
            except CheckpointError as error:
                sys.stderr.write(f"{error}\n")
                status = 1
        return status
    try:
        done = convert(options.source, options.target, DTYPES[options.dtype], force=options.force, drop_head=options.drop_head)
    except CheckpointError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    _say(f"{options.source.name}: {done.info.description} (kind {done.info.kind}, family {done.info.family or 'not told by shapes'})\n"
         f"  {done.tensors} tensors, {done.bytes_before:,} -> {done.bytes_after:,} bytes in {options.target}")
    return 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
