"""Given frames and regions in the sampling loop, and runs that are stopped and go on, against exact numbers.

The data are independent normals, for which the best prediction is a closed formula of each value by itself: what is given somewhere must
not change the rest by a bit.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from animate_core.families import FAMILIES
from animate_core.resume import Checkpoint, digest, graph_digest
from animate_core.sampling import DDIM, SCHEDULERS, Known, draw_noise, make_scheduler, sample_clip
from tests.core.test_sampling import MOORE, oracle

FRAMES, STEPS = 5, 7


def given() -> tuple[Tensor, Tensor]:
    """Latents, and a mask that gives the first two frames and half of the last one."""
    mask = torch.ones(FRAMES, 1, 8, 8)
    mask[:2], mask[-1, :, :4] = 0, 0
    return draw_noise(5, FRAMES, 8, 8), mask


@pytest.mark.parametrize("family", ["Moore", "Champ", "novita"])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_what_is_given_comes_out_and_the_rest_is_untouched(name: str, family: str) -> None:
    z, (latents, mask) = draw_noise(1, FRAMES, 8, 8), given()
    preset, options = FAMILIES[family], {"scheduler": name, "steps": STEPS, "guidance": 1.0}
    plain = sample_clip(oracle(family), z, preset, **options)
    x = sample_clip(oracle(family), z, preset, known=Known(latents, mask), **options)
    held = (mask == 0).expand_as(x)
    assert torch.equal(x[held], latents[held])
    assert torch.equal(x[~held], plain[~held]), "each value is its own data here"
    everything = sample_clip(oracle(family), z, preset, known=Known(latents, torch.ones_like(mask)), **options)
    assert torch.equal(everything, plain), "a mask of ones is no mask"


@pytest.mark.parametrize("denoise", [1.0, 0.5])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_network_sees_what_is_given_at_the_steps_noise_level(name: str, denoise: float) -> None:
    z, (latents, mask) = draw_noise(1, FRAMES, 8, 8), given()
    alphas, seen = make_scheduler(DDIM, MOORE).alphas_cumprod.double(), []

    def predict(x: Tensor, timestep: Tensor, step: int) -> tuple[None, Tensor]:
        a2 = alphas[int(timestep)]
        expected = a2.sqrt() * latents + (1 - a2).sqrt() * z
        # Euler and its kin end at a sigma of 4096 where the others end at infinity
        seen.append(float((x - expected)[:2].abs().max()) < 2e-3)
        return oracle()(x, timestep, step)

    start = {"latent": latents, "denoise": denoise} if denoise < 1 else {}
    sample_clip(predict, z, MOORE, scheduler=name, steps=STEPS, guidance=1.0, known=Known(latents, mask), **start)
    assert seen == [True] * STEPS


def test_half_a_mask_is_half_of_each() -> None:
    """One step from noise alone: the clean estimate is the mean of the given and the made one."""
    z, latents = draw_noise(1, 2, 8, 8), draw_noise(5, 2, 8, 8)
    seen = []
    for mask in (torch.ones(1), torch.full((1,), 0.5)):
        sample_clip(oracle(), z, MOORE, steps=1, guidance=1.0, known=Known(latents, mask),
                    callback=lambda step, steps, x, clean: seen.append(clean))
    assert torch.allclose(seen[1], (seen[0] + latents) / 2, atol=1e-5)


def test_a_mask_may_change_from_step_to_step() -> None:
    """Given for the first steps only, the values are made anew; the mask of the run says what must come out as given."""
    z, latents = draw_noise(1, 2, 8, 8), draw_noise(5, 2, 8, 8)
    ones = torch.ones(1)
    plain = sample_clip(oracle(), z, MOORE, steps=STEPS, guidance=1.0)
    early = sample_clip(oracle(), z, MOORE, steps=STEPS, guidance=1.0, known=Known(latents, ones, lambda step: ones * (step > 3)))
    never = sample_clip(oracle(), z, MOORE, steps=STEPS, guidance=1.0, known=Known(latents, ones, lambda step: ones))
    assert torch.equal(never, plain) and not torch.allclose(early, plain, atol=0.05)


# ------------------------------------------------------------------------------------------------------------------ resume

class StoppedError(Exception):
    pass


def stopping(at: int) -> Any:
    def predict(x: Tensor, timestep: Tensor, step: int) -> tuple[None, Tensor]:
        if step == at:
            raise StoppedError
        return oracle()(x, timestep, step)

    return predict


@pytest.mark.parametrize("denoise", [1.0, 0.6])
@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("at", [1, 2, 5])
def test_a_stopped_run_goes_on_to_the_same_result(tmp_path: Path, name: str, at: int, denoise: float) -> None:
    z, (latents, mask) = draw_noise(1, FRAMES, 8, 8), given()
    options: dict[str, Any] = {"scheduler": name, "steps": STEPS, "guidance": 1.0, "seed": 3, "known": Known(latents, mask)}
    options |= {"latent": latents, "denoise": denoise} if denoise < 1 else {}
    whole = sample_clip(oracle(), z, MOORE, **options)
    with pytest.raises(StoppedError):
        sample_clip(stopping(at), z, MOORE, checkpoint=Checkpoint(tmp_path, {"seed": "3"}), **options)
    steps: list[int] = []
    resumed = sample_clip(oracle(), z, MOORE, checkpoint=Checkpoint(tmp_path, {"seed": "3"}), **options,
                          callback=lambda step, *_: steps.append(step))
    assert steps == list(range(at, STEPS)), "only what is left is computed"
    assert torch.equal(resumed, whole)
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]


def test_every_and_ready_say_when_it_is_written(tmp_path: Path) -> None:
    def done(at: int, **options: Any) -> int:
        checkpoint = Checkpoint(tmp_path / f"{at}{options}".replace(":", ""), {}, **options)
        with pytest.raises(StoppedError):
            sample_clip(stopping(at), draw_noise(1, 1, 8, 8), MOORE, steps=STEPS, guidance=1.0, checkpoint=checkpoint)
        return checkpoint.written

    assert [done(at, every=3) for at in (2, 3, 5, 6)] == [0, 3, 3, 6]
    assert [done(at, every=2, ready=lambda step: step % 3 == 0) for at in (2, 3, 5, 6)] == [0, 3, 3, 6]


def test_other_settings_start_anew_and_say_what_differs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mine, other = {"seed": digest(1), "model": digest("a")}, {"seed": digest(2), "model": digest("a")}
    z = draw_noise(1, 1, 8, 8)
    with pytest.raises(StoppedError):
        sample_clip(stopping(3), z, MOORE, steps=STEPS, guidance=1.0, checkpoint=Checkpoint(tmp_path, mine))
    steps: list[int] = []
    caplog.set_level(logging.INFO)
    sample_clip(oracle(), z, MOORE, steps=STEPS, guidance=1.0, checkpoint=Checkpoint(tmp_path, other, every=100),
                callback=lambda step, *_: steps.append(step))
    assert steps == list(range(STEPS))
    assert "of other settings (seed) and is left alone" in caplog.text
    left = Checkpoint(tmp_path, mine)
    assert left.path.exists()
    left.remove()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("broken", [b"", b"\x10" + bytes(30), b"no safetensors at all"])
def test_a_broken_file_is_told_of_and_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture, broken: bytes) -> None:
    checkpoint = Checkpoint(tmp_path, {})
    checkpoint.path.write_bytes(broken)
    assert checkpoint.restore(None, None, torch.device("cpu")) is None
    assert "cannot be read" in caplog.text and str(checkpoint.path) in caplog.text


def test_a_full_disk_stops_no_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    checkpoint = Checkpoint(tmp_path / "file", {})  # a file is in the folder's place
    x = sample_clip(oracle(), draw_noise(1, 1, 8, 8), MOORE, steps=2, guidance=1.0, checkpoint=checkpoint)
    assert torch.isfinite(x).all() and "could not be written" in caplog.text and checkpoint.written == 0


def test_digests_change_with_what_is_in_them() -> None:
    x = torch.arange(6.0).reshape(2, 3)
    values = [None, 0, 0.0, "0", 1, True, "a", ["a"], [["a"]], ["a", "b"], ["ab"], {"a": "b"}, {"b": "a"}, x, x + 1e-6 * x, x.reshape(3, 2),
              x.half(), x.bfloat16(), x[:1], MOORE, replace(MOORE, steps=MOORE.steps + 1), torch.tensor(1.0), {"a": x}, [x]]
    assert len({digest(value) for value in values}) == len(values)
    assert digest({"a": x, "b": 1}) == digest({"b": 1, "a": x.clone()}) and digest(x.t()) == digest(x.t().contiguous())
    with pytest.raises(TypeError, match="no digest of a function"):
        digest(digest)


def test_graphs_are_the_same_whatever_their_ids() -> None:
    def graph(ids: str = "abc", strength: float = 1.0, name: str = "x", slot: int = 0) -> tuple[dict[str, Any], str]:
        loader, lora, other = ids
        return {lora: {"class_type": "Lora", "inputs": {"strength": strength, "model": [loader, slot]}},
                loader: {"class_type": "Loader", "inputs": {"name": name}}, other: {"class_type": "Picture", "inputs": {}}}, lora

    same = graph_digest(*graph())
    assert graph_digest(*graph("xyz")) == same
    others = [graph(strength=0.5), graph(name="y"), graph(slot=1)]
    assert len({same, *(graph_digest(*other) for other in others)}) == 4
    with_more, node = graph()
    with_more["b2"] = {"class_type": "Lora", "inputs": {"strength": 1.0, "model": [node, 0]}}
    assert graph_digest(with_more, node) == same != graph_digest(with_more, "b2")
