"""Every dialect of keypoints against one figure whose points are written out here by name; poses on disk; what is no pose.

The samples in data/pose hold that figure in the shapes in which each program writes it: the order of the points is the one of its
documentation, not of this pack's code.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from animate_core.pose import files
from animate_core.pose.files import list_poses, load_pose, save_openpose, save_pose
from animate_core.pose.keypoints import BODY, FACE, FEET, LEFT_HAND, NUM_POINTS, RIGHT_HAND, PoseClip, PoseError
from animate_core.pose.openpose import read_pose, write_pose
from animate_core.pose.posedata import write_posedata

Array = np.ndarray

SAMPLES = Path(__file__).parent / "data" / "pose"
WIDTH, HEIGHT = 400, 600
FIGURE = [  # OpenPose's 18 in their order: x, y, score
    ("nose", 200, 100, 0.95), ("neck", 200, 150, 0.93), ("r_shoulder", 160, 150, 0.91), ("r_elbow", 140, 210, 0.89),
    ("r_wrist", 130, 270, 0.87), ("l_shoulder", 240, 150, 0.85), ("l_elbow", 260, 210, 0.83), ("l_wrist", 270, 270, 0.81),
    ("r_hip", 180, 290, 0.79), ("r_knee", 175, 390, 0.77), ("r_ankle", 170, 490, 0.75), ("l_hip", 220, 290, 0.73),
    ("l_knee", 225, 390, 0.71), ("l_ankle", 230, 490, 0.69), ("r_eye", 192, 92, 0.67), ("l_eye", 208, 92, 0.65),
    ("r_ear", 184, 96, 0.63), ("l_ear", 216, 96, 0.61),
]
TOES = [("l_big_toe", 235, 510, 0.5), ("l_small_toe", 245, 508, 0.5), ("l_heel", 228, 500, 0.5), ("r_big_toe", 165, 510, 0.5),
        ("r_small_toe", 155, 508, 0.5), ("r_heel", 172, 500, 0.5)]
INDEX = {name: index for index, (name, *_) in enumerate(FIGURE + TOES)}


def figure(feet: bool = True, face: bool = True, hands: bool = True, body_score: float | None = None) -> Array:
    """The figure of the samples in the clip's order `[134, 3]`; parts may be missing."""
    points = np.zeros((NUM_POINTS, 3))
    points[BODY] = [numbers for _, *numbers in FIGURE]
    if feet:
        points[FEET] = [numbers for _, *numbers in TOES]
    if face:
        points[FACE] = [(180 + i / 2, 90 + i / 4, 0.8) for i in range(68)]
    if hands:
        points[LEFT_HAND] = [(270 + i, 270 + 2 * i, 0.6) for i in range(21)]
        points[RIGHT_HAND] = [(130 - i, 270 + 2 * i, 0.4) for i in range(21)]
    if body_score is not None:
        points[:, 2] = np.where(points[:, 2] > 0, body_score, 0)
    return points.astype(np.float32)


def sample(name: str) -> Any:
    return json.loads((SAMPLES / name).read_text(encoding="utf-8"))


def frame(*people: Any, width: int = WIDTH, height: int = HEIGHT) -> dict[str, Any]:
    return {"people": list(people), "canvas_width": width, "canvas_height": height}


def body(points: Array) -> dict[str, Any]:
    return {"pose_keypoints_2d": points.ravel().tolist()}


def clip(frames: int = 3, people: int = 1, seed: int = 0) -> PoseClip:
    """Of random points, some missing."""
    draw = np.random.default_rng(seed)
    points = draw.uniform(20, 380, (frames, people, NUM_POINTS, 3)).astype(np.float32)
    points[..., 2] = draw.uniform(0.05, 1, points.shape[:3]) * (draw.random(points.shape[:3]) > 0.2)
    return PoseClip(points, WIDTH, HEIGHT)


def same(points: Array, expected: Array, within: float = 1e-3) -> None:
    np.testing.assert_allclose(points, expected, rtol=0, atol=within)


# Dialects


