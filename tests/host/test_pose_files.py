"""Load Pose and Save Pose in the real host: files of its folders, and its own node as the reader of what we give out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from animate_core.pose.openpose import read_pose
from tests.core.test_pose_formats import FIGURE
from tests.host import graphs
from tests.host.host_server import HostServer
from tests.host.result import Graph
from tests.host.test_bad_input import refused

SAMPLES = Path(__file__).resolve().parents[1] / "core" / "data" / "pose"
WIDTH, HEIGHT = 400, 600
FIGURE_SCORES = [score for *_, score in FIGURE]
WRISTS = {"right": (130, 270), "left": (270, 270)}


@pytest.fixture(scope="module")
def samples(host: HostServer) -> Path:
    return Path(shutil.copytree(SAMPLES, host.input / "poses", dirs_exist_ok=True))


def load_graph(file: str, **inputs: Any) -> Graph:
    """Load Pose, with all that it gives out saved."""
    graph: Graph = {}
    defaults = {"first_frame": 0, "frames": 0, "every_nth": 1, "width": 0, "height": 0}
    graphs.add(graph, "load", "MarionetteLoadPose", file=file, **{**defaults, **inputs})
    for index, name in enumerate(("count", "width", "height", "fps"), 1):
        graphs.add(graph, name, "PreviewAny", source=["load", index])
    return graphs.add(graph, "pose", "TestSaveJSON", value=["load", 0])


def save_graph(file: str, loaded: dict[str, Any] | None = None, **inputs: Any) -> Graph:
    graph = {"load": load_graph(file, **(loaded or {}))["load"]}
    defaults = {"filename_prefix": "kept/pose", "format": "one file", "scores": "as they are", "fps": 0.0}
    graphs.add(graph, "save", "MarionetteSavePose", pose=["load", 0], **{**defaults, **inputs})
    return graphs.add(graph, "pose", "TestSaveJSON", value=["save", 0])


def outputs(host: HostServer, graph: Graph) -> dict[str, Any]:
    result = host.run(graph)
    assert result.status == "success", result.error
    read = {"MarionetteSavePose": lambda about: about["text"][0], "PreviewAny": lambda about: json.loads(about["text"][0]),
            "TestSaveJSON": lambda about: json.loads(Path(about["files"][0]).read_text(encoding="utf-8"))}
    return {node: read[graph[node]["class_type"]](about) for node, about in result.outputs.items()}


def listed(host: HostServer) -> list[str]:
    about = host.object_info("MarionetteLoadPose")["input"]["required"]["file"]
    return list(about[1]["options"] if len(about) > 1 and "options" in about[1] else about[0])


def test_the_hosts_own_node_draws_what_was_loaded(host: HostServer, samples: Path) -> None:
    """SDPose Draw Keypoints takes only parts of full length; the figure's joints are where the file says."""
    graph = load_graph("poses/aux_dwpose.json")
    graphs.add(graph, "drawn", "SDPoseDrawKeypoints", keypoints=["load", 0], draw_body=True, draw_hands=True, draw_face=True,
               draw_feet=True, draw_head=True, stick_width=4, face_point_size=3, score_threshold=0.3)
    graphs.add(graph, "frames", "SaveImage", images=["drawn", 0], filename_prefix="theirs")
    pictures = host.run(graph).images()
    assert pictures.shape == (3, HEIGHT, WIDTH, 3)
    for x, y in [(200, 100), (160, 150), (220, 290), (225, 390), *WRISTS.values()]:
        assert pictures[0, y, x].any() and pictures[2, y, x].any()
    assert not pictures[1].any(), "nobody is in that frame"
    assert not pictures[0, 480:].any(axis=-1)[:, :200].any(), "the right ankle was not seen"
    assert pictures[0, 270:300, 275:300].any() and not pictures[0, 280:310, 100:125].any(), "the left hand alone"


def test_an_openpose_folder_and_the_choice_of_frames(host: HostServer, samples: Path) -> None:
    assert {"poses/openpose", "poses/aux_dwpose.json"} <= set(listed(host))
    assert not any("walk_" in name for name in listed(host)), "a sequence is one entry"
    size = {"width": WIDTH, "height": HEIGHT}
    found = outputs(host, load_graph("poses/openpose", every_nth=2, **size))
    assert (found["count"], found["width"], found["height"], found["fps"]) == (2, WIDTH, HEIGHT, 12.0)
    assert [len(frame["people"]) for frame in found["pose"]] == [1, 1]
    assert found["pose"][0]["people"][0]["hand_left_keypoints_2d"][:2] == [270.0, 270.0]
    found = outputs(host, load_graph("poses/openpose", first_frame=1, frames=1, **size))
    assert found["count"] == 1 and found["pose"][0]["people"] == []


