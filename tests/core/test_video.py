"""Backgrounds: mattes, composites and locks of drawn characters against the truth that they were drawn from, and closed forms."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from animate_core.curves import over_frames
from animate_core.demo.character import HELD_OUT_SEED, Background, make_character
from animate_core.demo.clip import REFERENCE_SEED_SHIFT, DemoClip, draw_clip
from animate_core.demo.motion import keypoints, make_moves
from animate_core.demo.scenery import draw_background
from animate_core.pose.keypoints import body_clip
from animate_core.video import composite as co
from animate_core.video.clip import Scene, lock_background, mattes, over_background
from animate_core.video.isolate import PLATES, estimate_mask, farthest_plate, isolate
from animate_core.video.lock import kept
from animate_core.video.matte import Matting, distance, find_plate, own_colours, refined, steadied
from animate_core.video.pictures import blurred, channels_first, covering, tidy

Array = np.ndarray
SIZE = (128, 192)
CASES = [(0, "dance"), (1, "walk"), (2, "wave"), (3, "jump"), (5, "swing"), (7, "squat")]
PLAIN = Scene(matting=Matting())


def batch(pictures: Array) -> Tensor:
    return torch.from_numpy(pictures.copy()).float() / 255


def scenery(seed: int, width: int = SIZE[0], height: int = SIZE[1]) -> Tensor:
    """The background of a character, `[1, H, W, 3]`."""
    return batch(np.asarray(draw_background(make_character(HELD_OUT_SEED + seed).background, width, height)))[None]


@cache
def drawn(seed: int, motion: str, plate: tuple[int, int, int] | None, behind: int = 0, frames: int = 4) -> DemoClip:
    """A character in motion before a plate, or before another character's background."""
    character = make_character(HELD_OUT_SEED + seed)
    background = Background("flat", plate, plate, plate, 0.7, (0.5,) * 8) if plate else make_character(HELD_OUT_SEED + behind).background
    points = keypoints(character, make_moves(motion, seed, frames, 16), *SIZE)
    return draw_clip(replace(character, background=background), points, *SIZE)


@cache
def plain_reference(seed: int) -> DemoClip:
    """A plain person at ease, in its own scenery."""
    character = make_character(seed)
    moves = make_moves("walk", (seed + REFERENCE_SEED_SHIFT) % (1 << 24), 1)
    return draw_clip(character, keypoints(character, moves, *SIZE), *SIZE)


@cache
def own_plate(seed: int) -> tuple[int, int, int]:
    """The plate that Isolate Character chooses."""
    reference = plain_reference(HELD_OUT_SEED + seed)
    found = farthest_plate(channels_first(batch(reference.frames)), batch(reference.masks)[:, None])
    red, green, blue = (round(255 * float(part)) for part in found)
    return red, green, blue


def overlap(a: Tensor, b: Tensor) -> float:
    return float(((a > 0.5) & (b > 0.5)).sum() / ((a > 0.5) | (b > 0.5)).sum())


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * torch.log10((a - b).square().mean()))


# -------------------------------------------------------------------------------------------------------------------------------- mattes

@pytest.mark.parametrize(("seed", "motion"), CASES)
def test_mattes_from_the_plates_colour(seed: int, motion: str, measured: Any) -> None:
    clip = drawn(seed, motion, own_plate(seed))
    truth = batch(clip.masks)[:, None]
    alpha, _ = mattes(batch(clip.frames), None, None, Matting(), lambda count: None)
    error = float((alpha - truth).abs().mean())
    measured(f"matte of {motion} {seed} from its plate: IoU {overlap(alpha, truth):.4f} (at least 0.97), error {error:.4f} (below 0.02)")
    assert overlap(alpha, truth) >= 0.97 and error < 0.02


