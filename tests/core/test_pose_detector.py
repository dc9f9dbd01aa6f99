"""DWPose's way from pictures to keypoints, with made-up models that find coloured markers whose places are known (onnx_models.py)."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from animate_core.pose import detector
from animate_core.pose.detector import CPU, DWPose, Found, Model
from animate_core.pose.keypoints import BODY, L_SHOULDER, NECK, NUM_POINTS, R_SHOULDER, PoseError, from_wholebody, stack_people
from tests.core import onnx_models

Array = np.ndarray
RED, YELLOW = (255, 0, 0), (255, 255, 0)
MARKERS = np.array([[0.3, 0.2], [0.7, 0.35], [0.45, 0.7]])  # in the person's box


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx")
    onnx_models.write_detector(folder / "detector.onnx")
    onnx_models.write_pose_model(folder / "pose.onnx")
    return folder


@pytest.fixture(scope="module")
def dwpose(models: Path) -> DWPose:
    return DWPose(str(models / "detector.onnx"), str(models / "pose.onnx"))


def frame_of(width: int, height: int, *people: tuple[tuple[int, int, int, int], tuple[int, int, int]]) -> tuple[Array, list[Array]]:
    """A grey picture with people given as box and colour, and where each one's three markers are `[3, 2]`."""
    frame, places = np.full((height, width, 3), 60, np.uint8), []
    for box, colour in people:
        corner = np.array(box[:2])
        places.append((corner + MARKERS * (np.array(box[2:]) - corner)).round())
        onnx_models.draw_person(frame, box, places[-1], colour)
    return frame, places


def expected(markers: Array) -> Array:
    """The 134 points `[134, 2]` of the made-up pose model for markers `[3, 2]`."""
    raw = np.ones((133, 3), np.float32)
    raw[:, :2] = markers[np.arange(133) % 3]
    return from_wholebody(raw)[:, :2]


def assert_points(people: Array, markers: Array, tolerance: float) -> None:
    away = np.linalg.norm(people[:, :2] - expected(markers), axis=-1)
    assert away.max() < tolerance, f"{away.max():.2f} pixels"


# -------------------------------------------------------------------------------------------------------- to the models

def slow_sample(image: Array, x: float, y: float) -> Array:
    """Bilinear at one place, black outside, by the definition."""
    total = np.zeros(3)
    for line in (int(np.floor(y)), int(np.floor(y)) + 1):
        for column in (int(np.floor(x)), int(np.floor(x)) + 1):
            if 0 <= line < image.shape[0] and 0 <= column < image.shape[1]:
                total += image[line, column].astype(float) * (1 - abs(x - column)) * (1 - abs(y - line))
    return total


@pytest.mark.parametrize(("width", "height"), [(7, 11), (23, 16), (31, 5)])
def test_resize_by_the_definition(width: int, height: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (11, 16, 3), dtype=np.uint8)
    small = detector.resize(image, width, height)
    for line in range(height):
        for column in range(width):
            x, y = (column + 0.5) * 16 / width - 0.5, (line + 0.5) * 11 / height - 0.5
            true = slow_sample(image, min(max(x, 0), 15), min(max(y, 0), 10))
            assert np.abs(small[line, column] - true).max() <= 0.51


def test_letterbox() -> None:
    """A ramp stays a ramp; the rest is 114; the scale rounds the size down."""
    ramp = np.broadcast_to(np.arange(250, dtype=np.uint8)[None, :, None], (100, 250, 3))
    canvas, scale = detector.letterbox(ramp, 640, 640)
    assert scale == 640 / 250
    assert canvas.shape == (640, 640, 3) and (canvas[256:] == 114).all()
    wanted = ((np.arange(640) + 0.5) / scale - 0.5).clip(0, 249)
    assert np.abs(canvas[:256, :, 1] - wanted).max() <= 0.51
    tall, scale = detector.letterbox(np.zeros((333, 100, 3), np.uint8), 640, 640)
    assert scale == 640 / 333 and (tall[:, :192] == 0).all() and (tall[:, 192:] == 114).all(), "int(100 * 640 / 333) = 192"


