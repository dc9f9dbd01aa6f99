"""Champ, AniPortrait and Moore's face reenactment in the real host, small, with random weights: both sampling paths equal the library."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from animate_core.guiders import GUIDANCE_TYPES
from tests.host import core_run, equipment, graphs, networks, published
from tests.host.core_run import relative_l2
from tests.host.host_server import HostServer
from tests.host.result import Graph
from tests.host.test_bad_input import refused

FAMILIES = ("Champ", "AniPortrait", "Moore face")
WIDTH, HEIGHT = 64, 96
# node inputs -> the guider that they are for
INPUTS = {
    "Champ": {kind: f"guidance_encoder_{kind}" for kind in GUIDANCE_TYPES},
    "AniPortrait": {"images": "pose_guider"},
    "Moore face": {"images": "pose_guider1", "mouth_images": "pose_guider2"},
}


@pytest.fixture(scope="module")
def models(host: HostServer) -> Iterator[HostServer]:
    for name in FAMILIES:
        networks.write_family(host.models / "animate_anyone" / name, networks.of_a_family(name))
    yield host


@pytest.fixture(scope="module")
def pictures(host: HostServer) -> dict[str, list[Image.Image]]:
    """Clips for the inputs, each of another part of the pose clip and of other colours."""
    frames = equipment.pose_frames(host.input / equipment.CLIP, 24)
    clips = {}
    for place, name in enumerate(("images", "mouth_images", *GUIDANCE_TYPES)):
        clips[name] = [Image.fromarray(np.roll(np.asarray(frame), place, axis=-1)) for frame in frames[place % 3:]]
        for i, frame in enumerate(clips[name]):
            (host.input / name).mkdir(exist_ok=True)
            frame.save(host.input / name / f"{i:03}.png")
    return clips


def family_graph(base: str, family: str, frames: int, pictures: dict[str, list[Image.Image]], inputs: tuple[str, ...] = ()) -> Graph:
    """The basic graph with a family's model and guidance."""
    graph = graphs.load(base)
    replaced = ("model", "reference_net", "pose_guider", "clip_vision", "video", "trimmed", "components", "poses", "pose", "decode",
                "frames")
    for node in replaced:
        graph.pop(node, None)
    graphs.add(graph, "all", "MarionetteLoadAnimateAnyone", folder=family, family="auto", weight_dtype="auto")
    graphs.change(graph, reference={"reference_net": ["all", 1], "clip_vision": ["all", 3]})
    for about in graph.values():
        for key, value in about["inputs"].items():
            if value == ["model", 0]:
                about["inputs"][key] = ["all", 0]
    given: dict[str, Any] = {}
    for name in inputs or INPUTS[family]:
        graphs.add(graph, name, "TestPictures", folder=name, frames=frames)
        given[name] = [name, 0]
    node = "MarionetteEncodeGuidance" if family == "Champ" else "MarionetteEncodePose"
    return graphs.add(graph, "pose", node, pose_guider=["all", 2], width=WIDTH, height=HEIGHT, fit="crop", **given)


@pytest.fixture(scope="module")
def reference(host: HostServer) -> torch.Tensor:
    picture = core_run.fitted_picture(host.input / equipment.PICTURE, WIDTH, HEIGHT)
    picture.save(host.input / "fitted_family.png")
    return host.run({
        "picture": {"class_type": "LoadImage", "inputs": {"image": "fitted_family.png"}},
        "vae": {"class_type": "VAELoader", "inputs": {"vae_name": "small_vae.safetensors"}},
        "encode": {"class_type": "VAEEncode", "inputs": {"pixels": ["picture", 0], "vae": ["vae", 0]}},
        "save": {"class_type": "SaveLatent", "inputs": {"samples": ["encode", 0], "filename_prefix": "latents/reference"}},
    }).latent()


