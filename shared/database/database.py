"""Where tasks and callbacks are stored: an embedded PostgreSQL, or the one that `KINORA_DATABASE_URL` names."""

import logging
import time
from typing import Any, Self

import psycopg

from shared.database.migrate import apply_schema
from shared.database.pool import RETRY_SECONDS, server_message
from shared.errors import Unavailable
from shared.settings import Settings

START_SECONDS = 30.0

logger = logging.getLogger(__name__)


class Database:
    """The storage of one process: call `start` before use and `stop` at the end; open a `Pool` in each event loop."""

    def __init__(self, settings: Settings) -> None:
        self._external = settings.database_url
        self._state_dir = settings.state_dir
        self._embedded: Any = None

    def start(self) -> Self:
        """Wait for a server that answers and bring its schema up to date; blocks.

        Raises Unavailable when that takes longer than `START_SECONDS`, or the embedded server does not start.
        """
        if not self._external:
            from shared.database.embedded_postgres import EmbeddedPostgres  # noqa: PLC0415  # installed only where it is used

            self._embedded = self._embedded or EmbeddedPostgres(self._state_dir)
            self._embedded.join()
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                apply_schema(self.uri)
            except psycopg.Error as error:  # missing rights and wrong addresses too: an operator may correct them
                if time.monotonic() > deadline:
                    logger.warning("storage: %s", server_message(error))
                    raise Unavailable("storage_unavailable") from error
                time.sleep(RETRY_SECONDS)
            else:
                return self

    def stop(self) -> None:
        """Stop using the storage; the embedded server stops with its last user."""
        if self._embedded:
            self._embedded.leave()

    @property
    def uri(self) -> str:
        return self._external.get_secret_value() if self._external else self._embedded.uri
