"""Which of several engines computes a network fastest on this processor: tried once, then remembered."""

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping
from importlib.metadata import PackageNotFoundError, version

import torch
from torch import Tensor, nn

AGREEMENT = 50.0  # dB to the reference, below which an engine computes something else
FEWEST = 3  # calls
SECONDS = 0.3  # that one engine is tried for, at least
HOPELESS = 2.0  # times the fastest so far: an engine whose first call takes longer, and longer than that, has no other
LIBRARIES = ("torch", "ncnn")  # whose versions a choice depends on

logger = logging.getLogger("bentoml.kinora.engines")

Engines = Mapping[str, Callable[[], nn.Module]]


def fastest(engines: Engines, window: Tensor, remembered: MutableMapping[str, str], *, network: str) -> str:
    """Return the name of the engine that computes `window` in the least time, one thread each as frames are computed.

    The first engine is the reference: another whose answer is further than `AGREEMENT` from its own is not taken, nor
    one that fails. `remembered` keeps the choice by processor, versions and network.
    """
    if len(engines) == 1:
        return next(iter(engines))
    key = _key(network, tuple(engines))
    known = remembered.get(key)
    if known in engines:
        return str(known)
    seconds = _alone(lambda: _seconds(engines, window))
    best = min(seconds, key=lambda name: seconds[name])
    told = ", ".join(f"{name} {value * 1e3:.0f} ms" for name, value in seconds.items())
    logger.info("%s: %s is the fastest engine here (%s)", network, best, told)
    remembered[key] = best
    return best


def _seconds(engines: Engines, window: Tensor) -> dict[str, float]:
    """Return the time of each engine that agrees with the first."""
    seconds: dict[str, float] = {}
    reference: Tensor | None = None
    with torch.inference_mode():
        for name, build in engines.items():
            try:
                engine = build()
                begin = time.thread_time()
                made = engine(window)
                first = time.thread_time() - begin
            except Exception as problem:
                if reference is None:
                    raise
                logger.warning("%s cannot be used: %s", name, problem)
                continue
            reference = made if reference is None else reference
            agreement = -10 * torch.log10((made - reference).square().mean().clamp(min=1e-12))
            if not agreement >= AGREEMENT:  # no number, too
                logger.warning("%s is not used: it differs, %.1f dB", name, agreement)
                continue
            hopeless = first > max(SECONDS, HOPELESS * min(seconds.values(), default=first))
            seconds[name] = first if hopeless else _least(lambda engine=engine: engine(window))  # type: ignore[misc]
    return seconds


def _least(work: Callable[[], object]) -> float:
    """Return the least processor time of some calls: what else runs on the machine can only add to it."""
    times: list[float] = []
    begin = time.monotonic()
    while len(times) < FEWEST or time.monotonic() - begin < SECONDS:
        started = time.thread_time()
        work()
        times.append(time.thread_time() - started)
    return min(times)


def _alone(work: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Run in a thread of its own that computes with one thread, and leave this one's number as it is."""
    found: dict[str, float] = {}
    problems: list[BaseException] = []

    def run() -> None:
        torch.set_num_threads(1)
        try:
            found.update(work())
        except BaseException as problem:  # noqa: BLE001  # raised again in the caller's thread
            problems.append(problem)

    thread = threading.Thread(target=run, name="engines")
    thread.start()
    thread.join()
    if problems:
        raise problems[0]
    return found


def _key(network: str, engines: tuple[str, ...]) -> str:
    """Return what a choice depends on, in one word."""
    processor = [torch.backends.cpu.get_cpu_capability(), sorted(torch.cpu.get_capabilities().items())]
    text = json.dumps([engines, processor, [_version(name) for name in LIBRARIES]], default=str)
    return f"{network}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""
