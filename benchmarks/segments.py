"""What segments cost where nothing is killed: the same film in one piece and in segments, in turns.

Films are small, so that a segment's own work has the largest share, and as long as three segments of the usual length.
"""

import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import av
import numpy as np

from benchmarks.clips import clip_frames, write_frames
from benchmarks.faces.media import frames_of
from benchmarks.report import Report
from services.creation.model import EnginePool
from services.creation.pipeline import create_video
from services.creation.request import ANIME, CreationRequest
from services.facefusion import model as faces
from services.facefusion.pipeline import swap_faces
from services.facefusion.request import FaceFusionRequest
from services.interpo import model as interpolators
from services.interpo.pipeline import interpolate_video
from services.interpo.request import InterpoRequest
from services.upscale import model as upscalers
from services.upscale.pipeline import upscale_video
from services.upscale.request import UpscaleRequest
from shared import weights
from shared.arrays import Image
from shared.pipeline.direct_job import DirectJob
from shared.settings import EncodingSettings, FaceFusionSettings, LimitSettings, Settings

RUNS = 5
RATE, SECONDS = 25, 30  # of the films
LENGTH = 10.0  # seconds of a segment, as by default
SMALL, LARGER = (160, 90), (320, 180)
PART = 150  # frames of a clip, played forwards and backwards
NEIGHBOURS = 12  # frames on either side of a joint
FINEST = 1  # the CRF of what results are compared with

_PSNR_NOTE = f"""PSNR against the same frames encoded at CRF {FINEST}: of those at the joints (the last before and \
the first behind each), of the {NEIGHBOURS} beside them, and of those at the joints in one piece."""

Work = Callable[[Path, Settings], Path]  # makes a film with these settings in a folder


@dataclass(frozen=True)
class Run:
    """One film that was made: seconds, CPU seconds of all threads, bytes."""

    seconds: float
    cpu: float
    size: int
    path: Path


def measure() -> Report:
    """Measure the four services, one after the other."""
    rows, figures = [], {}
    with tempfile.TemporaryDirectory(prefix="kinora-segments-") as name:
        folder = Path(name)
        for service, work in works(folder):
            found = figures[service] = compared(folder, work)
            joined, beside, same = (found["psnr"][what] for what in ("joints", "neighbours", "joints in one piece"))
            rows.append([
                service, f"{found['one piece']:.1f}", f"{found['segments']:.1f}", f"{found['time']:+.1%}",
                f"{found['cpu']:+.1%}", f"{found['size']:+.1%}", f"{joined:.2f} / {beside:.2f} / {same:.2f}",
            ])  # fmt: skip
            gc.collect()
    return Report(
        "segments",
        "What segments cost without a kill",
        ("service", "one piece, s", "segments, s", "time", "CPU time", "size", "PSNR, dB: joints / beside / one piece"),
        rows,
        figures,
        notes=(
            f"{SECONDS} s at {RATE} fps in segments of {LENGTH:g} s, medians of {RUNS} runs in turns.",
            "Goals: time below 3 %, size below 2 %, joints like their neighbours.",
            _PSNR_NOTE,
        ),
    )


def works(folder: Path) -> Iterator[tuple[str, Work]]:
    """Yield each service with what makes a film with it; its model is loaded once."""
    settings = Settings(device="cpu", facefusion=FaceFusionSettings(swapper="classic"))
    small, larger = (film(folder / f"{size[1]}.mp4", clip_frames(PART, size), size) for size in (SMALL, LARGER))

    def making(pipeline: Any, request: Any, model: Any, **fields: object) -> Work:
        def work(target: Path, chosen: Settings) -> Path:
            body = {"task_id": 1, "dist_dir": str(target)} | fields
            job = DirectJob(target, chosen.model_copy(update={"facefusion": settings.facefusion}))
            return target / job.run(pipeline, request.model_validate(body), model).video

        return work

    yield "upscale", making(upscale_video, UpscaleRequest, upscalers.load(settings), video_url=str(small), ratio=2)
    yield (
        "interpo",
        making(interpolate_video, InterpoRequest, interpolators.load(settings), video_url=str(small), rate=2),
    )
    talking = film(folder / "talking.mp4", frames_of("clip-single-face", PART), (640, 360))
    portrait = {"source_file": str(weights.path("picture-single-face")), "target_file": str(talking)}
    swap: dict[str, Any] = {"programe": 1, "face_selector_mode": "many", **portrait}
    yield "facefusion", making(swap_faces, FaceFusionRequest, faces.load(settings), **swap)
    pool = EnginePool(settings)
    pool.engine(3).area = LARGER[0] * LARGER[1]
    style: dict[str, Any] = {"category": 3, "video_url": str(larger), "video_style": ANIME, "fps": 24, "seed": 5}
    yield "creation", making(create_video, CreationRequest, pool, **style)


