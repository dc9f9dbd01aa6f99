"""Reading and finding clips: real small videos of every layout and format, each frame showing its number, and what users get wrong."""

from __future__ import annotations

import json
import logging
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from training import videos
from training.videos import DataError, find_pairs, read_frames

Draw = Callable[[int, int, int], np.ndarray]
H264 = {"g": "12", "bf": "3", "crf": "8"}
VPX = {"g": "12", "auto-alt-ref": "1", "lag-in-frames": "16", "b": "2M"}

# name -> codec, codec options, container options, pixel format
FORMATS: dict[str, tuple[str, dict[str, str], dict[str, str], str]] = {
    "a.mp4": ("libx264", H264, {}, "yuv420p"),
    "faststart.mp4": ("libx264", H264, {"movflags": "+faststart"}, "yuv420p"),
    "fragments.mp4": ("libx264", H264, {"movflags": "frag_keyframe+empty_moov"}, "yuv420p"),
    "open_gop.mp4": ("libx264", H264 | {"x264-params": "open-gop=1"}, {}, "yuv420p"),
    "refresh.mp4": ("libx264", H264 | {"g": "20", "intra-refresh": "1"}, {}, "yuv420p"),
    "tiny_gop.mp4": ("libx264", H264 | {"g": "2"}, {}, "yuv420p"),
    "h265.mp4": ("libx265", {"x265-params": "keyint=12:bframes=3:log-level=none", "crf": "8"}, {}, "yuv420p"),
    "a.mov": ("mpeg4", {"g": "12", "bf": "2", "b": "4M"}, {}, "yuv420p"),
    "simple.mov": ("mpeg4", {"g": "12", "b": "4M"}, {}, "yuv420p"),
    "a.mkv": ("libx264", H264, {}, "yuv420p"),
    "vp8.webm": ("libvpx", VPX, {}, "yuv420p"),
    "vp9.webm": ("libvpx-vp9", VPX, {}, "yuv420p"),
    "a.avi": ("mpeg4", {"g": "12", "bf": "2", "b": "4M"}, {}, "yuv420p"),
    "h264.avi": ("libx264", H264, {}, "yuv420p"),
    "a.gif": ("gif", {}, {}, "rgb8"),
}


