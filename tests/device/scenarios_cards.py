"""What only matters where there is a card: samplers on it, cancelling, flags, LoRAs, offloading, waiting for it, two of it."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

import torch

from animate_core.sampling import DDIM, SCHEDULERS
from tests.device.card import DOWNLOAD, SYNC, UPLOAD, counted
from tests.device.networks import write_lora
from tests.device.scenarios import Bench, distance, scenario, told
from tests.device.scenarios_graphs import small_graph

CARDS = ("cuda", "dynamic")
FLAGS = ("fp8_e4m3fn_unet", "fp8_e5m2_unet", "bf16_unet", "fp16_unet", "fp32_unet", "force_fp16")
LIST_BYTES = 4096
LOOP_KINDS = {"waits": (SYNC, DOWNLOAD), "uploads": (UPLOAD,)}


def scheduled(bench: Bench, scheduler: str, denoise: float) -> dict[str, Any]:
    """One of Multi-Frame Sampler's schedulers, from noise or from a latent."""
    generator = torch.Generator().manual_seed(3)
    latent = {"samples": torch.randn(bench.frames, 4, bench.size // 8, bench.size // 8, generator=generator)} if denoise < 1 else None
    model = bench.exact_model
    result = told(bench.multi_frame(model, scheduler=scheduler, denoise=denoise, latent=latent, windows=bench.several()))
    return {**result, "left": bench.host.left_on_card()}


for _scheduler in SCHEDULERS:
    scenario(f"scheduler/{_scheduler}/1", "cpu", "cuda")(partial(scheduled, scheduler=_scheduler, denoise=1.0))
scenario(f"scheduler/{DDIM}/0.5", "cpu", "cuda")(partial(scheduled, scheduler=DDIM, denoise=0.5))


def cancelled(bench: Bench, path: str) -> dict[str, Any]:
    """The user's Cancel after a third of the progress; gives how the run ended."""
    import comfy.utils

    seen: list[int] = []

    def watch(value: int, total: int, *rest: Any, **more: Any) -> None:
        seen.append(value)
        if value >= max(1, total // 3):
            bench.host.mm.interrupt_current_processing()

    comfy.utils.set_progress_bar_global_hook(watch)
    try:
        getattr(bench, path)(windows=bench.several())
        ended = "whole"
    except bench.host.mm.InterruptProcessingException:
        ended = "interrupted"
    finally:
        comfy.utils.set_progress_bar_global_hook(None)
        bench.host.mm.interrupt_current_processing(False)
    return {"ended": ended, "progress": len(seen), "left": bench.host.left_on_card()}


for _path in ("multi_frame", "k_sample"):
    scenario(f"cancel/{_path}", *CARDS)(partial(cancelled, path=_path))


def gpu_only(bench: Bench, name: str) -> dict[str, Any]:
    """A workflow with --gpu-only, where what nodes give out stays on the card."""
    with bench.host.flags(gpu_only=True):
        graph = small_graph(name)
        del graph["save"]  # a latent on the card: how the host writes it into a file is its own affair
        outputs = bench.host.run_graph(graph)
    return told(outputs["sampler"][0]["samples"])


for _name in ("basic", "ksampler"):
    scenario(f"gpu-only/{_name}", "cuda")(partial(gpu_only, name=_name))


def flagged(bench: Bench, flag: str) -> dict[str, Any]:
    """A dtype that the host's command line asks for."""
    bench.host.forget()
    with bench.host.flags(**{flag: True}):
        model = bench.host.model()
        result = told(bench.multi_frame(model, steps=2))
        bench.host.forget()
        with bench.host.little_memory():
            away = told(bench.multi_frame(model, steps=2))
    return {**result, "weights": str(model.model.get_dtype()), "compute": str(model.model.get_dtype_inference()),
            "offloaded": distance(away["samples"], result["samples"])}


for _flag in FLAGS:
    scenario(f"flag/{_flag}", *CARDS)(partial(flagged, flag=_flag))


def lora(bench: Bench, ends: tuple[str, ...]) -> dict[str, Any]:
    """A LoRA by the host's loader, with the weights on the card and off it, in both sampling paths."""
    bench.host.forget()
    base = bench.exact_model
    write_lora(bench.host.base / "models" / "loras" / "trial.safetensors", base.model.diffusion_model, ends)
    model = bench.host.node("LoraLoaderModelOnly", base, "trial.safetensors", 1.0)
    on_card = told(bench.k_sample(model))
    bench.host.forget()
    with bench.host.little_memory():
        away, multi = bench.k_sample(model), bench.multi_frame(model)
    plain = bench.k_sample(base)
    return {**on_card, "changes": distance(on_card["samples"], plain), "offloaded": distance(away, on_card["samples"]),
            "multi_frame": distance(multi, on_card["samples"]), "left": bench.host.left_on_card()}


scenario("lora/every kind of layer", "cuda", "dynamic")(partial(lora, ends=("attn1.to_k.weight", "attn2.to_v.weight", "conv1.weight")))
scenario("lora/attn2 alone", "cuda", "dynamic")(partial(lora, ends=("attn2.to_v.weight", "attn2.to_out.0.weight")))


def in_the_loop(bench: Bench, path: str) -> dict[str, Any]:
    """Waits and uploads that the pack's own lines cause in one step: between runs of 2 and of 4 steps."""
    windows = bench.several()
    sample = getattr(bench, path)
    sample(windows=windows, steps=1)  # so that loading is over
    counts = []
    for steps in (2, 4):
        with counted() as traffic:
            sample(windows=windows, steps=steps)
        # a window's poses are larger than any list
        counts.append({name: traffic.of_ours(*kinds, most=LIST_BYTES) for name, kinds in LOOP_KINDS.items()})
    few, many = counts
    lines = {name: Counter(many[name]) for name in LOOP_KINDS}
    for name in LOOP_KINDS:
        lines[name].subtract(few[name])
    by_line = {name: {line: count / 2 for line, count in lines[name].items() if count} for name in LOOP_KINDS}
    return {"windows": len(windows.at(0, bench.frames)), **by_line, "per_step": {name: sum(by_line[name].values()) for name in LOOP_KINDS}}


for _path in ("multi_frame", "k_sample"):
    scenario(f"loop/{_path}", "cuda")(partial(in_the_loop, path=_path))


def two_cards(bench: Bench, path: str) -> dict[str, Any]:
    """MultiGPU CFG Split over two cards, against one."""
    bench.host.forget()
    one = getattr(bench, path)(windows=bench.several(), steps=2)
    split = bench.host.node("MultiGPU_WorkUnits", bench.model, 2)
    devices: Counter[str] = Counter()

    def note(module: Any, inputs: Any) -> None:
        if type(module).__name__ == "HostUNet":
            devices[str(inputs[0].device)] += 1

    handle = torch.nn.modules.module.register_module_forward_pre_hook(note)
    try:
        samples = getattr(bench, path)(split, windows=bench.several(), steps=2)
    finally:
        handle.remove()
    return {**told(samples), "one card": distance(samples, one), "devices": dict(devices)}


for _path in ("multi_frame", "k_sample"):
    scenario(f"two cards/{_path}", "cuda")(partial(two_cards, path=_path))


def previewed(bench: Bench, path: str) -> dict[str, Any]:
    """TAESD previews: how many frames are decoded at once."""
    from comfy.cli_args import LatentPreviewMethod

    shapes: list[list[int]] = []

    def note(module: Any, inputs: Any) -> None:
        if type(module).__name__ == "Conv2d" and inputs[0].shape[1] == 4 and module is decoder_input(module):
            shapes.append(list(inputs[0].shape))

    def decoder_input(module: Any) -> Any:
        # the UNet takes four channels as well: its first layer is no decoder's
        return None if module is bench.model.model.diffusion_model.conv_in else module

    handle = torch.nn.modules.module.register_module_forward_pre_hook(note)
    try:
        with bench.host.flags(preview_method=LatentPreviewMethod.TAESD):
            getattr(bench, path)(steps=2)
    finally:
        handle.remove()
    return {"shapes": shapes, "side": bench.size // 8}


for _path in ("multi_frame", "k_sample"):
    scenario(f"preview/{_path}", "cuda")(partial(previewed, path=_path))


@scenario("card/rules", "cuda", "mps")
def rules(bench: Bench) -> dict[str, Any]:
    """The pretended card itself: what it refuses, and what it counts."""
    device = bench.host.mm.get_torch_device()
    x, y = torch.ones(3, device=device), torch.ones(3)
    refused = {}
    trials: dict[str, Any] = {
        "mixed": lambda: x + y,
        "numpy": lambda: x.numpy(),
        "float64": lambda: x.to(torch.float64),
        "index": lambda: y[torch.tensor([0], device=device)],
    }
    for name, trial in trials.items():
        try:
            trial()
        except (RuntimeError, TypeError) as error:
            refused[name] = str(error)
    with counted() as traffic:
        moved = float((x + y.to(device)).sum())
        listed = x[[0, 1]].cpu()
    kinds: Counter[str] = Counter()
    for event, count in traffic.count.items():
        kinds[event.kind] += count
    return {"refused": refused, "sum": moved, "listed": listed.tolist(), "kinds": dict(kinds), "view": str(x.view(1, 3).device)}
