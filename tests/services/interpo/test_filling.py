"""The pictures between frames, made by several threads: the same as by one, in order, in bounded memory."""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
import pytest
import torch

from services.interpo import filling
from services.interpo.filling import filled
from services.interpo.pipeline import multiplied
from services.interpo.resampling import Grid, resampled
from services.interpo.timing import Timeline
from shared import weights
from shared.arrays import Picture
from shared.media.frame import Frame
from shared.media.frame_range import whole
from shared.networks.compute import Compute, choose_compute
from shared.networks.engines import Engine
from shared.networks.interpolator import Interpolator
from shared.networks.rife import Rife

STEP = 512  # units of a frame of 25 a second
UNIT = Fraction(1, 12800)


def film(count: int, size: tuple[int, int] = (64, 96)) -> Iterator[Frame]:
    """A texture that moves by two pixels a frame; the third frame is repeated once."""
    texture = np.random.default_rng(1).integers(0, 256, (size[0], size[1] + 2 * count, 3), np.uint8)
    texture = np.ascontiguousarray(np.repeat(np.repeat(texture[::8, ::8], 8, 0), 8, 1)[: size[0]])
    for number in range(count):
        begin = 2 * (2 if number == 3 else number)
        yield Frame(np.ascontiguousarray(texture[:, begin : begin + size[1] - 2]), number * STEP, STEP)


class Mean:
    """A model that mixes, and knows which threads called it and for how many pictures."""

    name = "mean"
    engine = Engine(Compute(torch.device("cpu"), torch.float32))

    def __init__(self) -> None:
        self.threads: set[str] = set()
        self.asked: list[int] = []
        self.both = threading.Barrier(2, timeout=60)

    def pairs_at_once(self, _pixels: int) -> int:
        return 1

    def __call__(self, first: Picture, second: Picture, timesteps: Sequence[float], /) -> list[Picture]:
        self.threads.add(threading.current_thread().name)
        self.asked.append(len(timesteps))
        return [np.rint((1 - at) * first + at * second.astype(float)).astype(first.dtype) for at in timesteps]


@pytest.mark.parametrize("fps", ["60", "24"])
def test_pairs_side_by_side_make_the_same_frames_at_an_exact_rate(fps: str) -> None:
    network = Rife.from_weights(weights.load_safetensors("rife-4.0"), "4.0")
    model = Interpolator(network, choose_compute("cpu"))
    made, counted = [], []
    for at_once in (1, 3):
        pairs: Counter[str] = Counter()
        grid = Grid(Fraction(fps), Fraction(25), UNIT)
        made.append(list(resampled(whole(film(7)), grid, model, pairs, at_once=at_once)))
        counted.append(pairs)
    assert counted[0] == counted[1] == {"moving": 5, "still": 1}
    for one, several in zip(*made, strict=True):
        assert (one.pts, one.duration) == (several.pts, several.duration)
        # Fewer threads add in another order: the last bit of a value may round differently.
        assert np.abs(one.image.astype(int) - several.image).max() <= 1


def test_an_exact_rate_is_made_by_several_threads() -> None:
    class Meeting(Mean):
        def __call__(self, first: Picture, second: Picture, timesteps: Sequence[float], /) -> list[Picture]:
            self.both.wait()  # for a second caller, who would not come to a pair after the other
            return super().__call__(first, second, timesteps)

    model = Meeting()
    list(resampled(whole(film(3)), Grid(Fraction(50), Fraction(25), UNIT), model, Counter(), at_once=2))
    assert len(model.threads) == 2


def test_very_many_instants_between_two_frames_are_made_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = next(film(2)).image
    model, whole_model = Mean(), Mean()
    grid = Grid(Fraction(240), Fraction(25), UNIT)
    expected = list(resampled(whole(film(3)), grid, whole_model, Counter()))
    monkeypatch.setattr(filling, "_PART_BYTES", 4 * frame.nbytes)
    pairs: Counter[str] = Counter()
    shown = list(resampled(whole(film(3)), Grid(Fraction(240), Fraction(25), UNIT), model, pairs, at_once=2))
    assert max(whole_model.asked) > 4
    assert max(model.asked) <= 4
    assert pairs == {"moving": 2}
    assert [frame.pts for frame in shown] == [frame.pts for frame in expected]
    assert all(np.array_equal(one.image, other.image) for one, other in zip(shown, expected, strict=True))


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_stop_ends_both_ways_between_two_pictures(at_once: int) -> None:
    class Stopped(Exception):
        pass

    def stop() -> None:
        raise Stopped

    grid, timeline = Grid(Fraction(60), Fraction(25), UNIT), Timeline(2, Fraction(25), UNIT)
    for frames in (
        resampled(whole(film(4)), grid, Mean(), Counter(), at_once=at_once, check=stop),
        multiplied(whole(film(4)), timeline, Mean(), Counter(), at_once=at_once, check=stop),
    ):
        with pytest.raises(Stopped):
            list(frames)


def test_nothing_is_made_of_nothing() -> None:
    assert list(filled([], Mean(), Counter(), at_once=2)) == []
