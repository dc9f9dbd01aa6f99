"""Given frames and regions, long clips in pieces, stopped runs and single pictures, in the real host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tests.host import graphs
from tests.host.core_run import relative_l2
from tests.host.host_server import HostServer
from tests.host.result import Graph
from tests.host.test_bad_input import refused

FRAMES, STEPS = 8, 4
SHORT = {"poses": {"length": FRAMES}, "sampler": {"steps": STEPS}}
PATHS = {"basic": "latent", "ksampler": "latent_image"}


def with_known(name: str, **inputs: Any) -> Graph:
    """A sampler's graph that takes the clip of another seed through Known Frames."""
    graph = graphs.load(name, **SHORT)
    base = graphs.load(name, **SHORT)["sampler"]["inputs"]
    graphs.add(graph, "start", graph["sampler"]["class_type"], **{**base, "seed": 1})
    graphs.add(graph, "start_saved", "SaveLatent", samples=["start", 0], filename_prefix="latents/start")
    graphs.add(graph, "known", "MarionetteKnownFrames", latent=["start", 0], **{"keep": "0-1", "frames": 0, **inputs})
    return graphs.change(graph, sampler={PATHS[name]: ["known", 0]})


@pytest.mark.parametrize("name", PATHS)
def test_known_frames_come_out_and_the_rest_is_new(host: HostServer, name: str) -> None:
    result = host.run(with_known(name, keep="0, 2-3, -1"))
    made, start = result.latent("save"), result.latent("start_saved")
    plain = host.run(graphs.load(name, **SHORT)).latent()
    kept, free = [0, 2, 3, 7], [1, 4, 5, 6]
    if name == "basic":
        assert torch.equal(made[kept], start[kept]), "bit for bit"
    assert relative_l2(made[kept], start[kept]) < 1e-4
    for frame in free:
        assert relative_l2(made[frame], start[frame]) > 0.1
        assert 1e-3 < relative_l2(made[frame], plain[frame]), "motion modules see what is given"


@pytest.mark.parametrize("name", PATHS)
def test_a_masked_region_is_made_anew(host: HostServer, name: str) -> None:
    """By the host's own Set Latent Noise Mask, a mask for each frame: its left half in all of them, and all of the last one."""
    graph = with_known(name)
    graphs.add(graph, "left", "SolidMask", value=1.0, width=32, height=96)
    graphs.add(graph, "black", "SolidMask", value=0.0, width=64, height=96)
    graphs.add(graph, "half", "MaskComposite", destination=["black", 0], source=["left", 0], x=0, y=0, operation="add")
    graphs.add(graph, "known", "SetLatentNoiseMask", samples=["start", 0], mask=["half", 0])
    result = host.run(graph)
    made, start = result.latent("save"), result.latent("start_saved")
    # the host scales masks bilinearly: the columns beside the border are mixed
    assert relative_l2(made[..., 5:], start[..., 5:]) < 1e-4 and relative_l2(made[..., :3], start[..., :3]) > 0.1


def pieces_graph(name: str) -> Graph:
    """8 frames, and 6 more that begin with the last 2 of them; of 14 poses."""
    graph = graphs.load(name, poses={"length": 14}, sampler={"steps": STEPS})
    frames = "animate" if name == "ksampler" else "sampler"
    graphs.change(graph, **{frames: {"frames": FRAMES}})
    graphs.add(graph, "continue", "MarionetteContinueClip", pose=["pose", 0], previous=["sampler", 0], overlap=2, frames=0)
    second = dict(graph["sampler"]["inputs"])
    if name == "ksampler":
        graphs.add(graph, "animate2", "MarionetteAnimateConditioning", **{**graph["animate"]["inputs"], "frames": 0,
                                                                          "pose": ["continue", 0]})
        second |= {"model": ["animate2", 0], "positive": ["animate2", 1], "negative": ["animate2", 2]}
    else:
        second |= {"pose": ["continue", 0], "frames": 0}
    graphs.add(graph, "second", graph["sampler"]["class_type"], **{**second, PATHS[name]: ["continue", 1], "seed": 43})
    graphs.add(graph, "join", "MarionetteJoinClips", previous=["sampler", 0], piece=["second", 0], overlap=2)
    graphs.add(graph, "joined", "SaveLatent", samples=["join", 0], filename_prefix="latents/joined")
    graphs.add(graph, "piece", "SaveLatent", samples=["second", 0], filename_prefix="latents/piece")
    return graph


@pytest.mark.parametrize("name", PATHS)
def test_a_clip_in_pieces(host: HostServer, name: str) -> None:
    result = host.run(pieces_graph(name))
    first, piece, whole = (result.latent(node) for node in ("save", "piece", "joined"))
    assert (len(first), len(piece), len(whole)) == (8, 8, 14)
    assert torch.equal(whole[:8], first) and torch.equal(whole[8:], piece[2:]) and relative_l2(piece[:2], first[-2:]) < 1e-4
    # the poses are those of frames 6 to 13: a piece of other poses is another one
    again = pieces_graph(name)
    graphs.add(again, "later", "ImageFromBatch", image=["components", 0], batch_index=6, length=8)
    graphs.add(again, "later_pose", "MarionetteEncodePose", **{**again["pose"]["inputs"], "images": ["later", 0]})
    taker = "animate2" if name == "ksampler" else "second"
    assert torch.equal(host.run(graphs.change(again, **{taker: {"pose": ["later_pose", 0]}})).latent("piece"), piece)