def test_saved_files_come_back(host: HostServer, samples: Path) -> None:
    saved = outputs(host, save_graph("poses/host_sdpose.json", filename_prefix="kept/one", fps=30.0))
    assert saved["save"].endswith("one_00001_.json")
    second = outputs(host, save_graph("poses/host_sdpose.json", filename_prefix="kept/one", fps=31.0))
    assert second["save"].endswith("one_00002_.json")
    assert "kept/one_00001_.json [output]" in listed(host)
    again = outputs(host, load_graph("kept/one_00001_.json [output]"))
    assert again["fps"] == 30.0
    for part, values in saved["pose"][0]["people"][0].items():
        assert np.allclose(again["pose"][0]["people"][0][part], values, rtol=0, atol=0.001)
    assert np.allclose(read_pose(again["pose"]).points, read_pose(saved["pose"]).points, rtol=0, atol=0.001)
    sequence = outputs(host, save_graph("poses/aux_dwpose.json", filename_prefix="kept/seq", format="OpenPose sequence"))
    assert sequence["save"].endswith("seq_00001_")
    names = sorted(file.name for file in (host.output / "kept" / "seq_00001_").iterdir())
    assert names == [f"seq_00000000000{frame}_keypoints.json" for frame in range(3)]
    again = outputs(host, load_graph("kept/seq_00001_ [output]"))
    assert again["count"] == 3 and again["width"] == WIDTH
    assert not [path for path in host.output.rglob("*.partial")]


def test_graded_scores_on_demand(host: HostServer, samples: Path) -> None:
    """Load Pose gives 0 and 1; a file that was saved after it has the scores of the one that was loaded."""
    about = host.object_info("MarionetteLoadPose")["input"]["optional"]["scores"][1]
    assert about["options"] == ["0 and 1", "as they are"] and about["default"] == "0 and 1"
    scores = {}
    for choice in about["options"]:
        found = outputs(host, load_graph("poses/host_sdpose.json", scores=choice))["pose"][0]
        scores[choice] = found["people"][0]["pose_keypoints_2d"][2::3]
        assert np.allclose(read_pose([found]).scores[0, 0, :18], FIGURE_SCORES)
    assert scores["0 and 1"] == [1.0] * 18 and np.allclose(scores["as they are"], FIGURE_SCORES)
    graph = save_graph("poses/host_sdpose.json", filename_prefix="kept/graded")
    file = json.loads(Path(outputs(host, graph)["save"]).read_text(encoding="utf-8"))
    assert np.allclose(file["frames"][0]["people"][0]["pose_keypoints_2d"][2::3], FIGURE_SCORES)


def test_scores_of_0_and_1(host: HostServer, samples: Path) -> None:
    person = outputs(host, save_graph("poses/host_sdpose.json", scores="0 and 1"))["pose"][0]["people"][0]
    assert {score for part in person.values() for score in part[2::3]} <= {0.0, 1.0}
    assert person["hand_left_keypoints_2d"][2] == 1.0


def test_posedata_goes_into_other_nodes(host: HostServer, samples: Path) -> None:
    """Drawn from POSEDATA, the clip looks as drawn from POSE_KEYPOINT."""
    graph = save_graph("poses/host_sdpose.json")
    settings = {"style": "Moore", "width": 0, "height": 0, "fit": "crop", "body": "style", "hands": "style", "face": "style",
                "feet": "style", "stick_width": 0.0, "score_threshold": 0.3}
    for slot, name in enumerate(("keypoints", "posedata")):
        graphs.add(graph, f"draw_{name}", "MarionetteDrawPose", pose=["save", slot], **settings)
        graphs.add(graph, name, "SaveImage", images=[f"draw_{name}", 0], filename_prefix=name)
    result = host.run(graph)
    assert result.images("keypoints").any()
    assert np.array_equal(result.images("posedata"), result.images("keypoints"))


def test_a_changed_file_is_read_again(host: HostServer, samples: Path) -> None:
    target = host.input / "changing.json"
    shutil.copyfile(samples / "aux_dwpose.json", target)
    assert outputs(host, load_graph("changing.json"))["count"] == 3
    shutil.copyfile(samples / "host_sdpose.json", target)
    assert outputs(host, load_graph("changing.json"))["count"] == 1


@pytest.mark.parametrize(("file", "inputs", "words"), [
    ("poses/none.json", {}, ["poses/none.json", "input folder"]),
    ("../host.log", {}, ["file", "outside"]),
    ("/etc/hostname", {}, ["file", "outside"]),
    ("poses/aux_animals.json", {}, ["aux_animals.json", "animals"]),
    ("poses/openpose", {}, ["openpose", "no frame contains its canvas size", "set its width and height", "Load Pose"]),
    ("poses", {}, ["_keypoints.json"]),
    ("poses/aux_dwpose.json", {"width": 300, "height": 300}, ["400x600", "300x300"]),
    ("poses/aux_dwpose.json", {"width": 300}, ["width, height", "300x0"]),
    ("poses/aux_dwpose.json", {"first_frame": 3}, ["first_frame must be less than 3"]),
])
def test_wrong_files_are_refused(host: HostServer, samples: Path, file: str, inputs: dict[str, Any], words: list[str]) -> None:
    refused(host, load_graph(file, **inputs), *words)


def test_a_name_outside_of_the_output_folder_is_refused(host: HostServer, samples: Path) -> None:
    refused(host, save_graph("poses/aux_dwpose.json", filename_prefix="../../away/pose"), "outside")
    assert not (host.base.parent / "away").exists()
