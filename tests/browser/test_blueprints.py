"""The blueprints that the pack adds to the node library, in the host's real page: placed, connected, opened, edited, run."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import pytest
from playwright.sync_api import Page

from tests.browser.comfy_page import ComfyPage
from tests.browser.layout import check_layout
from tests.host import published
from tests.host.host_server import PACK, HostServer
from tests.host.result import Graph

FOLDER = Path(__file__).resolve().parents[2] / "subgraphs"
TEMPLATE = "demo"
FRAMES = 4
SMALL = {"width": 64, "height": 96, "frames": FRAMES, "steps": 2}
PICTURE = ("LoadImage", "IMAGE", {"image": published.PICTURE})
CHARACTER = "MarionetteDemoCharacter"

ADD = """([type, pos, widgets]) => {
    const node = LiteGraph.createNode(type);
    app.graph.add(node);
    node.pos = pos;
    for (const [name, value] of Object.entries(widgets)) {
        const widget = node.widgets.find(widget => widget.name === name);
        widget.value = value; widget.callback?.(value);
    }
    return Number(node.id);
}"""
CONNECT = """([from, output, to, input]) => {
    const [origin, target] = [from, to].map(id => app.graph.getNodeById(id));
    const slot = (slots, name) => slots.findIndex(slot => slot.name === name);
    origin.connect(slot(origin.outputs, output), target, slot(target.inputs, input));
}"""
EDIT = """([type, name, value]) => {
    const widget = app.canvas.graph.nodes.find(node => node.type === type).widgets.find(widget => widget.name === name);
    widget.value = value; widget.callback?.(value);
}"""


@dataclass(frozen=True)
class Case:
    """sources: input -> node type, its output, its widgets; one node for equal types and widgets. results: output -> node type, its input.

    reach: widgets whose value must reach these nodes. edit: a widget inside that no outer one stands for, and another value.
    """

    sources: dict[str, tuple[str, str, dict[str, Any]]]
    widgets: dict[str, Any]
    results: dict[str, tuple[str, str]]
    reach: dict[str, tuple[str, ...]]
    edit: tuple[str, str, Any]
    suffixes: set[str] = field(default_factory=lambda: {".mp4"})


ENCODERS = ("MarionetteEncodeReference", "MarionetteEncodePose")
REACH = {"width": ENCODERS, "height": ENCODERS, "frames": ("MarionetteMultiFrameSampler",)}
CASES = {
    "Animate Anyone (picture + video to clip)": Case(
        {"image": PICTURE, "video": ("LoadVideo", "VIDEO", {"file": published.DRIVER})}, SMALL | {"mode": "scale only"},
        {"video": ("SaveVideo", "video"), "fit": ("PreviewImage", "images")}, REACH | {"mode": ("MarionetteRetargetPose",)},
        ("MarionetteCleanPose", "smooth", 0.25), {".mp4", ".png"}),
    "Animate Anyone (picture + skeleton video to clip)": Case(
        {"image": PICTURE, "video": ("LoadVideo", "VIDEO", {"file": published.CLIP})}, SMALL,
        {"video": ("SaveVideo", "video")}, REACH, ("MarionetteMultiFrameSampler", "rescale", 0.5)),
    "Poses of a video, fitted to a picture": Case(
        {"image": PICTURE, "video": ("LoadVideo", "VIDEO", {"file": published.DRIVER})}, {"mode": "offset only", "person": "largest"},
        {"POSE_KEYPOINT": ("MarionetteSavePose", "pose"), "fit": ("PreviewImage", "images")},
        {"mode": ("MarionetteRetargetPose",), "person": ("MarionetteExtractPose", "MarionetteCleanPose", "MarionetteRetargetPose")},
        ("MarionetteCleanPose", "smooth", 0.25), {".png"}),
    "Built-in model (picture + motion to clip)": Case(
        {"image": (CHARACTER, "reference", {}), "image_pose": (CHARACTER, "reference_pose", {}),
         "motion": ("MarionettePoseMoves", "POSE_KEYPOINT", {"motion": "wave"})}, SMALL | {"width": 128, "height": 192},
        {"video": ("SaveVideo", "video"), "fit": ("PreviewImage", "images")}, REACH, ("MarionetteRetargetPose", "strength", 0.75),
        {".mp4", ".png"}),
}


class LibraryPage(ComfyPage):
    """The page with an empty graph and its node library open."""

    def __init__(self, page: Page, host: HostServer) -> None:
        template = host.get(f"/api/workflow_templates/{PACK}/{TEMPLATE}.json")
        super().__init__(page, host.url, TEMPLATE, len(template["nodes"]))
        page.evaluate("app.graph.clear()")
        page.keyboard.press("n")

    def place(self, name: str) -> int:
        """Finds a node by name, takes it from the library and puts it on the canvas; gives its id."""
        before = {node["id"] for node in self.nodes()}
        self.page.get_by_placeholder("Search...").first.fill(name.split(" (")[0])
        self.page.get_by_role("treeitem").filter(has_text=name).last.click()
        self.page.mouse.move(1200, 500)
        self.page.mouse.click(1200, 500)
        self.page.wait_for_function("count => app.graph.nodes.length > count", arg=len(before))
        return next(node["id"] for node in self.nodes() if node["id"] not in before)


def connected(shown: LibraryPage, name: str, case: Case) -> int:
    """Places the blueprint, sets its widgets, gives it its inputs and saves its outputs; gives its id."""
    blueprint = shown.place(name)
    title = next(node["title"] for node in shown.nodes() if node["id"] == blueprint)
    assert title == name
    shown.set(title, **case.widgets)
    made: dict[str, int] = {}
    for index, (key, (kind, output, widgets)) in enumerate(case.sources.items()):
        source = made.setdefault(f"{kind} {widgets}", 0) or shown.page.evaluate(ADD, [kind, [-900, index * 500], widgets])
        made[f"{kind} {widgets}"] = source
        shown.page.evaluate(CONNECT, [source, output, blueprint, key])
    for index, (key, (kind, entry)) in enumerate(case.results.items()):
        shown.page.evaluate(CONNECT, [blueprint, key, shown.page.evaluate(ADD, [kind, [2400, index * 500], {}]), entry])
    return blueprint


def values(prompt: Graph, kind: str, name: str) -> list[Any]:
    return [node["inputs"][name] for node in prompt.values() if node["class_type"] == kind]


def test_every_blueprint_is_tried_and_named_for_every_system() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(CASES)
    for path in FOLDER.iterdir():
        assert not set(path.name) & set('<>:"/\\|?*'), path.name
        stored = json.loads(path.read_text(encoding="utf-8"))
        assert len(stored["nodes"]) == 1 and len(stored["nodes"][0]["inputs"]) <= 12
        assert stored["extra"]["BlueprintDescription"] and len(stored["extra"]["BlueprintSearchAliases"]) >= 4
        packs = {node["properties"]["cnr_id"] for graph in stored["definitions"]["subgraphs"] for node in graph["nodes"]}
        assert packs == {"comfy-core", "marionette"}


def test_host_serves_the_blueprints(host: HostServer) -> None:
    served = {entry["name"]: key for key, entry in host.get("/global_subgraphs").items() if entry["info"]["node_pack"].endswith(PACK)}
    assert set(served) == set(CASES)
    for name, key in served.items():
        assert json.loads(host.get(f"/global_subgraphs/{key}")["data"]) == json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", CASES)
def test_blueprint_from_the_library(host: HostServer, page: Page, tmp_path: Path, name: str) -> None:
    case = CASES[name]
    shown = LibraryPage(page, host)
    blueprint = connected(shown, name, case)

    shown.enter(blueprint)
    shown.screenshot(tmp_path / "inside.png")
    check_layout(shown)
    assert all(node["known"] for node in shown.nodes())
    page.evaluate(EDIT, list(case.edit))
    shown.enter(None)

    prompt = shown.prompt()
    kind, widget, value = case.edit
    assert value in values(prompt, kind, widget)
    for outer, kinds in case.reach.items():
        for reached in kinds:
            assert case.widgets[outer] in values(prompt, reached, outer), f"{outer} of {reached}"

    prompt_id = shown.run()
    history = host.get(f"/history/{prompt_id}")[prompt_id]
    assert history["status"]["status_str"] == "success"
    saved = [entry for output in history["outputs"].values() for entry in output.get("images", [])]
    assert {Path(entry["filename"]).suffix for entry in saved} == case.suffixes
    for entry in saved:
        if entry["filename"].endswith(".mp4"):
            with av.open(str(host.output / entry["subfolder"] / entry["filename"])) as clip:
                frames = [(frame.width, frame.height) for frame in clip.decode(video=0)]
            assert frames == FRAMES * [(case.widgets["width"], case.widgets["height"])]
    page.wait_for_timeout(1500)
    shown.fit()
    shown.screenshot(tmp_path / "blueprint.png")
    assert shown.complaints() == []
    assert shown.errors == []
