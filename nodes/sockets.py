"""Our socket types, each with the object that travels over it, and the checks that a consumer makes of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import torch
from comfy_api.latest import io
from torch import Tensor

from ..animate_core.blocks import Attention
from ..animate_core.families import FAMILIES
from ..animate_core.guiders import WindowPictures
from ..animate_core.guiders import guider_on as multi_scale_on
from ..animate_core.memory import guider_bytes, pictures_step_bytes
from ..animate_core.pose.style import Look
from ..animate_core.pose_guider import PoseFrames, guider_on
from ..animate_core.unet import UNetConfig
from ..animate_core.windows import take

ReferenceNetSocket = io.Custom("REFERENCE_NET")
PoseGuiderSocket = io.Custom("POSE_GUIDER")
ReferenceSocket = io.Custom("REFERENCE")
PoseSocket = io.Custom("POSE")
PoseKeypointSocket = io.Custom("POSE_KEYPOINT")  # the host's own
PoseDataSocket = io.Custom("POSEDATA")  # the WanAnimate preprocessors'
PoseDetectorSocket = io.Custom("POSE_DETECTOR")  # an open DWPose
FaceLandmarksSocket = io.Custom("FACE_LANDMARKS")  # the host's own
WindowsSocket = io.Custom("WINDOWS")
StrengthsSocket = io.Custom("STRENGTHS")
FloatsSocket = io.Custom("FLOATS")  # the host's own: a list of numbers
DrawingSocket = io.Custom("DRAWING")  # a drawing's Fitted
PlacementSocket = io.Custom("PLACEMENT")  # where crops lie in their clip

POSE_CATEGORY = "Marionette/pose"
BINARY, GRADED = "0 and 1", "as they are"  # scores of POSE_KEYPOINT

T = TypeVar("T")


@dataclass(frozen=True)
class Network:
    """A network under the host's memory management: its patcher, the dtype that it computes in, the file's name."""

    patcher: Any
    dtype: torch.dtype
    source: str


@dataclass(frozen=True)
class ReferenceNet(Network):
    """family: where it is known. unconditional: what that half of the guidance reads, by the latent's size, where it reads a reference."""

    config: UNetConfig
    family: str = ""
    unconditional: dict[tuple[int, int], dict[str, Tensor]] = field(default_factory=dict)


@dataclass(frozen=True)
class PoseGuider(Network):
    """family: whose pictures it was trained on, empty where its file does not tell. part: which of its family's guiders it is. outputs:
    widths of its features, one for each place where they enter the MODEL. others: the rest of a family's several guiders."""

    out_channels: int
    family: str = ""
    part: str = "pose_guider"
    outputs: tuple[int, ...] = ()
    others: tuple[PoseGuider, ...] = ()

    def parts(self) -> dict[str, PoseGuider]:
        """The model's guiders, this one among them, in the order of its family."""
        found = {guider.part: guider for guider in (self, *self.others)}
        order = FAMILIES[self.family].guiders if self.family else ()
        return {part: found[part] for part in (*(p for p in order if p in found), *(p for p in found if p not in order))}


@dataclass(frozen=True)
class Reference:
    """features: block path -> `[1, N, C]`, N over all of its pictures; token `[1, 1, D]`; size of a picture in pixels. unconditional: the
    same features for the unconditional half, where it reads a reference. weights: of each picture, 1 together. Tensors off the GPU."""

    features: dict[str, Tensor]
    token: Tensor
    width: int
    height: int
    source: str
    unconditional: dict[str, Tensor] | None = None
    weights: tuple[float, ...] = (1.0,)


