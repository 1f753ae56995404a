"""What a pipeline remembers comes back from its bytes, to the last bit."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from shared.pipeline.state_bytes import from_bytes, to_bytes


@dataclass
class Eye:
    colour: str
    place: Any


@dataclass(frozen=True)
class Head:
    eyes: list[Eye]
    seen: dict[int, float | None]


def test_everything_comes_back_to_the_last_bit() -> None:
    noise = np.random.default_rng(1)
    eyes = [Eye("绿", noise.normal(size=(3, 2)).astype(np.float32)), Eye("", noise.normal(size=())), Eye("b", None)]
    head = Head(eyes, {7: 0.1 + 0.2, -1: None, 2**60: math.inf})
    content = to_bytes({"head": head, "flags": (True, 1, 1.0, False), "empty": np.zeros((0, 3), np.uint16), "of": [[]]})
    found = from_bytes(content, (Eye, Head))
    assert to_bytes(found) == content
    assert found["head"].seen == head.seen
    assert [type(item) for item in found["flags"]] == [bool, int, float, bool]
    for one, other in zip(found["head"].eyes, eyes, strict=True):
        assert one.colour == other.colour
        assert np.array_equal(one.place, other.place)
    assert found["head"].eyes[0].place.dtype == np.float32
    assert found["empty"].shape == (0, 3)
    assert found["of"] == [[]]


def test_arrays_can_be_written_to_and_lie_as_numpy_lays_them() -> None:
    turned = np.arange(12, dtype=np.float32).reshape(3, 4).T
    text, found = from_bytes(to_bytes(["odd", turned]), ())
    found += 1
    assert text == "odd"
    assert found.flags.c_contiguous
    assert found.flags.aligned
    assert np.array_equal(found, turned + 1)


@pytest.mark.parametrize("value", [b"bytes", np.float32(1), {1, 2}, Eye, object()])
def test_what_would_not_come_back_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        to_bytes({"there": value})
