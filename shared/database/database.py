"""Where tasks and callbacks are stored: an embedded PostgreSQL, or the one that `KINORA_DATABASE_URL` names."""

import time
from collections.abc import Callable
from typing import Any, Self

import psycopg

from shared.database.migrate import apply_schema
from shared.database.pool import RETRY_SECONDS, server_message
from shared.errors import Unavailable
from shared.settings import Settings

START_SECONDS = 30.0


class Database:
    """The storage of one process: call `start` before use and `stop` at the end; open a `Pool` in each event loop.

    `create` allows to make an embedded database where there is none, unless the settings forbid it. `on_loss` is
    called, in another thread, when the embedded database is no longer there although it is in use.
    """

    def __init__(
        self, settings: Settings, *, create: bool = True, on_loss: Callable[[], object] = lambda: None
    ) -> None:
        self._external = settings.database_url
        self._state_dir = settings.state_dir
        self._create = create and not settings.state_required
        self._on_loss = on_loss
        self._embedded: Any = None

    def start(self) -> Self:
        """Wait for a server that answers and bring its schema up to date; blocks.

        Raises Unavailable when that takes longer than `START_SECONDS`, or the embedded server does not start;
        Misconfigured when the embedded server cannot be started in this state directory, or must not be.
        """
        if not self._external:
            from shared.database.embedded_postgres import EmbeddedPostgres  # noqa: PLC0415  # installed only where it is used

            self._embedded = self._embedded or EmbeddedPostgres(
                self._state_dir, create=self._create, on_loss=self._on_loss
            )
            self._embedded.join()
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                apply_schema(self.uri)
            except psycopg.Error as error:  # missing rights and wrong addresses too: an operator may correct them
                if time.monotonic() > deadline:
                    raise Unavailable("database_unusable", reason=server_message(error)) from error
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
