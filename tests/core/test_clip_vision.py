"""The CLIP branch against transformers itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig, CLIPVisionModelWithProjection

from animate_core.checkpoints import CheckpointError
from animate_core.clip_vision import image_tokens, load_clip_vision, read_clip_vision
from animate_core.preprocess import clip_input

SHAPE = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 16, "image_size": 64, "intermediate_size": 96,
         "projection_dim": 24}


@pytest.fixture(scope="module")
def model() -> CLIPVisionModelWithProjection:
    torch.manual_seed(0)
    return CLIPVisionModelWithProjection(CLIPVisionConfig(**SHAPE)).eval()


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(np.random.RandomState(0).randint(0, 255, (90, 50, 3), dtype=np.uint8))


@pytest.fixture(params=["folder", "file with config", "file alone", "bin", "whole CLIP model"])
def stored(request: pytest.FixtureRequest, model: CLIPVisionModelWithProjection, tmp_path: Path) -> Path:
    model.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    if request.param == "folder":
        return tmp_path
    if request.param == "file alone":
        (tmp_path / "config.json").unlink()
    if request.param == "bin":
        torch.save(load_file(file), tmp_path / "pytorch_model.bin")
        file.unlink()
        return tmp_path
    if request.param == "whole CLIP model":
        text = CLIPTextConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, vocab_size=100)
        whole = CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=CLIPVisionConfig(**SHAPE).to_dict(), projection_dim=24))
        state = {k: v for k, v in whole.state_dict().items() if "text" in k or "logit" in k}
        save_file({**state, **load_file(file)}, tmp_path / "whole.safetensors")
        (tmp_path / "config.json").unlink()
        return tmp_path / "whole.safetensors"
    return file


def test_tokens_equal_transformers_own(stored: Path, model: CLIPVisionModelWithProjection, picture: Image.Image) -> None:
    with torch.inference_mode():
        expected = model(pixel_values=clip_input(picture, 64)).image_embeds
    tokens = image_tokens(load_clip_vision(stored), picture)
    assert tokens.shape == (1, 1, 24)
    assert torch.allclose(tokens[0], expected, atol=1e-5)


def test_the_two_preprocessings_differ(model: CLIPVisionModelWithProjection, picture: Image.Image) -> None:
    assert not torch.allclose(image_tokens(model, picture), image_tokens(model, picture, squash=False), atol=1e-3)


def test_config_is_read_from_the_shapes(model: CLIPVisionModelWithProjection, tmp_path: Path) -> None:
    save_file(model.state_dict(), tmp_path / "clip.safetensors")
    config, _ = read_clip_vision(tmp_path / "clip.safetensors")
    assert {k: config[k] for k in SHAPE} == SHAPE


def test_what_is_no_encoder_is_refused(model: CLIPVisionModelWithProjection, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="contains no weights"):
        load_clip_vision(tmp_path)
    save_file({"conv_in.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="contains no CLIP image encoder"):
        load_clip_vision(tmp_path / "other.safetensors")
    state = dict(model.state_dict())
    del state["visual_projection.weight"]
    save_file(state, tmp_path / "bare.safetensors")
    with pytest.raises(CheckpointError, match=r"no visual_projection\.weight"):
        load_clip_vision(tmp_path / "bare.safetensors")
    state = dict(model.state_dict())
    del state["vision_model.pre_layrnorm.bias"]
    save_file(state, tmp_path / "hole.safetensors")
    with pytest.raises(CheckpointError, match="1 tensors missing"):
        load_clip_vision(tmp_path / "hole.safetensors")
    save_file(model.state_dict(), tmp_path / "clip.safetensors")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="not a JSON"):
        load_clip_vision(tmp_path / "clip.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"vision_config": {"num_attention_heads": 4}}))
    assert read_clip_vision(tmp_path / "clip.safetensors")[0]["num_attention_heads"] == 4