@dataclass(frozen=True)
class Pose:
    """kept: features `[F, C, height / 8, width / 8]`; or pictures `[F, height, width, 3]` uint8, of which the guider makes features while
    sampling. Off the GPU. look: what the skeletons look to be, None where they suit their family. family: whose guidance it is, where that
    is told. stored_statistics: as in `MultiScaleGuider.forward`."""

    kept: Tensor
    guider: PoseGuider | None
    channels: int
    width: int
    height: int
    source: str
    look: Look | None = None
    family: str = ""
    stored_statistics: bool = False
    # what sampling runs share: both halves of the guidance read the same
    at_work: WeakValueDictionary[torch.device, WindowPictures] = field(default_factory=WeakValueDictionary, compare=False)

    @property
    def frames(self) -> int:
        return len(self.kept)

    @property
    def by_window(self) -> bool:
        """Whether a window's features depend on all of its frames, and enter at several places."""
        return self.guider is not None and len(self.guider.outputs) > 1

    def padded(self, frames: int, total: int) -> Pose:
        """The first frames, and the last of them repeated."""
        if total == frames:
            return self
        order = [*range(frames), *[frames - 1] * (total - frames)]
        return replace(self, kept=take(self.kept, order), at_work=WeakValueDictionary())

    def part(self, start: int, stop: int) -> Pose:
        """Some frames in a row."""
        return replace(self, kept=self.kept[start:stop], at_work=WeakValueDictionary())

    def ready(self, device: torch.device, keep: bool, attention: Attention) -> PoseFrames | WindowPictures:
        """For sampling on a device. A guider's weights go there with the rest of the conditioning, for each card its own. keep: whether the
        same windows come again in every step."""
        if self.guider is None:
            return PoseFrames(self.kept)
        if not self.by_window:
            return PoseFrames(self.kept, guider_on(self.guider.patcher.model, device, self.guider.dtype))
        found = self.at_work.get(device)
        if found is None or found.keep is not keep:
            guider = multi_scale_on(self.guider.patcher.model, device, self.guider.dtype)
            # with stored statistics the range that those were gathered in
            values = (-1.0, 1.0) if self.stored_statistics else FAMILIES[self.family].picture_range
            found = WindowPictures(self.kept, guider, self.guider.dtype, values, self.stored_statistics, keep, attention)
            self.at_work[device] = found
        return found

    def window_bytes(self, frames: int, channels: int) -> int:
        """What making a window's features takes on the GPU, beside the clip's conditioning; 0 where they are ready."""
        if self.guider is None:
            return 0
        itemsize = self.guider.dtype.itemsize
        if self.by_window:
            weights = sum(x.numel() for x in self.guider.patcher.model.state_dict().values()) * itemsize
            return weights + guider_bytes("multi-scale", self.width, self.height, frames, itemsize)
        first = self.guider.patcher.model.conv_in.out_channels
        return pictures_step_bytes(self.width // 8, self.height // 8, frames, itemsize, first, channels)


def scores_input() -> io.Combo.Input:
    """How the scores of a node's POSE_KEYPOINT are given out; for `write_pose(clip, scores != GRADED)`."""
    return io.Combo.Input("scores", options=[BINARY, GRADED], default=BINARY, optional=True, advanced=True,
                          tooltip="How the scores of the output keypoints are written. "
                                  f"{BINARY}: a point is present (1) or missing (0). All node packs can read this, "
                                  "and Marionette's nodes still get the detector's scores. "
                                  f"{GRADED}: only the detector's scores, for nodes that weight points by them. "
                                  "ControlNet Aux treats every point with a score below 1 as missing.")


def floats_input(name: str, tooltip: str) -> io.MultiType.Input:
    """Numbers as text, or from a node, for `floats`."""
    text = io.String.Input(name, default="", optional=True, tooltip=f"{tooltip} Numbers with commas between, or connect FLOAT or FLOATS.")
    return io.MultiType.Input(text, [io.Float, FloatsSocket])


def floats(value: Any, name: str) -> tuple[float, ...]:
    """Numbers from text, a number, a tensor or lists of these, in order. Raises ValueError."""
    if isinstance(value, Tensor):
        value = value.tolist()
    if isinstance(value, str) and len(words := value.replace(",", " ").split()) != 1:
        value = words
    if isinstance(value, (list, tuple)):
        return tuple(x for part in value for x in floats(part, name))
    try:
        return (float(value),)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: expected numbers with commas between, or a list of numbers; got {str(value)[:40]!r}") from error


def keypoints_input(name: str, tooltip: str, optional: bool = False) -> io.MultiType.Input:
    """Keypoints of any origin, for `read_pose`."""
    return io.MultiType.Input(name, [PoseKeypointSocket, PoseDataSocket], optional=optional, tooltip=tooltip)


def expect(value: Any, kind: type[T], name: str, remedy: str) -> T:
    """The value, if it is what this pack's node puts on that socket. Another pack may use the same socket name."""
    if not isinstance(value, kind):
        raise ValueError(f"{name}: expected a {kind.__name__} from a Marionette node; got a {type(value).__name__}. {remedy}")
    return value


def check_size(width: int, height: int) -> None:
    for name, value in (("width", width), ("height", height)):
        if value < 64 or value % 8:
            raise ValueError(f"{name} must be a multiple of 8, at least 64; got {value}, the nearest is {max(64, round(value / 8) * 8)}")


def check_images(images: Any, name: str) -> Tensor:
    """`[F, H, W, 3]` in [0, 1]; raises ValueError for anything else."""
    if not isinstance(images, Tensor) or images.ndim != 4:
        raise ValueError(f"{name} must be an IMAGE batch [frames, height, width, 3]")
    if images.shape[0] == 0:
        raise ValueError(f"{name}: the batch contains no frames; connect at least one image")
    if images.shape[-1] != 3:
        known = {1: "one channel (a mask or greyscale image): convert it to RGB",
                 4: "an alpha channel: composite it over a background, or use the RGB output of Load Image"}
        raise ValueError(f"{name}: the image has {known.get(images.shape[-1], f'{images.shape[-1]} channels: convert it to RGB')}")
    # some frames at a time: the check takes as much again as what it looks at
    if not all(torch.isfinite(part).all() for part in images.split(8)):
        raise ValueError(f"{name}: the image contains NaN or infinite values; check the node that made it")
    return images
