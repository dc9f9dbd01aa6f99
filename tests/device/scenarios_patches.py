"""Each of the host's nodes that change a MODEL (`outcomes.NODES`), in both sampling paths, with one window and with several."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tests.device.networks import lora_weights
from tests.device.outcomes import NODES, Node
from tests.device.pretended_host import warnings_logged
from tests.device.scenarios import Bench, distance, failure, scenario
from tests.device.scenarios_graphs import small_graph
from tests.host import graphs

CACHES = ("EasyCache", "LazyCache")  # need some steps before they answer
ENDS = {"hooks": ("attn1.to_k.weight", "attn1.to_v.weight", "attn2.to_v.weight", "conv1.weight"),
        "hooks_attn2": ("attn2.to_v.weight", "attn2.to_out.0.weight")}


def patched(bench: Bench, node: Node) -> Any:
    """The MODEL after the node. Raises what the node raises."""
    base = bench.exact_model
    if node.class_type == "middle_patch":
        model = base.clone()
        model.set_model_patch(lambda x, extra: x * 1.5, "middle_patch")
        return model
    if node.class_type == "attn2_replace":
        model = base.clone()
        for number in range(12):
            for name in ("input", "output"):
                model.set_model_attn2_replace(lambda q, k, v, extra: q * 0.5, name, number)
        return model
    if node.class_type == "function_wrapper":
        model = base.clone()
        model.set_model_unet_function_wrapper(lambda apply, call: 0.9 * apply(call["input"], call["timestep"], **call["c"]))
        return model
    return bench.host.node(node.class_type, base, *node.inputs)


def sampled(bench: Bench, path: str, model: Any, windows: Any, steps: int) -> Tensor:
    return bench.k_sample(model, windows, steps=steps) if path == "k_sampler" else bench.multi_frame(model, windows=windows, steps=steps)


def plain(bench: Bench, path: str, many: bool, steps: int) -> tuple[Tensor, int]:
    """The run without the node, and its rows; computed once."""
    key = (path, many, steps)
    if key not in bench.known:
        with bench.rows(bench.exact_model) as rows:
            samples = sampled(bench, path, bench.exact_model, bench.several() if many else None, steps)
        bench.known[key] = samples, rows.count
    return bench.known[key]


def outcome(bench: Bench, node: Node, path: str, many: bool) -> tuple[dict[str, Any], Tensor | None]:
    """How far the result is from the run without the node, how many rows ran, what was logged; or the refusal."""
    steps = 8 if node.class_type in CACHES else bench.steps
    before, rows_before = plain(bench, path, many, steps)
    # a hook that counts would be compiled along
    counted = bench.rows(bench.exact_model) if node.class_type != "TorchCompileModel" else nullcontext()
    with warnings_logged() as lines, counted as rows:
        try:
            samples = sampled(bench, path, patched(bench, node), bench.several() if many else None, steps)
        except Exception as error:
            return {**failure(error), "log": lines}, None
    return {"distance": distance(samples, before), "finite": bool(torch.isfinite(samples).all()),
            "rows": rows.count / rows_before if rows else None, "log": lines}, samples


def tried(bench: Bench, node: Node) -> dict[str, Any]:
    """Every case of a node; and how near the two paths are to each other with it, and without it."""
    results: dict[str, Any] = {}
    samples: dict[str, Tensor] = {}
    for path, windows, _ in node.cases():
        results[f"{path}/{windows}"], found = outcome(bench, node, path, windows == "several")
        if found is not None and windows == "one":
            samples[path] = found
    if len(samples) == 2:
        results["between paths"] = distance(samples["multi_frame"], samples["k_sampler"])
        steps = 8 if node.class_type in CACHES else bench.steps
        results["between plain paths"] = distance(plain(bench, "multi_frame", False, steps)[0], plain(bench, "k_sampler", False, steps)[0])
    return results


def hooked(bench: Bench, node: Node, files: str = "small_fp32", weight_dtype: str = "fp32") -> dict[str, Any]:
    """A LoRA as a hook on the conditioning, against the same LoRA by the loader."""
    import comfy.hooks
    import comfy.sd

    base = bench.exact_model if weight_dtype == "fp32" else bench.host.model(files, weight_dtype)
    results: dict[str, Any] = {}
    weights = lora_weights(base.model.diffusion_model, ENDS[node.class_type])
    direct, _ = comfy.sd.load_lora_for_models(base, None, weights, 1.0, 1.0)
    group = comfy.hooks.create_hook_lora(lora=weights, strength_model=1.0, strength_clip=1.0)
    for name, windows in (("one", None), ("several", bench.several())):
        about = bench.conditioning(base, windows)
        for half in ("positive", "negative"):
            setattr(about, half, comfy.hooks.set_hooks_for_conditioning([[t, dict(d)] for t, d in getattr(about, half)], group))
        try:
            samples, wanted = bench.host.k_sample(about, steps=2), bench.k_sample(direct, windows, steps=2)
            before = bench.k_sample(base, windows, steps=2)
        except Exception as error:
            results[f"k_sampler/{name}"] = {**failure(error), "log": []}
            continue
        results[f"k_sampler/{name}"] = {"distance": distance(samples, before), "from other": distance(samples, wanted),
                                        "finite": bool(torch.isfinite(samples).all()), "rows": None, "log": []}
    return results


@scenario("guidance/Self-Attention Guidance in one window", "cpu")
def self_attention_guidance(bench: Bench) -> dict[str, Any]:
    """It blurs by the attention of the middle block, which of the other scenarios' pictures is a single token."""
    reference, pose = bench.host.encoded(128, 128, 2)
    guided = bench.host.node("SelfAttentionGuidance", bench.exact_model, 0.5, 2.0)
    distances = {}
    for path in ("k_sampler", "multi_frame"):
        samples = [bench.host.k_sample(bench.host.conditioning(model, reference, pose), steps=1) if path == "k_sampler"
                   else bench.host.multi_frame(model, reference, pose, steps=1) for model in (guided, bench.exact_model)]
        distances[path] = distance(*samples)
    return distances