def test_controlnet_aux() -> None:
    read = read_pose(sample("aux_dwpose.json"))
    assert (read.points.shape, read.width, read.height) == ((3, 1, NUM_POINTS, 3), WIDTH, HEIGHT)
    expected = figure(feet=False, body_score=1.0)
    expected[[INDEX["r_ankle"]]], expected[RIGHT_HAND] = 0, 0
    same(read.points[0, 0], expected)
    assert read.present[:, 0].tolist() == [True, False, True]
    expected[FACE], expected[LEFT_HAND] = 0, 0
    same(read.points[2, 0], expected)


def test_the_hosts_own_keeps_its_scores_and_gets_its_hands_exchanged() -> None:
    same(read_pose(sample("host_sdpose.json")).points[0, 0], figure())


def test_fractions_of_the_canvas_nested_and_beyond_its_edge() -> None:
    expected = figure(feet=False, face=False, hands=False)
    expected[[INDEX["r_ankle"], INDEX["l_ankle"]], 1] = 667.86
    same(read_pose(sample("editor_fractions.json")).points[0, 0], expected)


def test_a_body_in_fractions_and_hands_in_pixels() -> None:
    same(read_pose(sample("editor_mixed.json")).points[0, 0], figure(feet=False))


def test_an_openpose_sequence() -> None:
    read, fps = load_pose(SAMPLES / "openpose", (WIDTH, HEIGHT))
    assert fps is None and read.present[:, 0].tolist() == [True, False, True]
    same(read.points[0, 0], figure())
    same(read.points[2, 0], figure(face=False, hands=False))


def test_one_openpose_file() -> None:
    read, _ = load_pose(SAMPLES / "openpose" / "walk_000000000000_keypoints.json", (WIDTH, HEIGHT))
    same(read.points[0, 0], figure())


def test_wholebody_gets_a_neck() -> None:
    expected = figure()
    expected[INDEX["neck"]] = 200, 150, 1  # midway between the shoulders; its score is 1 (docs/method.md H.3)
    same(read_pose(sample("mmpose_wholebody.json"), size=(WIDTH, HEIGHT)).points[0, 0], expected)


def test_wholebody_in_one_list_of_a_person() -> None:
    """133 triples under OpenPose's key, flat and nested, and this pack's 134."""
    instance = sample("mmpose_wholebody.json")["instance_info"][0]["instances"][0]
    triples = [[*place, score] for place, score in zip(instance["keypoints"], instance["keypoint_scores"], strict=True)]
    expected = figure()
    expected[INDEX["neck"], 2] = 1
    for value in (triples, [number for point in triples for number in point]):
        same(read_pose([frame({"pose_keypoints_2d": value})]).points[0, 0], expected)
    same(read_pose([frame(body(figure()))]).points[0, 0], figure())


def test_coco_annotations() -> None:
    read = read_pose(sample("coco_annotation.json")).points[0, 0]
    expected = figure(feet=False, face=False, body_score=1.0)
    expected[[INDEX["l_wrist"]]], expected[LEFT_HAND], expected[RIGHT_HAND, 2] = 0, 0, 0.4
    same(read, expected)


def test_animals_are_refused() -> None:
    with pytest.raises(PoseError, match="frame 0: .*animals"):
        read_pose(sample("aux_animals.json"))


def meta(points: Array, face: int, drawn: bool = True) -> Any:
    """One of WanAnimate's poses, with the toes and the face that its two ways of making them give."""
    toes = [(240, 509, 0.5), (160, 509, 0.5)]
    parts = {"body": np.concatenate([points[BODY], toes]), "lhand": points[LEFT_HAND], "rhand": points[RIGHT_HAND],
             "face": np.concatenate([[(172, 500, 0.5)], points[FACE]]) if face == 69 else np.concatenate([points[FACE], points[14:16]])}
    if drawn:
        fields = {f"kps_{name}": part[:, :2] for name, part in parts.items()}
        fields |= {f"kps_{name}_p": part[:, 2] for name, part in parts.items()}
        return SimpleNamespace(image_id="", width=WIDTH, height=HEIGHT, **fields)
    names = {"body": "keypoints_body", "lhand": "keypoints_left_hand", "rhand": "keypoints_right_hand", "face": "keypoints_face"}
    return {"width": WIDTH, "height": HEIGHT, **{names[name]: part / (WIDTH, HEIGHT, 1) for name, part in parts.items()}}


