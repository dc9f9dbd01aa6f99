"""Pose clips in JSON files: this pack's own, one for a clip; OpenPose's, one for a frame; and whatever else holds POSE_KEYPOINT."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .keypoints import NUM_POINTS, PoseClip, PoseError
from .openpose import FORMAT, read_pose, to_body_25, write_pose
from .parsing import Size, describe

VERSION = 1
SUFFIX = "_keypoints.json"  # of OpenPose's files
NUMBERED = re.compile(r"(.*?)(\d+)" + re.escape(SUFFIX))
MAX_BYTES = 256 << 20  # hours of one person; as Python objects some twenty times as much
DEPTH = 2  # how many folders down poses are looked for
DECIMALS = 3
LEAST_SCORE = 10.0 ** -DECIMALS  # a score below it would be rounded away, and the point with it


def list_poses(folder: Path, depth: int = DEPTH) -> list[str]:
    """Names of JSON files, and of folders that hold an OpenPose sequence, below a folder; in natural order, with `/`."""
    found: list[str] = []
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: natural(entry.name))
    except OSError:
        return found  # not there, or not to be read
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_file() and entry.name.lower().endswith(".json"):
            found.append(entry.name)
        elif depth and entry.is_dir():
            inside = list_poses(Path(entry.path), depth - 1)
            sequence = any(name.endswith(SUFFIX) and "/" not in name for name in inside)
            found += [entry.name] * sequence
            found += [f"{entry.name}/{name}" for name in inside if "/" in name or not name.endswith(SUFFIX)]
    return found


def natural(name: str) -> list[str | int]:
    """A sorting key by which 10 comes after 9."""
    return [int(part) if index % 2 else part.lower() for index, part in enumerate(re.split(r"(\d+)", name))]


def load_pose(path: Path, size: Size | None = None) -> tuple[PoseClip, float | None]:
    """A clip, and its frames per second where the file states them.

    path: a JSON file with anything that read_pose takes, or a folder with OpenPose's files of one sequence. size: width and height of the
    canvas, for files that state none. Raises PoseError, with the file's name.
    """
    if path.is_dir():
        files = sequence_files(path)
        if sum(file.stat().st_size for file in files) > MAX_BYTES:
            raise PoseError(f"{path.name}: its files are larger than {MAX_BYTES >> 20} MB together; split the sequence")
        frames = [load_json(file) for file in files]
        for file, frame in zip(files, frames, strict=True):
            if not isinstance(frame, dict):
                raise PoseError(f"{file.name} must be an OpenPose file of one frame; it contains {describe(frame)}")
        return read_pose(frames, path.name, size), None
    value = load_json(path)
    header = value if isinstance(value, dict) and value.get("format") == FORMAT else {}
    if header.get("version", VERSION) != VERSION:
        raise PoseError(f"{path.name} has version {header['version']!r} of {FORMAT}, this pack reads version {VERSION}: update the pack")
    fps = header.get("fps")
    if not isinstance(fps, (int, float)) or not 0 < fps < 1e6:
        fps = None
    return read_pose(value, path.name, size), fps


def load_json(path: Path) -> Any:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise PoseError(f"{path.name} is larger than {MAX_BYTES >> 20} MB; split the clip")
        return json.loads(path.read_bytes())
    except OSError as error:
        raise PoseError(f"{path.name} cannot be read ({error})") from error
    except (ValueError, RecursionError) as error:
        raise PoseError(f"{path.name} is not a JSON file, or it is damaged ({error})") from error


def sequence_files(folder: Path) -> list[Path]:
    """OpenPose's files of one sequence in their order. A number that is lacking is an error: OpenPose writes empty frames, too."""
    files = sorted((file for file in folder.iterdir() if file.name.endswith(SUFFIX)), key=lambda file: natural(file.name))
    if not files:
        raise PoseError(f"{folder.name} contains no file that ends in {SUFFIX}; choose a folder with OpenPose's files, or one JSON file")
    found = [match for match in map(NUMBERED.fullmatch, (file.name for file in files)) if match]
    prefixes = sorted({match[1] for match in found})
    if len(prefixes) > 1:
        raise PoseError(f"{folder.name} contains more than one sequence ({', '.join(prefixes[:3])}): put each into its own folder")
    numbers = np.array([int(match[2]) for match in found], dtype=object)
    steps = np.diff(numbers)
    if len(steps) and len(found) == len(files):
        step = min(steps)
        if not step:
            raise PoseError(f"{folder.name} contains a frame twice: {files[int(np.argmin(steps))].name}")
        gaps = [index for index, width in enumerate(steps) if width != step]
        if gaps:
            after = ", ".join(files[index].name for index in gaps[:3])
            raise PoseError(f"{folder.name}: frames are missing after {after}: restore the files, or number them without gaps")
    return files


def save_pose(clip: PoseClip, path: Path, fps: float | None = None) -> None:
    """One JSON file, a line for each frame: POSE_KEYPOINT frames without what was not seen, numbers with 3 decimals.

    fps: frames per second, if known. Written whole or not at all. Raises PoseError.
    """
    header = {"format": FORMAT, "version": VERSION, **({"fps": fps} if fps else {}), "canvas_width": clip.width,
              "canvas_height": clip.height}
    lines = (dump({"people": [compact(person) for person in frame["people"]]}) for frame in write_pose(clip, binary=False))
    with whole(path) as partial:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            file.write(dump(header)[:-1] + ',"frames":[\n' + ",\n".join(lines) + "\n]}\n")
            file.flush()
            os.fsync(file.fileno())


def save_openpose(clip: PoseClip, folder: Path, stem: str) -> None:
    """A new folder with OpenPose's files, `<stem>_000000000000_keypoints.json` and so on: BODY_25, and the canvas as a further key.

    Written whole or not at all. Raises PoseError.
    """
    with whole(folder) as partial:
        partial.mkdir()
        for index, frame in enumerate(write_pose(clip, binary=False)):
            people = [openpose_person(person) for person in frame["people"]]
            (partial / f"{stem}_{index:012d}{SUFFIX}").write_text(dump({"version": 1.3, **frame, "people": people}), encoding="utf-8")


def openpose_person(person: dict[str, list[float]]) -> dict[str, list[float] | list[int]]:
    points = np.zeros((NUM_POINTS, 3))
    points[:18] = np.reshape(person["pose_keypoints_2d"], (18, 3))
    points[18:24] = np.reshape(person.get("foot_keypoints_2d") or np.zeros(18), (6, 3))
    seen = compact({**person, "pose_keypoints_2d": to_body_25(points).ravel().tolist()})
    keys = ("pose_keypoints_2d", "face_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d")
    return {"person_id": [-1], **{key: seen.get(key, []) for key in keys}}


def compact(person: dict[str, list[float]]) -> dict[str, list[float]]:
    """Without the parts that were not seen, and rounded; a point that was seen keeps a score."""
    out = {}
    for key, values in person.items():
        if any(values[2::3]):
            part = [round(value, DECIMALS) + 0.0 for value in values]
            part[2::3] = [max(score, LEAST_SCORE) if score else 0.0 for score in values[2::3]]
            part[2::3] = [round(score, DECIMALS) for score in part[2::3]]
            out[key] = part
    return out


def dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """A name beside the target to write a file or folder under, which becomes the target's if all went well."""
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, target)
    except OSError as error:
        raise PoseError(f"{target} could not be written ({error}): check free disk space and the folder's permissions") from error
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)
