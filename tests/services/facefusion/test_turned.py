"""Faces that lie or stand on their head."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from services.facefusion.face import Face, iou
from services.facefusion.turned import EVERY, FORGOTTEN_AFTER, MARGIN, TURNS, TurnedFaces, found_at_any_angle, merged
from shared.arrays import Image
from tests.services.facefusion.test_pipeline import decode, write_video
from tests.services.facefusion.test_segments import Attempts
from tests.support.faces import frames_of, largest, man, model, save, woman


def turned(image: Image, quarters: int) -> Image:
    return np.ascontiguousarray(np.rot90(image, quarters))


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
@pytest.mark.parametrize("person", [man, woman])
def test_a_turned_face_is_found_where_it_is_with_its_points_in_its_own_order(
    person: Callable[[], Image], quarters: int
) -> None:
    upright = largest(person()).face

    (face,) = found_at_any_angle(model().detect, turned(person(), quarters))

    eyes = face.landmarks5[1] - face.landmarks5[0]
    before = upright.landmarks5[1] - upright.landmarks5[0]
    angle = np.degrees(np.arctan2(eyes[1], eyes[0]) - np.arctan2(before[1], before[0]))
    assert (angle + 90 * quarters + 180) % 360 - 180 == pytest.approx(0, abs=8)
    assert face.size[quarters % 2] == pytest.approx(upright.size[0], rel=0.1)
    assert face.score == pytest.approx(upright.score, abs=0.03)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_recognition_landmarks_and_attributes_turn_with_the_face(quarters: int) -> None:
    for person in (man(), woman()):
        face, (lying,) = largest(person).face, found_at_any_angle(model().detect, turned(person, quarters))
        image = turned(person, quarters)
        same = model().embed(person, face.landmarks5) @ model().embed(image, lying.landmarks5)
        assert same > 0.9
        assert model().attributes(image, lying.landmarks5).gender == model().attributes(person, face.landmarks5).gender
        points = model().view(image, lying).landmarks[:, :2]
        box = np.concatenate([points.min(0), points.max(0)])
        assert iou(box.astype(np.float32), lying.bbox) > 0.5


def test_upright_faces_cost_one_detection_and_none_at_all_four() -> None:
    counted = Counting()
    found_at_any_angle(counted, man())
    assert counted.calls == 1
    assert found_at_any_angle(counted, np.zeros_like(man())) == []
    assert counted.calls == 1 + 1 + len(TURNS)


def test_a_lying_face_beside_an_upright_one_is_found() -> None:
    lying = turned(woman()[:, 160:520], 1)
    both = np.hstack([man()[:, 40:520], lying])
    faces = found_at_any_angle(model().detect, both)
    angles = sorted(
        round(float(np.degrees(np.arctan2(*(face.landmarks5[1] - face.landmarks5[0])[::-1])))) for face in faces
    )
    assert angles == [pytest.approx(-90, abs=12), pytest.approx(0, abs=12)]


def test_of_one_place_the_clearly_surer_face_is_kept() -> None:
    box = np.array([0, 0, 10, 10], np.float32)
    one, surer, beside = (
        Face(box + shift, np.zeros((5, 2), np.float32), score)
        for shift, score in ((0, 0.85), (1, 0.85 + 2 * MARGIN), (50, 0.75))
    )
    assert merged([one], [surer, beside]) == [surer, beside]
    assert merged([surer], [one]) == [surer]
    kept = [one]
    assert merged(kept, [replace(surer, score=one.score + MARGIN / 2)]) is kept


# Videos


class Counting:
    """The detector, counted; it may find nothing."""

    def __init__(self, *, blind: bool = False) -> None:
        self.calls = 0
        self.blind = blind

    def __call__(self, image: Image) -> list[Face]:
        self.calls += 1
        return [] if self.blind else model().detect(image)


def test_a_film_without_faces_costs_one_detection_more_for_many_frames() -> None:
    counted, search, frames = Counting(blind=True), TurnedFaces(), 20 * EVERY
    for _ in range(frames):
        assert search(counted, man(), []) == []
    assert counted.calls <= len(TURNS) + frames / EVERY


def test_a_face_that_comes_and_goes_costs_no_more() -> None:
    counted, search, face = Counting(blind=True), TurnedFaces(), largest(man()).face
    for index in range(20 * EVERY):
        search(counted, man(), [face] if index % 2 else [replace(face, score=0.8)] if index % 4 else [])
    assert counted.calls <= len(TURNS) + 20


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_lying_face_is_found_in_the_first_frame_and_every_one_behind_it(quarters: int) -> None:
    search, image, counted = TurnedFaces(), turned(man(), quarters), Counting()
    for frame in range(4):
        (face,) = search(counted, image, model().detect(image))
        eyes = face.landmarks5[1] - face.landmarks5[0]
        assert (np.degrees(np.arctan2(eyes[1], eyes[0])) + 90 * quarters + 180) % 360 - 180 == pytest.approx(0, abs=12)
        assert counted.calls <= 2 * len(TURNS) + frame


def test_a_turn_is_forgotten_when_nothing_has_been_there_for_a_while() -> None:
    search, image = TurnedFaces(), turned(man(), 1)
    search(model().detect, image, model().detect(image))
    assert search.turn == TURNS[1]
    for _ in range(FORGOTTEN_AFTER + 1):
        assert search.turn
        search(model().detect, man(), model().detect(man()))
    assert search.turn == 0


@pytest.mark.slow
def test_a_lying_face_of_a_film_in_segments_goes_on_after_a_stop(tmp_path: Path) -> None:
    lying = [turned(frame, 1) for frame in frames_of("clip-single-face", count=24)]
    film = write_video(tmp_path / "in" / "film.mp4", lying)
    source = save(tmp_path / "in" / "woman.png", woman())
    whole = Attempts(tmp_path / "whole", source, film)
    expected = decode(whole.make())
    assert whole.details()["swapped_frames"] == 24

    killed = Attempts(tmp_path / "killed", source, film)
    killed.interrupted(40)
    assert killed.segments()
    assert all(np.array_equal(one, other) for one, other in zip(expected, decode(killed.make()), strict=True))
    assert killed.details() == whole.details()
