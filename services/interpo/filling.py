"""The pictures between frames, several made at a time, each in a thread of its own, and shown in order."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial

from services.interpo.pairs import Interpolate, Pair
from shared.arrays import Picture
from shared.media.captions import Captions
from shared.media.frame import Frame
from shared.networks.compute import use_threads
from shared.process.cores import usable_cores
from shared.process.ordered_map import ordered_map

_PART_BYTES = 1 << 27  # of the pictures that one thread makes at a time: a slide show has hundreds between two frames


@dataclass(frozen=True)
class Shown:
    """When a picture is shown, in units of the result, and where that lies between two frames: 0, the earlier, to 1."""

    position: Fraction
    pts: int
    duration: int
    captions: Captions | None = None


@dataclass(frozen=True)
class Span:
    """Two frames that follow each other and the instants between them, which may be none."""

    pair: Pair
    instants: Sequence[Shown]


def filled(
    spans: Iterable[Span],
    model: Interpolate,
    pairs: "Counter[str]",
    *,
    at_once: int = 1,
    check: Callable[[], None] = lambda: None,
) -> Iterator[Frame]:
    """Yield the frames at all instants; count the pairs of each kind. Only where something moves the model makes them.

    `at_once` pairs are worked on side by side. `check` is called after each picture that is made; it may raise to stop.
    """

    def make(span: Span) -> tuple[Span, list[Picture]]:
        return span, _pictures(span, model, check)

    prepare = partial(use_threads, usable_cores() // at_once)
    for span, pictures in ordered_map(make, _parts(spans, pairs), at_once, prepare):
        for instant, picture in zip(span.instants, pictures, strict=True):
            yield Frame(picture, instant.pts, instant.duration, instant.captions)


def _parts(spans: Iterable[Span], pairs: "Counter[str]") -> Iterator[Span]:
    """Count the pairs; yield each in parts whose pictures need a bounded memory."""
    for span in spans:
        pairs[span.pair.kind] += 1
        most = max(1, _PART_BYTES // span.pair.earlier.image.nbytes)
        for begin in range(0, len(span.instants), most):
            yield replace(span, instants=span.instants[begin : begin + most])


def _pictures(span: Span, model: Interpolate, check: Callable[[], None]) -> list[Picture]:
    earlier, later = span.pair.earlier.image, span.pair.later.image
    moving = span.pair.kind == "moving"
    timesteps = [float(instant.position) for instant in span.instants if moving and 0 < instant.position < 1]
    made = iter(model(earlier, later, timesteps) if timesteps else ())
    pictures = []
    for instant in span.instants:
        if moving and 0 < instant.position < 1:
            pictures.append(next(made))
            check()
        else:
            pictures.append(later if instant.position == 1 else earlier)
    return pictures
