"""Any source at exactly the wanted rate: every picture at its own instant, shown at k/rate, without any drift."""

from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from services.interpo.resampling import Grid, resampled
from shared.arrays import Picture
from shared.media.frame import Frame
from shared.media.frame_range import FramePass, whole
from shared.networks.compute import Compute
from shared.networks.engines import Engine

BRIGHT = 40_000
TEN_MINUTES = 600


class Blend:
    """A model that mixes: the brightness of its pictures tells the instant that it was asked for."""

    name = "blend"
    engine = Engine(Compute(torch.device("cpu"), torch.float32))

    def pairs_at_once(self, _pixels: int) -> int:
        return 1

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, first: Picture, second: Picture, timesteps: Sequence[float], /) -> list[Picture]:
        self.asked += len(timesteps)
        return [np.rint((1 - at) * first.astype(float) + at * second).astype(first.dtype) for at in timesteps]


def picture(brightness: float) -> Picture:
    """A texture, so that a change of brightness is motion and no cut."""
    texture = np.random.default_rng(1).integers(0, 10_000, (40, 64, 3))
    return (texture + round(brightness)).astype(np.uint16)


def brightness(frame: Frame) -> float:
    return float(frame.image.astype(float).mean()) - float(picture(0).astype(float).mean())


def film(times: Sequence[int], last: int, per_unit: float) -> Iterator[Frame]:
    """Frames at these times whose brightness grows by `per_unit` with every unit of time."""
    ends = [*times[1:], times[-1] + last]
    return (Frame(picture(begin * per_unit), begin, end - begin) for begin, end in zip(times, ends, strict=True))


def run(frames: Iterator[Frame], grid: Grid, model: Blend | None = None) -> tuple[list[Frame], Counter[str]]:
    pairs: Counter[str] = Counter()
    return list(resampled(whole(frames), grid, model or Blend(), pairs)), pairs


@pytest.mark.parametrize("target", ["60", "60000/1001", "24", "25", "2997/50", "12", "47/3"])
@pytest.mark.parametrize(
    ("rate", "unit"),
    [
        (Fraction(24000, 1001), Fraction(1, 24000)),
        (Fraction(25), Fraction(1, 12800)),
        (Fraction(30), Fraction(1, 1000)),
    ],
    ids=str,
)
def test_every_frame_is_at_its_instant_and_shows_it(rate: Fraction, unit: Fraction, target: str) -> None:
    wanted = Fraction(target)
    grid = Grid(wanted, rate, unit)
    times = [round(number / rate / unit) for number in range(20)]
    per_second = BRIGHT / 20 * rate
    shown, pairs = run(film(times, round(1 / rate / unit), float(per_second * unit)), grid)
    assert [frame.pts * grid.time_base for frame in shown] == [number / wanted for number in range(len(shown))]
    assert abs(len(shown) - 20 / rate * wanted) <= Fraction(1, 2) + wanted * unit
    end = (times[-1]) * unit
    for number, frame in enumerate(shown):
        instant = min(number / wanted, end)  # the last frame stands until the end
        assert (
            abs(brightness(frame) / float(per_second) - float(instant)) < 0.0012
        )  # rounding shows a frame of the source
    assert pairs["moving"] == 19


def test_ten_minutes_drift_by_nothing() -> None:
    source_rate, wanted, unit = Fraction(24000, 1001), Fraction(60), Fraction(1, 1000)
    grid = Grid(wanted, source_rate, unit)
    begins = [round(number / source_rate / unit) for number in range(int(TEN_MINUTES * source_rate) + 1)]
    instants = [
        instant
        for begin, end in pairwise(begins)
        for instant in grid.until(begin * int(unit / grid.time_base), end * int(unit / grid.time_base))
    ]
    assert len(instants) == pytest.approx(TEN_MINUTES * wanted, abs=3)
    assert all(instant * grid.time_base == number / wanted for number, instant in enumerate(instants))


def test_frames_of_the_source_are_shown_as_they_are() -> None:
    source = list(film([0, 42, 83, 125, 167], 41, 90.0))  # milliseconds of 24 frames a second
    model = Blend()
    shown, _ = run(iter(source), Grid(Fraction(48), Fraction(24), Fraction(1, 1000)), model)
    assert all(shown[2 * number].image is frame.image for number, frame in enumerate(source))
    assert model.asked == 4
    model = Blend()
    fewer, _ = run(iter(source), Grid(Fraction(12), Fraction(24), Fraction(1, 1000)), model)
    assert [frame.image for frame in fewer[:3]] == [source[0].image, source[2].image, source[4].image]
    assert model.asked == 0