@pytest.mark.parametrize(("family", "frames", "rescale"), [("Champ", 4, 0.0), ("AniPortrait", 18, 0.0), ("Moore face", 4, 0.7)])
def test_latents_equal_the_library(models: HostServer, pictures: dict[str, list[Image.Image]], reference: torch.Tensor, family: str,
                                   frames: int, rescale: float, measured: Callable[[str], None]) -> None:
    """With all of a family's guidance; AniPortrait over several windows, whose features are each window's own."""
    graph = graphs.change(family_graph("basic", family, frames, pictures), sampler={"seed": 5, "steps": 2, "rescale": rescale})
    ours = models.run(graph).latent()
    guided = {guider: pictures[name][:frames] for name, guider in INPUTS[family].items()}
    theirs = core_run.sample_family(models.models, family, models.input / equipment.PICTURE, reference, guided, WIDTH, HEIGHT, seed=5,
                                    steps=2, cfg=3.5, rescale=rescale)
    error = relative_l2(ours, theirs)
    measured(f"{family} against the library: relative L2 {error:.1e} (limit 1e-3)")
    assert error < 1e-3
    if rescale:
        assert relative_l2(models.run(graphs.change(graph, sampler={"rescale": 0.0})).latent(), theirs) > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_ksamplers_path_equals_the_published_one(models: HostServer, pictures: dict[str, list[Image.Image]], family: str) -> None:
    ddim = graphs.change(family_graph("basic", family, 3, pictures), sampler={"steps": 20, "noise": "ComfyUI"})
    euler = graphs.change(family_graph("sigmas", family, 3, pictures), sigmas={"steps": 20})
    assert relative_l2(models.run(euler).latent(), models.run(ddim).latent()) < 1e-3


def test_champ_takes_any_of_its_guidance(models: HostServer, pictures: dict[str, list[Image.Image]]) -> None:
    def run(*inputs: str, **changes: Any) -> torch.Tensor:
        graph = family_graph("basic", "Champ", 2, pictures, inputs)
        return models.run(graphs.change(graph, sampler={"steps": 1}, pose=changes)).latent()

    both, depth = run("depth", "normal"), run("depth")
    assert relative_l2(both, depth) > 0.01
    assert relative_l2(run("depth", "normal", normal_weight=0.0), depth) < 1e-5
    assert relative_l2(run("depth", "normal", normal_weight=0.5), depth) > 0.01


def test_single_loaders_make_the_same_model(models: HostServer, pictures: dict[str, list[Image.Image]]) -> None:
    """Load Pose Guider one by one, and the family chosen in the other two loaders."""
    whole = graphs.change(family_graph("basic", "Moore face", 2, pictures), sampler={"steps": 1})
    graph = graphs.change(family_graph("basic", "Moore face", 2, pictures), sampler={"steps": 1})
    graphs.add(graph, "model", "MarionetteLoadMotionUNet", denoiser="Moore face/denoising_unet.safetensors",
               motion="none (in the denoiser file)", family="Moore face", weight_dtype="auto")
    graphs.add(graph, "net", "MarionetteLoadReferenceNet", file="Moore face/reference_unet.safetensors", weight_dtype="auto",
               family="Moore face")
    graphs.add(graph, "second", "MarionetteLoadPoseGuider", file="Moore face/pose_guider2.safetensors")
    graphs.add(graph, "first", "MarionetteLoadPoseGuider", file="Moore face/pose_guider1.safetensors", pose_guider=["second", 0])
    graphs.change(graph, sampler={"model": ["model", 0]}, reference={"reference_net": ["net", 0]}, pose={"pose_guider": ["first", 0]})
    assert torch.equal(models.run(graph).latent(), models.run(whole).latent())


def test_aniportraits_statistics_can_be_the_stored_ones(models: HostServer, pictures: dict[str, list[Image.Image]]) -> None:
    graph = graphs.change(family_graph("basic", "AniPortrait", 3, pictures), sampler={"steps": 1})
    published = models.run(graph).latent()
    stored = models.run(graphs.change(graph, pose={"statistics": "stored"})).latent()
    assert relative_l2(stored, published) > 0.01


