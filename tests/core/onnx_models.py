"""Made-up ONNX models with the signatures of DWPose's two, whose answers are known: they find coloured things in the picture.

The detector sees red and yellow rectangles as people. The pose model puts every third point on the peak of a green, a blue and a
cyan marker. Both take BGR: with red and blue exchanged they find other things or nothing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser

Array = np.ndarray
Batch = int | str

RED_SCORE, YELLOW_SCORE = 0.8, 0.6  # objectness 1 x class
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
POINTS = 133
DARKEST = 0.05  # a marker weaker than this is none


def write(path: Path, text: str, **constants: Array) -> Path:
    """Saves the model of ONNX's text form; constants become its initialisers."""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]>\n{text}')
    model.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in constants.items())
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def place(row: int, size: int) -> tuple[float, float, float]:
    """Column, row and stride of the grid place that is this row of the output of a detector of size x size."""
    for stride in (8, 16, 32):
        side = size // stride
        if row < side * side:
            return row % side, row // side, stride
        row -= side * side
    raise ValueError(row)


def blob_row(name: str, colour: str, others: str, level: int, row: int, rows: int, size: int, score: float) -> str:
    """The graph's part that writes the box of one colour into one row of the output, as YOLOX encodes it."""
    column, line, stride = place(row, size)
    return f"""
    {name}_paint = Min({colour})
    {name}_rest = Max({others})
    {name}_diff = Sub({name}_paint, {name}_rest)
    {name}_level = Constant<value = float {{{level}}}>()
    {name}_mask = Greater({name}_diff, {name}_level)
    {name}_f = Cast<to=1>({name}_mask)
    {name}_columns = ReduceMax<axes=[2], keepdims=0>({name}_f)
    {name}_lines = ReduceMax<axes=[3], keepdims=0>({name}_f)
    {name}_x1i = ArgMax<axis=2>({name}_columns)
    {name}_x2i = ArgMax<axis=2, select_last_index=1>({name}_columns)
    {name}_y1i = ArgMax<axis=2>({name}_lines)
    {name}_y2i = ArgMax<axis=2, select_last_index=1>({name}_lines)
    {name}_there = ReduceMax<axes=[2], keepdims=1>({name}_lines)
    {name}_x1 = Cast<to=1>({name}_x1i)
    {name}_x2i1 = Add({name}_x2i, one_i)
    {name}_x2 = Cast<to=1>({name}_x2i1)
    {name}_y1 = Cast<to=1>({name}_y1i)
    {name}_y2i1 = Add({name}_y2i, one_i)
    {name}_y2 = Cast<to=1>({name}_y2i1)
    {name}_first = Concat<axis=2>({name}_x1, {name}_y1)
    {name}_last = Concat<axis=2>({name}_x2, {name}_y2)
    {name}_sum = Add({name}_first, {name}_last)
    {name}_size = Sub({name}_last, {name}_first)
    {name}_grid = Constant<value = float[1, 1, 2] {{{column}, {line}}}>()
    {name}_stride = Constant<value = float {{{stride}}}>()
    {name}_double = Constant<value = float {{{2 * stride}}}>()
    {name}_at = Div({name}_sum, {name}_double)
    {name}_xy = Sub({name}_at, {name}_grid)
    {name}_ratio = Div({name}_size, {name}_stride)
    {name}_wh = Log({name}_ratio)
    {name}_score = Constant<value = float {{{score}}}>()
    {name}_class = Mul({name}_there, {name}_score)
    {name}_others = Mul({name}_there, zeros)
    {name}_row = Concat<axis=2>({name}_xy, {name}_wh, {name}_there, {name}_class, {name}_others)
    {name}_pads = Constant<value = int64[6] {{0, {row}, 0, 0, {rows - 1 - row}, 0}}>()
    {name}_rows = Pad({name}_row, {name}_pads)"""


