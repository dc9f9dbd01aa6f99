"""From a picture and a pose clip to frames, in the real host (issue: proof 1 and 2)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from animate_core.accelerate import Acceleration
from animate_core.strengths import Curve, Strengths
from animate_core.windows import Windows
from tests.host import core_run, equipment, graphs
from tests.host.core_run import relative_l2
from tests.host.host_server import HostServer

NODES = {
    "MarionetteLoadReferenceNet", "MarionetteLoadMotionUNet", "MarionetteLoadPoseGuider", "MarionetteLoadClipVision",
    "MarionetteLoadAnimateAnyone", "MarionetteEncodeReference", "MarionetteEncodePose", "MarionetteWindows",
    "MarionetteMultiFrameSampler", "MarionetteAnimateConditioning", "MarionetteAnimateSigmas", "MarionetteLoadDemoModel",
    "MarionetteDemoCharacter", "MarionetteAccelerate", "MarionetteStrengths",
}
FRAMES, WIDTH, HEIGHT = 24, 64, 96
# Accelerate's settings that leave nothing out
PLAIN = {"deep_every": 1, "deep_layers": 1, "guidance_every": 1, "guidance_start": 0.0, "guidance_end": 1.0, "reference_end": 1.0}


def test_every_node_explains_itself(host: HostServer) -> None:
    known = {name: info for name, info in host.object_info().items() if name.startswith("Marionette")}
    assert set(known) >= NODES
    for name, info in known.items():
        assert info["description"] and info["search_aliases"], name
        assert info["category"].startswith("Marionette/"), name
        for kind in ("required", "optional"):
            for key, (_, options, *_rest) in ((k, (*v, {})) for k, v in info["input"].get(kind, {}).items()):
                assert options.get("tooltip"), f"{name}.{key} has no tooltip"
        assert all(info["output_tooltips"]), f"{name}: an output has no tooltip"


def test_frames_come_back(host: HostServer) -> None:
    result = host.run(graphs.load("basic"))
    latent, images = result.latent(), result.images()
    assert latent.shape == (FRAMES, 4, HEIGHT // 8, WIDTH // 8)
    assert torch.isfinite(latent).all()
    assert images.shape == (FRAMES, HEIGHT, WIDTH, 3)
    assert images.min() < 100 and images.max() > 150 and images.std() > 10, "the frames should be neither flat nor clipped"
    assert np.abs(np.diff(images.astype(int), axis=0)).max() > 2, "the frames should differ from each other"


def test_a_seed_means_one_clip(host: HostServer) -> None:
    first = host.run(graphs.load("basic", sampler={"seed": 1})).latent()
    other = host.run(graphs.load("basic", sampler={"seed": 2})).latent()
    host.free()
    again = host.run(graphs.load("basic", sampler={"seed": 1}))
    assert again.ran("MarionetteMultiFrameSampler"), "it must be made anew, not come from the cache"
    assert torch.equal(first, again.latent())
    assert relative_l2(other, first) > 0.1


@pytest.fixture
def by_library(host: HostServer) -> Callable[..., torch.Tensor]:
    """The clip of the graph `basic` with seed 7 and 4 steps by the library alone, of the reference that the host's VAE encodes."""
    picture = core_run.fitted_picture(host.input / equipment.PICTURE, WIDTH, HEIGHT)
    picture.save(host.input / "fitted.png")
    encode = {"picture": {"class_type": "LoadImage", "inputs": {"image": "fitted.png"}},
              "vae": {"class_type": "VAELoader", "inputs": {"vae_name": "small_vae.safetensors"}},
              "encode": {"class_type": "VAEEncode", "inputs": {"pixels": ["picture", 0], "vae": ["vae", 0]}},
              "save": {"class_type": "SaveLatent", "inputs": {"samples": ["encode", 0], "filename_prefix": "latents/reference"}}}
    reference = host.run(encode).latent()
    poses = equipment.pose_frames(host.input / equipment.CLIP, FRAMES)
    return partial(core_run.sample, host.models, host.input / equipment.PICTURE, reference, poses, WIDTH, HEIGHT, seed=7)


