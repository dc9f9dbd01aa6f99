"""Pictures of faces: AniPortrait's contours of MediaPipe's mesh, and the points of Moore's face reenactment (drawn by its golden cases)."""

from __future__ import annotations

import numpy as np
import pytest

from animate_core.families import FAMILIES
from animate_core.pose.face_mesh import CONTOURS, FaceClip, draw_mesh, faces_of_pose, mesh_pictures, read_face_landmarks
from animate_core.pose.keypoints import FACE, PoseClip, PoseError
from animate_core.pose.landmarks import face_pictures, landmark_pictures, tracked_points
from animate_core.pose.style import complaints, face_complaints, guidance_complaint, look_of


def face_clip(frames: int = 2, without: int | None = None) -> PoseClip:
    """A person with an oval of 68 points in 100 x 200 pixels."""
    points = np.zeros((frames, 1, 134, 3), np.float32)
    turn = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    points[:, 0, FACE] = np.stack([50 + 30 * np.cos(turn), 100 + 40 * np.sin(turn), np.ones(68)], axis=-1)
    if without is not None:
        points[without, :, FACE] = 0
    return PoseClip(points, 100, 200)


def mesh() -> np.ndarray:
    """478 points on a grid; the right eye's first line is far from all others."""
    points = np.stack([60 + 2 * (np.arange(478) % 22), 200 + 2 * (np.arange(478) // 22)], axis=-1).astype(float)
    points[33], points[7] = (10, 20), (30, 20)
    return points


def test_contours_are_the_published_ones() -> None:
    """26 lines of the oval, 16 of an eye, 8 of an eyebrow, 5 of each part of the lips; every colour is one contour's."""
    lines = {name: sum(len(chain) - 1 for chain in chains) for name, (_, chains, _) in CONTOURS.items()}
    assert (lines["oval without forehead"], lines["left eye"], lines["right eyebrow"]) == (26, 16, 8)
    assert all(count == 5 for name, count in lines.items() if "lip" in name)
    assert len({colour for colour, _, _ in CONTOURS.values()}) == len(CONTOURS) == 13


def test_a_line_is_two_pixels_wide_in_its_colour_on_a_canvas_of_512() -> None:
    """In a picture of 100 x 400, x 10 and 30 lie at 51 and 153, y 20 at 25 of 512."""
    drawn = draw_mesh(mesh(), 100, 400)
    assert drawn.shape == (512, 512, 3)
    assert drawn[25, 100].tolist() == [10, 200, 180]
    assert 2 <= drawn[15:36, 100].any(-1).sum() <= 3
    assert not drawn[25, 170].any()
    beside = mesh()
    beside[33] = (-1, 20)
    assert not draw_mesh(beside, 100, 400)[25, 100].any(), "a line with an end outside is left out"


def test_missing_points_and_faces() -> None:
    clip = faces_of_pose(face_clip(3, without=1))
    assert clip.lacking == [1] and (clip.width, clip.height) == (100, 200)
    pictures = [np.asarray(picture) for picture in mesh_pictures(clip, 64, 128, "crop")]
    assert [picture.shape for picture in pictures] == [(128, 64, 3)] * 3 and [picture.any() for picture in pictures] == [True, False, True]
    nan = np.full((68, 2), np.nan)
    assert not draw_mesh(nan, 100, 200).any() and not landmark_pictures(nan, 100, 200)[1].any()
    with pytest.raises(PoseError, match="no face in any frame"):
        faces_of_pose(face_clip(1, without=0))


def test_the_hosts_landmarks() -> None:
    faces = [{"landmarks_xy": mesh() + 1, "score": 0.2}, {"landmarks_xy": mesh(), "score": 0.9}]
    clip = read_face_landmarks({"frames": [faces, []], "image_size": (400, 100)}, "face_landmarks")
    assert isinstance(clip, FaceClip) and (clip.width, clip.height, clip.lacking) == (100, 400, [1])
    assert clip.frames[0] is not None and np.array_equal(clip.frames[0], mesh()), "the surer one"
    for wrong in (None, {}, {"frames": [faces]}, {"frames": [[{}]], "image_size": (4, 4)}, {"frames": [[{"landmarks_xy": mesh()[:68]}]],
                                                                                            "image_size": (4, 4)}):
        with pytest.raises(PoseError, match="face_landmarks: "):
            read_face_landmarks(wrong, "face_landmarks")


def test_points_of_reenactment() -> None:
    """Without the inner corners of the mouth, with pupils in the middle of the eyes."""
    face = face_clip().points[0, 0, FACE]
    points = tracked_points(face)
    assert points.shape == (68, 2) and points[59].tolist() == face[59, :2].tolist() and points[60].tolist() == face[61, :2].tolist()
    assert points[66] == pytest.approx(face[36:42, :2].mean(0))
    upper, mouth = (np.asarray(next(face_pictures(face_clip(), part, 100, 200))) for part in (0, 1))
    assert {tuple(c) for c in upper.reshape(-1, 3)} == {(0, 0, 0), (0, 255, 0), (255, 255, 0)} and not upper[110:].any()
    rows, columns = np.nonzero(mouth.any(-1))
    assert 0 < len(rows) <= 18 * 5 and not (mouth == (255, 255, 0)).all(-1).any()
    assert [not np.asarray(p).any() for p in face_pictures(face_clip(2, without=1), 0, 100, 200)] == [False, True]


def test_drawn_faces_and_skeletons_are_told_apart() -> None:
    small = face_clip()
    clip = PoseClip(small.points * (4, 4, 1), 400, 800)
    for picture in (*mesh_pictures(faces_of_pose(clip), 256, 512), *face_pictures(clip, 0, 256, 512)):
        look = look_of(np.asarray(picture)[None])
        assert look.drawn_face and not face_complaints(look)
        assert "a drawn face" in complaints(look, FAMILIES["Moore"])[0]


def test_guidance_of_the_wrong_kind() -> None:
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)
    grey = np.broadcast_to(ramp[None, :, None, None], (1, 64, 64, 3))
    coloured = np.stack([grey[..., 0], 255 - grey[..., 0], np.full_like(grey[..., 0], 128)], axis=-1)
    assert guidance_complaint("depth", grey) == "" and "depth maps are grey" in guidance_complaint("depth", coloured)
    for kind in ("normal", "semantic_map"):
        assert guidance_complaint(kind, coloured) == "" and "are grey" in guidance_complaint(kind, grey)
    assert "black" in guidance_complaint("normal", np.zeros((1, 8, 8, 3), np.uint8))
    assert "do not look like skeletons" in guidance_complaint("dwpose", coloured)