@pytest.mark.parametrize(("seed", "motion"), CASES)
@pytest.mark.parametrize("source", ["plate", "soft masks", "hard masks"])
def test_a_composite_is_the_drawn_truth(seed: int, motion: str, source: str, measured: Any) -> None:
    clip, there = drawn(seed, motion, own_plate(seed)), seed + 20
    masks = {"plate": None, "soft masks": batch(clip.masks), "hard masks": (batch(clip.masks) > 0.5).float()}[source]
    made, _ = over_background(batch(clip.frames), scenery(there), PLAIN, masks)
    found = psnr(made, batch(drawn(seed, motion, None, there).frames))
    measured(f"composite of {motion} {seed} by {source}: {found:.1f} dB to the drawn truth (at least 35)")
    assert found >= 35


@pytest.mark.parametrize("sampled", [False, True], ids=["autoencoder", "3 steps"])
def test_mattes_of_the_built_in_models_clips(sampled: bool, measured: Any) -> None:
    """Against the character drawn in the same poses. What the model blurs or draws elsewhere no matte can undo: the measure is the best of
    all thresholds of the distance from the plate, which knows the truth."""
    from benchmarks.builtin import builtin_model
    from training.evaluate import through

    seed, motion = CASES[0]
    plate, reference, model = own_plate(seed), plain_reference(HELD_OUT_SEED + seed), builtin_model()
    clip = drawn(seed, motion, plate)
    picture = isolate(channels_first(batch(reference.frames)), batch(reference.masks)[:, None]).picture[0].movedim(0, -1)
    with torch.no_grad():
        frames = model.animate((255 * picture).round().to(torch.uint8).numpy(), clip.poses, steps=3, guidance=1.0,
                               seed=7) if sampled else through(model.vae, clip.frames)
    alpha, found = mattes(frames.float().movedim(1, -1), None, None, Matting(), lambda count: None)
    assert found
    truth = batch(clip.masks)[:, None]
    error, away = float((alpha - truth).abs().mean()), distance(frames.float(), found.colour.view(3, 1, 1))
    best = max(overlap((away > limit).float(), truth) for limit in np.linspace(0.04, 0.4, 30))
    measured(f"matte of a clip of the built-in model, {'3 steps' if sampled else 'autoencoder alone'}: IoU {overlap(alpha, truth):.3f}, "
             f"best threshold {best:.3f}, mean error {error:.4f}")
    assert overlap(alpha, truth) > best - 0.03 and error < (0.06 if sampled else 0.03)


def test_a_picture_without_a_plate_is_refused() -> None:
    noise = torch.rand(2, 3, 48, 32, generator=torch.Generator().manual_seed(1))
    with pytest.raises(ValueError, match="no plain plate .*connect masks"):
        find_plate(noise)
    with pytest.raises(ValueError, match="of the given colour"):
        find_plate(torch.full((1, 3, 48, 32), 0.1), torch.tensor([0.0, 1.0, 0.0]))


def test_small_holes_are_closed_and_large_ones_stay() -> None:
    alpha = torch.zeros(1, 1, 60, 60)
    alpha[..., 10:50, 10:50] = 1
    alpha[..., 20:22, 20:22] = 0  # 4 pixels
    alpha[..., 30:40, 30:40] = 0  # an opening, as between arm and trunk
    alpha[..., 3:5, 3:5] = 1  # a speck
    out = tidy(alpha, 9, 9)
    truth = alpha.clone()
    truth[..., 20:22, 20:22] = 1
    truth[..., 3:5, 3:5] = 0
    assert torch.equal(out, truth)


def test_steady_is_the_mean_of_what_stays() -> None:
    """A matte that flickers on a still picture; where the picture changes it is left alone."""
    frames = torch.full((3, 3, 8, 8), 0.5)
    frames[1, :, :, 4:] = 1.0
    alpha = torch.tensor([0.0, 0.9, 0.0]).view(3, 1, 1, 1).expand(3, 1, 8, 8).clone()
    out = steadied(frames, alpha, 0.5)
    # weights 1/2, 1, 1/2 and, at the ends, 1, 1/2
    assert torch.allclose(out[:, 0, :, :4].mean((1, 2)), torch.tensor([0.3, 0.45, 0.3]), atol=1e-6)
    assert torch.allclose(out[:, :, :, 4:], alpha[:, :, :, 4:], atol=1e-4)
    assert torch.equal(steadied(frames, alpha, 0.0), alpha)


