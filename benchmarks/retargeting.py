"""Retargeting compared with the ground truth of procedural characters.

A driver A moves. B is the reference, with other proportions, position, height and canvas, in one frame, standing at ease. The clip of A
retargeted to B is compared with B's own keypoints in the same motion. Characters are from the held-out seeds. Error: mean distance of the
18 body points in % of B's body height, over the points in the output; next to it the share of points in the output.
Noise: 2 px of jitter at a canvas height of 768 (normal, per coordinate), 10 % of the points missing, 5 % of the driver's frames empty.
pose_align takes its scales from the first frame with a person; `best frame`: from the frame with the most points.

The second table uses footage of a 3D figure with a perspective camera (`benchmarks.footage`, its reporting half). The reference is the same
body, or another one, standing at ease where the shot begins. Error: mean distance in % of the body's height at its distance from the
camera, over the body points in the image. Noise: `benchmarks.detections` without swaps, which are Clean Pose's task.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from animate_core.demo.character import HELD_OUT_SEED, Character, make_character
from animate_core.demo.clip import REFERENCE_SEED_SHIFT
from animate_core.demo.motion import FRAMED_MOTIONS, keypoints, make_moves
from animate_core.pose.cleaning import clean
from animate_core.pose.keypoints import BODY, Array, PoseClip, body_clip
from animate_core.pose.retargeting import RetargetSettings, retarget

from .common import Options, markdown
from .detections import Detector, detect
from .footage import REPORTING, SECONDS, SHOTS, film

name = "retargeting"
title = "Retargeting against the truth"

FRAMES = 32
UNSEEN, SEEDS = 200, 8  # of each shot of the footage, from this seed of the reporting half on; those before were looked at
PAIRS = 240  # each motion 40 times
FIRST = 1000  # the table's pairs begin here; those before were looked at while the code was written
JITTER, JITTER_HEIGHT, MISSING, EMPTY = 2.0, 768, 0.1, 0.05
DRIVER_CANVASES = ((512, 768), (1024, 768), (1080, 1920))
REFERENCE_CANVASES = ((512, 768), (768, 768), (640, 1024), (960, 640))


@dataclass(frozen=True)
class Pair:
    """truth `[F, 18, 2]` in pixels of the reference's canvas; height: of the reference's body, in pixels."""

    driver: PoseClip
    reference: PoseClip
    truth: Array
    height: float


def elsewhere(character: Character, rng: np.random.Generator) -> Character:
    """The same body at another place and of another size in the picture."""
    return replace(character, height=rng.uniform(0.5, 0.85), x=rng.uniform(0.4, 0.6), ground=rng.uniform(0.88, 0.97))


def make_pair(index: int) -> Pair:
    rng = np.random.default_rng((0x4E7A, index))
    a, b = (elsewhere(make_character(HELD_OUT_SEED + 2 * index + k), rng) for k in range(2))
    moves = make_moves(FRAMED_MOTIONS[index % len(FRAMED_MOTIONS)], a.seed, FRAMES)
    at_ease = make_moves("walk", (b.seed + REFERENCE_SEED_SHIFT) % (1 << 24), 1)  # as demo.clip.reference_frame stands
    canvas, theirs = DRIVER_CANVASES[rng.integers(len(DRIVER_CANVASES))], REFERENCE_CANVASES[rng.integers(len(REFERENCE_CANVASES))]
    return Pair(body_clip(keypoints(a, moves, *canvas), *canvas), body_clip(keypoints(b, at_ease, *theirs), *theirs),
                keypoints(b, moves, *theirs)[..., :2].astype(float), b.height * theirs[1])


def with_noise(clip: PoseClip, rng: np.random.Generator, missing: float = MISSING, empty: float = EMPTY) -> PoseClip:
    points = clip.points.copy()
    points[..., :2] += rng.normal(0, JITTER * clip.height / JITTER_HEIGHT, points[..., :2].shape)
    points[rng.random(points.shape[:3]) < missing] = 0
    points[rng.random(len(points)) < empty] = 0
    return clip.of(points)


def noisy(pair: Pair, index: int, reference: bool = True, missing: float = MISSING, empty: float = EMPTY) -> Pair:
    """The pair with noise in the driver's clip and, less the empty frames, in the reference."""
    rng = np.random.default_rng((0x4015E, index))
    return replace(pair, driver=with_noise(pair.driver, rng, missing, empty),
                   reference=with_noise(pair.reference, rng, missing, 0) if reference else pair.reference)


def first_frame(clip: PoseClip) -> int:
    return int(clip.present[:, 0].argmax())


def best_frame(clip: PoseClip) -> int:
    return int((clip.scores[:, 0] > 0).sum(-1).argmax())


WAYS: dict[str, Callable[[Any], PoseClip]] = {
    "ours": lambda pair: retarget(pair.driver, pair.reference),
    "Clean Pose, then ours": lambda pair: retarget(clean(pair.driver)[0], pair.reference),
    "scale only": lambda pair: retarget(pair.driver, pair.reference, "scale only"),
    "pose_align": lambda pair: retarget(pair.driver, pair.reference, "pose_align", RetargetSettings(align_frame=first_frame(pair.driver))),
    "pose_align, best frame": lambda pair: retarget(pair.driver, pair.reference, "pose_align",
                                                    RetargetSettings(align_frame=best_frame(pair.driver))),
    "none": lambda pair: retarget(pair.driver, pair.reference, "none"),
}