def test_person_frame_by_hand() -> None:
    centre, size = detector.person_frame(np.array([100, 50, 200, 450.0]), 288, 384)
    assert centre.tolist() == [150, 250] and size == pytest.approx([375, 500]), "tall: the width follows"
    centre, size = detector.person_frame(np.array([0, 0, 400, 100.0]), 288, 384)
    assert centre.tolist() == [200, 50] and size == pytest.approx([500, 500 / 0.75]), "wide: the height follows"


def test_crop_of_the_models_size_is_the_picture() -> None:
    image = np.random.default_rng(1).integers(0, 256, (384, 288, 3), dtype=np.uint8)
    centre, size = np.array([144.0, 192]), np.array([288.0, 384])
    assert np.array_equal(detector.crop(image, centre, size, 288, 384), image)
    moved = detector.crop(image, centre + (10, -20), size, 288, 384)
    assert np.array_equal(moved[20:, :-10], image[:-20, 10:]) and not moved[:20].any() and not moved[:, -10:].any()


def test_crop_by_the_definition() -> None:
    image = np.random.default_rng(2).integers(0, 256, (60, 50, 3), dtype=np.uint8)
    centre, size = np.array([20.3, 31.7]), np.array([45.0, 60])
    found = detector.crop(image, centre, size, 288, 384)
    for line in range(0, 384, 37):
        for column in range(0, 288, 29):
            true = slow_sample(image, centre[0] + (column - 144) * 45 / 288, centre[1] + (line - 192) * 60 / 384)
            # places are rounded to 1/32 pixel: at most 1/64 off in each direction
            assert np.abs(found[line, column] - true).max() <= 255 * 2 / 64 + 0.5


def test_rgb_constants_on_bgr() -> None:
    """A red pixel: blue 0, green 0, red 255."""
    values = detector.normalise(np.array([[[[0, 0, 255]]]], np.uint8))
    assert values.shape == (1, 3, 1, 1) and values.dtype == np.float32
    assert values.ravel() == pytest.approx([-123.675 / 58.395, -116.28 / 57.12, (255 - 103.53) / 57.375])


# ------------------------------------------------------------------------------------------------------ from the models

def test_boxes_by_the_formula() -> None:
    output = np.zeros((8400, 85), np.float32)
    rows = {0: (0, 0, 8), 83: (3, 1, 8), 6400 + 2 * 40 + 5: (5, 2, 16), 8000 + 19 * 20 + 7: (7, 19, 32)}
    for row in rows:
        output[row, :6] = (0.25, 0.75, np.log(2), np.log(3), 0.5, 0.8)
    boxes, scores = detector.decode_boxes(output, 640, 640)
    for row, (column, line, stride) in rows.items():
        x, y, wide, high = (column + 0.25) * stride, (line + 0.75) * stride, 2 * stride, 3 * stride
        assert boxes[row] == pytest.approx([x - wide / 2, y - high / 2, x + wide / 2, y + high / 2], rel=1e-5)
        assert scores[row] == pytest.approx(0.4)
    assert (scores > 0).sum() == len(rows)


def output_of(*people: tuple[tuple[float, float, float, float], float, int]) -> Array:
    """A detector's output for boxes x1, y1, x2, y2 of a score and a class, in rows of the middle grid."""
    output = np.zeros((8400, 85), np.float32)
    for i, ((x1, y1, x2, y2), score, kind) in enumerate(people):
        row = output[6400 + i]
        row[:5] = ((x1 + x2) / 32 - i, (y1 + y2) / 32, np.log((x2 - x1) / 16), np.log((y2 - y1) / 16), score)
        row[5 + kind] = 1
    return output


def test_only_well_scored_people_count() -> None:
    output = output_of(((10, 10, 50, 90), 0.31, 0), ((200, 10, 250, 90), 0.29, 0), ((400, 10, 450, 90), 0.9, 1),
                       ((300, 300, 350, 400), 0.7, 0))
    boxes, scores = detector.find_boxes(output, 640, 640, 0.5)
    assert boxes == pytest.approx(np.array([[600, 600, 700, 800], [20, 20, 100, 180]]), abs=1e-2), "best first, in the picture's pixels"
    assert scores == pytest.approx([0.7, 0.31])
    assert len(detector.find_boxes(np.zeros((8400, 85)), 640, 640, 1)[0]) == 0


