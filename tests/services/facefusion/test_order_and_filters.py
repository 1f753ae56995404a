"""Orders and filters."""

from typing import Literal, get_args

import numpy as np
import pytest

from services.facefusion.attributes import Attributes
from services.facefusion.face import Face
from services.facefusion.literals import Age, Gender, Order
from services.facefusion.order_and_filters import Filters, ordered


def face(x: float, y: float, size: float, score: float) -> Face:
    return Face(np.array([x, y, x + size, y + size], np.float32), np.zeros((5, 2), np.float32), score)


FACES = {"a": face(0, 50, 30, 0.7), "b": face(100, 10, 60, 0.9), "c": face(200, 30, 10, 0.8)}

EXPECTED: dict[Order, str] = {
    "left-right": "abc",
    "right-left": "cba",
    "top-bottom": "bca",
    "bottom-top": "abc",
    "small-large": "cab",
    "large-small": "bac",
    "best-worst": "bca",
    "worst-best": "acb",
}


@pytest.mark.parametrize("order", get_args(Order))
def test_every_order_of_the_contract(order: Order) -> None:
    assert "".join(ordered("cab", order, lambda name: FACES[name])) == EXPECTED[order]


def test_equal_faces_keep_their_order() -> None:
    assert ordered([2, 1, 3], "large-small", lambda _: FACES["a"]) == [2, 1, 3]


@pytest.mark.parametrize(
    ("years", "word"),
    [(0, "child"), (12.9, "child"), (13, "teen"), (18.9, "teen"), (19, "adult"), (59.9, "adult"), (60, "senior")],
)
def test_the_words_for_ages_have_the_contracts_limits(years: float, word: Age) -> None:
    assert Attributes(years, "male").age == word


@pytest.mark.parametrize("age", ["", *get_args(Age)])
@pytest.mark.parametrize("gender", ["", *get_args(Gender)])
def test_a_filter_lets_pass_whom_it_names(age: Age | Literal[""], gender: Gender | Literal[""]) -> None:
    filters = Filters(age, gender)
    person = Attributes(40, "female")

    passes = age in {"", "adult"} and gender in {"", "female"}

    assert filters.active == bool(age or gender)
    assert (filters.refusal(person) == "") == passes
