"""The motion UNet is a host MODEL: what users put on a MODEL works on it, or is refused in words (issue: proof 4)."""

from __future__ import annotations

import pytest
import torch

from tests.host import graphs
from tests.host.core_run import relative_l2
from tests.host.host_server import HostServer
from tests.host.result import Graph

SHORT = {"poses": {"length": 4}}
CONTEXT = {"context_length": 8, "context_overlap": 2, "context_schedule": "standard_static", "context_stride": 1, "closed_loop": False,
           "fuse_method": "pyramid", "dim": 0, "freenoise": False, "cond_retain_index_list": "", "split_conds_to_windows": False,
           "latent_retain_index_list": "", "causal_window_fix": False}


@pytest.fixture(params=["basic", "ksampler"])
def graph(request: pytest.FixtureRequest) -> Graph:
    """Our sampler's graph, and KSampler's."""
    return graphs.load(request.param, **SHORT)


def test_a_lora_changes_the_clip(host: HostServer, graph: Graph) -> None:
    plain = host.run(graph).latent()
    graphs.add(graph, "lora", "LoraLoaderModelOnly", model=["model", 0], lora_name="small_lora.safetensors", strength_model=0.0)
    graphs.model_from(graph, "lora")
    assert torch.equal(host.run(graph).latent(), plain), "at strength 0 nothing changes"
    graphs.change(graph, lora={"strength_model": 0.2})
    changed = host.run(graph).latent()
    assert torch.isfinite(changed).all()
    assert relative_l2(changed, plain) > 1e-3
    assert "lora key not loaded" not in host.log
    graphs.change(graph, lora={"strength_model": 0.0})
    assert torch.equal(host.run(graph).latent(), plain), "the LoRA is off again"


def test_torch_compile_is_accepted(host: HostServer, graph: Graph) -> None:
    """Traced and run by torch.compile. The backend "cudagraphs" does that on a CPU too, and unlike inductor without a C++ compiler
    and minutes of its time."""
    plain = host.run(graphs.change(graph, sampler={"steps": 1})).latent()
    graphs.add(graph, "compile", "TorchCompileModel", model=["model", 0], backend="cudagraphs")
    graphs.model_from(graph, "compile")
    result = host.run(graph, timeout=300)
    assert relative_l2(result.latent(), plain) < 1e-3


def test_a_sampler_patch_works_with_ksampler(host: HostServer) -> None:
    """RescaleCFG, which v-prediction users put on every MODEL."""
    graph = graphs.load("ksampler", **SHORT)
    plain = host.run(graph).latent()
    graphs.add(graph, "patch", "RescaleCFG", model=["model", 0], multiplier=0.7)
    graphs.model_from(graph, "patch")
    assert relative_l2(host.run(graph).latent(), plain) > 1e-3


@pytest.mark.parametrize("fix", [False, True])
def test_the_hosts_context_windows_work_with_its_samplers(host: HostServer, fix: bool) -> None:
    graph = graphs.load("ksampler", poses={"length": 20}, sampler={"steps": 2})
    plain = host.run(graph).latent()
    graphs.add(graph, "context", "ContextWindowsManual", model=["model", 0], **{**CONTEXT, "causal_window_fix": fix})
    graphs.model_from(graph, "context")
    windowed = host.run(graph).latent()
    assert torch.isfinite(windowed).all()
    assert 1e-3 < relative_l2(windowed, plain) < 1.5


def test_the_hosts_context_windows_give_what_ours_give(host: HostServer) -> None:
    """Windows that do not overlap leave nothing to the way of joining: each frame must meet its own pose."""
    host_way = graphs.load("ksampler", poses={"length": 16}, sampler={"steps": 2})
    graphs.add(host_way, "context", "ContextWindowsManual", model=["model", 0], **{**CONTEXT, "context_overlap": 0})
    graphs.model_from(host_way, "context")
    our_way = graphs.load("ksampler", poses={"length": 16}, sampler={"steps": 2}, animate={"windows": ["windows", 0]})
    graphs.add_windows(our_way, length=8, overlap=0, schedule="published", weights="flat")
    assert relative_l2(host.run(host_way).latent(), host.run(our_way).latent()) < 1e-4


def test_the_hosts_context_windows_are_refused_by_our_sampler(host: HostServer) -> None:
    graph = graphs.load("basic", **SHORT)
    graphs.add(graph, "context", "ContextWindowsManual", model=["model", 0], **CONTEXT)
    graphs.model_from(graph, "context")
    result = host.run(graph)
    assert result.status == "error" and not result.sampling_started
    assert "Context Windows" in result.error and "remove" in result.error


def test_weight_dtypes_agree(host: HostServer) -> None:
    clips = {}
    for dtype in ("auto", "fp32", "bf16"):
        graph = graphs.load("basic", **SHORT, model={"weight_dtype": dtype}, reference_net={"weight_dtype": dtype}, sampler={"steps": 2})
        clips[dtype] = host.run(graph).latent()
    assert relative_l2(clips["auto"], clips["fp32"]) < 1e-3, "the files are fp16, so fp32 weights are the same numbers"
    assert relative_l2(clips["bf16"], clips["fp32"]) < 0.3
