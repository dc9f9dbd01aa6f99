"""Extract Pose in the real host, with made-up ONNX models whose answers are known (tests/core/onnx_models.py)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from animate_core.pose.keypoints import BODY, L_ELBOW, NECK, from_wholebody
from animate_core.pose.openpose import read_pose
from tests.core import onnx_models
from tests.host import graphs
from tests.host.conftest import TOOLS
from tests.host.host_server import HostServer
from tests.host.result import Graph, Result
from tests.host.test_absent import SITECUSTOMIZE
from tests.host.test_bad_input import refused

WIDTH, HEIGHT, FRAMES = 320, 240, 6
RED, YELLOW = (255, 0, 0), (255, 255, 0)
EMPTY = 3  # nobody is in this frame
MARKERS = np.array([[20, 30], [45, 60], [30, 130]])
MODELS = {"detector": "yolox_test.onnx", "pose_model": "dw-test.onnx"}


def red_corner(i: int) -> tuple[int, int]:
    return 20 + 4 * i, 30


def draw_clip() -> list[np.ndarray]:
    """Someone red who walks and, in every other frame only, someone yellow who is larger; nobody in one frame."""
    frames = []
    for i in range(FRAMES):
        frame = np.full((HEIGHT, WIDTH, 3), 40 + i, np.uint8)
        if i != EMPTY:
            x, y = red_corner(i)
            if i % 2:
                onnx_models.draw_person(frame, (200, 10, 300, 230), np.array([[230, 60], [270, 100], [250, 180]]), YELLOW)
            onnx_models.draw_person(frame, (x, y, x + 65, y + 170), MARKERS + (x, y), RED)
        frames.append(frame)
    return frames


@contextmanager
def equipped(host: HostServer) -> Iterator[HostServer]:
    """The host with a clip in its input folder and pose models, good and bad, in models/detection and models/animate_anyone."""
    folder = host.models / "detection"
    onnx_models.write_detector(folder / MODELS["detector"], batch=1)
    onnx_models.write_pose_model(host.models / "animate_anyone" / "pose" / MODELS["pose_model"])
    onnx_models.write_other(folder / "other.onnx")
    (folder / "broken.onnx").write_bytes((folder / MODELS["detector"]).read_bytes()[:999])
    first, *rest = (Image.fromarray(frame) for frame in draw_clip())
    first.save(host.input / "people.png", save_all=True, append_images=rest, duration=40)
    yield host
    for path in (*folder.glob("*.onnx"), host.models / "animate_anyone" / "pose" / MODELS["pose_model"]):
        path.unlink()


@pytest.fixture(scope="module")
def ready(host: HostServer) -> Iterator[HostServer]:
    with equipped(host) as server:
        yield server


@pytest.fixture(scope="module")
def gpu_claimed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostServer]:
    """A host with its default cache, whose onnxruntime says that it has a GPU."""
    with HostServer(tmp_path_factory.mktemp("gpu_claimed"), packs=[TOOLS, TOOLS.parent / "marionette_test_gpu_claim"]) as host:
        with equipped(host) as server:
            yield server


def extract_graph(**inputs: Any) -> Graph:
    graph: Graph = {}
    graphs.add(graph, "people", "LoadImage", image="people.png")
    graphs.add(graph, "extract", "MarionetteExtractPose", images=["people", 0], **{
        "backend": "dwpose", "detector": MODELS["detector"], "pose_model": f"pose/{MODELS['pose_model']}", "person": "followed",
        "score_threshold": 0.3, "device": "auto", "scores": "0 and 1", **inputs})
    graphs.add(graph, "keypoints", "TestSaveJSON", value=["extract", 0])
    graphs.add(graph, "preview", "SaveImage", images=["extract", 1], filename_prefix="preview")
    graphs.add(graph, "report", "PreviewAny", source=["extract", 2])
    return graph


def kept_graph(**inputs: Any) -> Graph:
    """The same by Load Pose Detector; Extract Pose's own files are none."""
    graph = extract_graph(detector="(no .onnx file found)", pose_model="gone.onnx", pose_detector=["load", 0])
    return graphs.add(graph, "load", "MarionetteLoadPoseDetector", **{
        "detector": MODELS["detector"], "pose_model": f"pose/{MODELS['pose_model']}", "device": "auto", **inputs})


