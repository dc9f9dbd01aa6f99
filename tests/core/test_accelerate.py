"""What an accelerated run computes, counted by hooks, and what it reuses, against passes whose deep features other hooks replace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from animate_core.accelerate import Acceleration, StepPlan
from animate_core.blocks import ClipConditioning
from animate_core.sampling import Predict, unet_predictor
from animate_core.unet import UNet, UNetConfig
from animate_core.windows import Windows

CONFIG = UNetConfig(block_out_channels=(32, 64, 64, 64), cross_attention_dim=24, motion=True)
FRAMES, WINDOWS = 8, Windows(4, 1)  # three windows a step, others at most steps
ONE = Windows(FRAMES, 0)
# the layer that what was kept enters: the last one and those before it
FIRST_SHALLOW = {1: 2, 2: 1, 3: 0}


@pytest.fixture(autouse=True, scope="module")
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def unet() -> UNet:
    torch.manual_seed(1)
    return UNet(CONFIG).eval()


@pytest.fixture(scope="module")
def clips(unet: UNet) -> dict[str, ClipConditioning]:
    torch.manual_seed(2)
    token = torch.randn(1, 1, 24)
    sizes = {"down_blocks.0": (64, 32), "down_blocks.1": (16, 64), "down_blocks.2": (4, 64), "mid_block": (1, 64),
             "up_blocks.1": (4, 64), "up_blocks.2": (16, 64), "up_blocks.3": (64, 32)}
    features = {block.path: torch.randn(1, *sizes[".".join(block.path.split(".")[:1 if "mid" in block.path else 2])])
                for block in unet.spatial_blocks()}
    return {"conditional": unet.condition(token, features), "unconditional": unet.condition(torch.zeros_like(token))}


@pytest.fixture(scope="module")
def pose() -> Tensor:
    torch.manual_seed(3)
    return torch.randn(FRAMES, 32, 8, 8)


def predictor(unet: UNet, clips: dict[str, ClipConditioning], pose: Tensor, acceleration: Acceleration | None, steps: int,
              windows: Windows = ONE, together: bool = True) -> Predict:
    plans = [acceleration.at(step, steps) for step in range(steps)] if acceleration else []
    return unet_predictor(unet, clips["conditional"], clips["unconditional"], pose, windows, plans=plans, together=together)


def latents(step: int) -> tuple[Tensor, Tensor]:
    """A step's model input and timestep."""
    return torch.randn(FRAMES, 4, 8, 8, generator=torch.Generator().manual_seed(step)), torch.tensor([999 - 100 * step])


def test_the_plan_of_each_step() -> None:
    plans = [Acceleration(guidance_start=0.25, guidance_end=0.8, guidance_every=2, deep_every=3, deep_layers=2, reference_end=0.5).at(i, 8)
             for i in range(8)]
    assert [p.guidance for p in plans] == ["off", "off", "computed", "reused", "computed", "reused", "computed", "off"]
    assert [p.whole for p in plans] == [0, 0, 0, 3, 3, 3, 6, 6]
    assert [p.reuse for p in plans] == [False, True, True, False, True, True, False, True]
    assert [p.reference for p in plans] == [True] * 4 + [False] * 4
    assert Acceleration().at(5, 8) == StepPlan("computed", 5, False, 0, True)


@pytest.mark.parametrize("wrong", [{"guidance_start": 0.7, "guidance_end": 0.5}, {"guidance_end": 1.2}, {"reference_end": -0.1},
                                   {"deep_every": 0}, {"deep_layers": 0}, {"guidance_every": 0}])
def test_settings_out_of_range_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Acceleration(**wrong)  # type: ignore[arg-type]


def test_the_defaults_change_nothing(unet: UNet, clips: dict[str, ClipConditioning], pose: Tensor) -> None:
    plain, same = (predictor(unet, clips, pose, a, 3) for a in (None, Acceleration()))
    for step in range(3):
        for a, b in zip(plain(*latents(step), step), same(*latents(step), step), strict=True):
            assert a is not None and torch.equal(a, b)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("settings", [Acceleration(deep_every=2, guidance_every=4), Acceleration(guidance_start=0.2, guidance_end=0.6)])
