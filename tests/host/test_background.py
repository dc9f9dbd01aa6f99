"""Backgrounds in the real host: the templates' graphs, what the nodes give out, clear refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from animate_core.demo.character import HELD_OUT_SEED
from animate_core.demo.clip import demo_clip
from animate_core.demo.scenery import draw_background
from animate_core.video.clip import lock_background
from tests.host import graphs
from tests.host.host_server import HostServer
from tests.host.result import Graph
from tests.host.test_bad_input import refused

TEMPLATES = {"new_background": "composite", "video_background": "composite", "locked_background": "lock"}

PLAIN = HELD_OUT_SEED + 9  # a plain person: flat shapes without grain


@pytest.mark.parametrize(("name", "last"), TEMPLATES.items())
def test_the_templates_graphs_run(host: HostServer, name: str, last: str) -> None:
    """With few steps; the locked background is the filled one wherever the person is not."""
    graph = graphs.load(name, sampler={"steps": 2})
    graphs.add(graph, "mask_picture", "MaskToImage", mask=[last, 1])
    graphs.add(graph, "behind_saved", "SaveImage", images=["isolate", 2], filename_prefix="behind")
    for node, source in (("frames", last), ("masks", "mask_picture")):
        graphs.add(graph, node, "SaveImage", images=[source, 0], filename_prefix=node)
    result = host.run(graph)
    frames, masks = result.images("frames").astype(int), result.images("masks")[..., 0]
    assert frames.shape == (16, 288, 192, 3) and masks.shape == frames.shape[:3]
    assert 0.05 < (masks > 127).mean() < 0.6, "there is a figure, and more than a figure"
    if name == "locked_background":
        behind = np.broadcast_to(result.images("behind_saved")[0], frames.shape)
        assert (masks == 0).mean() > 0.3 and np.abs(frames - behind)[masks == 0].max() <= 1


def lock_graph(**inputs: Any) -> Graph:
    """Drawn frames over another character's background, with their masks."""
    graph: Graph = {}
    graphs.add(graph, "character", "MarionetteDemoCharacter", seed=PLAIN, motion="walk", frames=3, width=128, height=192, period=16)
    graphs.add(graph, "empty", "EmptyImage", width=128, height=192, batch_size=1, color=0x3060C0)
    graphs.add(graph, "lock", "MarionetteBackgroundLock", images=["character", 3], background=["empty", 0], masks=["character", 4],
               grow=2.0, feather=2.0)
    graphs.change(graph, lock=inputs)
    return graphs.add(graph, "frames", "SaveImage", images=["lock", 0], filename_prefix="frames")


def test_a_lock_is_the_librarys(host: HostServer) -> None:
    clip = demo_clip(PLAIN, "walk", 3, width=128, height=192)
    frames, masks = (torch.from_numpy(x.copy()).float() / 255 for x in (clip.frames, clip.masks))
    colour = (torch.tensor([0x30, 0x60, 0xC0]) / 255).expand(1, 192, 128, 3)
    library, _ = lock_background(frames, colour, 2 * 1.92, 2 * 1.92, masks)
    assert np.abs(host.run(lock_graph()).images("frames") - 255 * library.numpy()).max() <= 1


def test_a_composite_of_drawn_frames(host: HostServer) -> None:
    """Over the background of another character, by masks: the drawn truth, within 35 dB; paths as text move it."""
    graph = lock_graph()
    graphs.add(graph, "frames", "SaveImage", images=["composite", 0], filename_prefix="frames")
    graphs.add(graph, "composite", "MarionetteCompositeOverBackground", images=["character", 3], background=["empty", 0],
               masks=["character", 4], x=0.0, y=0.0, scale=1.0, size="frames", light=0.0, shadow=0.0, fps=24.0, background_fps=24.0,
               after_end="repeat", camera_moves="scene", steady=0.5, despill=1.0, holes=0.06, grow=0, soften=0.0, plate="auto")
    del graph["lock"]
    clip = demo_clip(PLAIN, "walk", 3, width=128, height=192)
    alpha = clip.masks[..., None] / 255
    own = np.asarray(draw_background(clip.character.background, 128, 192), float)
    figure = clip.frames - own * (1 - alpha)
    truth = figure + (1 - alpha) * np.array([0x30, 0x60, 0xC0])
    still = host.run(graph).images("frames").astype(float)
    assert -10 * np.log10(np.mean((still - truth) ** 2) / 255**2) > 35
    graphs.add(graph, "path", "PrimitiveString", value="1, 1.5, 2")
    graphs.change(graph, composite={"camera_zoom": ["path", 0]})
    moved = host.run(graph).images("frames").astype(float)
    assert np.abs(moved[0] - still[0]).mean() < 1 and np.abs(moved[2] - still[2]).max() > 50


@pytest.mark.parametrize(("inputs", "words"), [
    ({"background": ["character", 3], "images": ["empty", 0], "masks": None}, ["background", "3 images for 1 frames"]),
    ({"images": ["empty", 0], "masks": ["character", 4]}, ["masks", "3 masks for 1 images"]),
    ({"pose": ["character", 2], "images": ["empty", 0], "masks": None}, ["pose", "3 frames for 1 images"]),
])
def test_wrong_lengths_are_refused(host: HostServer, inputs: dict[str, Any], words: list[str]) -> None:
    refused(host, lock_graph(**inputs), *words)
