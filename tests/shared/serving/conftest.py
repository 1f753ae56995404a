"""One service with room for three waiting tasks, and the backend that it calls back, for each module of tests."""

import time
from collections.abc import Iterator

import pytest

from shared.testing.callback_receiver import Receiver
from tests.support.tiny_service import TinyService


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[TinyService]:
    with TinyService(tmp_path_factory.mktemp("serving"), receiver, max_queued=3) as service:
        yield service


@pytest.fixture(autouse=True)
def idle(service: TinyService) -> Iterator[None]:
    """Leave nothing behind for the next test."""
    yield
    for task in service.tasks(limit=500):
        if task["state"] in {"queued", "running"}:
            service.cancel(task["task_id"])
    while any(task["state"] in {"queued", "running"} for task in service.tasks(limit=500)):
        time.sleep(0.05)
