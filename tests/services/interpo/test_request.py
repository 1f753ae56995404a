"""The interpolation request: four rates, one video, and a sentence for everything else."""

from fractions import Fraction
from typing import Any

import pytest

from services.interpo.request import InterpoRequest
from shared.errors import Rejected

BODY = {"task_id": 7, "video_url": "/m/in.mp4", "rate": 4, "dist_dir": "/m/out"}


@pytest.mark.parametrize("rate", [2, 4, 6, 8])
@pytest.mark.parametrize("wire", [int, float, str])
def test_the_four_rates_are_taken_as_any_whole_number(rate: int, wire: type) -> None:
    value = str(rate) if wire is str else wire(rate)
    assert InterpoRequest.model_validate(BODY | {"rate": value}).rate == rate


@pytest.mark.parametrize("rate", [0, 1, 3, 5, 7, 10, -2, 2.5, "x", "", None, True, [2], {"rate": 2}, 2**70, "2.5"])
def test_any_other_rate_is_refused_with_the_four(rate: Any) -> None:
    with pytest.raises(Rejected) as refusal:
        InterpoRequest.model_validate(BODY | {"rate": rate})
    sentence = refusal.value.sentence("en")
    assert "rate" in sentence
    assert "2, 4, 6, 8" in sentence


@pytest.mark.parametrize("field", ["task_id", "video_url", "rate", "dist_dir"])
def test_every_field_is_required(field: str) -> None:
    with pytest.raises(Rejected) as refusal:
        InterpoRequest.model_validate({name: value for name, value in BODY.items() if name != field})
    assert field in refusal.value.sentence("en")


def test_a_stored_request_reads_back_as_itself() -> None:
    request = InterpoRequest.model_validate(BODY | {"ratio": 3})
    assert InterpoRequest.model_validate(request.model_dump(mode="json")) == request


def test_an_exact_rate_takes_the_place_of_the_multiple() -> None:
    body = {name: value for name, value in BODY.items() if name != "rate"}
    assert InterpoRequest.model_validate(body | {"fps": 59.94}).frame_rate == Fraction(2997, 50)
    both = InterpoRequest.model_validate(body | {"fps": "60000/1001", "rate": 2})
    assert (both.frame_rate, both.rate) == (Fraction(60000, 1001), 2)
    assert InterpoRequest.model_validate(body | {"fps": 60, "rate": "nonsense"}).rate is None
    assert InterpoRequest.model_validate(both.model_dump(mode="json")) == both


@pytest.mark.parametrize("fps", ["", 0, None])
def test_an_exact_rate_that_was_not_given_changes_nothing(fps: Any) -> None:
    request = InterpoRequest.model_validate(BODY | {"fps": fps})
    assert request.model_dump(mode="json") == BODY
    with pytest.raises(Rejected, match="rate is required: one of 2, 4, 6, 8"):
        InterpoRequest.model_validate(BODY | {"fps": fps, "rate": 0})


@pytest.mark.parametrize("fps", [0.5, 241, "fast", True, "60/0"])
def test_any_other_exact_rate_is_refused(fps: Any) -> None:
    with pytest.raises(Rejected, match="fps must be a frame rate from 1 to 240"):
        InterpoRequest.model_validate(BODY | {"fps": fps})