@pytest.mark.parametrize(("drawn", "face"), [(True, 69), (True, 70), (False, 69)])
def test_posedata(drawn: bool, face: int) -> None:
    metas = [meta(figure(), face, drawn)] * 2
    others = {"pose_metas": metas, "pose_metas_original": [meta(figure(), 69, False)] * 2} if drawn else {"pose_metas_original": metas}
    read = read_pose({"retarget_image": None, "refer_pose_meta": None, **others})
    expected = figure(feet=False)
    expected[INDEX["l_big_toe"]], expected[INDEX["r_big_toe"]] = (240, 509, 0.5), (160, 509, 0.5)
    if face == 69:
        expected[INDEX["r_heel"]] = 172, 500, 0.5
    assert len(read) == 2
    same(read.points[1, 0], expected)


def test_posedata_is_written_as_its_nodes_read_it() -> None:
    whole = PoseClip(figure()[None, None], WIDTH, HEIGHT)
    data = write_posedata(whole)
    assert data.keys() == {"retarget_image", "pose_metas", "refer_pose_meta", "pose_metas_original"}
    drawn, original = data["pose_metas"][0], data["pose_metas_original"][0]
    # the arithmetic of DrawViTPose
    joined = np.concatenate([drawn.kps_body, drawn.kps_body_p[:, None]], axis=1)
    same(joined, np.concatenate([figure()[BODY], [(240, 509, 0.5), (160, 509, 0.5)]]))
    assert (drawn.width, drawn.height, drawn.kps_lhand.shape, drawn.kps_rhand_p.shape) == (WIDTH, HEIGHT, (21, 2), (21,))
    same(original["keypoints_body"][INDEX["l_wrist"]], np.array([270 / WIDTH, 270 / HEIGHT, 0.81]))
    same(original["keypoints_face"][0], np.array([172 / WIDTH, 500 / HEIGHT, 0.5]))
    with pytest.raises(PoseError, match="person 1"):
        write_posedata(whole, 1)


def test_posedata_and_back_loses_nothing() -> None:
    whole = clip(6, seed=3)
    read = read_pose(write_posedata(whole))
    same(read.points, whole.points, 0)
    original = {"pose_metas_original": write_posedata(whole)["pose_metas_original"]}
    same(read_pose(original).points, whole.points)


@pytest.mark.parametrize("face", [69, 70])
def test_other_nodes_posedata_keeps_its_feet(face: int) -> None:
    """WanAnimate's own: a point for each foot's toes, of which the big toe alone stands in the clip, and a heel before the face."""
    theirs = meta(figure(), face)
    theirs.kps_body_p[18:] = 0.68, 0.43
    ours = write_posedata(read_pose({"pose_metas": [theirs]}))["pose_metas"][0]
    same(ours.kps_body, theirs.kps_body)
    same(ours.kps_body_p, theirs.kps_body_p)
    if face == 69:
        same(ours.kps_face, theirs.kps_face)
        same(ours.kps_face_p, theirs.kps_face_p)


def test_posedata_that_another_node_moved_has_its_feet_where_the_toes_are() -> None:
    data = write_posedata(PoseClip(figure()[None, None], WIDTH, HEIGHT))
    for name in ("body", "face", "lhand", "rhand"):  # as WanAnimate's own crop does
        getattr(data["pose_metas"][0], f"kps_{name}")[:, 0] -= 40
    read = read_pose(data).points[0, 0]
    same(read[[INDEX["l_big_toe"], INDEX["r_big_toe"], INDEX["r_heel"]], 0], np.array([200, 120, 132]))
    assert not read[[INDEX["l_small_toe"], INDEX["l_heel"]]].any()


