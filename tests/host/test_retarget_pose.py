"""Retarget Pose in the real host: the library's numbers, the overlay, clear refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from animate_core.demo.character import HELD_OUT_SEED
from animate_core.demo.clip import demo_clip
from animate_core.demo.motion import keypoints, make_moves
from animate_core.demo.world import make_drawing
from animate_core.pose.drawing import MOORE, draw_people
from animate_core.pose.keypoints import BODY, PoseClip, body_clip
from animate_core.pose.openpose import read_pose, write_pose
from animate_core.pose.retargeting import MODES, RetargetSettings, retarget
from tests.host import graphs
from tests.host.host_server import HostServer
from tests.host.result import Graph, Result
from tests.host.test_bad_input import refused

DRIVER, REFERENCE, FRAMES = HELD_OUT_SEED + 11, HELD_OUT_SEED + 12, 20
WIDTH, HEIGHT = 128, 192


def graph_of(**inputs: Any) -> Graph:
    """A character's dance on another's picture; the driver's canvas is twice as large."""
    graph: Graph = {}
    graphs.add(graph, "driver", "MarionetteDemoCharacter", seed=DRIVER, motion="dance", frames=FRAMES, width=2 * WIDTH, height=2 * HEIGHT,
               period=16.0)
    graphs.add(graph, "reference", "MarionetteDemoCharacter", seed=REFERENCE, motion="walk", frames=1, width=WIDTH, height=HEIGHT,
               period=16.0)
    graphs.add(graph, "retarget", "MarionetteRetargetPose", pose=["driver", 2], reference_pose=["reference", 2], mode="full", strength=1.0,
               keep_feet=True, person="followed", overlay_frames=3, align_frame=0, fps=24.0, reference_image=["reference", 3])
    graphs.change(graph, retarget=inputs)
    graphs.add(graph, "keypoints", "TestSaveJSON", value=["retarget", 0])
    graphs.add(graph, "overlay", "SaveImage", images=["retarget", 1], filename_prefix="overlay")
    graphs.add(graph, "report", "PreviewAny", source=["retarget", 2])
    return graph


def clip_of(seed: int, motion: str, frames: int, width: int, height: int) -> PoseClip:
    return body_clip(keypoints(make_drawing(seed), make_moves(motion, seed, frames), width, height), width, height)


def expected(mode: str, **settings: Any) -> PoseClip:
    return retarget(clip_of(DRIVER, "dance", FRAMES, 2 * WIDTH, 2 * HEIGHT), clip_of(REFERENCE, "walk", 1, WIDTH, HEIGHT), mode,
                    RetargetSettings(**settings))


def keypoints_of(result: Result) -> PoseClip:
    assert result.status == "success", result.error
    return read_pose(json.loads(Path(result.outputs["keypoints"]["files"][0]).read_text(encoding="utf-8")))


def text_of(result: Result) -> str:
    return "".join(result.outputs["report"]["text"])


@pytest.mark.parametrize("mode", MODES)
def test_keypoints_are_the_librarys(host: HostServer, mode: str) -> None:
    settings = {"strength": 0.5, "keep_feet": False, "align_frame": 2, "fps": 60.0}
    result = host.run(graph_of(mode=mode, **settings))
    clip, library = keypoints_of(result), expected(mode, **settings)
    assert (clip.width, clip.height, len(clip)) == (WIDTH, HEIGHT, FRAMES - 2 if mode == "pose_align" else FRAMES)
    assert np.allclose(clip.points, library.points, atol=1e-3)
    assert f"mode {mode}" in text_of(result)


def test_an_older_graph_without_a_frame_rate_runs(host: HostServer) -> None:
    assert np.allclose(keypoints_of(host.run(graph_of(fps=None))).points, expected("full").points, atol=1e-3)


