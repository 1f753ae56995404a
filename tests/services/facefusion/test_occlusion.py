"""Hands and hair in front of a face."""

import cv2
import numpy as np

from services.facefusion.classic import to_lab
from services.facefusion.face import Float
from services.facefusion.landmarks import crop_of_landmarks
from services.facefusion.mesh import to_atlas
from services.facefusion.occlusion import ATLAS_SIDE, OcclusionMemory, hair, oval
from shared.arrays import Image
from tests.support.faces import frames_of, largest, model

# Where the hand is in the atlas of these frames of clip-woman-hands, drawn by eye.
HANDS = {
    80: [
        (11, 127),
        (15, 109),
        (29, 99),
        (41, 81),
        (55, 70),
        (74, 70),
        (74, 80),
        (55, 88),
        (70, 92),
        (85, 96),
        (70, 107),
    ],
    110: [
        (7, 127),
        (15, 96),
        (33, 70),
        (48, 37),
        (59, 28),
        (68, 31),
        (65, 52),
        (59, 74),
        (70, 63),
        (77, 85),
        (55, 127),
    ],
}


def atlases(name: str, indices: list[int]) -> list[Float]:
    """The faces of these frames in the atlas, followed from the first one on."""
    frames = frames_of(name, count=max(indices) + 1)
    points = largest(frames[0]).landmarks
    found = []
    for index, frame in enumerate(frames):
        points, _ = model().landmarks(frame, crop_of_landmarks(points))
        if index in indices:
            found.append(to_lab(to_atlas(frame, points, ATLAS_SIDE)))
    return found


def test_a_hand_in_front_of_the_face_is_found_and_the_face_beside_it_is_not() -> None:
    indices = list(range(112))
    memory = OcclusionMemory()
    inner = cv2.erode(oval().astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    for index, lab in zip(indices, atlases("clip-woman-hands", indices), strict=True):
        clear = memory.update(lab)
        if index in HANDS:
            drawn = np.zeros((ATLAS_SIDE, ATLAS_SIDE), np.uint8)
            cv2.fillPoly(drawn, [np.array(HANDS[index], np.int32)], 1)
            hand = (drawn > 0) & inner
            far_side = (
                inner & (np.arange(ATLAS_SIDE)[None, :] > 95) & (cv2.dilate(drawn, np.ones((15, 15), np.uint8)) == 0)
            )
            assert 1 - clear[hand].mean() > 0.8
            assert clear[far_side].mean() > 0.7


def test_a_face_that_only_speaks_and_smiles_is_not_taken_for_an_occluder() -> None:
    memory = OcclusionMemory()
    hidden = [1 - memory.update(lab)[oval()].mean() for lab in atlases("clip-single-face", list(range(72)))]

    assert np.mean(hidden) < 0.05


def test_hair_over_the_forehead_is_found_and_brows_are_not() -> None:
    (lab,) = atlases("clip-single-face", [0])
    fringed = lab.copy()
    fringed[:22] = [10, 0, 0]  # black hair down over the upper forehead

    assert hair(lab)[oval()].mean() < 0.05
    assert hair(fringed)[4:20][oval()[4:20]].mean() > 0.9
    assert hair(fringed)[60:][oval()[60:]].mean() < 0.05


def bar(image: Image) -> Image:
    covered = image.copy()
    covered[:, 300:330] = 20
    return covered


def test_a_dark_object_that_enters_is_found_at_once() -> None:
    frames = frames_of("clip-single-face", count=12)
    points = largest(frames[0]).landmarks
    memory = OcclusionMemory()
    for frame in frames[:10]:
        memory.update(to_lab(to_atlas(frame, points, ATLAS_SIDE)))
    mask = np.zeros((360, 640, 3), np.float32)
    mask[:, 300:330] = 1
    where = to_atlas(mask, points, ATLAS_SIDE)[..., 0] > 0.9

    memory.update(to_lab(to_atlas(bar(frames[10]), points, ATLAS_SIDE)))
    clear = memory.update(to_lab(to_atlas(bar(frames[11]), points, ATLAS_SIDE)))

    inner = cv2.erode(oval().astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert clear[where & inner].mean() < 0.45