@pytest.mark.parametrize("cfg", [3.5, 1.0])
def test_latents_equal_the_library(host: HostServer, by_library: Callable[..., torch.Tensor], cfg: float,
                                   measured: Callable[[str], None]) -> None:
    ours = host.run(graphs.load("basic", sampler={"seed": 7, "steps": 4, "cfg": cfg})).latent()
    error = relative_l2(ours, by_library(steps=4, cfg=cfg))
    measured(f"Multi-Frame Sampler against the library, cfg {cfg}: relative L2 {error:.1e} (limit 1e-3)")
    assert error < 1e-3


def test_accelerated_latents_equal_the_librarys(host: HostServer, by_library: Callable[..., torch.Tensor],
                                                measured: Callable[[str], None]) -> None:
    """In several windows; every setting at work, the halves' difference carried over by sigma in the host and by velocity here."""
    settings = {**PLAIN, "deep_every": 2, "deep_layers": 2, "guidance_every": 3, "guidance_end": 0.9, "reference_end": 0.9}
    graph = graphs.load("basic", sampler={"seed": 7, "steps": 7, "windows": ["windows", 0]})
    plain = host.run(graphs.add_windows(graph, length=16)).latent()
    graphs.add(graph, "accelerate", "MarionetteAccelerate", model=["model", 0], preset="custom", **settings)
    graphs.model_from(graph, "accelerate")
    result = host.run(graph)
    theirs = by_library(steps=7, cfg=3.5, windows=Windows(16, 4), acceleration=Acceleration(**settings))
    error = relative_l2(result.latent(), theirs)
    measured(f"accelerated, against the library: relative L2 {error:.1e} (limit 1e-3)")
    assert error < 1e-3 < relative_l2(theirs, plain)
    value, most = result.progress("sampler")[-1]
    assert value == most, "passes that are left out are not waited for"


def test_strengths_equal_the_librarys(host: HostServer, by_library: Callable[..., torch.Tensor], measured: Callable[[str], None]) -> None:
    """Curves as text, as a number and as a list that another node makes; in several windows."""
    graph = graphs.load("basic", sampler={"seed": 7, "steps": 4, "windows": ["windows", 0], "strengths": ["strengths", 0]})
    graphs.add_windows(graph, length=16)
    for name, value in (("low", 0.5), ("high", 1.5)):
        graphs.add(graph, name, "PrimitiveFloat", value=value)
    graphs.add(graph, "list", "CreateList", **{"inputs.input0": ["low", 0], "inputs.input1": ["high", 0]})
    ones = {"": 1.0, "_start": 0.0, "_end": 1.0}
    settings = {f"{kind}{end}": value for kind in ("reference", "pose", "guidance") for end, value in ones.items()}
    graphs.add(graph, "strengths", "MarionetteStrengths", **{**settings, "reference_curve": "0, 1.5", "pose": 0.8, "guidance_end": 0.5,
                                                             "guidance_curve": ["list", 0]})
    strengths = Strengths(Curve((0.0, 1.5)), Curve((0.8,)), Curve((0.5, 1.5), 0.0, 0.5)).on(FRAMES)
    theirs = by_library(steps=4, cfg=3.5, windows=Windows(16, 4), strengths=strengths)
    result = host.run(graph)
    error = relative_l2(result.latent(), theirs)
    measured(f"with strengths, against the library: relative L2 {error:.1e} (limit 1e-3)")
    assert error < 1e-3 < relative_l2(theirs, by_library(steps=4, cfg=3.5, windows=Windows(16, 4)))
    graphs.change(graph, strengths={"reference_curve": "1, -1"})
    result = host.run(graph)
    assert result.status == "error" and not result.sampling_started
    assert "reference: strengths must be numbers from 0 up; got -1" in result.error


