"""Crops of a part against closed forms and Pillow: boxes that follow it, the way there and back, feathering."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from animate_core.demo.character import HELD_OUT_SEED
from animate_core.demo.clip import demo_clip
from animate_core.pose.keypoints import (
    L_EAR,
    L_EYE,
    LEFT_HAND,
    NECK,
    NOSE,
    NUM_POINTS,
    R_EAR,
    R_ELBOW,
    R_EYE,
    R_WRIST,
    PoseClip,
    body_clip,
)
from animate_core.video.crops import FADE, LONGEST_GAP, PARTS, Placement, crop, paste, place_part, ramp, resampled

Array = np.ndarray
FRAMES, WIDTH, HEIGHT = 24, 400, 300


def heads(x: Array, y: Array, half: Array | float = 20.0) -> PoseClip:
    """A head that faces us, so many pixels from its middle to each ear; all points of a frame of half 0 are missing."""
    points = np.zeros((len(x), 1, NUM_POINTS, 3))
    half = np.broadcast_to(half, x.shape)
    for point, dx, dy in ((NOSE, 0, 0.2), (R_EYE, -0.4, -0.2), (L_EYE, 0.4, -0.2), (R_EAR, -1, 0), (L_EAR, 1, 0), (NECK, 0, 1.8)):
        points[:, 0, point] = np.stack([x + dx * half, y + dy * half, half > 0], axis=-1)
    return PoseClip(points, WIDTH, HEIGHT)


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(3))


# ---------------------------------------------------------------------------------------------------------------------------- boxes

def test_a_head_in_steady_motion_stays_in_the_middle() -> None:
    """The ears are 40 pixels apart: the head's box is 60 wide, the crop's twice as wide, of the crop's shape, wherever it is."""
    t = np.arange(FRAMES)
    x, y = 120 + 3.0 * t, 140 + 1.5 * t
    placement = place_part(heads(x, y), "face", WIDTH, HEIGHT, 240, 320, margin=2)
    assert placement.frames.tolist() == list(t) and (placement.opacity == 1).all()
    left, top, width, height = placement.boxes.T
    assert np.allclose(width, 120, atol=0.05) and np.allclose(height, 160, atol=0.05)
    assert np.allclose(left + width / 2, x, atol=0.02) and np.allclose(top + height / 2, y, atol=0.02)
    assert np.allclose(placement.zoom, 2, atol=1e-3)


def test_jitter_is_smoothed_and_the_part_stays_inside() -> None:
    rng = np.random.default_rng(0)
    x, y, half = 200 + rng.normal(0, 2, FRAMES), 150 + rng.normal(0, 2, FRAMES), rng.uniform(18, 22, FRAMES)
    still = place_part(heads(x, y, half), "face", WIDTH, HEIGHT, 128, 128, margin=1).boxes
    shaking = place_part(heads(x, y, half), "face", WIDTH, HEIGHT, 128, 128, margin=1, smooth=0).boxes

    def movement(boxes: Array) -> float:
        return float(np.abs(np.diff(boxes[:, :2] + boxes[:, 2:] / 2, axis=0)).mean())

    assert movement(still) < movement(shaking) / 3
    assert np.abs(np.diff(still[:, 2])).max() < np.abs(np.diff(shaking[:, 2])).max() / 3
    head = 1.5 * half  # half the side of its square, 1.5 times the distance of the ears
    for boxes in (still, shaking):
        assert (boxes[:, 0] <= x - head + 1e-3).all() and (boxes[:, 0] + boxes[:, 2] >= x + head - 1e-3).all()
        assert (boxes[:, 1] <= y - head + 1e-3).all() and (boxes[:, 1] + boxes[:, 3] >= y + head - 1e-3).all()


def test_boxes_stay_inside_the_frame_and_keep_their_shape() -> None:
    placement = place_part(heads(np.linspace(-10, 420, FRAMES), np.linspace(-10, 310, FRAMES), 60), "face", WIDTH, HEIGHT, 256, 512,
                           margin=3, least_zoom=0)
    left, top, width, height = placement.boxes.T
    assert (left >= 0).all() and (top >= 0).all() and (left + width <= WIDTH).all() and (top + height <= HEIGHT + 1e-9).all()
    assert np.allclose(width / height, 0.5) and np.allclose(height, HEIGHT)


