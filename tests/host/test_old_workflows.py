"""Workflows of older packs in the real host: its list of replacements, graphs of the API with old ids, and the route that converts."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from animate_core.old_nodes import CONTROL, NEW_NODES, OLD_NODES
from animate_core.workflows import convert
from tests.core import old_workflows
from tests.core.test_workflows import WIDGETS
from tests.host import equipment, graphs
from tests.host.host_server import ROOT, HostServer
from tests.host.result import Graph

OF_HOSTS = ("VAELoader", "VAEDecode", "LoraLoaderModelOnly", "ImageFromBatch", "LoadVideo", "GetVideoComponents")
EXAMPLE = ROOT / "docs" / "queue_clip.py"
CONVERT = "/marionette/convert_workflow"


@pytest.fixture(params=["host", "old_host"])
def either(request: pytest.FixtureRequest) -> HostServer:
    """The pinned host, and the oldest."""
    server: HostServer = request.getfixturevalue(request.param)
    return server


def kind_of(spec: list[Any]) -> str:
    return "COMBO" if isinstance(spec[0], list) else str(spec[0])


@pytest.mark.parametrize("kind", NEW_NODES)
def test_the_new_nodes_are_as_the_table_has_them(either: HostServer, kind: str) -> None:
    info, table = either.object_info(kind), NEW_NODES[kind]
    inputs = {name: spec for part in ("required", "optional") for name, spec in info["input"].get(part, {}).items()}
    widgets = {name: spec for name, spec in inputs.items() if kind_of(spec) in ("COMBO", "INT", "FLOAT", "BOOLEAN", "STRING")}
    assert [widget.name for widget in table.widgets if widget.name != CONTROL] == list(widgets)
    # a host's own socket may come to be optional, or take more types
    assert set(table.sockets) == {(name, kind_of(spec)) for name, spec in inputs.items() if name not in widgets}
    assert [of for _, of in table.outputs] == info["output"][:len(table.outputs)]
    for widget in table.widgets:
        if widget.name == CONTROL:
            continue
        about = widgets[widget.name][1] if len(widgets[widget.name]) > 1 else {}
        if widget.default is not None and kind not in OF_HOSTS:
            choices = about.get("options") or widgets[widget.name][0]
            assert about.get("default", choices[0]) == widget.default or "detect" in widget.name or widget.name == "pose_model", widget.name
        if widget.low is not None and kind not in OF_HOSTS and kind != "MarionetteDrawPose":
            assert (about["min"], about["max"]) == (widget.low, widget.high), widget.name
        elif widget.low is not None and kind == "ImageFromBatch" and widget.name == "length":
            assert (about["min"], about["max"]) == (widget.low, widget.high)


def test_the_host_knows_the_replacements(either: HostServer) -> None:
    told, nodes = either.get("/node_replacements"), either.object_info()
    singles = {old: about for old, about in OLD_NODES.items() if about.new}
    assert singles.keys() == told.keys() & OLD_NODES.keys() and len(singles) == 13
    for old, about in singles.items():
        [replacement] = told[old]
        assert replacement["new_node_id"] == about.new and replacement["old_widget_ids"] == list(about.widgets)
        inputs = {name: spec for part in ("required", "optional") for name, spec in nodes[about.new]["input"].get(part, {}).items()}
        for entry in replacement["input_mapping"] or []:
            spec = inputs[entry["new_id"]]
            choices = spec[0] if isinstance(spec[0], list) else spec[1].get("options") if kind_of(spec) == "COMBO" else None
            assert "set_value" not in entry or choices is None or entry["set_value"] in choices, (old, entry)


def test_a_graph_of_the_api_with_old_loaders_runs(old_host: HostServer) -> None:
    """The host replaces what one node of ours replaces in graphs that come through the API, too."""
    graph = graphs.load("basic", poses={"length": 4}, sampler={"steps": 2})
    start, base = "[AnimateAnyone] ", "./pretrained_weights/stable-diffusion-v1-5/unet/"
    old = {"reference_net": ("Load UNet2D ConditionModel", {"unet2d_model_path": "./pretrained_weights/reference_unet.pth"}),
           "model": ("Load UNet3D ConditionModel", {"unet3d_model_path": "./pretrained_weights/denoising_unet.pth",
                                                    "motion_module_path": "./pretrained_weights/motion_module.pth"}),
           "pose_guider": ("Load Pose Guider", {"pose_guider_model_path": "./pretrained_weights/pose_guider.pth"})}
    for node, (name, inputs) in old.items():
        graphs.add(graph, node, start + name, pretrained_base_unet_folder_path=base, **inputs)
        graph[node]["_meta"] = {"title": name}
    wanted = graphs.load("basic", poses={"length": 4}, sampler={"steps": 2})
    first, second = old_host.run(graph), old_host.run(wanted)
    assert first.status == second.status == "success", first.error
    assert np.array_equal(first.images(), second.images())


@pytest.mark.parametrize("shape", ["moore", "evolved"])
def test_a_converted_graph_of_the_api_runs(either: HostServer, shape: str) -> None:
    old = old_workflows.moore() if shape == "moore" else old_workflows.evolved()
    parts = ("reference_unet", "denoising_unet", "motion_module", "pose_guider")
    files = {"animate_anyone": [f"small/{part}.safetensors" for part in parts]}
    done = convert(old_workflows.api(old, WIDGETS), files)
    assert len(done.replaced) == (7 if shape == "moore" else 5)
    graph: Graph = done.workflow
    # the tests' small files, under the names that they have
    own = {"VAELoader": {"vae_name": "small_vae.safetensors"}, "MarionetteLoadClipVision": {"file": "small_clip/"},
           "LoadImage": {"image": equipment.PICTURE}, "LoadVideo": {"file": equipment.CLIP},
           "MarionetteEncodeReference": {"width": 64, "height": 96}, "MarionetteEncodePose": {"width": 64, "height": 96},
           "MarionetteMultiFrameSampler": {"frames": 4}}
    for node in graph.values():
        node["inputs"].update(own.get(node["class_type"], {}))
    result = either.run(graph)
    assert result.status == "success", f"{result.error}\n{result.traceback}"
    frames = result.images(next(node for node, about in graph.items() if about["class_type"] == "SaveImage"))
    assert frames.shape == (4, 96, 64, 3) and frames.std() > 5


def test_the_route(host: HostServer) -> None:
    status, answer = host.post(CONVERT, old_workflows.moore())
    assert status == 200 and len(answer["replaced"]) == 7 and answer["notes"]
    assert not {node["type"] for node in answer["workflow"]["nodes"]} & set(OLD_NODES)
    [vae] = [node for node in answer["workflow"]["nodes"] if node["type"] == "VAELoader"]
    assert vae["widgets_values"] == ["vae-ft-mse-840000-ema-pruned.safetensors"], "where the host has none, the name to get"
    template = host.get("/api/workflow_templates/ComfyUI-Marionette/demo.json")
    status, answer = host.post(CONVERT, template)
    assert status == 200 and answer["replaced"] == [] and answer["workflow"] == template
    for wrong in ([], {"nodes": [1]}, {"a": 1}):
        status, answer = host.post(CONVERT, wrong)
        assert status == 400 and answer["error"], wrong


# ------------------------------------------------------------------------------------------------- docs/queue_clip.py

def queue(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, EXAMPLE, *map(str, arguments)], cwd=folder, capture_output=True, text=True, timeout=120)


def test_the_http_example(host: HostServer, tmp_path: Path) -> None:
    graph = graphs.load("basic", poses={"length": 3}, sampler={"steps": 1})
    graphs.add(graph, "video_out", "CreateVideo", images=["decode", 0], fps=12.0)
    graphs.add(graph, "saved", "SaveVideo", video=["video_out", 0], filename_prefix="example", format="auto", codec="auto")
    workflow = tmp_path / "workflow_api.json"
    workflow.write_text(json.dumps(graph), encoding="utf-8")
    pixels = np.random.default_rng(3).integers(0, 255, (96, 64, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "mine.png")
    done = queue(tmp_path, workflow, tmp_path / "mine.png", host.url)
    assert done.returncode == 0, done.stderr
    names = done.stdout.split()
    assert any(name.startswith("example") and name.endswith(".mp4") for name in names)
    assert all((tmp_path / name).stat().st_size > 0 for name in names)
    assert np.array_equal(np.asarray(Image.open(host.input / "mine.png")), pixels), "the picture went to the host"
    # the same name with another picture: the host gives it another name, which the example uses
    Image.fromarray(255 - pixels).save(tmp_path / "mine.png")
    assert queue(tmp_path, workflow, tmp_path / "mine.png", host.url).returncode == 0
    assert np.array_equal(np.asarray(Image.open(host.input / "mine (1).png")), 255 - pixels)


def test_the_http_example_says_what_the_host_refuses(host: HostServer, tmp_path: Path) -> None:
    shutil.copyfile(host.input / equipment.PICTURE, tmp_path / "picture.png")
    for change, told in (({"steps": 0}, "Value 0 smaller than min"), ({"frames": 5000}, "5000 requested")):
        (tmp_path / "graph.json").write_text(json.dumps(graphs.load("basic", sampler=change)), encoding="utf-8")
        done = queue(tmp_path, tmp_path / "graph.json", tmp_path / "picture.png", host.url)
        assert done.returncode == 1 and told in done.stderr, done.stderr
