"""The runner: a process that owns one model and runs one task after another with it.

`python -m services.NAME.runner [--kind preview] [--slot 1]`. It needs the database and the media, nothing of the
service: started by the service on one machine, by hand or by an orchestrator on many.
"""

import argparse
import asyncio
import contextvars
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID

from shared import logs
from shared.contract.messages import Callback
from shared.contract.request import TaskRequest
from shared.database.database import Database
from shared.database.pool import Connection, Pool
from shared.errors import JobFailed, Problem, Unavailable
from shared.pipeline.job import Job, JobStopped, Result
from shared.process.file_lock import FileLock
from shared.process.lifetime import LOW, LOWEST, event_loop_watchdog, lower_priority, on_stdin_eof
from shared.queue.client import RUN, Queue, run_queue
from shared.queue.worker import QueueWorker, TryLater, WorkerPlan
from shared.queue.worker_slot import Slot
from shared.runner.running_job import CancellationToken, RunningJob, StopReason
from shared.settings import Settings
from shared.tasks import callbacks, heartbeats, rows
from shared.tasks.recovery import TaskRecovery
from shared.tasks.workspace import Workspace, check_disk_space
from shared.vocabulary import ServiceName, TaskState

PROGRESS_SECONDS = 0.5  # how often progress is written and a cancel is seen
GRACE_SECONDS = 5.0  # how long a pipeline may take to stop before its process ends; with the beat below the promised 10
FINAL_WRITE_SECONDS = 10.0
LOCK_POLL_SECONDS = 0.1
EXIT_UNRESPONSIVE = 70
WATCHDOG_SECONDS = 120.0  # without one turn of the event loop, however starved the machine is
NVIDIA = Path("/dev/nvidiactl")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TaskHandler:
    """What one kind of task needs: its request, its model, and the pipeline that brings them together."""

    request: type[TaskRequest]
    load: Callable[[Settings], Any]
    work: Callable[[Job, Any, Any], Result]


def main(service: ServiceName, lanes: Mapping[str, Callable[[], TaskHandler]]) -> None:
    """Run one lane of a service until SIGTERM; the entry point of every runner module.

    A lane is opened with the first task, or at start with `KINORA_PRELOAD`: the libraries of a model take seconds and
    hundreds of megabytes, which an idle runner does not need.
    """
    parser = argparse.ArgumentParser(description=f"Runs {service} tasks.")
    parser.add_argument("--kind", choices=sorted(lanes), default="generate")
    parser.add_argument("--slot", type=int, default=0, help="tells several runners of one machine apart")
    parser.add_argument("--exit-on-stdin-eof", action="store_true", help="leave when standard input ends")
    parser.add_argument("--ready-fd", type=int, help="a descriptor that gets one byte when the process is up")
    options = parser.parse_args()
    settings = Settings.load()
    logs.configure(settings, service=service, kind=options.kind)
    if settings.device != "cuda" and not (settings.device == "auto" and NVIDIA.exists()):
        lower_priority(LOWEST if options.kind == "generate" else LOW)  # a preview has somebody waiting for it
    runner = Runner(service, options.kind, lanes[options.kind], settings, slot=options.slot)
    asyncio.run(runner.serve(exit_on_stdin_eof=options.exit_on_stdin_eof, ready_fd=options.ready_fd))


