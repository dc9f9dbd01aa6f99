"""What a pass takes beside its weights, for a host that must make room before it: bytes of activations on a GPU.

The factors are fitted to counts of live tensors (`python -m benchmarks memory`); a test holds the claims between 1.0 and 1.3 of them.
"""

from __future__ import annotations

from .blocks import PART_BYTES
from .pose_guider import POSES_AT_ONCE

# for rounding and fragments of the allocator
ROOM = 1.12
# numbers of a clip's reference, keys and values of all blocks, by position of the latent and channel of the first level, and of each
# further picture
REFERENCE_NUMBERS, PICTURE_NUMBERS = 42, 18
# the same for the features themselves and a single picture's activations in the ReferenceNet
REFERENCE_PASS_NUMBERS = 24
# channels in and out of the guider's widest layer, its copy for the kernel included
POSE_NUMBERS = 38
# of the other guiders: numbers by position of the picture in the convolutions; in a transformer, and the most that its parts take at once
GUIDER_NUMBERS = {"guidance": (POSE_NUMBERS, 70, 33 * PART_BYTES // 10), "multi-scale": (33, 96, 49 * PART_BYTES // 20)}


def step_bytes(width: int, height: int, frames: int, clips: int, itemsize: int, channels: int = 320, pictures: int = 1) -> int:
    """Bytes of activations of one denoising step of one window, the conditioning on the GPU included.

    width, height: of the latent. frames: of the window. clips: halves of the guidance in one batch. channels: of the first level.
    pictures: of the clips' references.
    """
    level = width * height * channels * itemsize
    rows = clips * frames * level
    # skip connections, twice the channels before the last level, and its output; or fewer of them beside the parts of a layer
    return int(ROOM * max(7.9 * rows, 6.2 * rows + 2 * PART_BYTES)) + (REFERENCE_NUMBERS + (pictures - 1) * PICTURE_NUMBERS) * level


def reference_bytes(width: int, height: int, itemsize: int, channels: int = 320) -> int:
    """Bytes of activations of the ReferenceNet's pass over one picture, its features included; sizes of the latent."""
    return int(ROOM * REFERENCE_PASS_NUMBERS * width * height * channels * itemsize)


def pictures_step_bytes(width: int, height: int, frames: int, itemsize: int, guider_channels: int, channels: int = 320) -> int:
    """The same before the step itself, where poses are kept as pictures: the guider's work on a window's, beside its features.

    width, height: of the latent. guider_channels: of the guider's first layer.
    """
    level = width * height * channels * itemsize
    at_once = pose_bytes(8 * width, 8 * height, min(frames, POSES_AT_ONCE), itemsize, guider_channels)
    return at_once + 3 * 64 * width * height * frames + (frames + REFERENCE_NUMBERS) * level


def pose_bytes(width: int, height: int, frames: int, itemsize: int, channels: int = 16) -> int:
    """Bytes of activations of the pose guider for some frames at once; sizes of the picture, channels of the guider's first layer."""
    return int(ROOM * frames * POSE_NUMBERS * channels * width * height * itemsize / 16)


def guider_bytes(guider_class: str, width: int, height: int, frames: int, itemsize: int, channels: int = 16) -> int:
    """The same for a guider of any class (as in `FamilyPreset`); channels of the first layer are told by Moore's and Champ's."""
    if guider_class not in GUIDER_NUMBERS:
        return pose_bytes(width, height, frames, itemsize, channels)
    convolutions, transformer, most = GUIDER_NUMBERS[guider_class]
    pictures = frames * width * height * itemsize
    return int(ROOM * max(convolutions * pictures, min(transformer * pictures, most)))
