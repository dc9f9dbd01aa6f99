"""Workflows of older packs in the host's real page: opened, accepted, complete, run; by the page's own replacement, too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Locator, Page

from tests.browser.comfy_page import ComfyPage
from tests.core import old_workflows
from tests.core.old_workflows import Workflow
from tests.host import networks
from tests.host.host_server import PACK, HostServer
from tests.host.result import Graph

TEMPLATE = "demo"
SMALL = {"MarionetteEncodeReference": {"width": 64, "height": 96}, "MarionetteEncodePose": {"width": 64, "height": 96}}


class OldPage(ComfyPage):
    """The page with an old workflow opened in it."""

    def __init__(self, page: Page, host: HostServer, workflow: Workflow) -> None:
        super().__init__(page, host.url, TEMPLATE, len(host.get(f"/api/workflow_templates/{PACK}/{TEMPLATE}.json")["nodes"]))
        self.host = host
        page.evaluate("workflow => void app.loadGraphData(workflow)", workflow)

    @property
    def offer(self) -> Locator:
        return self.page.get_by_role("dialog").filter(has_text="Convert old Animate Anyone workflow")

    def answer(self, button: str) -> None:
        self.offer.get_by_role("button", name=button).click()
        self.offer.wait_for(state="detached")

    def command(self) -> None:
        self.page.evaluate("app.extensionManager.command.execute('Marionette.ConvertOldWorkflow')")

    def wait_converted(self) -> None:
        self.page.wait_for_function("app.graph.nodes.some(node => node.title === 'Converted for Marionette')")
        self.page.wait_for_timeout(2500)
        self.page.evaluate("app.extensionManager.command.execute('Comfy.Canvas.FitView')")
        self.page.wait_for_timeout(1000)

    def unknown(self) -> list[str]:
        return [node["type"] for node in self.nodes() if not node["known"]]

    def own_errors(self) -> list[str]:
        """Without the page's questions to its registry about the packs of missing nodes, which the tests' browser does not let out."""
        return [error for error in self.errors if "api.comfy.org" not in error]

    def complaints(self) -> list[str]:
        return [text for text in super().complaints() if "The note in the graph says what changed" not in text]

    def wrong_choices(self) -> list[str]:
        return [f"{node['type']}.{widget['name']}: {widget['value']}" for node in self.nodes() for widget in node["widgets"]
                if widget["choices"] is not None and widget["value"] not in widget["choices"]]

    def saved(self) -> list[str]:
        """Runs; the files."""
        prompt_id = self.run()
        history = self.host.get(f"/history/{prompt_id}")[prompt_id]
        assert history["status"]["status_str"] == "success"
        return [entry["filename"] for output in history["outputs"].values() for entry in output.get("images", [])
                if entry["type"] == "output"]


@pytest.fixture(scope="module", autouse=True)
def musepose_files(host: HostServer) -> None:
    folder = host.models / "animate_anyone" / "MusePose"
    folder.mkdir()
    for name, weights in networks.small_family().items():
        torch.save(dict(weights), folder / f"{name}.pth")


def only(graph: Graph, kind: str) -> tuple[str, dict[str, Any]]:
    """The only node of a type and its inputs."""
    [(node, inputs)] = [(node, about["inputs"]) for node, about in graph.items() if about["class_type"] == kind]
    return node, inputs


def came_from(graph: Graph, link: list[Any]) -> tuple[str, int]:
    return graph[link[0]]["class_type"], link[1]


CASES: dict[str, tuple[Workflow, dict[str, dict[str, Any]]]] = {
    "evolved": (old_workflows.evolved(), {**SMALL, "MarionetteMultiFrameSampler": {"frames": 4}}),
    "comfyui-3d": (old_workflows.evolved("[ComfyUI-3D] ", reroute=True), {**SMALL, "MarionetteMultiFrameSampler": {"frames": 4}}),
    "moore": (old_workflows.moore(compare=True), {}),
    "musepose": (old_workflows.musepose("D:\\ComfyUI\\input\\pose.mp4"), {}),
    "museposealign": (old_workflows.aligned("driver.mp4"), {}),
}


@pytest.mark.parametrize("name", CASES)
def test_opened_accepted_and_run(host: HostServer, page: Page, tmp_path: Path, name: str) -> None:
    workflow, small = CASES[name]
    shown = OldPage(page, host, workflow)
    shown.offer.wait_for()
    old = shown.unknown()
    assert old, "the page knows none of the old nodes"
    shown.answer("Confirm")
    shown.wait_converted()
    shown.screenshot(tmp_path / f"{name}.png")
    assert shown.unknown() == [] and shown.wrong_choices() == []
    assert not {node["type"] for node in shown.nodes()} & set(old)
    for node, values in small.items():
        shown.set(node, **values)
    prefixes = sorted({file[:file.rindex("_000")] for file in shown.saved()})
    assert prefixes == {"moore": ["moore", "moore_compare"], "comfyui-3d": ["evolved"]}.get(name, [name])
    assert shown.complaints() == [] and shown.own_errors() == []


def test_links_and_values_are_carried_over(host: HostServer, page: Page) -> None:
    shown = OldPage(page, host, old_workflows.evolved())
    shown.answer("Confirm")
    shown.wait_converted()
    graph = shown.prompt()
    sampler = only(graph, "MarionetteMultiFrameSampler")[1]
    assert {key: sampler[key] for key in ("seed", "steps", "cfg", "scheduler")} == {"seed": 7, "steps": 2, "cfg": 4.5,
                                                                                   "scheduler": "Euler a"}
    assert {key: came_from(graph, sampler[key])[0] for key in ("model", "reference", "pose", "windows")} == {
        "model": "MarionetteLoadMotionUNet", "reference": "MarionetteEncodeReference", "pose": "MarionetteEncodePose",
        "windows": "MarionetteWindows"}
    reference = only(graph, "MarionetteEncodeReference")[1]
    assert came_from(graph, reference["image"])[0] == "ImageScale" and came_from(graph, reference["vae"])[0] == "VAELoader"
    assert came_from(graph, reference["clip_vision_output"])[0] == "CLIPVisionEncode"
    windows = only(graph, "MarionetteWindows")[1]
    assert (windows["length"], windows["overlap"], windows["schedule"], windows["closed_loop"]) == (12, 3, "published", True)
    pose = only(graph, "MarionetteEncodePose")[1]
    assert came_from(graph, pose["images"]) == ("GetVideoComponents", 0) and (pose["width"], pose["height"]) == (512, 768)
    assert only(graph, "MarionetteLoadMotionUNet")[1]["motion"] == "Moore/motion_module.pth"
    assert "VAEEncode" not in {about["class_type"] for about in graph.values()}


def test_by_the_pages_own_replacement_then_the_command(host: HostServer, page: Page, tmp_path: Path) -> None:
    shown = OldPage(page, host, old_workflows.evolved())
    shown.answer("Cancel")
    page.get_by_role("button", name="View details").click()
    group = page.get_by_test_id("error-group-swap-nodes")
    group.wait_for()
    shown.screenshot(tmp_path / "offered.png")
    group.get_by_role("button", name="Replace All", exact=True).click()
    page.wait_for_function("app.graph.nodes.some(node => node.type === 'MarionetteEncodePose')")
    assert shown.unknown() == ["[AnimateAnyone] Animate Anyone Sampler"]
    found = {node["type"]: {widget["name"]: widget["value"] for widget in node["widgets"]} for node in shown.nodes()}
    assert found["MarionetteLoadMotionUNet"]["denoiser"] == "Moore/denoising_unet.pth"
    assert found["MarionetteLoadMotionUNet"]["motion"] == "Moore/motion_module.pth"
    assert found["MarionetteEncodePose"] | {"width": 512, "height": 768, "fit": "stretch"} == found["MarionetteEncodePose"]
    links = page.evaluate("""() => [...app.graph.links.values()].map(link =>
        [app.graph.getNodeById(link.origin_id).type, app.graph.getNodeById(link.target_id).inputs[link.target_slot].name])""")
    assert ["MarionetteLoadPoseGuider", "pose_guider"] in links and ["GetVideoComponents", "images"] in links
    assert ["MarionetteEncodePose", "pose_latent"] in links and ["MarionetteLoadReferenceNet", "reference_unet"] in links
    shown.screenshot(tmp_path / "replaced.png")
    shown.command()
    shown.wait_converted()
    assert shown.unknown() == []
    by_halves = shown.prompt()
    page.evaluate("workflow => void app.loadGraphData(workflow)", old_workflows.evolved())
    shown.answer("Confirm")
    shown.page.wait_for_timeout(3000)
    assert by_halves == shown.prompt()


def test_other_packs_nodes_stay(host: HostServer, page: Page) -> None:
    """MusePose's own workflow hands videos on as files that Video Helper Suite writes, which the tests' host does not have."""
    shown = OldPage(page, host, old_workflows.musepose())
    shown.answer("Confirm")
    shown.wait_converted()
    assert shown.unknown() == ["VHS_VideoCombine", "VHS_VideoCombine"]
    nodes = {node["id"]: node["type"] for node in shown.nodes()}
    wires = {(nodes[origin], nodes[target]) for _, origin, _, target, *_ in shown.links()}
    assert {("GetVideoComponents", "ImageFromBatch"), ("MarionetteDrawPose", "ImageFromBatch"), ("MarionetteDrawPose", "VHS_VideoCombine"),
            ("ImageFromBatch", "MarionetteEncodePose"), ("ImageFromBatch", "MarionetteExtractPose")} <= wires


def test_it_is_in_the_menu(host: HostServer, page: Page, tmp_path: Path) -> None:
    shown = OldPage(page, host, old_workflows.moore())
    shown.answer("Cancel")
    page.locator(".comfy-menu-button-wrapper").click()
    page.get_by_text("Edit", exact=True).first.hover()
    page.wait_for_timeout(1000)
    shown.screenshot(tmp_path / "menu.png")
    page.get_by_text("Convert old Animate Anyone workflow").click(timeout=10_000)
    shown.wait_converted()
    assert shown.unknown() == []


def test_the_command_says_where_nothing_is_old(host: HostServer, page: Page) -> None:
    template = json.loads((Path(__file__).resolve().parents[2] / "workflows" / f"{TEMPLATE}.json").read_text(encoding="utf-8"))
    shown = OldPage(page, host, template)
    page.wait_for_timeout(2000)
    assert not shown.offer.is_visible()
    shown.command()
    page.get_by_text("has no nodes of older Animate Anyone packs").wait_for()
    assert shown.own_errors() == []