def test_a_stopped_run_goes_on(host: HostServer) -> None:
    changes = {"poses": {"length": FRAMES}, "sampler": {"steps": 40, "checkpoint_every": 2}}
    graph = graphs.load("basic", **changes)
    folder = host.base / "output" / "marionette_checkpoints"
    prompt = host.submit(graph)
    assert isinstance(prompt, str)
    host.events.wait_for(prompt, "preview", 120, count=8)
    host.interrupt()
    assert host.wait(graph, prompt, 30).status == "interrupted"
    assert [path.suffix for path in folder.iterdir()] == [".safetensors"], "one file, and no part of one"
    other = host.run(graphs.change(graphs.load("basic", **changes), sampler={"seed": 43}))
    assert other.progress("sampler")[-1] == (80, 80) and "of other settings (seed)" in host.log
    resumed = host.run(graph)
    assert "steps are already done" in host.log and not list(folder.iterdir())
    assert len(resumed.previews("sampler")) < 36
    host.free()
    whole = host.run(graphs.change(graph, sampler={"checkpoint_every": 0}))
    assert relative_l2(resumed.latent(), whole.latent()) < 1e-6


@pytest.mark.parametrize("name", PATHS)
def test_frames_by_themselves(host: HostServer, name: str) -> None:
    """Without motion modules a frame does not depend on the others; with them it does."""
    taker, noise = ("animate", {}) if name == "ksampler" else ("sampler", {"noise": "ComfyUI"})

    def run(frames: int, motion: bool) -> torch.Tensor:
        graph = graphs.load(name, poses={"length": frames}, sampler={"steps": STEPS, **noise})
        return host.run(graphs.change(graph, **{taker: {"motion": motion}})).latent()

    assert relative_l2(run(1, False), run(4, False)[:1]) < 1e-4 < 1e-2 < relative_l2(run(4, True)[:1], run(4, False)[:1])


Change = Callable[[Graph], Graph]
WRONG: list[tuple[str, Change, list[str]]] = [
    ("keep", lambda g: graphs.change(g, known={"keep": "9"}), ["keep", "'9'", "frames 0 to 7"]),
    ("text", lambda g: graphs.change(g, known={"keep": "first"}), ["keep", "no frame and no range"]),
    ("nothing", lambda g: graphs.change(g, known={"keep": ""}), ["keep", "nothing would be kept"]),
    ("frames", lambda g: graphs.change(g, known={"frames": 5}), ["latent", "shape must be (8, 4, 12, 8)", "got (5, 4, 12, 8)"]),
    ("finished", lambda g: graphs.change(graphs.add(g, "known", "MarionetteContinueClip", pose=["pose", 0], previous=["start", 0],
                                                    overlap=4, frames=0), sampler={"latent": ["known", 1]}), ["pose", "nothing is left"]),
]


@pytest.mark.parametrize(("change", "words"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_wrong_input_is_refused(host: HostServer, change: Change, words: list[str]) -> None:
    graph = change(with_known("basic"))
    size = {"width": 64, "height": 96, "batch_size": FRAMES}
    refused(host, graphs.add(graph, "start", "EmptyLatentImage", **size), *words)


@pytest.mark.parametrize(("inputs", "words"), [
    ({"frames": 9}, ["frames: 9 requested", "only 6 poses are left"]), ({"overlap": 9}, ["overlap: 9 frames", "previous has only 8"]),
])
def test_wrong_pieces_are_refused(host: HostServer, inputs: dict[str, int], words: list[str]) -> None:
    graph = graphs.change(pieces_graph("basic"), **{"continue": inputs})
    graphs.add(graph, "first", "EmptyLatentImage", width=64, height=96, batch_size=FRAMES)
    for node in ("continue", "join"):
        graphs.change(graph, **{node: {"previous": ["first", 0]}})
    for node in ("sampler", "save", "decode", "frames"):
        del graph[node]
    refused(host, graph, *words)


def test_repose_template(host: HostServer) -> None:
    """The drawn character in the pose of the skeleton: where the pose changes the picture, nearer to the truth than the reference is."""
    graph = graphs.load("repose")
    graphs.add(graph, "truths", "ImageFromBatch", **{**graph["one"]["inputs"], "image": ["character", 3]})
    for name, source in {"truth": ["truths", 0], "given": ["character", 0]}.items():
        graphs.add(graph, name, "SaveImage", images=source, filename_prefix=name)
    result = host.run(graph)
    made, truth, given = (result.images(node).astype(float) for node in ("save", "truth", "given"))
    assert made.shape == truth.shape == (1, 288, 192, 3)
    moved = np.abs(given - truth).max(axis=-1) > 40
    assert moved.mean() > 0.05 and np.abs(made - truth)[moved].mean() < 0.5 * np.abs(given - truth)[moved].mean()
