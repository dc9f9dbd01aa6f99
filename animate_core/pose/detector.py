"""DWPose: people and their whole-body keypoints in pictures, by two ONNX models (docs/method.md H.1-H.3).

The published models are yolox_l.onnx and dw-ll_ucoco_384.onnx; any with the same inputs and outputs serve.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .keypoints import BODY, LARGEST, NUM_POINTS, PoseError, from_wholebody
from .people import overlaps

Array = np.ndarray

log = logging.getLogger(__name__)

# The best first; the last is always there.
PROVIDERS = {"CUDAExecutionProvider": "CUDA", "ROCMExecutionProvider": "ROCm", "MIGraphXExecutionProvider": "MIGraphX",
             "CoreMLExecutionProvider": "CoreML", "DmlExecutionProvider": "DirectML", "OpenVINOExecutionProvider": "OpenVINO",
             "CPUExecutionProvider": "CPU"}
CPU = "CPUExecutionProvider"
PROVIDER_CHOICES: tuple[str, ...] = ("auto", "cpu")
INSTALL = "pip install onnxruntime-gpu (NVIDIA), onnxruntime-directml (Windows, other GPUs) or onnxruntime (Mac, CPU)"
GET_FILES = "huggingface.co/yzd-v/DWPose"

WHOLEBODY = 133
GREY = 114  # what the detector's canvas is filled with
STRIDES = (8, 16, 32)
MIN_SCORE, NMS_IOU, PERSON_SCORE = 0.1, 0.45, 0.3
PERSON_COLUMN = 5  # after x, y, w, h and objectness: the first class
BOX_SCALE = 1.25
# RGB's constants, applied to BGR pictures: so the model was published
MEAN = np.array([123.675, 116.28, 103.53], np.float32)
STD = np.array([58.395, 57.12, 57.375], np.float32)
FRAMES_AT_ONCE, PEOPLE_AT_ONCE = 8, 32  # where a model takes any number


@dataclass(frozen=True)
class Found:
    """What one frame holds: people `[P, 134, 3]` (x, y in pixels, score), the detector's score of each `[P]`.

    whole_image: the detector found nobody and the whole picture was taken for one person's box; the score is then 0.
    """

    people: Array
    scores: Array
    whole_image: bool

    def sight(self, threshold: float) -> Array:
        """People `[P, 134, 3]`: not a guess over the whole picture if the mean score of its 18 body points is below the threshold."""
        return self.people[self.people[:, BODY, 2].mean(-1) >= threshold] if self.whole_image else self.people


# ------------------------------------------------------------------------------------------------------------------ pictures

def resize(image: Array, width: int, height: int) -> Array:
    """Bilinear, half-pixel centres, not antialiased: OpenCV's INTER_LINEAR on uint8 within one level. `[H, W, 3]` uint8."""
    x = (np.arange(width) + 0.5) * (image.shape[1] / width) - 0.5
    y = (np.arange(height) + 0.5) * (image.shape[0] / height) - 0.5
    return sample(image, x.clip(0, image.shape[1] - 1), y.clip(0, image.shape[0] - 1))


def sample(image: Array, x: Array, y: Array) -> Array:
    """The picture `[H, W, C]` uint8 at the columns x `[w]` and rows y `[h]` in pixels, bilinear, black outside: `[h, w, C]` uint8."""
    height, width = image.shape[:2]
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)

    def weight(share: Array, at: Array, size: int) -> Array:
        return np.where((at >= 0) & (at < size), share, 0).astype(np.float32)

    rows = (image.take(top, 0, mode="clip") * weight(1 + top - y, top, height)[:, None, None]
            + image.take(top + 1, 0, mode="clip") * weight(y - top, top + 1, height)[:, None, None])
    out = (rows.take(left, 1, mode="clip") * weight(1 + left - x, left, width)[:, None]
           + rows.take(left + 1, 1, mode="clip") * weight(x - left, left + 1, width)[:, None])
    return (out + 0.5).astype(np.uint8)