def test_a_steady_clip_is_the_same_in_parts_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    clip = batch(drawn(0, "dance", own_plate(0), frames=6).frames)
    whole = mattes(clip, None, None, Matting(), lambda count: None)[0]
    monkeypatch.setattr("animate_core.video.pictures.parts.__defaults__", (2,))
    assert torch.allclose(mattes(clip, None, None, Matting(), lambda count: None)[0], whole, atol=1e-6)


def test_the_figures_own_colour_at_its_edge() -> None:
    """Two colours mixed: unmixed, they are one. What is greener than the figure goes from beside the edge, by the plate's tint alone."""
    alpha = torch.tensor([0.0] * 8 + [0.2, 0.4, 0.6, 0.8] + [1.0] * 8).expand(1, 1, 20, 20).clone()
    figure, plate = torch.full((1, 3, 1, 1), 0.5), torch.tensor([0.1, 0.7, 0.1]).view(1, 3, 1, 1).expand(1, 3, 20, 20)
    mixed = figure * alpha + plate * (1 - alpha)
    out = own_colours(mixed, alpha, plate, 1.0)
    assert (out - figure).abs()[..., 8:].max() < 0.02
    alpha[..., 8:12] = 0
    spilt = figure * alpha + plate * (1 - alpha)
    spilt[:, 1, :, 12] += 0.15
    # along the tint, (-1, 2, -1) / sqrt(6), green that is 0.15 too high comes down by 2/3 of that, and the others up by 1/3
    left = (own_colours(spilt, alpha, plate, 1.0) - figure)[0, :, 10, 12]
    assert torch.allclose(left, torch.tensor([0.05, 0.05, 0.05]), atol=0.015)
    assert torch.allclose(own_colours(spilt, alpha, plate, 0.0)[..., 12], spilt[..., 12], atol=1e-6)


def test_hard_masks_get_the_edge_of_the_picture() -> None:
    clip = drawn(2, "wave", None, 24)
    truth = batch(clip.masks)[:, None]
    hard = (truth > 0.5).float()
    band = (truth > 0.02) & (truth < 0.98)
    soft = refined(channels_first(batch(clip.frames)), hard)
    assert (soft - truth).abs()[band].mean() < 0.5 * (hard - truth).abs()[band].mean()


# ------------------------------------------------------------------------------------------------------------------------------ isolate

@pytest.mark.parametrize(("skeleton", "mean", "worst"), [(True, 0.95, 0.75), (False, 0.92, 0.7)])
def test_how_far_an_estimated_mask_carries(skeleton: bool, mean: float, worst: float, measured: Any) -> None:
    scores = []
    for seed in range(HELD_OUT_SEED, HELD_OUT_SEED + 10):
        drawing = plain_reference(seed)
        people = body_clip(drawing.keypoints, *SIZE).points[0] if skeleton else None
        scores.append(overlap(estimate_mask(channels_first(batch(drawing.frames)), people), batch(drawing.masks)[:, None]))
    measured(f"estimated masks of 10 characters {'with' if skeleton else 'without'} a skeleton: IoU {np.mean(scores):.3f} on average, "
             f"{np.min(scores):.3f} at worst; {sum(score >= 0.97 for score in scores)} of at least 0.97")
    assert np.mean(scores) > mean and min(scores) > worst