def test_short_gaps_are_bridged_and_long_ones_left_out() -> None:
    t = np.arange(60)
    half = np.where((t >= 4) & (t < 8) | (t >= 20) & (t < 20 + LONGEST_GAP + 1), 0, 20)
    placement = place_part(heads(100 + 2.0 * t, 0 * t + 150.0, half), "face", WIDTH, HEIGHT, 240, 240)
    assert placement.frames.tolist() == [*range(20), *range(33, 60)] and placement.found == 47
    assert np.allclose(placement.boxes[4:8, 0] + placement.boxes[4:8, 2] / 2, 100 + 2 * t[4:8], atol=0.1)
    steps = [k / (FADE + 1) for k in range(1, FADE + 1)]
    assert placement.opacity[20 - FADE:20].tolist() == steps[::-1] and placement.opacity[20:20 + FADE].tolist() == steps
    assert placement.opacity[0] == placement.opacity[-1] == 1, "the clip's own ends are not faded"


def test_large_parts_are_left_out() -> None:
    """Boxes of 1.5 x 2 halves x 1.5 pixels: 90 to 180 wide; a crop of 200 enlarges the first ones enough."""
    t = np.arange(FRAMES)
    placement = place_part(heads(0 * t + 200.0, 0 * t + 150.0, np.where(t < 12, 20, 40)), "face", WIDTH, HEIGHT, 200, 200, smooth=0)
    assert placement.frames.tolist() == list(range(12))
    nothing = place_part(heads(0 * t + 200.0, 0 * t + 150.0, 40), "face", WIDTH, HEIGHT, 200, 200)
    assert nothing.frames.tolist() == [0] and nothing.opacity.tolist() == [0] and nothing.found == FRAMES
    frames = noise(FRAMES, HEIGHT, WIDTH, 3)
    assert torch.equal(paste(frames, torch.zeros(1, 200, 200, 3), nothing, 0.2), frames)


def test_a_hand_without_points_lies_beyond_the_wrist() -> None:
    """A forearm of 100 pixels straight down: a hand of 74 pixels with its middle 40 below the wrist."""
    points = np.zeros((1, 1, NUM_POINTS, 3))
    points[0, 0, R_ELBOW], points[0, 0, R_WRIST] = (150, 50, 1), (150, 150, 1)
    points[0, 0, LEFT_HAND] = [(200 + i, 100 + 2 * i, 1) for i in range(21)]
    for part, box in (("right hand", [113, 153, 74, 74]), ("left hand", [190, 100, 40, 40])):
        assert np.allclose(place_part(PoseClip(points, WIDTH, HEIGHT), part, WIDTH, HEIGHT, 128, 128, margin=1).boxes, [box])


def test_the_canvas_may_have_another_size_than_the_frames() -> None:
    t = np.arange(FRAMES)
    clip = heads(150 + t, 0 * t + 150.0)
    small, large = (place_part(clip, "face", size * WIDTH, size * HEIGHT, 512, 512) for size in (1, 2))
    assert np.allclose(large.boxes, 2 * small.boxes)
    assert np.allclose(large.of_pose(clip).points, small.of_pose(clip).points, atol=1e-3)


@pytest.mark.parametrize("part", PARTS)
def test_every_part_of_a_drawn_character_is_found(part: str) -> None:
    clip = demo_clip(HELD_OUT_SEED, "wave", 8)
    placement = place_part(body_clip(clip.keypoints, 128, 192), part, 128, 192, 256, 384, least_zoom=0)
    assert placement.found == 8 and (placement.boxes[:, 2:] > 4).all()


def test_an_unknown_part() -> None:
    with pytest.raises(ValueError, match="part: 'nose' is unknown; choose from: face"):
        place_part(heads(np.ones(2), np.ones(2)), "nose", 64, 64, 64, 64)


# ----------------------------------------------------------------------------------------------------------------- crop and paste

@pytest.mark.parametrize("size", [(80, 60), (11, 9), (30, 40)])
def test_resampling_is_pillows(size: tuple[int, int]) -> None:
    picture, box = noise(37, 53, 1), np.array([3.3, 2.7, 30.2, 22.9])
    theirs = Image.fromarray(picture[..., 0].numpy()).resize(size, Image.Resampling.BICUBIC, (3.3, 2.7, 33.5, 25.6))
    assert np.allclose(resampled(picture, box, *size)[..., 0], np.asarray(theirs).clip(0, 1), atol=1e-5)