def numbered(number: int, width: int, height: int) -> np.ndarray:
    """A picture that shows its number: the left half's grey is the low four bits, the right half's the high ones."""
    picture = np.full((height, width, 3), number % 16 * 16 + 8, dtype=np.uint8)
    picture[:, width // 2:] = number // 16 * 16 + 8
    return picture


def number_in(picture: np.ndarray) -> int:
    """Reads what `numbered` drew, from `[H, W, 3]` in 0..255, cropped by less than a quarter."""
    height, width, _ = picture.shape
    low, high = (int(picture[height // 2 - 2:height // 2 + 2, at - 2:at + 2].mean()) // 16 for at in (width // 4, width * 3 // 4))
    return high * 16 + low


def ramps(number: int, width: int, height: int) -> np.ndarray:
    """Red rises from left to right and green from top to bottom, so that a crop can be told from its colours."""
    x, y = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    return np.stack([x * 255, y * 255, np.full_like(x, number)], axis=-1).round().astype(np.uint8)


def write(path: Path, count: int = 60, size: tuple[int, int] = (64, 48), draw: Draw = numbered,
          times: Iterable[int] | None = None, lossless: bool = False) -> Path:
    """A video of `count` frames, encoded as FORMATS tells for such a name, or without loss; `times` are in 1/1000 s."""
    usual = {".webm": "vp9.webm"}.get(path.suffix, f"a{path.suffix.lower()}")
    codec, options, container_options, pixels = FORMATS.get(path.name, FORMATS[usual])
    if lossless:
        codec, options, pixels = "libx264rgb", {"qp": "0"}, "rgb24"
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=container_options) as container:
        stream: Any = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        if times is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for number, time in zip(range(count), times or range(count), strict=False):
            frame = av.VideoFrame.from_ndarray(draw(number, *size), format="rgb24")
            frame.pts = time
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def clip(folder: Path, name: str = "a", count: int = 5, pose: str = "{}_pose.mp4") -> tuple[Path, Path]:
    """A video with its pose video, which lies at `pose` as seen from the folder."""
    return write(folder / f"{name}.mp4", count), write(folder / pose.format(name), count)


def numbers_of(pictures: Iterable[Image.Image]) -> list[int]:
    return [number_in(np.asarray(picture)) for picture in pictures]


def refused(source: Path, **options: Any) -> str:
    with pytest.raises(DataError) as error:
        find_pairs(source, **options)
    return str(error.value)


def remux(source: Path, path: Path, change: Callable[[int, Any], Any], **options: str) -> Path:
    """Copies a video without encoding; `change` gets each packet's number and the packet, and gives the packet to write, if any."""
    with av.open(str(source)) as old, av.open(str(path), "w", options=options) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(packet for packet in old.demux(video=0) if packet.size):
            changed = change(number, packet)
            if changed is not None:
                changed.stream = stream
                new.mux(changed)
    source.unlink()
    return path


def replaced(packet: Any, data: bytes) -> Any:
    """The packet with other content."""
    copy = av.Packet(data)
    copy.pts, copy.dts, copy.time_base, copy.is_keyframe = packet.pts, packet.dts, packet.time_base, packet.is_keyframe
    return copy


def spied(monkeypatch: pytest.MonkeyPatch, astray: float = 0) -> Counter[str]:
    """Counts "seeks" and decoded "frames" from here on; every seek ends `astray` seconds late, then at whatever frame is there."""
    counts: Counter[str] = Counter()
    opened = videos._opened

    class Spy:
        def __init__(self, container: Any) -> None:
            self.container = container

        def __getattr__(self, name: str) -> Any:
            return getattr(self.container, name)

        def seek(self, time: int, stream: Any) -> None:
            counts["seeks"] += 1
            self.container.seek(time + round(astray / stream.time_base), stream=stream, any_frame=astray > 0)

        def decode(self, stream: Any) -> Iterator[Any]:
            for frame in self.container.decode(stream):
                counts["frames"] += 1
                yield frame

    @contextmanager
    def spied_on(path: Path) -> Iterator[tuple[Any, Any]]:
        with opened(path) as (container, stream):
            yield Spy(container), stream

    monkeypatch.setattr(videos, "_opened", spied_on)
    return counts


@pytest.mark.parametrize("name", FORMATS)
def test_frames_are_exact_in_every_format(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    assert numbers_of(read_frames(path, range(60))) == list(range(60))
    scattered = [59, 0, 31, 30, 12, 11, 30, 47, 1]
    pictures = read_frames(path, scattered)
    assert numbers_of(pictures) == scattered
    assert {(picture.mode, picture.size) for picture in pictures} == {("RGB", (64, 48))}
    for number in range(60):
        assert numbers_of(read_frames(path, [number])) == [number]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_frames_are_exact_at_a_variable_rate(tmp_path: Path, name: str) -> None:
    times = np.cumsum(np.random.default_rng(0).integers(3, 400, 60)).tolist()
    path = write(tmp_path / name, times=times)
    assert numbers_of(read_frames(path, range(60))) == list(range(60))
    assert numbers_of(read_frames(path, [41, 13])) == [41, 13]


def test_a_late_frame_is_sought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.mp4")
    counts = spied(monkeypatch)
    assert numbers_of(read_frames(path, [58, 1])) == [58, 1]
    assert counts["seeks"] == 2
    assert counts["frames"] <= 2 + 12, "more than the frames from the nearest key frames on were decoded"


@pytest.mark.parametrize("name", ["a.mp4", "vp9.webm"])
@pytest.mark.parametrize("seconds", [0.2, 0.6])
def test_a_seek_that_goes_astray_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, seconds: float) -> None:
    """Past the frame, and where no decoding can start: H.264 then keeps silent and VP9 fails."""
    path = write(tmp_path / name)
    counts = spied(monkeypatch, seconds)
    assert numbers_of(read_frames(path, [20, 3])) == [20, 3]
    assert counts["seeks"] and counts["frames"] > 20


def test_a_trimmed_video_begins_where_players_begin(tmp_path: Path) -> None:
    """Cutting without encoding leaves frames before the start in the file, and an edit list that hides them."""
    def earlier(number: int, packet: Any) -> Any:
        packet.pts, packet.dts = packet.pts - 5 * 512, packet.dts - 5 * 512
        return packet

    path = remux(write(tmp_path / "a.mp4"), tmp_path / "trimmed.mp4", earlier, avoid_negative_ts="disabled")
    with av.open(str(path)) as container:
        assert any(packet.is_discard for packet in container.demux(video=0)), "the test's video is not what it should be"
    assert numbers_of(read_frames(path, [0, 1, 40, 54])) == [5, 6, 45, 59]
    write(tmp_path / "trimmed_pose.mp4", 55)
    assert [pair.frames for pair in find_pairs(tmp_path)] == [55]


def test_a_phone_video_is_turned_upright(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", 3, draw=ramps)
    data = bytearray(path.read_bytes())
    plain = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    at = data.index(plain, data.index(b"tkhd"))
    data[at:at + len(plain)] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 48 << 16, 0, 1 << 30)  # a quarter to the right
    path.write_bytes(data)
    picture = np.asarray(read_frames(path, [1])[0])
    assert picture.shape == (64, 48, 3)
    assert picture[:8, :, 0].mean() < 30 and picture[-8:, :, 0].mean() > 220, "what was left is not at the top"
    assert picture[:, :8, 1].mean() > 200 and picture[:, -8:, 1].mean() < 40, "what was at the top is not on the right"


@pytest.mark.parametrize("name", ["a.mp4", "a.avi"])
@pytest.mark.parametrize("number", [5, -1])
def test_a_frame_that_is_not_there(tmp_path: Path, name: str, number: int) -> None:
    path = write(tmp_path / name, 5)
    with pytest.raises(DataError, match=rf"{name}: frame {number} is missing"):
        read_frames(path, [0, number])


def test_a_damaged_frame_is_not_returned(tmp_path: Path) -> None:
    path = write(tmp_path / "a.avi")
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])
    with av.open(str(path)) as container:
        damaged = [number for number, frame in enumerate(container.decode(video=0)) if frame.is_corrupt]
    assert len(damaged) == 1, "the test's video is not what it should be"
    assert numbers_of(read_frames(path, [damaged[0] - 1])) == [damaged[0] - 1]
    with pytest.raises(DataError, match=f"frame {damaged[0]} is missing or damaged"):
        read_frames(path, damaged)


def hidden(number: int, packet: Any) -> Any:
    """VP8 may store frames that others refer to and that are never shown: here the eighth."""
    data = bytearray(bytes(packet))
    data[0] &= ~16 if number == 7 else 255
    return replaced(packet, bytes(data))


def not_coded(number: int, packet: Any) -> Any:
    """MPEG-4 may say that there is no frame at a time: here at the eighth."""
    return replaced(packet, b"\0\0\1\xb6\x53\xcf") if number == 7 else packet


def at_one_time(number: int, packet: Any) -> Any:
    packet.pts = 240 if number in (6, 7) else packet.pts
    return packet


def begun_amid(number: int, packet: Any) -> Any:
    return packet if number else None


@pytest.mark.parametrize(("name", "change", "absent"), [
    ("vp8.webm", hidden, {7}), ("simple.mov", not_coded, {7}), ("a.mkv", at_one_time, set()), ("a.mkv", begun_amid, {0, 1, 2, 3})])
def test_frames_are_those_that_are_shown(tmp_path: Path, name: str, change: Callable[[int, Any], Any], absent: set[int]) -> None:
    path = remux(write(tmp_path / name, 20), tmp_path / f"changed{Path(name).suffix}", change)
    with av.open(str(path)) as container:
        shown = numbers_of(frame.to_image() for frame in container.decode(video=0))
    assert absent.isdisjoint(shown) and shown[-1] == 19, "the test's video is not what it should be"
    write(tmp_path / "changed_pose.mp4", len(shown))
    assert [pair.frames for pair in find_pairs(tmp_path)] == [len(shown)]
    assert numbers_of(read_frames(path, range(len(shown)))) == shown
    assert [numbers_of(read_frames(path, [at])) for at in range(len(shown))] == [[number] for number in shown]


def test_a_text_of_another_alphabet_does_not_matter(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", 5)
    path.write_bytes(path.read_bytes().replace(b"Lavf", b"\xff\xfe\xe9\xe8"))
    assert b"\xff\xfe\xe9\xe8" in path.read_bytes()
    assert numbers_of(read_frames(path, [3])) == [3]


@pytest.mark.parametrize("pose", ["{}_pose.mp4", "{}_kps.mp4", "../clips_dwpose/{}.mp4", "pose/{}.mp4", "{}_pose.mkv", "pose/{}.webm"])
def test_layouts_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pose: str) -> None:
    folder = tmp_path / "clips"
    expected = [clip(folder, name, 5 + at, pose) for at, name in enumerate("ab")]
    pairs = find_pairs(folder)
    assert [(pair.video, pair.pose.resolve(), pair.frames, pair.fps) for pair in pairs] == [
        (video, drawn.resolve(), 5 + at, 25.0) for at, (video, drawn) in enumerate(expected)]
    monkeypatch.chdir(folder)
    assert find_pairs(Path(".")) == pairs


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "vp9.webm", "vp8.webm", "a.avi", "a.gif"])
def test_every_format_is_found_and_counted(tmp_path: Path, name: str) -> None:
    video = write(tmp_path / name, 17)
    write(tmp_path / f"{video.stem}_pose.mp4", 17)
    video = video.rename(video.with_suffix(video.suffix.upper()))
    assert [(pair.video, pair.frames) for pair in find_pairs(tmp_path)] == [(video, 17)]


