"""What saves memory: weights in 8 bits, poses kept as pictures."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from animate_core.demo.model import DEMO_FAMILY, NORM_NUM_GROUPS, NUM_HEADS, demo_files
from animate_core.unet import UNet, UNetConfig
from tests.device.networks import EIGHT_BITS
from tests.device.scenarios import Bench, distance, scenario, told
from tests.device.scenarios_graphs import built_in_graph

CARDS = ("cuda", "dynamic")
FULL = {"ReferenceNet": UNetConfig(out_channels=None), "motion UNet": UNetConfig(motion=True)}


def built_in_pieces(bench: Bench) -> tuple[Any, Any]:
    """Reference and pose of a drawn character, for the built-in model."""
    if "built in" not in bench.known:
        without = ("sampler", "decode", "webp", "pose_and_clip", "beside", "beside_video", "beside_save")
        bench.known["built in"] = bench.host.made_by(built_in_graph("demo"), "reference", "pose", without=without)
    return bench.known["built in"]


def eight_bit(bench: Bench, choice: str) -> dict[str, Any]:
    """The built-in model, trained as it is, with its weights in 8 bits and as the host chooses; with the card's memory and without."""
    reference, pose = built_in_pieces(bench)
    file = str(demo_files().denoising_unet)

    def load(choice: str) -> Any:
        return bench.host.pack["host_model"].load_motion_unet(file, None, DEMO_FAMILY, choice, NUM_HEADS, NORM_NUM_GROUPS)

    def run(model: Any) -> Tensor:
        return bench.host.multi_frame(model, reference, pose, steps=2, cfg=1.0)

    plain = run(load("fp16"))
    bench.host.forget()
    model = load(choice)
    result = told(run(model))
    bench.host.forget()
    with bench.host.little_memory():
        away = run(model)
    # only the widget: the flags of the command line are tried in scenarios_cards.py
    return {**result, "from plain": distance(result["samples"], plain), "offloaded": distance(away, result["samples"]),
            "weights": str(model.model.get_dtype()), "compute": str(model.model.get_dtype_inference()),
            "left": bench.host.left_on_card()}


def eight_bit_reference(bench: Bench, choice: str) -> dict[str, Any]:
    """Features of the built-in model's ReferenceNet in 8 bits: the largest distance from those in 16."""
    made = {}
    for dtype in ("fp16", choice):
        net = bench.host.pack["loaders"].load_reference_net(str(demo_files().reference_unet), dtype, NUM_HEADS, NORM_NUM_GROUPS)
        generator = torch.Generator().manual_seed(1)
        latent = torch.randn(1, 4, 24, 16, generator=generator)
        token = torch.randn(1, 1, net.config.cross_attention_dim, generator=generator)
        with bench.host.pack["host"].on_device(net.patcher, 0) as device:
            features = net.patcher.model.reference_features(latent.to(device, net.dtype), token.to(device, net.dtype))
            made[dtype] = {path: x.cpu() for path, x in features.items()}
    return {"distance": max(distance(made[choice][path], made["fp16"][path]) for path in made["fp16"])}


for _choice in EIGHT_BITS:
    scenario(f"fp8/{_choice}", *CARDS)(partial(eight_bit, choice=_choice))
    scenario(f"fp8/reference/{_choice}", *CARDS)(partial(eight_bit_reference, choice=_choice))


def eight_bit_files(bench: Bench, files: str, choice: str) -> dict[str, Any]:
    """Files that are stored in 8 bits, against their numbers in fp32."""
    model = bench.host.model(f"small_{files}", choice)
    stored = {str(w.dtype) for w in model.model.diffusion_model.parameters()}
    result = told(bench.multi_frame(model, steps=1))
    exact = bench.multi_frame(bench.host.model(f"small_{files}", "fp32"), steps=1)
    return {**result, "from fp32": distance(result["samples"], exact), "stored": sorted(stored), "left": bench.host.left_on_card()}


for _files in EIGHT_BITS:
    for _choice in ("auto", _files):
        scenario(f"fp8 files/{_files}/{'auto' if _choice == 'auto' else 'as stored'}", "cpu", *CARDS)(
            partial(eight_bit_files, files=_files, choice=_choice))


@scenario("fp8/bytes", "cpu")
def bytes_at_full_size(bench: Bench) -> dict[str, Any]:
    """What the host counts for weights of the published sizes, of which no numbers are needed."""
    sizes: dict[str, dict[str, int]] = {}
    for name, config in FULL.items():
        with torch.device("meta"):
            weights = UNet(config, dtype=torch.float16).state_dict()
        sizes[name] = {}
        for choice in ("fp16", *EIGHT_BITS):
            # the layers of the network as it is built have no numbers either, only room that nothing touches
            patcher, _ = bench.host.pack["host"].build_patcher(partial(UNet, config), weights, choice)
            sizes[name][choice] = patcher.model_size()
    return {"sizes": sizes}


@scenario("fp8/refused", "mps")
def refused_where_there_is_none(bench: Bench) -> dict[str, Any]:
    bench.host.model("small", "fp8_e4m3fn")
    return {}


def kept_as_pictures(bench: Bench, path: str, little: bool = False, cards: int = 1) -> dict[str, Any]:
    """A clip whose poses are kept as pictures, against one whose features are."""
    host, windows = bench.host, bench.several()
    reference, features = bench.pieces
    with host.exact():
        _, pictures = host.encoded(bench.size, bench.size, bench.frames, keep="pictures")
    model = bench.exact_model if cards == 1 else host.node("MultiGPU_WorkUnits", bench.exact_model, cards)

    def run(pose: Any) -> Tensor:
        if path == "multi_frame":
            return host.multi_frame(model, reference, pose, steps=2, windows=windows)
        return host.k_sample(host.conditioning(model, reference, pose, windows), steps=2)

    wanted = run(features)
    host.forget()
    if little:
        with host.little_memory():
            found = run(pictures)
    else:
        found = run(pictures)
    return {**told(found), "distance": distance(found, wanted), "left": host.left_on_card(),
            "kept": [list(pictures.kept.shape), str(pictures.kept.dtype), str(pictures.kept.device)]}


for _path in ("multi_frame", "k_sample"):
    scenario(f"pictures/{_path}", "cpu", *CARDS)(partial(kept_as_pictures, path=_path))
scenario("pictures/little", *CARDS)(partial(kept_as_pictures, path="multi_frame", little=True))
scenario("pictures/two cards", "cuda")(partial(kept_as_pictures, path="k_sample", cards=2))


@scenario("pictures/claim", "cuda")
def claimed_for_pictures(bench: Bench) -> dict[str, Any]:
    """What the host is told of a conditioning's memory, and what the MODEL claims if making features takes more than the step."""
    with bench.host.exact():
        _, pictures = bench.host.encoded(bench.size, bench.size, bench.frames, keep="pictures")
    model = bench.exact_model.model
    told = {}
    for name, pose in (("features", bench.pieces[1]), ("pictures", pictures)):
        about = bench.host.conditioning(bench.exact_model, bench.pieces[0], pose, bench.several())
        told[name] = model.extra_conds_shapes(**about.positive[0][1])
    side = bench.size // 8
    return {"told": told, "bytes": pictures.window_bytes(4, model.config.block_out_channels[0]),
            "claim": model.memory_required([4, 4, side, side], {key: [[4, 10**12, 1]] for key in told["pictures"]})}
