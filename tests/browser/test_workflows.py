"""The workflows that the pack ships, in the host's real page."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from animate_core.guiders import GUIDANCE_TYPES
from tests.browser.comfy_page import ComfyPage
from tests.browser.conftest import VIEW
from tests.browser.layout import check_layout, filled
from tests.host import graphs, published
from tests.host.host_server import PACK, HostServer
from tests.host.result import Graph
from tools.thumbnails import THUMBNAILS

FOLDER = Path(__file__).resolve().parents[2] / "workflows"
# workflow -> its API-format twin in tests/host/graphs
TWINS = {"basic": "basic", "demo": "demo", "ksampler": "ksampler", "long_clip": "long", "retarget": "retarget", "video": "video",
         "my_drawing": "my_drawing", "new_background": "new_background", "video_background": "video_background",
         "locked_background": "locked_background", "repose": "repose", "pieces": "pieces", "champ": "champ", "aniportrait": "aniportrait",
         "face_reenactment": "face_reenactment"}
# run at the first click, with no files to get
BUILT_IN = ("demo", "retarget", "my_drawing", "new_background", "video_background", "locked_background", "repose", "pieces")
LOADERS = ("MarionetteLoad", "VAELoader", "CLIPVisionLoader")
CUTS = ("Video Slice", "ImageFromBatch")  # the tests' clips are short
SAVES = ("SaveImage", "SaveLatent", "CreateVideo", "SaveVideo")
SMALL: dict[str, dict[str, Any]] = {
    "MarionetteEncodeReference": {"width": 64, "height": 96},
    "MarionetteEncodePose": {"width": 64, "height": 96},
    "Encode four guidance videos": {"width": 64, "height": 96},
}
# what each note names beside the files that all need
MOORE = ("models/animate_anyone/Moore/", "patrolli/AnimateAnyone", "motion_module.pth", "pose_guider.pth", "non-commercial")
NAMED = {
    "champ": ("models/animate_anyone/Champ/", "fudan-generative-ai/champ", "motion_module.pth", *(f"guidance_encoder_{kind}.pth" for kind in
                                                                                                  GUIDANCE_TYPES)),
    "aniportrait": ("models/animate_anyone/AniPortrait/", "ZJYang/AniPortrait", "motion_module.pth", "pose_guider.pth", "models/detection/",
                    "Comfy-Org/mediapipe", published.FACE_LANDMARKER),
    "face_reenactment": ("models/animate_anyone/Moore-face/", "Baidu", "pose_guider1.pth", "pose_guider2.pth", "yolox_l.onnx"),
}
THUMBNAIL_BYTES = 400_000
MOST_NODES = 13  # more go into a subgraph


def stored(name: str) -> dict[str, Any]:
    return dict(json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")))


def all_nodes(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    """Those in its subgraphs too."""
    inside = (graph["nodes"] for graph in workflow.get("definitions", {}).get("subgraphs", []))
    return [*workflow["nodes"], *itertools.chain.from_iterable(inside)]


def opened(page: Page, host: HostServer, name: str) -> ComfyPage:
    return ComfyPage(page, host.url, name, len(stored(name)["nodes"]))


def wiring(graph: Graph, outputs: dict[str, list[str]]) -> set[tuple[str, str, str, str]]:
    """(class, output type, class, input) of each link, whichever loaders, cuts and ways of saving the graph uses."""

    def source(node: str, slot: int) -> tuple[str, str]:
        about = graph[node]
        kind = about["class_type"]
        if kind in CUTS:
            return source(*next(value for value in about["inputs"].values() if isinstance(value, list)))
        return "a loader" if kind.startswith(LOADERS) else kind, outputs[kind][slot]

    return {
        (*source(*value), about["class_type"], key)
        for about in graph.values() if about["class_type"] not in (*CUTS, *SAVES) and not about["class_type"].startswith(LOADERS)
        for key, value in about["inputs"].items() if isinstance(value, list)
    }


def test_every_workflow_has_a_twin_and_a_thumbnail() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(TWINS) == {path.stem for path in FOLDER.glob("*.jpg")} == set(THUMBNAILS)


@pytest.mark.parametrize("name", TWINS)
def test_template_is_listed_and_served(host: HostServer, name: str) -> None:
    assert name in host.get("/api/workflow_templates")[PACK]
    assert host.get(f"/api/workflow_templates/{PACK}/{name}.json") == stored(name)
    assert len(stored(name)["nodes"]) <= MOST_NODES
    packs = {node["properties"]["cnr_id"] for node in all_nodes(stored(name)) if node["type"] != "MarkdownNote"}
    assert packs == {"comfy-core", "marionette"}


@pytest.mark.parametrize("name", TWINS)
def test_thumbnail_moves(host: HostServer, name: str) -> None:
    """An animated WebP by the one name that the page asks for."""
    path = FOLDER / f"{name}.jpg"
    assert path.stat().st_size < THUMBNAIL_BYTES
    with Image.open(path) as picture:
        assert picture.format == "WEBP" and picture.n_frames >= 12 and picture.info["loop"] == 0
        assert picture.width == picture.height


def test_template_browser_plays_the_thumbnails(host: HostServer, page: Page, tmp_path: Path) -> None:
    opened(page, host, "basic")
    page.evaluate("app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    dialog = page.get_by_role("dialog")
    dialog.get_by_text(PACK).first.click()
    card = dialog.locator("img[alt='demo']")
    card.scroll_into_view_if_needed()
    page.wait_for_function("image => image.naturalWidth > 0", arg=card.element_handle())
    seen = set()
    for _ in range(8):
        seen.add(card.screenshot(path=tmp_path / "card.png", animations="allow"))
        page.wait_for_timeout(150)
    page.screenshot(path=tmp_path / "templates.png")
    assert len(seen) >= 3


@pytest.mark.parametrize("name", [name for name in TWINS if name not in BUILT_IN])
def test_note_names_every_file(name: str) -> None:
    workflow = stored(name)
    note = next(node for node in workflow["nodes"] if node["type"] == "MarkdownNote")["widgets_values"][0]
    for word in ("models/clip_vision/", "models/vae/", "denoising_unet.pth", "reference_unet.pth", "pytorch_model.bin", "Apache-2.0",
                 *NAMED.get(name, MOORE)):
        assert word in note, word
    # the page offers to download what a widget names and the folder lacks
    models = 0
    for node in all_nodes(workflow):
        for model in node["properties"].get("models", []):
            models += 1
            assert model["name"] in node["widgets_values"], node["type"]
            assert model["url"].startswith("https://huggingface.co/") and model["name"].split("/")[-1] == model["url"].split("/")[-1]
    assert models == sum(value.endswith((".pth", ".bin", ".onnx", ".safetensors")) for node in all_nodes(workflow)
                         for value in node.get("widgets_values") or [] if isinstance(value, str) and node["type"] != "MarkdownNote")


@pytest.mark.parametrize("name", ["video", "champ", "aniportrait"])
def test_page_offers_the_files_that_lack(host: HostServer, page: Page, tmp_path: Path, name: str) -> None:
    """Those inside subgraphs too; the page has download buttons for the formats that it trusts."""
    workflow, lacking = stored(name), set()
    for node in all_nodes(workflow):
        for model in node["properties"].get("models", []):
            present, model["name"] = model["name"], f"absent_{model['name']}"
            node["widgets_values"] = [model["name"] if value == present else value for value in node["widgets_values"]]
            lacking.add(model["name"])
    opened(page, host, "demo")
    page.evaluate("workflow => app.loadGraphData(workflow)", workflow)
    page.get_by_text("View details").first.click()
    for file in lacking:
        expect(page.get_by_text(file, exact=True).first).to_be_attached()
    page.screenshot(path=tmp_path / f"{name}.png")
    assert page.get_by_text("Download", exact=True).count() == sum(file.endswith((".pth", ".safetensors")) for file in lacking)


@pytest.mark.parametrize("name", TWINS)
def test_workflow_in_the_page(host: HostServer, page: Page, tmp_path: Path, name: str) -> None:
    workflow = stored(name)
    shown = opened(page, host, name)
    shown.screenshot(tmp_path / f"{name}.png")
    nodes = shown.nodes()
    assert {node["id"]: node["type"] for node in nodes} == {node["id"]: node["type"] for node in workflow["nodes"]}
    for node in nodes:
        assert (node["known"] or node["subgraph"]) and node["drawn"], node["type"]
        for widget in node["widgets"]:
            where = f"{node['type']}.{widget['name']}: {widget['value']}"
            assert widget["choices"] is None or widget["value"] in widget["choices"], where
            if isinstance(widget["value"], int | float) and widget["min"] is not None:
                assert widget["min"] <= widget["value"] <= widget["max"], where
    assert sorted(shown.links()) == sorted(workflow["links"])
    check_layout(shown)
    assert shown.crossings() == []
    for group in shown.groups():
        assert filled(group, nodes) > 0.5, f"the group {group['title']} is mostly empty"
    for node in nodes:
        if node["subgraph"]:
            shown.enter(node["id"])
            check_layout(shown)
            shown.enter(None)
    assert shown.complaints() == []
    assert shown.errors == []

    outputs = {node: info["output"] for node, info in host.object_info().items()}
    twin = wiring(graphs.load(TWINS[name]), outputs)
    assert wiring(shown.prompt(), outputs) == twin


def finished(host: HostServer, shown: ComfyPage) -> list[dict[str, str]]:
    """Runs the graph; gives the files that it saved, previews included."""
    prompt_id = shown.run()
    history = host.get(f"/history/{prompt_id}")[prompt_id]
    assert history["status"]["status_str"] == "success"
    return [entry for output in history["outputs"].values() for entry in output.get("images", [])]


def check_restored(shown: ComfyPage, saved: list[dict[str, str]], graph: dict[str, Any], prompt: Graph) -> None:
    """A file of each kind, dropped on the emptied page, brings back the graph that made it."""
    assert saved
    for entry in {Path(entry["filename"]).suffix: entry for entry in saved}.values():
        shown.drop(entry)
        assert shown.state() == graph, entry["filename"]
        assert shown.prompt() == prompt, entry["filename"]


@pytest.mark.parametrize("name, changes", [
    ("basic", {"MarionetteMultiFrameSampler": {"steps": 2, "frames": 4}}),
    ("ksampler", {"MarionetteAnimateConditioning": {"frames": 4}, "KSampler": {"steps": 2}}),
    ("long_clip", {"MarionetteMultiFrameSampler": {"steps": 2}, "MarionetteWindows": {"length": 12}}),
    ("video", {"MarionetteMultiFrameSampler": {"steps": 2, "frames": 4}}),
    ("champ", {"MarionetteMultiFrameSampler": {"steps": 2, "frames": 4}}),
    ("aniportrait", {"MarionetteMultiFrameSampler": {"steps": 2, "frames": 18}}),
    ("face_reenactment", {"MarionetteMultiFrameSampler": {"steps": 2, "frames": 4}}),
])
def test_run_in_the_page(host: HostServer, page: Page, tmp_path: Path, name: str, changes: dict[str, dict[str, Any]]) -> None:
    shown = opened(page, host, name)
    there = {name for node in shown.nodes() for name in (node["type"], node["title"])}
    for node, values in {**{node: size for node, size in SMALL.items() if node in there}, **changes}.items():
        shown.set(node, **values)
    graph, prompt = shown.state(), shown.prompt()
    saved = finished(host, shown)
    assert [Path(entry["filename"]).suffix for entry in saved if entry["type"] == "output"] == [".mp4"]
    page.wait_for_timeout(1500)
    shown.screenshot(tmp_path / f"{name}.png")
    assert shown.complaints() == []
    check_restored(shown, saved, graph, prompt)
    assert shown.errors == []


def settings(graph: Graph) -> list[tuple[str, list[tuple[str, Any]]]]:
    return sorted((about["class_type"], sorted((k, v) for k, v in about["inputs"].items() if not isinstance(v, list)))
                  for about in graph.values() if about["class_type"] not in SAVES)


def test_retarget_runs_at_the_first_click(host: HostServer, page: Page, tmp_path: Path) -> None:
    shown = opened(page, host, "retarget")
    graph, prompt = shown.state(), shown.prompt()
    assert settings(prompt) == settings(graphs.load("retarget"))
    saved = finished(host, shown)
    assert [entry["filename"] for entry in saved if entry["type"] == "output"] == ["Marionette_retarget_00001_.mp4"]
    assert len([entry for entry in saved if entry["type"] == "temp"]) == 8, "the overlay's frames"
    page.wait_for_timeout(1500)
    shown.screenshot(tmp_path / "retarget.png")
    assert shown.complaints() == []
    check_restored(shown, saved, graph, prompt)
    assert shown.errors == []


@pytest.mark.parametrize(("name", "saved"), [("repose", "Marionette_repose_00001_.png"), ("pieces", "Marionette_pieces_00001_.mp4")])
def test_others_run_at_the_first_click(host: HostServer, page: Page, tmp_path: Path, name: str, saved: str) -> None:
    shown = opened(page, host, name)
    graph, prompt = shown.state(), shown.prompt()
    assert settings(prompt) == settings(graphs.load(name))
    files = finished(host, shown)
    assert [entry["filename"] for entry in files if entry["type"] == "output"] == [saved]
    page.wait_for_timeout(1500)
    shown.screenshot(tmp_path / f"{name}.png")
    assert shown.complaints() == []
    check_restored(shown, files, graph, prompt)
    assert shown.errors == []


def test_my_drawing_runs_at_the_first_click(host: HostServer, page: Page, tmp_path: Path) -> None:
    """The sample drawing; and one's own, when Load Image is bypassed no more."""
    shown = opened(page, host, "my_drawing")
    assert settings(shown.prompt()) == settings(graphs.load("my_drawing"))
    history = host.get(f"/history/{(prompt_id := shown.run())}")[prompt_id]
    assert history["status"]["status_str"] == "success"
    saved = [entry for output in history["outputs"].values() for entry in output.get("images", [])]
    assert sorted(entry["filename"] for entry in saved if entry["type"] == "output") == ["Marionette_drawing_00001_.mp4",
                                                                                         "Marionette_drawing_00001_.webp"]
    page.wait_for_timeout(1500)
    shown.screenshot(tmp_path / "my_drawing.png")
    assert shown.complaints() == []
    assert shown.errors == []
    page.evaluate("app.graph.nodes.find(node => node.type === 'LoadImage').mode = 0")
    prompt = shown.prompt()
    fit = next(about for about in prompt.values() if about["class_type"] == "MarionetteFitDrawing")
    assert prompt[fit["inputs"]["image"][0]]["class_type"] == "LoadImage" and fit["inputs"]["mask"][1] == 1