def saved(result: Result) -> Any:
    assert result.status == "success", f"{result.error}\n{result.traceback}"
    return json.loads(Path(result.outputs["keypoints"]["files"][0]).read_text(encoding="utf-8"))


def report_of(result: Result) -> str:
    assert result.status == "success", f"{result.error}\n{result.traceback}"
    return str(result.outputs["report"]["text"][0])


def red_body(i: int) -> np.ndarray:
    raw = np.ones((133, 3))
    raw[:, :2] = (MARKERS + red_corner(i))[np.arange(133) % 3]
    return from_wholebody(raw)[BODY, :2]


def assert_red(people: list[dict[str, Any]], row: int, i: int) -> None:
    body = np.reshape(people[row]["pose_keypoints_2d"], (18, 3))
    assert np.abs(body[:, :2] - red_body(i)).max() < 1
    assert body[NECK, 2] == 1 and body[L_ELBOW, 2] == 1
    assert [len(people[row][f"{part}_keypoints_2d"]) // 3 for part in ("face", "hand_left", "hand_right")] == [70, 21, 21]


def test_the_followed_person_in_every_frame(ready: HostServer) -> None:
    """The red one is followed though the yellow one is larger; the frame with nobody stops nothing."""
    result = ready.run(extract_graph())
    frames = saved(result)
    assert [(frame["canvas_width"], frame["canvas_height"]) for frame in frames] == [(WIDTH, HEIGHT)] * FRAMES
    for i, frame in enumerate(frames):
        if i == EMPTY:
            assert not any(np.any(person["pose_keypoints_2d"]) for person in frame["people"])
        else:
            assert_red(frame["people"], 0, i)
    assert result.progress("extract")[-1] == (FRAMES, FRAMES)
    assert f"DWPose: {MODELS['detector']} on CPU, {MODELS['pose_model']} on CPU" in ready.log


def test_the_report(ready: HostServer) -> None:
    text = report_of(ready.run(extract_graph()))
    summary, lines = text.split("\n\n")
    assert f"{FRAMES} frames of {WIDTH}x{HEIGHT}, {FRAMES - 1} with a clearly detected person" in summary
    assert f"1 frame: nobody; Clean Pose fills such gaps ({EMPTY})" in summary
    assert "2 frames: several people; chosen: followed (1, 5)" in summary
    frames = lines.splitlines()[1:]
    assert len(frames) == FRAMES and frames[0].startswith("0: 1, 0.8") and frames[0].endswith("18 of 18")
    assert frames[1].startswith("1: 2,") and frames[EMPTY] == f"{EMPTY}: 0, 0.00, 0 of 18 (nobody)"
    doubtful = report_of(ready.run(extract_graph(score_threshold=1.0)))
    assert "5 frames: doubtful" in doubtful and "(0-2, 4-5)" in doubtful
    assert "0: 1, 0.8" in doubtful and "1 of 18 (doubtful)" in doubtful, "the neck's score is 1 (docs/method.md H.3)"


def graded(frame: dict[str, Any]) -> np.ndarray:
    """The scores `[18]` of the first body that a node of ours reads."""
    return read_pose([frame]).scores[0, 0, BODY]


def test_points_below_the_threshold_are_left_out(ready: HostServer) -> None:
    """The made-up model's markers differ a little in score; those of the lowest are neither given out nor drawn."""
    everything = ready.run(extract_graph(score_threshold=0.0))
    all_scores = graded(saved(everything)[0])
    lowest, next_one = np.unique(all_scores)[:2]
    kept = ready.run(extract_graph(score_threshold=float(lowest + next_one) / 2))
    scores, below = graded(saved(kept)[0]), all_scores == lowest
    assert not scores[below].any()
    assert np.array_equal(scores[~below], all_scores[~below])
    places = np.reshape(saved(everything)[0]["people"][0]["pose_keypoints_2d"], (18, 3))[:, :2].round().astype(int)
    gone = places[below & ~(np.abs(places[:, None] - places[~below]).max(-1) < 12).any(1)]
    assert len(gone), "somewhere only left-out points lie"
    for x, y in gone:
        assert everything.images("preview")[0, y, x].max() > 200 > kept.images("preview")[0, y, x].max()


def test_scores_for_other_packs_and_for_our_own(ready: HostServer) -> None:
    """By default what controlnet_aux reads, which takes scores below 1 for missing; the graded ones are there for our nodes, or alone."""
    frames = saved(ready.run(extract_graph()))
    person = frames[0]["people"][0]
    assert person["pose_keypoints_2d"][2::3] == [1.0] * 18
    assert 0.5 < graded(frames[0]).min() < 0.9
    alone = saved(ready.run(extract_graph(scores="as they are")))
    assert np.array_equal(alone[0]["people"][0]["pose_keypoints_2d"][2::3], graded(frames[0]))
    assert saved(ready.run(extract_graph(scores="(comes with MediaPipe)"))) == frames, "a graph from when another widget was there"


def test_the_next_node_of_ours_gets_the_graded_scores(ready: HostServer) -> None:
    graph = extract_graph()
    graphs.add(graph, "save", "MarionetteSavePose", pose=["extract", 0], filename_prefix="found/pose", format="one file",
               scores="as they are", fps=0.0)
    result = ready.run(graph)
    file = json.loads(Path(result.outputs["save"]["text"][0]).read_text(encoding="utf-8"))
    assert file["frames"][0]["people"][0]["pose_keypoints_2d"][2::3] == pytest.approx(graded(saved(result)[0]), abs=0.0006)


def test_the_preview(ready: HostServer) -> None:
    shown, frames = ready.run(extract_graph()).images("preview"), draw_clip()
    assert shown.shape == (FRAMES, HEIGHT, WIDTH, 3)
    assert np.abs(shown[EMPTY] - frames[EMPTY] * 0.35).max() <= 1, "darkened, and nothing drawn"
    x, y = red_body(0)[L_ELBOW].round().astype(int)
    assert shown[0, y, x].max() > 200, "a joint"
    assert np.abs(shown[0, -20:] - frames[0][-20:] * 0.35).max() <= 1


@pytest.mark.parametrize(("person", "yellow"), [("largest", [1, 5]), ("most central", [1])])
def test_choices_frame_by_frame(ready: HostServer, person: str, yellow: list[int]) -> None:
    """The yellow one is larger; in frame 1 it is nearer to the middle, by frame 5 the red one has come nearer."""
    frames = saved(ready.run(extract_graph(person=person)))
    necks = {i: frame["people"][0]["pose_keypoints_2d"][3 * NECK] for i, frame in enumerate(frames) if i != EMPTY}
    assert [i for i, x in necks.items() if x > 200] == yellow


def test_everyone_keeps_the_place(ready: HostServer) -> None:
    """The red one, there in every frame, and the yellow one each in the same entry throughout."""
    frames = saved(ready.run(extract_graph(person="everyone")))
    rows = {np.flatnonzero([np.abs(np.reshape(p["pose_keypoints_2d"], (18, 3))[:, :2] - red_body(i)).max() < 1 for p in frame["people"]])[0]
            for i, frame in enumerate(frames) if i != EMPTY}
    assert len(rows) == 1
    assert [sum(any(p["pose_keypoints_2d"]) for p in frame["people"]) for frame in frames] == [1, 2, 1, 0, 1, 2]


def test_a_frame_that_the_detector_misses_is_said(ready: HostServer) -> None:
    """Markers without a person: the whole picture is taken for one."""
    frame = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    for at, colour in (((100, 80), (0, 255, 0)), ((150, 100), (0, 0, 255)), ((130, 200), (0, 255, 255))):
        onnx_models.draw_marker(frame, *at, colour, 12)
    Image.fromarray(frame).save(ready.input / "missed.png")
    graph = graphs.change(extract_graph(), people={"image": "missed.png"})
    result = ready.run(graph)
    assert "1 frame: the detector found nobody; the whole image was used as the person's box (0)" in report_of(result)
    assert "0: 0, 0." in report_of(result)
    assert len(saved(result)[0]["people"]) == 1


def test_a_changed_model_file_runs_anew(ready: HostServer) -> None:
    graph = extract_graph()
    assert ready.run(graph).status == "success"
    assert "extract" in ready.run(graph).cached
    onnx_models.write_detector(ready.models / "detection" / MODELS["detector"], batch="N")
    assert ready.run(graph).ran("MarionetteExtractPose")


def opened(host: HostServer, graph: Graph, picture: int) -> int:
    """How many times a run on one picture of the clip opens the two files; what it finds must be right."""
    Image.fromarray(draw_clip()[picture]).save(host.input / "single.png")
    graphs.change(graph, people={"image": "single.png"})
    before = host.log.count("DWPose: ")
    result = host.run(graph)
    assert_red(saved(result)[0]["people"], 0, picture)
    assert result.ran("MarionetteExtractPose")
    return host.log.count("DWPose: ") - before


@pytest.mark.parametrize("which", ["ready", "gpu_claimed", "old_host"])
def test_the_files_stay_open_while_only_the_images_change(which: str, request: pytest.FixtureRequest) -> None:
    """With the classic cache, the default one, and on the oldest host."""
    host = request.getfixturevalue(which)
    with equipped(host) if which == "old_host" else nullcontext():
        assert [opened(host, kept_graph(), picture) for picture in (0, 2, 4)] == [1, 0, 0]
        onnx_models.write_detector(host.models / "detection" / MODELS["detector"], batch="N")
        assert [opened(host, kept_graph(), picture) for picture in (0, 2)] == [1, 0]
        assert [opened(host, extract_graph(), picture) for picture in (0, 2)] == [1, 1], "Extract Pose alone gives the memory back"
        onnx_models.write_detector(host.models / "detection" / MODELS["detector"], batch=1)
        assert saved(host.run(kept_graph())) == saved(host.run(extract_graph()))


@pytest.mark.parametrize("build", [extract_graph, kept_graph])
def test_room_is_made_before_the_files_are_opened(gpu_claimed: HostServer, build: Callable[..., Graph]) -> None:
    """The host may hold the whole GPU, and onnxruntime takes its part at opening. Where the CPU computes, nothing is unloaded."""

    def told(device: str) -> list[str]:
        gpu_claimed.free()
        before = len(gpu_claimed.log)
        assert opened(gpu_claimed, build(device=device), 0) == 1
        return re.findall("TEST (room for 2048|session by CPU|session by Dml)", gpu_claimed.log[before:])

    assert told("auto") == ["room for 2048", "session by Dml", "session by Dml"]
    assert told("cpu") == ["session by CPU", "session by CPU"]


@pytest.mark.parametrize(("inputs", "words"), [
    ({"detector": f"pose/{MODELS['pose_model']}", "pose_model": MODELS["detector"]}, ["are swapped", "is the pose model"]),
    ({"pose_model": "other.onnx"}, ["pose_model", "other.onnx", "different kind of model", "dw-ll_ucoco_384.onnx"]),
    ({"detector": "gone.onnx"}, ["MarionetteLoadPoseDetector", "detector", "gone.onnx", "yolox_l.onnx", "yzd-v/DWPose"]),
    ({"pose_model": "../secret.onnx"}, ["pose_model", "not found"]),
    ({"device": "tpu"}, ["device", "tpu"]),
])
def test_wrong_choices_of_the_loader(ready: HostServer, inputs: dict[str, Any], words: list[str]) -> None:
    result = refused(ready, kept_graph(**inputs), *words)
    assert result.status == "invalid" or result.error_node == "MarionetteLoadPoseDetector"


@pytest.mark.parametrize(("inputs", "words"), [
    ({"detector": f"pose/{MODELS['pose_model']}", "pose_model": MODELS["detector"]}, ["are swapped", "is the pose model"]),
    ({"detector": "other.onnx"}, ["detector", "other.onnx", "different kind of model", "yolox_l.onnx"]),
    ({"pose_model": "other.onnx"}, ["pose_model", "other.onnx", "different kind of model", "dw-ll_ucoco_384.onnx"]),
    ({"detector": "broken.onnx"}, ["broken.onnx", "not an ONNX model", "again"]),
    ({"detector": "(no .onnx file found)"}, ["detector", "yolox_l.onnx", "yzd-v/DWPose", "models/animate_anyone", "models/detection"]),
    ({"pose_model": "gone.onnx"}, ["pose_model", "gone.onnx", "dw-ll_ucoco_384.onnx", "yzd-v/DWPose"]),
    ({"pose_model": "../secret.onnx"}, ["pose_model", "not found"]),
    ({"backend": "mediapipe"}, ["backend", "MediaPipe is no longer supported", "choose dwpose"]),
    ({"backend": "openpose"}, ["backend", "openpose", "choose dwpose"]),
    ({"scores": "(a file).task"}, ["scores", "(a file).task", "0 and 1"]),
    ({"person": "tallest"}, ["person", "tallest"]),
])
def test_wrong_choices(ready: HostServer, inputs: dict[str, Any], words: list[str]) -> None:
    refused(ready, extract_graph(**inputs), *words)


def test_the_page_gets_files_and_defaults(ready: HostServer) -> None:
    inputs = ready.object_info("MarionetteExtractPose")["input"]["required"]
    detector, pose = inputs["detector"][1], inputs["pose_model"][1]
    assert {MODELS["detector"], f"pose/{MODELS['pose_model']}", "other.onnx"} <= set(detector["options"])
    assert detector["default"] == MODELS["detector"] and pose["default"] == f"pose/{MODELS['pose_model']}"


def test_cancel(ready: HostServer) -> None:
    graph = extract_graph()
    graphs.add(graph, "many", "RepeatImageBatch", image=["people", 0], amount=40)
    graphs.change(graph, extract={"images": ["many", 0]})
    prompt = ready.submit(graph)
    assert isinstance(prompt, str)
    ready.events.wait_for(prompt, "progress", 60)
    ready.interrupt()
    assert ready.events.wait_for(prompt, "execution_interrupted", 10)
    ready.wait(graph, prompt, 30)


def test_without_onnxruntime_and_without_files(tmp_path: Path) -> None:
    """The node is there, its list says that there is nothing yet; with files, it says what to install."""
    blocker = tmp_path / "site"
    blocker.mkdir()
    (blocker / "sitecustomize.py").write_text(SITECUSTOMIZE, encoding="utf-8")
    with HostServer(tmp_path / "base", environment={"PYTHONPATH": str(blocker), "ABSENT_PACKAGE": "onnxruntime"},
                    packs=[TOOLS]) as host:
        assert host.object_info("MarionetteExtractPose")["input"]["required"]["detector"][1]["options"] == ["(no .onnx file found)"]
        Image.fromarray(draw_clip()[0]).save(host.input / "people.png")
        onnx_models.write_detector(host.models / "detection" / MODELS["detector"])
        onnx_models.write_pose_model(host.models / "detection" / "pose" / MODELS["pose_model"])
        refused(host, extract_graph(), "onnxruntime", "pip install onnxruntime-gpu")
