"""Creation: what a clip costs end to end with the classic engine, and how its styles measure.

Each row is one request through the whole pipeline: decoding, the engine, encoding with the default settings.
"""

import statistics
import time
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.report import Report, spread
from services.creation.effects.pixel_grid import cell_side
from services.creation.model import load
from services.creation.pipeline import create_video
from services.creation.request import ANIME, PIXEL, PLAIN, CreationRequest
from shared import weights
from shared.demo import clips
from shared.pipeline.direct_job import DirectJob
from shared.settings import Settings

RUNS = 3
SECONDS = 3.0
SIZE = (1024, 576)
STATIC = 2.0  # levels of 255 by which the mean of a static cell may change

Frames = list[NDArray[np.uint8]]
CASES: dict[str, dict[str, Any]] = {
    "picture, zoom in and pan left": {"category": 2, "camera": "zoom in, pan left", "movement": 2},
    "picture, no camera": {"category": 2},
    "video, cleaned up": {"category": 3, "video_style": PLAIN},
    "video, anime": {"category": 3, "video_style": ANIME},
    "video, pixel art": {"category": 3, "video_style": PIXEL},
}
GOAL = {"picture, zoom in and pan left": 5, "picture, no camera": 5, "video, anime": 20, "video, pixel art": 8}


def measure() -> Report:
    """Time every case and measure what came out."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        bunny = weights.path("clip-bigbuckbunny")
        video = clips.excerpt(bunny, folder / "in.mp4", begin=1.0, seconds=SECONDS, size=SIZE)
        picture = clips.still(bunny, folder / "in.png", at=3.0, size=(1280, 720))
        source = decoded(video)
        rows, figures = [], {}
        for case, fields in CASES.items():
            media = {"image_url": str(picture), "video_url": str(video)}
            walls, cpu_seconds, path = timed(folder, {"task_id": 1, "dist_dir": name, "seed": 7, **media, **fields})
            result = decoded(path)
            measured = measure_style(case, nearest(source, len(result)), result)
            goal = f"{GOAL[case]} s" if case in GOAL else ""
            rows.append([case, spread(walls), spread(cpu_seconds), goal, measured])
            figures[case] = {"seconds": walls, "cpu_seconds": cpu_seconds, "judged": measured}
    return Report(
        name="creation",
        title=f"Creation, classic engine: {SECONDS:g} s at {SIZE[0]}x{SIZE[1]}, 24 fps",
        columns=["request", "seconds end to end", "CPU seconds", "goal on 2 idle cores", "the encoded file"],
        rows=rows,
        figures=figures,
        notes=[
            "Big Buck Bunny; medians with their range.",
            "CPU seconds are those of all threads; two idle cores take half of them at least.",
        ],
    )


def timed(folder: Path, body: dict[str, Any]) -> tuple[list[float], list[float], Path]:
    """Run a request several times; return wall-clock seconds, CPU seconds and the last result."""
    settings = Settings.load()
    request = CreationRequest.model_validate(body)
    walls, cpu_seconds = [], []
    for _ in range(RUNS):
        begin, cpu_begin = time.perf_counter(), time.process_time()
        job = DirectJob(folder, settings, service="creation")
        result = job.run(create_video, request, load(settings))
        walls.append(time.perf_counter() - begin)
        cpu_seconds.append(time.process_time() - cpu_begin)
    return walls, cpu_seconds, folder / result.video


def measure_style(case: str, source: Frames, result: Frames) -> str:
    """Return the figures of a style in words."""
    if "pixel" in case:
        spreads = [np.ptp(cells(frame), axis=2).max(axis=-1) for frame in result[::8]]
        flat = mean(float((levels <= 16).mean()) for levels in spreads)  # noqa: PLR2004
        return f"{flat:.1%} of cells near-uniform, {cell_changes(source, result):.1%} of static cells change"
    if "anime" in case:
        gain = mean(sparsity(frame) for frame in result[::8]) / mean(sparsity(frame) for frame in source[::8])
        calm = flicker(result, source) / flicker(source, source)
        return f"gradients {gain:.2f} times as sparse, flicker {calm:.2f} of the source's"
    return ""


def decoded(path: Path) -> Frames:
    with av.open(path) as container:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in container.decode(video=0)]


def nearest(frames: Frames, count: int) -> Frames:
    """Return the frames that show the instants of a clip of `count` frames and the same length."""
    return [frames[min(round(index * len(frames) / count), len(frames) - 1)] for index in range(count)]


def cells(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the whole cells of pixel art of this size, as (rows, columns, pixels of a cell, 3)."""
    height, width = frame.shape[:2]
    side = cell_side(width, height)
    rows, columns = height // side, width // side
    whole = frame[: rows * side, : columns * side].reshape(rows, side, columns, side, 3)
    return whole.swapaxes(1, 2).reshape(rows, columns, side * side, 3)


def cell_changes(source: Frames, result: Frames) -> float:
    """Return the share of the source's static cells that change by more than coding noise in the result."""
    before, after = (np.stack([cells(frame).mean(axis=2) for frame in frames]) for frames in (source, result))
    static = np.abs(np.diff(before, axis=0)).max(axis=-1) < STATIC
    changed = np.abs(np.diff(after, axis=0)).max(axis=-1) > 8  # noqa: PLR2004  # levels: the palette's colours are farther apart
    return float(changed[static].mean())


def flicker(frames: Frames, source: Frames) -> float:
    """Return the mean change of those pixels around which the source is static."""
    changes = []
    for (a, b), (before, after) in zip(pairwise(frames), pairwise(source), strict=False):
        static = cv2.GaussianBlur(np.abs(light(after) - light(before)), (0, 0), 2) < 1.5  # noqa: PLR2004
        changes.append(float(np.abs(light(b) - light(a))[static].mean()))
    return mean(changes)


def sparsity(frame: NDArray[np.uint8]) -> float:
    """Return Hoyer's measure of the gradients: 0 where all are equal, 1 where a single one is not zero."""
    grey = light(frame)
    gradients = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    root = float(np.sqrt(gradients.size))
    return (root - float(gradients.sum() / np.sqrt((gradients**2).sum()))) / (root - 1)


def light(frame: NDArray[np.uint8]) -> NDArray[Any]:
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.float32)


mean: Callable[[Iterable[float]], float] = statistics.mean
