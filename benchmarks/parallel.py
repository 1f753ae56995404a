"""Frames side by side with one thread each, against two threads within a frame: alone, and beside a busy loop.

Both run the pipelines of the services on the same clips in one process, in turns, so that other load affects both.
Painting faces has one thread a frame either way: one frame at a time leaves it to the decoder and the encoder to use
the other cores.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import PropertyMock, patch

from benchmarks.clips import clip_frames, write_frames
from benchmarks.faces.media import CLIP_FRAMES, people, write
from benchmarks.report import Report
from services.facefusion.model import load as load_faces
from services.facefusion.pipeline import swap_faces
from services.facefusion.request import FaceFusionRequest
from services.interpo.model import load as load_interpolator
from services.interpo.pipeline import interpolate_video
from services.interpo.request import InterpoRequest
from services.upscale.model import load as load_upscaler
from services.upscale.pipeline import upscale_video
from services.upscale.request import UpscaleRequest
from shared import weights
from shared.networks.compute import Compute, choose_compute
from shared.pipeline.direct_job import DirectJob
from shared.process.cores import usable_cores
from shared.settings import Settings

FRAMES = 12
ROUNDS = 3
LARGE = (640, 360)
TALKING = (1280, 720)
BUSY = "while True: pass"


def measure() -> Report:
    """Time both ways for both services."""
    rows, figures = [], {}
    with TemporaryDirectory() as made:
        folder = Path(made)
        for name, (run, frames) in runs(folder).items():
            for beside in (False, True):
                with busy_loop() if beside else nullcontext():
                    within, at_once = in_turns(run, frames)
                what = f"{name}, {'beside a busy loop' if beside else 'alone'}"
                figures[what] = {"threads_within_a_frame_ms": within, "frames_at_once_ms": at_once}
                rows.append([what, f"{within:.0f}", f"{at_once:.0f}", f"{within / at_once:.2f}"])
    return Report(
        name="parallel",
        title="Frames at once, ms a frame, end to end",
        columns=["what", "threads within a frame", "frames at once, a thread each", "ratio"],
        rows=rows,
        figures=figures,
        notes=[
            f"{FRAMES} frames a run, of faces {CLIP_FRAMES}; medians of {ROUNDS} runs in turns, not counting one more."
        ],
    )


def runs(folder: Path) -> dict[str, tuple[Callable[[], None], int]]:
    """Return one run of each service, and how many frames it makes."""
    settings = Settings(device="cpu", state_dir=folder / "state")
    small = write_frames(folder / "small.mp4", clip_frames(FRAMES))
    large = write_frames(folder / "large.mp4", clip_frames(FRAMES, LARGE), LARGE)
    portrait, talking = weights.path("picture-single-face"), write(folder / "talking.mp4", people(1, TALKING))
    upscaler, interpolator, faces = load_upscaler(settings), load_interpolator(settings), load_faces(settings)
    given = {"task_id": 1, "dist_dir": str(folder / "out")}

    def upscaling() -> None:
        request = UpscaleRequest(**given, video_url=str(small), ratio=4)
        DirectJob(folder / "out", settings, service="upscale").run(upscale_video, request, upscaler)

    def interpolation() -> None:
        request = InterpoRequest(**given, video_url=str(large), rate=2)
        DirectJob(folder / "out", settings, service="interpo").run(interpolate_video, request, interpolator)

    def face_fusion() -> None:
        asked = {"source_file": str(portrait), "target_file": str(talking), "programe": 1, "face_selector_mode": "many"}
        request = FaceFusionRequest.model_validate(given | asked)
        at_once = choose_compute("cpu").frames_at_once
        DirectJob(folder / "out", settings, service="facefusion").run(
            swap_faces, request, replace(faces, at_once=at_once)
        )

    return {
        f"upscaling 320x180 x4 ({upscaler.engine.name})": (upscaling, FRAMES),
        f"interpolation 640x360 x2 ({interpolator.name})": (interpolation, FRAMES),
        "face fusion 1280x720, one face (classic)": (face_fusion, CLIP_FRAMES),
    }


def in_turns(run: Callable[[], None], made: int) -> tuple[float, float]:
    """Return ms a frame with all threads within a frame, and with as many frames as cores."""
    times: dict[int, list[float]] = {1: [], usable_cores(): []}
    for number in range(ROUNDS + 1):
        for frames, measured in times.items():
            with patch.object(Compute, "frames_at_once", PropertyMock(return_value=frames)):
                begin = time.perf_counter()
                run()
                if number:
                    measured.append((time.perf_counter() - begin) / made * 1e3)
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
