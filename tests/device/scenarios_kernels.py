"""torch.compile of the UNet, and what the host's attention is told, without a card."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from tests.device.scenarios import Bench, distance, scenario

# name -> heads, width of a head, tokens of the queries, batch
ATTENTIONS = {
    "spatial, head width 40": (8, 40, 256, 2),
    "spatial, head width 80": (8, 80, 256, 2),
    "spatial, head width 160": (8, 160, 64, 2),
}


def compiled(bench: Bench, backend: str) -> dict[str, Any]:
    """The UNet's forward as one graph, over windows of equal length: graphs compiled, breaks, the result against the plain one."""
    import torch._dynamo
    from torch._dynamo.utils import counters

    base = bench.exact_model
    windows = bench.several()
    plain = bench.k_sample(base, windows)
    torch._dynamo.reset()
    counters.clear()
    network = base.model.diffusion_model
    model = base.clone()
    # a break raises: fullgraph
    model.add_object_patch("diffusion_model", torch.compile(network, backend=backend, fullgraph=True, dynamic=False))
    samples = bench.k_sample(model, windows)
    result = {"distance": distance(samples, plain), "graphs": counters["stats"]["unique_graphs"], "breaks": len(counters["graph_break"]),
              "windows": len(windows.at(0, bench.frames))}
    torch._dynamo.reset()
    return result


scenario("compile/aot_eager", "cpu")(partial(compiled, backend="aot_eager"))


def attention_told(bench: Bench, heads: int, width: int, tokens: int, batch: int) -> dict[str, Any]:
    """What an attention that stands in the host's place is told of one call."""
    seen: list[dict[str, Any]] = []

    def stand_in(function: Any, *args: Any, **kwargs: Any) -> Tensor:
        seen.append({key: value for key, value in kwargs.items() if isinstance(value, (bool, int, float, str))})
        return function(*args, **kwargs)

    q = torch.randn(batch, tokens, heads * width)
    out = bench.host.pack["host"].attention({"optimized_attention_override": stand_in})(q, q, q, heads)
    wanted = torch.nn.functional.scaled_dot_product_attention(*[q.unflatten(2, (heads, width)).transpose(1, 2)] * 3)
    return {"calls": seen, "distance": distance(out, wanted.transpose(1, 2).flatten(2))}


for _name, (_heads, _width, _tokens, _batch) in ATTENTIONS.items():
    scenario(f"attention/{_name}", "cpu")(partial(attention_told, heads=_heads, width=_width, tokens=_tokens, batch=_batch))


@scenario("attention/in the network", "cpu")
def attention_in_network(bench: Bench) -> dict[str, Any]:
    """Which calls of a whole run are marked: by the tokens and the batch, temporal attention has one row for each place of a picture."""
    seen: list[tuple[int, bool]] = []

    def stand_in(function: Any, *args: Any, **kwargs: Any) -> Tensor:
        seen.append((args[0].shape[1], kwargs.get("low_precision_attention") is False))
        return function(*args, **kwargs)

    model, side, frames = bench.exact_model.clone(), 128, 3
    model.model_options.setdefault("transformer_options", {})["optimized_attention_override"] = stand_in
    bench.host.k_sample(bench.host.conditioning(model, *bench.host.encoded(side, side, frames)), steps=1)
    temporal = [marked for tokens, marked in seen if tokens == frames]
    spatial = [marked for tokens, marked in seen if tokens == (side // 8) ** 2]
    return {"temporal": len(temporal), "temporal marked": sum(temporal), "spatial": len(spatial), "spatial marked": sum(spatial)}