def test_isolated_on_the_plate_and_the_background_filled() -> None:
    drawing = plain_reference(HELD_OUT_SEED + 5)  # before one flat colour
    picture, mask = channels_first(batch(drawing.frames)), batch(drawing.masks)[:, None]
    made = isolate(picture, mask, plate=torch.tensor([0.0, 0.5, 1.0]))
    away = (mask == 0)[0, 0]
    assert torch.allclose(made.picture[0, :, away], torch.tensor([0.0, 0.5, 1.0]).view(3, 1))
    flat = channels_first(scenery(5))
    assert (made.background - flat).abs().max() < 2 / 255, "the whole background is one colour"


def test_an_empty_mask_is_refused() -> None:
    picture = torch.rand(1, 3, 48, 32)
    for mask in (torch.zeros(1, 1, 48, 32), torch.ones(1, 1, 48, 32)):
        with pytest.raises(ValueError, match="^mask: it is empty, or covers the whole image"):
            isolate(picture, mask)


def test_a_plate_is_far_from_the_characters_colours() -> None:
    alpha = torch.ones(1, 1, 8, 8)
    for name, colour in PLATES.items():
        own = (torch.tensor(colour) / 255).view(1, 3, 1, 1).expand(1, 3, 8, 8)
        found = farthest_plate(own, alpha)
        assert (found - own[0, :, 0, 0]).abs().max() > 0.35, name


# --------------------------------------------------------------------------------------------------------------------------------- lock

def test_a_locked_background_is_the_references_bit_by_bit() -> None:
    clip = drawn(0, "dance", None, 21)
    noise = torch.randn(*batch(clip.frames).shape, generator=torch.Generator().manual_seed(3)) * 0.03
    crawling, still = (batch(clip.frames) + noise).clamp(0, 1), scenery(21)
    made, share = lock_background(crawling, still, 3.0, 4.0, batch(clip.masks))
    locked = share == 0
    assert locked.float().mean() > 0.3
    assert torch.equal(made[locked], still.expand_as(made)[locked])
    always = locked.all(0)
    assert float((made[1:] - made[:-1])[:, always].abs().max()) == 0, "flicker"
    whole = share == 1
    assert torch.equal(made[whole], crawling[whole]) and bool((whole | (batch(clip.masks) <= 0.5)).all())


def test_the_feather_by_distance() -> None:
    mask = torch.zeros(41, 41)
    mask[20, 20] = 1
    share = kept(mask, 4.0, 6.0)
    for away, value in ((0, 1.0), (4, 1.0), (7, 0.5), (10, 0.0), (12, 0.0)):
        assert float(share[20, 20 + away]) == pytest.approx(value, abs=1e-6), away
    assert float(kept(torch.zeros(9, 9), 4, 4).max()) == 0


@pytest.mark.parametrize("skeleton", [False, True])
def test_the_person_is_what_differs_from_the_background(skeleton: bool) -> None:
    clip = drawn(1, "walk", None, 22)
    people = list(body_clip(clip.keypoints, *SIZE).points) if skeleton else None
    frames = batch(clip.frames)
    frames[:, 4:20, 4:14] = 1 - scenery(22)[:, 4:20, 4:14]  # a fault in a corner
    made, share = lock_background(frames, scenery(22), 1.0, 1.0, None, people)
    truth = batch(clip.masks) > 0.5
    assert float(share[truth].mean()) > 0.97
    assert (float(share[:, 4:20, 4:14].max()) == 0) == skeleton, "far from the skeleton nothing is the person"


# ------------------------------------------------------------------------------------------------------------------------------ composite

def test_numbers_over_time() -> None:
    assert over_frames([0.5], 3) == [0.5] * 3 and over_frames([1, 2, 4], 3) == [1, 2, 4]
    assert over_frames([0, 1], 5) == [0, 0.25, 0.5, 0.75, 1] and over_frames([2], 2) == [2, 2]
    assert np.allclose(over_frames([0, 3, 1], 7), np.interp(np.linspace(0, 2, 7), range(3), [0, 3, 1]))
    assert over_frames([3, 4, 5], 1) == [3]


