"""The runner's process: it takes a slot, opens the storage, and hands both to a `Runner` until it is asked to stop.

`python -m services.NAME.runner [--kind preview] [--slot 1]`. It needs the database and the media, nothing of the
service: started by the service on one machine, by hand or by an orchestrator on many.
"""

import argparse
import asyncio
import logging
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial

from shared import logs
from shared.database.database import Database
from shared.database.pool import Pool
from shared.errors import Unavailable
from shared.gpu import uses_gpu
from shared.process.lifetime import EXIT_STATE_LOST, LOW, LOWEST, event_loop_watchdog, lower_priority, on_stdin_eof
from shared.queue.client import run_queue
from shared.queue.worker_slot import Slot
from shared.runner.cold_start import ColdStart, process_seconds
from shared.runner.model_thread import ModelThread
from shared.runner.runner import Runner
from shared.runner.task_handler import OpenHandler
from shared.settings import Settings
from shared.tracing.tracer import Tracer
from shared.vocabulary import ServiceName, TaskKind

STORAGE_RETRY_SECONDS = 0.5
WATCHDOG_SECONDS = 120.0  # without one turn of the event loop, however starved the machine is

logger = logging.getLogger(__name__)


def main(service: ServiceName, handlers: Mapping[TaskKind, OpenHandler]) -> None:
    """Run tasks of one kind until SIGTERM; the entry point of every runner module.

    The handler is opened with the first task, or at start with `KINORA_PRELOAD`: the libraries of a model take seconds
    and hundreds of megabytes, which an idle runner does not need.
    """
    parser = argparse.ArgumentParser(description=f"Runs {service} tasks.")
    parser.add_argument("--kind", choices=sorted(handlers), default="generate")
    parser.add_argument("--slot", type=int, default=0, help="tells several runners of one machine apart")
    parser.add_argument("--exit-on-stdin-eof", action="store_true", help="leave when standard input ends")
    parser.add_argument(
        "--predecessor-killed", action="store_true", help="what it left is no fault of the task that it ran"
    )
    parser.add_argument("--ready-fd", type=int, help="a descriptor that gets one byte when the process is up")
    options = parser.parse_args()
    settings = Settings.load()
    logs.configure(settings, service=service, kind=options.kind)
    if not uses_gpu(settings):
        lower_priority(LOWEST if options.kind == "generate" else LOW)  # a preview has somebody waiting for it
    asyncio.run(run(service, options, handlers[options.kind], settings))


async def run(service: ServiceName, options: argparse.Namespace, open_handler: OpenHandler, settings: Settings) -> None:
    """Take the slot and run tasks until asked to stop; then finish or requeue what runs."""
    stopping = asyncio.Event()
    _set_when_asked_to_stop(stopping, exit_on_stdin_eof=options.exit_on_stdin_eof)
    watchdog = asyncio.create_task(event_loop_watchdog(WATCHDOG_SECONDS), name="watchdog")
    if options.ready_fd is not None:
        _report_ready(options.ready_fd)
    imported_seconds = process_seconds()
    slot = Slot(settings.state_dir, f"{run_queue(service, options.kind, settings.version)}.{options.slot}")
    if not await slot.take(stopping):
        return
    free_at = time.monotonic()  # waiting for a predecessor to end is no part of a start
    # The service that started this runner makes the database: a runner that outlives its folder must not.
    database = Database(settings, create=not options.exit_on_stdin_eof, on_loss=partial(os._exit, EXIT_STATE_LOST))
    if await _started(database, slot, stopping):
        pool = await Pool(database.uri).open()
        model = ModelThread(open_handler, settings)
        tracer = Tracer.of(settings, service)
        start_seconds = imported_seconds + time.monotonic() - free_at
        runner = Runner(
            service,
            options.kind,
            settings,
            pool=pool,
            slot=slot,
            model=model,
            stopping=stopping,
            start=ColdStart(service, options.kind, settings.version, start_seconds=start_seconds),
            predecessor_killed=options.predecessor_killed,
            tracer=tracer,
        )
        await runner.serve()
        await asyncio.to_thread(tracer.close)
        await pool.close()
    await asyncio.to_thread(database.stop)
    slot.free()
    watchdog.cancel()


def _set_when_asked_to_stop(stopping: asyncio.Event, *, exit_on_stdin_eof: bool) -> None:
    """Set the event on SIGTERM and SIGINT, and with the end of standard input if asked for."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    if exit_on_stdin_eof:
        on_stdin_eof(partial(loop.call_soon_threadsafe, stopping.set))


def _report_ready(descriptor: int) -> None:
    with suppress(BrokenPipeError):  # the supervisor is gone, and standard input ends with it
        os.write(descriptor, b"!")
    os.close(descriptor)


async def _started(database: Database, slot: Slot, stopping: asyncio.Event) -> bool:
    """Wait for the storage; False when asked to stop meanwhile."""
    said = ""
    while not stopping.is_set():
        try:
            await asyncio.to_thread(database.start)
        except Unavailable as problem:
            if str(problem) != said:
                logger.warning("%s: %s; retrying", slot.name, problem)
            said = str(problem)
            await asyncio.sleep(STORAGE_RETRY_SECONDS)
        else:
            return True
    return False
