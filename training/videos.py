"""The trainer's own-clips dataset: videos, each with a pose video of skeleton drawings (docs/method.md J).

Three layouts are read:

- a folder with `NAME.mp4` and `NAME_pose.mp4` (or `NAME_kps.mp4`) beside it;
- a folder `FOLDER` with `NAME.mp4`, and `NAME.mp4` again in the folder `FOLDER_dwpose` next to it or in `FOLDER/pose`;
- a JSON list of `{"video_path": ..., "kps_path": ...}`. Relative paths are looked up from the list's folder, then from the working folder.

A video and its pose video may differ in ending and in size, not in the number of frames. A clip with several pose videos takes
the first in the order above, and among equals the one with its own ending. Frames are numbered in presentation order.
"""

from __future__ import annotations

import json
import logging
import math
import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, Literal

import av
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from animate_core.preprocess import clip_input, image_tensor

logger = logging.getLogger(__name__)

ENDINGS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".gif")
# Without it a text file named .mp4 may be taken for a playlist that opens other files.
_FORMATS = "mov,matroska,avi,gif"
# Here each packet is one shown frame. VP8 has hidden frames of their own, GIF nothing to seek to.
_FRAME_PER_PACKET = ("h264", "hevc", "vp9", "av1", "mpeg4")

Box = tuple[float, float, float, float]


class DataError(ValueError):
    """What is wrong with the clips, for the user: names the file, the fault and what would be right."""


@dataclass(frozen=True)
class Pair:
    """A video and its pose video, both of `frames` frames; `fps` is the video's average rate, 0 where it tells none."""

    video: Path
    pose: Path
    frames: int
    fps: float


@dataclass(frozen=True)
class _Timeline:
    """A stream's frames as its packets tell them: presentation time -> number, in order, and the numbers that decoding can start at."""

    numbers: dict[int, int]
    starts: list[int]


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """The open container and its main video stream; PyAV's errors become DataErrors."""
    try:
        with av.open(os.path.abspath(path), options={"format_whitelist": _FORMATS}, metadata_errors="replace") as container:
            stream = container.streams.best("video")
            if stream is None:
                raise DataError(f"{path} contains no video stream; use a video")
            stream.codec_context.thread_count = 1  # the loader's workers run side by side already
            yield container, stream
    except (av.FFmpegError, OSError) as error:
        raise DataError(f"{path} cannot be decoded as a video ({error.strerror}); use a complete file: {', '.join(ENDINGS)}") from error


def _timeline(container: Any, stream: Any) -> _Timeline | None:
    """Reads all packets, decodes none. None where packets do not tell the frames for certain: those must be counted by decoding."""
    codec = stream.codec.canonical_name
    if codec not in _FRAME_PER_PACKET or container.format.name == "avi":  # AVI knows no presentation times
        return None
    packets: dict[int, bool] = {}
    for packet in container.demux(stream):
        if packet.size == 0:  # the demuxer's last word, not a frame
            continue
        uncoded = codec == "mpeg4" and packet.size < 16  # perhaps a "not coded" frame, which is never shown
        if packet.pts is None or packet.pts in packets or packet.is_discard or uncoded:
            return None
        packets[packet.pts] = packet.is_keyframe
    numbers = {time: number for number, time in enumerate(sorted(packets))}
    starts = [number for time, number in numbers.items() if packets[time]]
    return _Timeline(numbers, starts) if starts and starts[0] == 0 else None


def _decoded(container: Any, stream: Any, timeline: _Timeline | None, wanted: list[int], seek: bool) -> Iterator[tuple[int, Any]]:
    """(number, frame) of the sorted `wanted`, as far as they turn up. With `seek`, each is decoded from its nearest key frame on."""
    runs: list[tuple[int | None, list[int]]] = [(None, wanted)]
    if timeline and seek:
        starts = timeline.starts
        runs = [(start, list(numbers)) for start, numbers in groupby(wanted, lambda number: starts[bisect_right(starts, number) - 1])]
    for start, numbers in runs:
        if timeline and start is not None:
            container.seek(list(timeline.numbers)[start], stream=stream)
        missing = set(numbers)
        for count, frame in enumerate(container.decode(stream)):
            number = timeline.numbers.get(frame.pts, -1) if timeline else count
            if number in missing and not frame.is_corrupt:
                missing.remove(number)
                yield number, frame
            if not missing or (start is not None and number > numbers[-1]):
                break


