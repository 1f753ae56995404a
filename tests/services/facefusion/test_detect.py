"""Finding and recognising faces."""

import numpy as np
import pytest

from services.facefusion.embed import cosine_distance
from services.facefusion.face import ARCFACE_112, iou, umeyama_transform
from tests.support.faces import frames_of, man, model, pair, woman


def test_every_face_of_a_picture_is_found_where_it_is() -> None:
    found = sorted(model().detect(pair()), key=lambda face: face.bbox[0])

    assert [round(float(face.centre[0]) / 480) for face in found] == [1, 2]
    assert all(face.score > 0.8 for face in found)
    for face in found:
        left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks5
        assert left_eye[0] < right_eye[0]
        assert left_mouth[0] < right_mouth[0]
        assert left_eye[1] < nose[1] < left_mouth[1]


def test_a_picture_without_a_face_has_none() -> None:
    assert model().detect(frames_of("clip-no-face", count=1)[0]) == []
    assert model().detect(np.zeros((36, 64, 3), np.uint8)) == []


@pytest.mark.parametrize("size", [(33, 47), (1, 1), (500, 20)])
def test_a_picture_of_any_size_can_be_searched(size: tuple[int, int]) -> None:
    assert model().detect(np.zeros((*size, 3), np.uint8)) == []


def test_coordinates_are_those_of_the_picture_whatever_its_size() -> None:
    image = man()
    doubled = np.kron(image, np.ones((2, 2, 1), np.uint8))

    (small,), (large,) = model().detect(image), model().detect(doubled)

    assert iou(small.bbox * 2, large.bbox) > 0.9


def test_a_person_is_near_to_herself_and_far_from_another() -> None:
    frames = [man(), frames_of("clip-single-face")[11], woman()]
    one, again, other = (model().embed(frame, face.landmarks5) for frame in frames for face in model().detect(frame))

    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-5)
    assert cosine_distance(one, again) < 0.2
    assert cosine_distance(one, other) > 0.7


def test_ages_and_sexes_of_grown_people_are_read_as_such() -> None:
    faces = sorted(model().detect(pair()), key=lambda face: face.bbox[0])
    his, hers = (model().attributes(pair(), face.landmarks5) for face in faces)

    assert (his.gender, hers.gender) == ("male", "female")
    assert {his.age, hers.age} <= {"adult"}


def test_an_alignment_is_undone_exactly() -> None:
    angle, scale, shift = 0.3, 1.7, np.array([5.0, -2.0])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = (ARCFACE_112 @ turn.T * scale + shift).astype(np.float32)

    found = umeyama_transform(moved, ARCFACE_112)

    back = moved @ found[:, :2].T + found[:, 2]
    assert np.allclose(back, ARCFACE_112, atol=1e-3)
