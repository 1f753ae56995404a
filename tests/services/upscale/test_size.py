"""Which size a request asks for: a ratio as ever, or exact sides as a player shows them."""

from fractions import Fraction
from typing import Any

import pytest

from services.upscale.request import UpscaleRequest
from services.upscale.size import Source, TargetSize
from shared.errors import Rejected

BODY: dict[str, Any] = {"task_id": 7, "dist_dir": "/m/out", "video_url": "/m/in.mp4"}
HD = Source(1280, 720)


def size(source: Source = HD, **fields: object) -> TargetSize:
    return TargetSize.of(UpscaleRequest.model_validate(BODY | fields), source)


@pytest.mark.parametrize("ratio", [1, 2, 3, 4])
def test_a_ratio_is_what_it_was(ratio: int) -> None:
    assert size(Source(175, 143), ratio=ratio, width=0, height=None) == TargetSize(175 * ratio, 143 * ratio, ratio)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"width": 1920}, TargetSize(1920, 1080, 2)),
        ({"height": 2160}, TargetSize(3840, 2160, 3)),
        ({"width": 5120}, TargetSize(5120, 2880, 4)),
        ({"width": 1280}, TargetSize(1280, 720, 1)),
        ({"width": 640}, TargetSize(640, 360, 1)),
        ({"width": 1921}, TargetSize(1921, 1080, 2)),  # 1080.6
        ({"width": 1920, "height": 1080}, TargetSize(1920, 1080, 2)),
        ({"width": 1921, "height": 1080}, TargetSize(1921, 1080, 2)),  # the same to within a pixel
        ({"width": 1920, "height": 1440}, TargetSize(1920, 1440, 2, Fraction(4, 3))),
        ({"width": 2000, "height": 720}, TargetSize(2000, 720, 2, Fraction(16, 25))),
    ],
)
def test_one_side_keeps_the_aspect_ratio_and_two_are_both_kept(fields: dict[str, Any], expected: TargetSize) -> None:
    assert size(**fields) == expected
    assert size(ratio=4, **fields) == expected


def test_sides_are_those_that_a_player_shows() -> None:
    phone = Source(1280, 720, turned=True)
    assert size(phone, width=1080) == TargetSize(1920, 1080, 2)
    assert size(phone, width=1080, height=1920) == TargetSize(1920, 1080, 2)


def test_the_shape_of_pixels_that_are_not_square_is_changed_by_as_much() -> None:
    dvd = Source(720, 576, pixel_shape=Fraction(64, 45))
    assert size(dvd, height=1152) == TargetSize(1440, 1152, 2)
    assert size(dvd, width=2048, height=1152) == TargetSize(2048, 1152, 3, Fraction(1))


def test_the_shape_of_a_pixel_fits_into_a_header() -> None:
    shape = size(Source(1279, 719), width=1283, height=2875).pixel_shape
    assert shape is not None
    assert max(shape.numerator, shape.denominator) < 65536
    assert float(shape) == pytest.approx(1279 / 719 * 2875 / 1283, rel=1e-4)


@pytest.mark.parametrize("fields", [{"width": 5122}, {"height": 2882}, {"width": 1280, "height": 2882}])
def test_more_than_four_times_the_source_is_refused_with_the_limit(fields: dict[str, Any]) -> None:
    with pytest.raises(Rejected, match="at most four times the source's size, 5120x2880"):
        size(**fields)


@pytest.mark.parametrize("value", [1, 16385, -1, 2.5, "wide", True])
def test_a_side_that_cannot_be_is_refused(value: object) -> None:
    with pytest.raises(Rejected, match="width must be a whole number from 2 to 16384"):
        size(width=value)


def test_without_sides_a_ratio_is_required_and_the_stored_request_is_as_it_was() -> None:
    with pytest.raises(Rejected, match="ratio is required: one of 1, 2, 3, 4"):
        size(width=0, height="")
    request = UpscaleRequest.model_validate(BODY | {"ratio": 2})
    assert request.model_dump(mode="json") == BODY | {"ratio": 2}
    exact = UpscaleRequest.model_validate(BODY | {"ratio": 9, "height": "720"})
    assert (exact.ratio, exact.height) == (None, 720)
    assert UpscaleRequest.model_validate(exact.model_dump(mode="json")) == exact