def _pictures(path: Path, wanted: Iterable[int]) -> Iterator[tuple[int, Image.Image]]:
    """(number, RGB picture) of each wanted frame, once, in no particular order and one at a time; upright, as a player shows it."""
    missing = set(wanted)
    with _opened(path) as (container, stream):
        timeline = _timeline(container, stream)
    # A seek may land past its goal, or on a key frame that is none. Then decoding from the first frame on still is right.
    for seek in (True, False) if timeline else (False,):
        try:
            with _opened(path) as (container, stream):
                for number, frame in _decoded(container, stream, timeline, sorted(missing), seek):
                    missing.remove(number)
                    yield number, frame.to_image().rotate(frame.rotation, expand=True)
        except DataError:
            if not seek:
                raise
        if not missing:
            return
        logger.debug("%s: frames %s did not turn up%s", path, sorted(missing), " after seeking" if seek else "")
    raise DataError(f"{path}: frame {min(missing)} is missing or damaged; use a video that decodes from the first frame to the last")


def read_frames(path: Path, indices: Sequence[int]) -> list[Image.Image]:
    """The frames of these numbers (presentation order, from 0), as RGB pictures, in the order asked for. DataError if one is not there."""
    found = dict(_pictures(path, indices))
    return [found[index] for index in indices]


