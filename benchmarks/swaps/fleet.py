"""One service several times, as on several machines: separate processes and state, one database and media folder."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg.rows import dict_row

from shared.database.embedded_postgres import EmbeddedPostgres
from shared.testing.callback_receiver import Receiver
from shared.testing.stack import Stack, free_port

UPSCALE = "services.upscale.service:Upscale"
QUICK = "benchmarks.swaps.quick_service:Quick"
# Else each of the runner's libraries would start a thread for every core, for pictures of 16 x 16.
LIGHT = {"KINORA_PRESET": "ultrafast", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class Fleet:
    """Starts instances of the upscale service, or of a `target` that takes its requests; ends what it started."""

    def __init__(
        self, home: Path, receiver: Receiver, settings: Mapping[str, object], *, target: str = UPSCALE
    ) -> None:
        self.media = home / "media"
        self.media.mkdir(parents=True)
        self._home = home
        self._receiver = receiver
        self._target = target
        self._settings = LIGHT | _environment(settings)
        self._postgres = EmbeddedPostgres(home / "database")
        self._running = ExitStack()

    def __enter__(self) -> Self:
        self._postgres.join()
        self._running.callback(self._postgres.leave)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    def instance(self, name: str, *, port: int | None = None, **settings: object) -> Stack:
        """Start one instance; it is ready later."""
        return self._start(name, self._target, port, self._settings | _environment(settings))

    def router(self, name: str = "router", *, port: int | None = None, **settings: object) -> Stack:
        """Start a router without services of its own; `upscale_url` says where they are."""
        return self._start(name, None, port, _environment({"services": "", **settings}))

    def sql(self, query: str, *values: object) -> list[dict[str, Any]]:
        """Run one statement on the common database."""
        with psycopg.connect(self._postgres.uri, row_factory=dict_row, autocommit=True) as connection:
            cursor = connection.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def _start(self, name: str, target: str | None, port: int | None, environment: Mapping[str, str]) -> Stack:
        stack = Stack(
            self._home / name,
            (self.media,),
            self._receiver.url,
            port=port or free_port(),
            environment={"KINORA_DATABASE_URL": self._postgres.uri, **environment},
            target=target,
        )
        self._running.callback(stack.stop)
        return stack.start()


def _environment(settings: Mapping[str, object]) -> dict[str, str]:
    return {f"KINORA_{name.upper()}": str(value) for name, value in settings.items()}
