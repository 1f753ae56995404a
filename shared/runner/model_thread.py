"""The thread that owns a model, so that the event loop stays free for heartbeats, cancels and time limits."""

import asyncio
import contextvars
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from shared.media.media_info import MediaHeader
from shared.pipeline.job import Job, Result
from shared.runner.task_handler import OpenHandler, TaskHandler
from shared.settings import Settings
from shared.tracing import span as tracing

T = TypeVar("T")

logger = logging.getLogger(__name__)


class ModelThread:
    """Loads the model at its first use, keeps it, and runs one pipeline after another with it."""

    def __init__(self, open_handler: OpenHandler, settings: Settings) -> None:
        self._open_handler = open_handler
        self._settings = settings
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._loaded: tuple[TaskHandler, Any] | None = None  # read and written in the executor's one thread only
        self._load_seconds: float | None = None  # written there once, with the model

    @property
    def load_seconds(self) -> float | None:
        """How long the model took to load; None until it is loaded. May be read in any thread."""
        return self._load_seconds

    def submit(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Run `work` in the thread, in a copy of the caller's context: what it logs belongs to the caller's task."""
        return asyncio.get_running_loop().run_in_executor(self._executor, contextvars.copy_context().run, work)

    async def load(self) -> None:
        """Load the model unless that was done; raise what keeps it from being loaded."""
        await self.submit(self._load)

    async def preload(self) -> None:
        """Load the model ahead of the first task, which tries again if that fails."""
        try:
            await self.load()
        except Exception:
            logger.exception("the model could not be loaded ahead of the first task")

    def run_pipeline(self, job: Job, request: dict[str, Any]) -> Result:
        """Run the handler's pipeline for a stored request. Call in the thread, by `submit`."""
        handler, model = self._load()
        job.check()  # loading may have taken minutes
        return handler.work(job, handler.request.model_validate(request), model)

    def check_fetched(
        self, request: dict[str, Any], headers: Mapping[str, MediaHeader], names: Mapping[str, str]
    ) -> dict[str, Any]:
        """Return what the handler has to say of fetched inputs; raise a Problem. Call in the thread, by `submit`."""
        handler, _ = self._load()
        return handler.check_fetched(handler.request.model_validate(request), headers, names, self._settings)

    def _load(self) -> tuple[TaskHandler, Any]:
        if self._loaded is None:
            started = time.monotonic()
            with tracing.span("load model"):
                handler = self._open_handler()
                self._loaded = handler, handler.load(self._settings)
            self._load_seconds = time.monotonic() - started
            logger.info("model loaded in %.1f s", self._load_seconds)
        return self._loaded