def test_graded_scores_on_demand(host: HostServer) -> None:
    """By default 0 and 1, the graded ones beside them."""
    about = host.object_info("MarionetteRetargetPose")["input"]["optional"]["scores"][1]
    assert about["options"] == ["0 and 1", "as they are"] and about["default"] == "0 and 1"
    driver = clip_of(DRIVER, "dance", 4, 2 * WIDTH, 2 * HEIGHT)
    points = driver.points.copy()
    graded = points[..., 2] = points[..., 2] * np.linspace(0.4, 0.95, points.shape[2])
    (host.input / "poses").mkdir(exist_ok=True)
    (host.input / "poses/graded.json").write_text(json.dumps(write_pose(driver.of(points), binary=False)), encoding="utf-8")
    for choice, standard in (("0 and 1", (graded > 0).astype(float)), ("as they are", graded)):
        graph = graph_of(pose=["load", 0], scores=choice)
        graphs.add(graph, "load", "MarionetteLoadPose", file="poses/graded.json", first_frame=0, frames=0, every_nth=1, width=0, height=0)
        result = host.run(graph)
        frame = json.loads(Path(result.outputs["keypoints"]["files"][0]).read_text(encoding="utf-8"))[0]
        assert np.allclose(frame["people"][0]["pose_keypoints_2d"][2::3], standard[0, 0, BODY], atol=1e-5)
        assert np.allclose(keypoints_of(result).scores, graded, atol=1e-5)


def over(skeleton: np.ndarray, picture: np.ndarray) -> np.ndarray:
    return np.where(skeleton.any(-1, keepdims=True), 0.8 * skeleton + 0.2 * picture, picture)


def test_the_overlay_is_the_reference_under_the_skeleton(host: HostServer) -> None:
    result = host.run(graph_of())
    shown, library = result.images("overlay"), expected("full")
    picture = demo_clip(REFERENCE, "walk", 1, width=WIDTH, height=HEIGHT).frames[0]
    assert shown.shape == (3, HEIGHT, WIDTH, 3)
    assert result.progress("retarget")[-1] == (3, 3)
    for frame, drawn in zip((0, 10, 19), shown, strict=True):  # spread from the first to the last
        skeleton = draw_people(library.points[frame], WIDTH, HEIGHT, MOORE.with_stick(1))
        assert skeleton.any(-1).sum() > 100
        assert np.abs(drawn - over(skeleton, picture)).max() <= 1


def test_without_a_picture_the_overlay_is_on_black(host: HostServer) -> None:
    result = host.run(graph_of(reference_image=None, overlay_frames=100))
    shown, library = result.images("overlay"), expected("full")
    assert len(shown) == FRAMES, "no more than the clip has"
    skeleton = draw_people(library.points[5], WIDTH, HEIGHT, MOORE.with_stick(1))
    assert np.abs(shown[5].astype(int) - 0.8 * skeleton).max() <= 1


def test_a_picture_of_another_shape_is_mentioned(host: HostServer) -> None:
    assert "different aspect ratios" not in text_of(host.run(graph_of()))
    graph = graph_of(reference_image=["wide", 0])
    graphs.add(graph, "wide", "TestImage", kind="ramp", width=256, height=64, frames=1)
    assert "different aspect ratios" in text_of(host.run(graph))


@pytest.mark.parametrize(("inputs", "words"), [
    ({"mode": "fold"}, ["mode", "fold"]),
    ({"strength": 2.0}, ["strength"]),
    ({"mode": "pose_align", "align_frame": 50}, ["align_frame must be 0 to 19", "50"]),
    ({"person": "me"}, ["person", "me"]),
    ({"fps": 0.0}, ["fps"]),
    ({"reference_image": ["nothing", 0]}, ["reference_image", "no frames"]),
    ({"reference_pose": ["text", 0]}, ["reference_pose"]),
])
def test_wrong_inputs_are_refused(host: HostServer, inputs: dict[str, Any], words: list[str]) -> None:
    graph = graph_of(**inputs)
    graphs.add(graph, "nothing", "TestImage", kind="no frames", width=64, height=64, frames=1)
    graphs.add(graph, "text", "PrimitiveInt", value=3)
    refused(host, graph, *words)
