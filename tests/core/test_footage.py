"""The adversarial footage: its truth follows the laws of a rigid skeleton and a pinhole camera, its detector errs as much as it says."""

from __future__ import annotations

import numpy as np
import pytest

from animate_core.pose.keypoints import LIMBS
from benchmarks.detections import JITTER, PERFECT, SIDES, Detector, detect
from benchmarks.footage import (
    HEIGHT,
    KINDS,
    REPORTING,
    REPORTING_ONLY,
    SHOTS,
    TUNING,
    WIDTH,
    film,
    make_body,
    project,
    shots,
    skeleton,
)


@pytest.mark.parametrize("name", SHOTS)
def test_limbs_keep_their_lengths_and_feet_stay_above_the_floor(name: str) -> None:
    kind, motion, _ = SHOTS[name]
    rng = np.random.default_rng(1)
    joints, gaze = skeleton(make_body(kind, rng), motion(np.arange(96) / 24, rng), 96)
    rigid = [limb for limb in LIMBS if limb not in ((1, 0), (1, 8), (1, 11))]  # neck and spine bend
    lengths = np.stack([np.linalg.norm(joints[:, a] - joints[:, b], axis=-1) for a, b in rigid], -1)
    assert np.ptp(lengths, axis=0).max() < 1e-9
    assert joints[:, (10, 13), 1].min() > 0.079
    assert np.allclose(np.linalg.norm(gaze, axis=-1), 1)


def test_the_camera_is_a_pinhole() -> None:
    zero = np.zeros(1)
    places, depth = project(np.array([[[0, 1.0, 0], [1, 2, 0], [1, 2, -2]]]), np.array([[0, 1.0, 4]]), zero, zero, zero + 2)
    assert places[0].tolist() == [[WIDTH / 2, HEIGHT / 2], [WIDTH / 2 + HEIGHT / 2, 0], [WIDTH / 2 + HEIGHT / 3, HEIGHT / 6]]
    assert depth[0].tolist() == [4, 4, 6]


def test_a_motion_is_the_same_at_every_frame_rate() -> None:
    for name in SHOTS:
        at_60 = film(name, 3, 60, 2).places
        assert np.allclose(film(name, 3, 12, 2).places, at_60[::5], atol=1e-6), name
        assert np.array_equal(film(name, 3, 60, 2).places, at_60)


def test_the_halves_share_no_seed_and_the_shots_show_what_they_say() -> None:
    assert not set(TUNING) & set(REPORTING)
    seen = {shot.name: shot for shot in shots(REPORTING)}
    assert seen.keys() - {shot.name for shot in shots(TUNING, seconds=0.5)} == set(REPORTING_ONLY)
    body = {name: shot.visible[:, 0, :18] for name, shot in seen.items()}
    assert not body["half body"][:, (10, 13)].any() and body["half body"][:, 1].all()
    assert not body["close-up"][:, 8:14].any()
    gone = ~body["walk out and back"].any(-1)
    assert 0.3 < gone.mean() < 0.9 and not gone[0] and not gone[-1]
    for name in ("to the camera", "zoom to upper body"):
        assert body[name][:20, 10].all() and body[name][-12:, 10].mean() < 0.2  # a step lifts it
    side = np.sign(seen["spin"].places[:, 0, 5, 0] - seen["spin"].places[:, 0, 2, 0])
    assert (side > 0).any() and (side < 0).any() and not body["spin"][side < 0, 0].all()
    apart = np.diff(seen["crossing"].places[:, :, 1, 0], axis=1)
    assert apart[0] * apart[-1] < 0
    child, chibi = (KINDS[kind] for kind in ("child", "chibi"))
    assert chibi.neck / chibi.height > 1.5 * child.neck / child.height


def test_the_detector_errs_as_much_as_it_says() -> None:
    shot = film("stand", 2, 24, 20)
    assert np.array_equal(detect(shot, 0, PERFECT).clip.points[..., :2], shot.truth.points[..., :2])
    found = detect(shot, 0, Detector(1, 0, 0, 0, 0, 0, 0.35, 0, 0, 0)).clip
    errors = (found.points[:, 0, :, :2] - shot.places[:, 0]) / shot.heights[:, :1, None]
    expected = JITTER * (1 + shot.far[:, 0].mean(0))
    assert np.allclose(errors.std(axis=(0, 2)), expected, rtol=0.15)
    swapped = detect(shot, 1, Detector(0, 0, 0, 0, 0, 0, 0.35, 0.2, 0.1, 0))
    assert 0 < swapped.swapped.mean() < 0.7
    for k, (right, left) in enumerate(SIDES.values()):
        frames = swapped.swapped[:, 0, k]
        assert np.array_equal(swapped.clip.points[frames][:, 0, right, :2], shot.truth.points[frames][:, 0, left, :2])
        assert np.array_equal(swapped.clip.points[~frames][:, 0, right, :2], shot.truth.points[~frames][:, 0, right, :2])
    lost = detect(shot, 2, Detector(0, 0, 0.3, 0.2, 0, 0, 0.35, 0, 0, 0)).clip
    assert 0.02 < 1 - lost.scores[:, 0, :18].astype(bool).mean() < 0.3
    assert not lost.present.all()
    twins = detect(shot, 3, Detector(duplicates=0.05))
    assert 0.01 < twins.clip.present[:, 1].mean() < 0.12
    half = film("half body", 2, 24, 20)
    false = detect(half, 4, Detector(0, 0, 0, 0, 0, 0.03, 0.35, 0, 0, 0))
    assert 0.01 < false.false[:, 0, 10].mean() < 0.05
    assert np.allclose(false.clip.scores[:, 0, 10][false.false[:, 0, 10]], 0.35)


def test_rows_say_where_each_person_stands() -> None:
    shot = film("crossing", 4, 24, 4)
    found = detect(shot, 0, Detector(1, 0, 0, 0, 0, 0, 0.35, 0, 0, 0.1))
    assert found.clip.points.shape[1] == 4
    for person in range(2):
        here = np.flatnonzero(found.row[:, person] >= 0)
        points = found.clip.points[here, found.row[here, person], 1]
        seen = points[:, 2] > 0
        assert np.abs(points[seen, :2] - shot.places[here[seen], person, 1]).max() < 40
