"""Checkpoints: what a file is, from names and shapes; merging; exact checks.

Full-size names and shapes are those of the published files (`tests/parity/published_keys.json`); tensors of that size are on the
meta device, so they hold nothing.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from animate_core import checkpoints
from animate_core.checkpoints import CheckpointError, Kind, identify
from animate_core.guider_files import GuiderConfig, family_of_guiders, guider_part, prepare_guider
from animate_core.unet import UNet, UNetConfig

State = dict[str, Tensor]
ROOT = Path(__file__).parents[2]
SMALL = UNetConfig(block_out_channels=(32, 64), layers_per_block=1, cross_attention_dim=24, motion=True)


def meta(shapes: Mapping[str, Any]) -> State:
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


def names(*keys: str) -> State:
    """Tensors that nobody looks at but for their names."""
    return meta({key: (2, 2, 1, 1) for key in keys})


@pytest.fixture(scope="module")
def published() -> dict[str, State]:
    lists = json.loads((ROOT / "tests/parity/published_keys.json").read_text())
    return {name: meta(shapes) for name, shapes in lists.items() if name != "notes"}


def small_files(rows: int = 32, mid: bool = True) -> tuple[State, State]:
    """A small denoiser and its motion modules, as two files hold them."""
    config = UNetConfig(**{**vars(SMALL), "motion_max_frames": rows, "motion_mid_block": mid})
    state = UNet(config).state_dict()
    return ({k: t for k, t in state.items() if "motion_modules" not in k}, {k: t for k, t in state.items() if "motion_modules" in k})


def transformer(prefix: str, channels: int, inner: int) -> dict[str, tuple[int, ...]]:
    """The spatial transformer of Champ's and AniPortrait's guiders: one self-attention, no cross-attention."""
    block = f"{prefix}.transformer_blocks.0"
    shapes: dict[str, tuple[int, ...]] = {f"{prefix}.norm.weight": (channels,), f"{prefix}.norm.bias": (channels,)}
    for name, shape in {f"{prefix}.proj_in": (inner, channels, 1, 1), f"{block}.attn1.to_out.0": (inner, inner),
                        f"{block}.ff.net.0.proj": (8 * inner, inner), f"{block}.ff.net.2": (inner, 4 * inner),
                        f"{prefix}.proj_out": (channels, inner, 1, 1), f"{block}.norm1": (inner,), f"{block}.norm3": (inner,)}.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return shapes | {f"{block}.attn1.to_{x}.weight": (inner, inner) for x in "qkv"}


def conv(name: str, out: int, inside: int, kernel: int = 3) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (out, inside, kernel, kernel), f"{name}.bias": (out,)}


def batch_norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{x}": (channels,) for x in ("weight", "bias", "running_mean", "running_var")} | {f"{name}.num_batches_tracked": ()}


def guider(widths: tuple[int, ...], out: int = 320) -> dict[str, tuple[int, ...]]:
    shapes = conv("conv_in", widths[0], 3) | conv("conv_out", out, widths[-1])
    for i, (narrow, wide) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        shapes |= conv(f"blocks.{2 * i}", narrow, narrow) | conv(f"blocks.{2 * i + 1}", wide, narrow)
    return shapes


def champ() -> dict[str, tuple[int, ...]]:
    shapes = guider((16, 32, 96, 256))
    for i, width in enumerate((16, 32, 32, 96, 96, 256)):
        shapes |= transformer(f"attentions.{i}", width, width)
    return shapes | transformer("guidance_attention", 256, 256)


def conv_layers(normed: bool) -> dict[str, tuple[int, ...]]:
    """The trunk of AniPortrait's and Open-AnimateAnyone's guiders."""
    layers = [(3, 3, 3), (16, 3, 4), (16, 16, 3), (32, 16, 4), (32, 32, 3), (64, 32, 4), (64, 64, 3), (128, 64, 3)]
    shapes: dict[str, tuple[int, ...]] = {"scale": (1,)}
    for i, (out, inside, kernel) in enumerate(layers):
        shapes |= conv(f"conv_layers.{i * (3 if normed else 2)}", out, inside, kernel)
        shapes |= batch_norm(f"conv_layers.{3 * i + 1}", out) if normed else {}
    return shapes


def aniportrait() -> dict[str, tuple[int, ...]]:
    shapes = conv_layers(True) | conv("final_proj", 320, 128, 1)
    for group, pairs in enumerate([[(320, 320), (320, 320)], [(320, 320), (640, 320)], [(640, 640), (1280, 640)], [(1280, 1280)]], 1):
        for i, (out, inside) in enumerate(pairs):
            shapes |= conv(f"conv_layers_{group}.{3 * i}", out, inside) | batch_norm(f"conv_layers_{group}.{3 * i + 1}", out)
        shapes |= transformer(f"cross_attn{group}", pairs[-1][0], 1408)
    return shapes


def values_in(shapes: Mapping[str, tuple[int, ...]]) -> int:
    return sum(math.prod(shape) for shape in shapes.values())


# ---- what a file is ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("file", "kind", "family", "tensors"), [
    ("reference_unet.pth", Kind.REFERENCE_NET, None, 682),
    ("denoising_unet.pth", Kind.DENOISER, None, 686),
    ("motion_module.pth", Kind.MOTION_MODULE, "Moore", 588),
    ("pose_guider.pth", Kind.POSE_GUIDER, "Moore", 16),
])
def test_published_files(published: dict[str, State], file: str, kind: Kind, family: str | None, tensors: int) -> None:
    info = identify(published[file])
    assert (info.kind, info.family, info.supported) == (kind, family, True)
    assert len(published[file]) == tensors


def test_networks_are_built_as_published(published: dict[str, State]) -> None:
    config, state, _ = checkpoints.prepare_reference_net(published["reference_unet.pth"], "reference_unet.pth")
    assert config == UNetConfig(out_channels=None)
    assert sum(t.numel() for t in state.values()) == 859_508_800
    config, state, info = checkpoints.prepare_denoiser(
        published["denoising_unet.pth"], published["motion_module.pth"], "denoising_unet.pth", "motion_module.pth")
    assert config == UNetConfig(motion=True)
    assert (len(state), info.kind, info.family) == (1274, Kind.MERGED, "Moore")
    assert sum(t.numel() for t in state.values()) == 859_520_964 + 453_209_280 + 1_208_320
    guider_config, state, _ = checkpoints.prepare_pose_guider(published["pose_guider.pth"], "pose_guider.pth")
    assert (guider_config, len(state)) == (((16, 32, 96, 256), 320), 16)
    assert sum(t.numel() for t in state.values()) == 1_086_480


def test_merged_file(published: dict[str, State]) -> None:
    merged = published["denoising_unet.pth"] | published["motion_module.pth"]
    assert identify(merged).kind is Kind.MERGED
    assert checkpoints.prepare_denoiser(merged, None, "all.safetensors")[0] == UNetConfig(motion=True)


@pytest.mark.parametrize(("rows", "family", "preset"), [(24, None, "Moore"), (32, "Moore", "Moore"), (128, "MusePose", "MusePose")])
@pytest.mark.parametrize("mid", [True, False])
def test_motion_module_families(rows: int, family: str | None, preset: str, mid: bool) -> None:
    denoiser, motion = small_files(rows, mid)
    info = identify(motion)
    assert (info.kind, info.family) == (Kind.MOTION_MODULE, family)
    assert ("with the mid block" in info.description) is mid
    config, state, info = checkpoints.prepare_denoiser(denoiser, motion, "d.pth", "m.pth")
    assert (config.motion_mid_block, config.motion_max_frames, info.family) == (mid, rows, preset)
    UNet(config).load_state_dict(state, strict=True)
    assert checkpoints.prepare_denoiser(denoiser, motion, "d.pth", "m.pth", "novita")[2].family == "novita"


def test_motion_module_without_the_mid_block_counts(published: dict[str, State]) -> None:
    motion = {key: t for key, t in published["motion_module.pth"].items() if not key.startswith("mid_block.")}
    assert len(motion) == 560
    config, state, _ = checkpoints.prepare_denoiser(published["denoising_unet.pth"], motion, "denoising_unet.pth", "v3_sd15_mm.ckpt")
    assert not config.motion_mid_block
    weights = sum(t.numel() for key, t in state.items() if "motion_modules" in key and not key.endswith(".pe"))
    assert weights == 417_137_600


@pytest.mark.parametrize(("widths", "family", "values"), [
    ((16, 32, 96, 256), "Moore", 1_086_480), ((16, 32, 64, 128), "novita", 514_896), ((8, 16, 24, 32), None, None)])
def test_pose_guider_widths(widths: tuple[int, ...], family: str | None, values: int | None) -> None:
    shapes = guider(widths)
    assert values is None or values_in(shapes) == values
    info = identify(meta(shapes))
    assert (info.kind, info.family, info.supported) == (Kind.POSE_GUIDER, family, True)
    assert checkpoints.prepare_pose_guider(meta(shapes), "g.pth")[0] == (widths, 320)


@pytest.mark.parametrize(("shapes", "tensors", "values", "family", "config"), [
    (champ(), 149, 3_833_136, "Champ", GuiderConfig("guidance", (16, 32, 96, 256), (320,))),
    (aniportrait(), 184, 167_528_848, "AniPortrait",
     GuiderConfig("multi-scale", (3, 16, 16, 32, 32, 64, 64, 128), (320, 320, 640, 1280, 1280), 1408)),
    (guider((16, 32, 96, 256)), 16, 1_086_480, "Moore", GuiderConfig("pose", (16, 32, 96, 256), (320,))),
])
def test_guiders_of_every_kind(shapes: dict[str, tuple[int, ...]], tensors: int, values: int, family: str, config: GuiderConfig) -> None:
    assert len(shapes) == tensors
    assert values_in({key: shape for key, shape in shapes.items() if "running_" not in key and "batches" not in key}) == values or (
        values_in(shapes) == values)
    info = identify(meta(shapes))
    assert (info.kind, info.family, info.supported) == (Kind.POSE_GUIDER, family, True)
    found, kept, _ = prepare_guider(meta(shapes), "g.pth")
    assert found == config
    found.build(device="meta").load_state_dict(kept, strict=True)
    # what Champ's files hold and nothing reads
    assert len(shapes) - len(kept) == (114 if family == "Champ" else 0)
    for key in (next(iter(shapes)), list(shapes)[-1]):
        with pytest.raises(CheckpointError, match="^g.pth .*(missing|not a complete|unknown kind)"):
            prepare_guider(meta({k: s for k, s in shapes.items() if k != key}), "g.pth")
    with pytest.raises(CheckpointError, match=r"g.pth does not fit: 1 tensor unexpected \(extra.weight\)"):
        prepare_guider(meta(shapes | {"extra.weight": (1,)}), "g.pth")


def test_an_unused_tensor_of_champs_counts_as_well() -> None:
    shapes = champ() | {"attentions.2.proj_in.weight": (32, 33, 1, 1)}
    with pytest.raises(CheckpointError, match=r"1 tensor misshapen \(attentions.2.proj_in.weight \[32, 33, 1, 1\] instead of"):
        prepare_guider(meta(shapes), "guidance_encoder_depth.pth")


@pytest.mark.parametrize(("name", "shapes", "part"), [
    ("champ/guidance_encoder_depth.pth", champ(), "guidance_encoder_depth"), ("Champ\\guidance_encoder_semantic_map.pth", champ(),
                                                                            "guidance_encoder_semantic_map"),
    ("my_DWPose.safetensors", champ(), "guidance_encoder_dwpose"), ("normal_depth.pth", champ(), ""), ("encoder.pth", champ(), ""),
    ("reenact/pose_guider1.pth", guider((16, 32, 96, 256)), "pose_guider1"),
    ("pose_guider_2.pth", guider((16, 32, 96, 256)), "pose_guider2"),
    ("pose_guider.pth", guider((16, 32, 96, 256)), "pose_guider"), ("pose_guider1.pth", aniportrait(), "pose_guider"),
])
def test_which_of_several_guiders(name: str, shapes: dict[str, tuple[int, ...]], part: str) -> None:
    """Their tensors have the same names and shapes: the file's name alone tells."""
    assert guider_part(name, identify(meta(shapes))) == part