@pytest.fixture
def people(models: HostServer) -> Iterator[HostServer]:
    """With what the templates name: pose models, MediaPipe's, and a video of a face; pose models go again, which other tests look for."""
    folder = models.models / "animate_anyone"
    published.write_people(folder, models.input, 5)
    networks.write_face_landmarker(models.models / "detection" / published.FACE_LANDMARKER)
    yield models
    for name in (published.DETECTOR, published.POSE_MODEL):
        (folder / name).unlink()


@pytest.mark.parametrize("name", ["champ", "aniportrait", "face_reenactment"])
def test_the_templates_graphs_run(people: HostServer, name: str) -> None:
    """The twins of workflows/NAME.json (tests/browser) in the API's format, with this host's folders and a short clip."""
    graph = graphs.load(name, sampler={"steps": 1, "frames": 3})
    for about in graph.values():
        if about["class_type"] == "LoadVideo":
            about["inputs"]["file"] = published.FACE
        if about["class_type"] == "MarionetteLoadAnimateAnyone":
            about["inputs"]["folder"] = published.FAMILY_FOLDERS[about["inputs"]["folder"]]
    before = len(people.log)
    latent = people.run(graph).latent()
    assert latent.shape == (3, 4, 8, 8) and torch.isfinite(latent).all()
    assert "no face is found" not in people.log[before:]


def face_keypoints(frames: int, faces: tuple[bool, ...] = (True,)) -> list[dict[str, Any]]:
    """POSE_KEYPOINT of one person with a face, which some frames may lack."""
    turn = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    told = []
    for i in range(frames):
        face = np.stack([32 + 14 * np.cos(turn), 48 + 18 * np.sin(turn) + i, np.ones(68)], axis=-1) * faces[i % len(faces)]
        told.append({"canvas_width": WIDTH, "canvas_height": HEIGHT, "people": [{
            "pose_keypoints_2d": [0.0] * 54, "face_keypoints_2d": face.flatten().tolist(), "hand_left_keypoints_2d": [],
            "hand_right_keypoints_2d": []}]})
    return told


@pytest.mark.parametrize("family", ["AniPortrait", "Moore face"])
def test_face_keypoints_are_drawn(models: HostServer, pictures: dict[str, list[Image.Image]], family: str) -> None:
    def run(keypoints: list[dict[str, Any]]) -> tuple[Any, str]:
        graph = graphs.change(family_graph("basic", family, 2, pictures), sampler={"steps": 1}, pose={
            "images": None, "mouth_images": None, "pose_keypoint": ["points", 0]})
        graphs.add(graph, "points", "TestFromJSON", text=json.dumps(keypoints))
        before = len(models.log)
        return models.run(graph), models.log[before:]

    result, log = run(face_keypoints(4))
    moved, _ = run(face_keypoints(4)[::-1])
    assert result.latent().shape[0] == 4 and relative_l2(moved.latent(), result.latent()) > 1e-3
    assert "no face is found" not in log
    _, log = run(face_keypoints(4, (True, False)))
    assert "no face found in 2 of 4 frames (the first is 1)" in log
    result, _ = run(face_keypoints(4, (False,)))
    assert result.status == "error" and "pose_keypoint: no face in any frame" in result.error