def _element_size(head: bytes) -> int:
    """Bytes of the top-level part of an MP4, Matroska or AVI file that begins with these 16 bytes; 0 where that is not told."""
    if head.startswith(b"RIFF"):
        size = int.from_bytes(head[4:8], "little")
        return 8 + size + size % 2
    if head.startswith((b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67")):  # EBML header, Matroska segment
        width = 9 - head[4].bit_length()
        unknown = (1 << 7 * width) - 1
        size = int.from_bytes(head[4:4 + width], "big") & unknown
        return 0 if size == unknown else 4 + width + size
    boxes = (b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"mfra", b"sidx", b"free", b"skip", b"wide", b"uuid")
    size = int.from_bytes(head[8:16] if head.startswith(b"\0\0\0\1") else head[:4], "big")
    return size if head[4:8] in boxes and size >= 8 else 0


def _gif_is_whole(file: BinaryIO) -> bool:
    """Whether a GIF's blocks lead to its end mark."""
    heads = {b"G": 12, b",": 9, b"!": 1}  # the file's head, a picture, an extension
    while (kind := file.read(1)) in heads:
        head = file.read(heads[kind]).ljust(12, b"\0")
        flags = {b"G": head[9], b",": head[8], b"!": 0}[kind]
        table = 3 << (flags & 7) + 1 if flags & 128 else 0
        file.seek(table + (kind == b","), os.SEEK_CUR)
        while kind != b"G" and (length := file.read(1)) not in (b"", b"\0"):
            file.seek(length[0], os.SEEK_CUR)
    return kind == b";"


def _is_whole(path: Path) -> bool:
    """False where a file ends before its own structure does. FFmpeg plays what is there of such a file, often without a word."""
    with path.open("rb") as file:
        if file.peek(4).startswith(b"GIF8"):
            return _gif_is_whole(file)
        position, total = 0, path.stat().st_size
        while position < total:
            file.seek(position)
            size = _element_size(file.read(16).ljust(16, b"\0"))
            position += size or total  # what does not tell its size, as a live recording, is taken for whole
        return position == total or not size


def _inspect(path: Path) -> tuple[int, float]:
    """(number of frames, frames a second); DataError for a file that is missing, cut short or not decodable."""
    if not path.is_file():
        raise DataError(f"{path} does not exist or is not a file; set the path of a video")
    if not _is_whole(path):
        raise DataError(f"{path} is truncated: the end is missing; copy or encode it again")
    with _opened(path) as (container, stream):
        timeline = _timeline(container, stream)
        fps = float(stream.average_rate or 0)
    if timeline:
        count = len(timeline.numbers)
        read_frames(path, (0, count - 1))
    else:
        with _opened(path) as (container, stream):
            count = sum(1 for _ in container.decode(stream))
    return count, fps


def _check(video: Path, pose: Path, min_frames: int) -> Pair | list[str]:
    """The pair if it can be trained on, else what is wrong with it."""
    facts, problems = [], []
    for path in (video, pose):
        try:
            facts.append(_inspect(path))
        except (DataError, OSError) as error:
            problems.append(str(error))
    if not problems:
        (frames, fps), (drawings, _) = facts
        if frames == drawings >= min_frames:
            return Pair(video, pose, frames, fps)
        if frames != drawings:
            problems.append(f"{video} has {frames} frames, but its pose video {pose} has {drawings}; each frame needs one drawing")
        else:
            problems.append(f"{video} has {frames} frame{'s' * (frames != 1)}; at least {min_frames} are needed")
    return problems


def _by_stem(folder: Path) -> dict[str, list[Path]]:
    """The videos right in a folder (none if there is no such folder), by name without ending; hidden files are not looked at."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix.lower() in ENDINGS and not path.name.startswith("."):
            found.setdefault(path.stem, []).append(path)
    return found


def _from_folder(folder: Path) -> tuple[list[tuple[Path, Path]], list[str]]:
    """(video, pose video) by the names in a folder, and what is wrong with the rest."""
    own, twin, inner = (_by_stem(place) for place in (folder, folder.with_name(f"{folder.name}_dwpose"), folder / "pose"))
    candidates, problems = [], []
    for stem, videos in own.items():
        base = stem.removesuffix("_pose").removesuffix("_kps")
        if base != stem and base in own:
            continue
        for video in videos:
            places = (own.get(f"{stem}_pose"), own.get(f"{stem}_kps"), twin.get(stem), inner.get(stem))
            poses = next((found for found in places if found), None)
            if poses:
                candidates.append((video, min(poses, key=lambda path: path.suffix.lower() != video.suffix.lower())))
            elif base != stem:
                problems.append(f"{video} is named like a pose video, but there is no video {base}{video.suffix} beside it")
            else:
                problems.append(f"{video} has no pose video; name it {stem}_pose{video.suffix} or {stem}_kps{video.suffix} beside it, "
                                f"or put it into {folder.name}_dwpose next to the folder or into {folder.name}/pose as {video.name}")
    if not own:
        raise DataError(f"{folder} contains no videos ({', '.join(ENDINGS)}); set their folder (subfolders are not searched)")
    return candidates, problems


def _from_list(source: Path) -> tuple[list[tuple[Path, Path]], list[str]]:
    """(video, pose video) of a JSON list, and what is wrong with its other entries."""
    right = 'it must be a list of {"video_path": "...", "kps_path": "..."}'
    try:
        entries = json.loads(source.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{source} is not readable JSON ({error}); {right}") from error
    if not isinstance(entries, list) or not entries:
        raise DataError(f"{source} contains {'an empty list' if entries == [] else f'a JSON {type(entries).__name__}'}; {right}")
    candidates, problems = [], []
    for number, entry in enumerate(entries, start=1):
        names = [entry.get(key) for key in ("video_path", "kps_path")] if isinstance(entry, dict) else []
        places = [(source.parent / name, Path.cwd() / name) for name in names if isinstance(name, str) and name]
        if len(places) == 2:
            video, pose = (there if there.is_file() and not here.is_file() else here for here, there in places)
            candidates.append((video, pose))
        else:
            problems.append(f"{source}, entry {number} needs a video_path and a kps_path; {right}")
    return candidates, problems


def find_pairs(source: Path, unreadable: Literal["refuse", "skip"] = "refuse", min_frames: int = 2) -> list[Pair]:
    """All clips of a folder or JSON list, checked: decodable, whole, of `min_frames` or more, with as many pose drawings as frames.

    refuse: one DataError tells all problems (the first ten in words). skip: logs them as warnings and leaves those clips out.
    DataError in both cases if nothing is left. Of most formats only the packets and both ends are read, the others are decoded in full;
    damage in the middle of a file thus shows only when its frames are read.
    """
    source = Path(os.path.abspath(source))
    if source.is_dir():
        candidates, problems = _from_folder(source)
    elif source.is_file() and source.suffix.lower() == ".json":
        candidates, problems = _from_list(source)
    else:
        fault = "is neither a folder nor a .json list" if source.exists() else "does not exist"
        raise DataError(f"{source} {fault}; set a folder of videos with their pose videos, or a .json list of them")
    pairs = []
    for video, pose in candidates:
        checked = _check(video, pose, min_frames)
        if isinstance(checked, Pair):
            pairs.append(checked)
        else:
            problems += checked
    if problems and (unreadable == "refuse" or not pairs):
        heading = f"{source}: {len(problems)} problem{'s' * (len(problems) != 1)} with the clips{', and nothing left' * (not pairs)}"
        more = [f"... and {len(problems) - 10} more"] * (len(problems) > 10)
        raise DataError("\n- ".join([heading, *problems[:10], *more]))
    for problem in problems:
        logger.warning("Clip left out: %s", problem)
    logger.info("%s: %d clips, %d frames", source, len(pairs), sum(pair.frames for pair in pairs))
    return pairs


def _random_box(rng: np.random.Generator, scale: tuple[float, float], ratio: tuple[float, float]) -> Box:
    """A box (left, top, right, bottom) in fractions of a picture: of random area and ratio, or all of it if ten draws do not fit."""
    width = height = 1.0
    for _ in range(10):
        area, squeeze = rng.uniform(*scale), math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        if max(area * squeeze, area / squeeze) <= 1:
            width, height = math.sqrt(area * squeeze), math.sqrt(area / squeeze)
            break
    left, top = (1 - width) * rng.uniform(), (1 - height) * rng.uniform()
    return left, top, left + width, top + height


def _within_cover(box: Box, picture: tuple[int, int], target: tuple[int, int]) -> Box:
    """`box`, meant in fractions of the picture's centred cut of the target's aspect ratio, in fractions of the whole picture."""
    wide, high = picture[0] * target[1], picture[1] * target[0]
    cover = min(1.0, high / wide), min(1.0, wide / high)
    left, top, right, bottom = (min(max(0.5 + (edge - 0.5) * cover[i % 2], 0.0), 1.0) for i, edge in enumerate(box))
    return left, top, right, bottom


class VideoClips(Dataset[dict[str, Tensor]]):
    """Training samples, one per video and epoch.

    `frames` F = 1 is stage 1: any frame as target, and as reference one at least `reference_margin` frames away, or the farthest there is
    (a video of two margins has one for each target). F > 1 is stage 2: F frames spread over (F - 1) * stride + 1 successive ones, fewer in
    a shorter video (frames then repeat), and any frame of the video as reference.

    The crop is torchvision's RandomResizedCrop within the centred cut of the target's aspect ratio; `crop_ratio` is relative to that
    ratio and `crop_scale` to that cut's area. Scale (1, 1) leaves just the centred cut. One box, in fractions of the picture, serves
    target, pose and reference. A sample is a function of (seed, epoch, index) and of nothing else, in whatever worker it is made.
    """

    def __init__(self, pairs: Sequence[Pair], *, width: int, height: int, frames: int, stride: int, clip_size: int = 224,
                 reference_margin: int = 30, crop_scale: tuple[float, float] = (0.9, 1.0),
                 crop_ratio: tuple[float, float] = (0.9, 1.0), seed: int = 0) -> None:
        if min(len(pairs), width, height, frames, stride, clip_size) < 1 or min(reference_margin, seed) < 0:
            raise ValueError("pairs, width, height, frames, stride and clip_size must be 1 or more, reference_margin and seed 0 or more")
        if not 0 < crop_scale[0] <= crop_scale[1] <= 1 or not 0 < crop_ratio[0] <= crop_ratio[1]:
            raise ValueError(f"crop_scale must be increasing within (0, 1] and crop_ratio above 0; got {crop_scale} and {crop_ratio}")
        self.pairs, self.frames, self.stride, self.seed = list(pairs), frames, stride, seed
        self.size, self.clip_size, self.reference_margin = (width, height), clip_size, reference_margin
        self.crop_scale, self.crop_ratio = crop_scale, crop_ratio
        # In shared memory, since persistent workers keep the copy of the dataset that they were started with.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch (0 or more). Call it between two passes over a loader, never within one: workers read ahead."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """target [F, 3, H, W] and reference [3, H, W] in [-1, 1], pose [F, 3, H, W] in [0, 1], clip [3, S, S] normalised for CLIP.

        CLIP sees the cropped reference. DataError for a file that no longer decodes.
        """
        pair = self.pairs[index]
        rng = np.random.default_rng((self.seed, int(self._epoch), index))
        targets, reference = self._choose(rng, pair.frames)
        inner = _random_box(rng, self.crop_scale, self.crop_ratio)
        shown: dict[int, Image.Image] = {}
        for number, picture in _pictures(pair.video, {*targets, reference}):
            box = _within_cover(inner, picture.size, self.size)
            shown[number] = self._cropped(picture, box)
        drawn = {number: image_tensor(self._cropped(picture, box)) for number, picture in _pictures(pair.pose, targets)}
        return {
            "target": torch.cat([image_tensor(shown[number]) for number in targets]) * 2 - 1,
            "pose": torch.cat([drawn[number] for number in targets]),
            "reference": image_tensor(shown[reference])[0] * 2 - 1,
            "clip": clip_input(shown[reference], self.clip_size, squash=False)[0],
        }

    def _choose(self, rng: np.random.Generator, count: int) -> tuple[list[int], int]:
        """(target frames, reference frame) of a video of `count` frames."""
        if self.frames == 1:
            target = int(rng.integers(count))
            margin = min(self.reference_margin, max(target, count - 1 - target))
            far = [number for number in range(count) if abs(number - target) >= margin]
            return [target], far[int(rng.integers(len(far)))]
        length = min(count, (self.frames - 1) * self.stride + 1)
        start = int(rng.integers(count - length + 1))
        return np.linspace(start, start + length - 1, self.frames, dtype=int).tolist(), int(rng.integers(count))

    def _cropped(self, picture: Image.Image, box: Box) -> Image.Image:
        width, height = picture.size
        region = box[0] * width, box[1] * height, box[2] * width, box[3] * height
        return picture.resize(self.size, Image.Resampling.BILINEAR, box=region)
