"""Pictures of stored results, by matplotlib; the same results give the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")

from matplotlib import pyplot as plt  # noqa: E402 - after the choice of backend
from matplotlib.figure import Figure  # noqa: E402

COLOURS = ("#4c72b0", "#dd8452")
MIB = 2**20


def memory_bars(results: dict[str, Any]) -> Figure:
    """Activations of a step by size and frames, one half and both."""
    steps = results["steps"]
    cases = list(dict.fromkeys((s["width"], s["height"], s["frames"]) for s in steps))
    figure, axes = plt.subplots(figsize=(8, 3.2))
    for i, (clips, label) in enumerate(((1, "one half"), (2, "both halves"))):
        heights = [next(s["above"] for s in steps if (s["width"], s["height"], s["frames"], s["clips"]) == (*case, clips)) / MIB / 1024
                   for case in cases]
        axes.bar([x + 0.4 * i for x in range(len(cases))], heights, 0.4, label=label, color=COLOURS[i])
    axes.set_xticks([x + 0.2 for x in range(len(cases))], [f"{w}x{h}\n{f}" for w, h, f in cases], fontsize=7)
    axes.set_ylabel("GiB, weights apart")
    axes.set_title("One step on a card, fp16, by count; picture and frames of the window", fontsize=9)
    axes.legend()
    axes.grid(axis="y", alpha=0.3)
    return figure


def long_lines(results: dict[str, Any]) -> Figure:
    """Time and memory against the clip's frames."""
    clips = results["clips"]
    frames = [c["frames"] for c in clips]
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2))
    left.plot(frames, [c["sampling_seconds"] for c in clips], "o-", color=COLOURS[0])
    left.set_ylabel("sampling, processor seconds")
    right.plot(frames, [c["peak_bytes"] / MIB for c in clips], "o-", color=COLOURS[0], label="all")
    right.plot(frames, [c["rest_bytes"] / MIB for c in clips], "s-", color=COLOURS[1], label="without the frames themselves")
    right.set_ylabel("MiB above the loaded model")
    right.legend()
    for axes in (left, right):
        axes.set_xlabel("frames of the clip")
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    return figure


def acceleration_points(results: dict[str, Any]) -> Figure:
    """Difference from the plain run against the FLOPs saved."""
    figure, axes = plt.subplots(figsize=(9, 5.5))
    for guidance, colour in zip(dict.fromkeys(line["guidance"] for line in results["lines"]), COLOURS, strict=False):
        lines = [line for line in results["lines"] if line["guidance"] == guidance and line["label"] != "plain"]
        points = [(1 / results["flops"][line["label"]], 1 - line["ssim"]) for line in lines]
        axes.plot(*zip(*points, strict=True), "o", color=colour, label=f"guidance {guidance:g}")
        for line, point in zip(lines, points, strict=True):
            axes.annotate(line["label"], point, fontsize=6, rotation=20, xytext=(4, 3), textcoords="offset points")
    axes.set_yscale("log")
    axes.invert_yaxis()
    axes.set_xlim(right=5)
    axes.set_xlabel("fewer FLOPs at full size, by this factor")
    axes.set_ylabel("1 - SSIM to the plain run, built-in model")
    axes.legend(loc="lower left")
    axes.grid(alpha=0.3)
    return figure


# benchmark's name -> what the picture shows, and how it is made; the file is docs/benchmarks/NAME.svg
PLOTS: dict[str, tuple[str, Callable[[dict[str, Any]], Figure]]] = {
    "memory": ("Activations of one step by picture, frames and halves", memory_bars),
    "acceleration": ("SSIM to the plain run against FLOPs saved", acceleration_points),
    "long": ("Time and memory against the clip's frames", long_lines),
}


def draw(name: str, results: dict[str, Any], path: Path) -> None:
    # no date, no random ids: drawn again, the file stays the same; text as text is smaller
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = PLOTS[name][1](results)
        figure.tight_layout()
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)