def test_the_pose_video_of_the_same_ending_is_taken(tmp_path: Path) -> None:
    for name in ("a.mkv", "a.mp4", "a_pose.mkv", "a_pose.mp4", "pose/a.mp4"):
        write(tmp_path / name, 5)
    assert [(pair.video.name, pair.pose.name) for pair in find_pairs(tmp_path)] == [("a.mkv", "a_pose.mkv"), ("a.mp4", "a_pose.mp4")]


def test_a_video_may_be_named_like_a_pose_video(tmp_path: Path) -> None:
    clip(tmp_path, "strike_a_pose", pose="pose/{}.mp4")
    write(tmp_path / "._strike_a_pose.mp4").write_bytes(b"another system's notes on the file")
    assert [pair.pose for pair in find_pairs(tmp_path)] == [tmp_path / "pose" / "strike_a_pose.mp4"]


def test_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip(tmp_path / "lists", pose="a_drawn.mp4")
    clip(tmp_path / "work", "b", 6, pose="b_drawn.mp4")
    entries = [{"video_path": "a.mp4", "kps_path": str(tmp_path / "lists" / "a_drawn.mp4")},
               {"video_path": "./b.mp4", "kps_path": "b_drawn.mp4", "more": 1}]
    source = tmp_path / "lists" / "meta.json"
    source.write_text(json.dumps(entries), encoding="utf-8")
    monkeypatch.chdir(tmp_path / "work")
    assert [(pair.video, pair.pose, pair.frames) for pair in find_pairs(source)] == [
        (tmp_path / "lists" / "a.mp4", tmp_path / "lists" / "a_drawn.mp4", 5),
        (tmp_path / "work" / "b.mp4", tmp_path / "work" / "b_drawn.mp4", 6)]