def test_families_of_guiders() -> None:
    moore, encoder, portrait = (identify(meta(shapes)) for shapes in (guider((16, 32, 96, 256)), champ(), aniportrait()))
    assert family_of_guiders(["pose_guider"], [moore]) is None
    assert family_of_guiders(["pose_guider2", "pose_guider1"], [moore, moore]) == "Moore face"
    assert family_of_guiders(["guidance_encoder_depth"], [encoder]) == "Champ"
    assert family_of_guiders(["pose_guider"], [portrait]) == "AniPortrait"
    assert family_of_guiders(["pose_guider", "guidance_encoder_depth"], [moore, encoder]) is None


@pytest.mark.parametrize("shapes", [
    conv_layers(False) | conv("final_proj", 320, 128, 1), conv_layers(True) | conv("final_proj", 4, 128, 1)])
def test_open_animate_anyones_guiders_are_refused_by_name(shapes: dict[str, tuple[int, ...]]) -> None:
    info = identify(meta(shapes))
    assert (info.kind, info.family, info.supported) == (Kind.POSE_GUIDER, "Open-AnimateAnyone", False)
    for prepare in (prepare_guider, checkpoints.prepare_pose_guider, checkpoints.check_file):
        with pytest.raises(CheckpointError, match=r"guide.pth is an Open-AnimateAnyone .*(not supported; Load Pose|cannot be checked)"):
            prepare(meta(shapes), "guide.pth")