def test_several_images_are_references(host: HostServer) -> None:
    """One that counts for nothing is not read, and without all_images the first is used, as ever."""
    short = {"poses": {"length": 4}, "sampler": {"steps": 2}}

    def clip(image: list, **inputs: object) -> torch.Tensor:
        graph = graphs.load("basic", reference={"image": image, **inputs}, **short)
        graphs.add(graph, "other", "ImageInvert", image=["picture", 0])
        graphs.add(graph, "both", "ImageBatch", image1=["picture", 0], image2=["other", 0])
        return host.run(graph).latent()

    first, second = clip(["picture", 0]), clip(["other", 0])
    assert torch.equal(clip(["both", 0]), first)
    assert relative_l2(clip(["both", 0], all_images=True, weights="3, 0"), first) < 1e-4
    assert relative_l2(clip(["both", 0], all_images=True, weights="0, 1"), second) < 1e-4
    even = clip(["both", 0], all_images=True)
    assert min(relative_l2(even, first), relative_l2(even, second)) > 1e-3
    wrong = graphs.load("basic", reference={"all_images": True, "weights": "1, 1"}, **short)
    result = host.run(wrong)
    assert result.status == "error" and "weights: 2 for 1 images" in result.error


def test_settings_of_accelerate_out_of_range_are_refused_before_sampling(host: HostServer) -> None:
    graph = graphs.load("basic")
    graphs.add(graph, "accelerate", "MarionetteAccelerate", model=["model", 0], preset="custom",
               **{**PLAIN, "guidance_start": 0.8, "guidance_end": 0.2})
    result = host.run(graphs.model_from(graph, "accelerate"))
    assert result.status == "error" and not result.sampling_started
    assert "guidance_start" in result.error


@pytest.mark.parametrize("steps", [20, 25])
def test_animate_sigmas_with_euler_equal_the_published_ddim(host: HostServer, steps: int, measured: Callable[[str], None]) -> None:
    poses = {"poses": {"length": 8}}
    ddim = host.run(graphs.load("basic", sampler={"steps": steps, "noise": "ComfyUI"}, **poses)).latent()
    euler = host.run(graphs.load("sigmas", sigmas={"steps": steps}, **poses)).latent()
    error = relative_l2(euler, ddim)
    measured(f"Animate Sigmas with euler against DDIM, {steps} steps: relative L2 {error:.1e} (limit 1e-3)")
    assert error < 1e-3


def test_ksampler_runs_with_previews(host: HostServer) -> None:
    result = host.run(graphs.load("ksampler", poses={"length": 8}, sampler={"steps": 4}))
    assert result.images().shape == (8, HEIGHT, WIDTH, 3)
    assert torch.isfinite(result.latent()).all()
    assert len(result.previews("sampler")) == 4
    assert result.progress("sampler")[-1] == (4, 4)


@pytest.mark.parametrize("scheduler", ["DPM++ 2M", "DPM++ 2M SDE", "Euler", "Euler a", "UniPC", "LCM"])
def test_every_scheduler_gives_a_clip(host: HostServer, scheduler: str) -> None:
    changes = {"poses": {"length": 4}}
    latent = host.run(graphs.load("basic", sampler={"scheduler": scheduler, "steps": 4}, **changes)).latent()
    assert torch.isfinite(latent).all()
    assert latent.abs().max() < 100, "as large as latents get, not noise that grew"


def test_progress_and_previews_of_the_sampler(host: HostServer) -> None:
    """Steps and windows count; a preview shows several frames of the clip, not the first alone."""
    graph = graphs.load("long", sampler={"steps": 2})
    result = host.run(graph)
    assert result.latent().shape[0] == 40
    progress, previews = result.progress("sampler"), result.previews("sampler")
    assert progress and progress[-1][0] == progress[-1][1] >= 2 * 3, "40 frames in windows of 16 are at least 3 windows a step"
    assert [value for value, _ in progress] == sorted(value for value, _ in progress)
    assert len(previews) == 2
    assert previews[0].width >= 3 * previews[0].height * WIDTH / HEIGHT, "one frame beside the other"


