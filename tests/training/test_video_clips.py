"""Training samples from clips: which frames, which crop, and the same ones every time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from animate_core.preprocess import clip_input
from tests.training.test_videos import Draw, number_in, numbered, ramps, write
from training.videos import DataError, Pair, VideoClips

SQUARE = {"width": 32, "height": 32, "stride": 1, "clip_size": 28}


def pair_of(folder: Path, count: int, size: tuple[int, int] = (64, 64), pose_size: tuple[int, int] = (64, 64),
            draw: Draw = numbered) -> Pair:
    video = write(folder / f"{count}.mp4", count, size, draw, lossless=True)
    pose = write(folder / f"{count}_pose.mp4", count, pose_size, draw, lossless=True)
    return Pair(video, pose, count, 25.0)


def number_of(tensor: Tensor, low: float = -1) -> int:
    """The number shown by `[3, H, W]` in [low, 1]."""
    return number_in(((tensor - low) / (1 - low) * 255).permute(1, 2, 0).numpy())


def samples(dataset: VideoClips, epochs: int, index: int = 0) -> Iterator[dict[str, Tensor]]:
    for epoch in range(epochs):
        dataset.set_epoch(epoch)
        yield dataset[index]


def equal(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


@pytest.mark.parametrize("frames", [1, 6])
def test_shapes_and_ranges(tmp_path: Path, frames: int) -> None:
    pair = pair_of(tmp_path, 40, (64, 96), draw=ramps)
    dataset = VideoClips([pair, pair], width=48, height=64, frames=frames, stride=2, clip_size=28)
    assert len(dataset) == 2
    sample = dataset[1]
    assert {key: tuple(value.shape) for key, value in sample.items()} == {
        "target": (frames, 3, 64, 48), "pose": (frames, 3, 64, 48), "reference": (3, 64, 48), "clip": (3, 28, 28)}
    assert {value.dtype for value in sample.values()} == {torch.float32}
    for key, low in (("target", -1), ("pose", 0), ("reference", -1)):
        assert low <= sample[key].min() < low + 0.2 and 0.8 < sample[key].max() <= 1
    reference = Image.fromarray(((sample["reference"] + 1) / 2 * 255).round().byte().permute(1, 2, 0).numpy())
    assert torch.equal(sample["clip"], clip_input(reference, 28, squash=False)[0])


def test_stage_1_keeps_the_margin(tmp_path: Path) -> None:
    dataset = VideoClips([pair_of(tmp_path, 20)], frames=1, reference_margin=10, **SQUARE)
    drawn = [(number_of(sample["target"][0]), number_of(sample["pose"][0], 0), number_of(sample["reference"]))
             for sample in samples(dataset, 150)]
    assert all(pose == target for target, pose, _ in drawn)
    assert min(abs(target - reference) for target, _, reference in drawn) == 10
    assert {target for target, _, _ in drawn} == set(range(20)), "every frame is a target at times"
    assert len({(target, reference) for target, _, reference in drawn}) > 40


def test_stage_1_goes_as_far_as_a_short_video_lets_it(tmp_path: Path) -> None:
    dataset = VideoClips([pair_of(tmp_path, 7), pair_of(tmp_path, 1)], frames=1, reference_margin=30, **SQUARE)
    drawn = {(number_of(sample["target"][0]), number_of(sample["reference"])) for sample in samples(dataset, 60)}
    assert drawn == {(0, 6), (1, 6), (2, 6), (3, 0), (3, 6), (4, 0), (5, 0), (6, 0)}
    assert number_of(dataset[1]["target"][0]) == number_of(dataset[1]["reference"]) == 0


def test_stage_2_takes_evenly_spaced_frames(tmp_path: Path) -> None:
    dataset = VideoClips([pair_of(tmp_path, 24)], frames=5, **SQUARE | {"stride": 4})
    starts, references = set(), set()
    for sample in samples(dataset, 60):
        shown = [number_of(frame) for frame in sample["target"]]
        assert shown == list(range(shown[0], shown[0] + 17, 4))
        assert [number_of(frame, 0) for frame in sample["pose"]] == shown
        starts.add(shown[0])
        references.add(number_of(sample["reference"]))
    assert starts == set(range(8))
    assert len(references) > 15 and min(references) < 3 and max(references) > 20


def test_stage_2_repeats_frames_of_a_short_video(tmp_path: Path) -> None:
    dataset = VideoClips([pair_of(tmp_path, 6), pair_of(tmp_path, 3)], frames=5, **SQUARE | {"stride": 4})
    assert [number_of(frame) for frame in dataset[0]["target"]] == [0, 1, 2, 3, 5]
    assert [number_of(frame) for frame in dataset[1]["target"]] == [0, 0, 1, 1, 2]


def test_only_the_frames_of_the_sample_become_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = VideoClips([pair_of(tmp_path, 30)], frames=4, **SQUARE)
    made = []
    cropped = dataset._cropped
    monkeypatch.setattr(dataset, "_cropped", lambda *args: made.append(1) or cropped(*args))
    assert dataset[0]["target"].shape[0] == 4
    assert len(made) <= 4 + 1 + 4


def box_in(tensor: Tensor, low: float) -> np.ndarray:
    """(left, top, right, bottom) of a crop of `ramps`, in fractions of the picture."""
    picture = ((tensor - low) / (1 - low)).numpy()
    edges = []
    for line in (picture[0].mean(axis=0), picture[1].mean(axis=1)):
        middle = line[4:-4]  # the outermost pixels are an average over less
        slope, offset = np.polyfit((np.arange(4, len(line) - 4) + 0.5) / len(line), middle, 1)
        edges.append((offset, offset + slope))
    return np.array([edges[0][0], edges[1][0], edges[0][1], edges[1][1]])


def test_one_crop_for_target_pose_and_reference(tmp_path: Path) -> None:
    dataset = VideoClips([pair_of(tmp_path, 5, (128, 128), (240, 180), ramps)], width=64, height=64, frames=1, stride=1, clip_size=28)
    boxes = []
    for sample in samples(dataset, 40):
        box, pose, reference = (box_in(picture, low) for picture, low in (
            (sample["target"][0], -1), (sample["pose"][0], 0), (sample["reference"], -1)))
        assert np.allclose(pose, box, atol=0.004) and np.allclose(reference, box, atol=0.004)
        boxes.append(box)
    left, top, right, bottom = np.array(boxes).T
    area, ratio = (right - left) * (bottom - top), (right - left) / (bottom - top)
    assert area.min() > 0.89 and area.max() < 1.01 and np.ptp(area) > 0.05
    assert ratio.min() > 0.89 and ratio.max() < 1.01 and np.ptp(ratio) > 0.05
    assert left.min() > -0.005 and bottom.max() < 1.005
    assert np.ptp(left) > 0.02 and np.ptp(top) > 0.01, "the crop does not move"


@pytest.mark.parametrize(("size", "target", "cut"), [
    ((128, 128), (64, 64), (0, 0, 1, 1)),
    ((128, 64), (64, 64), (0.25, 0, 0.75, 1)),
    ((64, 128), (64, 64), (0, 0.25, 1, 0.75)),
    ((64, 128), (48, 64), (0, 1 / 6, 1, 5 / 6)),
])
def test_scale_1_leaves_the_centred_cut(tmp_path: Path, size: tuple[int, int], target: tuple[int, int], cut: tuple[float, ...]) -> None:
    dataset = VideoClips([pair_of(tmp_path, 5, size, size, ramps)], width=target[0], height=target[1], frames=2, stride=1, clip_size=28,
                         crop_scale=(1, 1))
    for sample in samples(dataset, 5):
        for picture, low in ((sample["target"][1], -1), (sample["pose"][1], 0), (sample["reference"], -1)):
            assert np.allclose(box_in(picture, low), cut, atol=0.006)


def test_the_crop_keeps_to_the_targets_aspect_ratio(tmp_path: Path) -> None:
    dataset = VideoClips([pair_of(tmp_path, 5, (192, 96), (192, 96), ramps)], width=48, height=64, frames=1, stride=1, clip_size=28)
    boxes = np.array([box_in(sample["target"][0], -1) for sample in samples(dataset, 25)])
    ratio = (boxes[:, 2] - boxes[:, 0]) * 192 / ((boxes[:, 3] - boxes[:, 1]) * 96)
    assert ratio.min() > 0.89 * 48 / 64 and ratio.max() < 1.01 * 48 / 64
    assert boxes[:, 0].min() > 0.30 and boxes[:, 2].max() < 0.70, "it leaves the centred cut of three eighths"


def test_a_sample_depends_on_seed_epoch_and_index_alone(tmp_path: Path) -> None:
    pair = pair_of(tmp_path, 40)
    first, second = (VideoClips([pair] * 4, frames=1, seed=3, **SQUARE) for _ in range(2))
    first.set_epoch(2)
    forwards = [first[index] for index in range(4)]
    second.set_epoch(2)
    backwards = [second[index] for index in reversed(range(4))][::-1]
    assert all(equal(*both) for both in zip(forwards, backwards, strict=True))
    second.set_epoch(1)
    reseeded = VideoClips([pair], frames=1, seed=4, **SQUARE)
    reseeded.set_epoch(2)
    others = [*forwards[1:], second[0], reseeded[0]]
    assert not any(equal(forwards[0], other) for other in others)


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_loader_workers_give_the_same_samples(tmp_path: Path, persistent: bool) -> None:
    dataset = VideoClips([pair_of(tmp_path, 40)] * 4, frames=1, **SQUARE)
    loader = DataLoader(dataset, batch_size=2, num_workers=2, persistent_workers=persistent)
    targets = []
    for epoch in (0, 7):
        dataset.set_epoch(epoch)
        loaded = list(loader)
        for key in ("target", "pose", "reference", "clip"):
            assert torch.equal(torch.cat([batch[key] for batch in loaded]), torch.stack([dataset[index][key] for index in range(4)]))
        targets.append(torch.cat([batch["target"] for batch in loaded]))
    assert not torch.equal(*targets), "the epoch did not reach the workers"


def test_a_file_that_went_bad_is_named(tmp_path: Path) -> None:
    pair = pair_of(tmp_path, 40)
    dataset = VideoClips([pair], frames=1, **SQUARE)
    pair.pose.write_bytes(b"nothing")
    with pytest.raises(DataError, match="40_pose.mp4 cannot be decoded"):
        dataset[0]


@pytest.mark.parametrize("wrong", [
    {"frames": 0}, {"stride": 0}, {"width": 0}, {"seed": -1}, {"reference_margin": -1}, {"pairs": []},
    {"crop_scale": (0.0, 1.0)}, {"crop_scale": (0.9, 1.1)}, {"crop_ratio": (1.0, 0.9)}, {"crop_ratio": (0.0, 1.0)},
])
def test_settings_that_make_no_sense(wrong: dict[str, Any]) -> None:
    settings = {"pairs": [Pair(Path("a.mp4"), Path("b.mp4"), 5, 25.0)], "frames": 1, **SQUARE}
    assert len(VideoClips(**settings)) == 1
    with pytest.raises(ValueError, match="must"):
        VideoClips(**settings | wrong)
