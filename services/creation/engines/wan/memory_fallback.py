"""Falling back: a request that does not fit into memory is run once more with the next smaller plan."""

import gc
import logging
from collections.abc import Callable
from typing import Any

import torch

from services.creation.engine import OnProgress
from services.creation.engines.wan.generation_request import GenerationRequest, Generator
from services.creation.engines.wan.plans import Plan, smaller_plan
from shared.arrays import Image
from shared.errors import JobFailed

logger = logging.getLogger("bentoml.kinora.wan")


class MemoryFallback:
    """A generator that is loaded by plan. It stays with a smaller plan: the next request needs as much memory."""

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

    def window_at(self, frame_rate: int) -> int:
        """Return how many frames a request may have with the present plan, of a model with this rate."""
        return self._plan.window_at(frame_rate)

    def warm(self) -> None:
        if not _fits(self._generator.warm):
            self._fall_back()
            self._generator.warm()

    def __call__(self, request: GenerationRequest, on_progress: OnProgress) -> list[Image]:
        """Return the frames, from a second attempt if needed. Raises JobFailed where that does not fit either."""
        for attempt in (1, 2):
            frames: list[list[Image]] = []
            if _fits(lambda frames=frames: frames.append(self._generator(request, on_progress))):  # type: ignore[misc]  # bound now
                return frames[0]
            if attempt == 1:
                self._fall_back()
        raise JobFailed("creation_out_of_memory", plan=self._plan.name)

    def _fall_back(self) -> None:
        smaller = smaller_plan(self._plan)
        if smaller is None:
            raise JobFailed("creation_out_of_memory", plan=self._plan.name)
        logger.warning("out of memory with plan %s: retrying with plan %s", self._plan.name, smaller.name)
        del self._generator
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self._plan, self._generator = smaller, self._load(smaller)


def _fits(work: Callable[[], None]) -> bool:
    """Work, and return whether the memory was enough. The error's traceback, which holds the tensors, ends here."""
    try:
        work()
    except (torch.OutOfMemoryError, MemoryError):
        return False
    except RuntimeError as error:  # what torch raises on a CPU
        if "can't allocate memory" not in str(error):
            raise
        return False
    return True