def test_a_wild_box_is_dropped() -> None:
    output = output_of(((10, 10, 50, 90), 0.9, 0))
    output[3, :6] = (0, 0, 200, 200, 1, 1)
    assert len(detector.find_boxes(output, 640, 640, 1)[0]) == 1


def test_suppression_by_hand() -> None:
    """IoU with +1 pixel areas: 0-9 and 0-9 moved by 3 share 70 of 130; moved by 4, 60 of 140 = 0.43."""
    boxes = np.array([[0, 0, 9, 9], [3, 0, 12, 9], [4, 0, 13, 9], [0, 0, 9, 9]], float)
    scores = np.array([0.5, 0.4, 0.3, 0.9])
    assert detector.suppress(boxes, scores).tolist() == [3, 2]
    assert detector.suppress(boxes[:0], scores[:0]).tolist() == []


def slow_suppress(boxes: list[list[float]], scores: list[float]) -> list[int]:
    left, kept = sorted(range(len(boxes)), key=lambda i: -scores[i]), []
    while left:
        best = left.pop(0)
        kept.append(best)
        rest = []
        for i in left:
            wide = min(boxes[i][2], boxes[best][2]) - max(boxes[i][0], boxes[best][0]) + 1
            high = min(boxes[i][3], boxes[best][3]) - max(boxes[i][1], boxes[best][1]) + 1
            shared = max(0, wide) * max(0, high)
            area = sum((b[2] - b[0] + 1) * (b[3] - b[1] + 1) for b in (boxes[i], boxes[best]))
            if shared / (area - shared) <= 0.45:
                rest.append(i)
        left = rest
    return kept


@pytest.mark.parametrize("seed", range(5))
def test_suppression_against_a_slow_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 100, (80, 2))
    boxes, scores = np.concatenate([corner, corner + rng.uniform(20, 60, (80, 2))], -1), rng.random(80)
    kept = detector.suppress(boxes, scores)
    assert kept.tolist() == slow_suppress(boxes.tolist(), scores.tolist())
    assert 3 < len(kept) < 79


def test_simcc_by_hand() -> None:
    x, y = np.zeros((1, 4, 576), np.float32), np.zeros((1, 4, 768), np.float32)
    x[0, 0, 101], y[0, 0, 700] = 0.9, 0.4  # the lower of the two is the score
    x[0, 1, 3], y[0, 1, 4] = 0.9, 0  # nothing in one direction: no point
    x[0, 2, 3], y[0, 2, 4] = np.nan, 0.5
    x[0, 3, 575], y[0, 3, 0] = 0.2, 0.3
    points = detector.decode_simcc(x, y, 288, 384)
    assert points[0] == pytest.approx(np.array([[50.5, 350, 0.4], [-0.5, -0.5, 0], [-0.5, -0.5, 0], [287.5, 0, 0.2]]))


# ----------------------------------------------------------------------------------------------------------- both models

@pytest.mark.parametrize(("width", "height", "box"), [
    (512, 768, (150, 200, 330, 700)), (1280, 720, (700, 60, 900, 680)), (300, 200, (10, 5, 290, 195)), (640, 640, (0, 100, 180, 640)),
    (90, 160, (20, 30, 70, 150)), (1080, 1920, (400, 300, 1079, 1900)),
])
def test_markers_come_back(dwpose: DWPose, width: int, height: int, box: tuple[int, int, int, int],
                           measured: Callable[[str], None]) -> None:
    """In the picture, at its edge, wider than the model's aspect: every point within a pixel, or one of the crop's where that is larger."""
    frame, (markers,) = frame_of(width, height, (box, RED))
    found = dwpose.detect_frames(frame[None])[0]
    assert found.people.shape == (1, NUM_POINTS, 3) and not found.whole_image
    assert found.scores == pytest.approx([onnx_models.RED_SCORE])
    crop_pixel = max((box[2] - box[0]) / 0.75, box[3] - box[1]) * 1.25 / 384
    assert_points(found.people[0], markers, max(1, crop_pixel))
    measured(f"markers in {width}x{height}: off by at most "
             f"{np.linalg.norm(found.people[0, :, :2] - expected(markers), axis=-1).max():.2f} px")


