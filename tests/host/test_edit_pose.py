"""Edit Pose in the real host, without a page: edits in an API graph, what the page is sent, bad edits refused before anything runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from animate_core.pose.keypoints import NUM_POINTS, body_clip
from animate_core.pose.moves import move_clip
from animate_core.pose.openpose import read_pose, write_pose
from tests.host import graphs
from tests.host.host_server import HostServer
from tests.host.result import Graph, Result

EDITS: dict[str, Any] = {"version": 1, "width": 128, "height": 192, "keys": [
    {"frame": 0, "move": {"4": [0, 0]}}, {"frame": 4, "move": {"4": [20, -8]}, "place": {"7": [30, 40]}, "hide": [16]}]}


def edit_graph(pose: Any = None, edits: Any = EDITS, **inputs: Any) -> Graph:
    graph: Graph = {}
    settings = {"person": "followed", "frames": 0, "width": 512, "height": 768, "preview_frames": 3}
    given = {} if pose is None else {"pose": {"__value__": pose}}
    written = {} if edits is None else {"edits": edits if isinstance(edits, str) else json.dumps(edits)}
    graphs.add(graph, "edit", "MarionetteEditPose", **{**settings, **given, **written, **inputs})
    graphs.add(graph, "poses", "MarionetteSavePose", pose=["edit", 0], filename_prefix="edited", format="one file", scores="as they are",
               fps=0.0)
    return graphs.add(graph, "preview", "SaveImage", images=["edit", 1], filename_prefix="edit_preview")


def saved(result: Result, host: HostServer) -> np.ndarray:
    """`[F, 134, 3]` of the only person that was given out."""
    assert result.status == "success", f"{result.error}\n{result.traceback}"
    file = sorted(host.output.glob("edited_*.json"), key=lambda path: path.stat().st_mtime)[-1]
    clip = read_pose(json.loads(file.read_text()))
    assert clip.points.shape[1] == 1
    return clip.person(0)


def test_edits_run_without_the_page(host: HostServer) -> None:
    clip = move_clip("dance", 8, width=128, height=192)
    points = clip.points.copy()
    points[3:6, 0, 7] = 0  # a gap in the left wrist
    result = host.run(edit_graph(write_pose(clip.of(points))))
    after = saved(result, host)
    way = after[:, 4, :2] - points[:, 0, 4, :2]
    assert np.allclose(way[[0, 1, 2, 4, 7]], [[0, 0], [5, -2], [10, -4], [20, -8], [20, -8]], atol=1e-3)
    assert after[3:6, 7].tolist() == [[30, 40, 1]] * 3
    assert after[:, 16, 2].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    untouched = [i for i in range(18) if i not in (4, 7, 16)]
    assert np.allclose(after[:, untouched], points[:, 0, untouched], atol=1e-3), "Save Pose rounds"
    # nobody is drawn over black where there is no image
    preview = result.images("preview")
    assert preview.shape == (3, 192, 128, 3) and all((frame > 60).any() for frame in preview)
    page = result.outputs["edit"]["marionette_pose"][0]
    assert (page["width"], page["height"], page["pictures"]) == (128, 192, [])
    shown = np.array(page["poses"]).reshape(8, 18, 3)
    assert np.allclose(shown[..., :2], points[:, 0, :18, :2], atol=0.006), "the page gets what came in"


@pytest.mark.parametrize(("inputs", "written"), [({}, 1), ({"scores": "0 and 1"}, 1), ({"scores": "as they are"}, 0.75)])
def test_scores_for_other_packs_and_graded_ones(host: HostServer, inputs: dict[str, str], written: float) -> None:
    """What the next node gets; a graph of before the widget gets the default."""
    clip = move_clip("walk", 2, width=128, height=192)
    points = clip.points.copy()
    points[..., 2] *= 0.75
    graph = graphs.add(edit_graph(write_pose(clip.of(points)), **inputs), "keypoints", "TestSaveJSON", value=["edit", 0])
    result = host.run(graph)
    frames = json.loads(Path(result.outputs["keypoints"]["files"][0]).read_text(encoding="utf-8"))
    unmoved = frames[1]["people"][0]["pose_keypoints_2d"][2::3]
    assert unmoved[:4] == pytest.approx([written] * 4, abs=1e-3)
    assert saved(result, host)[1, :4, 2].tolist() == pytest.approx([0.75] * 4, abs=1e-3)


def test_a_body_on_a_picture(host: HostServer) -> None:
    """No detector, no poses: the canvas is the picture's, and four frames are made of one."""
    picture = np.full((120, 80, 3), 200, np.uint8)
    picture[40:80, 20:60] = (10, 120, 10)
    Image.fromarray(picture).save(host.input / "statue.png")
    edits = {"version": 1, "width": 80, "height": 120, "keys": [
        {"frame": 0, "place": {"1": [40, 30], "2": [20, 30]}}, {"frame": 3, "place": {"1": [40, 30], "2": [20, 60]}}]}
    graph = graphs.add(edit_graph(None, edits, frames=4, image=["load", 0], preview_frames=10), "load", "LoadImage", image="statue.png")
    result = host.run(graph)
    after = saved(result, host)
    assert after[:, :3].tolist() == [[[0, 0, 0], [40, 30, 1], [20, y, 1]] for y in (30, 40, 50, 60)]
    preview = result.images("preview")
    assert preview.shape == (4, 120, 80, 3)
    assert (preview[:, 100:, :] == 200).all(), "the picture where no skeleton is"
    page = result.outputs["edit"]["marionette_pose"][0]
    assert (page["width"], page["height"]) == (80, 120) and page["poses"] == [[0] * 54]
    [[frame, name]] = page["pictures"]
    kept = np.asarray(Image.open(host.base / "temp" / page["folder"] / name).convert("RGB"))
    assert frame == 0 and kept.shape == picture.shape and np.abs(kept.astype(int) - picture).mean() < 4
    again = host.run(graphs.change(graph, edit={"frames": 2}))
    assert saved(again, host).shape == (2, NUM_POINTS, 3)
    assert again.outputs["edit"]["marionette_pose"][0]["pictures"] == page["pictures"], "the same picture is kept once"