# Shapes and values


def test_a_clip_comes_back_as_it_is() -> None:
    whole = clip()
    assert read_pose(whole) is whole


@pytest.mark.parametrize("value", [
    frame(body(figure())), [frame(body(figure()))], [[frame(body(figure()))]], ({"frames": [frame(body(figure()))]}),
    [{"people": [body(figure())]}, frame()],
])
def test_frames_in_lists_in_dicts(value: Any) -> None:
    same(read_pose(value).points[0, 0], figure())


@pytest.mark.parametrize("make", [
    lambda points: points.tolist(), lambda points: points, torch.from_numpy, lambda points: [tuple(point) for point in points.tolist()],
    lambda points: [np.float32(number) for number in points.ravel()], lambda points: [torch.tensor(number) for number in points.ravel()],
    lambda points: points[None],
])
def test_numbers_of_any_library(make: Any) -> None:
    person = {"pose_keypoints_2d": make(figure()[BODY])}
    read = read_pose([{"people": [person], "canvas_width": np.int64(WIDTH), "canvas_height": torch.tensor(float(HEIGHT))}])
    same(read.points[0, 0, BODY], figure()[BODY])
    assert (type(read.width), read.width, read.height) == (int, WIDTH, HEIGHT)


def test_missing_points_in_every_guise() -> None:
    expected = figure()[BODY].copy()
    expected[:7] = 0
    points: list[Any] = figure()[BODY].tolist()
    points[:7] = [[50, 60, 0], [50, 60, -1], [0, 0, 1], [-1, -1, 0.9], [None, None, None], [float("nan"), 4, 1], [float("inf"), 4, 1]]
    same(read_pose([frame({"pose_keypoints_2d": points})]).points[0, 0, BODY], expected)
    points[4] = None
    same(read_pose([frame({"pose_keypoints_2d": points})]).points[0, 0, BODY], expected)


def test_points_off_the_canvas_keep_their_place() -> None:
    points = figure()[BODY].copy()
    points[4, :2] = -30, 650
    same(read_pose([frame(body(points))]).points[0, 0, BODY], points)


def test_nobody_is_a_frame_too() -> None:
    read = read_pose([None, frame(), {"people": None}, frame(None, {}, body(figure()[BODY]))])
    assert read.points.shape == (4, 3, NUM_POINTS, 3)
    assert read.present.tolist() == [[False] * 3] * 3 + [[False, False, True]]
    assert not read_pose([frame(), {**frame(), "animals": []}]).present.any()


def test_pixels_are_told_from_fractions_for_the_whole_clip() -> None:
    """A figure that comes out of the corner, and a hand that was seen in the corner only, are not fractions."""
    away, corner = figure(hands=False), figure(hands=False)
    corner[:, :2] = corner[:, :2] / 400
    away[LEFT_HAND], corner[LEFT_HAND] = (1.5, 1.5, 0.9), (1.2, 1.7, 0.9)
    read = read_pose([frame(body(corner)), frame(body(away))])
    same(read.points[:, 0], np.stack([corner, away]), 1e-6)
    assert read_pose([frame(body(corner))]).points[0, 0, :18, 1].max() > 600, "alone it can only be fractions"


def test_an_outlier_does_not_make_fractions_pixels() -> None:
    points = figure()[BODY] / (WIDTH, HEIGHT, 1)
    points[4, 0] = 3.0
    assert read_pose([frame(body(points))]).points[0, 0, 4, 0] == 1200


def test_crossed_arms_stay_crossed() -> None:
    """Hands are exchanged where they are named wrongly, not where the wrists are on the other side."""
    points = figure()
    points[[4, 7]] = points[[7, 4]]
    crossed = points.copy()
    crossed[LEFT_HAND], crossed[RIGHT_HAND] = points[RIGHT_HAND], points[LEFT_HAND]
    same(read_pose([frame(body(crossed))]).points[0, 0], crossed)


# Writing


