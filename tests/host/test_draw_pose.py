"""Draw Pose in the real host: the golden drawing through a POSE_KEYPOINT, sizes, toggles, empty frames, cancel, bad input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from animate_core.pose.drawing import LARGEST_SIDE, STYLES, draw_people, fit_points
from animate_core.pose.keypoints import stack_people
from animate_core.pose.openpose import read_pose, write_pose
from tests.host import graphs
from tests.host.host_server import HostServer
from tests.host.result import Graph
from tests.host.test_bad_input import refused
from tests.parity.check_dwpose import golden_picture, people_of

GOLDEN = Path(__file__).resolve().parents[1] / "parity" / "golden" / "dwpose"
CASE = json.loads((GOLDEN / "draw_cases.json").read_text())[0]
WIDTH, HEIGHT = CASE["width"], CASE["height"]


def keypoints(*frames: np.ndarray, size: tuple[int, int] = (WIDTH, HEIGHT)) -> list[dict[str, Any]]:
    return write_pose(stack_people(frames, *size))


def drawing_graph(pose: Any, **inputs: Any) -> Graph:
    graph: Graph = {}
    settings = {"style": "Moore", "width": 0, "height": 0, "fit": "crop", "body": "style", "hands": "style", "face": "style",
                "feet": "style", "stick_width": 0.0, "score_threshold": 0.3}
    # a bare list would be taken for a link
    graphs.add(graph, "draw", "MarionetteDrawPose", pose={"__value__": pose}, **{**settings, **inputs})
    return graphs.add(graph, "save", "SaveImage", images=["draw", 0], filename_prefix="drawn")


def test_the_golden_drawing(host: HostServer) -> None:
    """Three frames: the golden one, one with nobody, the golden one again."""
    people = people_of(CASE)
    result = host.run(drawing_graph(keypoints(people, np.zeros((0, 134, 3)), people)))
    images = result.images("save")
    golden = golden_picture(GOLDEN / CASE["png"])
    assert images.shape == (3, HEIGHT, WIDTH, 3) and not images[1].any()
    # float32 coordinates on the way: see draw_people
    assert (images[0] != golden).any(-1).mean() <= 1e-3 and np.array_equal(images[0], images[2])
    assert result.progress("draw")[-1] == (3, 3)


@pytest.mark.parametrize(("inputs", "style", "size"), [
    ({"style": "MusePose"}, STYLES["MusePose"], (WIDTH, HEIGHT)),
    ({"style": "OpenPose", "face": "on", "hands": "off"}, replace(STYLES["OpenPose"], face=True, hands=False), (WIDTH, HEIGHT)),
    ({"body": "off", "feet": "on", "stick_width": 9.0}, replace(STYLES["Moore"], body=False, feet=True).with_stick(9), (WIDTH, HEIGHT)),
    ({"width": 200}, STYLES["Moore"], (200, round(200 * HEIGHT / WIDTH))),
    ({"height": 320, "width": 320, "fit": "pad", "score_threshold": 0.6}, replace(STYLES["Moore"], score_threshold=0.6), (320, 320)),
])
def test_settings_are_the_librarys(host: HostServer, inputs: dict[str, Any], style: Any, size: tuple[int, int]) -> None:
    pose = keypoints(people_of(CASE))
    clip = read_pose(pose)
    expected = draw_people(fit_points(clip.points[0], (WIDTH, HEIGHT), size, inputs.get("fit", "crop")), *size, style)
    assert np.array_equal(host.run(drawing_graph(pose, **inputs)).images("save")[0], expected)


def test_the_nodes_face(host: HostServer) -> None:
    about = host.object_info("MarionetteDrawPose")
    assert about["input"]["required"]["style"][1]["default"] == "Moore"
    assert all("tooltip" in entry[1] for kind in about["input"].values() for entry in kind.values())
    assert about["output"] == ["IMAGE"]


@pytest.mark.parametrize(("inputs", "words"), [
    ({"style": "Fancy"}, ["style", "Fancy"]),
    ({"width": -8}, ["width"]),
    ({"width": LARGEST_SIDE + 8}, ["width", str(LARGEST_SIDE)]),
    ({"score_threshold": 2.0}, ["score_threshold"]),
])
def test_wrong_settings_are_refused(host: HostServer, inputs: dict[str, Any], words: list[str]) -> None:
    refused(host, drawing_graph(keypoints(people_of(CASE)), **inputs), *words)


def test_what_is_no_pose_is_refused(host: HostServer) -> None:
    refused(host, drawing_graph([]), "pose")
    refused(host, drawing_graph([{"people": "nobody"}]), "pose")
    huge = keypoints(np.zeros((0, 134, 3)), size=(LARGEST_SIDE + 1, 64))
    refused(host, drawing_graph(huge), str(LARGEST_SIDE + 1), str(LARGEST_SIDE))


def test_cancel_ends_the_drawing(host: HostServer) -> None:
    graph = drawing_graph(keypoints(*[people_of(CASE)] * 400), width=768)
    prompt = host.submit(graph)
    assert isinstance(prompt, str)
    host.events.wait_for(prompt, "progress", 60)
    host.interrupt()
    assert host.events.wait_for(prompt, "execution_interrupted", 30)
    host.wait(graph, prompt, 30)
