"""Skeletons to the pixel: against the reference's pictures (parity/golden) and what OpenCV drew (data/opencv_drawings.json)."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from animate_core.pose.drawing import COLOURS, LARGEST_SIDE, STYLES, draw_body, draw_people, fit_points
from animate_core.pose.keypoints import BODY, FACE, FEET, LEFT_HAND, NUM_POINTS, RIGHT_HAND, PoseError
from animate_core.pose.raster import Canvas
from animate_core.preprocess import FITS, fit_image
from tests.parity.check_dwpose import golden_picture, people_of

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parent / "parity" / "golden" / "dwpose"
CASES = json.loads((GOLDEN / "draw_cases.json").read_text())
OPENCV = json.loads((HERE / "data" / "opencv_drawings.json").read_text())
MOORE = STYLES["Moore"]
WHITE = np.full((1, 3), 255, np.uint8)


def crowd(count: int = 1, seed: int = 0, size: tuple[int, int] = (512, 768)) -> np.ndarray:
    """People whose every point is seen, anywhere on a canvas."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.random((count, NUM_POINTS, 2)) * size, np.ones((count, NUM_POINTS, 1))], axis=-1).astype(np.float32)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["png"])
@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_every_pixel_is_the_references(case: dict[str, Any], kind: type) -> None:
    people = people_of(case).astype(kind)
    assert np.array_equal(draw_people(people, case["width"], case["height"]), golden_picture(GOLDEN / case["png"]))
    body = replace(MOORE, hands=False, face=False)
    assert np.array_equal(draw_people(people, case["width"], case["height"], body), golden_picture(GOLDEN / case["png_body_only"]))


def test_a_body_alone_is_the_references() -> None:
    case = CASES[0]
    drawn = draw_body(people_of(case)[0, BODY], case["width"], case["height"])
    assert np.array_equal(drawn, golden_picture(GOLDEN / case["png_body_only"]))


@pytest.mark.parametrize("kind", ["disc", "line", "ellipse"])
def test_shapes_are_opencvs(kind: str) -> None:
    wrong = []
    for name, *numbers, expected in OPENCV["shapes"]:
        if name == kind:
            canvas = Canvas(96, 64)
            n = np.array([numbers])
            if kind == "disc":
                shape = canvas.discs(n[:, :2], numbers[2])
            elif kind == "line":
                shape = canvas.lines(n[:, :2], n[:, 2:4], n[:, 4])
            else:
                shape = canvas.ellipses(n[:, :2], n[:, 2:4], n[:, 4])
            canvas.paint(shape, WHITE)
            if zlib.crc32(np.packbits(canvas.picture[..., 0] > 0).tobytes()) != expected:
                wrong.append(numbers)
    assert not wrong


@pytest.mark.parametrize(("number", "style", "stick", "feet", "expected"), OPENCV["pictures"])
def test_other_styles_are_opencvs(number: int, style: str, stick: int, feet: bool, expected: int) -> None:
    case = CASES[number]
    people = people_of(case)
    for person in people:
        for point, (ankle, x, y) in zip(person[FEET], OPENCV["feet"], strict=True):
            if person[ankle, 2]:
                point[:] = person[ankle] + (x, y, 0)
    look = replace(STYLES[style], feet=feet)
    drawn = draw_people(people, case["width"], case["height"], look.with_stick(stick) if stick else look)
    assert zlib.crc32(drawn.tobytes()) == expected


def test_nobody_is_black() -> None:
    for people in (np.zeros((0, NUM_POINTS, 3)), np.zeros((2, NUM_POINTS, 3)), crowd() * (1, 1, 0)):
        for style in STYLES.values():
            drawn = draw_people(people, 40, 30, style)
            assert drawn.shape == (30, 40, 3) and not drawn.any()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_score_of_the_threshold_draws_hands_and_face_but_no_body(kind: type) -> None:
    people = crowd().astype(kind)
    people[..., 2] = np.float32(0.3)
    only = {part: replace(MOORE, **{**dict.fromkeys(("body", "hands", "face", "feet"), False), part: True})
            for part in ("body", "hands", "face", "feet")}
    assert [draw_people(people, 512, 768, style).any() for style in only.values()] == [False, True, True, False]
    people[..., 2] = 0.301
    assert all(draw_people(people, 512, 768, style).any() for style in only.values())
    people[..., 2] = 0.29
    assert not any(draw_people(people, 512, 768, style).any() for style in only.values())
    assert draw_people(people, 512, 768, replace(MOORE, score_threshold=0.0)).any()


def test_hands_and_faces_keep_off_the_first_row_and_column() -> None:
    people = np.zeros((1, NUM_POINTS, 3))
    for part in (LEFT_HAND, RIGHT_HAND, FACE):
        for place, seen in (((0.9, 30), False), ((30, 0.9), False), ((1, 30), True), ((30, 1.5), True)):
            people[:] = 0
            people[0, part.start] = (*place, 1)
            assert draw_people(people, 60, 60).any() == seen
    people[:] = 0
    people[0, 0] = (-2, 30, 1)
    assert draw_people(people, 60, 60).any(), "a joint shows as far as it is inside"


