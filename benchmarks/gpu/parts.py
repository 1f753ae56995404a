"""What the parts share: their options, the clock of the device, one row of the report."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

WARM_UPS = 2
SECONDS = 1.0  # that one figure is measured for
MOST = 50
FEWEST = 3


@dataclass(frozen=True)
class Options:
    """`weights` holds NAME.safetensors; without it the model store does. `small` is for trying a part on a CPU."""

    device: torch.device
    weights: Path | None
    small: bool
    peak: float  # TFLOP/s in fp16 that the first part measured; 0 before

    def load(self, name: str) -> dict[str, Tensor]:
        """Return the weights of that name in fp32."""
        if self.weights is None:
            from shared import weights  # noqa: PLC0415  # the model store is BentoML's, which a bare image lacks

            return {key: value.float() for key, value in weights.load_safetensors(name).items()}
        from safetensors.torch import load_file  # noqa: PLC0415

        return {key: value.float() for key, value in load_file(self.weights / f"{name}.safetensors").items()}


@dataclass(frozen=True)
class Row:
    """A line of the table and the same for machines."""

    what: str
    result: str
    share: str = ""  # of the measured peak, or of what it is compared with
    figures: dict[str, Any] | None = None


def milliseconds(work: Callable[[], object], device: torch.device) -> float:
    """Return the median time of `work` on the device, by its own clock; a CPU's by the host's."""
    for _ in range(WARM_UPS):
        work()
    if device.type != "cuda":
        begin = time.perf_counter()
        work()
        return (time.perf_counter() - begin) * 1e3
    once = _timed(work, 1)[0]
    return statistics.median(_timed(work, int(min(MOST, max(FEWEST, SECONDS * 1e3 / max(once, 1e-3))))))


def _timed(work: Callable[[], object], count: int) -> list[float]:
    events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(count)]  # type: ignore[no-untyped-call]  # torch
    for begin, end in events:
        begin.record()
        work()
        end.record()
    torch.cuda.synchronize()
    return [begin.elapsed_time(end) for begin, end in events]


def wall_milliseconds(work: Callable[[], object]) -> float:
    """Return the median time of `work`, which ends on the host."""
    for _ in range(WARM_UPS):
        work()
    times: list[float] = []
    begin = time.perf_counter()
    while len(times) < FEWEST or (time.perf_counter() - begin < SECONDS and len(times) < MOST):
        started = time.perf_counter()
        work()
        times.append((time.perf_counter() - started) * 1e3)
    return statistics.median(times)


def decibels(values: Tensor, reference: Tensor) -> float:
    """Return the PSNR between two pictures with white at 1."""
    error = (values.double().cpu() - reference.double().cpu()).square().mean()
    return float(-10 * torch.log10(error.clamp(min=1e-12)))