def test_keypoints_stay_on_their_pixels() -> None:
    """A spot at a keypoint is at the crop's keypoint."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    at = np.array([[180.0, 130.0], [190.0, 136.0]])
    frames = torch.from_numpy(np.stack([np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 50) for cx, cy in at])[..., None].astype(np.float32))
    clip = heads(*at.T)
    points = clip.points.copy()
    points[:, 0, NOSE, :2] = at
    clip = clip.of(points)
    placement = place_part(clip, "face", WIDTH, HEIGHT, 320, 320, smooth=0)
    crops = crop(frames, placement)[..., 0].double().numpy()
    grid = np.mgrid[0:320, 0:320] + 0.5
    found = [(crops * grid[axis]).sum((1, 2)) / crops.sum((1, 2)) for axis in (1, 0)]
    assert np.allclose(np.stack(found, axis=-1), placement.of_pose(clip).person(0)[:, NOSE, :2], atol=0.2)


def placed(box: tuple[float, ...], crop_size: tuple[int, int], width: int = 60, height: int = 50) -> Placement:
    return Placement(np.array([box]), np.array([1]), np.ones(1), width, height, 3, *crop_size, 3)


def test_unchanged_crops_change_nothing() -> None:
    """Of whole pixels at their own size exactly; enlarged, a smooth picture to a fifth of a grey level, one at the frame's border."""
    frames = noise(3, 50, 60, 3)
    own = placed((10, 8, 32, 24), (32, 24))
    assert torch.allclose(paste(frames, crop(frames, own), own, 0.3), frames, atol=1e-6)
    y, x = np.mgrid[0:50, 0:60]
    waves = 0.5 + 0.4 * np.stack([np.sin(x / 7), np.cos(y / 6), np.sin((x + y) / 9)], -1)
    smooth = torch.from_numpy(waves).float().repeat(3, 1, 1, 1)
    for box, limit in (((10.3, 8.6, 32.2, 24.15), 0.2), ((0, 0, 40, 30), 1.1), ((20, 20, 40, 30), 1.1)):
        larger = placed(box, (64, 48))
        assert (paste(smooth, crop(smooth, larger), larger, 0.3) - smooth).abs().max() < limit / 255


def test_pasted_inside_feathered_and_left_alone_outside() -> None:
    frames = noise(3, 50, 60, 3)
    placement = placed((10.0, 8.0, 32.0, 24.0), (64, 48))
    out = paste(frames, torch.ones(1, 48, 64, 3), placement, 0.5)
    assert torch.equal(out[[0, 2]], frames[[0, 2]])
    outside = torch.ones(50, 60, dtype=torch.bool)
    outside[8:32, 10:42] = False
    assert torch.equal(out[1][outside], frames[1][outside])
    assert torch.allclose(out[1, 14:26, 16:36], torch.ones(12, 20, 3)), "6 pixels of the edge are soft"
    half = paste(frames, torch.ones(1, 48, 64, 3), Placement(**{**vars(placement), "opacity": np.full(1, 0.5)}), 0.5)
    assert torch.allclose(half[1, 14:26, 16:36], (1 + frames[1, 14:26, 16:36]) / 2)


def test_two_feathers_add_up_to_one() -> None:
    """Where one row of pixels ends another begins, their soft edges over each other."""
    left, right = ramp(0, 60, 0, 36, 12, 60), ramp(0, 60, 24, 36, 12, 60)
    assert np.allclose(left + right, 1) and left[0] == right[-1] == 1 and left[-1] == right[0] == 0


def test_frames_and_crops_may_be_enlarged_before_pasting() -> None:
    """A grey crop on black frames of twice the size lies twice as far from the corner."""
    placement = placed((10, 8, 32, 24), (64, 48))
    out = paste(torch.zeros(3, 100, 120, 3), torch.ones(1, 96, 128, 3), placement, 0)
    assert torch.equal(out[1, 16:64, 20:84], torch.ones(48, 64, 3)) and float(out.sum()) == 48 * 64 * 3
