"""The queue as everybody but its workers sees it: jobs are queued, moved and taken back in the caller's transaction.

A task row is the truth about a task; its job only brings it to a runner of the version that accepted it. Deferring the
job in the transaction that writes the row keeps the two together. A dead worker's jobs return to the queue as soon as
its successor takes over the slot or, when the whole machine is gone, after `STALLED_SECONDS` without a heartbeat.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import ConnectorException
from procrastinate.schema import SchemaManager

RUN = "kinora.run"
HELP = "kinora.help"
DELIVER = "kinora.deliver"
CALLBACKS = "callbacks"
HOUSEKEEPING = "housekeeping"
CHANNEL = "procrastinate_queue_v1#"  # this and a queue's name: the channel on which its workers are notified

BEHIND_TASKS = -1  # the priority of help: whole tasks, at 0, go first

HEARTBEAT_SECONDS = 5.0  # between two heartbeats of a worker, and between two searches for stalled workers
STALLED_SECONDS = 25.0  # a worker without a heartbeat for so long, while the storage answered, is taken for dead

Connection = psycopg.AsyncConnection[Any]


@dataclass(frozen=True)
class AbandonedJob:
    """A job that a dead worker holds; whoever requeues it checks first that the worker still holds it."""

    job: int
    worker: int | None
    task: str  # RUN, HELP, DELIVER or a periodic task
    row: UUID | None  # of RUN, HELP and DELIVER


class Queue:
    """The queue inside its callers' transactions; it needs no connection of its own."""

    def __init__(self) -> None:
        self._app = App(connector=PsycopgConnector())

    async def defer_run(self, connection: Connection, service: str, kind: str, version: str, row: UUID) -> int:
        """Queue a run for the runners of a version inside the caller's transaction; return the job's id."""
        return await self._defer(connection, RUN, run_queue(service, kind, version), row)

    async def defer_help(self, connection: Connection, service: str, kind: str, version: str, row: UUID) -> int:
        """Queue a call for help with a run, behind all runs, inside the caller's transaction; return the job's id."""
        return await self._defer(connection, HELP, run_queue(service, kind, version), row, priority=BEHIND_TASKS)

    async def drop_help(self, connection: Connection, row: UUID) -> None:
        """Delete the calls for help with a run that nobody follows, inside the caller's transaction."""
        await connection.execute(
            "DELETE FROM procrastinate_jobs WHERE task_name = %s AND args->>'id' = %s AND status = 'todo'",
            (HELP, str(row)),
        )

    async def helpers(self, connection: Connection, row: UUID) -> tuple[int, int]:
        """Count the calls for help with a run that wait, and those that a runner follows."""
        cursor = await connection.execute(
            "SELECT count(*) FILTER (WHERE status = 'todo') AS waiting,"
            " count(*) FILTER (WHERE status = 'doing') AS busy"
            " FROM procrastinate_jobs WHERE task_name = %s AND args->>'id' = %s AND status IN ('todo', 'doing')",
            (HELP, str(row)),
        )
        [found] = await cursor.fetchall()
        return found["waiting"], found["busy"]

    async def runs_wait(self, connection: Connection, queue: str) -> bool:
        """Whether a whole run waits in a queue for a runner."""
        cursor = await connection.execute(
            "SELECT 1 FROM procrastinate_jobs WHERE queue_name = %s AND task_name = %s AND status = 'todo'"
            " AND (scheduled_at IS NULL OR scheduled_at <= now()) LIMIT 1",
            (queue, RUN),
        )
        return await cursor.fetchone() is not None

    async def defer_callback(self, connection: Connection, callback: UUID) -> int:
        """Queue a delivery inside the caller's transaction; return the job's id."""
        return await self._defer(connection, DELIVER, CALLBACKS, callback)

    async def drop(self, connection: Connection, job_id: int | None) -> None:
        """Delete a waiting job inside the caller's transaction; a running one stays."""
        if job_id is not None:
            with _psycopg_errors():
                await self._app.job_manager.cancel_job_by_id_async(job_id, delete_job=True, connection=connection)

    async def lost(self, connection: Connection, job_ids: list[int]) -> set[int]:
        """Return the ids of the jobs that neither wait nor run."""
        cursor = await connection.execute(
            "SELECT id FROM procrastinate_jobs WHERE id = ANY(%s) AND status IN ('todo', 'doing')", (job_ids,)
        )
        return set(job_ids) - {row["id"] for row in await cursor.fetchall()}

    async def workers(self, connection: Connection, job_ids: list[int]) -> dict[int, int]:
        """Return the worker of each job that has one, by the job's id."""
        cursor = await connection.execute(
            "SELECT id, worker_id FROM procrastinate_jobs WHERE id = ANY(%s) AND worker_id IS NOT NULL", (job_ids,)
        )
        return {row["id"]: row["worker_id"] for row in await cursor.fetchall()}

    async def send_heartbeat_for(self, connection: Connection, worker: int) -> None:
        """Write a heartbeat, inside the caller's transaction, for a worker that may lack the CPU time to do so."""
        await connection.execute("SELECT procrastinate_update_heartbeat_v1(%s)", (worker,))

    async def bring_forward(self, connection: Connection, job_ids: list[int]) -> None:
        """Run waiting jobs now that were to run later, inside the caller's transaction."""
        cursor = await connection.execute(
            "UPDATE procrastinate_jobs SET scheduled_at = now() WHERE id = ANY(%s) AND status = 'todo'"
            " RETURNING queue_name",
            (job_ids,),
        )
        for queue in {row["queue_name"] for row in await cursor.fetchall()}:
            await _notify_workers(connection, queue)

    async def move(self, connection: Connection, queues: Mapping[int, str]) -> list[int]:
        """Move waiting jobs to other queues inside the caller's transaction; return the ids of those that moved."""
        cursor = await connection.execute(
            "UPDATE procrastinate_jobs job SET queue_name = chosen.queue"
            " FROM unnest(%s::bigint[], %s::text[]) AS chosen (id, queue)"
            " WHERE job.id = chosen.id AND job.status = 'todo' RETURNING job.id",
            (list(queues), list(queues.values())),
        )
        moved = [row["id"] for row in await cursor.fetchall()]
        for queue in {queues[job] for job in moved}:
            await _notify_workers(connection, queue)
        return moved

    async def stalled(self, connection: Connection) -> list[AbandonedJob]:
        """Return the jobs of workers without a heartbeat for `STALLED_SECONDS`."""
        return await _abandoned_jobs(
            connection,
            "LEFT JOIN procrastinate_workers worker ON worker.id = job.worker_id WHERE job.status = 'doing'"
            " AND (worker.id IS NULL OR worker.last_heartbeat < now() - make_interval(secs => %s))",
            STALLED_SECONDS,
        )

    async def lock_if_abandoned(self, connection: Connection, abandoned: AbandonedJob) -> bool:
        """Lock a job until the transaction ends; False when its worker no longer holds it."""
        cursor = await connection.execute(
            "SELECT 1 FROM procrastinate_jobs WHERE id = %s AND worker_id IS NOT DISTINCT FROM %s AND status = 'doing'"
            " FOR UPDATE",
            (abandoned.job, abandoned.worker),
        )
        return await cursor.fetchone() is not None

    async def requeue_or_fail(self, connection: Connection, abandoned: AbandonedJob, *, again: bool) -> None:
        """Queue a job again, or fail it, inside the transaction in which `lock_if_abandoned` returned True."""
        if again:
            await connection.execute(
                "SELECT procrastinate_retry_job_v2(%s, NULL::timestamptz, NULL, NULL, NULL)", (abandoned.job,)
            )
            cursor = await connection.execute(
                "SELECT queue_name FROM procrastinate_jobs WHERE id = %s", (abandoned.job,)
            )
            await _notify_workers(connection, (await cursor.fetchall())[0]["queue_name"])
        else:
            await connection.execute("SELECT procrastinate_finish_job_v1(%s, 'failed', true)", (abandoned.job,))

    async def _defer(self, connection: Connection, task: str, queue: str, id_: UUID, *, priority: int = 0) -> int:
        with _psycopg_errors():
            job = self._app.configure_task(task, queue=queue, connection=connection, priority=priority)
            return await job.defer_async(id=str(id_))


