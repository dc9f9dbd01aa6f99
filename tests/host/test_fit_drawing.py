"""Fit Drawing and Place Drawing in the real host: the template's graph on the sample and on ten drawings, clear refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from animate_core.demo.clip import HEIGHT, WIDTH
from animate_core.demo.fitting import fit_drawing, sample_drawing
from animate_core.demo.model import DEMO_FAMILY
from animate_core.families import family_preset
from animate_core.pose.openpose import read_pose
from tests.host import equipment, graphs
from tests.host.host_server import HostServer
from tests.host.result import Graph, Result
from tests.host.test_bad_input import refused

FOLDER = Path(__file__).resolve().parents[1] / "data" / "drawings"
DRAWINGS = sorted(path.name for path in FOLDER.iterdir() if path.suffix in (".webp", ".png"))


def fit_graph(file: str | None = None, **inputs: Any) -> Graph:
    """Fit Drawing alone, every output saved; of a file of the input folder, else of the sample."""
    graph: Graph = {"fit": graphs.load("my_drawing")["fit"]}
    if file:
        graphs.add(graph, "load", "LoadImage", image=file)
        graphs.change(graph, fit={"image": ["load", 0], "mask": ["load", 1]})
    graphs.change(graph, fit=inputs)
    graphs.add(graph, "mask_picture", "MaskToImage", mask=["fit", 1])
    for name, source in (("picture", ["fit", 0]), ("mask", ["mask_picture", 0]), ("background", ["fit", 2])):
        graphs.add(graph, name, "SaveImage", images=source, filename_prefix=name)
    graphs.add(graph, "keypoints", "TestSaveJSON", value=["fit", 3])
    graphs.add(graph, "report", "PreviewAny", source=["fit", 4])
    return graph


def whole_graph(file: str | None = None, **changes: dict[str, Any]) -> Graph:
    """The template's graph with few steps and frames, and the frames saved."""
    graph = graphs.load("my_drawing", sampler={"steps": 1}, moves={"frames": 4, "period": 4})
    if file:
        graphs.add(graph, "load", "LoadImage", image=file)
        graphs.change(graph, fit={"image": ["load", 0], "mask": ["load", 1]})
    graphs.add(graph, "frames", "SaveImage", images=["place", 0], filename_prefix="frames")
    return graphs.change(graph, **changes)


def report_of(result: Result) -> str:
    return "".join(result.outputs["report"]["text"])


def put(host: HostServer, name: str) -> str:
    """Into the input folder, as PNG: decoders of the others differ by a shade."""
    with Image.open(FOLDER / name) as picture:
        picture.save(host.input / (kept := f"{Path(name).stem}.png"))
    return kept


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and np.abs(a.astype(float) - np.asarray(b, float) * 255).max() <= 1


@pytest.mark.parametrize("file", [None, "pencil.webp", "pixel_hero.png"])
def test_outputs_are_the_librarys(host: HostServer, file: str | None) -> None:
    if file:
        with Image.open(host.input / (file := put(host, file))) as opened:
            pixels = np.asarray(opened.convert("RGBA"), np.float32) / 255
        library = fit_drawing(pixels[..., :3], 1 - pixels[..., 3], background="own paper")
    else:
        library = fit_drawing(sample_drawing(), background="own paper")
    result = host.run(fit_graph(file, background="own paper"))
    assert same(result.images("picture")[0], library.picture) and same(result.images("background")[0], library.background)
    assert same(result.images("mask")[0, ..., 0], library.mask)
    pose = read_pose(json.loads(Path(result.outputs["keypoints"]["files"][0]).read_text(encoding="utf-8")))
    assert np.allclose(pose.points, library.pose.points, atol=1e-2) and (pose.width, pose.height) == (WIDTH, HEIGHT)
    assert library.report in report_of(result)
    assert ("sample drawing" in report_of(result)) == (file is None)


def test_the_workflow_runs_at_the_first_click(host: HostServer) -> None:
    """As it is in the template."""
    graph = graphs.load("my_drawing")
    preset = family_preset(DEMO_FAMILY)
    assert (graph["sampler"]["inputs"]["steps"], graph["sampler"]["inputs"]["cfg"]) == (preset.steps, preset.guidance)
    for node in ("fit", "reference", "pose"):
        assert (graph[node]["inputs"]["width"], graph[node]["inputs"]["height"]) == (WIDTH, HEIGHT)
    graphs.add(graph, "frames", "SaveImage", images=["place", 0], filename_prefix="frames")
    result = host.run(graph)
    frames = result.images()
    assert max(frames.shape[1:3]) == 640 and len(frames) == 16
    assert np.ptp(frames.astype(int), axis=0).max() > 60, "it moves"
    clip, video = (host.output / entry["subfolder"] / entry["filename"]
                   for entry in (result.outputs[node]["images"][0] for node in ("webp", "save_video")))
    with Image.open(clip) as shown:
        assert (shown.size, shown.n_frames) == ((frames.shape[2], frames.shape[1]), 16)  # type: ignore[attr-defined]
    assert len(equipment.pose_frames(video, 100)) == 16


@pytest.mark.parametrize("file", DRAWINGS)
def test_every_drawing_runs_through(host: HostServer, file: str) -> None:
    """The sheet round the figure stays as it was; the figure moves."""
    result = host.run(whole_graph(put(host, file)))
    frames = result.images().astype(int)
    moved = np.ptp(frames, axis=0).max(-1)
    assert moved.max() > 40 and (moved == 0).mean() > 0.25


def test_another_background(host: HostServer) -> None:
    graph = whole_graph(place={"background": ["sea", 0], "longer_side": 320})
    graphs.add(graph, "sea", "EmptyImage", width=300, height=200, batch_size=1, color=0x2060C0)
    frames = host.run(graph).images()
    assert max(frames.shape[1:3]) == 320
    assert (np.abs(frames - np.array([0x20, 0x60, 0xC0])).max(-1) <= 1).mean() > 0.4


@pytest.mark.parametrize(("inputs", "words"), [
    ({"width": 100}, ["width", "100", "multiple of 8"]),
    ({"background": "sea"}, ["background", "sea"]),
    ({"which": 9}, ["which", "9", "1 found"]),
    ({"which": 0}, ["which"]),
    ({"figure_height": 2.0}, ["figure_height"]),
    ({"image": ["nothing", 0]}, ["image", "no frames"]),
    ({"image": ["plain", 0]}, ["one colour"]),
    ({"image": ["small", 0]}, ["too small"]),
])
def test_wrong_drawings_are_refused(host: HostServer, inputs: dict[str, Any], words: list[str]) -> None:
    graph = whole_graph(fit=inputs)
    graphs.add(graph, "nothing", "TestImage", kind="no frames", width=64, height=64, frames=1)
    graphs.add(graph, "plain", "EmptyImage", width=300, height=200, batch_size=1, color=0xE0E0D0)
    graphs.add(graph, "small", "EmptyImage", width=16, height=16, batch_size=1, color=0xE0E0D0)
    refused(host, graph, *words)


def test_frames_of_another_canvas_are_refused(host: HostServer) -> None:
    graph = whole_graph(fit={"width": 192, "height": 192})
    result = host.run(graph)
    assert result.status == "error" and result.error_node == "MarionettePlaceDrawing"
    assert "another shape" in result.error and "192x192" in result.error
