"""How the first process of `kinora serve` ends when its database was removed: BentoML ends with 0 after SIGTERM."""

import atexit
import os
import sys

from shared.errors import Problem
from shared.process.lifetime import EXIT_STATE_LOST
from shared.settings import Settings


def tell_loss_at_exit(settings: Settings) -> None:
    """Have this process end with EXIT_STATE_LOST, and say why, where the embedded database is gone by then.

    The service that notices the loss asks BentoML's master to stop, and whoever started that must not take it for an
    end in good order. Does nothing in any other process, and without the embedded database.
    """
    if settings.master_pid == os.getpid() and settings.database_url is None:
        atexit.register(_exit_if_lost, settings)


def _exit_if_lost(settings: Settings) -> None:
    data = settings.state_dir / "postgres"
    if not (data / "PG_VERSION").exists():
        sys.stderr.write(Problem("database_lost", folder=data).sentence(settings.language) + "\n")
        sys.stderr.flush()
        os._exit(EXIT_STATE_LOST)