def test_what_is_written_comes_back() -> None:
    for people in (1, 3):
        whole = clip(5, people)
        points = whole.points.copy()
        points[1], points[2, 0] = 0, 0
        whole = whole.of(points)
        assert np.array_equal(read_pose(write_pose(whole)).points, whole.points)


def test_what_is_written_has_the_lengths_that_readers_take() -> None:
    frames = write_pose(PoseClip(figure()[None, None], WIDTH, HEIGHT), binary=False)
    person = frames[0]["people"][0]
    assert {key: len(part) // 3 for key, part in person.items()} == {
        "pose_keypoints_2d": 18, "face_keypoints_2d": 70, "hand_left_keypoints_2d": 21, "hand_right_keypoints_2d": 21,
        "foot_keypoints_2d": 6}
    assert (frames[0]["canvas_width"], frames[0]["canvas_height"]) == (WIDTH, HEIGHT)
    same(np.array(person["face_keypoints_2d"][-6:]), np.array([192, 92, 0.67, 208, 92, 0.65]))
    assert person["hand_left_keypoints_2d"][:3] == [270.0, 270.0, pytest.approx(0.6)]
    alone = write_pose(PoseClip(figure(False, False, False)[None, None], WIDTH, HEIGHT))[0]["people"][0]
    assert "foot_keypoints_2d" not in alone and alone["face_keypoints_2d"] == [0.0] * 210
    assert all(type(number) is float for part in person.values() for number in part)
    json.dumps(frames)


def test_entries_are_the_clips_rows() -> None:
    points = np.zeros((3, 3, NUM_POINTS, 3), np.float32)
    points[0, 1] = points[2, 0] = figure()
    frames = write_pose(PoseClip(points, WIDTH, HEIGHT))
    assert [len(frame["people"]) for frame in frames] == [2, 0, 1]
    assert not any(frames[0]["people"][0]["pose_keypoints_2d"])


def low_scores() -> PoseClip:
    """Two people, some of whose points have a score of 0.3 or less; the second is hardly seen in frame 1."""
    whole = np.stack([figure(), figure() + (60, 20, 0)])[None].repeat(2, 0)
    whole[:, :, [INDEX["l_ear"], INDEX["r_ear"]], 2] = 0.3, 0.31
    whole[1, 1, :, 2] *= 0.3
    return PoseClip(whole, WIDTH, HEIGHT)


def controlnet_aux_sees(person: dict[str, Any]) -> list[int]:
    """How many points of each part controlnet_aux's decode_json_as_poses takes: what has a score below 1 is None to it."""
    assert all(len(part) % 3 == 0 for part in person.values())
    return [sum(score >= 1.0 for score in part[2::3]) for part in person.values()]


def test_scores_are_0_and_1_unless_others_are_wanted() -> None:
    frames = json.loads(json.dumps(write_pose(low_scores())))
    person = frames[0]["people"][0]
    assert person["pose_keypoints_2d"][-6:] == [184.0, 96.0, 1.0, 0.0, 0.0, 0.0]
    assert {score for part in person.values() for score in part[2::3]} == {0.0, 1.0}
    assert controlnet_aux_sees(person) == [17, 70, 21, 21, 6]
    assert [len(frame["people"]) for frame in frames] == [2, 1], "whoever has no point above 0.3 is not there"
    graded = write_pose(low_scores(), binary=False)
    assert graded[0]["people"][0]["pose_keypoints_2d"][2::3] == [pytest.approx(score) for *_, score in FIGURE[:16]] + [
        pytest.approx(0.31), pytest.approx(0.3)]
    assert controlnet_aux_sees(graded[0]["people"][0]) == [0] * 5
    assert graded[0].keys() == {"people", "canvas_width", "canvas_height"}


def test_scores_of_0_and_1_lose_nothing_on_the_way_to_another_node_of_ours() -> None:
    frames = write_pose(low_scores())
    for given in (frames, json.loads(json.dumps(frames))):
        assert np.array_equal(read_pose(given).points, low_scores().points)


