"""Bad input is refused before sampling begins, in words that name the input and the remedy (issue: bad input)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.host import equipment, graphs
from tests.host.host_server import HostServer
from tests.host.result import Graph, Result


def refused(host: HostServer, graph: Graph, *words: str) -> Result:
    """Runs a graph that must fail before sampling with an error that holds all the words (whatever their case)."""
    result = host.run(graph)
    assert result.status in ("error", "invalid"), f"it was accepted: {result.status}"
    assert not result.sampling_started
    missing = [word for word in words if word.lower() not in result.error.lower()]
    assert not missing, f"{missing} not in: {result.error}\n{result.traceback}"
    return result


def loader_graph(class_type: str, **inputs: Any) -> Graph:
    """A loader and just enough behind it to make it run."""
    graph = graphs.load("basic")
    inputs = {**{"MarionetteLoadMotionUNet": {"family": "auto", "weight_dtype": "auto"},
                 "MarionetteLoadReferenceNet": {"weight_dtype": "auto"}}.get(class_type, {}), **inputs}
    node = {"MarionetteLoadReferenceNet": "reference_net", "MarionetteLoadMotionUNet": "model", "MarionetteLoadPoseGuider": "pose_guider",
            "MarionetteLoadClipVision": "clip_vision"}[class_type]
    return graphs.add(graph, node, class_type, **inputs)


SMALL = {name: f"small/{name}.safetensors" for name in ("reference_unet", "denoising_unet", "motion_module", "pose_guider")}
NO_MOTION = "none (in the denoiser file)"
RESOLVE = "https://huggingface.co/{}/resolve/main/{}"


@pytest.mark.parametrize(("loader", "file", "words"), [
    ("MarionetteLoadReferenceNet", SMALL["denoising_unet"], ["denoising_unet.safetensors", "denoising UNet", "--drop-head"]),
    ("MarionetteLoadReferenceNet", SMALL["pose_guider"], ["pose_guider.safetensors", "pose guider"]),
    ("MarionetteLoadReferenceNet", SMALL["motion_module"], ["motion_module.safetensors", "motion module"]),
    ("MarionetteLoadReferenceNet", "bad/vae.safetensors", ["vae.safetensors"]),
    ("MarionetteLoadPoseGuider", SMALL["reference_unet"], ["reference_unet.safetensors", "ReferenceNet"]),
    ("MarionetteLoadPoseGuider", "bad/vae.safetensors", ["vae.safetensors"]),
    ("MarionetteLoadClipVision", "../vae", ["file", "not found"]),
    ("MarionetteLoadClipVision", "../vae/", ["file", "folder", "not found"]),
])
def test_the_wrong_file_in_a_loader(host: HostServer, loader: str, file: str, words: list[str]) -> None:
    refused(host, loader_graph(loader, file=file), *words)


@pytest.mark.parametrize(("loader", "inputs", "words"), [
    ("MarionetteLoadReferenceNet", {"file": "MusePose/reference_unet.pth"},
     ["file", "MusePose/reference_unet.pth", "reference_unet.pth (3.44 GB)", "models/animate_anyone/MusePose", "download MusePose",
      RESOLVE.format("TMElyralab/MusePose", "MusePose/reference_unet.pth")]),
    ("MarionetteLoadMotionUNet", {"denoiser": "Moore/denoising_unet.pth", "motion": "Moore/motion_module.pth"},
     ["denoiser", "denoising_unet.pth (3.44 GB)", "motion", "motion_module.pth (1.82 GB)", "models/animate_anyone/Moore",
      RESOLVE.format("patrolli/AnimateAnyone", "motion_module.pth")]),
    ("MarionetteLoadPoseGuider", {"file": "(no file found)"},
     ["file", "pose_guider.pth (4.35 MB)", "models/animate_anyone/Moore", RESOLVE.format("patrolli/AnimateAnyone", "pose_guider.pth")]),
    ("MarionetteLoadPoseGuider", {"file": "../vae/x.safetensors"}, ["not found", "../vae/x.safetensors"]),
    ("MarionetteLoadClipVision", {"file": "sd-image-variations/pytorch_model.bin"},
     ["file", "pytorch_model.bin (1.22 GB)", "models/clip_vision/sd-image-variations",
      RESOLVE.format("lambdalabs/sd-image-variations-diffusers", "image_encoder/pytorch_model.bin")]),
])
def test_a_missing_file_is_named_with_its_address(host: HostServer, loader: str, inputs: dict[str, str], words: list[str]) -> None:
    result = refused(host, loader_graph(loader, **inputs), *words)
    assert result.status == "invalid", "it began to run"


@pytest.mark.parametrize(("folder", "words"), [
    ("Champ", ["models/animate_anyone/Champ", "guidance_encoder_semantic_map.pth (10.7 MB)", "fudan-generative-ai/champ/tree/main/champ",
               "pytorch_model.bin", "models/clip_vision/sd-image-variations", "download Champ"]),
    ("../vae", ["folder", "models/animate_anyone/../vae", "download Moore"]),
])
def test_a_missing_folder_is_named_with_its_files(host: HostServer, folder: str, words: list[str]) -> None:
    graph = graphs.load("basic", sampler={"model": ["all", 0]})
    graphs.add(graph, "all", "MarionetteLoadAnimateAnyone", folder=folder, family="auto", weight_dtype="auto")
    assert refused(host, graph, *words).status == "invalid"


@pytest.mark.parametrize(("denoiser", "motion", "words"), [
    (SMALL["reference_unet"], SMALL["motion_module"], ["reference_unet.safetensors", "ReferenceNet"]),
    (SMALL["denoising_unet"], SMALL["pose_guider"], ["pose_guider.safetensors", "pose guider"]),
    (SMALL["denoising_unet"], "bad/half_motion_module.safetensors", ["half_motion_module.safetensors", "up_blocks.3"]),
    (SMALL["denoising_unet"], "bad/wide/motion_module.safetensors", ["motion_module.safetensors"]),
    (SMALL["denoising_unet"], NO_MOTION, ["motion"]),
], ids=["reference as denoiser", "guider as motion", "half a motion module", "motion module of other widths", "no motion module"])
def test_the_wrong_file_in_load_motion_unet(host: HostServer, denoiser: str, motion: str, words: list[str]) -> None:
    refused(host, loader_graph("MarionetteLoadMotionUNet", denoiser=denoiser, motion=motion), *words)


@pytest.mark.parametrize("file", ["truncated.safetensors", "empty.safetensors", "truncated.pth", "empty.pth"])
def test_a_broken_file(host: HostServer, file: str) -> None:
    result = refused(host, loader_graph("MarionetteLoadPoseGuider", file=f"bad/{file}"), file)
    assert any(word in result.error for word in ("download", "Download", "again", "whole")), result.error


def test_a_malicious_pickle(host: HostServer) -> None:
    refused(host, loader_graph("MarionetteLoadPoseGuider", file="bad/evil.pth"), "evil.pth")
    assert not (host.models / equipment.EVIL_MARK).exists(), "it ran code"


@pytest.mark.parametrize(("folder", "words"), [
    ("lacking", ["folder", "models/animate_anyone/lacking", "denoising UNet", "motion module", "ReferenceNet", "broken.pth", "download"]),
    ("twice", ["folder", "models/animate_anyone/twice", "several", "pose guider", "a.safetensors", "b.safetensors"]),
    ("bad", ["folder", "models/animate_anyone/bad", "several"]),
])
def test_a_folder_that_holds_no_whole_model(host: HostServer, folder: str, words: list[str]) -> None:
    graph = graphs.load("basic", sampler={"model": ["all", 0]})
    graphs.add(graph, "all", "MarionetteLoadAnimateAnyone", folder=folder, family="auto", weight_dtype="auto")
    refused(host, graph, *words)


@pytest.mark.parametrize(("changes", "words"), [
    ({"reference_net": {"file": "bad/wide/reference_unet.safetensors"}}, ["reference", "channels", "load"]),
    ({"pose_guider": {"file": "bad/wide/pose_guider.safetensors"}}, ["pose", "channels", "load"]),
    ({"reference_net": {"file": "bad/token64_reference.safetensors"}}, ["clip_vision", "64", "choose"]),
    ({"clip_vision": {"file": "wide_clip/"}}, ["clip_vision", "64", "32", "choose"]),
    ({"vae": {"vae_name": "wide_vae.safetensors"}}, ["vae", "16", "4", "choose"]),
], ids=["reference net", "pose guider", "token of the reference net", "token of CLIP", "VAE"])
def test_networks_that_do_not_fit(host: HostServer, changes: dict[str, Any], words: list[str]) -> None:
    refused(host, graphs.load("basic", **changes), *words)


def test_a_reference_with_another_token_than_the_model(host: HostServer) -> None:
    graph = graphs.load("basic", reference_net={"file": "bad/token64_reference.safetensors"}, clip_vision={"file": "wide_clip/"})
    refused(host, graph, "reference", "64", "32")


def test_the_networks_do_not_fit_for_ksampler_either(host: HostServer) -> None:
    graph = graphs.load("ksampler", reference_net={"file": "bad/wide/reference_unet.safetensors"})
    refused(host, graph, "reference", "channels", "load")


@pytest.mark.parametrize(("node", "kind", "words"), [
    ("reference", "nan", ["image", "NaN"]),
    ("reference", "alpha", ["image", "alpha", "RGB"]),
    ("reference", "one channel", ["image", "one channel", "RGB"]),
    ("reference", "no frames", ["image", "no frames"]),
    ("pose", "nan", ["images", "NaN"]),
    ("pose", "alpha", ["images", "alpha", "RGB"]),
    ("pose", "one channel", ["images", "one channel", "RGB"]),
    ("pose", "no frames", ["images", "no frames"]),
])
def test_pictures_that_are_none(host: HostServer, node: str, kind: str, words: list[str]) -> None:
    graph = graphs.load("basic", **{node: {"image" if node == "reference" else "images": ["wrong", 0]}})
    graphs.add(graph, "wrong", "TestImage", kind=kind, width=64, height=96, frames=24)
    refused(host, graph, *words)


@pytest.mark.parametrize("node", ["reference", "pose"])
@pytest.mark.parametrize(("key", "value"), [("width", 100), ("height", 90), ("width", 32)])
def test_sizes_that_are_no_multiple_of_8(host: HostServer, node: str, key: str, value: int) -> None:
    refused(host, graphs.load("basic", **{node: {key: value}}), key, "8" if value > 64 else "64")


@pytest.mark.parametrize("name", ["basic", "ksampler"])
def test_pose_and_reference_of_different_sizes(host: HostServer, name: str) -> None:
    refused(host, graphs.load(name, pose={"width": 96}), "pose", "96x96", "64x96", "same")


@pytest.mark.parametrize("name", ["basic", "ksampler"])
def test_fewer_poses_than_frames(host: HostServer, name: str) -> None:
    refused(host, graphs.load(name, **{"sampler" if name == "basic" else "animate": {"frames": 30}}), "frames", "30", "24", "lower")


@pytest.mark.parametrize(("frames", "channels", "height", "width"), [(24, 4, 12, 16), (20, 4, 12, 8), (24, 16, 12, 8), (0, 4, 12, 8)])
def test_a_latent_of_another_shape_than_the_clip(host: HostServer, frames: int, channels: int, height: int, width: int) -> None:
    graph = graphs.load("basic", sampler={"latent": ["start", 0], "denoise": 0.5})
    graphs.add(graph, "start", "TestLatent", frames=frames, channels=channels, height=height, width=width)
    refused(host, graph, "latent", "24", "encode")


@pytest.mark.parametrize(("frames", "height", "width", "words"), [(24, 12, 16, ["128x96", "64x96"]), (30, 12, 8, ["30", "24"])])
def test_a_latent_that_does_not_fit_in_ksampler(host: HostServer, frames: int, height: int, width: int, words: list[str]) -> None:
    graph = graphs.load("ksampler", sampler={"latent_image": ["start", 0]})
    graphs.add(graph, "start", "TestLatent", frames=frames, channels=4, height=height, width=width)
    refused(host, graph, "latent", "Animate Conditioning", *words)


def test_denoise_below_one_without_a_latent(host: HostServer) -> None:
    refused(host, graphs.load("basic", sampler={"denoise": 0.5}), "denoise", "latent", "connect")


def test_conditioning_of_another_kind_in_ksampler(host: HostServer) -> None:
    """Text conditioning on our MODEL: the classic wrong wire."""
    graph = graphs.load("ksampler", sampler={"positive": ["text", 0]})
    graphs.add(graph, "text", "TestConditioning", width=32)
    refused(host, graph, "positive", "Animate Conditioning")


@pytest.mark.parametrize(("inputs", "words"), [
    ({"length": 8, "overlap": 8}, ["overlap", "8", "less than the length"]),
    ({"length": 8, "overlap": 20}, ["overlap", "20", "less than the length"]),
    ({"length": 0}, ["length"]),
    ({"stride": 0}, ["stride"]),
    ({"stride": 2, "schedule": "shifted"}, ["stride", "published"]),
])
def test_windows_that_are_none(host: HostServer, inputs: dict[str, Any], words: list[str]) -> None:
    graph = graphs.load("basic", sampler={"windows": ["windows", 0]})
    refused(host, graphs.add_windows(graph, **inputs), *words)


@pytest.mark.parametrize("name", ["basic", "ksampler"])
def test_windows_longer_than_the_position_table_are_warned_of(host: HostServer, name: str) -> None:
    """The file has 32 positions: 40 frames at once work, and the log says that motion may suffer."""
    graph = graphs.load(name, **{"sampler" if name == "basic" else "animate": {"windows": ["windows", 0]}}, poses={"length": 40},
                        trimmed={"duration": 1.5})
    graphs.change(graph, sampler={"steps": 1})
    before = len(host.log)
    result = host.run(graphs.add_windows(graph, length=40))
    assert result.latent().shape[0] == 40
    warnings = [line for line in host.log[before:].splitlines() if "WARN" in line]
    assert any("windows" in line and "40" in line and "32" in line for line in warnings), warnings


@pytest.mark.parametrize(("inputs", "word"), [
    ({"cfg": -1.0}, "cfg"), ({"cfg": 1000.0}, "cfg"), ({"steps": 0}, "steps"), ({"steps": 1001}, "steps"), ({"denoise": 0.0}, "denoise"),
    ({"denoise": 1.5}, "denoise"), ({"frames": -1}, "frames"), ({"seed": -1}, "seed"), ({"scheduler": "Heun"}, "scheduler"),
])
def test_numbers_out_of_range(host: HostServer, inputs: dict[str, Any], word: str) -> None:
    result = refused(host, graphs.load("basic", sampler=inputs), word)
    assert result.executed == [], "the host refuses it before anything runs"


def test_more_steps_than_timesteps(host: HostServer) -> None:
    graph = graphs.load("basic", sampler={"latent": ["start", 0], "denoise": 0.1, "steps": 500})
    graphs.add(graph, "start", "TestLatent", frames=24, channels=4, height=12, width=8)
    refused(host, graph, "steps", "denoise", "lower")


@pytest.mark.parametrize("both", [True, False])
def test_clip_vision_is_wanted_once(host: HostServer, both: bool) -> None:
    graph = graphs.load("basic")
    if both:
        graphs.add(graph, "look", "CLIPVisionEncode", clip_vision=["clip_vision", 0], image=["picture", 0], crop="none")
        graphs.change(graph, reference={"clip_vision_output": ["look", 0]})
    else:
        graphs.change(graph, reference={"clip_vision": None})
    refused(host, graph, "clip_vision", "connect", "clip_vision_output")


def test_after_all_that_the_host_still_works(host: HostServer) -> None:
    assert host.run(graphs.load("basic", poses={"length": 2}, sampler={"steps": 1})).latent().shape[0] == 2
