"""Pictures of an unfinished clip: small JPEGs beside the result, one a step, named in the task's details."""

import logging

from shared.arrays import Image
from shared.errors import Problem
from shared.media.image import write_picture
from shared.media.provenance import Label
from shared.pipeline.job import Job

DETAIL = "previews"  # the files' bare names, the newest last

logger = logging.getLogger("bentoml.kinora.creation")


class Previews:
    """Callable: keeps one picture more. They go with the task's result: none is left of a task that failed."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._names: list[str] = []
        job.details.pop(DETAIL, None)  # an earlier attempt's, which are gone

    def __call__(self, picture: Image) -> None:
        """Store a picture (height, width, 3). One that cannot be written is left out: the clip does not need it."""
        try:
            with self._job.aside(".jpg", part=f"step{len(self._names) + 1}") as target:
                write_picture(picture, target, label=Label.of(self._job.settings, target))
        except Problem as problem:
            logger.warning("task %s: a preview could not be stored: %s", self._job.task_id, problem)
            return
        self._names.append(target.name)
        self._job.tell({DETAIL: list(self._names)})

    def forget(self) -> None:
        """Name none any more: the run fails, and its files go."""
        self._job.details.pop(DETAIL, None)
