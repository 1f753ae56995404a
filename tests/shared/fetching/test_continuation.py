"""What is asked for when a download goes on, and what an answer's body is taken for."""

import pytest

from shared.fetching.continuation import Continuation, OtherPart, TooLong


def test_a_file_that_is_not_there_is_asked_for_whole() -> None:
    assert Continuation(0, None, '"v1"').headers == {}


def test_the_rest_is_asked_for_of_the_same_version() -> None:
    assert Continuation(10, None, '"v1"').headers == {"Range": "bytes=10-", "If-Range": '"v1"'}
    assert Continuation(10, None).headers == {"Range": "bytes=10-"}


def test_a_part_goes_on_and_a_whole_begins_anew() -> None:
    part = Continuation(10, None)
    assert part.begin(206, "bytes 10-19/20")
    assert part.done == 10
    whole = Continuation(10, None)
    assert not whole.begin(200, None)
    assert whole.done == 0


def test_a_part_without_its_place_is_trusted_only_by_those_who_compare_a_hash() -> None:
    assert Continuation(10, None).begin(206, None)


@pytest.mark.parametrize("place", ["", "bytes 0-19/20", "bytes 11-19/20", "bytes */20", "items 10-19/20"])
def test_another_part_is_not_taken(place: str) -> None:
    with pytest.raises(OtherPart):
        Continuation(10, None).begin(206, place)


def test_more_than_the_limit_is_refused_whether_it_is_told_or_not() -> None:
    told = Continuation(10, 20)
    told.begin(206, "bytes 10-20/21")
    with pytest.raises(TooLong):
        told.expect(11)
    untold = Continuation(0, 20)
    untold.begin(200, None)
    untold.take(20)
    with pytest.raises(TooLong):
        untold.take(1)