def test_open_animate_anyones_reference_net_is_refused_by_name(published: dict[str, State]) -> None:
    tail = "up_blocks.3.attentions.2."
    kept = (f"{tail}norm.", f"{tail}proj_in.", f"{tail}transformer_blocks.0.norm1.")
    state = {key: t for key, t in published["reference_unet.pth"].items() if not key.startswith(tail) or key.startswith(kept)}
    with pytest.raises(CheckpointError, match="r.pth is an Open-AnimateAnyone ReferenceNet .*not supported; Load ReferenceNet needs"):
        checkpoints.prepare_reference_net(state, "r.pth")


def test_the_reference_net_of_face_reenactment_has_a_head(published: dict[str, State]) -> None:
    whole = published["denoising_unet.pth"]
    config, state, info = checkpoints.prepare_reference_net(whole, "reference_unet.pth", family="Moore face")
    assert (config, len(state), info.family) == (UNetConfig(out_channels=None), 682, "Moore face")
    UNet(config, device="meta").load_state_dict(state, strict=True)
    with pytest.raises(CheckpointError, match="If it is that of Moore's face reenactment, choose this family"):
        checkpoints.prepare_reference_net(whole, "reference_unet.pth")
    with pytest.raises(CheckpointError, match="1 tensor missing"):
        checkpoints.prepare_reference_net({k: t for k, t in whole.items() if k != "conv_norm_out.bias"}, "r.pth", family="Moore face")
    # one without a head is as good: nothing reads the head
    assert checkpoints.prepare_reference_net(published["reference_unet.pth"], "r.pth", family="Moore face")[0] == config


