"""Faces on which landmarks hold, and those that are left as they are: drawn ones and animals'."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from services.facefusion.face import Face
from services.facefusion.face_selector import EntryCriteria, FaceSelector, SelectionCriteria
from services.facefusion.order_and_filters import Filters
from services.facefusion.steadiness import EVERY, MOST, SURE, unsteadiness
from services.facefusion.track import Tracker
from shared.arrays import Image
from shared.errors import JobFailed
from tests.services.facefusion.test_pipeline import write_video
from tests.support.faces import difference, frames_of, man, model, portrait, read, run, save, woman

ANIMALS = (9, 15, 18, 24, 27, 36)  # frames of the clip in which the detector takes an animal for a face


@cache
def animals() -> list[Image]:
    frames = frames_of("clip-bigbuckbunny", count=max(ANIMALS) + 1)
    return [frames[index] for index in ANIMALS]


def beside_an_animal() -> Image:
    """The man on the left, an animal of the clip on the right: (360, 960, 3)."""
    small = cv2.resize(animals()[2][60:420, 200:680], (480, 360), interpolation=cv2.INTER_AREA)
    return np.hstack([man()[:, 40:520], np.asarray(small, np.uint8)])


def seen(image: Image) -> tuple[Image, Face]:
    return image, max(model().detect(image), key=lambda face: face.area)


def as_seen(image: Image, how: str) -> Image:
    """A picture under a condition that makes faces hard to see."""
    match how:
        case "dark":
            return (image * 0.12).astype(np.uint8)
        case "grey":
            return np.dstack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)] * 3)
        case "soft":
            side = float(seen(image)[1].size.max())
            return np.asarray(cv2.GaussianBlur(image, (0, 0), side * 0.03), np.uint8)
        case "grainy":
            noise = np.random.default_rng(0).normal(0, 25, image.shape)
            return np.clip(image + noise, 0, 255).astype(np.uint8)
        case "small":
            scale = 24 / float(seen(image)[1].size.max())
            return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    return image


@pytest.mark.parametrize("how", ["as it is", "dark", "grey", "soft", "grainy", "small"])
def test_on_people_landmarks_hold_also_where_they_are_hard_to_see(how: str) -> None:
    behind_a_hand = frames_of("clip-woman-hands", count=1, start=96)[0]
    for picture in (man(), woman(), behind_a_hand):
        image, face = seen(as_seen(picture, how))
        assert model().holds(image, face)
        assert unsteadiness(image, face, model().landmarks) < 0.8 * MOST  # also if the detector were not sure


def test_on_a_head_that_turns_in_a_small_film_they_hold() -> None:
    for frame in frames_of("clip-carphone", count=101)[::20]:
        image, face = seen(frame)
        assert unsteadiness(image, face, model().landmarks) < 0.8 * MOST


def test_on_animals_they_do_not_although_the_network_is_sure_of_some() -> None:
    presences = []
    for picture in animals():
        image, face = seen(picture)
        assert face.score < SURE - 0.02
        assert not model().holds(image, face)
        assert unsteadiness(image, face, model().landmarks) > 1.15 * MOST
        presences.append(model().landmarks(image, np.array([*face.centre, face.size.max() * 1.5, 0], np.float32))[1])
    assert max(presences) > 0.9  # its own score would not do


def test_a_film_of_animals_ends_with_a_sentence(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.mp4", animals()[1:5])
    for programe in (0, 1):
        for mode in ("reference", "many"):
            with pytest.raises(JobFailed, match="target_file shows no face on which eyes, nose and mouth"):
                run(tmp_path / "out", portrait(tmp_path), film, programe=programe, face_selector_mode=mode)


def test_a_picture_of_an_animal_ends_with_a_sentence(tmp_path: Path) -> None:
    target = save(tmp_path / "animal.png", animals()[3])
    with pytest.raises(JobFailed, match="animals'"):
        run(tmp_path / "out", portrait(tmp_path), target, programe=1, face_selector_mode="many")


def test_nobody_gets_the_face_of_an_animal(tmp_path: Path) -> None:
    target = save(tmp_path / "man.png", man())
    for source in (
        save(tmp_path / "animal.png", animals()[3]),
        write_video(tmp_path / "animals.mp4", animals()[1:4]),
    ):
        with pytest.raises(JobFailed, match="source_file shows no face on which"):
            run(tmp_path / "out", source, target, programe=1)


def test_of_a_picture_with_both_the_person_is_the_source(tmp_path: Path) -> None:
    target = save(tmp_path / "woman.png", woman())
    both, alone = (
        save(tmp_path / f"{name}.png", image) for name, image in (("both", beside_an_animal()), ("man", man()))
    )
    pictures = []
    for name, source in (("both", both), ("alone", alone)):
        result, _ = run(tmp_path / name, source, target, programe=1)
        pictures.append(read(tmp_path / name / result.video).astype(np.float32))
    assert np.abs(pictures[0] - pictures[1]).mean() < 1


def test_beside_an_animal_only_the_person_is_changed(tmp_path: Path) -> None:
    picture = beside_an_animal()
    target = save(tmp_path / "both.png", picture)
    source = save(tmp_path / "woman.png", woman())
    assert len(model().detect(picture)) == 2

    result, job = run(tmp_path / "out", source, target, programe=1, face_selector_mode="many")

    changed = difference(read(tmp_path / "out" / result.video), picture)
    assert changed[:, :480].max() > 20
    assert changed[:, 480:].max() == 0
    assert {track["reason"] for track in job.details["match"]["tracks"]} == {"matched", "landmarks do not hold"}

    _, job = run(tmp_path / "preview", source, target)
    assert [face["position"] for face in job.details["faces"]] == [0]  # nobody can choose the animal


def test_a_face_that_was_doubtful_is_looked_at_again() -> None:
    """As that of somebody who comes out from behind a hand: it is swapped from the next look on, and stays so."""
    looks: list[bool] = []

    def holds(_image: Image, _face: Face) -> bool:
        looks.append(len(looks) >= 2)
        return looks[-1]

    criteria = SelectionCriteria("many", "left-right", (EntryCriteria(Filters()),))
    selector, tracker = FaceSelector(criteria, replace(model(), holds=holds)), Tracker(model().detect)
    chosen = [bool(selector(man(), tracker(man(), index), index)) for index in range(2 * EVERY + 3)]
    assert chosen == [False] * 2 * EVERY + [True] * 3
    assert looks == [False, False, True]
    assert not selector.only_unsteady
