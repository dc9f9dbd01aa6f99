"""Clean Pose against the true joints of difficult footage (`benchmarks.footage`), of the half that no threshold was chosen on.

The detections of each shot are cleaned and compared with the true joints, 18 body points. Error: root mean square distance of the points
that are both in the image and in the output, in % of body height. Jitter: mean acceleration of that error, in per mille of body height
per frame squared. Missing: share of the points in the image that are missing in the output. Invented: points in the output that are not in
the image, as a share of those that are. Median: over 5 frames. Savitzky-Golay: second order, over a quarter of a second, at least 5
frames. Both fill every gap with a straight line first. Each figure is the mean over the shots; the worst shot's error is next to it.
Noise: white noise and slow drift per joint, points lost in bursts, outliers ("leaps"), false ankles, swapped sides (short: up to 0.2 s,
long: 1 to 2.5 s).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from scipy.ndimage import median_filter
from scipy.signal import savgol_filter

from animate_core.pose.cleaning import CleanSettings, clean
from animate_core.pose.filters import fill
from animate_core.pose.keypoints import BODY, Array, PoseClip

from .common import Options, markdown
from .detections import NOISES, detect
from .footage import REPORTING, Shot, film, shots

name = "cleaning"
title = "Cleaning against the truth"

RATES = (8.0, 12.0, 24.0, 60.0)
FIGURES = ("error", "worst", "jitter", "missing", "invented")


def filled(clip: PoseClip, smooth: Callable[[Array], Array]) -> PoseClip:
    """Every gap of the first person closed by a straight line, then all of it smoothed."""
    seen = clip.scores[:, 0] > 0
    x = smooth(fill(clip.points[:, 0].astype(float), seen))
    return clip.of(np.where(seen.any(axis=0)[:, None], x, 0).astype(np.float32))


def median(clip: PoseClip, fps: float) -> PoseClip:
    return filled(clip, lambda x: median_filter(x, (5, 1, 1), mode="nearest"))


def savitzky_golay(clip: PoseClip, fps: float) -> PoseClip:
    return filled(clip, lambda x: savgol_filter(x, 2 * max(2, round(fps / 8)) + 1, 2, axis=0))


WAYS: dict[str, Callable[[PoseClip, float], PoseClip]] = {
    "raw": lambda clip, fps: clip, "median": median, "Savitzky-Golay": savitzky_golay,
    "ours": lambda clip, fps: clean(clip, CleanSettings(fps=fps))[0],
}


def measure(shot: Shot, clip: PoseClip) -> dict[str, float]:
    """Figures of one shot's first person."""
    points, truth, visible = clip.points[:, 0, BODY].astype(float), shot.places[:, 0, BODY], shot.visible[:, 0, BODY]
    there, height = points[..., 2] > 0, shot.heights[:, 0, None, None]
    error = (points[..., :2] - truth) / height
    both = there & visible
    bend = np.linalg.norm(error[2:] - 2 * error[1:-1] + error[:-2], axis=-1)[both[2:] & both[1:-1] & both[:-2]]
    distance = np.linalg.norm(error, axis=-1)[both]
    return {"error": 100 * float(np.sqrt((distance**2).mean())), "jitter": 1000 * float(bend.mean()),
            "missing": 100 * float((visible & ~there).sum() / visible.sum()),
            "invented": 100 * float((there & ~visible).sum() / visible.sum())}


def mean(figures: Iterable[dict[str, float]]) -> dict[str, float]:
    all_of = list(figures)
    return {"worst": max(one["error"] for one in all_of), **{key: float(np.mean([one[key] for one in all_of])) for key in all_of[0]}}


def lines(of: list[Shot], noise: str, by_shot: bool = False) -> list[dict[str, Any]]:
    """Figures by way (or by way and shot) of people alone in their shots."""
    out = []
    single = [shot for shot in of if shot.places.shape[1] == 1]
    clips = [detect(shot, seed, NOISES[noise]).clip for seed, shot in enumerate(single)]
    for way, run_way in WAYS.items():
        figures = [measure(shot, run_way(clip, shot.fps)) for shot, clip in zip(single, clips, strict=True)]
        if by_shot:
            out += [{"shot": shot.name, "way": way, **mean([one])} for shot, one in zip(single, figures, strict=True)]
        else:
            out.append({"noise": noise, "fps": single[0].fps, "way": way, **mean(figures)})
    return out


def run(options: Options) -> dict[str, Any]:
    """Figures by noise, by frame rate, and by shot under all noises."""
    if options.quick:
        few = [film(shot, REPORTING[0], 12.0, 1.5) for shot in ("walk", "half body")]
        return {"noises": lines(few, "jitter"), "rates": lines(few, "none"), "shots": lines(few, "all", by_shot=True)}
    at_24 = shots(REPORTING, 24.0)
    return {"noises": [line for noise in NOISES for line in lines(at_24, noise)],
            "rates": [line for fps in RATES for noise in ("none", "jitter") for line in lines(shots(REPORTING, fps), noise)],
            "shots": sorted(lines(shots(REPORTING, 24.0), "all", by_shot=True), key=lambda line: line["shot"])}


def table(results: dict[str, Any]) -> str:
    heads = ["error", "worst shot", "jitter", "missing", "invented"]

    def figures(line: dict[str, Any]) -> list[str]:
        return [f"{line[figure]:.2f} {'‰' if figure == 'jitter' else '%'}" for figure in FIGURES]

    tables = [markdown(["noise", "way", *heads], [[r["noise"], r["way"], *figures(r)] for r in results["noises"]]),
              markdown(["frames per second", "noise", "way", *heads],
                       [[f"{r['fps']:g}", r["noise"], r["way"], *figures(r)] for r in results["rates"]])]
    rows = [[r["shot"], r["way"], *(text for text, figure in zip(figures(r), FIGURES, strict=True) if figure != "worst")]
            for r in results["shots"]]
    return "\n\n".join([*tables, markdown(["shot, all noises", "way", *(head for head in heads if head != "worst shot")], rows)])