def test_windows_change_only_how_a_long_clip_is_cut(host: HostServer) -> None:
    """A window as long as the clip is no window at all."""
    plain = host.run(graphs.load("basic")).latent()
    graph = graphs.load("basic", sampler={"windows": ["windows", 0]})
    graphs.add_windows(graph, length=24, schedule="published", weights="flat")
    assert torch.equal(host.run(graph).latent(), plain)
    graphs.change(graph, windows={"length": 12})
    assert 1e-3 < relative_l2(host.run(graph).latent(), plain) < 1.5


def test_load_animate_anyone_finds_the_files(host: HostServer) -> None:
    graph = graphs.load("basic")
    plain = host.run(graph).latent()
    for node in ("model", "reference_net", "pose_guider", "clip_vision"):
        del graph[node]
    graphs.add(graph, "all", "MarionetteLoadAnimateAnyone", folder="small", family="auto", weight_dtype="auto")
    graphs.change(graph, sampler={"model": ["all", 0]}, reference={"reference_net": ["all", 1], "clip_vision": ["all", 3]},
                  pose={"pose_guider": ["all", 2]})
    assert torch.equal(host.run(graph).latent(), plain)


def test_a_linked_clip_vision_folder_loads(host: HostServer, tmp_path: Path) -> None:
    """People keep models elsewhere and link to them."""
    elsewhere, link = tmp_path / "encoder", host.models / "clip_vision" / "linked_clip"
    shutil.copytree(host.models / "clip_vision" / "small_clip", elsewhere)
    link.symlink_to(elsewhere, target_is_directory=True)
    short = {"poses": {"length": 4}, "sampler": {"steps": 1}}
    linked = host.run(graphs.load("basic", clip_vision={"file": "linked_clip/"}, **short))
    link.unlink()
    assert torch.equal(linked.latent(), host.run(graphs.load("basic", **short)).latent())


def test_the_hosts_own_clip_vision_output_serves(host: HostServer) -> None:
    graph = graphs.load("basic", reference={"clip_vision": None, "clip_vision_output": ["look", 0]}, poses={"length": 4})
    graphs.add(graph, "look", "CLIPVisionEncode", clip_vision=["clip_vision", 0], image=["picture", 0], crop="none")
    theirs = host.run(graph).latent()
    ours = host.run(graphs.load("basic", poses={"length": 4})).latent()
    # The host squashes to 224x224 with another bicubic filter than Pillow's, so near and not equal.
    assert relative_l2(theirs, ours) < 0.05


def test_a_clip_can_start_from_a_latent(host: HostServer) -> None:
    start = host.run(graphs.load("basic", poses={"length": 4}, sampler={"steps": 8})).latent()
    graph = graphs.load("basic", poses={"length": 4}, sampler={"latent": ["start", 0], "denoise": 0.25, "steps": 2, "seed": 5})
    graphs.add(graph, "start", "MarionetteMultiFrameSampler", **{**graphs.load("basic")["sampler"]["inputs"], "steps": 8})
    near = relative_l2(host.run(graph).latent(), start)
    graphs.change(graph, sampler={"denoise": 1.0})
    far = relative_l2(host.run(graph).latent(), start)
    assert 0.01 < near < far


def test_the_same_inputs_do_not_run_again(host: HostServer) -> None:
    graph = graphs.load("basic", sampler={"seed": 11})
    host.run(graph)
    again = host.run(graph)
    assert again.executed == [] and set(graph) == again.cached
    other = host.run(graphs.change(graph, sampler={"seed": 12}))
    assert set(other.executed) == {"sampler", "decode", "frames", "save"}


def test_a_changed_file_runs_again(host: HostServer) -> None:
    folder = host.models / "animate_anyone" / "small"
    changing = host.models / "animate_anyone" / "changing_pose_guider.safetensors"
    shutil.copyfile(folder / "pose_guider.safetensors", changing)
    graph = graphs.load("basic", pose_guider={"file": changing.name})
    try:
        first = host.run(graph).latent()
        equipment.save_file(equipment.recipe_state_dict(99, "pose_guider", equipment.networks.pose_shapes()), changing)
        again = host.run(graph)
        assert set(again.executed) == {"pose_guider", "pose", "sampler", "decode", "frames", "save"}
        assert relative_l2(again.latent(), first) > 0.01
    finally:
        changing.unlink()