def test_demo_runs_at_the_first_click(host: HostServer, page: Page, tmp_path: Path) -> None:
    """With nothing chosen, and with the very settings that `python dev.py demo` runs."""
    shown = opened(page, host, "demo")
    graph, prompt = shown.state(), shown.prompt()
    assert settings(prompt) == settings(graphs.load("demo"))
    saved = finished(host, shown)
    assert sorted(entry["filename"] for entry in saved) == ["Marionette_demo_00001_.webp", "Marionette_demo_beside_00001_.mp4"]
    page.wait_for_timeout(1500)
    shown.screenshot(tmp_path / "demo.png")
    # the page leaves an animated picture as large as itself if nothing is drawn after it: a video has to come last
    widths = page.evaluate("[...document.querySelectorAll('.dom-widget img, .dom-widget video')].map(x => x.getBoundingClientRect().width)")
    assert len(widths) == 2 and max(widths) < VIEW["width"] / 3
    assert shown.complaints() == []
    check_restored(shown, saved, graph, prompt)
    assert shown.errors == []


def test_page_knows_what_our_nodes_say(host: HostServer, page: Page) -> None:
    opened(page, host, "basic")
    known = page.evaluate("""() => Object.entries(LiteGraph.registered_node_types).filter(([type]) => type.startsWith('Marionette')).map(
        ([type, node]) => [type, node.nodeData])""")
    assert len(known) >= 20
    for node, data in known:
        assert data["description"] and data["search_aliases"], node
        assert data["category"].startswith("Marionette/"), node
        for slot in (*data["inputs"].values(), *data["outputs"]):
            assert slot["tooltip"] or slot["name"] == "control_after_generate", f"{node}: {slot['name']}"


def test_help_pages_belong_to_nodes_and_are_served(host: HostServer, page: Page) -> None:
    nodes = host.object_info()
    pages = sorted((FOLDER.parent / "web" / "docs").glob("*.md"))
    assert len(pages) >= 8
    for path in pages:
        assert path.stem in nodes, f"{path.name} is no node's"
        served = page.request.get(f"{host.url}/extensions/{PACK}/docs/{path.name}")
        assert served.ok and served.text() == path.read_text(encoding="utf-8"), path.name


def test_the_published_pack_holds_what_it_needs() -> None:
    """.comfyignore leaves out what only developers need; its patterns name places from the root, so that web/docs stays."""
    patterns = (FOLDER.parent / ".comfyignore").read_text(encoding="utf-8").split()
    assert patterns and all(pattern.startswith("/") for pattern in patterns)
    assert all((FOLDER.parent / pattern.strip("/")).exists() for pattern in patterns)
