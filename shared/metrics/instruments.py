"""Metrics in Prometheus' text format: counters and histograms of one process, rendered and merged.

BentoML runs prometheus_client in its multiprocess mode: every process of every service of one `bentoml serve` writes to
one directory, which the next `bentoml serve` under the same home empties. There a counter belongs to no service, and it
is lost when a second version starts beside the first. So our metrics are plain numbers in the one process that
a service has, added to BentoML's page through its `__metrics__` hook. They count from the start of that process.
"""

import bisect
import logging
import math
import threading
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

PREFIX = "kinora_"

logger = logging.getLogger(__name__)


class Counter:
    """A counter by labels; may be added to from any thread."""

    def __init__(self, name: str, meaning: str, labels: Sequence[str]) -> None:
        self._head = (name, meaning, tuple(labels))
        self._counts: dict[tuple[str, ...], float] = {}
        self._lock = threading.Lock()

    def add(self, *values: str, amount: float = 1.0) -> None:
        """Count under these label values. An amount of 0 makes the series exist: a rate needs one sample before."""
        with self._lock:
            self._counts[values] = self._counts.get(values, 0.0) + amount

    def family(self) -> Metric:
        name, meaning, labels = self._head
        family = CounterMetricFamily(name, meaning, labels=labels)
        with self._lock:
            counts = sorted(self._counts.items())
        for values, count in counts:
            family.add_metric(values, count)
        return family


class Histogram:
    """A histogram by labels over fixed upper bounds; may be added to from any thread."""

    def __init__(self, name: str, meaning: str, labels: Sequence[str], bounds: Sequence[float]) -> None:
        self._head = (name, meaning, tuple(labels))
        self._bounds = (*sorted(bounds), math.inf)
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}
        self._lock = threading.Lock()

    def declare(self, *values: str) -> None:
        """Make the series exist before its first value."""
        with self._lock:
            self._slots(values)

    def add(self, *values: str, value: float) -> None:
        """Count a value, in the unit that the name says, under these label values."""
        with self._lock:
            self._slots(values)[bisect.bisect_left(self._bounds, value)] += 1
            self._sums[values] += value

    def family(self) -> Metric:
        name, meaning, labels = self._head
        family = HistogramMetricFamily(name, meaning, labels=labels)
        with self._lock:
            series = sorted((values, list(counts), self._sums[values]) for values, counts in self._counts.items())
        for values, counts, total in series:
            below = [(_bound(bound), float(sum(counts[: i + 1]))) for i, bound in enumerate(self._bounds)]
            family.add_metric(values, below, total)
        return family

    def _slots(self, values: tuple[str, ...]) -> list[int]:
        self._sums.setdefault(values, 0.0)
        return self._counts.setdefault(values, [0] * len(self._bounds))


def gauge(
    name: str, meaning: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]
) -> GaugeMetricFamily:
    """Return a family of values measured now; without values it is left out of the page."""
    family = GaugeMetricFamily(name, meaning, labels=labels)
    for series, value in values:
        family.add_metric(series, value)
    return family


def render(families: Iterable[Metric]) -> str:
    """Return families as text; empty ones are left out."""
    return generate_latest(_Page([family for family in families if family.samples])).decode()


def merge(pages: Iterable[str]) -> str:
    """Join pages of several services into one, each of our families under one head; other families are left out.

    The series of different services differ in their `service` label, so that none appears twice.
    """
    families: dict[str, Metric] = {}
    for family in (family for page in pages for family in _ours(page)):
        known = families.setdefault(family.name, family)
        if known is not family:
            known.samples += family.samples
    return render(families.values())


def _ours(page: str) -> list[Metric]:
    """Read our families of a page; none of a page that is not in Prometheus' format, as another server's may be."""
    try:
        return [family for family in text_string_to_metric_families(page) if family.name.startswith(PREFIX)]
    except (ValueError, LookupError):
        logger.warning("a service's page of metrics cannot be read and is left out")
        return []


class _Page:
    """What prometheus_client renders: something that can be collected."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return iter(self._families)


def _bound(bound: float) -> str:
    return "+Inf" if bound == math.inf else repr(float(bound))
