"""Where and in which number format networks run on this machine.

Layout and precision decide the speed of a convolution: half precision where the hardware multiplies it natively,
channels_last wherever convolutions are chosen, fp32 everywhere else.
"""

from dataclasses import dataclass
from typing import Literal

import torch

from shared.errors import Unavailable
from shared.process.cores import usable_cores

GPU_FRAMES = 2


@dataclass(frozen=True)
class Compute:
    """A device with the precision and the memory layout that are fastest on it."""

    device: torch.device
    dtype: torch.dtype
    memory_format: torch.memory_format = torch.channels_last

    @property
    def frames_at_once(self) -> int:
        """Return how many frames are best worked on side by side, see `shared.process.ordered_map`.

        On a CPU one a core, each in a thread of its own that has torch use no other. On a GPU two: while one frame
        travels or waits for the host, the card computes the other.
        """
        return usable_cores() if self.device.type == "cpu" else GPU_FRAMES

    @property
    def name(self) -> str:
        """Return a name such as "cpu float32" or "cuda:0 float16", for logs and task details."""
        return f"{self.device} {str(self.dtype).removeprefix('torch.')}"


def use_threads(count: int) -> None:
    """Have torch compute in so many threads, at least one, where the calling thread asks it to from now on."""
    torch.set_num_threads(max(1, count))


def choose_compute(wanted: Literal["auto", "cpu", "cuda"]) -> Compute:
    """Choose fp16 on CUDA, bf16 on a CPU with AMX or AVX512-BF16, else fp32; Unavailable if `wanted` is missing."""
    has_cuda = torch.cuda.is_available()
    if wanted == "cuda" and not has_cuda:
        raise Unavailable("device_missing", device=wanted)
    if wanted != "cpu" and has_cuda:
        return Compute(torch.device("cuda", torch.cuda.current_device()), torch.float16)
    return Compute(torch.device("cpu"), torch.bfloat16 if cpu_multiplies_bfloat16() else torch.float32)


def cpu_multiplies_bfloat16() -> bool:
    """Whether this CPU has instructions for it; without them bf16 is emulated and slower than fp32."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