@pytest.mark.parametrize(("text", "expected"), [
    ("[{", "is not readable JSON"),
    ("\xff\xfe\x00\xd8", "is not readable JSON"),
    ("[]", "contains an empty list"),
    ("{}", "contains a JSON dict"),
    ("[[1]]", "entry 1 needs"),
    ('[{"video_path": "a.mp4"}]', "entry 1 needs"),
    ('[{"video_path": "a.mp4", "kps_path": 3}]', "entry 1 needs"),
    ('[{"video_path": "a.mp4", "kps_path": "a_pose.mp4"}, {"video_path": "a.mp4", "kps_path": ""}]', "entry 2 needs"),
    ('[{"video_path": "a.mp4", "kps_path": "gone.mp4"}]', "gone.mp4 does not exist"),
])
def test_bad_lists(tmp_path: Path, text: str, expected: str) -> None:
    clip(tmp_path)
    source = tmp_path / "meta.json"
    source.write_bytes(text.encode("latin-1"))
    message = refused(source)
    assert expected in message and str(source) in message
    assert "kps_path" in message or "set the path of a video" in message


def test_no_folder_and_no_videos(tmp_path: Path) -> None:
    assert "gone does not exist; set a folder" in refused(tmp_path / "gone")
    video, _ = clip(tmp_path / "clips" / "inner")
    assert "is neither a folder nor a .json list" in refused(video)
    (tmp_path / "clips" / "note.txt").touch()
    message = refused(tmp_path / "clips")
    assert "contains no videos (.mp4," in message and "subfolders are not searched" in message


def test_a_video_without_pose_video(tmp_path: Path) -> None:
    write(tmp_path / "clips" / "a.mp4", 5)
    write(tmp_path / "clips" / "b_kps.mp4", 5)
    message = refused(tmp_path / "clips")
    assert "2 problems" in message
    assert "a.mp4 has no pose video; name it a_pose.mp4 or a_kps.mp4 beside it, or put it into clips_dwpose" in message
    assert "b_kps.mp4 is named like a pose video, but there is no video b.mp4" in message


def test_unequal_and_small_numbers_of_frames(tmp_path: Path) -> None:
    clip(tmp_path, "short", 3)
    clip(tmp_path, "uneven", 12)
    write(tmp_path / "uneven_pose.mp4", 11)
    message = refused(tmp_path, min_frames=4)
    assert f"{tmp_path / 'short.mp4'} has 3 frames; at least 4 are needed" in message
    assert f"{tmp_path / 'uneven.mp4'} has 12 frames, but its pose video {tmp_path / 'uneven_pose.mp4'} has 11" in message
    assert [pair.frames for pair in find_pairs(tmp_path, "skip", min_frames=3)] == [3]
    clip(tmp_path / "one", "one", 1)
    assert "one.mp4 has 1 frame; at least 2" in refused(tmp_path / "one")


