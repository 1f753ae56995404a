"""Turns: side by side without them, one after another within them; failures and stops come through."""

import random
import threading
import time
import weakref

import pytest

from shared.process.in_turn import Place, in_turn

THREADS = 3


@pytest.mark.parametrize("threads", [1, 2, THREADS])
def test_turns_of_one_number_come_in_the_order_of_the_items(threads: int) -> None:
    taken: list[list[int]] = [[], [], []]

    def work(number: int, place: Place) -> int:
        for turn in taken[: number % 4]:  # of four items one has no turn, one has three
            time.sleep(random.uniform(0, 0.004))
            with place.turn():
                turn.append(number)
        return number**2

    assert list(in_turn(work, range(40), threads)) == [number**2 for number in range(40)]
    assert taken == [[number for number in range(40) if number % 4 > turn] for turn in range(3)]


def test_what_one_turn_leaves_is_there_in_the_next() -> None:
    total = 0

    def work(number: int, place: Place) -> int:
        nonlocal total
        with place.turn():
            before = total
            time.sleep(random.uniform(0, 0.002))
            total = before + number
            return total

    assert list(in_turn(work, range(60), THREADS)) == [number * (number + 1) // 2 for number in range(60)]


def test_what_needs_no_turn_is_done_at_the_same_time() -> None:
    together = threading.Barrier(THREADS, timeout=60)

    def work(_number: int, place: Place) -> None:
        with place.turn():
            pass
        together.wait()
        with place.turn():
            pass

    assert len(list(in_turn(work, range(2 * THREADS), THREADS))) == 2 * THREADS


@pytest.mark.parametrize("within", [True, False])
def test_an_exception_comes_in_its_place_and_nobody_waits_for_ever(within: bool) -> None:  # noqa: FBT001
    begun = threading.Barrier(THREADS, timeout=60)
    later: list[int] = []

    def work(number: int, place: Place) -> int:
        if THREADS <= number < 2 * THREADS:
            begun.wait()  # those behind it are under way, too
        if number == THREADS and not within:
            raise LookupError(number)
        with place.turn():
            if number == THREADS:
                raise LookupError(number)
            if number > THREADS:
                later.append(number)
        return number

    results = in_turn(work, range(20), THREADS)
    assert [next(results) for _ in range(THREADS)] == [0, 1, 2]
    with pytest.raises(LookupError, match="3"):
        next(results)
    assert not later  # what the one that failed would have left is missing


def test_closing_waits_for_what_runs_and_begins_nothing_else() -> None:
    begun, ended = [], []

    def work(number: int, place: Place) -> int:
        begun.append(number)
        time.sleep(0.02)
        with place.turn():
            ended.append(number)
        return number

    results = in_turn(work, range(100), THREADS)
    next(results)
    results.close()  # type: ignore[attr-defined]  # a generator
    assert begun
    assert sorted(begun) == ended
    assert len(begun) <= 2 * THREADS + 1


def test_no_place_keeps_those_that_are_past() -> None:
    place, gone = Place(), []
    for _ in range(3):
        gone.append(weakref.ref(place))
        place.end()
        place = Place(place)
    assert [reference() for reference in gone] == [None] * 3


def test_one_that_has_no_turn_hands_on_what_is_waited_for() -> None:
    first = Place()
    second = Place(first)
    third = Place(second)
    second.end()
    taken = threading.Event()

    def take() -> None:
        with third.turn():
            taken.set()

    thread = threading.Thread(target=take)
    thread.start()
    assert not taken.wait(0.05)
    with first.turn():
        assert not taken.is_set()
    assert taken.wait(60)
    thread.join()
