"""Whose face is replaced."""

import numpy as np
import pytest

from services.facefusion.attributes import Attributes
from services.facefusion.face import Face
from services.facefusion.face_selector import FaceSelector, SelectionCriteria
from services.facefusion.order_and_filters import Filters
from services.facefusion.track import REPORTED_TRACKS, Track, Tracker
from shared.arrays import Image
from tests.support.faces import largest, man, model, pair, woman


def chosen(criteria: SelectionCriteria, image: Image) -> tuple[list[str], FaceSelector, list[Track]]:
    """Which halves of a picture are chosen, in the order of choice."""
    selector = FaceSelector(criteria, model())
    tracks = Tracker(model().detect)(image, 0)
    names = ["left" if track.face.centre[0] < image.shape[1] / 2 else "right" for track in selector(image, tracks, 0)]
    return names, selector, tracks


def embedding_of(image: Image) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return model().embed(image, largest(image).face.landmarks5)


EVERYBODY = Filters()


def test_many_is_everybody_and_one_is_the_first_in_the_order() -> None:
    assert sorted(chosen(SelectionCriteria("many", "left-right", EVERYBODY), pair())[0]) == ["left", "right"]
    assert chosen(SelectionCriteria("one", "left-right", EVERYBODY), pair())[0] == ["left"]
    assert chosen(SelectionCriteria("one", "right-left", EVERYBODY), pair())[0] == ["right"]


def test_the_reference_finds_its_person_wherever_she_is() -> None:
    for person, side in ((man, "left"), (woman, "right")):
        criteria = SelectionCriteria(
            "reference", "left-right", EVERYBODY, max_distance=0.5, embedding=embedding_of(person())
        )
        assert chosen(criteria, pair())[0] == [side]


@pytest.mark.parametrize(("most", "count"), [(0.0, 0), (0.5, 1), (1.5, 2)])
def test_the_distance_decides_strictly(most: float, count: int) -> None:
    criteria = SelectionCriteria("reference", "left-right", EVERYBODY, max_distance=most, embedding=embedding_of(man()))

    names, selector, _ = chosen(criteria, pair())

    assert len(names) == count
    assert selector.nearest is not None
    assert 0 <= selector.nearest < 0.2


@pytest.mark.parametrize(("gender", "side"), [("male", "left"), ("female", "right")])
def test_a_filter_keeps_the_others_out_and_says_so(gender: str, side: str) -> None:
    names, selector, tracks = chosen(SelectionCriteria("many", "left-right", Filters(gender=gender)), pair())  # type: ignore[arg-type]

    assert names == [side]
    reasons = sorted(entry["reason"] for entry in selector.report([track.span for track in tracks]))
    assert reasons[0].startswith("filtered: gender")
    assert reasons[1] == "matched"


def test_nobody_is_in_a_frame_twice() -> None:
    doubled = np.hstack([man()[:, 40:520]] * 2)
    place = np.array([0.75, 0.5], np.float32)

    for where, side in ((None, ["left", "right"]), (place, ["right"]), (1 - place, ["left"])):
        criteria = SelectionCriteria(
            "reference", "left-right", EVERYBODY, max_distance=1.5, embedding=embedding_of(man()), centre=where
        )
        names = chosen(criteria, doubled)[0]
        assert len(names) == 1
        assert names[0] in side


def test_the_chosen_track_stays_when_another_comes_first_later() -> None:
    selector = FaceSelector(SelectionCriteria("one", "left-right", EVERYBODY), model())
    tracker = Tracker(model().detect)
    (first,) = selector(pair(), tracker(pair(), 0), 0)
    crossed = np.roll(pair(), 12, axis=1)

    (second,) = selector(crossed, tracker(crossed, 1), 1)

    assert second is first


def test_a_track_is_recognised_once_unless_it_is_doubtful() -> None:
    criteria = SelectionCriteria("reference", "left-right", EVERYBODY, max_distance=0.5, embedding=embedding_of(man()))
    selector = FaceSelector(criteria, model())
    tracker = Tracker(model().detect)
    for index in range(20):
        (track,) = selector(man(), tracker(man(), index), index)
    assert track.recognitions == 1

    track.doubtful = True
    selector(man(), tracker(man(), 20), 20)

    assert track.recognitions == 2


def test_a_filter_that_nobody_passes_leaves_nobody() -> None:
    filters = Filters(age="senior")
    assert filters.refusal(Attributes(30, "male")) == "age adult"
    assert chosen(SelectionCriteria("many", "left-right", filters), pair())[0] == []


def test_of_a_film_with_very_many_people_only_what_is_reported_is_kept() -> None:
    criteria = SelectionCriteria("many", "left-right", EVERYBODY)
    selector, tracker = FaceSelector(criteria, model()), Tracker(lambda _image: [face])
    pictures = [np.zeros((36, 64, 3), np.uint8), np.full((36, 64, 3), 200, np.uint8)]
    face = Face(np.array([8, 8, 24, 24], np.float32), np.full((5, 2), 16, np.float32), 0.9)
    for index in range(REPORTED_TRACKS + 50):  # each picture is a shot of its own
        [track] = selector(pictures[index % 2], tracker(pictures[index % 2], index), index)
        selector.matches[track.number].distance = 0.25 if index == REPORTED_TRACKS + 20 else 1.0
        selector.forget({track.number})
    assert len(selector.matches) == REPORTED_TRACKS + 1
    assert len(tracker.ended) == REPORTED_TRACKS
    assert [entry["track"] for entry in selector.report(tracker.all())] == list(range(1, REPORTED_TRACKS + 1))
    assert selector.nearest == 0.25