class Runner:
    """One lane at work. The event loop beats, watches and writes; the model has a thread of its own."""

    def __init__(
        self,
        service: ServiceName,
        kind: str,
        open_lane: Callable[[], TaskHandler],
        settings: Settings,
        *,
        slot: int = 0,
    ) -> None:
        self._service = service
        self._kind = kind
        self._open_lane = open_lane
        self._settings = settings
        self._database = Database(settings)
        self._workplace = Workspace(settings)
        self._lane_queue = run_queue(service, kind, settings.version)
        self._slot = Slot(settings.state_dir, f"{self._lane_queue}.{slot}")
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._stop: CancellationToken | None = None  # of the running task
        self._drained = False  # what runs has had its time to finish

    async def serve(self, *, exit_on_stdin_eof: bool = False, ready_fd: int | None = None) -> None:
        """Take the slot and work until asked to stop; then finish or hand back what runs."""
        loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.drain)
        watchdog = asyncio.create_task(event_loop_watchdog(WATCHDOG_SECONDS), name="watchdog")
        if exit_on_stdin_eof:
            on_stdin_eof(partial(loop.call_soon_threadsafe, self.drain))
        if ready_fd is not None:
            with suppress(BrokenPipeError):  # killed meanwhile: the end of standard input ends this process
                os.write(ready_fd, b"!")
            os.close(ready_fd)
        if not await self._slot.take(self._stopping):
            return
        if not await self._open_database():
            await asyncio.to_thread(self._database.stop)
            return
        self._pool = await Pool(self._database.uri).open()
        self._queue = Queue()
        self._recovery = TaskRecovery(self._settings, self._pool, self._queue)
        with suppress(Unavailable):  # another time
            await self._recovery.remove_stale_workspaces()
        if self._settings.preload:
            await self._preload()
        logger.info("%s: ready", self._slot.name)
        plan = WorkerPlan(
            queues=(self._lane_queue,),
            handlers={RUN: self.run},
            periodic_tasks=self._recovery.periodic_tasks,
            recover=self._recovery.recover_job,
            every_heartbeat=(self._record_version, self._recovery.reap_dead_workers),
        )
        self._worker = QueueWorker(self._pool.raw, self._slot)
        await self._worker.serve(plan, self._stopping)
        await self._pool.close()
        await asyncio.to_thread(self._database.stop)
        self._slot.free()
        watchdog.cancel()

    def drain(self) -> None:
        """Take no more tasks; the running one has `drain_seconds` to finish. Calling this again changes nothing."""
        if not self._stopping.is_set():
            self._stopping.set()
            asyncio.get_running_loop().call_later(self._settings.drain_seconds, self._hand_back)

    async def run(self, row_id: UUID) -> None:
        """Run one queued task to its end, or hand it back. The queue's handler."""
        async with self._pool.transaction() as connection:
            row = await rows.claim(connection, row_id)
        if row is None:
            async with self._pool.transaction() as connection:
                found = await rows.read(connection, row_id)
            if found and found.state == "queued":  # a cancel that came while it was on its way back
                await self._recovery.recover_run(row_id)
            return
        logs.this_process_runs(task_id=row.task_id, attempt=row.attempt)
        logger.info("task %s: attempt %s begins", row.task_id, row.attempt)
        self._stop = CancellationToken()
        if self._drained:  # the time was over while the row was being claimed
            self._hand_back()
        try:
            await self._attempt(row, self._stop)
        finally:
            self._stop = None
            logs.this_process_runs()

    async def _attempt(self, row: rows.TaskRow, stop: CancellationToken) -> None:
        loop = asyncio.get_running_loop()
        self._begun = float("inf")  # until the model's thread is at work: waiting for the GPU is not running
        job = RunningJob(
            row, self._settings, self._workplace.folder(row), stop, confirm=partial(self._confirm, loop, row, stop)
        )
        # In a copy of the context: what the thread logs belongs to the task.
        thread = loop.run_in_executor(self._thread, contextvars.copy_context().run, self._work, row, job)
        while not thread.done():
            await asyncio.wait({thread}, timeout=PROGRESS_SECONDS)
            if thread.done():
                break
            if time.monotonic() - self._begun > self._settings.task_timeout_seconds:
                stop.cancel("out_of_time")
            if stop.overdue(GRACE_SECONDS):
                await self._abandon(row, job, stop)
            await self._heartbeat(row, job, stop)
        outcome = await thread
        await self._conclude(row, job, stop, outcome)

    def _work(self, row: rows.TaskRow, job: RunningJob) -> Result | BaseException:
        """Everything that happens in the model's thread; returns what came of it."""
        try:
            with self._turn_on_gpu(job):
                self._begun = time.monotonic()
                job.check()
                self._workplace.prepare(row)
                check_disk_space([Path(row.request["dist_dir"]), self._settings.state_dir])
                model = self._model
                job.check()
                return self._lane.work(job, self._lane.request.model_validate(row.request), model)
        except BaseException as error:  # noqa: BLE001  # a task must have its end, whatever its pipeline does
            return error
        finally:
            self._workplace.leave(row)

    async def _conclude(
        self, row: rows.TaskRow, job: RunningJob, stop: CancellationToken, outcome: Result | BaseException
    ) -> None:
        """Bring what came of an attempt into the database, however long that takes."""
        if isinstance(outcome, JobStopped):
            match stop.reason:
                case "draining":
                    self._withdraw(row, job)
                    await self._pool.retry_until_committed(
                        partial(rows.requeue, row=row.id, attempt=row.attempt, crashed=False)
                    )
                    logger.info("task %s: handed back", row.task_id)
                    raise TryLater
                case "fenced":
                    self._withdraw(row, job)
                    await self._leave_fenced(row)
                    return
        state, body = self._verdict(row, stop.reason, outcome)
        if state != "succeeded":
            self._withdraw(row, job)
        memo = (outcome.memo, outcome.artifact_key) if isinstance(outcome, Result) else (None, "")
        ended = await self._pool.retry_until_committed(
            partial(self._end, row=row, job=job, state=state, body=body, memo=memo)
        )
        if ended != state:
            self._withdraw(row, job)
        if ended is None:
            await self._leave_fenced(row)
            return
        logger.info("task %s: %s", row.task_id, ended)

    def _withdraw(self, row: rows.TaskRow, job: RunningJob) -> None:
        """Take back what was published; a folder that refuses must not keep the task from its end."""
        try:
            job.outputs.withdraw()
        except (OSError, Problem) as problem:
            logger.warning("task %s: its files could not be taken back: %s", row.task_id, problem)

    def _verdict(
        self, row: rows.TaskRow, reason: StopReason | None, outcome: Result | BaseException
    ) -> tuple[TaskState, Callback]:
        """Return the state and the callback that an outcome amounts to."""
        match outcome:
            case Result():
                return "succeeded", Callback(
                    task_id=row.task_id,
                    preview_image=outcome.preview,
                    reference_images=list(outcome.references),
                    video_url=outcome.video,
                )
            case JobStopped():
                seconds = round(self._settings.task_timeout_seconds)
                problem: Problem = JobFailed(reason or "cancelled", seconds=seconds)
                state: TaskState = "failed" if reason == "out_of_time" else "cancelled"
                return state, callbacks.failure(row, problem, self._settings.language)
            case Problem():
                problem = outcome
            case MemoryError():
                problem = JobFailed("out_of_memory")
            case _:
                logger.error("task %s failed", row.task_id, exc_info=outcome)
                problem = JobFailed("internal", kind=type(outcome).__name__)
        return "failed", callbacks.failure(row, problem, self._settings.language)

    async def _end(
        self,
        connection: Connection,
        *,
        row: rows.TaskRow,
        job: RunningJob,
        state: TaskState,
        body: Callback,
        memo: tuple[dict[str, Any] | None, str],
    ) -> TaskState | None:
        """Write an end once; return the state it got, None when the attempt was fenced before."""
        now = await rows.read(connection, row.id, lock=True)
        if now is None or now.attempt != row.attempt:
            return None
        if not now.active:  # the answer to our own commit was lost, or somebody else ended it
            return now.state if now.result == body.model_dump() else None
        if now.state != "running":
            return None
        if now.cancel and state == "succeeded":
            state, body = "cancelled", callbacks.failure(row, JobFailed("cancelled"), self._settings.language)
            memo = (None, "")
        await callbacks.finish_task(
            connection, self._queue, row, state, body, details=job.details, memo=memo[0], artifact_key=memo[1] or None
        )
        return state

    async def _record_version(self) -> None:
        """Say that this version takes tasks; one that drains does not."""
        if not self._stopping.is_set():
            async with self._pool.transaction() as connection:
                await heartbeats.use_async_commit(connection)
                await heartbeats.record(connection, self._service, self._kind, self._settings.version)

    async def _heartbeat(self, row: rows.TaskRow, job: RunningJob, stop: CancellationToken) -> None:
        """Write progress, learn whether to go on. While the storage is away the task just goes on."""
        try:
            async with self._pool.transaction() as connection:
                now = await rows.record_heartbeat(connection, row, job.progress.value)
        except Unavailable:
            return
        if now is None:
            stop.cancel("fenced")
        elif now.cancel:
            stop.cancel("cancelled")

    def _confirm(self, loop: asyncio.AbstractEventLoop, row: rows.TaskRow, stop: CancellationToken) -> None:
        """Block the model's thread until the row has said whether this attempt may publish."""

        async def ask() -> None:
            now = await self._pool.retry_until_committed(partial(rows.read, row=row.id))
            if now is None or now.attempt != row.attempt or now.state != "running":
                stop.cancel("fenced")
            elif now.cancel:
                stop.cancel("cancelled")

        asyncio.run_coroutine_threadsafe(ask(), loop).result()

    async def _abandon(self, row: rows.TaskRow, job: RunningJob, stop: CancellationToken) -> NoReturn:
        """End the process around a pipeline that does not stop, after the task has got what it was promised."""
        logger.error("task %s does not stop (%s): the runner ends", row.task_id, stop.reason)
        with suppress(Exception):  # nothing may keep a wedged process; what was not said here its successor settles
            if stop.reason == "draining":
                requeue = partial(rows.requeue, row=row.id, attempt=row.attempt, crashed=False)
                await self._pool.retry_until_committed(requeue, seconds=FINAL_WRITE_SECONDS)
            elif stop.reason != "fenced":
                state, body = self._verdict(row, stop.reason, JobStopped())
                end = partial(self._end, row=row, job=job, state=state, body=body, memo=(None, ""))
                await self._pool.retry_until_committed(end, seconds=FINAL_WRITE_SECONDS)
        with suppress(OSError, Problem):
            job.outputs.sweep()
        self._workplace.leave(row)
        os._exit(EXIT_UNRESPONSIVE)

    async def _leave_fenced(self, row: rows.TaskRow) -> None:
        """Leave a task that belongs to a successor by now, as after a while without the network.

        When the queue still counts its job as ours, only the end of this process can make it settle that.
        """
        logger.error("task %s: attempt %s was taken over", row.task_id, row.attempt)
        if await self._pool.retry_until_committed(partial(self._worker.owns_run, row=row.id)):
            os._exit(EXIT_UNRESPONSIVE)

    def _hand_back(self) -> None:
        self._drained = True
        if self._stop:
            self._stop.cancel("draining")

    @cached_property
    def _lane(self) -> TaskHandler:
        return self._open_lane()

    @cached_property
    def _model(self) -> Any:
        """The model, loaded at the first use and kept; a failed load is tried again by the next task."""
        started = time.monotonic()
        model = self._lane.load(self._settings)
        logger.info("model loaded in %.1f s", time.monotonic() - started)
        return model

    async def _preload(self) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, lambda: self._model)
        except Exception:
            logger.exception("the model could not be loaded ahead of the first task")

    @contextmanager
    def _turn_on_gpu(self, job: RunningJob) -> Iterator[None]:
        """Hold the machine's GPU while a task runs, if the settings ask for it; a preview never waits for it."""
        if not self._settings.gpu_exclusive or self._kind == "preview":
            yield
            return
        lock = FileLock(self._settings.state_dir / "gpu.lock")
        while not lock.try_acquire():
            job.check()
            time.sleep(LOCK_POLL_SECONDS)
        try:
            yield
        finally:
            lock.release()

    async def _open_database(self) -> bool:
        """Wait for the storage; False when asked to stop meanwhile."""
        while not self._stopping.is_set():
            try:
                await asyncio.to_thread(self._database.start)
            except Unavailable:
                logger.warning("%s: no storage yet", self._slot.name)
                await asyncio.sleep(PROGRESS_SECONDS)
            else:
                return True
        return False
