"""A network of Stable Diffusion 1.5's size, all of it at once, on the CPU (issue: proof 3)."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.host import equipment, graphs, networks
from tests.host.host_server import HostServer

LIMIT = 12 * 10**9
FRAMES, WIDTH, HEIGHT = 8, 256, 192
PICKLED = ("denoising_unet", "motion_module")  # the largest, written as .pth as well
MOST_TO_LOAD = 1.3


@pytest.fixture
def full_host(stock: Path, tmp_path: Path) -> Iterator[HostServer]:
    """A host with random fp16 files of the published names and shapes, and a CLIP image encoder of the published size."""
    equipment.link_tree(stock / "input", tmp_path / "input")
    equipment.link_tree(stock / "models" / "vae", tmp_path / "models" / "vae")
    folder = tmp_path / "models" / "animate_anyone" / "full"
    folder.mkdir(parents=True)
    denoiser, motion = networks.denoiser_shapes(networks.FULL_CHANNELS, networks.FULL_TOKEN)
    wanted = {"reference_unet": networks.reference_shapes(networks.FULL_CHANNELS, networks.FULL_TOKEN), "denoising_unet": denoiser,
              "motion_module": motion, "pose_guider": networks.pose_shapes(networks.FULL_POSE_CHANNELS, networks.FULL_CHANNELS[0])}
    try:
        for module, shapes in wanted.items():
            weights = networks.random_fp16(shapes)
            save_file(weights, folder / f"{module}.safetensors")
            if module in PICKLED:
                torch.save(weights, folder / f"{module}.pth")
        del weights
        clip = tmp_path / "models" / "clip_vision" / "full_clip"
        networks.write_clip_vision(clip, projection=networks.FULL_TOKEN, hidden=1024, layers=24, heads=16, patch=14)
        with HostServer(tmp_path, environment={"OMP_NUM_THREADS": ""}) as server:
            yield server
    finally:
        shutil.rmtree(tmp_path / "models", ignore_errors=True)


def loading(host: HostServer, kind: str) -> float:
    """Peak memory of loading the motion UNet above that of the idle host, by the size of its files."""
    files = [f"full/{module}.{kind}" for module in PICKLED]
    graph = graphs.add({}, "model", "MarionetteLoadMotionUNet", denoiser=files[0], motion=files[1], family="auto", weight_dtype="auto")
    graphs.add(graph, "shown", "PreviewAny", source=["model", 0])
    idle = host.memory()
    host.reset_peak_memory()
    assert host.run(graph, timeout=300).status == "success"
    peak = host.peak_memory() - idle
    host.free()
    return peak / sum((host.models / "animate_anyone" / file).stat().st_size for file in files)


def test_the_full_size_fits_into_12_gb(full_host: HostServer, measured: Callable[[str], None]) -> None:
    taken = {kind: loading(full_host, kind) for kind in ("safetensors", "pth")}
    measured(f"loading fp16 files: peak by their size {', '.join(f'{share:.2f} ({kind})' for kind, share in taken.items())}")
    assert max(taken.values()) < MOST_TO_LOAD
    size = {"width": WIDTH, "height": HEIGHT}
    graph = graphs.load("basic", reference=size, pose=size, poses={"length": FRAMES}, trimmed={"duration": 0.3}, sampler={"steps": 2},
                        reference_net={"file": "full/reference_unet.safetensors"}, pose_guider={"file": "full/pose_guider.safetensors"},
                        model={"denoiser": "full/denoising_unet.safetensors", "motion": "full/motion_module.safetensors"},
                        clip_vision={"file": "full_clip/"})
    idle = full_host.memory()
    result = full_host.run(graph, timeout=900)
    peak = full_host.peak_memory()
    assert result.latent().shape == (FRAMES, 4, HEIGHT // 8, WIDTH // 8)
    assert torch.isfinite(result.latent()).all()
    assert result.images().shape == (FRAMES, HEIGHT, WIDTH, 3)
    started = [(event.data["node"], event.time) for event in result.of_kind("executing")]
    place = [node for node, _ in started].index("sampler")
    sampling = started[place + 1][1] - started[place][1]
    measured(f"full size, {WIDTH}x{HEIGHT}, {FRAMES} frames, 2 steps, fp16 files: {result.seconds:.0f} s in all, "
             f"{sampling:.0f} s sampling; peak {peak / 1e9:.2f} GB, {idle / 1e9:.2f} GB of it the idle host (limit {LIMIT / 1e9:.0f} GB)")
    assert peak < LIMIT