def test_scores_are_the_models(dwpose: DWPose) -> None:
    frame, _ = frame_of(512, 768, ((150, 200, 330, 700), RED))
    scores = dwpose.detect(frame)[0, :, 2]
    assert scores[NECK] == 1, "both shoulders are seen"
    assert np.delete(scores, NECK) == pytest.approx(np.full(NUM_POINTS - 1, 0.95), abs=0.08)


def test_two_people_best_first(dwpose: DWPose) -> None:
    frame, (yellow, red) = frame_of(1000, 500, ((50, 60, 250, 450), YELLOW), ((600, 100, 800, 480), RED))
    found = dwpose.detect_frames(frame[None])[0]
    assert found.scores == pytest.approx([onnx_models.RED_SCORE, onnx_models.YELLOW_SCORE]), "the double is suppressed"
    assert_points(found.people[0], red, 1.5)
    assert_points(found.people[1], yellow, 1.5)


def test_the_models_get_bgr(dwpose: DWPose, models: Path) -> None:
    """The red person is found as such, so red is the last channel; of blue ones the detector knows nothing."""
    frame = np.full((400, 400, 3), 60, np.uint8)
    frame[50:350, 100:250] = RED
    assert not dwpose.detect_frames(frame[None])[0].whole_image
    assert dwpose.detect_frames(frame[None, ..., ::-1].copy())[0].whole_image
    canvas, _ = detector.letterbox(frame, 640, 640)
    rgb = Model(str(models / "detector.onnx"), "auto", (640, 640), 1).run(canvas.transpose(2, 0, 1)[None])[0]
    assert not (rgb[..., 4] * rgb[..., 5] > 0.3).any(), "the test's model tells the orders apart"


def test_nobody_found_is_the_whole_picture(dwpose: DWPose) -> None:
    frame, markers = np.full((480, 360, 3), 60, np.uint8), np.array([[100, 90], [200, 150], [170, 400.0]])
    for at, colour in zip(markers, ((0, 255, 0), (0, 0, 255), (0, 255, 255)), strict=True):
        onnx_models.draw_marker(frame, *at, colour, 20)
    found = dwpose.detect_frames(frame[None])[0]
    assert found.whole_image and found.scores.tolist() == [0]
    assert_points(found.people[0], markers, 480 * 1.25 / 384)
    assert len(found.sight(0.3)) == 1, "its own keypoints say that somebody is there"


def test_an_empty_picture_holds_nobody(dwpose: DWPose) -> None:
    found = dwpose.detect_frames(np.zeros((1, 100, 70, 3), np.uint8))[0]
    assert found.whole_image and not found.people[..., 2].any()
    assert not stack_people([found.people], 70, 100).present.any()
    assert found.sight(0.3).shape == (0, NUM_POINTS, 3)


@pytest.mark.parametrize(("scores", "threshold", "seen"), [
    ([0.9] * 18, 0.3, True), ([0.9] * 8 + [0.05] * 10, 0.3, True), ([0.2] * 18, 0.3, False), ([0.9] * 3 + [0.1] * 15, 0.3, False),
    ([0.2] * 18, 0.0, True), ([0.9] * 18, 0.95, False),
])
def test_a_guess_is_a_sight_by_its_own_keypoints(scores: list[float], threshold: float, seen: bool) -> None:
    """The mean of the 18 body scores decides; face and hands, which are all sure here, do not. Who was detected always counts."""
    people = np.ones((1, NUM_POINTS, 3), np.float32)
    people[0, BODY, 2] = scores
    assert len(Found(people, np.zeros(1), whole_image=True).sight(threshold)) == seen
    assert len(Found(people, np.ones(1), whole_image=False).sight(threshold)) == 1


def test_one_pixel(dwpose: DWPose) -> None:
    assert dwpose.detect(np.zeros((1, 1, 3), np.uint8)).shape == (1, NUM_POINTS, 3)
    assert dwpose.detect(np.zeros((3, 2000, 3), np.uint8)).shape == (1, NUM_POINTS, 3)


@pytest.fixture(scope="module")
def clip() -> Array:
    """Seven frames: two people, one, nobody, ..."""
    people = [(((40 + 10 * i, 60, 140 + 10 * i, 300), RED), ((350 - 9 * i, 80, 440 - 9 * i, 330), YELLOW)) for i in range(7)]
    return np.stack([frame_of(480, 360, *of_one[:(2, 1, 0)[i % 3]])[0] for i, of_one in enumerate(people)])


