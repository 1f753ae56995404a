"""The router's metrics of its requests to the services."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from prometheus_client.metrics_core import Metric

from shared.http.responses import TOO_SLOW, HttpProblem
from shared.metrics.instruments import Counter, Histogram
from shared.vocabulary import ServiceName

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 40)
LOCAL = "local"  # the target of a service that runs beside the router
SUBMIT, CANCEL, TASKS, DOCUMENT, CONSOLE = "submit", "cancel", "tasks", "document", "console"  # routes


class RequestOutcome:
    """The outcome of one request: the HTTP status of its answer, `timeout`, or `unreachable`."""

    def __init__(self) -> None:
        self.status = "unreachable"


class RouterMetrics:
    """Requests by service, by the version's address, by route and by outcome."""

    def __init__(self) -> None:
        asked = ("service", "target", "route")
        self._requests = Counter(
            "kinora_router_requests_total", "Requests that the router sent to services", (*asked, "status")
        )
        self._seconds = Histogram("kinora_router_upstream_seconds", "Time from request to answer", asked, BOUNDS)

    def declare(self, service: ServiceName, url: str) -> None:
        """Make the series of a target's submissions exist at 0."""
        self._requests.add(service, target_of(url), SUBMIT, "200", amount=0)
        self._seconds.declare(service, target_of(url), SUBMIT)

    @contextmanager
    def watch(self, service: ServiceName, url: str, route: str) -> Iterator[RequestOutcome]:
        """Count and time one request, whatever its outcome."""
        outcome, begun = RequestOutcome(), time.monotonic()
        try:
            yield outcome
        except HttpProblem as problem:
            if problem.status == TOO_SLOW:
                outcome.status = "timeout"
            raise
        finally:
            target = target_of(url)
            self._requests.add(service, target, route, outcome.status)
            self._seconds.add(service, target, route, value=time.monotonic() - begun)

    def families(self) -> list[Metric]:
        return [self._requests.family(), self._seconds.family()]


def target_of(url: str) -> str:
    """Return host and port alone: a URL may carry a password, and the path of a socket is new at every start."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return LOCAL
    return parts.netloc.rpartition("@")[2]
