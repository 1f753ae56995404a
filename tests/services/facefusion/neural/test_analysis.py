"""Faces, embeddings, ages and sexes through insightface's own classes, fed by small files of their interfaces."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from services.facefusion.face import ARCFACE_112, align
from services.facefusion.neural.analysis import ArcFace, Detector, GenderAge, box_of
from tests.support import neural_files
from tests.support.faces import largest, man, model, woman

BOX = np.array([200, 120, 280, 230], np.float32)
POINTS = np.array([[220, 160], [260, 160], [240, 180], [225, 200], [255, 200]], np.float32)


@pytest.mark.parametrize("score", [0.9, 0.55])  # 0.5 is the least; YuNet's limit does not count here
@pytest.mark.parametrize(
    ("shape", "scale"), [((640, 640), 1), ((640, 1280), 2), ((360, 480), 0.75), ((1500, 900), 2.34)]
)
def test_a_face_is_found_where_it_is_in_pictures_of_any_shape(
    tmp_path: Path, score: float, shape: tuple[int, int], scale: float
) -> None:
    detect = Detector(neural_files.scrfd(tmp_path / "det_10g.onnx", BOX, POINTS, score))
    (face,) = detect(np.zeros((*shape, 3), np.uint8))
    assert face.score == pytest.approx(score)
    assert face.bbox == pytest.approx(BOX * scale, rel=0.01)
    assert face.landmarks5 == pytest.approx(POINTS * scale, rel=0.01)


def test_a_picture_without_a_face_has_none_however_thin_it_is(tmp_path: Path) -> None:
    detect = Detector(neural_files.scrfd(tmp_path / "det_10g.onnx", BOX, POINTS, 0.4))
    assert detect(np.zeros((480, 640, 3), np.uint8)) == []
    assert detect(np.zeros((1, 2000, 3), np.uint8)) == []


def test_the_networks_see_red_as_red(tmp_path: Path) -> None:
    """insightface takes OpenCV's order of channels and turns it round."""
    embed = ArcFace(neural_files.arcface(tmp_path / "w600k_r50.onnx"))
    red = np.zeros((112, 112, 3), np.uint8)
    red[..., 0] = 255
    expected = np.array([1, -1, -1], np.float32) @ neural_files.PATTERN
    assert embed.raw(red, ARCFACE_112) == pytest.approx(expected, abs=1e-3)


def test_an_embedding_has_length_one_and_the_raw_one_has_not(tmp_path: Path) -> None:
    embed = ArcFace(neural_files.arcface(tmp_path / "w600k_r50.onnx"))
    landmarks5 = largest(man()).face.landmarks5
    raw = embed.raw(man(), landmarks5)
    colour = align(man(), landmarks5).reshape(-1, 3).mean(0) / 127.5 - 1
    assert raw == pytest.approx(colour @ neural_files.PATTERN, abs=1e-2)
    assert np.linalg.norm(embed(man(), landmarks5)) == pytest.approx(1, abs=1e-5)
    assert np.linalg.norm(raw) != pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("male", "years", "gender", "age"), [(True, 34, "male", "adult"), (False, 9, "female", "child")]
)
def test_age_and_sex_are_read(tmp_path: Path, gender: str, age: str, *, male: bool, years: int) -> None:
    read = GenderAge(neural_files.genderage(tmp_path / "genderage.onnx", male=male, years=years))
    found = read(man(), largest(man()).face.landmarks5)
    assert (found.years, found.gender, found.age) == (years, gender, age)


def test_the_box_that_the_landmarks_tell_lies_around_the_detected_one() -> None:
    """The network looks at one and a half of the longer side, around the middle."""
    for picture in (man(), woman(), cv2.rotate(man(), cv2.ROTATE_90_CLOCKWISE)[:, 40:]):
        face = model().largest(np.ascontiguousarray(picture))
        if face is None:  # YuNet does not find every face that lies on its side
            continue
        estimated = box_of(face.landmarks5)
        side = estimated[2] - estimated[0]
        assert side == pytest.approx(max(face.size), rel=0.25)
        assert np.abs((estimated[:2] + estimated[2:]) / 2 - face.centre).max() < 0.2 * side
