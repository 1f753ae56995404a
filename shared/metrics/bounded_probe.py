"""Calling a function that may hang, such as one on a dead network share or a broken driver, without hanging."""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")

logger = logging.getLogger(__name__)


class BoundedProbe(Generic[T]):
    """At most one call at any time, in a thread that does not keep the process from ending."""

    def __init__(self, look: Callable[[], T], *, seconds: float) -> None:
        self._look = look
        self._seconds = seconds
        self._under_way: Future[T] | None = None

    async def take(self) -> T | None:
        """Return what the call returns; None when it takes longer than its limit or fails."""
        if self._under_way is None:
            self._under_way = Future()
            threading.Thread(target=self._run, args=(self._under_way,), name="bounded-probe", daemon=True).start()
        waiting = asyncio.wrap_future(self._under_way)
        done, _ = await asyncio.wait({waiting}, timeout=self._seconds)
        if not done:
            return None  # a later `take` gets the result of this call
        self._under_way = None
        try:
            return waiting.result()
        except Exception as error:  # noqa: BLE001  # the other metrics are still shown
            logger.warning("cannot measure: %s", error)
            return None

    def _run(self, outcome: "Future[T]") -> None:
        try:
            outcome.set_result(self._look())
        except Exception as error:  # noqa: BLE001  # raised again where the result is asked for
            outcome.set_exception(error)