def test_backgrounds_of_other_rates_and_lengths() -> None:
    def played(frames: int, rate: float, after: str) -> list[int]:
        return [co.source_frame(i, frames, rate, after) for i in range(8)]

    assert played(8, 0.5, co.HOLD) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert played(16, 2.0, co.HOLD) == [0, 2, 4, 6, 8, 10, 12, 14]
    assert played(3, 1.0, co.REPEAT) == [0, 1, 2, 0, 1, 2, 0, 1]
    assert played(3, 1.0, co.HOLD) == [0, 1, 2, 2, 2, 2, 2, 2]
    assert played(3, 1.0, co.BACK_AND_FORTH) == [0, 1, 2, 1, 0, 1, 2, 1]
    assert played(1, 1.0, co.BACK_AND_FORTH) == [0] * 8
    assert [co.source_frame(i, 99, 30 / 12, co.HOLD) for i in range(4)] == [0, 2, 5, 7]


def spot_of(layer: Tensor) -> tuple[float, float]:
    """The centre of mass of `[1, 1, H, W]`: x, y in pixels."""
    y, x = torch.meshgrid(*(torch.arange(n) + 0.5 for n in layer.shape[-2:]), indexing="ij")
    return float((layer * x).sum() / layer.sum()), float((layer * y).sum() / layer.sum())


@pytest.mark.parametrize(("how", "expected"), [
    (co.Staging(), (200.0, 200.0)), (co.Staging(x=0.1, y=-0.05), (240.0, 190.0)), (co.Staging(scale=0.5), (200.0, 200.0)),
    (co.Staging(scale=2.0), (200.0, 200.0)), (co.Staging(zoom=2.0), (200.0, 300.0)), (co.Staging(camera_x=1.0, zoom=1.25), (210.0, 225.0)),
])
def test_where_the_figure_stands(how: co.Staging, expected: tuple[float, float]) -> None:
    """A disc at the middle of the lower edge of a 60x100 frame, in 400x200; places by hand. The background is 800x200."""
    y, x = torch.meshgrid(torch.arange(100) + 0.5, torch.arange(60) + 0.5, indexing="ij")
    figure, behind = co.spots((60, 100), (800, 200), (400, 200), how, co.SCENE)
    place = (figure.left + 30 * figure.zoom, figure.top + 100 * figure.zoom)
    if how.camera_x:
        # the view of 320 pixels ends at 800: its middle is 640 where it was 400, the figure at 400 is 240 to the left of it
        expected = (-240 * 1.25 + 200, (200 - 100) * 1.25 + 100)
    assert place == pytest.approx(expected)
    disc = ((x - 30) ** 2 + (y - 70) ** 2 < 64).float()[None, None]
    seen = co.shown(disc, figure, 400, 200, "zeros", False)
    if figure.top + 80 * figure.zoom < 200 and figure.left > -30 * figure.zoom:
        assert spot_of(seen) == pytest.approx((figure.left + 30 * figure.zoom, figure.top + 70 * figure.zoom), abs=0.6)
        assert float(seen.sum()) == pytest.approx(float(disc.sum()) * figure.zoom**2, rel=0.06)


def test_the_camera_stays_on_the_background() -> None:
    ramp = torch.linspace(0, 1, 800).view(1, 1, 1, 800).expand(1, 1, 200, 800)
    for at, first, last in ((-1.0, 0, 399), (0.0, 200, 599), (1.0, 400, 799)):
        _, behind = co.spots((60, 100), (800, 200), (400, 200), co.Staging(camera_x=at), co.BEHIND)
        view = co.shown(ramp, behind, 400, 200, "replicate", True)
        assert torch.equal(view[0, 0, 0, [0, -1]], ramp[0, 0, 0, [first, last]])
    figure, _ = co.spots((60, 100), (800, 200), (400, 200), co.Staging(camera_x=1.0, zoom=2), co.BEHIND)
    assert figure == co.spots((60, 100), (800, 200), (400, 200), co.Staging(), co.SCENE)[0], "the figure stays in view"


