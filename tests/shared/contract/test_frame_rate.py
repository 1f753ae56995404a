"""A frame rate is read without loss, however a caller writes it, and anything else is refused in one sentence."""

from decimal import Decimal
from typing import Any

import pytest

from shared.contract.frame_rate import FrameRate
from shared.contract.json_values import parse_object
from shared.errors import Rejected

RATE = FrameRate(1, 240)


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("60", "60"),
        ("60.0", "60"),
        ('"60"', "60"),
        ("59.94", "2997/50"),
        ('"59.940"', "2997/50"),
        ('"60000/1001"', "60000/1001"),
        ('"60000 / 1001"', "60000/1001"),
        ('"120/2"', "60"),
        ("1e2", "100"),
        ("1", "1"),
        ("240", "240"),
    ],
)
def test_a_rate_is_read_exactly(sent: str, read: str) -> None:
    assert RATE.read("fps", parse_object(f'{{"fps": {sent}}}'.encode())["fps"]) == read


@pytest.mark.parametrize(
    "value",
    [
        *(True, -60, 0.5, 241, float("nan"), float("inf"), Decimal("1e999999"), Decimal("1e-999999"), 10**30),
        *("abc", "60/0", "0/5", "1/2/3", "/", "-30", "6_0", "٦٠", " ", "60." + "0" * 40, "59.9400001"),
        *([60], {"fps": 60}),
    ],
)
def test_any_other_value_is_refused_with_examples(value: Any) -> None:
    with pytest.raises(Rejected, match=r'fps must be a frame rate from 1 to 240 such as 60, 59.94 or "60000/1001"'):
        RATE.read("fps", value)


@pytest.mark.parametrize("value", [None, "", 0, 0.0])
def test_go_s_zero_values_are_no_rate(value: Any) -> None:
    assert RATE.not_given(value)
