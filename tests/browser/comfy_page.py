"""The host's page in Chromium: opening a template of the pack, looking at its graph, running it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import ConsoleMessage, Page

from tests.host.host_server import PACK
from tests.host.result import Graph

READY = """n => window.app?.graph?.nodes?.length === n && window.LiteGraph
           && Object.keys(LiteGraph.registered_node_types).some(type => type.startsWith('Marionette'))"""

NODES = """() => app.graph.nodes.map(node => ({
    id: Number(node.id), type: node.type, title: node.title, known: node.type in LiteGraph.registered_node_types,
    box: [...node.boundingRect], drawn: app.canvas.visible_nodes.includes(node),
    widgets: (node.widgets ?? []).filter(w => w.type !== 'button').map(w => ({
        name: w.name, value: w.value, min: w.options?.min, max: w.options?.max,
        choices: w.type !== 'combo' ? null : typeof w.options.values === 'function' ? w.options.values() : w.options.values,
    })),
}))"""

LINKS = """() => [...app.graph.links.values()].map(link =>
    [...[link.id, link.origin_id, link.origin_slot, link.target_id, link.target_slot].map(Number), link.type])"""

RUN = """() => new Promise((resolve, reject) => {
    app.api.addEventListener('execution_success', event => resolve(event.detail.prompt_id));
    for (const kind of ['execution_error', 'execution_interrupted'])
        app.api.addEventListener(kind, event => reject(new Error(JSON.stringify(event.detail))));
    app.queuePrompt(0).then(queued => queued || reject(new Error('the page did not queue the graph')));
})"""


class ComfyPage:
    """One template of this pack, opened as the page's template browser opens it.

    errors: what the page's console reported as an error and can be ours.
    """

    def __init__(self, page: Page, url: str, template: str, nodes: int) -> None:
        self.page = page
        self.errors: list[str] = []
        self._starting = True
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(f"{url}/?template={template}&source={PACK}")
        page.wait_for_function(READY, arg=nodes)
        self._starting = False
        # the video's preview stretches its node when it has loaded
        page.wait_for_timeout(2500)
        # small as the graph is on the screen, the screenshots are to be read
        page.evaluate("app.ui.settings.setSettingValue('LiteGraph.Canvas.MinFontSizeForLOD', 0)")
        page.evaluate("app.extensionManager.command.execute('Comfy.Canvas.FitView')")
        page.wait_for_timeout(1000)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type != "error":
            return
        text = f"{message.text} {message.location.get('url', '')}"
        # While it starts, the page asks for a dozen optional files of its own that a fresh host does not have.
        if not self._starting or "marionette" in text.lower():
            self.errors.append(text)

    def nodes(self) -> list[dict[str, Any]]:
        return list(self.page.evaluate(NODES))

    def links(self) -> list[list[Any]]:
        """As in the workflow's file: id, origin and its slot, target and its slot, type."""
        return list(self.page.evaluate(LINKS))

    def prompt(self) -> Graph:
        """The API graph that Run would send."""
        return dict(self.page.evaluate("async () => (await app.graphToPrompt()).output"))

    def set(self, node_type: str, **values: Any) -> None:
        """Sets widgets of the only node of a type."""
        self.page.evaluate(
            """([type, values]) => {
                const node = app.graph.nodes.find(node => node.type === type);
                for (const [name, value] of Object.entries(values)) {
                    const widget = node.widgets.find(widget => widget.name === name);
                    widget.value = value; widget.callback?.(value);
                }
            }""", [node_type, values])

    def run(self) -> str:
        """Presses Run and waits for the end; gives the prompt's id. Raises playwright's Error with the host's words."""
        return str(self.page.evaluate(RUN))

    def complaints(self) -> list[str]:
        """The texts of error panels and dialogs on the page: missing nodes, models and media, refused graphs."""
        return [text for text in self.page.locator("[role=alert], [role=dialog], [data-testid*=error]").all_inner_texts() if text.strip()]

    def screenshot(self, path: Path) -> None:
        self.page.screenshot(path=path)