def test_a_late_start_is_kept() -> None:
    grid = Grid(Fraction(60), Fraction(30), Fraction(1, 30000))
    shown, _ = run(film([500, 1500, 2500], 1000, 5.0), grid)
    assert [frame.pts * grid.time_base for frame in shown] == [Fraction(1, 60) * (1 + number) for number in range(6)]


def test_a_frame_that_is_held_for_long_does_not_move() -> None:
    unit = Fraction(1, 1000)
    model = Blend()
    shown, pairs = run(film([0, 40, 2040, 2080], 40, 15.0), Grid(Fraction(50), Fraction(25), unit), model)
    assert pairs == {"moving": 2, "held": 1}
    assert model.asked == 2
    assert {brightness(frame) for frame in shown[2:102]} == {600.0}
    slow, pairs = run(film([0, 1000, 2000], 1000, 8.0), Grid(Fraction(5), Fraction(1), unit))
    assert pairs == {"moving": 2}  # its usual pace is no standstill
    assert brightness(slow[1]) == pytest.approx(1600, abs=1)


def test_across_a_cut_the_earlier_frame_is_held() -> None:
    rng = np.random.default_rng(2)
    one, other = (rng.integers(0, 60_000, (40, 64, 3)).astype(np.uint16) for _ in range(2))
    source = [Frame(one, 0, 40), Frame(other, 40, 40)]
    shown, pairs = run(iter(source), Grid(Fraction(100), Fraction(25), Fraction(1, 1000)))
    assert [frame.image is one for frame in shown] == [True] * 4 + [False] * 4
    assert pairs == {"cut": 1}


@pytest.mark.parametrize("target", ["60", "12", "1"])
def test_a_single_frame_is_shown_at_least_once(target: str) -> None:
    shown, _ = run(film([0], 40, 1.0), Grid(Fraction(target), Fraction(25), Fraction(1, 1000)))
    assert len(shown) == max(1, round(Fraction(target) / 25))


@given(
    st.sampled_from(["60", "60000/1001", "24", "7/2", "240"]),
    st.lists(st.integers(1, 3000), min_size=1, max_size=12),
)
def test_any_variable_rate_becomes_a_constant_one(target: str, steps: list[int]) -> None:
    wanted = Fraction(target)
    grid = Grid(wanted, Fraction(25), Fraction(1, 1000))
    times = [sum(steps[:place]) for place in range(len(steps))]
    still = picture(0)
    ends = [*times[1:], times[-1] + steps[-1]]
    frames = (Frame(still, begin, end - begin) for begin, end in zip(times, ends, strict=True))
    shown, _ = run(frames, grid)
    assert [frame.pts * grid.time_base for frame in shown] == [number / wanted for number in range(len(shown))]
    assert {frame.duration * grid.time_base for frame in shown} == {1 / wanted}
    assert abs(len(shown) - wanted * Fraction(sum(steps), 1000)) < 1 + (len(shown) == 1)


@pytest.mark.parametrize("target", ["60", "60000/1001", "25", "12", "5"])
@pytest.mark.parametrize("length", [7, 100, 333])
def test_ranges_of_a_film_make_the_frames_of_the_whole(target: str, length: int) -> None:
    """Uneven times that do not begin at 0, cut anywhere, also where no instant and no frame is."""
    unit, rate, begin = Fraction(1, 1000), Fraction(25), 70
    times = [begin + at for at in (0, 40, 80, 121, 160, 320, 330, 333, 400, 980, 1000, 1040)]
    new_grid = partial(Grid, Fraction(target), rate, unit, begin)
    expected, _ = run(film(times, 40, 5.0), new_grid())
    passing = FramePass(film(times, 40, 5.0))
    made: list[Frame] = []
    for end in [*range(length, times[-1], length), None]:
        made += resampled(passing.until(end), new_grid(), Blend(), Counter())
    assert [(frame.pts, frame.duration) for frame in made] == [(frame.pts, frame.duration) for frame in expected]
    assert [brightness(frame) for frame in made] == [brightness(frame) for frame in expected]
