"""Clean Pose in the real host: the library's numbers come out, frames with nobody do not stop it, wrong inputs are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from animate_core.demo.character import HELD_OUT_SEED
from animate_core.demo.clip import demo_clip
from animate_core.pose.cleaning import CleanSettings, clean
from animate_core.pose.files import save_pose
from animate_core.pose.keypoints import body_clip
from animate_core.pose.openpose import read_pose
from tests.host import graphs
from tests.host.host_server import HostServer
from tests.host.result import Graph
from tests.host.test_bad_input import refused

WIDTH, HEIGHT, FRAMES = 128, 192, 30
DEFAULTS = {"fix_swaps": 0.5, "remove_outliers": 0.5, "max_gap": -1, "long_gaps": "hold", "smooth": 0.5,
            "filter": "local polynomial", "fps": 24.0, "person": "followed", "score_threshold": 0.3, "scores": "0 and 1"}


def broken() -> np.ndarray:
    """A dance with three frames of nobody, a leap and swapped legs: `[F, 18, 3]`."""
    points = demo_clip(HELD_OUT_SEED, "dance", FRAMES, period=24, width=WIDTH, height=HEIGHT).keypoints.copy()
    points[10:13] = 0
    points[20, 4, 0] += 40
    points[5, [8, 9, 10, 11, 12, 13]] = points[5, [11, 12, 13, 8, 9, 10]]
    return points


def clean_graph(host: HostServer, points: np.ndarray, name: str, **inputs: Any) -> Graph:
    save_pose(body_clip(points, WIDTH, HEIGHT), host.input / name)
    graph: Graph = {}
    graphs.add(graph, "load", "MarionetteLoadPose", file=name, first_frame=0, frames=0, every_nth=1, width=0, height=0)
    graphs.add(graph, "clean", "MarionetteCleanPose", pose=["load", 0], **{**DEFAULTS, **inputs})
    graphs.add(graph, "keypoints", "TestSaveJSON", value=["clean", 0])
    return graphs.add(graph, "report", "PreviewAny", source=["clean", 1])


@pytest.mark.parametrize("inputs", [{}, {"max_gap": 12, "filter": "one-euro"}, {"max_gap": 12, "filter": "savitzky-golay"}], ids=str)
def test_the_librarys_numbers_come_out(host: HostServer, inputs: dict[str, Any]) -> None:
    """With the defaults, and as workflows were saved before the local polynomial took the other filters' place."""
    points = broken()
    result = host.run(clean_graph(host, points, "broken_pose.json", **inputs))
    assert result.status == "success", result.error
    expected, report = clean(body_clip(points, WIDTH, HEIGHT), CleanSettings())
    found = read_pose(json.loads(Path(result.outputs["keypoints"]["files"][0]).read_text(encoding="utf-8")))
    assert (found.width, found.height, len(found)) == (WIDTH, HEIGHT, FRAMES)
    assert np.allclose(found.points, expected.points, atol=5e-3)
    assert (found.points[:, 0, :18, 2] > 0.3).all(), "frames with nobody are filled"
    text = "".join(result.outputs["report"]["text"])
    assert text == report.text()
    assert "frames 10-12: no person, filled" in text and "frame 5: legs swap corrected" in text
    assert result.progress("clean")[-1] == (FRAMES, FRAMES)


def test_settings_reach_the_library(host: HostServer) -> None:
    points = broken()
    off = {"fix_swaps": 0, "remove_outliers": 0, "max_gap": 2, "long_gaps": "hide", "smooth": 0, "filter": "none"}
    result = host.run(clean_graph(host, points, "off_pose.json", **off))
    assert result.status == "success", result.error
    frames = json.loads(Path(result.outputs["keypoints"]["files"][0]).read_text(encoding="utf-8"))
    assert [not frame["people"] for frame in frames] == [10 <= i < 13 for i in range(FRAMES)]
    found = read_pose(frames)
    assert np.allclose(found.points[:, 0, :18], points, atol=1e-3)
    assert "frames 10-12: no person, left empty" in "".join(result.outputs["report"]["text"])


def test_the_frame_rate_is_heeded(host: HostServer) -> None:
    """At 8 frames per second, half a second is 4 frames: a gap of 3 is filled, one of 5 is not; with max_gap 5 it is."""
    points = demo_clip(HELD_OUT_SEED, "dance", FRAMES, period=24, width=WIDTH, height=HEIGHT).keypoints.copy()
    points[5:8], points[15:20] = 0, 0
    for max_gap, empty in ((-1, [15, 16, 17, 18, 19]), (5, [])):
        result = host.run(clean_graph(host, points, "slow_pose.json", fps=8, max_gap=max_gap, long_gaps="hide"))
        assert result.status == "success", result.error
        frames = json.loads(Path(result.outputs["keypoints"]["files"][0]).read_text(encoding="utf-8"))
        assert [i for i, frame in enumerate(frames) if not frame["people"]] == empty


def test_scores_for_other_packs_and_graded_ones(host: HostServer) -> None:
    """controlnet_aux takes scores below 1 for missing: by default 0 and 1, and the graded ones beside them; or those alone."""
    points = demo_clip(HELD_OUT_SEED, "dance", FRAMES, period=24, width=WIDTH, height=HEIGHT).keypoints.copy()
    points[..., 2] = 0.75
    saved = []
    for scores in ("0 and 1", "as they are"):
        result = host.run(clean_graph(host, points, "graded_pose.json", scores=scores))
        assert result.status == "success", result.error
        saved.append(json.loads(Path(result.outputs["keypoints"]["files"][0]).read_text(encoding="utf-8")))
    both, alone = saved
    assert {score for frame in both for score in frame["people"][0]["pose_keypoints_2d"][2::3]} == {1.0}
    for frames in saved:
        assert np.allclose(read_pose(frames).points[:, 0, :18, 2], 0.75, atol=1e-3)
    assert [frame["people"][0]["pose_keypoints_2d"][2::3] for frame in alone] == [pytest.approx([0.75] * 18, abs=1e-3)] * FRAMES


def test_nobody_is_refused_in_words(host: HostServer) -> None:
    points = broken()
    points[..., 2] *= 0.2
    refused(host, clean_graph(host, points, "nobody_pose.json"), "no person in any of the 30 frames", "0.3", "score_threshold")
    assert host.run(clean_graph(host, points, "nobody_pose.json", score_threshold=0.1)).status == "success"


@pytest.mark.parametrize(("changes", "words"), [
    ({"smooth": 1.5}, ["smooth"]), ({"max_gap": -2}, ["max_gap"]), ({"filter": "kalman"}, ["filter"]), ({"fps": 0}, ["fps"]),
])
def test_settings_out_of_range_are_refused(host: HostServer, changes: dict[str, Any], words: list[str]) -> None:
    refused(host, clean_graph(host, broken(), "range_pose.json", **changes), *words)