def test_with_nothing_connected_the_size_is_as_set(host: HostServer) -> None:
    result = host.run(edit_graph(None, None, width=96, height=64, frames=2))
    assert not saved(result, host).any()
    assert result.images("preview").shape == (2, 64, 96, 3)


def test_other_sizes_and_lengths_than_the_edits(host: HostServer) -> None:
    """Edits of a 128x192 canvas with a key at frame 4, on two frames of 256x384."""
    clip = move_clip("walk", 2, width=256, height=384)
    after = saved(host.run(edit_graph(write_pose(clip))), host)
    assert np.allclose(after[:, 4, :2] - clip.points[:, 0, 4, :2], [[0, 0], [10, -4]], atol=1e-3)


def test_the_chosen_person_is_edited(host: HostServer) -> None:
    near, far = (move_clip("wave", 1, width=128, height=192, size=size).points[:, 0, :18] for size in (0.9, 0.4))
    both = write_pose(body_clip(far, 128, 192))
    both[0]["people"] += write_pose(body_clip(near, 128, 192))[0]["people"]
    after = saved(host.run(edit_graph(both, None, person="largest")), host)
    assert np.allclose(after[0, :18], near[0], atol=1e-3)


@pytest.mark.parametrize(("edits", "words"), [
    ("{'version': 1}", ["edits", "not JSON"]),
    ({"version": 7, "width": 9, "height": 9, "keys": []}, ["version", "newer release"]),
    ({**EDITS, "keys": [{"frame": 0, "move": {"31": [1, 1]}}]}, ["key 0, move", "0 to 17"]),
])
def test_bad_edits_are_refused_before_anything_runs(host: HostServer, edits: Any, words: list[str]) -> None:
    result = host.run(edit_graph(write_pose(move_clip("walk", 2)), edits))
    assert result.status == "invalid"
    assert all(word in result.error for word in words), result.error


def test_the_widget_is_text_for_every_other_program(host: HostServer) -> None:
    kind, options = host.object_info("MarionetteEditPose")["input"]["optional"]["edits"]
    assert kind == "STRING" and options["widgetType"] == "MARIONETTE_POSE_EDITOR" and options["default"] == ""
    script = Path(__file__).resolve().parents[2] / "web" / "edit_pose.js"
    assert options["widgetType"] in script.read_text(encoding="utf-8")


def test_in_the_oldest_host(old_host: HostServer) -> None:
    clip = move_clip("dance", 5, width=128, height=192)
    after = saved(old_host.run(edit_graph(write_pose(clip))), old_host)
    assert np.allclose(after[4, 4, :2] - clip.points[4, 0, 4, :2], [20, -8], atol=1e-3)