def write_detector(path: Path, batch: Batch = "N", size: int = 640, dtype: str = "float") -> Path:
    """`[batch, 3, size, size]` -> `[batch, A, 85]`.

    A red rectangle is a person of score 0.8, found twice (again with 0.7: to be suppressed); a yellow one of score 0.6; a green one, of
    score 0.25, is none. They stand in rows of all three grids.
    """
    rows = sum((size // s) ** 2 for s in (8, 16, 32))
    parts = [("red", "r", "g, b", 100, 17 + 2 * (size // 8), RED_SCORE), ("again", "r", "g, b", 100, rows - 5, 0.7),
             ("yellow", "r, g", "b", 200, (size // 8) ** 2 + 13, YELLOW_SCORE), ("green", "g", "r, b", 100, 3, 0.25)]
    body = "".join(blob_row(name, colour, others, level, row, rows, size, score) for name, colour, others, level, row, score in parts)
    return write(path, f"""detector ({dtype}[{batch}, 3, {size}, {size}] images) => ({dtype}[{batch}, {rows}, 85] output) {{
    images_f = Cast<to=1>(images)
    b, g, r = Split<axis=1>(images_f)
    one_i = Constant<value = int64 {{1}}>(){body}
    all = Sum(red_rows, again_rows, yellow_rows, green_rows)
    output = Cast<to={10 if dtype == "float16" else 1}>(all)
}}""", zeros=np.zeros((1, 1, 79), np.float32))


def write_pose_model(path: Path, batch: Batch = "N", width: int = 288, height: int = 384, dtype: str = "float",
                     lying: bool = False) -> Path:
    """`[batch, 3, height, width]` -> `[batch, 133, 2 * width]`, `[batch, 133, 2 * height]`.

    Point k lies on the peak of the green (k % 3 == 0), blue (1) or cyan (2) marker; its score is the peak's height less 0.05, and below 0
    where there is no marker. lying: it says that it takes any batch, and fails on more than one.
    """
    leading = 1 if lying else 0  # 0: as it comes
    cast = 10 if dtype == "float16" else 1
    lines = "".join(f"""
    {axis}_profile = ReduceMax<axes=[{over}], keepdims=0>(maps)
    {axis}_half = Mul({axis}_profile, half)
    {axis}_whole4 = Unsqueeze({axis}_profile, three)
    {axis}_half4 = Unsqueeze({axis}_half, three)
    {axis}_pairs = Concat<axis=3>({axis}_whole4, {axis}_half4)
    {axis}_shape = Constant<value = int64[3] {{{leading}, 3, {2 * size}}}>()
    {axis}_lines = Reshape({axis}_pairs, {axis}_shape)
    {axis}_all = Gather<axis=1>({axis}_lines, kinds)
    simcc_{axis} = Cast<to={cast}>({axis}_all)""" for axis, over, size in (("x", 2, width), ("y", 3, height)))
    return write(path, f"""pose ({dtype}[{batch}, 3, {height}, {width}] input)
=> ({dtype}[{batch}, {POINTS}, {2 * width}] simcc_x, {dtype}[{batch}, {POINTS}, {2 * height}] simcc_y) {{
    input_f = Cast<to=1>(input)
    scaled = Mul(input_f, std)
    levels = Add(scaled, mean)
    full = Constant<value = float {{255}}>()
    picture = Div(levels, full)
    b, g, r = Split<axis=1>(picture)
    rb = Max(r, b)
    green = Sub(g, rb)
    rg = Max(r, g)
    blue = Sub(b, rg)
    gb = Min(g, b)
    cyan = Sub(gb, r)
    raw = Concat<axis=1>(green, blue, cyan)
    darkest = Constant<value = float {{{DARKEST}}}>()
    maps = Sub(raw, darkest)
    half = Constant<value = float {{0.5}}>()
    three = Constant<value = int64[1] {{3}}>(){lines}
}}""", mean=np.array(MEAN, np.float32).reshape(1, 3, 1, 1), std=np.array(STD, np.float32).reshape(1, 3, 1, 1), kinds=np.arange(POINTS) % 3)


def write_other(path: Path) -> Path:
    """A good ONNX model that is neither: `[N, 10]` -> `[N, 10]`."""
    return write(path, "other (float[N, 10] x) => (float[N, 10] y) { y = Relu(x) }")


def draw_marker(frame: Array, x: float, y: float, colour: tuple[int, int, int], radius: float) -> None:
    """A cone of colour whose peak is at x, y, over what is there; in place."""
    lines, columns = np.mgrid[:frame.shape[0], :frame.shape[1]]
    strength = (1 - np.hypot(columns - x, lines - y) / radius).clip(0)[..., None]
    frame[:] = (frame * (1 - strength) + np.array(colour) * strength).round()


def draw_person(frame: Array, box: tuple[int, int, int, int], markers: Array, colour: tuple[int, int, int] = (255, 0, 0)) -> None:
    """A rectangle x1, y1, x2, y2 (exclusive) with a green, a blue and a cyan marker at `[3, 2]`; in place on an RGB picture."""
    frame[box[1]:box[3], box[0]:box[2]] = colour
    radius = 0.06 * (box[3] - box[1])
    for (x, y), paint in zip(markers, ((0, 255, 0), (0, 0, 255), (0, 255, 255)), strict=True):
        draw_marker(frame, x, y, paint, radius)
