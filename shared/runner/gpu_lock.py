"""One task at a time on the machine's GPU, for operators who ask for it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shared.process.file_lock import FileLock
from shared.settings import Settings
from shared.vocabulary import TaskKind

POLL_SECONDS = 0.1


@contextmanager
def hold_gpu(settings: Settings, kind: TaskKind, check: Callable[[], None]) -> Iterator[None]:
    """Hold the machine's GPU if the settings ask for it; a preview never waits for it.

    Blocks until the GPU is free; `check` is called meanwhile and may raise to give up.
    """
    if not settings.gpu_exclusive or kind == "preview":
        yield
        return
    lock = FileLock(settings.state_dir / "gpu.lock")
    while not lock.try_acquire():
        check()
        time.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        lock.release()