def letterbox(image: Array, width: int, height: int) -> tuple[Array, float]:
    """A picture `[H, W, 3]` uint8 scaled into the top left of a grey canvas of the given size, and the scale (docs/method.md H.1)."""
    scale = min(height / image.shape[0], width / image.shape[1])
    small = resize(image, max(1, int(image.shape[1] * scale)), max(1, int(image.shape[0] * scale)))
    canvas = np.full((height, width, 3), GREY, np.uint8)
    canvas[:small.shape[0], :small.shape[1]] = small
    return canvas, scale


def person_frame(box: Array, width: int, height: int) -> tuple[Array, Array]:
    """Centre and size, both `[2]` in pixels, of the part of the picture that the pose model sees for a box x1, y1, x2, y2.

    The box enlarged by 1.25, then to the model's aspect (docs/method.md H.2).
    """
    centre = (box[:2] + box[2:]) / 2
    wide, high = (box[2:] - box[:2]) * BOX_SCALE
    aspect = width / height
    return centre, np.array([wide, wide / aspect] if wide > high * aspect else [high * aspect, high])


def crop(image: Array, centre: Array, size: Array, width: int, height: int) -> Array:
    """That part of a picture `[H, W, 3]` uint8 as `[height, width, 3]`: bilinear, black outside (docs/method.md H.2).

    The middle of the target, (width / 2, height / 2), shows the centre. Places are rounded to 1/32 pixel as in OpenCV's warpAffine.
    """
    step = size[0] / width

    def places(count: int, middle: float) -> Array:
        start = np.rint((middle - step * count / 2) * 1024) + 16
        return np.floor((np.rint(step * np.arange(count) * 1024) + start) / 32) / 32

    return sample(image, places(width, centre[0]), places(height, centre[1]))


def normalise(crops: Array) -> Array:
    """BGR pictures `[N, h, w, 3]` uint8 as the pose model takes them: `[N, 3, h, w]` float32 (docs/method.md H.2)."""
    return ((crops - MEAN) / STD).transpose(0, 3, 1, 2)


# ------------------------------------------------------------------------------------------------------------------- results

