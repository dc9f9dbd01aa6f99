"""The host's page in Chromium: opening a template of the pack, looking at its graph, running it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import ConsoleMessage, Page

from tests.host.host_server import PACK
from tests.host.result import Graph

READY = """n => window.app?.graph?.nodes?.length === n && window.LiteGraph
           && Object.keys(LiteGraph.registered_node_types).some(type => type.startsWith('Marionette'))"""

NODES = """() => app.canvas.graph.nodes.map(node => ({
    id: Number(node.id), type: node.type, title: node.title, known: node.type in LiteGraph.registered_node_types,
    subgraph: node.isSubgraphNode?.() ?? false,
    box: [...node.boundingRect], drawn: app.canvas.visible_nodes.includes(node),
    widgets: (node.widgets ?? []).filter(w => w.type !== 'button').map(w => ({
        name: w.name, value: w.value, min: w.options?.min, max: w.options?.max,
        choices: w.type !== 'combo' ? null : typeof w.options.values === 'function' ? w.options.values() : w.options.values,
    })),
}))"""

LINKS = """() => [...app.canvas.graph.links.values()].map(link =>
    [...[link.id, link.origin_id, link.origin_slot, link.target_id, link.target_slot].map(Number), link.type])"""

# Titles of nodes that a wire runs over, with the wire's ends. A wire that crosses a node crosses the rectangle inside of its edge.
CROSSED = """() => {
    const graph = app.canvas.graph, pen = document.createElement('canvas').getContext('2d'), inside = 8, step = 4;
    const title = id => graph.getNodeById(id)?.title ?? id;
    pen.lineWidth = step;
    const edge = ([x, y, w, h]) => [...Array(Math.ceil(Math.max(w, h) / step) + 1).keys()].flatMap((index, _, all) => {
        const share = index / (all.length - 1);
        const across = x + inside + share * (w - 2 * inside), down = y + inside + share * (h - 2 * inside);
        return [[across, y + inside], [across, y + h - inside], [x + inside, down], [x + w - inside, down]];
    });
    return [...graph.links.values(), ...graph.reroutes.values()].flatMap(wire => {
        const link = graph.getLink(wire.linkIds ? [...wire.linkIds][0] : wire.id), ends = [link.origin_id, link.target_id].map(String);
        return graph.nodes.filter(node => !ends.includes(String(node.id)))
            .filter(node => edge(node.boundingRect).some(([x, y]) => pen.isPointInStroke(wire.path, x, y)))
            .map(node => `${title(link.origin_id)} -> ${title(link.target_id)} over ${node.title}`);
    });
}"""

GROUPS = "() => app.canvas.graph.groups.map(group => ({title: group.title, box: [...group.boundingRect ?? group._bounding]}))"

STATE = """() => {
    const {nodes, links, groups, definitions} = app.graph.serialize();
    const node = ({id, type, title, pos, size, mode, inputs, outputs, properties, widgets_values}) => (
        {id, type, title, pos: [...pos].map(Math.round), mode, widgets_values,
         inputs: (inputs ?? []).map(({name, link}) => [name, link]), outputs: (outputs ?? []).map(({name, links}) => [name, links ?? []])});
    const graphs = (definitions?.subgraphs ?? []).map(({id, name, nodes, links}) => ({id, name, nodes: nodes.map(node), links}));
    nodes.sort((a, b) => a.id - b.id);
    return JSON.parse(JSON.stringify({nodes: nodes.map(node), links, groups: groups.map(group => group.title), graphs}));
}"""

DROP = """async ([url, name]) => {
    const blob = await (await fetch(url)).blob(), carried = new DataTransfer();
    carried.items.add(new File([blob], name, {type: blob.type}));
    document.querySelector('#graph-canvas').dispatchEvent(
        new DragEvent('drop', {dataTransfer: carried, bubbles: true, cancelable: true, clientX: 1200, clientY: 900}));
}"""

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
        self.fit()

    def _console(self, message: ConsoleMessage) -> None:
        if message.type != "error":
            return
        text = f"{message.text} {message.location.get('url', '')}"
        if "missingModelMetadata" in text:  # the page asks the hub how large the models of its own first graph are; the host forbids it
            return
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

    def crossings(self) -> list[str]:
        """Wires of the graph in view that run over nodes which are not theirs."""
        return list(self.page.evaluate(CROSSED))

    def groups(self) -> list[dict[str, Any]]:
        """Title and box of each."""
        return list(self.page.evaluate(GROUPS))

    def state(self) -> dict[str, Any]:
        """All that makes the graph: nodes with their values and places, links, subgraphs."""
        return dict(self.page.evaluate(STATE))

    def drop(self, entry: dict[str, str]) -> None:
        """Drops a result, as the host's history names it, on the page's empty canvas."""
        self.page.evaluate("app.graph.clear()")
        self.page.evaluate(DROP, [f"/api/view?{urlencode(entry)}", entry["filename"]])
        self.page.wait_for_function("app.graph.nodes.length > 0")
        self.page.wait_for_timeout(1000)

    def enter(self, node: int | None) -> None:
        """Opens the subgraph of a node, or comes back to the whole graph with None."""
        self.page.evaluate("""id => {
            const node = id === null ? null : app.graph.getNodeById(id);
            node ? app.canvas.openSubgraph(node.subgraph, node) : app.canvas.setGraph(app.graph);
        }""", node)
        self.page.wait_for_timeout(500)
        self.fit()

    def fit(self) -> None:
        self.page.evaluate("app.extensionManager.command.execute('Comfy.Canvas.FitView')")
        self.page.wait_for_timeout(1000)

    def set(self, node: str, **values: Any) -> None:
        """Sets widgets of the only node of a type, or of a title."""
        self.page.evaluate(
            """([name, values]) => {
                const node = app.graph.nodes.find(node => [node.type, node.title].includes(name));
                for (const [name, value] of Object.entries(values)) {
                    const widget = node.widgets.find(widget => widget.name === name);
                    widget.value = value; widget.callback?.(value);
                }
            }""", [node, values])

    def run(self) -> str:
        """Presses Run and waits for the end; gives the prompt's id. Raises playwright's Error with the host's words."""
        return str(self.page.evaluate(RUN))

    def complaints(self) -> list[str]:
        """The texts of error panels and dialogs on the page: missing nodes, models and media, refused graphs."""
        return [text for text in self.page.locator("[role=alert], [role=dialog], [data-testid*=error]").all_inner_texts() if text.strip()]

    def screenshot(self, path: Path) -> None:
        self.page.screenshot(path=path)