@scenario("hooks/schedule", "cpu")
def scheduled_hook(bench: Bench) -> dict[str, Any]:
    """A LoRA hook whose strength changes over the steps: on throughout, off throughout, and on from the middle."""
    import comfy.hooks
    import comfy.sd

    base = bench.exact_model
    weights = lora_weights(base.model.diffusion_model, ENDS["hooks"])
    direct, _ = comfy.sd.load_lora_for_models(base, None, weights, 1.0, 1.0)

    def run(*strengths: tuple[float, float]) -> Tensor:
        group = comfy.hooks.create_hook_lora(lora=weights, strength_model=1.0, strength_clip=1.0)
        frames = comfy.hooks.HookKeyframeGroup()
        for start, strength in strengths:
            frames.add(comfy.hooks.HookKeyframe(strength=strength, start_percent=start))
        group.set_keyframes_on_hooks(frames)
        about = bench.conditioning(base, bench.several())
        for half in ("positive", "negative"):
            setattr(about, half, comfy.hooks.set_hooks_for_conditioning([[t, dict(d)] for t, d in getattr(about, half)], group))
        return bench.host.k_sample(about, steps=bench.steps)

    on, off, later = run((0.0, 1.0)), run((0.0, 0.0)), run((0.0, 0.0), (0.5, 1.0))
    return {"on": distance(on, bench.k_sample(direct, bench.several())), "off": distance(off, bench.k_sample(base, bench.several())),
            "later from on": distance(later, on), "later from off": distance(later, off)}


