"""Crop Part, Paste Part and the slow motion nodes in the real host, against the library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from animate_core.demo.character import HELD_OUT_SEED
from animate_core.demo.clip import demo_clip, reference_frame
from animate_core.pose.interpolation import interpolate_pose
from animate_core.pose.keypoints import PoseClip, body_clip
from animate_core.pose.openpose import read_pose
from animate_core.sampling import interpolate_latents
from animate_core.video.crops import crop, place_part
from tests.host import graphs
from tests.host.host_server import HostServer
from tests.host.result import Graph, Result
from tests.host.test_bad_input import refused

FRAMES, WIDTH, HEIGHT, SEED = 4, 128, 192, HELD_OUT_SEED + 9
SIZE = (96, 128)  # of the crops
PART = {"part": "face", "margin": 2.0, "min_zoom": 1.0, "smooth": 2}


def parts_graph(**inputs: Any) -> Graph:
    """The true frames cropped, and the crops pasted back unchanged."""
    graph: Graph = {}
    graphs.add(graph, "character", "MarionetteDemoCharacter", seed=SEED, motion="wave", frames=FRAMES, width=WIDTH, height=HEIGHT,
               period=16)
    graphs.add(graph, "crop", "MarionetteCropPart", frames=["character", 3], pose=["character", 2], reference=["character", 0],
               reference_pose=["character", 5], width=SIZE[0], height=SIZE[1], person="followed", **PART)
    graphs.add(graph, "paste", "MarionettePastePart", frames=["character", 3], crops=["crop", 0], placement=["crop", 3], feather=0.25)
    graphs.change(graph, crop=inputs)
    for name, source in (("crops", ["crop", 0]), ("reference", ["crop", 2]), ("pasted", ["paste", 0])):
        graphs.add(graph, name, "SaveImage", images=source, filename_prefix=name)
    graphs.add(graph, "keypoints", "TestSaveJSON", value=["crop", 1])
    graphs.add(graph, "report", "PreviewAny", source=["crop", 4])
    return graph


def keypoints_of(result: Result) -> PoseClip:
    assert result.status == "success", result.error
    return read_pose(json.loads(Path(result.outputs["keypoints"]["files"][0]).read_text(encoding="utf-8")))


def report_of(result: Result) -> str:
    return "".join(result.outputs["report"]["text"])


def test_crops_are_the_librarys_and_go_back(host: HostServer) -> None:
    clip, reference = demo_clip(SEED, "wave", FRAMES, width=WIDTH, height=HEIGHT), reference_frame(SEED, width=WIDTH, height=HEIGHT)
    pose = body_clip(clip.keypoints, WIDTH, HEIGHT)
    placement = place_part(pose, "face", WIDTH, HEIGHT, *SIZE, margin=2, smooth=2, least_zoom=1)
    of_reference = place_part(body_clip(reference.keypoints, WIDTH, HEIGHT), "face", WIDTH, HEIGHT, *SIZE, margin=2, least_zoom=0)
    result = host.run(parts_graph())
    assert np.allclose(keypoints_of(result).points, placement.of_pose(pose).points, atol=1e-2)
    for name, frames, place in (("crops", clip.frames, placement), ("reference", reference.frames, of_reference)):
        theirs = 255 * crop(torch.from_numpy(frames.copy()).float() / 255, place).numpy()
        assert np.abs(result.images(name) - theirs).max() <= 1.01, name  # SaveImage cuts to 8 bits
    left, top, width, height = placement.boxes[0]
    outside = np.ones((HEIGHT, WIDTH), bool)
    outside[int(top):int(np.ceil(top + height)), int(left):int(np.ceil(left + width))] = False
    assert 0.2 < outside.mean() < 0.95
    assert np.array_equal(result.images("pasted")[0][outside], clip.frames[0][outside])
    assert np.abs(result.images("pasted").astype(int) - clip.frames).mean() < 1, "unchanged crops change next to nothing"
    assert f"face: {FRAMES} of {FRAMES} frames cropped" in report_of(result) and "times the pixels of the clip" in report_of(result)
    assert result.progress("crop")[-1] == result.progress("paste")[-1] == (FRAMES, FRAMES)


def test_large_parts_are_left_as_they_are(host: HostServer) -> None:
    result = host.run(parts_graph(min_zoom=8.0))
    assert "nothing to do, it is large enough in all 4 frames" in report_of(result)
    assert np.array_equal(result.images("pasted"), demo_clip(SEED, "wave", FRAMES, width=WIDTH, height=HEIGHT).frames)
    assert len(result.images("crops")) == 1


@pytest.mark.parametrize(("changes", "words"), [
    ({"pose": {"frames": 2}}, ["pose: it has 2 frames and the clip 4"]),
    ({"pose": {"width": 192}}, ["pose: its canvas has 192x192 pixels", "frames, 128x192"]),
    ({"other": {"frames": 3}}, ["crops: Crop Part had 4 of them, here are 3"]),
])
def test_what_does_not_belong_together(host: HostServer, changes: dict[str, dict[str, Any]], words: list[str]) -> None:
    graph = parts_graph()
    for name, inputs in changes.items():
        graphs.add(graph, name, "MarionetteDemoCharacter",
                   **{"seed": SEED, "motion": "wave", "frames": FRAMES, "width": WIDTH, "height": HEIGHT, "period": 16, **inputs})
    graphs.change(graph, **({"crop": {"pose": ["pose", 2]}} if "pose" in changes else {"paste": {"crops": ["other", 3]}}))
    refused(host, graph, *words)


def test_slow_motion_is_the_librarys(host: HostServer) -> None:
    graph = graphs.load("demo", sampler={"steps": 1}, character={"frames": FRAMES})
    graphs.add(graph, "between", "MarionetteInterpolatePose", pose=["character", 2], factor=4, closed_loop=True, scores="0 and 1")
    graphs.add(graph, "more", "MarionetteInterpolateLatent", latent=["sampler", 0], factor=2, method="spherical", closed_loop=False)
    graphs.add(graph, "keypoints", "TestSaveJSON", value=["between", 0])
    graphs.add(graph, "few", "SaveLatent", samples=["sampler", 0], filename_prefix="latents/few")
    graphs.add(graph, "many", "SaveLatent", samples=["more", 0], filename_prefix="latents/many")
    result = host.run(graph)
    drawn = demo_clip(HELD_OUT_SEED, "dance", FRAMES)
    theirs = interpolate_pose(body_clip(drawn.keypoints, *drawn.size), 4, closed_loop=True)
    assert np.allclose(keypoints_of(result).points, theirs.points, atol=1e-3) and len(theirs) == 4 * FRAMES
    few, many = result.latent("few"), result.latent("many")
    assert torch.allclose(many, interpolate_latents(few, 2), atol=1e-6) and len(many) == 2 * FRAMES - 1
