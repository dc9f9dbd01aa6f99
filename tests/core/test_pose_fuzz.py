"""10,000 random, partly broken pose inputs (issue 4): nothing but our own errors, and nothing that is not finite in an output.

Inputs are made from sound clips in a random dialect, by a few random breaks each: so that a good share of them still is a clip and goes on
to the steps behind.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from animate_core.pose.cleaning import LONG_GAPS, CleanSettings, clean
from animate_core.pose.drawing import STYLES, draw_people
from animate_core.pose.keypoints import NUM_POINTS, PoseClip, PoseError, body_clip
from animate_core.pose.openpose import read_pose, write_pose
from animate_core.pose.people import PERSON_CHOICES, choose_person
from animate_core.pose.retargeting import MODES, retarget

Draw = np.random.Generator

INPUTS = 10_000
SIZES = ((64, 64), (48, 96), (96, 32))
PARTS = ("pose_keypoints_2d", "face_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d", "foot_keypoints_2d")
COUNTS = {"pose_keypoints_2d": (18, 25, 17, 133, NUM_POINTS), "face_keypoints_2d": (68, 70), "hand_left_keypoints_2d": (21,),
          "hand_right_keypoints_2d": (21,), "foot_keypoints_2d": (6,)}
OPENPOSE_FIGURE = np.array([
    (50, 15), (50, 25), (40, 25), (35, 38), (33, 50), (60, 25), (65, 38), (67, 50), (43, 52), (42, 70), (41, 90), (57, 52), (58, 70),
    (59, 90), (48, 13), (52, 13), (46, 14), (54, 14)]) / 100
STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 0.5, -0.0, 1e-30, 1e30, -1e30, 1e308, 10**400, math.nan, math.inf, -math.inf, "", "12", "x", b"y", [],
    [[]], {}, (), [None], {"x": 1}, np.float32(3), np.int64(-7), np.nan, np.bool_(True), np.array(5.0), np.array([]), np.zeros((2, 3)),
    torch.tensor(2.5), torch.zeros(54), torch.zeros(0), 3 + 4j, object(), {1, 2}, range(54), 65536, 2_000_000)


REFERENCE = body_clip(np.append(OPENPOSE_FIGURE * (64, 96), np.ones((18, 1)), axis=1)[None], 64, 96)


def choose(draw: Draw, options: Any) -> Any:
    return options[int(draw.integers(len(options)))]


def random_count(draw: Draw, key: str) -> int:
    return int(choose(draw, COUNTS[key]) if draw.random() < 0.5 else COUNTS[key][0])


def sound_part(draw: Draw, count: int, size: tuple[int, int]) -> Any:
    """A part of a sound person, in a random dialect."""
    points = np.ones((count, 3))
    if count == 18:
        points[:, :2] = (OPENPOSE_FIGURE + draw.normal(0, 0.03, 2)) * size
    else:
        points[:, :2] = draw.uniform(0.2, 0.8, 2) * size + draw.normal(0, 0.05, (count, 2)) * size
    points[:, 2] = draw.uniform(0.2, 1, count) * (draw.random(count) > 0.1) if draw.random() < 0.7 else 1
    kind = draw.integers(6)
    if kind == 0:
        return points[:, :2].round(2).tolist()
    if kind == 1:
        return points.tolist()
    if kind == 2:
        return choose(draw, (points, points.astype(np.float32), torch.from_numpy(points), points[None]))
    return points.ravel().tolist()


def sound_clip(draw: Draw) -> Any:
    size = choose(draw, SIZES)
    scale = size if draw.random() < 0.7 else (1, 1)
    frames, body = [], random_count(draw, PARTS[0])
    for _ in range(int(draw.integers(1, 5))):
        people = []
        for _ in range(choose(draw, (0, 1, 1, 1, 1, 2, 3))):
            keys = [key for key in PARTS if key == PARTS[0] or draw.random() < 0.4]
            counts = {key: body if key == PARTS[0] and draw.random() < 0.95 else random_count(draw, key) for key in keys}
            people.append({key: sound_part(draw, count, scale) for key, count in counts.items()})
        frames.append({"people": people, "canvas_width": size[0], "canvas_height": size[1]})
        if draw.random() < 0.2:
            frames[-1]["marionette_graded"] = choose(draw, (people, copy.deepcopy(people), people[1:], people[:1] * 2))
    return choose(draw, (frames, frames, frames, [frames], {"frames": frames}, frames[0]))


def random_place(draw: Draw, value: Any) -> tuple[Any, Any] | None:
    """A container somewhere inside, and a key or an index of it."""
    place = None
    while isinstance(value, (dict, list)) and len(value):
        if isinstance(value, dict):
            key = choose(draw, [*value, *["people"] * 5 * ("people" in value)])  # or most breaks would be of the canvas
        else:
            key = int(draw.integers(len(value)))
        place = value, key
        if draw.random() < 0.15:
            break
        value = value[key]
    return place


def replace(draw: Draw, container: Any, key: Any) -> None:
    container[key] = copy.deepcopy(choose(draw, STRANGE))  # or the next breaks would change it for all inputs that follow


def drop(draw: Draw, container: Any, key: Any) -> None:
    del container[key]


def repeat(draw: Draw, container: Any, key: Any) -> None:
    if isinstance(container, list):
        container.insert(key, container[key])
    else:
        container[choose(draw, (*PARTS, "people", "canvas_width", "animals", "frames"))] = container[key]


def wrap(draw: Draw, container: Any, key: Any) -> None:
    for _ in range(int(draw.integers(1, 8))):
        container[key] = [container[key]] if draw.random() < 0.8 else {"people": container[key]}


def shake(draw: Draw, container: Any, key: Any) -> None:
    """Numbers that are still numbers."""
    if isinstance(container[key], (int, float)) and not isinstance(container[key], bool):
        container[key] *= choose(draw, (-1, 0, 2, 30, 10**7))
    elif isinstance(container[key], list):
        container[key] = [None if isinstance(item, float) and draw.random() < 0.2 else item for item in container[key]]


def as_array(draw: Draw, container: Any, key: Any) -> None:
    try:
        container[key] = choose(draw, (np.array, torch.as_tensor, tuple, np.float32))(container[key])
    except (TypeError, ValueError, RuntimeError, OverflowError):
        container[key] = np.array(str(container[key]))


BREAKS: tuple[Callable[[Draw, Any, Any], None], ...] = (replace, replace, drop, repeat, wrap, shake, shake, shake, as_array)


def random_input(draw: Draw) -> Any:
    value = copy.deepcopy(sound_clip(draw))
    for _ in range(choose(draw, (0, 1, 1, 1, 2, 3, 6))):
        place = random_place(draw, value)
        if place is not None:
            choose(draw, BREAKS)(draw, *place)
    return copy.deepcopy(choose(draw, STRANGE)) if draw.random() < 0.01 else value


def sound(clip: PoseClip, what: str) -> PoseClip:
    points = clip.points
    assert np.isfinite(points).all(), what
    assert ((points[..., 2] >= 0) & (points[..., 2] <= 1)).all(), what
    assert not points[points[..., 2] == 0].any(), f"{what}: a missing point lies at (0, 0)"
    assert min(clip.width, clip.height) >= 1, what
    return clip


def run(value: Any, draw: Draw) -> str:
    """All the steps in their order, each with random settings; the last that was taken."""
    try:
        clip = sound(read_pose(value), "read")
    except PoseError as error:
        assert str(error).startswith("pose: ") and len(str(error)) > 20
        return "refused"
    again = read_pose(write_pose(clip, draw.random() < 0.5))
    assert len(again) == len(clip) and (again.width, again.height) == (clip.width, clip.height)
    try:
        clip = sound(choose_person(clip, choose(draw, PERSON_CHOICES)), "choose_person")
        settings = CleanSettings(long_gaps=choose(draw, LONG_GAPS), fps=choose(draw, (1.0, 8.0, 24.0, 60.0)))
        clip = sound(clean(clip, settings)[0], "clean")
        reference = clip if draw.random() < 0.3 else REFERENCE
        clip = sound(retarget(clip, reference, choose(draw, MODES)), "retarget")
    except PoseError as error:
        assert len(str(error)) > 20
        return "refused in a later step"
    width, height = choose(draw, SIZES)
    picture = draw_people(choose(draw, clip.points), width, height, choose(draw, list(STYLES.values())))
    assert picture.shape == (height, width, 3) and picture.dtype == np.uint8
    return "drawn"


def test_broken_inputs(measured: Callable[[str], None]) -> None:
    ends: Counter[str] = Counter()
    for seed in range(INPUTS):
        draw = np.random.default_rng(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = random_input(draw)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", RuntimeWarning)  # an overflow, or a mean of nothing: what makes a NaN
                ends[run(value, draw)] += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
    measured(f"{INPUTS} broken poses: " + ", ".join(f"{count} {end}" for end, count in ends.most_common()))
    assert ends["refused"] > INPUTS / 10, "the inputs are hardly broken"
    assert ends["drawn"] > INPUTS / 3, "hardly anything came to the last step"