def same_as_one_by_one(dwpose: DWPose, one_by_one: DWPose, clip: Array) -> None:
    together, alone = dwpose.detect_frames(clip), [one_by_one.detect_frames(frame[None])[0] for frame in clip]
    for a, b in zip(together, alone, strict=True):
        assert np.allclose(a.people, b.people, atol=1e-4) and np.allclose(a.scores, b.scores) and a.whole_image == b.whole_image
    assert [(len(found.people), found.whole_image) for found in together] == [(2, False), (1, False), (1, True)] * 2 + [(2, False)]


@pytest.mark.parametrize("batch", ["N", 1, 5])
def test_batches(models: Path, dwpose: DWPose, clip: Array, tmp_path: Path, batch: int | str) -> None:
    """Any number at once, one at a time, five at a time with the last filled up: the same."""
    onnx_models.write_detector(tmp_path / "detector.onnx", batch)
    onnx_models.write_pose_model(tmp_path / "pose.onnx", batch)
    other = DWPose(str(tmp_path / "detector.onnx"), str(tmp_path / "pose.onnx"))
    assert other.frames_at_once == (batch if isinstance(batch, int) else 8)
    same_as_one_by_one(other, dwpose, clip)


def test_a_batch_really_goes_in_at_once(models: Path, clip: Array, tmp_path: Path) -> None:
    """A model that fails on more than one picture fails here: so several are given; and then goes on one by one."""
    onnx_models.write_pose_model(tmp_path / "lying.onnx", lying=True)
    lying = DWPose(str(models / "detector.onnx"), str(tmp_path / "lying.onnx"))
    assert lying.pose.batch is None
    same_as_one_by_one(lying, DWPose(str(models / "detector.onnx"), str(models / "pose.onnx")), clip)
    assert lying.pose.batch == 1


def test_other_sizes_and_half_precision(tmp_path: Path) -> None:
    onnx_models.write_detector(tmp_path / "detector.onnx", size=416)
    onnx_models.write_pose_model(tmp_path / "pose.onnx", width=192, height=256, dtype="float16")
    frame, (markers,) = frame_of(512, 768, ((150, 200, 330, 700), RED))
    people = DWPose(str(tmp_path / "detector.onnx"), str(tmp_path / "pose.onnx")).detect(frame)
    assert_points(people[0], markers, 500 * 1.25 / 256)


# --------------------------------------------------------------------------------------------------------------- bad input

