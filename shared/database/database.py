"""Where tasks and callbacks are kept: an embedded PostgreSQL, or any other that `KINORA_DATABASE_URL` names."""

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
    """The storage as one process sees it: `start` before use, `stop` at the end, a `Pool` for each event loop."""

    def __init__(self, settings: Settings) -> None:
        self._external = settings.database_url
        self._state_dir = settings.state_dir
        self._embedded: Any = None

    def start(self) -> Self:
        """Have a server that answers and a schema that fits; blocks. Raises Unavailable."""
        if not self._external:
            from shared.database.embedded_postgres import EmbeddedPostgres  # noqa: PLC0415  # only where it is used is it installed

            self._embedded = self._embedded or EmbeddedPostgres(self._state_dir)
            self._embedded.join()
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                apply_schema(self.uri)
            except psycopg.Error as error:  # refused rights and wrong addresses too: an operator may mend them
                if time.monotonic() > deadline:
                    logger.warning("storage: %s", server_message(error))
                    raise Unavailable("storage_unavailable") from error
                time.sleep(RETRY_SECONDS)
            else:
                return self

    def stop(self) -> None:
        """Stop using it; the embedded server stops with its last user."""
        if self._embedded:
            self._embedded.leave()

    @property
    def uri(self) -> str:
        return self._external.get_secret_value() if self._external else self._embedded.uri
