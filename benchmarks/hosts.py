"""One film on several hosts: four runners, each in a network namespace with its own link to an external PostgreSQL,
against one of them. Their model sleeps, so that what is measured is how well the work is shared.

Needs root and iproute2.
"""

import asyncio
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from benchmarks.clips import write_clip
from benchmarks.report import Report
from benchmarks.sleeping_runner import Nap, running
from shared.database.database import Database
from shared.database.pool import Pool
from shared.delivery.worker import CallbackWorker
from shared.queue.client import Queue
from shared.serving.acceptance import Acceptance
from shared.settings import CallbackSettings, Settings
from shared.tasks import views
from shared.testing.callback_receiver import Receiver
from shared.testing.network_namespaces import Network, external_postgres

VERSION, PASSWORD = "1.0", "of-the-farm"
HOSTS = ("alder", "birch", "cedar", "dogwood")
FRAMES, SHORT, RATE, LENGTH = 320, 80, Fraction(25), 0.4  # of the films; seconds of a segment, which has ten frames
SECONDS_A_FRAME = 0.25
PATIENCE_SECONDS = 600.0
GOAL = 3.5


@dataclass(frozen=True)
class Made:
    """What came of one film."""

    runners: int
    seconds: float  # from its acceptance to its callback
    files: int
    callbacks: int
    segments: dict[str, Any]  # as a task's details show them


def measure() -> Report:
    """Make the same film with one runner and with four."""
    with tempfile.TemporaryDirectory(prefix="kinora-hosts-", ignore_cleanup_errors=True) as folder:
        one, four = asyncio.run(_measured(Path(folder)))
    ratio = one.seconds / four.seconds
    rows = [_row(one), _row(four), ["four runners, times as fast as one", f"{ratio:.2f}", "", "", f"{GOAL:g}"]]
    figures = {"ratio": ratio, "films": [vars(made) for made in (one, four)], "seconds_a_frame": SECONDS_A_FRAME}
    notes = (
        f"{FRAMES} frames in {four.segments['total']} segments; the model sleeps {SECONDS_A_FRAME:g} s a frame.",
        "Seconds from the acceptance to the callback; each host had made a short film before.",
    )
    columns = ("one film on hosts of their own", "seconds", "segments of each", "files, callbacks", "goal")
    return Report("hosts", "Many hosts, one film", columns, rows, figures, notes)


def _row(made: Made) -> list[str]:
    shares = ", ".join(str(count) for count in sorted(made.segments["by"].values()))
    what = "one runner" if made.runners == 1 else f"{made.runners} runners"
    return [what, f"{made.seconds:.1f}", shares, f"{made.files}, {made.callbacks}", "1, 1"]


async def _measured(home: Path) -> list[Made]:
    media = home / "media"
    (media / "out").mkdir(parents=True)
    film, short = (
        write_clip(media / f"{count}.mp4", size=(64, 48), frames=count, rate=RATE) for count in (FRAMES, SHORT)
    )
    with Network() as network:
        for name in ("database", *HOSTS):
            network.join(name)
        with external_postgres(network, "database", PASSWORD) as (url, own_url), Receiver() as receiver:
            settings = Settings(
                state_dir=home / "state", media_roots=(media,), version=VERSION,
                callbacks=CallbackSettings(url=receiver.url),
            )  # fmt: skip
            environment = {
                "KINORA_DATABASE_URL": url, "KINORA_VERSION": VERSION, "KINORA_MEDIA_ROOTS": str(media),
                "KINORA_SEGMENT_SECONDS": str(LENGTH), "KINORA_PRESET": "ultrafast",
            }  # fmt: skip
            farm = await Farm.open(settings, own_url, receiver)
            made = []
            for count in (1, len(HOSTS)):
                with ExitStack() as started:
                    for name in HOSTS[:count]:
                        started.enter_context(running(home / name, environment, 1, network.command(name)))
                    await farm.wait_for_runners(count)
                    await farm.make(short, count)  # every host has loaded what it needs
                    made.append(await farm.make(film, count))
            await farm.close()
            return made


class Farm:
    """What accepts tasks and delivers their callbacks, outside of the hosts."""

    def __init__(self, settings: Settings, pool: Pool, worker: CallbackWorker, receiver: Receiver) -> None:
        self._settings = settings
        self._pool = pool
        self._worker = worker
        self._receiver = receiver
        self._acceptance = Acceptance("upscale", settings)
        self._task_id = 0

    @classmethod
    async def open(cls, settings: Settings, url: str, receiver: Receiver) -> "Farm":
        """Make the tables and start to deliver."""
        external = settings.model_copy(update={"database_url": SecretStr(url)})
        await asyncio.to_thread(Database(external).start)
        worker = CallbackWorker(settings, "upscale", url)
        worker.start()
        return cls(settings, await Pool(url).open(), worker, receiver)

    async def close(self) -> None:
        """End what was started."""
        await self._acceptance.close()
        await asyncio.to_thread(self._worker.stop)
        await self._pool.close()

    async def wait_for_runners(self, count: int) -> None:
        """Return when so many runners take tasks; those of an earlier film have ended."""
        alive = "SELECT count(*) AS n FROM procrastinate_workers WHERE last_heartbeat > now() - interval '10 seconds'"
        while (await self._sql(alive))[0]["n"] < count + 1:  # noqa: ASYNC110  # rows; one more delivers
            await asyncio.sleep(0.2)

    async def make(self, film: Path, runners: int) -> Made:
        """Have a film made; return when its callback has come."""
        self._task_id += 1
        out = self._settings.media_roots[0] / "out"
        before = len(list(out.iterdir()))
        request = Nap(task_id=self._task_id, dist_dir=str(out), video_url=str(film), seconds=SECONDS_A_FRAME)
        begin = time.monotonic()
        await self._acceptance.accept(self._pool, Queue(), request, inputs={}, kind="generate", prepare=None)
        await asyncio.to_thread(self._receiver.wait_for, self._task_id, timeout_seconds=PATIENCE_SECONDS)
        seconds = time.monotonic() - begin
        await asyncio.sleep(1)  # what is hidden has gone, and no second callback came
        async with self._pool.transaction() as connection:
            [task] = await views.newest_runs(connection, "upscale", task_id=self._task_id, state=None, limit=1)
        files, callbacks = len(list(out.iterdir())) - before, len(self._receiver.of(self._task_id))
        return Made(runners, seconds, files, callbacks, task.details.get("segments", {}))

    async def _sql(self, statement: str) -> list[dict[str, Any]]:
        async with self._pool.transaction() as connection:
            cursor = await connection.execute(statement)
            return await cursor.fetchall()
