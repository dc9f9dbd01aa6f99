"""Skeletons against the reference's: its drawings, and the way from a whole-body detector's numbers to one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from animate_core.pose.drawing import STYLES, draw_people
from animate_core.pose.keypoints import BODY, FACE, LEFT_HAND, NUM_POINTS, RIGHT_HAND, from_wholebody

PIXELS = 1e-3  # largest share of pixels that may differ
PRINTED = 1e-6  # coordinates are printed with six digits

Line = tuple[str, float, float]


def golden_picture(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def differing(ours: np.ndarray, theirs: np.ndarray, slack: int = 0) -> float:
    """Share of pixels in which a channel is off by more than `slack`."""
    if ours.shape != theirs.shape:
        return 1.0
    return float((np.abs(ours.astype(int) - theirs) > slack).any(-1).mean())


def largest(ours: np.ndarray, theirs: Any) -> float:
    theirs = np.asarray(theirs, np.float64)
    return float(np.abs(ours - theirs).max(initial=0)) if ours.shape == theirs.shape else float("inf")


def people_of(case: dict[str, Any]) -> np.ndarray:
    """A drawing case as `[P, 134, 3]` in pixels. The lists of hands and faces keep their order, in which they are drawn."""
    size = np.array((case["width"], case["height"]))
    count = max(len(case["subset"]), (len(case["hands"]) + 1) // 2, len(case["faces"]))
    people = np.zeros((count, NUM_POINTS, 3))
    candidates = np.array(case["candidate"], np.float64).reshape(-1, 2) * size
    for person, row in zip(people, case["subset"], strict=False):
        rows = np.array(row[:18], int)
        there = rows >= 0
        person[BODY][there] = np.column_stack([candidates[rows[there]], np.ones(there.sum())])
    hands = [(part, row) for part in (LEFT_HAND, RIGHT_HAND) for row in range(count)]
    places = [*zip(case["hands"], hands, strict=False), *((points, (FACE, row)) for row, points in enumerate(case["faces"]))]
    for points, (part, row) in places:
        people[row, part] = np.column_stack([np.array(points) * size, np.ones(len(points))])
    return people


def check_drawing(file: Path) -> Iterator[Line]:
    whole = STYLES["Moore"]
    body = dataclasses.replace(whole, hands=False, face=False)
    for case in json.loads(file.read_text()):
        for key, style in (("png", whole), ("png_body_only", body)):
            drawn = draw_people(people_of(case), case["width"], case["height"], style)
            yield f"{case[key]} share of pixels", differing(drawn, golden_picture(file.parent / case[key])), PIXELS


def check_detector(file: Path) -> Iterator[Line]:
    for case in json.loads(file.read_text()):
        name, scores = case["png"], np.array(case["raw_scores_133"])[..., None]
        told = case["converted"]
        converted = from_wholebody(np.concatenate([np.array(told["raw_keypoints_133"]), scores], axis=-1))
        yield f"{name} 134 points", largest(converted[..., :2], told["keypoints_134"]), PRINTED
        yield f"{name} 134 scores", largest(converted[..., 2], told["scores_134"]), 0.0

        people = from_wholebody(np.concatenate([np.array(case["raw_keypoints_133"]), scores], axis=-1))
        best = people[[people[:, BODY, 2].mean(-1).argmax()]]
        yield f"{name} chosen person's scores", largest(best[:, BODY, 2], case["body_score"]), 0.0
        size = np.array((case["work_width"], case["work_height"]))
        best[..., :2] = best[..., :2] / size * size  # the reference hands coordinates on as parts of the picture
        drawn, out = draw_people(best, *size.tolist()), tuple(case["out_size"])
        slack = 0
        if out != tuple(size):
            picture = torch.from_numpy(drawn.copy()).permute(2, 0, 1)[None].float()
            resized = torch.nn.functional.interpolate(picture, out[::-1], mode="bilinear", align_corners=False)
            drawn, slack = resized[0].permute(1, 2, 0).round().numpy(), 1  # OpenCV's weights have 11 bits
        yield f"{name} share of pixels", differing(drawn, golden_picture(file.parent / name), slack), PIXELS