@pytest.mark.parametrize(("detector_file", "pose_file", "words"), [
    ("pose.onnx", "detector.onnx", ["are swapped", "pose.onnx is the pose model", "[?, 133, 576]"]),
    ("pose.onnx", "pose.onnx", ["detector: pose.onnx", "[?, 3, 384, 288]", "[N, 8400, 85]", "yolox_l.onnx"]),
    ("detector.onnx", "detector.onnx", ["pose_model: detector.onnx", "[?, 8400, 85]", "dw-ll_ucoco_384.onnx", "yzd-v/DWPose"]),
    ("other.onnx", "pose.onnx", ["detector: other.onnx", "[?, 10]"]),
    ("detector.onnx", "other.onnx", ["pose_model: other.onnx", "[?, 10]"]),
    ("text.onnx", "pose.onnx", ["text.onnx is not an ONNX model", "again"]),
    ("detector.onnx", "truncated.onnx", ["truncated.onnx is not an ONNX model", "again"]),
    ("empty.onnx", "pose.onnx", ["empty.onnx is not an ONNX model"]),
    ("absent.onnx", "pose.onnx", ["absent.onnx", "file not found"]),
])
def test_wrong_files(models: Path, tmp_path: Path, detector_file: str, pose_file: str, words: list[str]) -> None:
    for name in ("detector.onnx", "pose.onnx"):
        (tmp_path / name).write_bytes((models / name).read_bytes())
    onnx_models.write_other(tmp_path / "other.onnx")
    (tmp_path / "text.onnx").write_text("<html>404</html>", encoding="utf-8")
    (tmp_path / "empty.onnx").touch()
    whole = (models / "pose.onnx").read_bytes()
    (tmp_path / "truncated.onnx").write_bytes(whole[:len(whole) * 2 // 3])
    with pytest.raises(PoseError) as caught:
        DWPose(str(tmp_path / detector_file), str(tmp_path / pose_file))
    missing = [word for word in words if word not in str(caught.value)]
    assert not missing, f"{missing} not in: {caught.value}"


def test_a_model_that_fails_on_every_picture(models: Path, tmp_path: Path) -> None:
    onnx_models.write(tmp_path / "broken.onnx", """broken (float[N, 3, 640, 640] x) => (float[N, 8400, 85] y) {
        shape = Constant<value = int64[3] {1, 8400, 85}>()
        y = Reshape(x, shape)
    }""")
    broken = DWPose(str(tmp_path / "broken.onnx"), str(models / "pose.onnx"))
    with pytest.raises(PoseError, match=r"broken.onnx failed on an image"):
        broken.detect(np.zeros((50, 50, 3), np.uint8))


@pytest.mark.parametrize("frames", [np.zeros((1, 4, 4, 3), np.float32), np.zeros((4, 4, 3), np.uint8), np.zeros((1, 4, 4, 4), np.uint8),
                                    np.zeros((0, 4, 4, 3), np.uint8)])
def test_no_pictures(dwpose: DWPose, frames: Array) -> None:
    with pytest.raises(PoseError, match=r"must be \[frames, height, width, 3\] uint8"):
        dwpose.detect_frames(frames)


def test_without_onnxruntime(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(PoseError, match="pip install onnxruntime-gpu"):
        DWPose(str(models / "detector.onnx"), str(models / "pose.onnx"))


@pytest.mark.parametrize(("available", "choice", "wanted"), [
    (["AzureExecutionProvider", CPU], "auto", [CPU]),
    (["TensorrtExecutionProvider", "CUDAExecutionProvider", CPU], "auto", ["CUDAExecutionProvider", CPU]),
    ([CPU, "CoreMLExecutionProvider"], "auto", ["CoreMLExecutionProvider", CPU]),
    (["DmlExecutionProvider", CPU], "auto", ["DmlExecutionProvider", CPU]),
    (["CUDAExecutionProvider", CPU], "cpu", [CPU]),
])
def test_the_best_provider_is_taken(available: list[str], choice: str, wanted: list[str]) -> None:
    assert detector.choose_providers(available, choice) == wanted


def test_whether_a_gpu_computes_is_known_before_anything_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    monkeypatch.delattr(onnxruntime, "InferenceSession")
    for there, wanted in ((["CUDAExecutionProvider", CPU], True), ([CPU], False)):
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda there=there: there)
        assert detector.uses_gpu("auto") is wanted
        assert detector.uses_gpu("cpu") is False
    with pytest.raises(PoseError, match="device"):
        detector.uses_gpu("gpu")


def test_no_provider_and_no_such_device() -> None:
    with pytest.raises(PoseError, match=r"no usable provider.*AzureExecutionProvider.*pip install"):
        detector.choose_providers(["AzureExecutionProvider"])
    with pytest.raises(PoseError, match="'gpu' is unknown; choose from: auto, cpu"):
        detector.choose_providers([CPU], "gpu")


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_does_not_work_gives_way_to_the_cpu(models: Path, monkeypatch: pytest.MonkeyPatch,
                                                            caplog: pytest.LogCaptureFixture) -> None:
    """onnxruntime says that it has DirectML, and then cannot make a session with it."""
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["DmlExecutionProvider", CPU])
    with caplog.at_level(logging.INFO, logger="animate_core.pose.detector"):
        found = DWPose(str(models / "detector.onnx"), str(models / "pose.onnx"))
    assert "detector.onnx: DirectML does not work here" in caplog.text and "using CPU instead" in caplog.text
    assert "detector.onnx on CPU" in caplog.text
    assert len(found.detect(frame_of(400, 400, ((100, 50, 250, 350), RED))[0])) == 1


def test_shoulders_make_the_neck(dwpose: DWPose) -> None:
    frame, _ = frame_of(512, 768, ((150, 200, 330, 700), RED))
    body = dwpose.detect(frame)[0, BODY]
    assert body[NECK, :2] == pytest.approx((body[R_SHOULDER, :2] + body[L_SHOULDER, :2]) / 2)
