"""The oldest host that pyproject.toml states to be enough: each way through the pack, once."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

from tests.host import graphs
from tests.host.host_server import ROOT, HostServer
from tests.host.result import Graph, Result
from tests.host.test_clip import NODES

FRAMES, STEPS = 4, 2


def assert_clip(result: Result, width: int, height: int) -> None:
    """Frames of the size, neither flat nor all the same."""
    assert result.status == "success", f"{result.error}\n{result.traceback}"
    latent, images = result.latent(), result.images()
    assert latent.shape == (FRAMES, 4, height // 8, width // 8) and torch.isfinite(latent).all()
    assert images.shape == (FRAMES, height, width, 3)
    assert images.std() > 10 and np.abs(np.diff(images.astype(int), axis=0)).max() > 2


def demo_graph(name: str, **changes: dict[str, Any]) -> Graph:
    graph = graphs.load(name, sampler={"steps": STEPS}, **changes)
    graphs.add(graph, "frames", "SaveImage", images=["decode", 0], filename_prefix="frames")
    return graphs.add(graph, "save", "SaveLatent", samples=["sampler", 0], filename_prefix="latents/clip")


def small_graph(name: str) -> Graph:
    return graphs.load(name, poses={"length": FRAMES}, sampler={"steps": STEPS})


def test_it_is_the_stated_one(old_host: HostServer) -> None:
    stated = re.search(r'requires-comfyui = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert stated and old_host.get("/system_stats")["system"]["comfyui_version"] == stated[1]
    assert f"Needs ComfyUI {stated[1].removesuffix('.0')} or newer" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(old_host.object_info()) >= NODES


def test_demo(old_host: HostServer) -> None:
    assert_clip(old_host.run(demo_graph("demo", character={"frames": FRAMES})), 192, 288)


def test_retarget(old_host: HostServer) -> None:
    assert_clip(old_host.run(demo_graph("retarget", driver={"frames": FRAMES})), 192, 288)


@pytest.mark.parametrize("name", ["basic", "ksampler", "sigmas"])
def test_single_loaders_and_both_ways_to_sample(old_host: HostServer, name: str) -> None:
    graph = small_graph(name)
    single = {f"MarionetteLoad{part}" for part in ("ReferenceNet", "MotionUNet", "PoseGuider", "ClipVision")}
    assert single <= {node["class_type"] for node in graph.values()}
    assert_clip(old_host.run(graph), 64, 96)


def test_load_animate_anyone(old_host: HostServer) -> None:
    graph = small_graph("basic")
    graphs.add(graph, "all", "MarionetteLoadAnimateAnyone", folder="small", family="auto", weight_dtype="auto")
    for at, part in enumerate(("model", "reference_net", "pose_guider", "clip_vision")):
        del graph[part]
        for node in graph.values():
            node["inputs"].update({key: ["all", at] for key, value in node["inputs"].items() if value == [part, 0]})
    assert_clip(old_host.run(graph), 64, 96)


def test_cancel(old_host: HostServer) -> None:
    graph = graphs.load("basic", sampler={"steps": 300})
    prompt = old_host.submit(graph)
    assert isinstance(prompt, str)
    old_host.events.wait_for(prompt, "preview", 60)
    old_host.interrupt()
    old_host.events.wait_for(prompt, "execution_interrupted", 10)
    assert old_host.wait(graph, prompt, 30).status == "interrupted"
    assert_clip(old_host.run(small_graph("basic")), 64, 96)
