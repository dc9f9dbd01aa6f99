"""The built-in model and its characters in the real host: the workflow that runs at the first click (issue: in the host)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from animate_core.demo.character import HELD_OUT_SEED, LAST_SEED
from animate_core.demo.clip import demo_clip, reference_frame
from animate_core.demo.model import DEMO_FAMILY, DEMO_FOLDER, NORM_NUM_GROUPS, NUM_HEADS
from animate_core.demo.motion import MOTIONS
from animate_core.families import family_preset
from animate_core.preprocess import pose_input
from animate_core.sampling import draw_noise, sample_clip, unet_predictor
from animate_core.windows import Windows
from tests.host import equipment, graphs
from tests.host.core_run import SCALE, relative_l2
from tests.host.host_server import PACK, HostServer
from tests.host.result import Graph, Result
from tests.host.test_bad_input import refused
from training.demo_data import clip_pixels, picture_tensor
from training.evaluate import load_model

FRAMES, WIDTH, HEIGHT = 16, 192, 288


def demo_graph(**changes: dict[str, Any]) -> Graph:
    """The workflow's graph with its frames and latents saved, and few steps."""
    graph = graphs.load("demo", sampler={"steps": 2})
    graphs.add(graph, "frames", "SaveImage", images=["decode", 0], filename_prefix="frames")
    graphs.add(graph, "save", "SaveLatent", samples=["sampler", 0], filename_prefix="latents/clip")
    return graphs.change(graph, **changes)


def character_graph(**inputs: Any) -> Graph:
    """Demo Character alone, every output saved."""
    graph = {"character": graphs.load("demo")["character"]}
    graphs.change(graph, character=inputs)
    graphs.add(graph, "mask_picture", "MaskToImage", mask=["character", 4])
    sources = {"reference": ["character", 0], "poses": ["character", 1], "truth": ["character", 3], "mask": ["mask_picture", 0]}
    for name, source in sources.items():
        graphs.add(graph, name, "SaveImage", images=source, filename_prefix=name)
    graphs.add(graph, "keypoints", "TestSaveJSON", value=["character", 2])
    return graph


def saved_json(host: HostServer, result: Result) -> Any:
    assert result.status == "success", result.error
    return json.loads(Path(result.outputs["keypoints"]["files"][0]).read_text(encoding="utf-8"))