def test_draw_pose_makes_the_same_pictures(models: HostServer, pictures: dict[str, list[Image.Image]]) -> None:
    graph = graphs.change(family_graph("basic", "Moore face", 2, pictures), sampler={"steps": 1}, pose={
        "images": None, "mouth_images": None, "pose_keypoint": ["points", 0]})
    graphs.add(graph, "points", "TestFromJSON", text=json.dumps(face_keypoints(3)))
    by_keypoints = models.run(graph).latent()
    for node, style in (("face", "Moore face"), ("mouth", "Moore face, mouth")):
        graphs.add(graph, node, "MarionetteDrawPose", pose=["points", 0], style=style, width=WIDTH, height=HEIGHT, fit="crop", body="style",
                   hands="style", face="style", feet="style", stick_width=0.0, score_threshold=0.3)
    graphs.change(graph, pose={"pose_keypoint": None, "images": ["face", 0], "mouth_images": ["mouth", 0]})
    assert torch.equal(models.run(graph).latent(), by_keypoints)
    graph["face"]["inputs"]["style"] = "AniPortrait"
    assert relative_l2(models.run(graph).latent(), by_keypoints) > 1e-4


def test_mediapipes_mesh_guides_aniportrait(models: HostServer, pictures: dict[str, list[Image.Image]]) -> None:
    mesh = [[WIDTH / 2 + (i % 22) - 11, HEIGHT / 2 + i // 22 - 11] for i in range(478)]
    value = {"image_size": [HEIGHT, WIDTH], "frames": [[{"landmarks_xy": mesh, "score": 0.9}], []]}
    graph = graphs.change(family_graph("basic", "AniPortrait", 2, pictures), sampler={"steps": 1}, pose={
        "images": None, "face_landmarks": ["points", 1]})
    graphs.add(graph, "points", "TestFromJSON", text=json.dumps(value))
    before = len(models.log)
    assert models.run(graph).latent().shape[0] == 2
    assert "no face found in 1 of 2 frames (the first is 1)" in models.log[before:]
    refused(models, graphs.change(graph, points={"text": json.dumps({"frames": [[{"landmarks_xy": mesh[:68]}]], "image_size": [9, 9]})}),
            "face_landmarks", "468 points")
    graph = graphs.change(family_graph("basic", "Moore face", 2, pictures), pose={
        "images": None, "mouth_images": None, "face_landmarks": ["points", 1]})
    graphs.add(graph, "points", "TestFromJSON", text=json.dumps(value))
    refused(models, graph, "face_landmarks: only for AniPortrait")


def test_what_does_not_belong_together_is_refused(models: HostServer, pictures: dict[str, list[Image.Image]]) -> None:
    graph = family_graph("basic", "Champ", 2, pictures, ("depth",))
    refused(models, graphs.change(graph, sampler={"model": ["other", 0]}) | {"other": {
        "class_type": "MarionetteLoadMotionUNet", "inputs": {
            "denoiser": "small/denoising_unet.safetensors", "motion": "small/motion_module.safetensors", "family": "auto",
            "weight_dtype": "auto"}}}, "pose", "guidance images for Champ", "Moore")
    graph = family_graph("basic", "Champ", 2, pictures, ("depth", "normal"))
    graphs.change(graph, normal={"frames": 3})
    refused(models, graph, "same number of frames", "depth has 2", "normal has 3")
    graph = family_graph("basic", "Champ", 2, pictures, ("depth",))
    graph["pose"]["inputs"].pop("depth")
    refused(models, graph, "at least one of depth, normal, semantic_map, dwpose")
    graph = family_graph("basic", "AniPortrait", 2, pictures)
    refused(models, graphs.change(graph, pose={"images": None}), "either images or pose_keypoint")
    graph["pose"]["class_type"] = "MarionetteEncodeGuidance"
    graph["pose"]["inputs"] = {"pose_guider": ["all", 2], "width": WIDTH, "height": HEIGHT, "fit": "crop", "depth": ["images", 0]}
    refused(models, graph, "not a guidance encoder of Champ", "Encode Pose")
    graph = family_graph("basic", "Moore face", 2, pictures)
    refused(models, graphs.change(graph, pose={"mouth_images": None}), "mouth_images", "two images per frame")
    graph = family_graph("basic", "Moore face", 2, pictures)
    graphs.add(graph, "plain", "MarionetteLoadPoseGuider", file="small/pose_guider.safetensors")
    refused(models, graphs.change(graph, pose={"pose_guider": ["plain", 0], "model": ["all", 0]}), "pose_guider.safetensors belongs to a "
                                                                                                   "body model",
            "pose_guider1 and pose_guider2")
    graph = family_graph("basic", "Champ", 2, pictures, ("depth",))
    graphs.add(graph, "again", "MarionetteLoadPoseGuider", file="AniPortrait/pose_guider.safetensors", pose_guider=["all", 2])
    refused(models, graphs.change(graph, pose={"pose_guider": ["again", 0]}), "cannot be combined with", "Champ")
    refused(models, graphs.load("basic", model={"family": "Moore face"}), "reference in both the conditional and the unconditional pass")


def test_guidance_of_the_wrong_count_or_without_its_file_is_refused(models: HostServer, pictures: dict[str, list[Image.Image]]) -> None:
    graph = family_graph("basic", "Moore face", 3, pictures)
    refused(models, graphs.change(graph, mouth_images={"frames": 2}), "mouth_images", "2 frames", "images 3")
    refused(models, graphs.load("basic", pose={"mouth_images": ["poses", 0]}), "mouth_images", "face reenactment", "disconnect")
    graph = family_graph("basic", "Champ", 2, pictures, ("depth",))
    graphs.add(graph, "images", "TestPictures", folder="depth", frames=2)
    graph["pose"] = {"class_type": "MarionetteEncodePose", "inputs": {
        "pose_guider": ["all", 2], "images": ["images", 0], "width": WIDTH, "height": HEIGHT, "fit": "crop"}}
    refused(models, graph, "pose_guider", "guidance encoder of Champ", "use Encode Guidance")
    graph = family_graph("basic", "Champ", 2, pictures, ("depth", "normal"))
    graphs.add(graph, "one", "MarionetteLoadPoseGuider", file="Champ/guidance_encoder_depth.safetensors")
    refused(models, graphs.change(graph, pose={"pose_guider": ["one", 0]}), "normal", "not loaded", "guidance_encoder_normal")
    graph = family_graph("basic", "Champ", 2, pictures, ("semantic_map",))
    width, height = pictures["semantic_map"][0].size
    graphs.add(graph, "mask", "SolidMask", value=1.0, width=width + 8, height=height)
    refused(models, graphs.change(graph, pose={"semantic_mask": ["mask", 0]}), "semantic_mask", f"{width + 8}x{height}", "same size")
    graphs.add(graph, "three", "TestPictures", folder="semantic_map", frames=3)
    graphs.add(graph, "mask", "ImageToMask", image=["three", 0], channel="red")
    refused(models, graph, "semantic_mask", "3 frames", "semantic_map 2", "one per frame")
    graph = family_graph("basic", "Champ", 2, pictures, ("depth",))
    graphs.add(graph, "mask", "SolidMask", value=1.0, width=width, height=height)
    refused(models, graphs.change(graph, pose={"semantic_mask": ["mask", 0]}), "semantic_mask", "connect semantic_map")


@pytest.mark.parametrize(("family", "other"), [("Champ", "AniPortrait"), ("AniPortrait", "Champ")])
def test_another_familys_guidance_is_refused_in_both_paths(models: HostServer, pictures: dict[str, list[Image.Image]], family: str,
                                                           other: str) -> None:
    for base, node in (("basic", "sampler"), ("sigmas", "animate")):
        graph = family_graph(base, family, 3, pictures)
        graphs.add(graph, "other", "MarionetteLoadAnimateAnyone", folder=other, family="auto", weight_dtype="auto")
        refused(models, graphs.change(graph, **{node: {"model": ["other", 0]}}), "pose: it contains", family, other)


@pytest.mark.parametrize(("loader", "inputs", "words"), [
    ("MarionetteLoadReferenceNet", {"file": "AniPortrait/pose_guider.safetensors", "weight_dtype": "auto"}, ["pose_guider.safetensors"]),
    ("MarionetteLoadPoseGuider", {"file": "Champ/reference_unet.safetensors"}, ["reference_unet.safetensors", "ReferenceNet"]),
    ("MarionetteLoadPoseGuider", {"file": "unnamed/encoder.safetensors"}, ["encoder.safetensors", "does not say which one",
                                                                           "guidance_encoder_depth.pth"]),
])
def test_a_familys_file_in_the_wrong_loader(models: HostServer, loader: str, inputs: dict[str, Any], words: list[str]) -> None:
    folder = models.models / "animate_anyone"
    (folder / "unnamed").mkdir(exist_ok=True)
    shutil.copyfile(folder / "Champ" / "guidance_encoder_depth.safetensors", folder / "unnamed" / "encoder.safetensors")
    graph = graphs.load("basic")
    refused(models, graphs.add(graph, "reference_net" if "Reference" in loader else "pose_guider", loader, **inputs), *words)


def test_pictures_of_another_kind_are_warned_of(models: HostServer, pictures: dict[str, list[Image.Image]]) -> None:
    """A drawn face for a body model, skeletons for a face's, colours for depth: told by their look."""
    def log_of(graph: Graph) -> str:
        before = len(models.log)
        assert models.run(graphs.change(graph, sampler={"steps": 1})).latent().shape[0] == 2
        return models.log[before:]

    graph = graphs.load("basic", pose={"images": ["face", 0]})
    graphs.add(graph, "points", "TestFromJSON", text=json.dumps(face_keypoints(2)))
    graphs.add(graph, "face", "MarionetteDrawPose", pose=["points", 0], style="Moore face", width=WIDTH, height=HEIGHT, fit="crop",
               body="style", hands="style", face="style", feet="style", stick_width=0.0, score_threshold=0.3)
    assert "these look like a drawn face, but Moore was trained on skeletons" in log_of(graph)
    assert "images: these look like a skeleton, not a face" in log_of(family_graph("basic", "AniPortrait", 2, pictures))
    assert "depth: these images are coloured, but depth maps are grey" in log_of(family_graph("basic", "Champ", 2, pictures, ("depth",)))


def test_a_mesh_without_any_face_is_refused(models: HostServer, pictures: dict[str, list[Image.Image]]) -> None:
    graph = graphs.change(family_graph("basic", "AniPortrait", 2, pictures), pose={"images": None, "face_landmarks": ["points", 1]})
    graphs.add(graph, "points", "TestFromJSON", text=json.dumps({"image_size": [HEIGHT, WIDTH], "frames": [[], []]}))
    refused(models, graph, "face_landmarks", "no face in any frame")


def test_museposes_padding_repeats_the_last_pose_and_is_cut(host: HostServer) -> None:
    """5 frames in windows of 4 that share 1: 7 are made, of which the last two show the fifth pose."""
    def graph(pad: bool) -> Graph:
        made = graphs.change(graphs.load("basic"), poses={"length": 5}, sampler={"steps": 2, "windows": ["windows", 0]})
        graphs.add_windows(made, length=4, overlap=1, schedule="published", weights="flat")
        return graphs.change(made, windows={"pad": pad})

    padded = host.run(graph(True)).latent()
    by_hand = graph(False)
    graphs.add(by_hand, "last", "ImageFromBatch", image=["poses", 0], batch_index=4, length=1)
    graphs.add(by_hand, "twice", "RepeatImageBatch", image=["last", 0], amount=2)
    graphs.add(by_hand, "seven", "ImageBatch", image1=["poses", 0], image2=["twice", 0])
    whole = host.run(graphs.change(by_hand, pose={"images": ["seven", 0]})).latent()
    assert (len(padded), len(whole)) == (5, 7)
    assert relative_l2(padded, whole[:5]) < 1e-5
    assert relative_l2(host.run(graph(False)).latent(), padded) > 1e-3, "without it the last window wraps round"