def test_what_another_node_changed_counts_as_that_node_has_it() -> None:
    """A point that was moved, hidden or added, another person, and a whole clip that was scaled."""
    frames = write_pose(low_scores())
    body = frames[0]["people"][0]["pose_keypoints_2d"]
    body[:3], body[3:6], body[-3:] = [210.0, 100.0, 1.0], [0.0, 0.0, 0.0], [220.0, 96.0, 1.0]
    points = read_pose(frames).points
    expected = low_scores().points.copy()
    expected[0, 0, [0, 1, 17]] = (210, 100, 1), (0, 0, 0), (220, 96, 1)
    same(points, expected)

    frames = write_pose(low_scores())
    frames[0]["people"] = frames[0]["people"][::-1]
    seen = low_scores().points[0, ::-1].copy()
    seen[..., 2] = seen[..., 2] > 0.3
    same(read_pose(frames).points[0], seen * (seen[..., 2:] > 0))

    frames = write_pose(low_scores())
    for person in (person for frame in frames for person in frame["people"]):
        for part in person.values():
            part[::3], part[1::3] = [x / 2 for x in part[::3]], [y / 2 for y in part[1::3]]
    points = read_pose(frames).points
    assert set(np.unique(points[..., 2])) == {0, 1}
    same(points[0, 0, 0], np.array([100, 50, 1]))
    assert not points[0, 0, INDEX["l_ear"]].any(), "what was hidden does not stand where the person was"


# What is no pose

HOLDS_ITSELF: list[Any] = []
HOLDS_ITSELF += [HOLDS_ITSELF, HOLDS_ITSELF]


@pytest.mark.parametrize(("value", "words"), [
    (None, "got None"), (3, r"an int \(3\)"), ("walk", "str.*walk"), ([], "no frames"), ([[]], "no frames"), ([3], "an int"),
    ({}, "an empty dict"),
    (np.zeros((4, 64, 64, 3)), "ndarray of shape"), ([[[[[[frame()]]]]]], "list"),
    ([{"poses": []}], "frame 0: .*a dict with the keys 'poses'"),
    ([frame(), {"people": 3, "canvas_width": 4}], "frame 1: people must be a list.*an int"),
    ([frame(body(figure()), 7)], "frame 0, person 1: .*an int"),
    ([frame({"body": [1, 2, 3]})], "person 0: .*a dict with the keys 'body'"),
    ([frame({"pose_keypoints_2d": [1.0, 2.0, 3.0]})], "person 0, pose_keypoints_2d: 3 numbers .*18 or 25"),
    ([frame({"face_keypoints_2d": [1.0] * 63})], "face_keypoints_2d: 63 numbers .*68 or 70"),
    ([frame({"hand_left_keypoints_2d": [["a", 2, 3]] * 21})], "hand_left_keypoints_2d: .*more than numbers"),
    ([frame({"pose_keypoints_2d": HOLDS_ITSELF})], "pose_keypoints_2d: .*a list of 2"),
    ([frame({"pose_keypoints_2d": "12"})], "pose_keypoints_2d: .*a str"),
    ([frame({"pose_keypoints_2d": [[1, 2], [1, 2, 3]] * 9})], "unequal length"),
    ([frame({"keypoints": [[5.0, 5.0]] * 17, "keypoint_scores": [1.0] * 5})], "5 scores for 17 points"),
    ([frame({"pose_keypoints_2d": [1e9, 5, 1] * 18})], "frame 0, person 0, point 0.*not a valid position"),
    ([frame({"pose_keypoints_2d": [10**400, 5, 1] * 18})], "pose_keypoints_2d"),
    ([{"people": [], "canvas_width": "wide", "canvas_height": 5}], "canvas_width .*a str"),
    ([{"people": [], "canvas_width": -5, "canvas_height": 5}], "canvas_width .*an int"),
    ([{"people": []}], "no frame contains its canvas size.*Load Pose and set its width and height"),
    ([frame(), frame(), frame(width=640)], "400x600 in frame 0, 1; 640x600 in frame 2.*resize"),
    ([frame(body(figure()[BODY])), frame(body(figure()[:17]))],
     "frame 1, person 0, pose_keypoints_2d: a body of 17 points.*others have 18 .frame 0, person 0.*missing point"),
    ([frame(body(figure()[:17]), body(figure()[:25]))], "person 0, pose_keypoints_2d: a body of 17 points.*others have 25"),
    ({"pose_metas": []}, "POSEDATA contains no frames"),
    ({"pose_metas": [3]}, "pose_metas, frame 0: .*an int"),
    ({"pose_metas_original": [{"keypoints_body": [[0.1, 0.1, 1]] * 20}]}, "frame 0: keypoints_body are fractions"),
    ({"pose_metas": [{"kps_body": np.zeros((7, 2)), "width": 5, "height": 5}]}, "kps_body: 7x2 numbers"),
])
def test_no_pose(value: Any, words: str) -> None:
    with pytest.raises(PoseError, match=f"(?s)^driver: .*{words}"):
        read_pose(value, "driver")