def test_the_workflow_runs_end_to_end(host: HostServer) -> None:
    result = host.run(demo_graph())
    assert result.latent().shape == (FRAMES, 4, HEIGHT // 8, WIDTH // 8)
    assert torch.isfinite(result.latent()).all()
    assert result.images().shape == (FRAMES, HEIGHT, WIDTH, 3)
    assert result.progress("character")[-1] == (FRAMES, FRAMES)
    clip, beside = (host.output / entry["subfolder"] / entry["filename"]
                    for entry in (result.outputs[node]["images"][0] for node in ("webp", "beside_save")))
    with Image.open(clip) as shown:
        assert (shown.size, shown.n_frames) == ((WIDTH, HEIGHT), FRAMES)  # type: ignore[attr-defined]
    frames = equipment.pose_frames(beside, 100)
    assert (frames[0].size, len(frames)) == ((3 * WIDTH, HEIGHT), FRAMES)


def test_previews_have_the_clips_colours(host: HostServer) -> None:
    """The last preview's mean colour against the frames'; Stable Diffusion's factors are off by 0.28 and 0.10."""
    for seed in (HELD_OUT_SEED + 2, HELD_OUT_SEED + 5):
        result = host.run(demo_graph(character={"seed": seed}))
        preview = np.asarray(result.previews("sampler")[-1].convert("RGB"), np.float32) / 255
        off = np.abs(preview.mean((0, 1)) - result.images().mean((0, 1, 2)) / 255).max()
        assert off < 0.06, f"previews are off by {off:.2f}"


def test_the_workflow_has_the_presets_settings() -> None:
    graph, preset = graphs.load("demo"), family_preset(DEMO_FAMILY)
    sampler = graph["sampler"]["inputs"]
    assert (sampler["steps"], sampler["cfg"]) == (preset.steps, preset.guidance)
    for node in ("character", "reference", "pose"):
        assert (graph[node]["inputs"]["width"], graph[node]["inputs"]["height"]) == (preset.width, preset.height)
    assert graph["character"]["inputs"]["seed"] >= HELD_OUT_SEED, "a character that training never saw"


def test_latents_equal_the_library(host: HostServer, measured: Callable[[str], None]) -> None:
    """Heads and norm groups, which no shape tells, are those of training; so are the schedule and the VAE's scale."""
    ours = host.run(demo_graph(sampler={"seed": 7, "steps": 3, "cfg": 2.0}, character={"frames": 4})).latent()
    model, preset = load_model(DEMO_FOLDER, NUM_HEADS, NORM_NUM_GROUPS), family_preset(DEMO_FAMILY)
    clip, picture = demo_clip(HELD_OUT_SEED, "dance", 4), reference_frame(HELD_OUT_SEED).frames
    with torch.inference_mode():
        token = model.clip(pixel_values=clip_pixels(picture[0], model.clip_size)).image_embeds.unsqueeze(1)
        networks = model.networks
        features = networks.reference.reference_features(model.vae.encode(picture_tensor(picture)), token)
        pose = networks.guider(torch.cat([pose_input(Image.fromarray(p), WIDTH, HEIGHT, "crop") for p in clip.poses]))
        denoiser = networks.denoiser
        predict = unet_predictor(denoiser, denoiser.condition(token, features), denoiser.condition(torch.zeros_like(token)), pose,
                                 Windows(preset.window_length, preset.window_overlap))
        theirs = sample_clip(predict, draw_noise(7, 4, HEIGHT // 8, WIDTH // 8), preset, steps=3, guidance=2.0) / SCALE
    error = relative_l2(ours, theirs)
    measured(f"the built-in model in the host against the library: relative L2 {error:.1e} (limit 1e-3)")
    assert error < 1e-3


def test_the_vae_loads_whole_and_as_trained(host: HostServer) -> None:
    graph = {"model": graphs.load("demo")["model"], "character": graphs.load("demo", character={"frames": 1})["character"]}
    graphs.add(graph, "encode", "VAEEncode", pixels=["character", 0], vae=["model", 4])
    graphs.add(graph, "save", "SaveLatent", samples=["encode", 0], filename_prefix="latents/reference")
    latent = host.run(graph).latent()
    model = load_model(DEMO_FOLDER, NUM_HEADS, NORM_NUM_GROUPS)
    with torch.inference_mode():
        theirs = model.vae.encode(picture_tensor(reference_frame(HELD_OUT_SEED).frames)) / SCALE
    assert relative_l2(latent, theirs) < 1e-3
    assert "Missing VAE keys" not in host.log


@pytest.mark.parametrize("motion", MOTIONS)
def test_the_characters_outputs_are_the_renderers(host: HostServer, motion: str) -> None:
    seed = HELD_OUT_SEED + 5
    result = host.run(character_graph(seed=seed, motion=motion, frames=6, period=12))
    clip = demo_clip(seed, motion, 6, period=12)
    assert np.array_equal(result.images("reference"), reference_frame(seed).frames)
    assert np.array_equal(result.images("poses"), clip.poses)
    assert np.array_equal(result.images("truth"), clip.frames)
    assert np.array_equal(result.images("mask")[..., 0], clip.masks)
    frames = saved_json(host, result)
    assert [(frame["canvas_width"], frame["canvas_height"], len(frame["people"])) for frame in frames] == [(WIDTH, HEIGHT, 1)] * 6
    people = [frame["people"][0] for frame in frames]
    assert np.array_equal(np.array([person["pose_keypoints_2d"] for person in people], np.float32).reshape(6, 18, 3), clip.keypoints)
    for person in people:
        # present, of the length that readers take, and seen by none of them
        for part, count in (("face", 70), ("hand_left", 21), ("hand_right", 21)):
            assert person[f"{part}_keypoints_2d"] == [0.0] * (3 * count)


def test_the_hosts_own_node_draws_the_keypoints(host: HostServer) -> None:
    """SDPose Draw Keypoints reads the field as strictly as any: the sticks come out where ours are."""
    graph = character_graph(frames=2, width=128, height=192)  # its sticks have one width at every size
    graphs.add(graph, "drawn", "SDPoseDrawKeypoints", keypoints=["character", 2], draw_body=True, draw_hands=True, draw_face=True,
               draw_feet=False, draw_head=True, stick_width=2, face_point_size=1, score_threshold=0.3)
    graphs.add(graph, "theirs", "SaveImage", images=["drawn", 0], filename_prefix="theirs")
    result = host.run(graph)
    ours, theirs = (result.images(node).max(axis=-1) > 60 for node in ("poses", "theirs"))
    assert theirs.any() and (ours & theirs).sum() > 0.9 * ours.sum()


def test_another_size(host: HostServer) -> None:
    size = {"width": 64, "height": 96}
    result = host.run(character_graph(frames=2, **size))
    assert result.images("truth").shape == result.images("poses").shape == (2, 96, 64, 3)
    assert saved_json(host, result)[0]["canvas_height"] == 96
    small = demo_graph(character={"frames": 20, **size}, reference=size, pose=size, sampler={"steps": 1})
    assert host.run(small).images().shape == (20, 96, 64, 3), "longer than a window, and smaller"


@pytest.mark.parametrize(("inputs", "words"), [
    ({"seed": LAST_SEED + 1}, ["seed", str(LAST_SEED)]),
    ({"seed": -1}, ["seed"]),
    ({"motion": "fly"}, ["motion", "fly"]),
    ({"width": 100}, ["width", "100", "multiple of 8", "96"]),
    ({"height": 90}, ["height", "multiple of 8"]),
    ({"frames": 0}, ["frames"]),
    ({"period": 2.0}, ["period"]),
])
def test_wrong_characters_are_refused(host: HostServer, inputs: dict[str, Any], words: list[str]) -> None:
    refused(host, demo_graph(character=inputs), *words)


def test_a_seed_by_wire_is_checked_too(host: HostServer) -> None:
    graph = demo_graph(character={"seed": ["number", 0]})
    graphs.add(graph, "number", "PrimitiveInt", value=LAST_SEED + 1)
    refused(host, graph, "seed", str(LAST_SEED), "whole number")


@pytest.mark.parametrize("change", ["missing", "empty", "another's", "half a VAE"])
def test_broken_files_of_the_pack_say_reinstall(host: HostServer, tmp_path: Path, change: str) -> None:
    folder = host.base / "custom_nodes" / PACK / "models" / "demo"
    name = "vae.safetensors" if change == "half a VAE" else "reference_unet.safetensors"
    kept = tmp_path / name
    shutil.move(folder / name, kept)
    try:
        if change == "empty":
            (folder / name).touch()
        elif change == "another's":
            shutil.copyfile(folder / "pose_guider.safetensors", folder / name)
        elif change == "half a VAE":
            save_file({key: value for key, value in load_file(kept).items() if not key.startswith("taesd_encoder.1.")}, folder / name)
        result = refused(host, demo_graph(), name, "reinstall")
        assert result.error_node == "MarionetteLoadDemoModel"
    finally:
        (folder / name).unlink(missing_ok=True)
        shutil.move(kept, folder / name)
    assert host.run(demo_graph(sampler={"steps": 1}, character={"frames": 1})).status == "success"


def test_cancel_ends_the_drawing(host: HostServer) -> None:
    graph = character_graph(frames=2000, width=512, height=768)
    prompt = host.submit(graph)
    assert isinstance(prompt, str)
    host.events.wait_for(prompt, "progress", 60)
    host.interrupt()
    assert host.events.wait_for(prompt, "execution_interrupted", 10)
    host.wait(graph, prompt, 30)
