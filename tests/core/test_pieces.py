"""Which frames are given, how a piece begins with the end of the last one, and how pieces are joined."""

from __future__ import annotations

import pytest
import torch

from animate_core.families import FAMILIES
from animate_core.pieces import begun, frame_list, joined, of_length
from animate_core.sampling import Known, draw_noise, sample_clip
from tests.core.test_sampling import oracle


@pytest.mark.parametrize(("text", "expected"), [
    ("", []), ("0", [0]), (" 3 , 0,3", [0, 3]), ("-1", [9]), ("2-4", [2, 3, 4]), ("8 - 9,0", [0, 8, 9]), ("-3--1", [7, 8, 9]),
    ("7--1,", [7, 8, 9]),
])
def test_frames_as_text(text: str, expected: list[int]) -> None:
    assert frame_list(text, 10) == expected


@pytest.mark.parametrize(("text", "told"), [
    ("a", "'a' is no frame and no range"), ("1.5", "no frame"), ("1-2-3", "no frame"), ("0;1", "no frame"),
    ("10", "'10' is not within the clip, which has the frames 0 to 9"), ("-11", "not within"), ("4-2", "not within"),
    ("8-10", "not within"),
])
def test_text_that_names_no_frames(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=f"keep: .*{told}"):
        frame_list(text, 10)


def test_lengths() -> None:
    x = draw_noise(0, 3, 2, 2)
    assert torch.equal(of_length(x, 2), x[:2]) and torch.equal(of_length(x, 5), x[[0, 1, 2, 2, 2]])


@pytest.mark.parametrize(("overlap", "new"), [(1, 1), (4, 12), (5, 2)])
def test_pieces_make_a_clip_without_doubled_frames(overlap: int, new: int) -> None:
    """Of data whose exact solution is a frame's noise and nothing else, pieces give what each frame's noise gives."""
    noise = [draw_noise(seed, 5 if seed == 0 else overlap + new, 8, 8) for seed in range(4)]
    options = {"steps": 3, "guidance": 1.0}
    clip = sample_clip(oracle(), noise[0], FAMILIES["Moore"], **options)
    expected = [clip]
    for z in noise[1:]:
        latents, mask = begun(clip, overlap, new)
        assert latents.shape[0] == mask.shape[0] == overlap + new and mask.flatten(1).mean(1).tolist() == [0] * overlap + [1] * new
        piece = sample_clip(oracle(), z, FAMILIES["Moore"], known=Known(latents, mask), **options)
        clip = joined(clip, piece, overlap)
        expected.append(sample_clip(oracle(), z, FAMILIES["Moore"], **options)[overlap:])
    assert torch.equal(clip, torch.cat(expected)) and len(clip) == 5 + 3 * new


def test_frames_that_a_sampler_rounded_are_taken_from_before() -> None:
    previous, piece = draw_noise(0, 4, 8, 8), draw_noise(1, 6, 8, 8)
    piece[:2] = previous[-2:] + 1e-3
    assert torch.equal(joined(previous, piece, 2), torch.cat([previous, piece[2:]]))


@pytest.mark.parametrize(("overlap", "size", "told"), [
    (3, 8, "piece: its first 3 frames are not the last 3 frames of previous"), (1, 8, "piece: its first 1 frames are not"),
    (2, 16, "piece: its latents are"), (0, 8, "overlap: it must be at least 1"), (5, 8, "overlap: .* at most 4"),
    (6, 8, "overlap: .* less than 6"),
])
def test_pieces_that_do_not_fit(overlap: int, size: int, told: str) -> None:
    previous, piece = draw_noise(0, 4, 8, 8), draw_noise(1, 6, size, 8)
    if size == 8:
        piece[:2] = previous[-2:]
    with pytest.raises(ValueError, match=told):
        joined(previous, piece, overlap)
