"""Whose face is replaced."""

import numpy as np
import pytest

from services.facefusion.attributes import Attributes
from services.facefusion.face import Face, Float
from services.facefusion.face_selector import (
    LEAST_SIZE,
    MOST_RECOGNITIONS,
    SHRUNK,
    EntryCriteria,
    FaceSelector,
    SelectionCriteria,
)
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


EVERYBODY = EntryCriteria(Filters())


def entry(image: Image, most: float = 0.5, centre: Float | None = None) -> EntryCriteria:
    """Whoever is in a picture."""
    return EntryCriteria(Filters(), most, embedding_of(image), centre)


def near(image: Image, most: float = 0.5, centre: Float | None = None) -> SelectionCriteria:
    return SelectionCriteria("reference", "left-right", (entry(image, most, centre),))


def test_many_is_everybody_and_one_is_the_first_in_the_order() -> None:
    assert sorted(chosen(SelectionCriteria("many", "left-right", (EVERYBODY,)), pair())[0]) == ["left", "right"]
    assert chosen(SelectionCriteria("one", "left-right", (EVERYBODY,)), pair())[0] == ["left"]
    assert chosen(SelectionCriteria("one", "right-left", (EVERYBODY,)), pair())[0] == ["right"]


def test_the_reference_finds_its_person_wherever_she_is() -> None:
    for person, side in ((man, "left"), (woman, "right")):
        criteria = near(person())
        assert chosen(criteria, pair())[0] == [side]


@pytest.mark.parametrize(("most", "count"), [(0.0, 0), (0.5, 1), (1.5, 2)])
def test_the_distance_decides_strictly(most: float, count: int) -> None:
    criteria = near(man(), most)

    names, selector, _ = chosen(criteria, pair())

    assert len(names) == count
    assert selector.nearest is not None
    assert 0 <= selector.nearest < 0.2


@pytest.mark.parametrize(("gender", "side"), [("male", "left"), ("female", "right")])
def test_a_filter_keeps_the_others_out_and_says_so(gender: str, side: str) -> None:
    filtered = EntryCriteria(Filters(gender=gender))  # type: ignore[arg-type]
    names, selector, tracks = chosen(SelectionCriteria("many", "left-right", (filtered,)), pair())

    assert names == [side]
    reasons = sorted(entry["reason"] for entry in selector.report([track.span for track in tracks]))
    assert reasons[0].startswith("filtered: gender")
    assert reasons[1] == "matched"


def test_nobody_is_in_a_frame_twice() -> None:
    doubled = np.hstack([man()[:, 40:520]] * 2)
    place = np.array([0.75, 0.5], np.float32)

    for where, side in ((None, ["left", "right"]), (place, ["right"]), (1 - place, ["left"])):
        criteria = near(man(), 1.5, where)
        names = chosen(criteria, doubled)[0]
        assert len(names) == 1
        assert names[0] in side


def test_the_chosen_track_stays_when_another_comes_first_later() -> None:
    selector = FaceSelector(SelectionCriteria("one", "left-right", (EVERYBODY,)), model())
    tracker = Tracker(model().detect)
    (first,) = selector(pair(), tracker(pair(), 0), 0)
    crossed = np.roll(pair(), 12, axis=1)

    (second,) = selector(crossed, tracker(crossed, 1), 1)

    assert second is first


def test_a_track_is_recognised_once_unless_it_is_doubtful() -> None:
    criteria = near(man())
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
    assert chosen(SelectionCriteria("many", "left-right", (EntryCriteria(filters),)), pair())[0] == []


def test_of_a_film_with_very_many_people_only_what_is_reported_is_kept() -> None:
    criteria = SelectionCriteria("many", "left-right", (EVERYBODY,))
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


# Several entries


def given(criteria: SelectionCriteria, image: Image) -> dict[str, int]:
    """Which entry each changed half of a picture has."""
    _, selector, tracks = chosen(criteria, image)
    middle = image.shape[1] / 2
    selected = [track for track in tracks if selector.matches[track.number].selected]
    return {"left" if one.face.centre[0] < middle else "right": selector.entry_of(one) for one in selected}


def test_each_entry_finds_its_own_person() -> None:
    for people in ((man(), woman()), (woman(), man())):
        criteria = SelectionCriteria("reference", "left-right", tuple(map(entry, people)), names_entries=True)
        assert given(criteria, pair()) == {"left": 0 if people[0] is man() else 1, "right": int(people[0] is man())}


