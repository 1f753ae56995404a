"""Frames side by side with one thread each, against two threads within a frame: alone, and beside a busy loop.

Both run the pipelines of the services on the same clips in one process, in turns, so that other load affects both.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import PropertyMock, patch

from benchmarks.clips import clip_frames, write_frames
from benchmarks.report import Report
from services.interpo.model import load as load_interpolator
from services.interpo.pipeline import interpolate_video
from services.interpo.request import InterpoRequest
from services.upscale.model import load as load_upscaler
from services.upscale.pipeline import upscale_video
from services.upscale.request import UpscaleRequest
from shared.networks.compute import Compute
from shared.pipeline.direct_job import DirectJob
from shared.process.cores import usable_cores
from shared.settings import Settings

FRAMES = 12
ROUNDS = 3
LARGE = (640, 360)
BUSY = "while True: pass"


def measure() -> Report:
    """Time both ways for both services."""
    rows, figures = [], {}
    with TemporaryDirectory() as made:
        folder = Path(made)
        for name, run in runs(folder).items():
            for beside in (False, True):
                with busy_loop() if beside else nullcontext():
                    within, at_once = in_turns(run)
                what = f"{name}, {'beside a busy loop' if beside else 'alone'}"
                figures[what] = {"threads_within_a_frame_ms": within, "frames_at_once_ms": at_once}
                rows.append([what, f"{within:.0f}", f"{at_once:.0f}", f"{within / at_once:.2f}"])
    return Report(
        name="parallel",
        title="Frames at once, ms a frame, end to end",
        columns=["what", "threads within a frame", "frames at once, a thread each", "ratio"],
        rows=rows,
        figures=figures,
        notes=[f"{FRAMES} frames a run, medians of {ROUNDS} runs in turns after one that is not counted."],
    )


def runs(folder: Path) -> dict[str, Callable[[], None]]:
    """Return one run of each service."""
    settings = Settings(device="cpu", state_dir=folder / "state")
    small = write_frames(folder / "small.mp4", clip_frames(FRAMES))
    large = write_frames(folder / "large.mp4", clip_frames(FRAMES, LARGE), LARGE)
    upscaler, interpolator = load_upscaler(settings), load_interpolator(settings)
    given = {"task_id": 1, "dist_dir": str(folder / "out")}

    def upscaling() -> None:
        request = UpscaleRequest(**given, video_url=str(small), ratio=4)
        DirectJob(folder / "out", settings, service="upscale").run(upscale_video, request, upscaler)

    def interpolation() -> None:
        request = InterpoRequest(**given, video_url=str(large), rate=2)
        DirectJob(folder / "out", settings, service="interpo").run(interpolate_video, request, interpolator)

    return {
        f"upscaling 320x180 x4 ({upscaler.engine.name})": upscaling,
        f"interpolation 640x360 x2 ({interpolator.name})": interpolation,
    }


def in_turns(run: Callable[[], None]) -> tuple[float, float]:
    """Return ms a frame with all threads within a frame, and with as many frames as cores."""
    times: dict[int, list[float]] = {1: [], usable_cores(): []}
    for number in range(ROUNDS + 1):
        for frames, measured in times.items():
            with patch.object(Compute, "frames_at_once", PropertyMock(return_value=frames)):
                begin = time.perf_counter()
                run()
                if number:
                    measured.append((time.perf_counter() - begin) / FRAMES * 1e3)
    within, at_once = (statistics.median(measured) for measured in times.values())
    return within, at_once


@contextmanager
def busy_loop() -> Iterator[None]:
    """Keep one core busy with another program."""
    program = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield
    finally:
        program.kill()
        program.wait()
