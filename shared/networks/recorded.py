"""Functions on a GPU, recorded once as a CUDA graph: hundreds of launches become one.

RIFE at 1080p computes for 6.6 ms and takes 10 to launch its 600 kernels one by one.
"""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch

T = TypeVar("T")

Pool = Any  # of memory, as torch hands it out; None on a CPU
WARM_UPS = 2  # calls before the recording, in which libraries choose their kernels and allocate what they keep


def shared_pool(device: torch.device) -> Pool:
    """Return a pool of memory for recordings."""
    return torch.cuda.graph_pool_handle() if device.type == "cuda" else None


class Recorded(Generic[T]):
    """Callable without arguments: repeats what `function` did, on the same memory, and returns the same tensors.

    What changes between two calls must be written into tensors that `function` reads. Its answer is overwritten by the
    next call. On a CPU it is the function itself, whose answers are new ones.
    """

    def __init__(self, function: Callable[[], T], device: torch.device, pool: Pool) -> None:
        """`pool` is shared by functions of which one runs at a time, and whose answers are kept or read before."""
        self._function = function
        self._device = device
        self._pool = pool
        self._graph: torch.cuda.CUDAGraph | None = None
        self._answer: T

    def __call__(self) -> T:
        """Record at the first call, repeat at all others."""
        if self._device.type != "cuda":
            return self._function()
        if self._graph is None:
            self._graph = self._record()
        self._graph.replay()
        return self._answer

    def _record(self) -> torch.cuda.CUDAGraph:
        current = torch.cuda.current_stream(self._device)
        beside = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]  # torch's stubs
        beside.wait_stream(current)
        with torch.cuda.stream(beside):
            for _ in range(WARM_UPS):
                self._function()
        current.wait_stream(beside)
        torch.cuda.empty_cache()  # what the warm-up took
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            self._answer = self._function()
        return graph
