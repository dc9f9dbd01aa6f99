"""A host whose folders hold small files under the published names, and Chromium to open its page with."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from tests.core import onnx_models
from tests.host import equipment, published
from tests.host.host_server import HostServer

CLIP_FRAMES = 28
DRIVER = "driver.mp4"
VIEW = {"width": 2300, "height": 1150}


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostServer]:
    base = tmp_path_factory.mktemp("published")
    published.write_published(base / "models")
    (base / "input").mkdir()
    write_people(base / "models" / "animate_anyone", base / "input")
    equipment.draw_dance(base / "input" / published.CLIP, CLIP_FRAMES)
    with HostServer(base) as server:
        yield server


def write_people(models: Path, inputs: Path) -> None:
    """Pose models under the published names that see coloured people alone, a picture of one, and a video of one who walks."""
    onnx_models.write_detector(models / "yolox_l.onnx", batch=1)
    onnx_models.write_pose_model(models / "dw-ll_ucoco_384.onnx")
    frames = []
    for x in range(30, 30 + 6 * CLIP_FRAMES, 6):
        frame = np.full((320, 320, 3), 40, np.uint8)
        onnx_models.draw_person(frame, (x, 60, x + 80, 260), np.array([[x + 20, 90], [x + 55, 120], [x + 30, 230]]), (255, 0, 0))
        frames.append(frame)
    Image.fromarray(frames[0]).save(inputs / published.PICTURE)
    with av.open(str(inputs / DRIVER), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 320, 320, "yuv444p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


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
