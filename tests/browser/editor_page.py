"""Edit Pose in the host's page: graphs with it, its buttons, joints dragged by mouse and finger, what a run gave out."""

from __future__ import annotations

import json
import uuid
from typing import Any

import numpy as np
from playwright.sync_api import Page

from animate_core.pose.openpose import read_pose
from tests.browser.comfy_page import ComfyPage
from tests.host.host_server import PACK, HostServer

TEMPLATE = "demo"
MARGIN = 10  # of the picture in the canvas element, in pixels
MODULES = f"/extensions/{PACK}/pose_editor"

BUILD = """([nodes, links]) => {
    app.graph.clear();
    const made = {};
    for (const [key, type, pos, widgets] of nodes) {
        const node = LiteGraph.createNode(type);
        app.graph.add(node);
        node.pos = pos;
        made[key] = node;
        for (const [name, value] of Object.entries(widgets)) {
            const widget = node.widgets.find(widget => widget.name === name);
            widget.value = value; widget.callback?.(value);
        }
    }
    for (const [from, slot, to, name] of links)
        made[from].connect(slot, made[to], made[to].inputs.findIndex(input => input.name === name));
}"""
EDIT_NODE = "app.graph.nodes.filter(node => node.type === 'MarionetteEditPose')"


class EditorPage(ComfyPage):
    """A graph with Edit Pose and Save Pose in the page. modern: with the page's nodes drawn by DOM elements (Nodes 2.0)."""

    def __init__(self, page: Page, host: HostServer, modern: bool = False) -> None:
        super().__init__(page, host.url, TEMPLATE, self._template_nodes(host))
        self.host = host
        page.evaluate("on => app.ui.settings.setSettingValue('Comfy.VueNodes.Enabled', on)", modern)

    @staticmethod
    def _template_nodes(host: HostServer) -> int:
        return len(host.get(f"/api/workflow_templates/{PACK}/{TEMPLATE}.json")["nodes"])

    def build(self, *before: list[Any], links: list[list[Any]], **widgets: Any) -> None:
        """before: [key, type, position, widgets] of the nodes that feed `edit`; links: [from, slot, to, input]."""
        nodes = [*before, ["edit", "MarionetteEditPose", [400, 0], widgets],
                 ["save", "MarionetteSavePose", [900, 0], {"filename_prefix": "edited"}]]
        self.page.evaluate(BUILD, [nodes, [*links, ["edit", 0, "save", "pose"]]])
        self.settle()

    def settle(self) -> None:
        self.page.wait_for_selector(".mpe-canvas")
        self.page.evaluate("app.extensionManager.command.execute('Comfy.Canvas.FitView')")
        self.page.wait_for_timeout(1500)

    def load(self, workflow: dict[str, Any]) -> None:
        self.page.evaluate("workflow => app.loadGraphData(workflow)", workflow)
        self.settle()

    def workflow(self) -> dict[str, Any]:
        """As Save would write it."""
        return dict(json.loads(self.page.evaluate("JSON.stringify(app.graph.serialize())")))

    def text(self, index: int = 0) -> str:
        return str(self.page.evaluate(f"{EDIT_NODE}[{index}].widgets.find(widget => widget.name === 'edits').value"))

    def keys(self) -> list[dict[str, Any]]:
        text = self.text()
        return list(json.loads(text)["keys"]) if text else []

    def click(self, action: str) -> None:
        self.page.locator(f"[data-action={action}]").click()

    def enabled(self, action: str) -> bool:
        return self.page.locator(f"[data-action={action}]").is_enabled()

    def words(self, part: str) -> str:
        return self.page.locator(f".mpe-{part}").inner_text()

    def go_to(self, frame: int) -> None:
        self.page.locator(".mpe-slider").fill(str(frame))

    def on_screen(self, x: float, y: float, width: int, height: int, index: int = 0) -> tuple[float, float]:
        """Where a pixel of the pose's canvas lies on the page, at zoom 100%."""
        canvas = self.page.locator(".mpe-canvas").nth(index)
        box = canvas.bounding_box()
        assert box is not None
        w, h = canvas.evaluate("canvas => [canvas.clientWidth, canvas.clientHeight]")
        scale = min((w - 2 * MARGIN) / width, (h - 2 * MARGIN) / height)
        return (box["x"] + box["width"] * (0.5 + (x - width / 2) * scale / w),
                box["y"] + box["height"] * (0.5 + (y - height / 2) * scale / h))

    def colour(self, x: float, y: float, width: int, height: int) -> list[int]:
        """RGB that the editor's canvas shows at a pixel of the pose's canvas, at zoom 100%."""
        px, py = self.on_screen(x, y, width, height)
        return list(self.page.evaluate("""([x, y]) => {
            const canvas = document.querySelector('.mpe-canvas'), box = canvas.getBoundingClientRect();
            const at = [(x - box.left) / box.width * canvas.width, (y - box.top) / box.height * canvas.height];
            return [...canvas.getContext('2d').getImageData(...at, 1, 1).data].slice(0, 3);
        }""", [px, py]))

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """With the mouse, in pixels of the page."""
        self.page.mouse.move(*start)
        self.page.mouse.down()
        self.page.mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        self.page.mouse.move(*end, steps=3)
        self.page.mouse.up()

    def given_out(self) -> np.ndarray:
        """Runs; `[F, 134, 3]` of what Save Pose wrote."""
        name = uuid.uuid4().hex  # or the host answers from its cache
        self.set("MarionetteSavePose", filename_prefix=name)
        self.run()
        [file] = self.host.output.glob(f"{name}_*.json")
        self.page.wait_for_timeout(800)  # the editor looks for news in its own time
        return read_pose(json.loads(file.read_text())).person(0)
