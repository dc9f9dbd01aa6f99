"""Long clips in one go by the built-in model: time, memory and seams.

Time: sampling in 4 steps without guidance, windows of 16 frames that overlap by 4, poses encoded window by window, a process for each
length. Seconds are of the processor, which other programs on the machine disturb least. Memory: the peak of a process of its own, from
skeletons to decoded pictures, above what it holds when the model is loaded, glibc told to give large freed blocks back at once. Of it,
"frames themselves" is each frame's skeleton and picture (8 bits) and its latents once (fp32). The rest should not grow with the clip.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from animate_core.demo.character import HELD_OUT_SEED
from animate_core.demo.clip import demo_clip
from animate_core.demo.motion import FRAMED_MOTIONS
from animate_core.windows import Windows

from .builtin import FRAME_BYTES, PRESET, builtin_model, decode, draw_skeletons, sample, subject
from .common import Options, markdown
from .measure import status_bytes
from .seams import changes, geometric, joint_share, joints, liveliness, seam

name = "long"
title = "Long clips in one go"

LENGTHS, STEPS = (48, 96, 250, 500, 1000), 4
MEMORY_STEPS = 2  # a step's memory is every step's
QUICK_LENGTHS, QUICK_STEPS = (20, 32), 1
SEAM_CLIPS = {96: 6, 250: 2}  # clips of each length
FIRST = 1000  # held-out characters from here on
OURS = Windows(PRESET.window_length, PRESET.window_overlap)
# closed_loop changes the published windows only where the length leaves 1 to 4 frames over a multiple of 12: not here
WAYS = {
    "shifted, pyramid (ours)": OURS,
    "published, flat": Windows(PRESET.window_length, PRESET.window_overlap, schedule="published", weights="flat"),
}


def measure_time(frames: int, steps: int) -> dict[str, Any]:
    """Processor seconds of sampling. To be run in a process of its own."""
    seed = HELD_OUT_SEED + FIRST
    with torch.inference_mode():
        model = builtin_model()
        who, skeletons = subject(model, seed), draw_skeletons(seed, "walk", frames)
        sample(model, who, skeletons[:OURS.length], OURS, steps=1, seed=0)
        begin = time.process_time()
        sample(model, who, skeletons, OURS, steps=steps, seed=0)
    return {"sampling_seconds": time.process_time() - begin}


def measure_memory(frames: int, steps: int) -> dict[str, Any]:
    """Bytes of skeletons, sampling and decoding. To be run in a process of its own, on Linux. Raises OSError elsewhere."""
    seed = HELD_OUT_SEED + FIRST
    with torch.inference_mode():
        model = builtin_model()
        who = subject(model, seed)
        before = status_bytes("VmRSS")
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts anew from here
        skeletons = draw_skeletons(seed, "walk", frames)
        pictures = decode(model, sample(model, who, skeletons, OURS, steps=steps, seed=0))
    peak = status_bytes("VmHWM")
    if before is None or peak is None or pictures.std() == 0:
        raise OSError("no peak memory in /proc/self/status, or no picture")
    return {"loaded_bytes": before, "peak_bytes": peak - before, "frames_bytes": frames * FRAME_BYTES,
            "rest_bytes": peak - before - frames * FRAME_BYTES}


MEASURES = {"time": measure_time, "memory": measure_memory}


def alone(measure: str, frames: int, steps: int) -> dict[str, Any]:
    """One of MEASURES in a fresh process. Raises CalledProcessError if it fails."""
    code = ("import json, sys, torch; torch.set_num_threads(int(sys.argv[4])); from benchmarks.long import MEASURES; "
            "print(json.dumps(MEASURES[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3]))))")
    command = [sys.executable, "-c", code, measure, str(frames), str(steps), str(torch.get_num_threads())]
    # glibc keeps freed blocks for itself by rules that depend on the past, some tens of MiB here and there; below this size only
    environment = {**os.environ, **({"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"} if measure == "memory" else {})}
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=root, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def measure_clips(lengths: Sequence[int], steps: int) -> list[dict[str, Any]]:
    out = []
    for frames in lengths:
        windows = sum(len(OURS.at(step, frames)) for step in range(steps))
        out.append({"frames": frames, "steps": steps, "windows": windows, **alone("time", frames, steps),
                    **alone("memory", frames, MEMORY_STEPS)})
        print(f"  {frames} frames: {out[-1]['sampling_seconds']:.0f} s, {out[-1]['rest_bytes'] / 2**20:.1f} MiB", flush=True)
    return out


def measure_seams(frames: int, clips: int, steps: int) -> list[dict[str, Any]]:
    """A line for each clip and way of cutting it."""
    model = builtin_model()
    out = []
    for index in range(clips):
        seed, motion = HELD_OUT_SEED + FIRST + index, FRAMED_MOTIONS[index % len(FRAMED_MOTIONS)]
        clip = demo_clip(seed, motion, frames)
        truth = changes(clip.frames)
        with torch.inference_mode():
            who = subject(model, seed)
            for way, windows in WAYS.items():
                result = changes(decode(model, sample(model, who, clip.poses, windows, steps=steps, seed=index)))
                out.append({"frames": frames, "steps": steps, "motion": motion, "seed": seed, "way": way,
                            "change": liveliness(result, truth, 0 * truth + 1),
                            "all_steps": seam(result, truth, joint_share(windows, steps, frames)),
                            "last_step": seam(result, truth, joints(windows, steps - 1, frames))})
                print(f"  {frames} frames, {motion}, {way}: {out[-1]['all_steps']:.3f}, {out[-1]['last_step']:.3f}", flush=True)
    return out


def run(options: Options) -> dict[str, Any]:
    lengths, steps = (QUICK_LENGTHS, QUICK_STEPS) if options.quick else (LENGTHS, STEPS)
    seam_clips, seam_steps = ({QUICK_LENGTHS[-1]: 1}, 2) if options.quick else (SEAM_CLIPS, PRESET.steps)
    seams = [line for frames, count in seam_clips.items() for line in measure_seams(frames, count, seam_steps)]
    return {"clips": measure_clips(lengths, steps), "seams": seams}


def time_table(clips: list[dict[str, Any]]) -> str:
    rows = []
    for c in clips:
        rows.append([str(c["frames"]), f"{c['sampling_seconds'] / c['frames']:.3f}", f"{c['sampling_seconds'] / c['windows']:.3f}",
                     f"{c['peak_bytes'] / 2**20:.0f}", f"{c['frames_bytes'] / 2**20:.0f}",
                     f"{c['rest_bytes'] / 2**20:.0f}", f"{c['rest_bytes'] / clips[0]['rest_bytes']:.2f}"])
    return markdown(["frames", "sampling, s/frame", "s/window", "peak MiB", "frames themselves", "the rest",
                     f"the rest by that of {clips[0]['frames']}"], rows)


def with_error(value: dict[str, Any]) -> str:
    return f"{value['mean']:.3f}" + (f" ± {value['error']:.3f}" if value["error"] is not None else "")


def seam_table(lines: list[dict[str, Any]]) -> str:
    def key(line: dict[str, Any]) -> tuple[int, int]:
        return line["frames"], list(WAYS).index(line["way"])

    rows = []
    for (frames, way), group in groupby(sorted(lines, key=key), key):
        of = list(group)
        figures = [with_error(geometric([line[figure] for line in of])) for figure in ("all_steps", "last_step", "change")]
        rows.append([str(frames), str(len(of)), list(WAYS)[way], *figures])
    return markdown(["frames", "clips", "windows", "joints over elsewhere, all steps", "last step", "change by the truth's"], rows)


def table(results: dict[str, Any]) -> str:
    steps = results["seams"][0]["steps"]
    return "\n\n".join([time_table(results["clips"]),
                        f"Seams: change from frame to frame by the truth's, at windows' joints over elsewhere ({steps} steps; "
                        "geometric mean over clips ± standard error; 1: joints do not show):", seam_table(results["seams"])])
