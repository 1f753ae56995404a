"""The dashboard as a picture: lines where their values are, gaps where there are none, values in their units."""

import math
from collections.abc import Sequence

import httpx
import numpy as np
import pytest
from PIL import Image

from deploy.observability.picture import COLUMN, ROW, picture
from deploy.observability.scale import steps, words
from deploy.observability.series import Panel, Range, Series, answered, dashboard, named

SHOWN = Range(start=1000.0, end=1100.0, step=1.0, rate_seconds=20.0)


def drawn(values: Sequence[float], *, kind: str = "timeseries", unit: str = "short") -> Image.Image:
    points = tuple(zip((1000.0 + number for number in range(len(values))), values, strict=True))
    return picture([Panel("a title", kind, unit, (0, 0, 12, 10), (Series("a line", points),))], SHOWN)


def places(image: Image.Image) -> set[tuple[int, int]]:
    """Return the pixels of the first line, its fill left out: it alone is green."""
    red, green, blue = np.moveaxis(np.asarray(image, dtype=int), 2, 0)
    return {(int(x), int(y)) for y, x in np.argwhere((green - red > 30) & (green - blue > 30))}


def columns(image: Image.Image) -> set[int]:
    """Return where a line is, its entry in the legend left out."""
    return {x for x, y in places(image) if y < 7.5 * ROW}


def test_a_line_is_where_its_values_are() -> None:
    low, high = places(drawn([1.0] * 100 + [9.0])), places(drawn([1.0] * 101))
    assert min(y for _, y in high) < min(y for x, y in low if x < 6 * COLUMN)
    rising = {(x, y) for x, y in places(drawn([float(number) for number in range(101)])) if y < 7.5 * ROW}
    left, right = min(rising), max(rising)
    assert left[1] > right[1]
    assert right[0] - left[0] > 10 * COLUMN


def test_a_gap_stays_a_gap() -> None:
    whole = columns(drawn([1.0] * 101))
    gap = columns(drawn([1.0] * 40 + [math.nan] * 30 + [1.0] * 31))
    assert len(whole) - len(gap) > 2 * COLUMN
    assert {min(gap), max(gap)} == {min(whole), max(whole)}


def test_what_only_a_point_is_known_of_and_what_nothing_is_known_of_can_be_drawn_too() -> None:
    assert drawn([0.0]).size == (24 * COLUMN, 10 * ROW)
    assert places(drawn([3.0] * 10, kind="stat", unit="bool"))
    empty = picture([Panel("a title", "timeseries", "s", (0, 0, 12, 10))], SHOWN)
    assert not places(empty)


def test_a_legend_that_is_too_long_says_how_many_more_there_are() -> None:
    lines = tuple(Series(f"a line with a long name {n}", ((1000.0, 1.0), (1100.0, 1.0))) for n in range(16))
    assert picture([Panel("a title", "timeseries", "s", (0, 0, 6, 8), lines)], SHOWN).width == 24 * COLUMN


@pytest.mark.parametrize(
    ("most", "unit", "expected"),
    [
        (0.0, "short", [0, 1]),
        (1.0, "short", [0, 0.25, 0.5, 0.75, 1]),
        (7.0, "none", [0, 2, 4, 6, 8]),
        (0.03, "s", [0, 0.01, 0.02, 0.03]),
        (200.0, "s", [0, 60, 120, 180, 240]),
        (0.75 * 2**30, "bytes", [0, 2**20 * 200, 2**20 * 400, 2**20 * 600, 2**20 * 800]),
    ],
)
def test_an_axis_has_round_steps_that_reach_the_highest_value(most: float, unit: str, expected: list[float]) -> None:
    assert steps(most, unit) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (1, "bool", "True"), (0, "bool", "False"), (0.25, "s", "250 ms"), (90, "s", "1.5 min"), (7200, "s", "2 hour"),
        (0, "s", "0 s"), (0.5, "percentunit", "50 %"), (0.125, "reqps", "0.125 req/s"), (1536, "bytes", "1.5 KiB"),
        (2**31, "bytes", "2 GiB"), (12_000, "short", "12 K"), (0, "none", "0"),
    ],
)  # fmt: skip
def test_a_value_is_shown_in_its_unit(value: float, unit: str, expected: str) -> None:
    assert words(value, unit) == expected


def test_a_line_is_named_by_its_labels() -> None:
    assert named("{{service}} {{kind}} p95", {"service": "upscale"}) == "upscale p95"


def test_every_panel_is_asked_for_with_its_own_expressions_and_placed_where_the_dashboard_has_it() -> None:
    asked: list[str] = []

    def prometheus(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params["query"])
        found = {"metric": {"service": "upscale"}, "values": [[1000, "1"], [1050, "NaN"], [1100, "2"]]}
        nothing = {"metric": {}, "values": [[1000, "NaN"]]}
        return httpx.Response(200, json={"status": "success", "data": {"result": [found, nothing]}})

    with httpx.Client(base_url="http://prometheus", transport=httpx.MockTransport(prometheus)) as client:
        panels = list(answered(client, SHOWN))
    targets = [target for panel in dashboard()["panels"] for target in panel.get("targets", [])]
    assert len(asked) == len(targets)
    assert not [query for query in asked if "$" in query]
    assert [panel.place[:2] for panel in panels] == [
        (panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in dashboard()["panels"]
    ]
    assert sum(len(panel.series) for panel in panels) == len(targets)
    whole = picture(panels, SHOWN)
    assert whole.height == ROW * max(y + h for _, y, _, h in (panel.place for panel in panels))
