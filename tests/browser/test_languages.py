"""The page in other languages: nodes, inputs and tooltips of the pack are translated, and so is the help."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.comfy_page import ComfyPage
from tests.host.host_server import HostServer

ROOT = Path(__file__).resolve().parents[2]
SHOWN = """() => {
    const node = app.graph.nodes.find(node => node.type === 'MarionetteMultiFrameSampler');
    return {title: node.title, labels: (node.widgets ?? []).map(w => w.label ?? w.name),
            inputs: node.inputs.map(i => i.localized_name ?? i.name)};
}"""


@pytest.mark.parametrize("language", ["zh", "ja", "fr"])
def test_a_template_in_another_language(host: HostServer, page: Page, tmp_path: Path, language: str) -> None:
    host.post("/settings/Comfy.Locale", language)
    try:
        opened = ComfyPage(page, host.url, "demo", len(json.loads((ROOT / "workflows" / "demo.json").read_text("utf-8"))["nodes"]))
        opened.screenshot(tmp_path / f"{language}.png")
        shown = page.evaluate(SHOWN)
        texts = json.loads((ROOT / "locales" / language / "nodeDefs.json").read_text("utf-8"))["MarionetteMultiFrameSampler"]
        labels = [*shown["labels"], *shown["inputs"]]
        for name in ("steps", "model"):
            assert texts["inputs"][name]["name"] in labels, (name, labels)
        assert not opened.errors
    finally:
        host.post("/settings/Comfy.Locale", "en")