def decode_boxes(output: Array, width: int, height: int) -> tuple[Array, Array]:
    """Boxes x1, y1, x2, y2 `[A, 4]` in pixels of the canvas, and each one's person score `[A]`, of YOLOX's output `[A, 5 + classes]`."""
    grids, strides = [], []
    for stride in STRIDES:
        y, x = np.mgrid[:height // stride, :width // stride]
        grids.append(np.stack([x, y], -1).reshape(-1, 2))
        strides.append(np.full((grids[-1].shape[0], 1), stride))
    grid, stride_of = np.concatenate(grids), np.concatenate(strides)
    centre = (output[:, :2] + grid) * stride_of
    with np.errstate(over="ignore"):
        half = np.exp(output[:, 2:4]) * stride_of / 2
    return np.concatenate([centre - half, centre + half], -1), output[:, 4] * output[:, PERSON_COLUMN]


def suppress(boxes: Array, scores: Array, limit: float = NMS_IOU) -> Array:
    """Non-maximum suppression: indices of the boxes that stay, by falling score. boxes `[N, 4]`, scores `[N]`."""
    order = np.argsort(-scores, kind="stable")
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        order = order[overlaps(boxes[best][None], boxes[order])[0] <= limit]
    return np.array(kept, int)


def find_boxes(output: Array, width: int, height: int, scale: float) -> tuple[Array, Array]:
    """People's boxes `[P, 4]` in pixels of the picture, and their scores `[P]`, best first, of YOLOX's output `[A, 5 + classes]`."""
    boxes, scores = decode_boxes(output.astype(np.float32), width, height)
    boxes = boxes / scale
    usable = (scores > MIN_SCORE) & (np.abs(boxes) < LARGEST / 4).all(-1)
    boxes, scores = boxes[usable], scores[usable]
    kept = suppress(boxes, scores)
    kept = kept[scores[kept] > PERSON_SCORE]
    return boxes[kept], scores[kept]


def decode_simcc(x: Array, y: Array, width: int, height: int) -> Array:
    """Two lines of scores per point, `[N, K, split * width]` and `[N, K, split * height]`, as `[N, K, 3]`: x, y in the crop, score.

    A point without a score above 0 lies at -1 / split (docs/method.md H.2).
    """
    places = np.stack([x.argmax(-1), y.argmax(-1)], -1).astype(np.float32)
    scores = np.minimum(x.max(-1), y.max(-1)).astype(np.float32)
    scores = np.where(np.isfinite(scores), scores, 0).clip(0)
    places[scores == 0] = -1
    split = np.array([x.shape[-1] / width, y.shape[-1] / height], np.float32)
    return np.concatenate([places / split, scores[..., None]], -1)


# -------------------------------------------------------------------------------------------------------------------- models

def import_runtime() -> Any:
    """onnxruntime. Raises PoseError that says what to install."""
    try:
        import onnxruntime
    except ImportError as error:
        raise PoseError(f"DWPose needs onnxruntime, which is not installed ({error}). Install it in ComfyUI's Python: {INSTALL}; or use "
                        "another node's POSE_KEYPOINT") from error
    return onnxruntime


def choose_providers(available: Sequence[str], choice: str = "auto") -> list[str]:
    """What computes: the best provider that is there, then the CPU. Raises PoseError for an unknown choice, or if there is none."""
    if choice not in PROVIDER_CHOICES:
        raise PoseError(f"device: {choice!r} is unknown; choose from: {', '.join(PROVIDER_CHOICES)}")
    usable = [p for p in PROVIDERS if p in available and (p == CPU or choice == "auto")]
    if not usable:
        raise PoseError(f"onnxruntime has no usable provider (available: {', '.join(available) or 'none'}). Reinstall it: {INSTALL}")
    return [usable[0], CPU] if usable[0] != CPU else [CPU]


def uses_gpu(device: str) -> bool:
    """Whether models of this device open on more than the CPU; nothing is opened to tell.

    device: one of PROVIDER_CHOICES. Raises PoseError for another, without onnxruntime, or if that has no provider.
    """
    return choose_providers(import_runtime().get_available_providers(), device)[0] != CPU


def shape_text(shape: Sequence[Any]) -> str:
    return f"[{', '.join(str(n) if isinstance(n, int) else '?' for n in shape)}]"


def fits(shape: Sequence[Any] | None, wanted: Sequence[int | None]) -> bool:
    """Whether a tensor of this declared shape can be of the wanted one; None there is any number, and whatever is not declared fits."""
    return not shape or len(shape) == len(wanted) and all(w is None or not isinstance(s, int) or s == w
                                                          for s, w in zip(shape, wanted, strict=True))


class Model:
    """An ONNX model that takes pictures: its file, what it takes, what computes it.

    default_size: width and height where the file leaves them open. outputs: how many of its outputs to read.
    Raises PoseError for a file that is missing or that onnxruntime cannot read.
    """

    def __init__(self, path: str, device: str, default_size: tuple[int, int], outputs: int) -> None:
        self.path, self.name = path, os.path.basename(path)
        self.runtime = import_runtime()
        if not os.path.isfile(path):
            raise PoseError(f"{path}: file not found")
        self.providers = choose_providers(self.runtime.get_available_providers(), device)
        self.session = self.open()
        inputs = self.session.get_inputs()
        self.input_shapes = [given.shape for given in inputs]
        self.input_name = inputs[0].name if inputs else ""
        self.dtype = np.float16 if inputs and inputs[0].type == "tensor(float16)" else np.float32
        wanted = self.session.get_outputs()[:outputs]
        self.output_shapes, self.output_names = [output.shape for output in wanted], [output.name for output in wanted]
        batch, _, height, width = self.input_shapes[0] if self.takes_pictures else [None] * 4
        self.batch: int | None = batch if isinstance(batch, int) else None
        self.height: int = height if isinstance(height, int) else default_size[1]
        self.width: int = width if isinstance(width, int) else default_size[0]

    @property
    def takes_pictures(self) -> bool:
        return len(self.input_shapes) == 1 and len(self.input_shapes[0]) == 4 and fits(self.input_shapes[0], (None, 3, None, None))

    @property
    def provider(self) -> str:
        """What computes, in words."""
        return PROVIDERS.get(self.session.get_providers()[0], self.session.get_providers()[0])

    def open(self) -> Any:
        """A session by the first provider that works."""
        options = self.runtime.SessionOptions()
        options.log_severity_level = 3
        problem: Exception | None = None
        for providers in dict.fromkeys([tuple(self.providers), (CPU,)]):
            try:
                session = self.runtime.InferenceSession(self.path, options, providers=list(providers))
            except Exception as error:
                problem = error
                continue
            used = session.get_providers()[0]
            if used != self.providers[0]:
                log.warning("%s: %s does not work here%s; using %s instead", self.name, PROVIDERS[self.providers[0]],
                            f" ({problem})" if problem else "", PROVIDERS.get(used, used))
            return session
        raise PoseError(f"{self.name} is not an ONNX model that onnxruntime {self.runtime.__version__} can read: {problem}. Download "
                        f"the file again, for example from {GET_FILES}") from problem

    def describe(self) -> str:
        return f"takes {', '.join(map(shape_text, self.input_shapes))} and gives {', '.join(map(shape_text, self.output_shapes))}"

    def run(self, pictures: Array) -> list[Array]:
        """The outputs of pictures `[N, 3, H, W]`, each `[N, ...]`; as many at once as the model takes.

        Raises PoseError if the model fails on the CPU, too.
        """
        count = len(pictures)
        pictures = pictures.astype(self.dtype)
        step = self.batch or count
        parts = []
        for start in range(0, count, step):
            part = pictures[start:start + step]
            short = step - len(part)
            if short:
                part = np.concatenate([part, np.zeros((short, *part.shape[1:]), self.dtype)])
            try:
                outputs = self.session.run(self.output_names, {self.input_name: part})
                if any(out.shape[:1] != (step,) for out in outputs):
                    raise PoseError(f"it returned {', '.join(shape_text(out.shape) for out in outputs)} for {step} images")
            except Exception as error:
                return self.run_otherwise(pictures, error)
            parts.append([out[:step - short] for out in outputs])
        return [np.concatenate(out) for out in zip(*parts, strict=True)]

    def run_otherwise(self, pictures: Array, error: Exception) -> list[Array]:
        """After a failure: one by one, for a model that only says it takes any number; then on the CPU."""
        if self.batch is None and len(pictures) > 1:
            log.info("%s: no batch of %d possible (%s); running one by one", self.name, len(pictures), error)
            self.batch = 1
        elif self.session.get_providers()[0] != CPU:
            log.warning("%s: %s failed (%s); using the CPU instead until the file is loaded again", self.name, self.provider, error)
            self.providers = [CPU]
            self.session = self.open()
        else:
            raise PoseError(f"{self.name} failed on an image: {error}") from error
        return self.run(pictures)


def is_detector(model: Model) -> bool:
    """YOLOX's signature: pictures in, one row per place of the grids out."""
    rows = sum((model.height // s) * (model.width // s) for s in STRIDES)
    columns = model.output_shapes[0][-1] if model.output_shapes[0] else None
    return model.takes_pictures and fits(model.output_shapes[0], (None, rows, None)) and (not isinstance(columns, int)
                                                                                          or columns > PERSON_COLUMN)


def is_pose_model(model: Model) -> bool:
    """A whole-body SimCC model's signature: pictures in, two lines of scores for each of 133 points out."""
    shapes = model.output_shapes
    return model.takes_pictures and len(shapes) == 2 and all(fits(shape, (None, WHOLEBODY, None)) for shape in shapes)


class DWPose:
    """Finds people and their keypoints. Holds two open models, and a GPU's memory for them, until it is let go.

    detector_path: YOLOX `[N, 3, H, W]` -> `[N, A, 5 + classes]`. pose_path: SimCC `[N, 3, h, w]` -> `[N, 133, 2w]`, `[N, 133, 2h]`.
    device: one of PROVIDER_CHOICES. Raises PoseError for files that are something else, or without onnxruntime.
    """

    def __init__(self, detector_path: str, pose_path: str, device: str = "auto") -> None:
        detector, pose = Model(detector_path, device, (640, 640), 1), Model(pose_path, device, (288, 384), 2)
        if fits(detector.output_shapes[0], (None, WHOLEBODY, None)) and is_detector(pose):
            raise PoseError(f"detector and pose_model are swapped: {detector.name} is the pose model ({detector.describe()}), "
                            f"{pose.name} the detector")
        for model, right, name, wanted, usual in (
                (detector, is_detector, "detector", "a YOLOX person detector, [N, 3, 640, 640] to [N, 8400, 85]", "yolox_l.onnx"),
                (pose, is_pose_model, "pose_model", "a whole-body model, [N, 3, 384, 288] to [N, 133, 576] and [N, 133, 768]",
                 "dw-ll_ucoco_384.onnx")):
            if not right(model):
                raise PoseError(f"{name}: {model.name} is a different kind of model: it {model.describe()}. Use {wanted}: {usual} from "
                                f"{GET_FILES}")
        self.detector, self.pose = detector, pose
        log.info("DWPose: %s on %s, %s on %s", detector.name, detector.provider, pose.name, pose.provider)

    @property
    def frames_at_once(self) -> int:
        return self.detector.batch or FRAMES_AT_ONCE

    def detect(self, frame: Array) -> Array:
        """People `[P, 134, 3]` of one RGB picture `[H, W, 3]` uint8; the whole picture as one person if nobody is found."""
        return self.detect_frames(frame[None])[0].people

    def detect_frames(self, frames: Array) -> list[Found]:
        """What each RGB picture of `[F, H, W, 3]` uint8 holds. Hand over `frames_at_once` at a time."""
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or 0 in frames.shape:
            raise PoseError(f"frames must be [frames, height, width, 3] uint8; got shape {frames.shape} and type {frames.dtype}")
        frames = frames[..., ::-1]  # both models take BGR
        found = self.find_people(frames)
        whole = np.array([[0, 0, frames.shape[2], frames.shape[1]]], np.float32)
        boxes = [boxes if len(boxes) else whole for boxes, _ in found]
        people = self.find_points([(frame, box) for frame, of_one in zip(frames, boxes, strict=True) for box in of_one])
        ends = np.cumsum([len(of_one) for of_one in boxes])
        return [Found(points, scores if len(scores) else np.zeros(1, np.float32), not len(scores))
                for points, (_, scores) in zip(np.split(people, ends[:-1]), found, strict=True)]

    def find_people(self, frames: Array) -> list[tuple[Array, Array]]:
        """Boxes `[P, 4]` and scores `[P]` in each BGR picture of `[F, H, W, 3]`."""
        model = self.detector
        inputs = [letterbox(frame, model.width, model.height) for frame in frames]
        output = model.run(np.stack([canvas for canvas, _ in inputs]).transpose(0, 3, 1, 2))[0]
        rows = sum((model.height // s) * (model.width // s) for s in STRIDES)
        if output.ndim != 3 or output.shape[1] != rows or output.shape[2] <= PERSON_COLUMN:
            raise PoseError(f"detector: the output of {model.name} must be [N, {rows}, 85]; got {shape_text(output.shape)}")
        return [find_boxes(out, model.width, model.height, scale) for out, (_, scale) in zip(output, inputs, strict=True)]

    def find_points(self, boxes: list[tuple[Array, Array]]) -> Array:
        """Points `[N, 134, 3]` of the person in each of N boxes, given with its BGR picture."""
        model, out = self.pose, np.zeros((len(boxes), NUM_POINTS, 3), np.float32)
        for start in range(0, len(boxes), PEOPLE_AT_ONCE):
            part = boxes[start:start + PEOPLE_AT_ONCE]
            parts = [person_frame(box, model.width, model.height) for _, box in part]
            crops = np.stack([crop(frame, centre, size, model.width, model.height)
                              for (frame, _), (centre, size) in zip(part, parts, strict=True)])
            x, y = model.run(normalise(crops))
            lines = (x.ndim, y.ndim, x.shape[1:2], y.shape[1:2]) == (3, 3, (WHOLEBODY,), (WHOLEBODY,))
            if not lines or x.shape[2] * model.height != y.shape[2] * model.width:
                raise PoseError(f"pose_model: the outputs of {model.name} must be [N, {WHOLEBODY}, {2 * model.width}] and "
                                f"[N, {WHOLEBODY}, {2 * model.height}]; got {shape_text(x.shape)} and {shape_text(y.shape)}")
            points = decode_simcc(x, y, model.width, model.height)
            centre, size = (np.stack(values)[:, None] for values in zip(*parts, strict=True))
            points[..., :2] = points[..., :2] / (model.width, model.height) * size + centre - size / 2
            out[start:start + len(part)] = from_wholebody(points)
        return out
