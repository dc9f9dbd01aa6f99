"""What is measured: sizes, networks with random weights, inputs, and the two ways of computing a step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from animate_core.motion import PositionEncoding, position_table
from animate_core.sampling import unet_predictor
from animate_core.unet import UNet, UNetConfig
from animate_core.windows import Windows

from .published import published_step

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
SMALL_WIDTHS = (64, 128, 256, 256)

# runs one guided evaluation of the network: -> [2 F, 4, h, w], the unconditional half first
Step = Callable[[], Tensor]


@dataclass(frozen=True)
class Case:
    """width and height in pixels. quick: narrow network, for a look at whether the benchmark itself works."""

    width: int
    height: int
    frames: int
    dtype: str
    quick: bool = False

    @property
    def name(self) -> str:
        return f"{self.width}x{self.height}-F{self.frames}-{self.dtype}"

    @property
    def config(self) -> UNetConfig:
        return UNetConfig(motion=True, block_out_channels=SMALL_WIDTHS) if self.quick else UNetConfig(motion=True)


def all_cases(quick: bool) -> list[Case]:
    sizes = [(128, 96, 4)] if quick else [(256, 192, 8), (512, 768, 2)]
    return [Case(*size, dtype, quick) for size, dtype in product(sizes, DTYPES)]


def build_unet(case: Case) -> UNet:
    """The case's network, its weights drawn at a scale that keeps activations near 1, none of them zero."""
    unet = UNet(case.config, dtype=DTYPES[case.dtype], device="meta").to_empty(device="cpu").eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in unet.named_parameters():
        if parameter.ndim > 1:
            gain = 1.5 if ".to_q." in name or ".to_k." in name else 0.7
            parameter.normal_(0.0, gain / math.sqrt(parameter[0].numel()), generator=generator)
        else:
            parameter.normal_(1.0 if name.endswith("weight") else 0.0, 0.05, generator=generator)
    for module in unet.modules():
        if isinstance(module, PositionEncoding):
            module.pe = position_table(*module.pe.shape[1:]).unsqueeze(0)
    return unet


@dataclass(frozen=True)
class Inputs:
    """Of one clip: latents `[F, 4, h, w]`, pose features `[F, C, h, w]`, image token `[1, 1, D]`, features `[1, N, C]` by block."""

    latents: Tensor
    pose: Tensor
    token: Tensor
    features: dict[str, Tensor]
    timestep: Tensor


def feature_shapes(unet: UNet, height: int, width: int) -> dict[str, tuple[int, int]]:
    """(tokens, channels) of the reference's features by block path, for latents of height x width."""
    last = len(unet.config.block_out_channels) - 1
    shapes = {}
    for block in unet.spatial_blocks():
        stage, number = block.path.split(".")[:2]
        level = {"down_blocks": int(number), "up_blocks": last - int(number)}[stage] if stage != "mid_block" else last
        tokens = math.ceil(height / 2**level) * math.ceil(width / 2**level)
        shapes[block.path] = (tokens, block.norm1.normalized_shape[0])
    return shapes


def make_inputs(case: Case, unet: UNet) -> Inputs:
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(DTYPES[case.dtype])

    height, width = case.height // 8, case.width // 8
    features = {path: normal(1, *shape) for path, shape in feature_shapes(unet, height, width).items()}
    return Inputs(
        latents=normal(case.frames, unet.config.in_channels, height, width),
        pose=0.5 * normal(case.frames, unet.config.block_out_channels[0], height, width),
        token=normal(1, 1, unet.config.cross_attention_dim),
        features=features,
        timestep=torch.tensor([500]),
    )


def ours(unet: UNet, inputs: Inputs) -> Step:
    """A step of `animate_core`, the clip's conditioning already prepared (`UNet.condition`, once per clip)."""
    conditional = unet.condition(inputs.token, inputs.features)
    unconditional = unet.condition(torch.zeros_like(inputs.token))
    predict = unet_predictor(unet, conditional, unconditional, inputs.pose, Windows(length=inputs.latents.shape[0], overlap=0))

    def step() -> Tensor:
        u, c = predict(inputs.latents, inputs.timestep, 0)
        assert u is not None
        return torch.cat([u, c])

    return step


def published(unet: UNet, inputs: Inputs) -> Step:
    """A step of the published way, from the bank that its reference pass leaves (both rows of it)."""
    states = torch.cat([torch.zeros_like(inputs.token), inputs.token])
    bank = {path: feature.repeat(2, 1, 1) for path, feature in inputs.features.items()}
    return lambda: published_step(unet, inputs.latents, inputs.timestep, states, bank, inputs.pose)


WAYS: dict[str, Callable[[UNet, Inputs], Step]] = {"published": published, "ours": ours}
