"""Stepping down: a take that does not fit into memory is made once more under the next smaller plan."""

import gc
import logging
from collections.abc import Callable
from typing import Any

import torch

from services.creation.engine import Image, Step
from services.creation.engines.wan.generation_request import Generator, Take
from services.creation.engines.wan.plans import Plan, step_down
from shared.errors import JobFailed

logger = logging.getLogger("bentoml.kinora.wan")


class Ladder:
    """A generator that loads itself by plan. What it stepped down to it keeps: the memory will not come back."""

    def __init__(self, load: Callable[[Plan], Generator], plan: Plan) -> None:
        self._load = load
        self._plan = plan
        self._generator = load(plan)

    @property
    def details(self) -> dict[str, Any]:
        return self._generator.details

    @property
    def ignores(self) -> tuple[str, ...]:
        return self._generator.ignores

    @property
    def window(self) -> int:
        """How many frames a take may have now."""
        return self._plan.window

    def warm(self) -> None:
        if not _fits(self._generator.warm):
            self._down()
            self._generator.warm()

    def __call__(self, take: Take, step: Step) -> list[Image]:
        """Make the take, at the second attempt if need be; JobFailed where that does not fit either."""
        for attempt in (1, 2):
            frames: list[list[Image]] = []
            if _fits(lambda frames=frames: frames.append(self._generator(take, step))):  # type: ignore[misc]  # bound now
                return frames[0]
            if attempt == 1:
                self._down()
        raise JobFailed("creation_out_of_memory", plan=self._plan.name)

    def _down(self) -> None:
        lower = step_down(self._plan)
        if lower is None:
            raise JobFailed("creation_out_of_memory", plan=self._plan.name)
        logger.warning("out of memory under plan %s: going on under %s", self._plan.name, lower.name)
        del self._generator
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self._plan, self._generator = lower, self._load(lower)


def _fits(work: Callable[[], None]) -> bool:
    """Work, and tell whether the memory was enough. The error's traceback, which holds the tensors, ends here."""
    try:
        work()
    except (torch.OutOfMemoryError, MemoryError):
        return False
    except RuntimeError as error:  # how torch says it on a CPU
        if "can't allocate memory" not in str(error):
            raise
        return False
    return True
