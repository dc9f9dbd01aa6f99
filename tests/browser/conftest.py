"""A host whose folders hold small files under the published names, and Chromium to open its page with."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.host import equipment, published
from tests.host.host_server import HostServer, host_path

CLIP_FRAMES = 28
VIEW = {"width": 2300, "height": 1150}


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostServer]:
    base = tmp_path_factory.mktemp("published")
    published.write_published(base / "models")
    published.write_families(base / "models")
    (base / "input").mkdir()
    # ComfyUI comes with it, and the template my_drawing names it
    shutil.copyfile(host_path() / "input" / "example.png", base / "input" / "example.png")
    published.write_people(base / "models" / "animate_anyone", base / "input", CLIP_FRAMES)
    equipment.draw_dance(base / "input" / published.CLIP, CLIP_FRAMES)
    for name in published.GUIDANCE_CLIPS:
        equipment.draw_dance(base / "input" / name, CLIP_FRAMES, 256, 256)
    with HostServer(base) as server:
        yield server


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    names = [os.environ.get("CHROMIUM_PATH") or "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
    program = next((path for path in map(shutil.which, names) if path), None)
    if program is None:
        pytest.fail("no Chromium: run `python dev.py test`, or install one and set CHROMIUM_PATH to its program", pytrace=False)
    with sync_playwright() as playwright:
        # a container's root has no namespaces for Chromium's sandbox; the only page that it opens is ours
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    opened = browser.new_page(viewport=VIEW)
    opened.set_default_timeout(60_000)
    yield opened
    opened.close()
