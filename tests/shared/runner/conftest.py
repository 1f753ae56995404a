"""One service with its runners, and the backend that it calls back, for each module of tests."""

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
    with TinyService(tmp_path_factory.mktemp("run"), receiver, drain_seconds=8) as service:
        yield service
