"""Whether the state folder still takes what a service must store: a full disk accepts no task and loses callbacks."""

import logging
from pathlib import Path

from shared.errors import JobFailed
from shared.metrics.bounded_probe import BoundedProbe
from shared.tasks.workspace import check_disk_space

LOOK_SECONDS = 2.0
_PAGE = b"\0" * 4096  # what any file costs at least

logger = logging.getLogger("bentoml.kinora.state_room")


class StateRoom:
    """Call `look` every now and then; `problem` says what it found, "" when all is well."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._probe = BoundedProbe(self._examine, seconds=LOOK_SECONDS)
        self.problem = ""

    async def look(self) -> None:
        """Examine the folder, and log what has changed since the last time."""
        found = await self._probe.take()
        problem = f"{self._folder} does not answer" if found is None else found
        if problem != self.problem:
            if problem:
                logger.error("not ready: %s", problem)
            else:
                logger.info("the state folder takes files again")
        self.problem = problem

    def _examine(self) -> str:
        """Return why a file cannot be kept, in words; blocks as long as the file system does."""
        trial = self._folder / ".room"
        try:
            check_disk_space([self._folder])
            trial.write_bytes(_PAGE)
            trial.unlink(missing_ok=True)  # all services of a machine try the same one
        except JobFailed as problem:
            return str(problem)
        except OSError as error:
            return f"{self._folder}: {error.strerror}"
        return ""