def test_a_face_that_two_entries_want_goes_to_the_nearer_and_of_equals_to_the_first() -> None:
    wide = [entry(woman(), 1.5), entry(man(), 1.5)]
    assert given(SelectionCriteria("reference", "left-right", tuple(wide)), man()) == {"left": 1}
    assert given(SelectionCriteria("reference", "left-right", (wide[1], wide[1])), man()) == {"left": 0}


def test_an_entry_without_a_reference_has_nobody() -> None:
    criteria = SelectionCriteria("reference", "left-right", (EVERYBODY, entry(woman())), names_entries=True)
    _, selector, tracks = chosen(criteria, pair())

    assert given(criteria, pair()) == {"right": 1}
    report = selector.report([track.span for track in tracks])
    assert sorted((row["reason"], row["entry"]) for row in report) == [
        ("matched", 1),
        ("too far from the reference", None),
    ]


def test_of_many_each_has_the_first_entry_whose_filters_it_passes() -> None:
    men, women = (EntryCriteria(Filters(gender=gender)) for gender in ("male", "female"))
    for entries, expected in (
        ((men, women), {"left": 0, "right": 1}),
        ((women, EVERYBODY), {"left": 1, "right": 0}),
        ((EVERYBODY, women), {"left": 0, "right": 0}),
        ((women,), {"right": 0}),
    ):
        assert given(SelectionCriteria("many", "left-right", entries), pair()) == expected


def test_of_one_each_entry_has_one_face_that_no_earlier_entry_has() -> None:
    women = EntryCriteria(Filters(gender="female"))
    for entries, expected in (
        ((EVERYBODY,), {"left": 0}),
        ((EVERYBODY, EVERYBODY), {"left": 0, "right": 1}),
        ((women, EVERYBODY), {"right": 0, "left": 1}),
        ((EVERYBODY, women, EVERYBODY), {"left": 0, "right": 1}),
    ):
        assert given(SelectionCriteria("one", "left-right", entries), pair()) == expected


def test_the_faces_of_two_entries_stay_theirs_when_the_first_one_leaves() -> None:
    selector = FaceSelector(SelectionCriteria("one", "left-right", (EVERYBODY, EVERYBODY)), model())
    tracker = Tracker(model().detect)
    selector(pair(), tracker(pair(), 0), 0)
    (hers,) = [track for track in tracker.tracks if selector.entry_of(track) == 1]

    assert [selector.entry_of(track) for track in selector(pair(), [hers], 1)] == [1]


def test_a_face_that_is_about_as_near_to_two_entries_is_recognised_again() -> None:
    same = (entry(man()), entry(man()))
    for entries, count in ((same, MOST_RECOGNITIONS), (same[:1], 1)):
        selector = FaceSelector(SelectionCriteria("reference", "left-right", entries), model())
        tracker = Tracker(model().detect)
        for index in range(0, 60, 5):
            (track,) = selector(man(), tracker(man(), index), index)
        assert track.recognitions == count


def test_a_face_that_is_too_small_is_left_and_one_that_shrinks_stays_for_a_while() -> None:
    selector = FaceSelector(SelectionCriteria("many", "left-right", (EVERYBODY,)), model())
    points = np.full((5, 2), 16, np.float32)
    image = np.zeros((90, 160, 3), np.uint8)

    def chosen_at(side: float, number: int, index: int) -> bool:
        tracks = {one.number: one for one in known}
        track = tracks.get(number) or Track(number, Face(np.zeros(4, np.float32), points, 0.9), index, index)
        known.append(track)
        track.face = Face(np.array([8, 8, 8 + side, 8 + side], np.float32), points, 0.9)
        return bool(selector(image, [track], index))

    known: list[Track] = []
    assert not chosen_at(LEAST_SIZE - 1, 1, 0)
    alone = selector.only_small
    assert alone
    assert chosen_at(LEAST_SIZE + 1, 1, 1)
    assert chosen_at(LEAST_SIZE - 1, 1, 2)
    assert not chosen_at(LEAST_SIZE * SHRUNK - 1, 1, 3)
    assert not selector.only_small
    assert selector.matches[1].reason == "matched"