def controlled(bench: Bench, node: Node) -> dict[str, Any]:
    """A ControlNet on the conditioning. It need not be a real one: the refusal comes before it computes."""
    import comfy.controlnet

    results: dict[str, Any] = {}
    for name, windows in (("one", None), ("several", bench.several())):
        about = bench.conditioning(bench.exact_model, windows)
        control = comfy.controlnet.ControlBase()
        control.get_control = lambda *args, **kwargs: {"input": [], "middle": [], "output": []}
        control.get_models = list
        for half in ("positive", "negative"):
            setattr(about, half, [[t, {**d, "control": control, "control_apply_to_uncond": False}] for t, d in getattr(about, half)])
        before, _ = plain(bench, "k_sampler", windows is not None, bench.steps)
        try:
            samples = bench.host.k_sample(about, steps=bench.steps)
            results[f"k_sampler/{name}"] = {"distance": distance(samples, before), "finite": True, "rows": 1.0, "log": []}
        except Exception as error:
            results[f"k_sampler/{name}"] = {**failure(error), "log": []}
    return results


for _node in NODES:
    _function = {"hooks": hooked, "hooks_attn2": hooked, "control": controlled}.get(_node.class_type, tried)
    scenario(f"node/{_node.label}", "cpu")(partial(_function, node=_node))
    if _node.class_type in ENDS:
        scenario(f"hooks/{_node.label}", "dynamic")(partial(hooked, node=_node, weight_dtype="auto"))


def loaded_for_compiling(bench: Bench, path: str) -> dict[str, Any]:
    """TorchCompileModel over fp32 files as the host computes by default. Only the loading: no compiler knows the pretended card."""
    model = bench.host.model("small_fp32", "auto")
    wanted = getattr(bench, path)(model)
    compiler, torch.compile = torch.compile, lambda model, **options: model  # type: ignore[assignment]
    try:
        samples = getattr(bench, path)(bench.host.node("TorchCompileModel", model, "inductor"))
    finally:
        torch.compile = compiler
    return {"distance": distance(samples, wanted), "compute": str(model.model.get_dtype_inference())}


for _path in ("multi_frame", "k_sample"):
    scenario(f"compiled/{_path}", "cuda", "dynamic")(partial(loaded_for_compiling, path=_path))


@scenario("saved/ModelSave", "cpu")
def saved(bench: Bench) -> dict[str, Any]:
    """The file of ModelSave, loaded again."""
    bench.host.node_outputs("ModelSave", bench.exact_model, "saved")
    path = max((bench.host.base / "output").glob("saved*.safetensors"))
    again = bench.host.pack["host_model"].load_motion_unet(str(path), None, "auto", "fp32")
    return {"distance": distance(bench.k_sample(again), bench.k_sample(bench.exact_model)), "file": path.name}


@scenario("merged/ModelMergeSimple", "cpu")
def merged(bench: Bench) -> dict[str, Any]:
    """Half of a LoRA's change, by ModelMergeSimple and by the loader's strength."""
    base = bench.exact_model
    whole = bench.host.node("LoraLoaderModelOnly", base, "small_lora.safetensors", 1.0)
    half = bench.host.node("LoraLoaderModelOnly", base, "small_lora.safetensors", 0.5)
    wanted = bench.k_sample(half)
    return {"distance": distance(bench.k_sample(bench.host.node("ModelMergeSimple", base, whole, 0.5)), wanted),
            "multi_frame": distance(bench.multi_frame(bench.host.node("ModelMergeSimple", base, whole, 0.5)), bench.multi_frame(half)),
            "changes": distance(wanted, bench.k_sample(base))}


def merge_blocks(bench: Bench, name: str) -> dict[str, Any]:
    """ModelMergeBlocks with a ratio for each part, in a workflow."""
    graph = small_graph(name)
    graphs.add(graph, "lora", "LoraLoaderModelOnly", model=["model", 0], lora_name="small_lora.safetensors", strength_model=1.0)
    graphs.add(graph, "blocks", "ModelMergeBlocks", model1=["model", 0], model2=["lora", 0], input=1.0, middle=0.0, out=0.0)
    for about in graph.values():
        if about["class_type"] in ("MarionetteMultiFrameSampler", "MarionetteAnimateConditioning"):
            about["inputs"]["model"] = ["blocks", 0]
    bench.host.run_graph(graph)
    return {"ran": True}


for _name in ("basic", "ksampler"):
    scenario(f"merged/ModelMergeBlocks/{_name}", "cpu")(partial(merge_blocks, name=_name))