@pytest.mark.parametrize("content", [b"", b"just a note\n" * 50, b"textwithoutablank" * 50, b"ffconcat version 1.0\nfile a_pose.mp4\n"])
@pytest.mark.parametrize("bad", ["a.mp4", "a_pose.mp4"])
def test_what_is_no_video(tmp_path: Path, content: bytes, bad: str) -> None:
    clip(tmp_path)
    (tmp_path / bad).write_bytes(content)
    message = refused(tmp_path)
    assert f"{tmp_path / bad} cannot be decoded as a video (" in message and "use a complete file: .mp4" in message


@pytest.mark.parametrize("end", ["first", "last"])
def test_a_file_of_rubbish_in_a_whole_frame(tmp_path: Path, end: str) -> None:
    """The packets are all there, but one does not decode."""
    video, _ = clip(tmp_path, count=30)
    with av.open(str(video)) as container:
        packets = sorted((packet.pts, packet.pos, packet.size) for packet in container.demux(video=0) if packet.size)
    _, at, size = packets[0 if end == "first" else -1]
    data = video.read_bytes()
    video.write_bytes(data[:at] + b"\xff" * size + data[at + size:])
    message = refused(tmp_path)
    assert f"{video} cannot be decoded" in message or f"{video}: frame" in message


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    clip(tmp_path)
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert f"{tmp_path / 'a.mp4'} contains no video stream" in refused(tmp_path)


@pytest.mark.parametrize("name", FORMATS)
def test_a_cut_file_is_noticed(tmp_path: Path, name: str) -> None:
    video = write(tmp_path / name, 30)
    write(tmp_path / f"{video.stem}_pose.mp4", 30)
    data = video.read_bytes()
    assert len(find_pairs(tmp_path)) == 1, "whole, it is accepted"
    for length in (len(data) // 4, len(data) // 2, len(data) * 9 // 10, len(data) - 1):
        video.write_bytes(data[:length])
        assert f"{video} is truncated" in refused(tmp_path), f"{length} of {len(data)} bytes"


def test_every_cut_of_a_gif_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    frames = [Image.fromarray(numbered(number, 24, 16)).quantize(8 + 4 * number) for number in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:], comment=b"a note; and more", transparency=0)
    data = path.read_bytes()
    assert videos._is_whole(path)
    for length in range(6, len(data)):
        path.write_bytes(data[:length])
        assert not videos._is_whole(path), f"{length} of {len(data)} bytes"


def test_a_live_recording_without_lengths_is_accepted(tmp_path: Path) -> None:
    """Written to a pipe, Matroska and AVI cannot know their length."""
    for name, mark, unknown in (("a.mkv", b"\x18\x53\x80\x67", b"\x01" + b"\xff" * 7), ("b.avi", b"RIFF", bytes(4))):
        path = write(tmp_path / name, 9)
        write(tmp_path / f"{path.stem}_pose.mp4", 9)
        before, after = path.read_bytes().split(mark, 1)
        path.write_bytes(before + mark + unknown + after[len(unknown):])
    assert [(pair.video.name, pair.frames) for pair in find_pairs(tmp_path)] == [("a.mkv", 9), ("b.avi", 9)]


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    for number in range(13):
        (tmp_path / f"{number:02}.mp4").write_bytes(b"nothing")
        (tmp_path / f"{number:02}_pose.mp4").write_bytes(b"nothing")
    lines = refused(tmp_path).splitlines()
    assert len(lines) == 12
    assert "26 problems" in lines[0] and "00.mp4" in lines[1] and "00_pose.mp4" in lines[2] and "04_pose.mp4" in lines[10]
    assert lines[-1] == "- ... and 16 more"


def test_skipping(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    clip(tmp_path, "good")
    clip(tmp_path, "bad")
    write(tmp_path / "lone.mp4", 5)
    (tmp_path / "bad_pose.mp4").write_bytes(b"nothing")
    assert [pair.video.name for pair in find_pairs(tmp_path, "skip")] == ["good.mp4"]
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert "lone.mp4 has no pose video" in caplog.text and "bad_pose.mp4 cannot be decoded" in caplog.text
    (tmp_path / "good.mp4").unlink()
    assert "3 problems with the clips, and nothing left" in refused(tmp_path, unreadable="skip")