def test_musepose_has_red_and_blue_exchanged_and_no_face() -> None:
    people = crowd()
    people[0, FACE, 2] = 0
    same = replace(MOORE, swap_red_blue=True)
    assert np.array_equal(draw_people(people, 512, 768, same), draw_people(people, 512, 768)[..., ::-1])
    drawn = draw_people(crowd(), 512, 768, STYLES["MusePose"])
    assert not (drawn == 255).all(-1).any()
    assert drawn.flags.c_contiguous


def test_people_one_by_one_or_bodies_first() -> None:
    """Person 1's arm over person 0's hand: hands lie on top of all bodies, unless it is person after person."""
    people = np.zeros((2, NUM_POINTS, 3))
    people[0, LEFT_HAND.start] = (50, 50, 1)
    people[1, 2:4] = (20, 50, 1), (80, 50, 1)
    assert draw_people(people, 100, 100)[50, 50].tolist() == [0, 0, 255]
    assert draw_people(people, 100, 100, STYLES["OpenPose"])[50, 50].tolist() == (COLOURS[2] * 0.6).astype(int).tolist()


@pytest.mark.parametrize("stick", [1, 2.5, 4, 9, 40])
def test_sticks_scale_all_lengths(stick: float) -> None:
    """One joint, one limb, one face point: their extent is that of their radius."""
    style = MOORE.with_stick(stick)
    for part, radius in ((0, stick), (LEFT_HAND.start, stick), (FACE.start, stick * 3 / 4)):
        people = np.zeros((1, NUM_POINTS, 3))
        people[0, part] = (100, 100, 1)
        rows = np.flatnonzero(draw_people(people, 200, 200, style).any((1, 2)))
        assert len(rows) == 2 * max(1, round(radius)) + 1
    people[:] = 0
    people[0, 2:4] = (20, 100, 1), (180, 100, 1)
    column = draw_people(people, 200, 200, style)[:, 100].any(-1)
    assert column.sum() == 2 * round(stick) + 1
    assert MOORE.with_stick(4) == MOORE


@pytest.mark.parametrize(("length", "half"), [(4, 1), (9, 2), (10, 3), (39, 4), (79, 5), (159, 6), (319, 7), (321, 8), (900, 8)])
def test_museposes_limbs_are_thicker_the_longer(length: int, half: int) -> None:
    assert STYLES["MusePose"].widths(np.array([float(length)])).tolist() == [half]


def test_far_points_are_no_error() -> None:
    rng = np.random.default_rng(1)
    for far in (1e4, 1e6, 1e12, 1e30, np.inf, np.nan):
        for style in STYLES.values():
            people = crowd(2)
            people[..., :2] = (rng.normal(size=(2, NUM_POINTS, 2)) * far).astype(np.float32)
            assert draw_people(people, 64, 48, style).shape == (48, 64, 3)


def test_a_limb_that_leaves_the_picture_is_still_there() -> None:
    people = np.zeros((1, NUM_POINTS, 3), np.float32)
    people[0, 2:4] = (-1e6, 32, 1), (1e6, 32, 1)
    assert draw_people(people, 64, 64)[32].any(-1).all()


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("target", [(60, 120), (120, 60), (80, 60), (40, 30), (333, 111)])
def test_points_fit_as_pictures_do(fit: Any, target: tuple[int, int]) -> None:
    """A bright square of a picture and a point at its middle stay together."""
    picture = np.zeros((60, 80, 3), np.uint8)
    picture[22:34, 34:46] = 255
    fitted = np.asarray(fit_image(Image.fromarray(picture), *target, fit))[..., 0] > 127
    middle = np.argwhere(fitted).mean(0)[::-1] + 0.5
    point = fit_points(np.array([[40, 28, 0.7]]), (80, 60), target, fit)[0]
    assert np.abs(point[:2] - middle).max() <= 1 and point[2] == 0.7


def test_points_of_the_same_canvas_are_not_touched() -> None:
    people = crowd()
    assert all(fit_points(people, (512, 768), (512, 768), fit) is people for fit in FITS)


@pytest.mark.parametrize(("shape", "size", "words"), [
    ((134, 3), (64, 64), "people"), ((1, 133, 3), (64, 64), "134"), ((1, 134, 3), (0, 64), "0x64"),
    ((1, 134, 3), (LARGEST_SIDE + 1, 64), str(LARGEST_SIDE)),
])
def test_what_cannot_be_drawn_is_said(shape: tuple[int, ...], size: tuple[int, int], words: str) -> None:
    with pytest.raises(PoseError, match=words):
        draw_people(np.zeros(shape), *size)