def test_the_result_has_the_size_that_was_asked_for() -> None:
    clip = batch(drawn(0, "dance", own_plate(0)).frames)
    behind = torch.cat([scenery(1, 301, 200), scenery(2, 301, 200)])
    assert over_background(clip, behind, Scene())[0].shape == (4, 192, 128, 3)
    made, masks = over_background(clip, behind, Scene(as_background=True, light=0.5, shadow=0.5))
    assert made.shape == (4, 200, 300, 3) and masks.shape == (4, 200, 300)
    corner = covering(channels_first(behind), 300, 200)[..., 5, 5]
    assert torch.allclose(made[:, 5, 5], corner[[0, 1, 0, 1]], atol=1e-6)


def test_light_by_hand() -> None:
    """A white figure before a background whose brightest is known: all the way, it takes that light; half the way, its root."""
    figure, alpha = torch.ones(1, 3, 8, 8), torch.ones(1, 1, 8, 8)
    light = torch.tensor([0.9, 0.8, 0.7])
    behind = co.gamma(light).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    assert torch.allclose(co.light_gain(figure, alpha, behind, 1.0), light, atol=1e-4)
    gain = co.light_gain(figure, alpha, behind, 0.5)
    assert torch.allclose(gain, light.sqrt(), atol=1e-4)
    assert torch.allclose(co.lit(figure, gain), co.gamma(light.sqrt()).view(1, 3, 1, 1).expand(1, 3, 8, 8), atol=1e-4)
    assert torch.allclose(co.light_gain(figure, alpha, figure, 1.0), torch.ones(3), atol=1e-4)


def test_light_and_blur_are_kornias_and_scipys() -> None:
    from kornia.color import rgb_to_linear_rgb
    from scipy.ndimage import gaussian_filter

    x = torch.rand(1, 3, 64, 48, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(co.linear(x), rgb_to_linear_rgb(x), atol=1e-5) and torch.allclose(co.gamma(co.linear(x)), x, atol=1e-5)
    for sigma, most in ((1.3, 0.003), (9.0, 0.02)):
        truth = gaussian_filter(x[0, 0].numpy().astype(float), sigma, mode="nearest")
        assert np.abs(blurred(x, sigma)[0, 0].numpy() - truth)[12:-12, 12:-12].max() < most


def test_a_shadow_lies_under_feet_alone() -> None:
    alpha = torch.zeros(2, 1, 100, 60)
    alpha[0, 0, 20:90, 25:35] = 1  # stands at row 90
    alpha[1, 0, 5:75, 25:35] = 1  # jumps
    low, tall = co.ground(alpha) or (0.0, 0.0)
    assert (low, tall) == (90, 70)
    dark = co.shadow(alpha, low, tall)
    y, x = divmod(int(dark[0, 0].argmax()), 60)
    assert abs(y - 89) <= 2 and 25 <= x < 35 and float(dark[0].max()) > 0.5
    assert float(dark[0, 0, :80].max()) < 0.01 and float(dark[1].max()) == 0
    made = co.composite(alpha * 0.5, alpha, torch.ones(1, 3, 100, 60), dark, 1.0)
    assert torch.allclose(made[0, :, 20:90, 25:35], torch.tensor(0.5)), "the figure is not darkened"
    alpha[:, :, 60:, 25:35] = 1
    assert co.ground(alpha) is None, "feet below the picture stand on nothing"


def test_nothing_is_changed_where_the_figure_is_not() -> None:
    clip, behind = drawn(3, "jump", own_plate(3)), scenery(24)
    made, masks = over_background(batch(clip.frames), behind, PLAIN)
    assert torch.equal(made[masks == 0], behind.expand_as(made)[masks == 0])
