"""Encode Pose with keypoints, the styles of the families, and Pose Moves, in the real host."""

from __future__ import annotations

import torch

from animate_core.demo.character import HELD_OUT_SEED
from tests.host import graphs
from tests.host.core_run import relative_l2
from tests.host.host_server import HostServer
from tests.host.result import Graph, Result
from tests.host.test_bad_input import refused


def clip_graph(steps: int = 1, frames: int = 3) -> Graph:
    """The built-in model on a drawn character's own poses."""
    graph = graphs.load("demo", sampler={"steps": steps}, character={"frames": frames})
    for node in ("webp", "pose_and_clip", "beside", "beside_video", "beside_save", "decode"):
        del graph[node]
    return graphs.add(graph, "save", "SaveLatent", samples=["sampler", 0], filename_prefix="latents/clip")


def by_keypoints(graph: Graph, source: list[object]) -> Graph:
    return graphs.change(graph, pose={"images": None, "pose_keypoint": source})


def logged(host: HostServer, graph: Graph) -> tuple[Result, str]:
    before = len(host.log)
    return host.run(graph), host.log[before:]


def test_keypoints_guide_as_the_pictures_of_them(host: HostServer) -> None:
    """The pictures that Demo Character draws are those of training, so keypoints have to be drawn like them."""
    pictures = host.run(clip_graph()).latent()
    result = host.run(by_keypoints(clip_graph(), ["character", 2]))
    assert result.progress("pose")[-1] == (3, 3)
    assert relative_l2(result.latent(), pictures) < 0.01
    moore = host.run(graphs.change(by_keypoints(clip_graph(), ["character", 2]), pose={"family": "MusePose"})).latent()
    assert relative_l2(moore, pictures) > 0.05, "another family's drawing guides otherwise"


def test_moves_guide_the_model(host: HostServer) -> None:
    graph = clip_graph()
    graphs.add(graph, "moves", "MarionettePoseMoves", motion="wave", seed=3, frames=0, period=5.0, width=256, height=384, size=0.7)
    latent = host.run(by_keypoints(graph, ["moves", 0])).latent()
    assert latent.shape == (5, 4, 36, 24) and torch.isfinite(latent).all()
    assert (latent[0] - latent[2]).abs().mean() > 0.01, "it moves"


def test_skeletons_of_another_style_are_told_of(host: HostServer) -> None:
    """Demo Character's poses are bodies in RGB; MusePose wants BGR, Moore wants faces."""
    _, log = logged(host, clip_graph())
    assert "colours look like" not in log and "face points" not in log
    graph = graphs.change(clip_graph(), character={"seed": HELD_OUT_SEED + 1}, pose={"family": "MusePose"})
    _, log = logged(host, graph)
    assert "the colours look like RGB order, but MusePose was trained on BGR" in log
    _, log = logged(host, graphs.change(graph, pose={"family": "Moore"}))
    assert "face points are missing, but Moore was trained with them" in log
    graph = graphs.change(clip_graph(), pose={"images": ["character", 3]})
    _, log = logged(host, graph)
    assert "do not look like skeletons on black" in log


def test_a_pose_guider_alone_leaves_the_comparison_to_the_sampler(host: HostServer) -> None:
    graph = graphs.load("basic", sampler={"steps": 1, "frames": 2})
    graphs.add(graph, "character", "MarionetteDemoCharacter", seed=5, motion="walk", frames=2, width=64, height=96, period=16.0)
    graphs.change(graph, pose={"images": ["character", 1]})
    result, log = logged(host, graph)
    assert result.status == "success", result.error
    assert "pose: face points are missing, but Moore was trained with them" in log


def test_what_cannot_be_encoded(host: HostServer) -> None:
    refused(host, graphs.change(clip_graph(), pose={"pose_keypoint": ["character", 2]}), "either images or pose_keypoint", "not both")
    refused(host, graphs.change(clip_graph(), pose={"images": None}), "either images or pose_keypoint")
    refused(host, graphs.change(clip_graph(), pose={"family": "Champ"}), "family")
    graph = by_keypoints(clip_graph(), ["moves", 0])
    graphs.add(graph, "moves", "MarionettePoseMoves", motion="fly", seed=3, frames=0, period=5.0, width=256, height=384, size=0.7)
    refused(host, graph, "motion", "fly")
