"""Timing: instants evenly between the source's own, the length kept, no rate ever rounded."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.interpo.timing import Instant, Timeline
from shared.media.frame import Frame

IMAGE = np.zeros((2, 2, 3), np.uint8)
RATES = st.sampled_from([2, 4, 6, 8])


def frames(times: list[int], last: int) -> list[Frame]:
    return [Frame(IMAGE, begin, end - begin) for begin, end in zip(times, [*times[1:], times[-1] + last], strict=True)]


def spread(timeline: Timeline, source: list[Frame]) -> list[Instant]:
    """All instants of a video."""
    between = [timeline.between(*pair) for pair in pairwise(source)]
    return [instant for pair in between for instant in pair] + list(timeline.after(source[-1]))


def film(rate: int) -> Timeline:
    return Timeline(rate, Fraction(24000, 1001), Fraction(1, 24000))


@pytest.mark.parametrize("rate", [2, 4, 6, 8])
def test_a_constant_rate_of_n_frames_becomes_n_times_the_rate(rate: int) -> None:
    timeline = film(rate)
    instants = spread(timeline, frames([0, 1001, 2002, 3003], last=1001))
    assert [instant.pts for instant in instants] == [place * 1001 for place in range(4 * rate)]
    assert {instant.duration for instant in instants} == {1001}
    assert timeline.time_base == Fraction(1, 24000 * rate)
    assert timeline.frame_rate == Fraction(24000 * rate, 1001)


def test_a_single_frame_is_shown_for_its_own_time() -> None:
    instants = spread(film(4), frames([0], last=1001))
    assert [(instant.pts, instant.duration) for instant in instants] == [(n * 1001, 1001) for n in range(4)]


def test_a_constant_rate_counted_in_milliseconds_is_still_constant() -> None:
    timeline = Timeline(2, Fraction(24000, 1001), Fraction(1, 1000))
    instants = spread(timeline, frames([0, 42, 83, 125, 167], last=42))
    assert len(instants) == 10
    assert [instant.pts for instant in instants[:4]] == [0, 42, 84, 125]


@pytest.mark.parametrize("unit", [Fraction(1, 16000), Fraction(1, 90000), Fraction(1, 10000), Fraction(1, 600)])
@pytest.mark.parametrize("frame_rate", [Fraction(24000, 1001), Fraction(30000, 1001), Fraction(60), Fraction(25)])
def test_a_constant_rate_stays_constant_when_its_milliseconds_are_copied_to_a_finer_clock(
    unit: Fraction, frame_rate: Fraction
) -> None:
    times = [round(Fraction(round(1000 * number / frame_rate), 1000) / unit) for number in range(200)]
    instants = spread(Timeline(8, frame_rate, unit), frames(times, last=round(1 / frame_rate / unit)))
    assert len(instants) == 8 * 200


def test_a_rate_that_varies_by_more_than_rounding_is_variable() -> None:
    source = frames([0, 667, 1334, 2100, 2767], last=667)  # a frame that comes 6 ms late
    assert len(spread(Timeline(8, Fraction(24), Fraction(1, 16000)), source)) == 8 * 4 + 1


def test_a_variable_rate_is_divided_evenly_and_its_last_frame_keeps_its_time() -> None:
    timeline = Timeline(4, Fraction(10), Fraction(1, 1000))
    instants = spread(timeline, frames([0, 40, 240, 250], last=300))
    assert [instant.pts for instant in instants] == [0, 40, 80, 120, 160, 360, 560, 760, 960, 970, 980, 990, 1000]
    assert instants[-1] == Instant(1000, 1200)


@given(RATES, st.lists(st.integers(1, 10_000), min_size=1, max_size=20))
def test_every_source_instant_survives_and_no_time_is_lost(rate: int, steps: list[int]) -> None:
    times = [sum(steps[:place]) for place in range(len(steps))]
    source = frames(times, last=steps[-1])
    instants = spread(Timeline(rate, Fraction(25), Fraction(1, 1000)), source)
    assert {time * rate for time in times} <= {instant.pts for instant in instants}
    for instant, following in pairwise(instants):
        assert instant.pts + instant.duration == following.pts
    assert instants[-1].pts + instants[-1].duration == (times[-1] + steps[-1]) * rate
