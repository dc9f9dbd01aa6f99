"""Cancel, and memory of a long clip (issue: proof 5)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.host import equipment, graphs
from tests.host.conftest import TOOLS
from tests.host.host_server import HostServer

MB = 2**20
LATENTS = 8  # as many of a clip's latents live at once, of the loop, the solver and the file


@pytest.mark.parametrize("name", ["long", "ksampler"])
def test_cancel_ends_within_a_window(host: HostServer, name: str) -> None:
    graph = graphs.load(name, sampler={"steps": 300})
    if name == "ksampler":
        graphs.change(graph, animate={"windows": ["windows", 0]})
        graphs.add_windows(graph, length=12)
    prompt = host.submit(graph)
    assert isinstance(prompt, str)
    host.events.wait_for(prompt, "progress", 60)  # Encode Pose's
    while not (seen := [event for event in host.events.of(prompt) if event.kind == "progress" and event.data["node"] == "sampler"]):
        assert not host.events.finished(prompt)
        time.sleep(0.01)
    while len(seen) < 6:
        seen = [event for event in host.events.of(prompt) if event.kind == "progress" and event.data["node"] == "sampler"]
        time.sleep(0.01)
    # The host's progress bar reports at most every so often, so this is a window or more, never less.
    window = max(b.time - a.time for a, b in zip(seen[1:], seen[2:], strict=False))
    asked = time.monotonic()
    host.interrupt()
    end = host.events.wait_for(prompt, "execution_interrupted", 30)
    assert end.time - asked < window + 1.0
    assert host.wait(graph, prompt, 30).status == "interrupted"
    after = host.run(graphs.load("basic", poses={"length": 4}, sampler={"steps": 2}))
    assert after.latent().shape[0] == 4


def test_cancel_ends_encode_pose(host: HostServer) -> None:
    graph = graphs.load("basic", pose={"images": ["many", 0], "width": 512, "height": 768}, reference={"width": 512, "height": 768})
    graphs.add(graph, "many", "TestImage", kind="ramp", width=64, height=96, frames=600)
    prompt = host.submit(graph)
    assert isinstance(prompt, str)
    host.events.wait_for(prompt, "progress", 60)
    asked = time.monotonic()
    host.interrupt()
    end = host.events.wait_for(prompt, "execution_interrupted", 30)
    assert end.time - asked < 5
    host.wait(graph, prompt, 30)


@pytest.fixture
def lean_host(stock: Path, tmp_path: Path) -> Iterator[HostServer]:
    """A host that keeps no outputs and gives freed memory back at once, so that its size is what it needs."""
    equipment.link_tree(stock, tmp_path)
    lean = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
    with HostServer(tmp_path, ["--cache-none"], lean, packs=[TOOLS]) as server:
        yield server


@pytest.mark.parametrize("name", ["basic", "ksampler"])
def test_a_long_clip_needs_no_more_memory(lean_host: HostServer, name: str, measured: Callable[[str], None]) -> None:
    size = {"width": 128, "height": 192}
    graph = graphs.load(name, reference=size, pose={**size, "images": ["many", 0]}, sampler={"steps": 1})
    del graph["decode"], graph["frames"]
    graphs.add(graph, "many", "TestImage", kind="ramp", width=64, height=96, frames=24)
    graphs.add_windows(graph, length=24)
    graphs.change(graph, **{"sampler" if name == "basic" else "animate": {"windows": ["windows", 0]}})
    assert lean_host.run(graph).latent().shape[0] == 24  # the first run also loads code
    idle = lean_host.memory()
    peaks = {}
    for frames in (24, 100):
        graphs.change(graph, many={"frames": frames})
        lean_host.reset_peak_memory()
        assert lean_host.run(graph, timeout=240).latent().shape[0] == frames
        peaks[frames] = lean_host.peak_memory()
    measured(f"peak memory, {name}: 24 frames {peaks[24] / MB:.0f} MB, 100 frames {peaks[100] / MB:.0f} MB, idle {idle / MB:.0f} MB")
    assert peaks[100] < 1.1 * peaks[24]
    # The host's own size hides much; what a run adds to it may grow by the inputs and outputs of 76 more frames alone.
    assert peaks[100] - idle < 1.1 * (peaks[24] - idle) + 20 * MB


def test_a_thousand_frames_need_the_memory_of_48(lean_host: HostServer, measured: Callable[[str], None]) -> None:
    """Poses kept as pictures: what grows is the frames themselves, that is the pictures that come in, those that are kept, and latents."""
    side = 64
    size = {"width": side, "height": side}
    graph = graphs.load("basic", reference=size, pose={**size, "images": ["many", 0], "keep": "pictures"}, sampler={"steps": 1, "cfg": 1.0})
    del graph["decode"], graph["frames"]
    graphs.add(graph, "many", "TestImage", kind="ramp", width=side, height=side, frames=24)
    graphs.add_windows(graph, length=24, overlap=2)
    graphs.change(graph, sampler={"windows": ["windows", 0]})
    assert lean_host.run(graph).latent().shape[0] == 24  # the first run also loads code
    idle = lean_host.memory()
    rest = {}
    for frames in (48, 1000):
        graphs.change(graph, many={"frames": frames})
        lean_host.reset_peak_memory()
        assert lean_host.run(graph, timeout=240).latent().shape[0] == frames
        of_frames = frames * (side * side * 3 * (4 + 1) + LATENTS * 4 * 4 * (side // 8) ** 2)
        rest[frames] = lean_host.peak_memory() - idle - of_frames
    measured(f"peak memory less the idle host and the frames: 48 frames {rest[48] / MB:.1f} MB, 1000 frames {rest[1000] / MB:.1f} MB")
    assert rest[1000] < 1.1 * rest[48]
