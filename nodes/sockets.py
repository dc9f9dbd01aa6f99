"""Our socket types, each with the object that travels over it, and the checks that a consumer makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from comfy_api.latest import io
from torch import Tensor

from ..animate_core.memory import pictures_step_bytes
from ..animate_core.pose.style import Look
from ..animate_core.pose_guider import PoseFrames, guider_on
from ..animate_core.unet import UNetConfig

ReferenceNetSocket = io.Custom("REFERENCE_NET")
PoseGuiderSocket = io.Custom("POSE_GUIDER")
ReferenceSocket = io.Custom("REFERENCE")
PoseSocket = io.Custom("POSE")
PoseKeypointSocket = io.Custom("POSE_KEYPOINT")  # the host's own
PoseDataSocket = io.Custom("POSEDATA")  # the WanAnimate preprocessors'
PoseDetectorSocket = io.Custom("POSE_DETECTOR")  # an open DWPose
WindowsSocket = io.Custom("WINDOWS")

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
    config: UNetConfig


@dataclass(frozen=True)
class PoseGuider(Network):
    """family: whose skeletons it was trained on, empty where its file alone was loaded."""

    out_channels: int
    family: str = ""


@dataclass(frozen=True)
class Reference:
    """features: block path -> `[1, N, C]`; token `[1, 1, D]`; size of the picture in pixels. Tensors off the GPU."""

    features: dict[str, Tensor]
    token: Tensor
    width: int
    height: int
    source: str


@dataclass(frozen=True)
class Pose:
    """kept: features `[F, C, height / 8, width / 8]`; or pictures `[F, height, width, 3]` uint8, of which the guider makes features while
    sampling. Off the GPU. look: what the skeletons look to be, None where they suit their family."""

    kept: Tensor
    guider: PoseGuider | None
    channels: int
    width: int
    height: int
    source: str
    look: Look | None = None

    @property
    def frames(self) -> int:
        return len(self.kept)

    def ready(self, device: torch.device) -> PoseFrames:
        """For sampling on a device. A guider's weights, a few MB, go there with the rest of the conditioning, for each card its own."""
        guider = None if self.guider is None else guider_on(self.guider.patcher.model, device, self.guider.dtype)
        return PoseFrames(self.kept, guider)

    def window_bytes(self, frames: int, channels: int) -> int:
        """What making a window's features takes on the GPU, beside the clip's conditioning; 0 where they are ready."""
        if self.guider is None:
            return 0
        return pictures_step_bytes(self.width // 8, self.height // 8, frames, self.guider.dtype.itemsize,
                                   self.guider.patcher.model.conv_in.out_channels, channels)


def scores_input() -> io.Combo.Input:
    """How the scores of a node's POSE_KEYPOINT are given out; for `write_pose(clip, scores != GRADED)`."""
    return io.Combo.Input("scores", options=[BINARY, GRADED], default=BINARY, optional=True, advanced=True,
                          tooltip=f"{BINARY}: a point is there (1) or not (0), which every pack's nodes read; Marionette's own get the "
                                  f"graded scores beside them. {GRADED}: graded scores alone, for nodes that weigh points by them; "
                                  "ControlNet Aux takes all points below 1 for missing.")


def keypoints_input(name: str, tooltip: str, optional: bool = False) -> io.MultiType.Input:
    """Keypoints of any origin, for `read_pose`."""
    return io.MultiType.Input(name, [PoseKeypointSocket, PoseDataSocket], optional=optional, tooltip=tooltip)


def expect(value: Any, kind: type[T], name: str, remedy: str) -> T:
    """The value, if it is what this pack's node puts on that socket. Another pack may use the same socket name."""
    if not isinstance(value, kind):
        raise ValueError(f"{name}: this is no {kind.__name__} of Marionette but a {type(value).__name__}. {remedy}")
    return value


def check_size(width: int, height: int) -> None:
    for name, value in (("width", width), ("height", height)):
        if value < 64 or value % 8:
            raise ValueError(f"{name}: {value} is no multiple of 8 from 64 up; the nearest is {max(64, round(value / 8) * 8)}")


def check_images(images: Any, name: str) -> Tensor:
    """`[F, H, W, 3]` in [0, 1]; raises ValueError for anything else."""
    if not isinstance(images, Tensor) or images.ndim != 4:
        raise ValueError(f"{name}: an IMAGE batch [frames, height, width, 3] is wanted")
    if images.shape[0] == 0:
        raise ValueError(f"{name}: the batch holds no frames; connect at least one image")
    if images.shape[-1] != 3:
        channels = {1: "one channel (a mask or greyscale): convert it to RGB", 4: "an alpha channel: composite it over a background, "
                    "or take the RGB output of Load Image"}.get(images.shape[-1], f"{images.shape[-1]} channels: convert it to RGB")
        raise ValueError(f"{name}: the image has {channels}")
    # some frames at a time: the check takes as much again as what it looks at
    if not all(torch.isfinite(part).all() for part in images.split(8)):
        raise ValueError(f"{name}: the image has values that are not finite (NaN or infinity); repair the node that made it")
    return images
