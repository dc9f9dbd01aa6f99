"""The trainings of the two encoders learn, and what they write is what others read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from animate_core.checkpoints import read_state_dict
from animate_core.demo.character import make_character
from animate_core.demo.clip import demo_clip
from animate_core.demo.model import DEMO_FOLDER
from animate_core.families import FAMILIES
from training.autoencoder import (
    CROP,
    Autoencoder,
    autoencoder_file,
    crops,
    decibels,
    load_autoencoder,
    pictures,
    preview_colours,
    train_autoencoder,
)
from training.image_encoder import facts, pairs, train_image_encoder
from training.loop import Plan


def test_crops_are_pieces_of_the_pictures() -> None:
    source = torch.arange(2 * 3 * 192 * 128).remainder(251).to(torch.uint8).view(2, 3, 192, 128)
    pieces = crops([source], 6, torch.Generator().manual_seed(0))
    assert pieces.shape == (6, 3, CROP, CROP) and pieces.min() >= -1 and pieces.max() <= 1
    whole = source.float() / 127.5 - 1
    for piece in pieces:
        found = False
        for side in (piece, piece.flip(-1)):
            corners = (whole[..., :192 - CROP + 1, :128 - CROP + 1] == side[:, :1, :1]).all(1).nonzero().tolist()
            found |= any(torch.equal(whole[i, :, y:y + CROP, x:x + CROP], side) for i, y, x in corners)
        assert found, "a crop is of no picture"


def test_autoencoder_learns_and_its_file_is_itself(tmp_path: Path) -> None:
    x = torch.cat([source[:1] for source in pictures(12, seed=9) if source.shape[-2:] == (288, 192)]).float() / 127.5 - 1
    network, average = train_autoencoder(tmp_path, Plan(25, 3e-3, warmup=3, average=0.8), batch=4, count=12, seed=9)
    average.swap()
    with torch.no_grad():
        z = network.encode(x)
        better = decibels(float((network.decode(z) - x).square().mean()))
        torch.manual_seed(0)
        untrained = Autoencoder()
        start = decibels(float((untrained.decode(untrained.encode(x)) - x).square().mean()))
        assert z.shape == (3, 4, 36, 24)
        assert better > start + 5
        again = load_autoencoder(autoencoder_file(network))
        assert torch.allclose(again.encode(x), z, atol=0.02 * float(z.abs().max()))


def test_an_autoencoder_begins_where_another_ended(tmp_path: Path) -> None:
    begin = DEMO_FOLDER / "vae.safetensors"
    network, _ = train_autoencoder(tmp_path, Plan(1, 1e-9), batch=1, count=6, begin=begin)
    shipped = load_autoencoder(read_state_dict(begin)).state_dict()
    assert all(torch.allclose(value, shipped[name], atol=1e-6) for name, value in network.state_dict().items())


def test_preview_colours_are_those_of_the_family() -> None:
    """The built-in model's factors against a fit on other characters, and what they make of latents."""
    network = load_autoencoder(read_state_dict(DEMO_FOLDER / "vae.safetensors"))
    x = torch.from_numpy(np.concatenate([demo_clip(seed, "dance", 1).frames for seed in range(900, 924)])).permute(0, 3, 1, 2)
    x = x.float() / 127.5 - 1
    factors = torch.tensor(FAMILIES["Demo"].latent_rgb)
    assert (preview_colours(network, x) - factors).abs().max() < 0.1
    with torch.no_grad():
        shown = torch.einsum("bchw,cd->bdhw", network.encode(x), factors[:4]) + factors[4].view(3, 1, 1)
    truth = torch.nn.functional.avg_pool2d(x, 8)
    assert (shown - truth).abs().mean() < 0.25 * truth.abs().mean()


def test_image_encoder_learns_to_know_characters(tmp_path: Path) -> None:
    encoder, _ = train_image_encoder(tmp_path, Plan(1, 1e-3), batch=8, count=24, seed=4)
    assert encoder.tower.config.projection_dim == 64
    assert not any(torch.isnan(p).any() for p in encoder.parameters())
    losses = []
    for steps in (2, 40):
        folder = tmp_path / str(steps)
        train_image_encoder(folder, Plan(steps, 2e-3, warmup=2), batch=8, count=24, seed=4)
        network = torch.load(folder / "last.pt", weights_only=True)["network"]
        head = encoder.head
        head.load_state_dict({k.removeprefix("head."): v for k, v in network.items() if k.startswith("head.")})
        encoder.tower.load_state_dict({k.removeprefix("tower."): v for k, v in network.items() if k.startswith("tower.")})
        pixels, known = pairs(24, 4)
        with torch.no_grad():
            told = head(encoder.tower(pixel_values=pixels[:, 0].float()).image_embeds)
        losses.append(float((told - known).square().mean()))
    assert losses[1] < 0.6 * losses[0], losses


def test_facts_tell_characters_apart() -> None:
    rows = np.array([facts(make_character(seed)) for seed in range(50)])
    assert np.abs(rows).max() <= 1
    assert (np.abs(rows[:, None] - rows[None]).sum(-1) + 2 * np.eye(50) > 1).all()