def test_check_tells_complete_files(published: dict[str, State], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file, state in published.items():
        assert checkpoints.check_file(state, file) == identify(state)
        with pytest.raises(CheckpointError, match="1 tensor missing"):
            checkpoints.check_file({k: t for k, t in state.items() if k != list(state)[-1]}, file)
    denoiser, motion = small_files()
    save_file({k: t.contiguous() for k, t in {**denoiser, **motion}.items()}, tmp_path / "whole.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    assert checkpoints.main(["check", str(tmp_path / "whole.safetensors")]) == 0
    assert "whole.safetensors: complete" in capsys.readouterr().out
    assert checkpoints.main(["check", str(tmp_path / "other.safetensors")]) == 1
    assert "other.safetensors is an unknown kind of file" in capsys.readouterr().err


@pytest.mark.parametrize(("state", "kind", "text"), [
    (names("model.diffusion_model.input_blocks.0.0.weight", "first_stage_model.decoder.conv_in.weight"), Kind.SD_UNET_LDM, "whole Stable"),
    (names("input_blocks.0.0.weight", "out.2.weight"), Kind.SD_UNET_LDM, "Stable Diffusion UNet"),
    (names("encoder.conv_in.weight", "decoder.conv_in.weight"), Kind.VAE, "a VAE"),
    (names("taesd_encoder.0.weight", "taesd_decoder.1.weight"), Kind.VAE, "a VAE"),
    (names("vision_model.embeddings.patch_embedding.weight", "visual_projection.weight"), Kind.CLIP_VISION, "a CLIP vision model"),
    (names("vision_model.embeddings.patch_embedding.weight", "text_model.final_layer_norm.weight"), Kind.CLIP_VISION, "whole CLIP"),
    (names("lora_unet_down_blocks_0_attentions_0_proj_in.alpha"), Kind.LORA, "a LoRA"),
    (names("down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight"), Kind.LORA, "a LoRA"),
    (names("down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.0.processor.to_q_lora.down.weight"),
     Kind.LORA, "a LoRA"),
    (names("conv_in.weight", "time_embedding.linear_1.weight", "down_blocks.0.resnets.0.conv1.weight", "controlnet_down_blocks.0.weight"),
     Kind.CONTROLNET, "a ControlNet"),
    (names("conv_in.weight", "time_embedding.linear_1.weight", "down_blocks.0.resnets.0.conv1.weight", "add_embedding.linear_1.weight"),
     Kind.UNKNOWN, "an SDXL UNet"),
    (names("denoising_unet.conv_in.weight", "reference_unet.conv_in.weight"), Kind.PIPELINE, "several networks"),
    (names("a", "b", "c", "d"), Kind.UNKNOWN, "unknown kind of file (a, b, c and 1 more)"),
])
def test_foreign_files(state: State, kind: Kind, text: str) -> None:
    info = identify(state)
    assert info.kind is kind
    assert text in info.description
    with pytest.raises(CheckpointError, match="x.pth is .*Load Motion UNet needs a denoising UNet such as denoising_unet.pth"):
        checkpoints.prepare_denoiser(state, None, "x.pth")


def test_stable_diffusion_2_is_told(published: dict[str, State]) -> None:
    flat = {key: t.flatten(1) if ".proj_in.weight" in key else t for key, t in published["denoising_unet.pth"].items()}
    assert identify(flat).description == "a Stable Diffusion 2 UNet"


def test_scalars_in_place_of_weights_are_errors(published: dict[str, State]) -> None:
    for file, prepare in (("pose_guider.pth", checkpoints.prepare_pose_guider), ("reference_unet.pth", checkpoints.prepare_reference_net)):
        with pytest.raises(CheckpointError):
            prepare({key: torch.empty((), device="meta") for key in published[file]}, file)


# ---- merging and names -------------------------------------------------------------------------------------------------------


def test_position_tables_are_the_formula() -> None:
    denoiser, motion = small_files()
    for key in motion:
        if key.endswith(".pe"):
            motion[key] = torch.full_like(motion[key], 7.0).half()
    _, state, _ = checkpoints.prepare_denoiser(denoiser, motion, "d.pth", "m.pth")
    tables = [t for key, t in state.items() if key.endswith(".pe")]
    assert len(tables) == 2 * 7
    assert {t.dtype for t in tables} == {torch.float32}
    for table in tables:
        width = table.shape[-1]
        for position, channel in ((0, 0), (1, 3), (31, 10), (17, width - 1)):
            angle = position * 10000.0 ** (-(channel // 2 * 2) / width)
            assert float(table[0, position, channel]) == pytest.approx(math.cos(angle) if channel % 2 else math.sin(angle), abs=2e-6)


@pytest.mark.parametrize(("family", "rows"), [("auto", 32), ("Moore", 32), ("MusePose", 128)])
def test_files_without_position_tables(family: str, rows: int) -> None:
    denoiser, motion = small_files()
    motion = {key: t for key, t in motion.items() if not key.endswith(".pe")}
    config, state, info = checkpoints.prepare_denoiser(denoiser, motion, "d.pth", "m.pth", family)
    assert config.motion_max_frames == rows
    assert all(t.shape[1] == rows for key, t in state.items() if key.endswith(".pe"))
    assert info.family == ("Moore" if family == "auto" else family)


def test_tensors_are_passed_on_not_copied() -> None:
    denoiser, motion = small_files()
    _, state, _ = checkpoints.prepare_denoiser(denoiser, motion, "d.pth", "m.pth")
    given = denoiser | motion
    assert all(state[key] is given[key] for key in given if not key.endswith(".pe"))
    assert state.keys() == given.keys()


def test_denoisers_own_motion_counts(caplog: pytest.LogCaptureFixture) -> None:
    denoiser, motion = small_files()
    key = next(iter(motion))
    other = {k: t + 1 for k, t in motion.items()}
    merged = checkpoints.merge_motion(denoiser | {key: motion[key]}, other)
    assert merged[key] is motion[key]
    assert all(merged[k] is other[k] for k in motion if k != key)
    with caplog.at_level(logging.WARNING):
        _, state, _ = checkpoints.prepare_denoiser(denoiser | motion, other, "d.pth", "m.pth")
    assert state[key] is motion[key]
    assert "those of m.pth are not used" in caplog.text


def test_motion_from_a_merged_file_leaves_its_denoiser() -> None:
    denoiser, motion = small_files()
    other = {k: t + 1 for k, t in denoiser.items()}
    _, state, _ = checkpoints.prepare_denoiser(denoiser, other | motion, "d.pth", "merged.safetensors")
    assert state["conv_in.weight"] is denoiser["conv_in.weight"]


@pytest.mark.parametrize(("theirs", "ours"), [
    ("norm.weight", "norm.weight"),
    ("proj_out.bias", "proj_out.bias"),
    ("transformer_blocks.0.norm1.weight", "transformer_blocks.0.norms.0.weight"),
    ("transformer_blocks.0.norm2.bias", "transformer_blocks.0.norms.1.bias"),
    ("transformer_blocks.0.norm3.weight", "transformer_blocks.0.ff_norm.weight"),
    ("transformer_blocks.0.attn1.to_out.0.bias", "transformer_blocks.0.attention_blocks.0.to_out.0.bias"),
    ("transformer_blocks.0.attn2.to_k.weight", "transformer_blocks.0.attention_blocks.1.to_k.weight"),
    ("transformer_blocks.0.ff.net.0.proj.weight", "transformer_blocks.0.ff.net.0.proj.weight"),
])
def test_adapter_names(theirs: str, ours: str) -> None:
    tensor = torch.zeros(1)
    renamed = checkpoints.published_names({f"mid_block.motion_modules.0.{theirs}": tensor, "conv_in.weight": tensor})
    assert list(renamed) == [f"mid_block.motion_modules.0.temporal_transformer.{ours}", "conv_in.weight"]
    assert checkpoints.published_names(renamed) == renamed


@pytest.mark.parametrize("rows", [16, 32])
def test_motion_adapter_of_diffusers(rows: int) -> None:
    diffusers = pytest.importorskip("diffusers")
    adapter = diffusers.MotionAdapter(block_out_channels=(32, 64), motion_layers_per_block=1, motion_mid_block_layers_per_block=1,
                                      motion_num_attention_heads=8, motion_norm_num_groups=32, motion_max_seq_length=rows)
    motion = adapter.state_dict()
    assert identify(motion).kind is Kind.MOTION_MODULE_DIFFUSERS
    denoiser, original = small_files(rows)
    assert {k: t.shape for k, t in checkpoints.published_names(motion).items()} == {k: t.shape for k, t in original.items()}
    config, state, _ = checkpoints.prepare_denoiser(denoiser, motion, "d.pth", "adapter.safetensors")
    assert config.motion_max_frames == rows
    UNet(config).load_state_dict(state, strict=True)


# ---- wrong or incomplete files -----------------------------------------------------------------------------------------------


def test_reference_net_with_output_head_is_refused_and_can_be_converted(published: dict[str, State], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"some_unet.pth is a denoising UNet .*Load Motion UNet takes this file.*--drop-head"):
        checkpoints.prepare_reference_net(published["denoising_unet.pth"], "some_unet.pth")
    denoiser, _ = small_files(32)
    torch.save(denoiser, tmp_path / "with_head.pth")
    done = checkpoints.convert(tmp_path / "with_head.pth", tmp_path / "reference.safetensors", torch.float16, drop_head=True)
    assert done.info.kind is Kind.REFERENCE_NET
    state = checkpoints.read_state_dict(tmp_path / "reference.safetensors")
    config, _, _ = checkpoints.prepare_reference_net(state, "reference.safetensors")
    assert config.out_channels is None


@pytest.mark.parametrize(("file", "text"), [
    ("pose_guider.pth", r"^pose_guider.pth is a pose guider \(Moore or MusePose, .*\); Load Motion UNet needs a denoising UNet such as "
                        r"denoising_unet.pth. Load Pose Guider takes this file\.$"),
    ("reference_unet.pth", r"is a ReferenceNet \(a UNet without output head\); .*denoising_unet.pth. Load ReferenceNet takes this file"),
    ("motion_module.pth", r"is a motion module .*needs a denoising UNet such as denoising_unet.pth. Load Motion UNet takes .* in `motion`"),
    ("denoising_unet.pth", r"motion module missing. Choose motion_module.pth of the same model in `motion`"),
])
def test_wrong_denoiser(published: dict[str, State], file: str, text: str) -> None:
    with pytest.raises(CheckpointError, match=text):
        checkpoints.prepare_denoiser(published[file], None, file)


@pytest.mark.parametrize("file", ["reference_unet.pth", "denoising_unet.pth", "pose_guider.pth"])
def test_wrong_motion_module(published: dict[str, State], file: str) -> None:
    with pytest.raises(CheckpointError, match=rf"^{file} is .*Load Motion UNet needs a motion module in `motion` such as motion_mod"):
        checkpoints.prepare_denoiser(published["denoising_unet.pth"], published[file], "denoising_unet.pth", file)


def test_wrong_reference_net_and_guider(published: dict[str, State]) -> None:
    merged = published["denoising_unet.pth"] | published["motion_module.pth"]
    with pytest.raises(CheckpointError, match="all.pth is a denoising UNet with its motion modules.*needs a ReferenceNet such as ref"):
        checkpoints.prepare_reference_net(merged, "all.pth")
    with pytest.raises(CheckpointError, match="reference_unet.pth is a ReferenceNet .*Load Pose Guider needs"):
        checkpoints.prepare_pose_guider(published["reference_unet.pth"], "reference_unet.pth")


def test_unknown_family() -> None:
    denoiser, motion = small_files()
    with pytest.raises(ValueError, match="'EchoMimic' is unknown"):
        checkpoints.prepare_denoiser(denoiser, motion, "d.pth", "m.pth", "EchoMimic")


def test_misfit_of_two_files(published: dict[str, State]) -> None:
    with pytest.raises(CheckpointError, match="motion_module.pth and small.pth do not fit together: .* channels 320, 640, 1280, 1280, "
                                              "the denoising UNet 32, 64. Choose two files of the same model"):
        checkpoints.prepare_denoiser(small_files()[0], published["motion_module.pth"], "small.pth", "motion_module.pth")


def test_faults_name_tensors_and_the_right_file() -> None:
    denoiser, motion = small_files()
    gone = [key for key in denoiser if key.startswith("up_blocks.1.resnets.")]
    short = {key: t for key, t in denoiser.items() if key not in gone} | {"extra.weight": torch.zeros(1), "conv_in.bias": torch.zeros(3)}
    with pytest.raises(CheckpointError) as caught:
        checkpoints.prepare_denoiser(short, motion, "denoising_unet.pth", "m.pth")
    text = str(caught.value)
    assert text.startswith("denoising_unet.pth does not fit: ")
    assert f"{len(gone)} tensors missing ({', '.join(gone[:3])}, ...)" in text
    assert "1 tensor unexpected (extra.weight)" in text
    assert "1 tensor misshapen (conv_in.bias [3] instead of [32])" in text
    assert "It seems to be a denoising UNet" in text
    assert "download this file again, or choose a complete file such as denoising_unet.pth" in text

    key = next(key for key in motion if key.startswith("mid_block.") and key.endswith("ff_norm.weight"))
    with pytest.raises(CheckpointError, match=rf"^m.pth does not fit: 1 tensor missing \({key}\).*a motion module"):
        checkpoints.prepare_denoiser(denoiser, {k: t for k, t in motion.items() if k != key}, "d.pth", "m.pth")
    with pytest.raises(CheckpointError, match=r"^m.pth does not fit: 1 tensor unexpected \(conv_in.weight\)"):
        checkpoints.prepare_denoiser(denoiser, motion | {"conv_in.weight": torch.zeros(1)}, "d.pth", "m.pth")


def test_guider_faults() -> None:
    with pytest.raises(CheckpointError, match=r"^g.pth does not fit: 1 tensor missing \(blocks.2.bias\)"):
        checkpoints.prepare_pose_guider(meta({k: s for k, s in guider((16, 32, 96, 256)).items() if k != "blocks.2.bias"}), "g.pth")
    with pytest.raises(CheckpointError, match="g.pth is not a suitable pose guider: its channels are 16, 32, 96; it needs four"):
        checkpoints.prepare_pose_guider(meta(guider((16, 32, 96))), "g.pth")
    with pytest.raises(CheckpointError, match="conv_in.weight .* instead of "):
        checkpoints.prepare_pose_guider(meta(guider((16, 32, 96, 256)) | {"conv_in.weight": (16, 4, 3, 3)}), "g.pth")


def test_incomplete_unet_and_heads() -> None:
    denoiser, motion = small_files()
    without = {k: t for k, t in denoiser.items() if ".attn2." not in k}
    with pytest.raises(CheckpointError, match=r"d.pth is not a complete UNet: \*.attn2.to_k.weight missing"):
        checkpoints.prepare_denoiser(without, motion, "d.pth", "m.pth")
    with pytest.raises(CheckpointError, match="d.pth: no UNet can be built from it: 32 channels cannot be divided into 5"):
        checkpoints.prepare_denoiser(denoiser, motion, "d.pth", "m.pth", num_heads=5)
    assert checkpoints.prepare_denoiser(denoiser, motion, "d.pth", "m.pth", num_heads=4, norm_num_groups=8)[0].norm_num_groups == 8
