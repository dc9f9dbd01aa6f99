"""What a detector reports of `benchmarks.footage`: jitter, dropouts, false points, swapped sides, duplicate people.

Amounts are per second and in parts of the body's height, so that the same detector looks at every frame rate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from animate_core.pose.keypoints import FACE, LEFT_HAND, NUM_POINTS, RIGHT_HAND, PoseClip

from .footage import HEIGHT, SHOTS, WIDTH, Array, Shot

# Standard deviation of a detector's error in body heights, its white part, at jitter 1
JITTER = np.full(NUM_POINTS, 0.004)
JITTER[[2, 5]], JITTER[[3, 6]], JITTER[[4, 7]] = 0.005, 0.006, 0.008  # shoulders, elbows, wrists
JITTER[[8, 11]], JITTER[[9, 12]], JITTER[[10, 13]] = 0.008, 0.007, 0.008  # hips, knees, ankles
JITTER[18:24], JITTER[FACE], JITTER[LEFT_HAND], JITTER[RIGHT_HAND] = 0.008, 0.002, 0.005, 0.005

# Points that belong to the right and to the left, with the hands and feet that go with them
SIDES = {"arms": ([2, 3, 4, *range(113, 134)], [5, 6, 7, *range(92, 113)]), "legs": ([8, 9, 10, 21, 22, 23], [11, 12, 13, 18, 19, 20]),
         "face": ([14, 16], [15, 17])}


@dataclass(frozen=True)
class Detector:
    """jitter: 1 is DWPose's on sharp pictures. slow: the part of it that lasts (a fifth of a second), beside the white part. dropouts:
    bursts a second of a joint unseen, a fifth of a second each on average; lost: the same of the whole person. leaps: share of points
    far off. false_ankles: share of frames in which an ankle is seen that is not there, at false_score. short_swaps, long_swaps: a second,
    of 0.04 to 0.2 s and of 1 to 2.5 s. duplicates: share of frames that report a person twice."""

    jitter: float = 1.0
    slow: float = 0.6
    dropouts: float = 0.15
    lost: float = 0.05
    leaps: float = 0.004
    false_ankles: float = 0.015
    false_score: float = 0.35
    short_swaps: float = 0.1
    long_swaps: float = 0.0
    duplicates: float = 0.0


PERFECT = Detector(0, 0, 0, 0, 0, 0, 0.35, 0, 0, 0)
NOISES = {
    "none": PERFECT, "jitter": replace(PERFECT, jitter=1.0, slow=0.6), "dropouts": replace(PERFECT, dropouts=0.3, lost=0.15),
    "leaps": replace(PERFECT, leaps=0.01), "false points": replace(PERFECT, false_ankles=0.02),
    "short swaps": replace(PERFECT, short_swaps=0.3), "long swaps": replace(PERFECT, long_swaps=0.12), "all": Detector(long_swaps=0.05),
}


@dataclass(frozen=True)
class Detections:
    """clip: rows as a detector reports them (the surest person first). row `[F, P]`: where each true person stands in it, -1 where
    nowhere. swapped `[F, P, 3]`: groups of SIDES that are exchanged. false `[F, P, 134]`: points of which nothing is there."""

    clip: PoseClip
    row: Array
    swapped: Array
    false: Array


def bursts(rng: np.random.Generator, frames: int, fps: float, rate: float, shortest: float, longest: float) -> Array:
    """`[F]` bool: stretches of random length (seconds) that begin at `rate` a second."""
    out = np.zeros(frames, bool)
    for start in rng.uniform(0, frames, rng.poisson(rate * frames / fps)):
        out[int(start):int(start + max(1, fps * rng.uniform(shortest, longest)))] = True
    return out


def slow_noise(rng: np.random.Generator, shape: tuple[int, ...], fps: float, seconds: float = 0.2) -> Array:
    """Noise of standard deviation 1 that keeps its course for about `seconds` (a process of the first order in time)."""
    keep, white = np.exp(-1 / (fps * seconds)), rng.normal(0, 1, shape)
    out = white.copy()
    for t in range(1, len(out)):
        out[t] = keep * out[t - 1] + np.sqrt(1 - keep**2) * white[t]
    return out


def detect(shot: Shot, seed: int, detector: Detector | None = None) -> Detections:
    """A detector's report of a shot. Points out of the picture are not reported, those turned away less surely and less exactly."""
    detector = detector or Detector()
    rng = np.random.default_rng((0xDE7E, seed, sorted(SHOTS).index(shot.name)))
    frames, people = shot.places.shape[:2]
    places, seen = shot.places.copy(), shot.visible.copy()
    swapped, false = np.zeros((frames, people, len(SIDES)), bool), np.zeros(seen.shape, bool)
    shape = places.shape
    error = rng.normal(0, 1, shape) + detector.slow * slow_noise(rng, shape, shot.fps)
    places += detector.jitter * JITTER[:, None] * (1 + shot.far)[..., None] * shot.heights[..., None, None] * error
    # the more it errs, the less sure it is
    scores = (0.93 - 0.05 * detector.jitter * np.linalg.norm(error, axis=-1) - 0.25 * shot.far).clip(0.36, 1)
    far_off = rng.random(seen.shape) < detector.leaps
    angle, reach = rng.uniform(0, 2 * np.pi, seen.shape), shot.heights[..., None] * rng.uniform(0.08, 0.4, seen.shape)
    places += (far_off * reach)[..., None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    scores = np.where(far_off, rng.uniform(0.32, 0.7, seen.shape), scores)
    for person in range(people):
        for k, (right, left) in enumerate(SIDES.values()):
            now = bursts(rng, frames, shot.fps, detector.short_swaps, 0.04, 0.2)
            now |= bursts(rng, frames, shot.fps, detector.long_swaps, 1, 2.5)
            swapped[:, person, k] = now
            for values in (places, scores, seen):
                values[np.ix_(now, [person], right + left)] = values[np.ix_(now, [person], left + right)]
        for part in (*([joint] for joint in range(18)), range(18, 21), range(21, 24), range(24, 92), range(92, 113), range(113, 134)):
            gone = bursts(rng, frames, shot.fps, detector.dropouts, 0.04, 0.4)
            seen[np.ix_(gone, [person], list(part))] = False
        for ankle in (10, 13):
            wrong = ~seen[:, person, ankle] & ~shot.visible[:, person, ankle] & seen[:, person].any(-1)
            wrong &= rng.random(frames) < detector.false_ankles
            hips = shot.places[wrong, person][:, (8, 11)].mean(1)
            places[wrong, person, ankle] = np.minimum(hips + rng.uniform(-0.1, 0.1, hips.shape) * HEIGHT, (WIDTH - 1, HEIGHT - 4)).clip(0)
            scores[wrong, person, ankle], seen[wrong, person, ankle], false[wrong, person, ankle] = detector.false_score, True, True
        seen[bursts(rng, frames, shot.fps, detector.lost, 0.04, 0.3), person] = False
    points = np.concatenate([places, scores[..., None]], -1) * seen[..., None]
    return report(points, rng, detector.duplicates, swapped, false & seen)


def report(points: Array, rng: np.random.Generator, duplicates: float, swapped: Array, false: Array) -> Detections:
    """The people of a frame in a detector's order, some of them twice."""
    frames, people = points.shape[:2]
    row = np.full((frames, people), -1)
    out = np.zeros((frames, 2 * people if duplicates else people, NUM_POINTS, 3), np.float32)
    for t in range(frames):
        there = [p for p in range(people) if points[t, p, :, 2].any()]
        entries = [(points[t, p, :, 2].sum(), p, points[t, p]) for p in there]
        for p in there:
            if rng.random() < duplicates:  # nearly the same once more, surer or less sure by chance
                twin = points[t, p] + rng.normal(0, 1.5, (NUM_POINTS, 3)) * (1, 1, 0) * (points[t, p, :, 2:] > 0)
                entries.append((points[t, p, :, 2].sum() * rng.uniform(0.95, 1.05), -1, twin))
        for k, (_, p, person) in enumerate(sorted(entries, key=lambda entry: -entry[0])):
            out[t, k] = person
            if p >= 0:
                row[t, p] = k
    return Detections(PoseClip(out, WIDTH, HEIGHT), row, swapped, false)


def one_false_ankle(shot: Shot, seed: int = 0, score: float = 0.35) -> PoseClip:
    """A shot whose ankles are out of sight, with one seen falsely in a single frame, at the lower edge of the picture."""
    points = shot.truth.points.copy()
    points[:, :, [9, 10, 12, 13, *range(18, 24)]] = 0
    points[np.random.default_rng(seed).integers(len(points)), 0, 10] = WIDTH / 2, HEIGHT - 20, score
    return shot.truth.of(points)