async def jobs_of(connection: Connection, worker: int) -> list[AbandonedJob]:
    """Return the jobs that a worker holds; call when it is known to be dead."""
    return await _abandoned_jobs(connection, "WHERE job.worker_id = %s AND job.status = 'doing'", worker)


@contextmanager
def _psycopg_errors() -> Iterator[None]:
    """Raise psycopg's own errors inside the caller's transaction: they tell it that the storage is unavailable."""
    try:
        yield
    except ConnectorException as error:
        if isinstance(error.__cause__, psycopg.Error):
            raise error.__cause__ from None
        raise


async def _abandoned_jobs(connection: Connection, clause: LiteralString, *values: object) -> list[AbandonedJob]:
    cursor = await connection.execute(
        f"SELECT job.id, job.worker_id, job.task_name, job.args->>'id' AS row FROM procrastinate_jobs job {clause}",  # noqa: S608  # constants of ours
        values,
    )
    return [
        AbandonedJob(found["id"], found["worker_id"], found["task_name"], UUID(found["row"]) if found["row"] else None)
        for found in await cursor.fetchall()
    ]


async def _notify_workers(connection: Connection, queue: str) -> None:
    """Tell the workers of a queue that a job waits: the queue's own trigger does so only for a new job."""
    await connection.execute(
        "SELECT pg_notify(%s, %s)", (f"{CHANNEL}{queue}", json.dumps({"type": "job_inserted", "job_id": 0}))
    )


def run_queue(service: str, kind: str, version: str) -> str:
    """Name the queue of a service's runs of one kind, accepted by one version."""
    return f"{service}.{kind}@{version}"


def queue_schema() -> LiteralString:
    """Return the SQL that creates the queue's tables."""
    return SchemaManager.get_schema()