def film(path: Path, frames: list[Image], size: tuple[int, int]) -> Path:
    """Write a film of a clip that is played forwards and backwards."""
    return write_frames(path, islice(cycle([*frames, *frames[::-1]]), RATE * SECONDS), size)


def compared(folder: Path, work: Work) -> dict[str, Any]:
    """Make a film in both ways in turns; return medians, what segments cost as shares, and how the joints look."""
    ways = {"one piece": settings(2.0 * SECONDS), "segments": settings(LENGTH)}
    runs: dict[str, list[Run]] = {way: [] for way in ways}
    for number in range(RUNS + 1):
        for way in sorted(ways, reverse=bool(number % 2)):
            run = timed(folder, work, ways[way])
            if number:  # the first of each is not counted
                runs[way].append(run)
    medians = {
        way: {what: statistics.median(getattr(run, what) for run in made) for what in ("seconds", "cpu", "size")}
        for way, made in runs.items()
    }
    one, cut = medians["one piece"], medians["segments"]
    finest = timed(folder, work, settings(2.0 * SECONDS, crf=FINEST)).path
    return {
        "one piece": one["seconds"],
        "segments": cut["seconds"],
        "time": cut["seconds"] / one["seconds"] - 1,
        "cpu": cut["cpu"] / one["cpu"] - 1,
        "size": cut["size"] / one["size"] - 1,
        "psnr": at_joints(runs["segments"][-1].path, runs["one piece"][-1].path, finest),
        "runs": {way: [(run.seconds, run.cpu, run.size) for run in made] for way, made in runs.items()},
    }


def settings(length: float, crf: int | None = None) -> Settings:
    """Return the settings of one way to make a film, with segments of `length` seconds."""
    encoding = EncodingSettings() if crf is None else EncodingSettings(crf=crf)
    return Settings(device="cpu", limits=LimitSettings(segment_seconds=length), encoding=encoding)


def timed(folder: Path, work: Work, chosen: Settings) -> Run:
    """Make the film once."""
    begin, cpu_begin = time.perf_counter(), time.process_time()
    path = work(folder, chosen)
    return Run(time.perf_counter() - begin, time.process_time() - cpu_begin, path.stat().st_size, path)


def at_joints(cut: Path, one: Path, finest: Path) -> dict[str, float]:
    """Return mean PSNR at the joints and beside them, and at the same frames of the film in one piece."""
    ours, theirs = (quality(path, finest) for path in (cut, one))
    step = len(ours) * LENGTH / SECONDS  # frames of a segment
    joints = [round(step * number) for number in range(1, round(SECONDS / LENGTH))]
    at = [place for joint in joints for place in (joint - 1, joint)]
    near = [place for joint in joints for place in range(joint - NEIGHBOURS - 1, joint + NEIGHBOURS + 1)]
    beside = [place for place in near if place not in at]
    return {
        "joints": statistics.mean(ours[place] for place in at),
        "neighbours": statistics.mean(ours[place] for place in beside),
        "joints in one piece": statistics.mean(theirs[place] for place in at),
        "all": statistics.mean(ours),
        "all in one piece": statistics.mean(theirs),
    }


def quality(path: Path, finest: Path) -> list[float]:
    """Return the PSNR of each frame, in dB."""
    with av.open(path) as some, av.open(finest) as others:
        return [
            _psnr(one.to_ndarray(format="rgb24"), other.to_ndarray(format="rgb24"))
            for one, other in zip(some.decode(video=0), others.decode(video=0), strict=True)
        ]


def _psnr(one: Any, other: Any) -> float:
    error = float(np.mean((one.astype(np.float32) - other) ** 2))
    return float(10 * np.log10(255**2 / max(error, 1e-9)))