def test_a_size_is_for_frames_that_state_none() -> None:
    with pytest.raises(PoseError, match="400x600, but 10x10 was set: set width and height of Load Pose to 0"):
        read_pose([frame()], size=(10, 10))
    assert read_pose([frame()], size=(WIDTH, HEIGHT)).width == WIDTH


def test_too_many_people() -> None:
    with pytest.raises(PoseError, match="2 frames with 600000 people"):
        read_pose([frame(), frame(*[None] * 600_000)])


# Files


def test_one_file_and_back(tmp_path: Path) -> None:
    whole = clip(6, 2)
    whole = whole.of(np.where(np.arange(6)[:, None, None, None] == 2, 0, whole.points))
    save_pose(whole, tmp_path / "a.json", fps=29.97)
    save_pose(whole, tmp_path / "b.json", fps=29.97)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    read, fps = load_pose(tmp_path / "a.json")
    assert fps == 29.97 and (read.width, read.height) == (WIDTH, HEIGHT)
    same(read.points, whole.points, 0.00051)
    assert np.array_equal(read.scores > 0, whole.scores > 0)
    header = json.loads((tmp_path / "a.json").read_text())
    assert header["format"] == "marionette-pose" and header["version"] == 1 and len(header["frames"]) == 6
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.json", "b.json"]


def test_one_file_needs_no_guesses(tmp_path: Path) -> None:
    """A figure of two pixels with its hands exchanged, and a score below the last decimal, come back as they were."""
    points = figure()
    points[:, :2] = (points[:, :2] / 300).round(3)
    points[LEFT_HAND], points[RIGHT_HAND] = points[RIGHT_HAND].copy(), points[LEFT_HAND].copy()
    points[3, 2] = 1e-5
    save_pose(PoseClip(points[None, None], WIDTH, HEIGHT), tmp_path / "a.json")
    read, fps = load_pose(tmp_path / "a.json")
    assert fps is None
    same(read.points[0, 0, :, :2], points[:, :2], 1e-6)
    assert 0 < read.points[0, 0, 3, 2] <= 0.001


def test_a_sequence_is_openposes(tmp_path: Path) -> None:
    points = np.zeros((3, 1, NUM_POINTS, 3), np.float32)
    points[0, 0], points[2, 0] = figure(), figure(face=False, hands=False)
    save_openpose(PoseClip(points, WIDTH, HEIGHT), tmp_path / "out", "walk")
    theirs = sorted((SAMPLES / "openpose").iterdir())
    ours = sorted((tmp_path / "out").iterdir())
    assert [file.name for file in ours] == [file.name for file in theirs]
    for our, their in zip(ours, theirs, strict=True):
        written, known = (json.loads(file.read_text()) for file in (our, their))
        assert written["version"] == known["version"] and len(written["people"]) == len(known["people"])
        for person, other in zip(written["people"], known["people"], strict=True):
            for key in ("pose_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d", "face_keypoints_2d"):
                known_part = np.array(other[key]).reshape(-1, 3)
                known_part[8:9, 2] = np.where(len(known_part) == 25, 0.76, known_part[8:9, 2])  # the mid hip's score is ours to choose
                same(np.array(person[key]).reshape(-1, 3), known_part)
    read, _ = load_pose(tmp_path / "out")
    same(read.points, points)


