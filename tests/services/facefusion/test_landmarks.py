"""The 468 landmarks, and the head's pose that they give."""

import cv2
import numpy as np
import pytest

from services.facefusion.landmarks import INNER_LIPS, LEFT_EYE, crop_of_landmarks5, opening
from tests.support.faces import frames_of, largest, man, model, woman
from tests.support.head_pose import head_pose


def test_the_landmarks_agree_with_the_detectors_five() -> None:
    view = largest(man())

    eyes = view.landmarks[list(LEFT_EYE), :2].mean(0)

    assert np.linalg.norm(eyes - view.face.landmarks5[0]) < 0.1 * view.face.size[0]


def test_a_crop_without_a_face_has_a_low_presence() -> None:
    face = largest(man()).face
    empty = frames_of("clip-no-face", count=1)[0]

    assert model().landmarks(man(), crop_of_landmarks5(face.landmarks5))[1] > 0.9
    assert model().landmarks(empty, crop_of_landmarks5(face.landmarks5))[1] < 0.5


@pytest.mark.parametrize("degrees", [-30, 20, 45])
def test_a_turned_picture_turns_the_roll(degrees: int) -> None:
    image = man()
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), -degrees, 1)  # OpenCV counts counter-clockwise
    turned = np.asarray(cv2.warpAffine(image, turn, (width, height)), np.uint8)

    assert head_pose(largest(turned).landmarks).roll - head_pose(largest(image).landmarks).roll == pytest.approx(
        degrees, abs=4
    )


def test_a_mirrored_picture_mirrors_the_yaw() -> None:
    image = woman()
    mirrored = np.ascontiguousarray(image[:, ::-1])

    assert head_pose(largest(mirrored).landmarks).yaw == pytest.approx(-head_pose(largest(image).landmarks).yaw, abs=5)


def test_an_open_mouth_has_a_larger_opening_than_a_shut_one() -> None:
    laughing = frames_of("clip-woman-hands", count=1, start=340)[0]

    assert opening(largest(laughing).landmarks, INNER_LIPS) > 3 * opening(largest(man()).landmarks, INNER_LIPS)
