"""The memory of NVIDIA GPUs, from the driver's own library, so that a process that serves HTTP needs no torch."""

from contextlib import suppress
from dataclasses import dataclass

import pynvml


@dataclass(frozen=True)
class GpuMemory:
    """One device as the driver reports it, for all processes together."""

    index: int
    name: str
    used_bytes: int
    total_bytes: int


def gpu_memory() -> list[GpuMemory]:
    """Return every GPU that the driver shows; none where there is no driver."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        return [_read(index) for index in range(pynvml.nvmlDeviceGetCount())]
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _read(index: int) -> GpuMemory:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    name = pynvml.nvmlDeviceGetName(handle)
    return GpuMemory(index, name if isinstance(name, str) else name.decode(), int(memory.used), int(memory.total))
