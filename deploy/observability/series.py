"""The dashboard's panels and what a Prometheus answers to their expressions, filled in as Grafana fills them in."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

DASHBOARD = Path(__file__).with_name("dashboard.json")
LABEL = re.compile(r"\{\{\s*(\w+)\s*\}\}")


@dataclass(frozen=True)
class Range:
    """The time that is shown: seconds since 1970 from `start` to `end`, a value every `step` seconds."""

    start: float
    end: float
    step: float
    rate_seconds: float  # Grafana's $__rate_interval: at least four scrapes


@dataclass(frozen=True)
class Series:
    """One line: its name in the legend, and (time, value) pairs; what is not a number is a gap."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Panel:
    """One panel, its place on the grid of 24 columns, and its lines."""

    title: str
    kind: str  # row, timeseries or stat
    unit: str
    place: tuple[int, int, int, int]  # x, y, width, height
    series: tuple[Series, ...] = field(default=())


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana imports it."""
    content: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return content


def filled(expression: str, rate_seconds: float) -> str:
    """Return an expression for all services, as Grafana sends it."""
    return expression.replace("$service", ".*").replace("$__rate_interval", f"{rate_seconds:g}s")


def answered(client: httpx.Client, shown: Range) -> Iterator[Panel]:
    """Ask a Prometheus for every panel of the dashboard; raise httpx.HTTPError."""
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        defaults = panel.get("fieldConfig", {}).get("defaults", {})
        lines = [line for target in panel.get("targets", []) for line in _ask(client, target, shown)]
        yield Panel(
            panel["title"],
            panel["type"],
            defaults.get("unit", "short"),
            (place["x"], place["y"], place["w"], place["h"]),
            tuple(lines),
        )


def _ask(client: httpx.Client, target: Mapping[str, Any], shown: Range) -> Iterator[Series]:
    query = filled(target["expr"], shown.rate_seconds)
    asked: dict[str, str | float] = {"query": query, "start": shown.start, "end": shown.end, "step": shown.step}
    answer = client.get("/api/v1/query_range", params=asked).raise_for_status().json()
    for found in answer["data"]["result"]:
        points = tuple((float(at), float(value)) for at, value in found["values"])
        if any(math.isfinite(value) for _, value in points):
            yield Series(named(target["legendFormat"], found["metric"]), points)


def named(legend: str, labels: Mapping[str, str]) -> str:
    """Return a line's name: the format with the labels in their places, nothing for one that it has not."""
    return " ".join(LABEL.sub(lambda found: labels.get(found[1], ""), legend).split())
