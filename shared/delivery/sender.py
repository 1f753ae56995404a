"""The sender of callbacks: sends a stored callback until the backend accepts it, or for three days.

Requests follow Standard Webhooks. A callback that was not accepted in that time is parked for an operator.
"""

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from uuid import UUID

import httpx
from standardwebhooks import Webhook

from shared import logs
from shared.database.pool import Connection, Pool
from shared.delivery.answer import Undelivered, Unreached, check_answer, read_answer
from shared.errors import Unavailable
from shared.queue.client import Queue
from shared.queue.worker import TryLater
from shared.settings import Settings
from shared.tasks import callbacks, tries
from shared.tasks.callbacks import COLUMNS, StoredCallback
from shared.tasks.tries import Try

PAUSES = (5.0, 30.0, 120.0, 300.0)  # seconds after the first failures, then every LAST_PAUSE
LAST_PAUSE = 300.0
JITTER = 0.2
GIVE_UP_AFTER = timedelta(hours=72)
LONGEST_WISH = 3600.0  # seconds; a longer Retry-After counts as this
CONNECT_SECONDS = 3.0
TOTAL_SECONDS = 15.0
PROBE_SECONDS = 10.0  # between two tries in all, while the receiver is away
_OF_A_PROXY = {httpx.codes.BAD_GATEWAY, httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.GATEWAY_TIMEOUT}

logger = logging.getLogger(__name__)


class CallbackSender:
    """Sends callbacks to the URL of the settings; calls `attempted` with the outcome of every try."""

    def __init__(
        self, settings: Settings, pool: Pool, attempted: Callable[[str], None] = lambda _outcome: None
    ) -> None:
        self._url = settings.callbacks.url
        self._pool = pool
        self._queue = Queue()
        self._attempted = attempted
        secret = settings.callbacks.webhook_secret.get_secret_value() if settings.callbacks.webhook_secret else ""
        self._signers = [Webhook(part) for part in secret.split()]  # several while a secret is being rotated
        # A new connection each time: a kept one may be closed by the receiver just when it is used.
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(TOTAL_SECONDS, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_keepalive_connections=0),
            follow_redirects=False,
            trust_env=False,
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def deliver(self, key: UUID) -> None:
        """Try once; raise TryLater until it is delivered or the three days are over."""
        async with self._pool.transaction() as connection:
            cursor = await connection.execute(
                f"SELECT {COLUMNS} FROM kinora_callbacks WHERE id = %s",  # noqa: S608  # constants of ours
                (key,),
            )
            found = await cursor.fetchone()
        if not found or (delivery := StoredCallback(**found)).state != "pending":
            return
        logs.from_now_on(task_id=json.loads(delivery.body)["task_id"], callback=f"msg_{delivery.id.hex}")
        begun = time.monotonic()
        try:
            status = await self._send(delivery)
        except Undelivered as problem:
            self._attempted(problem.outcome)
            attempt = Try(problem.outcome, time.monotonic() - begun, problem.status, str(problem))
            await self._note_failure(delivery, problem, attempt)
        else:
            self._attempted("delivered")
            logger.info("callback %s delivered at try %s", delivery.id, delivery.attempts + 1)
            await self._note_delivered(delivery, Try("delivered", time.monotonic() - begun, status))

    async def _send(self, delivery: StoredCallback) -> int:
        """Send it once and return the status of an answer that took it; raise Undelivered."""
        headers = self.headers(delivery, datetime.now(UTC))
        try:
            async with (
                asyncio.timeout(TOTAL_SECONDS),
                self._client.stream("POST", self._url, content=delivery.body.encode(), headers=headers) as response,
            ):
                await _check(response)
                return response.status_code
        except TimeoutError as error:
            raise Unreached(f"no answer within {TOTAL_SECONDS:.0f} s") from error
        except httpx.HTTPError as error:
            raise Unreached(f"{type(error).__name__}: {error}".rstrip(": ")) from error

    def headers(self, delivery: StoredCallback, now: datetime) -> dict[str, str]:
        """Return the headers after the Standard Webhooks specification; the key is the same at every try."""
        key = f"msg_{delivery.id.hex}"
        headers = {
            "content-type": "application/json",
            "accept-encoding": "identity",
            "user-agent": "kinora",
            "webhook-id": key,
            "webhook-timestamp": str(int(now.timestamp())),
        }
        if self._signers:
            headers["webhook-signature"] = " ".join(s.sign(key, now, delivery.body) for s in self._signers)
        return headers

    async def _note_delivered(self, delivery: StoredCallback, attempt: Try) -> None:
        async def note(connection: Connection) -> None:
            await connection.execute(
                "UPDATE kinora_callbacks SET state = 'delivered', attempts = attempts + 1, delivered_at = now(),"
                " next_at = NULL, last_error = NULL, away_at = NULL WHERE id = %s",
                (delivery.id,),
            )
            await tries.note(connection, delivery.id, attempt)

        await self._pool.retry_until_committed(note)  # else the receiver might get it twice
        with suppress(Unavailable):  # a later one does it
            async with self._pool.transaction() as connection:
                if others := await callbacks.send_others(connection, self._queue):
                    logger.info("the receiver is back: %s callbacks that waited for it are sent now", others)

    async def probe(self) -> None:
        """While the receiver is away, try one of the callbacks that wait for it now and then; raise Unavailable."""
        async with self._pool.transaction() as connection:
            await callbacks.probe_receiver(connection, self._queue, PROBE_SECONDS)

    async def _note_failure(self, delivery: StoredCallback, problem: Undelivered, attempt: Try) -> None:
        now = datetime.now(UTC)
        again = now + timedelta(seconds=pause(delivery.attempts, problem.wish))
        parked = again - delivery.since > GIVE_UP_AFTER
        async with self._pool.transaction() as connection:
            noted = await connection.execute(
                "UPDATE kinora_callbacks SET state = %s, attempts = attempts + 1, next_at = %s, last_error = %s"
                ", away_at = CASE WHEN %s THEN now() END WHERE id = %s AND state = 'pending' AND since = %s",
                ("parked" if parked else "pending", None if parked else again, str(problem)[:500],
                 problem.away, delivery.id, delivery.since),
            )  # fmt: skip
            await tries.note(connection, delivery.id, attempt)
        if not noted.rowcount:  # replayed meanwhile: this job starts over; the row says whether there is more to do
            raise TryLater
        logger.warning("callback %s not delivered (%s); %s", delivery.id, problem, "parked" if parked else "will retry")
        if not parked:
            raise TryLater(again)


async def _check(response: httpx.Response) -> None:
    """Raise Undelivered for an answer that does not take the callback, with its status."""
    try:
        if response.is_success:
            check_answer(await read_answer(response))
            return
    except Undelivered as problem:
        problem.status = response.status_code
        raise
    wish = _retry_after(response.headers.get("retry-after"))
    away = wish is None and response.status_code in _OF_A_PROXY
    raise Undelivered(f"HTTP {response.status_code}", wish, away=away, status=response.status_code)


def pause(failures: int, wish: float | None = None) -> float:
    """Return the seconds until the next try after `failures` earlier ones, never sooner than the receiver asked for."""
    spread = random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  # spreads load, is no secret
    seconds = PAUSES[failures] if failures < len(PAUSES) else LAST_PAUSE * spread
    return max(seconds, min(wish or 0.0, LONGEST_WISH))


def _retry_after(header: str | None) -> float | None:
    """Read a Retry-After: seconds or a date; None when it says nothing usable."""
    if not header:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        return (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError):
        return None