def test_as_many_passes_run_as_planned(unet: UNet, clips: dict[str, ClipConditioning], pose: Tensor, settings: Acceleration,
                                       together: bool) -> None:
    rows = {"all": 0, "deep": 0}

    def count(name: str) -> Callable[..., None]:
        def hook(module: object, inputs: tuple[Tensor, ...]) -> None:
            rows[name] += len(inputs[0])
        return hook

    handles = [unet.conv_in.register_forward_pre_hook(count("all")),
               unet.mid_block.resnets[0].register_forward_pre_hook(count("deep"))]
    predict, expected = predictor(unet, clips, pose, settings, 10, together=together), {"all": 0, "deep": 0}
    for step in range(10):
        plan = settings.at(step, 10)
        u, _ = predict(*latents(step), step)
        halves = 2 if plan.guidance == "computed" else 1
        assert (u is None) == (plan.guidance == "off")
        expected["all"] += halves * FRAMES
        expected["deep"] += 0 if plan.reuse else halves * FRAMES
    for handle in handles:
        handle.remove()
    assert rows == expected


@pytest.mark.parametrize("layers", FIRST_SHALLOW)
def test_a_step_between_whole_ones_is_a_pass_with_their_deep_features(unet: UNet, clips: dict[str, ClipConditioning], pose: Tensor,
                                                                    layers: int) -> None:
    predict = predictor(unet, clips, pose, Acceleration(deep_every=3, deep_layers=layers), 6)
    plain = predictor(unet, clips, pose, None, 6)
    resnet = unet.up_blocks[3].resnets[FIRST_SHALLOW[layers]]
    kept: list[Tensor] = []

    def keep(module: object, args: tuple[object, ...]) -> None:
        kept[:] = [args[0].clone()]  # type: ignore[attr-defined]

    def replace_deep(module: object, args: tuple[object, ...]) -> tuple[object, ...]:
        return kept[0], *args[1:]

    for step in range(6):
        if step % 3 == 0:
            handle = resnet.register_forward_pre_hook(keep)
        expected = torch.cat(plain(*latents(step), step))  # type: ignore[arg-type]
        if step % 3 == 0:
            handle.remove()
            handle = resnet.register_forward_pre_hook(replace_deep)
        ours = torch.cat(predict(*latents(step), step))  # type: ignore[arg-type]
        if step % 3 == 0:
            assert torch.equal(ours, expected)
        else:
            assert torch.allclose(ours, expected, atol=1e-5)
        if step % 3 == 2:
            handle.remove()
    handle.remove()


def test_windows_stay_from_one_whole_step_to_the_next(unet: UNet, clips: dict[str, ClipConditioning], pose: Tensor) -> None:
    """With deep features that were never kept for its frames, a window would run whole."""
    deep: list[int] = []
    handle = unet.mid_block.resnets[0].register_forward_pre_hook(lambda module, inputs: deep.append(len(inputs[0])))
    predict = predictor(unet, clips, pose, Acceleration(deep_every=2), 6, WINDOWS)
    counts = []
    for step in range(6):
        predict(*latents(step), step)
        counts.append(len(deep))
        deep.clear()
    handle.remove()
    assert WINDOWS.at(2, FRAMES) != WINDOWS.at(3, FRAMES)
    assert counts == [len(WINDOWS.at(0, FRAMES)), 0, len(WINDOWS.at(2, FRAMES)), 0, len(WINDOWS.at(4, FRAMES)), 0]


def test_the_last_difference_stands_in_for_the_unconditional_half(unet: UNet, clips: dict[str, ClipConditioning], pose: Tensor) -> None:
    predict, plain = (predictor(unet, clips, pose, a, 4) for a in (Acceleration(guidance_every=2), None))
    for step in range(4):
        x, t = latents(step)
        (u, c), (true_u, true_c) = predict(x, t, step), plain(x, t, step)
        assert torch.allclose(c, true_c, atol=1e-3) and u is not None and true_u is not None
        if step % 2 == 0:
            difference = true_u - true_c
        assert torch.allclose(u, true_c + difference, atol=1e-3)


def test_late_steps_do_not_read_the_reference(unet: UNet, clips: dict[str, ClipConditioning], pose: Tensor) -> None:
    predict = predictor(unet, clips, pose, Acceleration(reference_end=0.5), 2)
    without = {**clips, "conditional": replace(clips["conditional"], reference=None)}
    outputs = [predictor(unet, c, pose, None, 2)(*latents(step), step)[1] for step, c in enumerate((clips, without))]
    for step, expected in enumerate(outputs):
        assert torch.equal(predict(*latents(step), step)[1], expected)
    assert not torch.allclose(outputs[1], predictor(unet, clips, pose, None, 2)(*latents(1), 1)[1], atol=1e-3)