def test_sequences_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (8, 9, 10, 11):
        points = figure()[BODY].copy()
        points[0, 0] = number + 50
        (tmp_path / f"v_{number}_keypoints.json").write_text(json.dumps(frame(body(points))))
    read, _ = load_pose(tmp_path)
    assert read.points[:, 0, 0, 0].tolist() == [58, 59, 60, 61]


def sequence(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / f"{name}_keypoints.json").write_text(json.dumps(frame()))
    return folder


@pytest.mark.parametrize(("names", "words"), [
    ((), "contains no file that ends in _keypoints.json"),
    (("a_1", "a_2", "a_4"), "missing after a_2_keypoints.json"),
    (("a_1", "b_2"), "more than one sequence .*a_, b_"),
    (("a_1", "a_01"), "a frame twice"),
])
def test_broken_sequences(tmp_path: Path, names: tuple[str, ...], words: str) -> None:
    with pytest.raises(PoseError, match=words):
        load_pose(sequence(tmp_path, *names))


def test_every_other_frame_is_a_sequence_too(tmp_path: Path) -> None:
    assert len(load_pose(sequence(tmp_path, "a_0", "a_2", "a_4"))[0]) == 3
    (tmp_path / "more").mkdir()
    assert len(load_pose(sequence(tmp_path / "more", "first", "second"))[0]) == 2, "names without numbers"


@pytest.mark.parametrize(("text", "words"), [
    ("", "not a JSON file"), ('[{"people": ', "damaged"), ("[" * 100_000, "not a JSON"), ("\xff\xfe", "not a JSON"),
    ("1" * 5000, "not a JSON|list of frames"),
    ('{"nodes": [], "links": []}', "frame 0: .*a dict with the keys 'nodes', 'links'"), ("[]", "no frames"), ("null", "list of frames"),
    ('{"format":"marionette-pose","version":2,"frames":[]}', "version 2.*update"),
])
def test_files_that_are_no_pose(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "dance.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(PoseError, match=f"(?s)dance.json.*({words})"):
        load_pose(tmp_path / "dance.json")


def test_large_and_absent_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PoseError, match="none.json cannot be read"):
        load_pose(tmp_path / "none.json")
    monkeypatch.setattr(files, "MAX_BYTES", 100)
    save_pose(clip(1), tmp_path / "big.json")
    with pytest.raises(PoseError, match="big.json is larger"):
        load_pose(tmp_path / "big.json")
    with pytest.raises(PoseError, match="split the sequence"):
        load_pose(sequence(tmp_path, "a_1", "a_2"))


def test_files_are_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.json").mkdir()
    (tmp_path / "a.json" / "b").touch()
    for save in (lambda: save_pose(clip(1), tmp_path / "a.json"), lambda: save_openpose(clip(1), tmp_path / "a.json", "x"),
                 lambda: save_pose(clip(1), tmp_path / "no" / "a.json")):
        with pytest.raises(PoseError, match="could not be written"):
            save()
    save_pose(clip(1), tmp_path / "kept.json")
    before = (tmp_path / "kept.json").read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PoseError, match="No space left"):
        save_pose(clip(2), tmp_path / "kept.json")
    assert (tmp_path / "kept.json").read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.json", "kept.json"]


def test_listing(tmp_path: Path) -> None:
    for name in ("walk10.json", "walk9.json", "note.txt", ".hidden.json", "deep/a/b/far.json", "deep/near.json", "deep/a/next.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    shutil.copytree(SAMPLES / "openpose", tmp_path / "deep" / "seq")
    assert list_poses(tmp_path) == ["deep/a/next.json", "deep/near.json", "deep/seq", "walk9.json", "walk10.json"]
    assert list_poses(tmp_path / "absent") == []
