"""The ordered map: results in order, bounded, exceptions and stops come through."""

import threading
import time
from collections.abc import Iterator

import pytest

from shared.process.ordered_map import ordered_map

THREADS = 3


@pytest.mark.parametrize("threads", [1, 2, THREADS])
def test_results_come_in_the_order_of_the_items(threads: int) -> None:
    def work(number: int) -> int:
        time.sleep(0.002 * (number % 4))  # later ones are done first
        return number**2

    assert list(ordered_map(work, range(40), threads)) == [number**2 for number in range(40)]


def test_the_threads_work_at_the_same_time() -> None:
    together = threading.Barrier(THREADS, timeout=20)

    def work(_number: int) -> int:
        return together.wait()

    assert len(list(ordered_map(work, range(2 * THREADS), THREADS))) == 2 * THREADS


def test_no_more_items_are_taken_than_are_needed() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(100):
            taken += 1
            yield number

    results = ordered_map(lambda number: number, items(), THREADS)
    for yielded in range(1, 20):
        next(results)
        assert taken <= yielded + THREADS
    results.close()  # type: ignore[attr-defined]  # a generator


def test_an_exception_comes_in_its_place() -> None:
    def work(number: int) -> int:
        if number == 5:
            raise LookupError(number)
        return number

    results = ordered_map(work, range(20), THREADS)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(LookupError, match="5"):
        next(results)


def test_what_is_no_exception_stops_it_too() -> None:
    class Stopped(BaseException):
        pass

    def work(number: int) -> None:
        if number:
            raise Stopped

    with pytest.raises(Stopped):
        list(ordered_map(work, range(20), THREADS))


def test_closing_waits_for_what_runs_and_begins_nothing_else() -> None:
    begun: list[int] = []
    ended: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        time.sleep(0.05)
        ended.append(number)
        return number

    results = ordered_map(work, range(100), THREADS)
    next(results)
    results.close()  # type: ignore[attr-defined]  # a generator
    assert begun
    assert sorted(begun) == sorted(ended)
    count = len(begun)
    time.sleep(0.1)
    assert len(begun) == count <= 2 * THREADS + 1


def test_every_thread_prepares_itself_first() -> None:
    prepared = set()

    def prepare() -> None:
        prepared.add(threading.get_ident())

    def work(_number: int) -> bool:
        time.sleep(0.005)
        return threading.get_ident() in prepared

    assert all(ordered_map(work, range(12), THREADS, prepare))
    assert 1 <= len(prepared) <= THREADS
    assert list(ordered_map(work, range(2), 1, prepare)) == [False, False]