def errors(pair: Pair, out: PoseClip) -> tuple[Array, float]:
    """Distances in % of the body's height of the points that are there, and their share of all."""
    body = out.points[:, 0, BODY].astype(float)
    there = body[..., 2] > 0
    distance = np.linalg.norm(body[..., :2] - pair.truth[len(pair.truth) - len(body):], axis=-1)
    return 100 * distance[there] / pair.height, float(there.sum() / pair.truth[..., 0].size)


@dataclass(frozen=True)
class Score:
    """Mean over the pairs of a pair's mean error, median over the pairs, the worst pair (% of the body's height), share of points."""

    mean: float
    median: float
    worst: float
    share: float


def score(way: Callable[[Pair], PoseClip], pairs: Sequence[Pair]) -> Score:
    measured = [errors(pair, way(pair)) for pair in pairs]
    means = [float(distances.mean()) for distances, _ in measured]
    return Score(float(np.mean(means)), float(np.median(means)), max(means), float(np.mean([share for _, share in measured])))


# ---------------------------------------------------------------------------------------------------------------------------- footage

SHOT_WAYS = ("none", "scale only", "pose_align", "ours")
DETECTOR = Detector(short_swaps=0)
STILL = replace(DETECTOR, dropouts=0, lost=0, leaps=0)  # of a picture that a user has chosen
# What the reference is, and the shots of it: kind of body (none: the driver's own), camera (none: the shot's own)
REFERENCES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "own body": ("", "", tuple(name for name in SHOTS if name != "crossing")),
    "own body, in whole": ("", "front", ("half body", "close-up")),
    "chibi": ("chibi", "", ("stand", "walk", "turn", "dance", "side view")),
    "child": ("child", "", ("walk", "turn", "side view")),
    "long-legged": ("long-legged", "", ("walk", "turn")),
}


@dataclass(frozen=True)
class Scene:
    """truth `[F, 18, 2]` in pixels, where it counts `[F, 18]`, body heights `[F]` in pixels."""

    driver: PoseClip
    reference: PoseClip
    truth: Array
    counts: Array
    heights: Array


def make_scene(name: str, seed: int, body: str = "", camera: str = "", noisy: bool = False, fps: float = 24.0) -> Scene:
    shot = film(name, seed, fps, SECONDS)
    truth = film(name, seed, fps, SECONDS, body=body, camera=camera)
    at_ease = film(name, seed, fps, SECONDS, body=body, camera=camera, at_ease=True)
    driver, reference, counts = shot.truth, at_ease.truth, shot.visible
    if noisy:
        found = detect(shot, seed, DETECTOR)
        driver, reference, counts = found.clip, detect(at_ease, seed + len(REPORTING), STILL).clip, counts & ~found.false
    return Scene(driver, reference.of(reference.points[:1]), truth.places[:, 0, BODY], counts[:, 0, BODY], truth.heights[:, 0])


def scene_error(scene: Scene, out: PoseClip) -> float:
    dropped = len(scene.truth) - len(out)
    body = out.points[:, 0, BODY].astype(float)
    counts = scene.counts[dropped:] & (body[..., 2] > 0)
    away = np.linalg.norm(body[..., :2] - scene.truth[dropped:], axis=-1) / scene.heights[dropped:, None]
    return float(100 * away[counts].mean())


def scene_errors(seeds: Sequence[int], references: dict[str, tuple[str, str, tuple[str, ...]]]) -> list[dict[str, Any]]:
    """A line a reference, shot and input: the mean over the seeds by way."""
    lines = []
    for reference, (body, camera, names) in references.items():
        for name in names:
            for noisy_ in (False, True):
                scenes = [make_scene(name, seed, body, camera, noisy_) for seed in seeds]
                errors_ = {way: float(np.mean([scene_error(scene, WAYS[way](scene)) for scene in scenes])) for way in SHOT_WAYS}
                lines.append({"reference": reference, "shot": name, "input": "noisy" if noisy_ else "clean", "errors": errors_})
    return lines


# ------------------------------------------------------------------------------------------------------------------------------- tables

def conditions(indices: range) -> dict[str, list[Pair]]:
    pairs = {index: make_pair(index) for index in indices}
    return {"clean": list(pairs.values()), "jitter alone": [noisy(pair, i, missing=0, empty=0) for i, pair in pairs.items()],
            "noisy driver": [noisy(pair, i, reference=False) for i, pair in pairs.items()],
            "noisy driver and reference": [noisy(pair, i) for i, pair in pairs.items()]}


def run(options: Options) -> dict[str, Any]:
    """Scores by input and way, and errors by shot and way."""
    pairs = range(FIRST, FIRST + (6 if options.quick else PAIRS))
    return {"lines": [{"input": condition, "way": way, **asdict(score(run_way, of))}
                      for condition, of in conditions(pairs).items() for way, run_way in WAYS.items()],
            "shots": scene_errors(REPORTING[UNSEEN:UNSEEN + (1 if options.quick else SEEDS)], REFERENCES)}


def table(results: dict[str, Any]) -> str:
    pairs = markdown(["input", "way", "mean error", "median", "worst pair", "points there"],
                     [[r["input"], r["way"], *(f"{r[figure]:.2f} %" for figure in ("mean", "median", "worst")), f"{100 * r['share']:.0f} %"]
                      for r in results["lines"]])
    if "shots" not in results:
        return pairs
    shots = markdown(["reference", "shot", "input", *SHOT_WAYS],
                     [[r["reference"], r["shot"], r["input"], *(f"{r['errors'][way]:.2f} %" for way in SHOT_WAYS)]
                      for r in results["shots"]])
    return f"{pairs}\n\n{shots}"
