"""How fast face fusion is, from file to file, and where the time goes."""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.faces.media import CLIP_FRAMES, decode
from benchmarks.faces.setup import Setup, largest, read_source, request
from services.facefusion.pipeline import swap_faces
from services.facefusion.preview import preview_swap
from services.facefusion.request import FaceFusionRequest
from services.facefusion.swapper import paste


def speed(setup: Setup, faces: int, size: tuple[int, int]) -> list[str]:
    """Frames a second from file to file, and where the time goes."""
    wanted = request(setup.folder, setup.folder / f"{faces}_{size[1]}.mp4", programe=1, face_selector_mode="many")
    walls, cpus = [], []
    for _ in range(3):
        wall, cpu = time.perf_counter(), time.process_time()
        setup.run(swap_faces, wanted)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    stages = stage_times(setup, wanted)
    best, median = CLIP_FRAMES / min(walls), CLIP_FRAMES / statistics.median(walls)
    cpu_ms = min(cpus) / CLIP_FRAMES * 1000
    setup.figures[f"{faces}_face_{size[0]}x{size[1]}"] = {
        "fps": round(best, 1),
        "fps_median": round(median, 1),
        "cpu_ms_per_frame": round(cpu_ms, 1),
        "stages_ms": stages,
    }
    listed = ", ".join(f"{name} {value:.1f}" for name, value in stages.items())
    value = f"{best:.1f} fps best, {median:.1f} median; {cpu_ms:.0f} ms CPU a frame (ms: {listed})"
    return [f"speed, {faces} face(s), {size[0]}x{size[1]}", value]


def stage_times(setup: Setup, wanted: FaceFusionRequest) -> dict[str, float]:
    """Median milliseconds a frame of detection, landmarks and rendering, each measured by itself."""
    model = setup.model
    image, times = decode(Path(wanted.target_file))[0], {}
    faces = model.detect(image)
    views = [model.view(image, face) for face in faces]
    portrait = read_source(wanted, setup.settings)
    source = model.swapper.prepare(portrait, model.view(portrait, largest(model, portrait)))
    renderers = [source.renderer() for _ in views]

    def render() -> None:
        canvas = image.copy()
        for renderer, view in zip(renderers, views, strict=True):
            patch = renderer(image, replace(view, fresh=False))
            if patch:
                paste(canvas, patch)

    works: dict[str, Callable[[], object]] = {
        "detect": lambda: model.detect(image),
        "landmarks": lambda: [model.landmarks(image, np.array([*face.centre, 300, 0], np.float32)) for face in faces],
        "paint": render,  # the key of the published figures
        "recognise once a track": lambda: [model.embed(image, face.landmarks5) for face in faces],
    }
    for name, work in works.items():
        work()
        taken = []
        for _ in range(15):
            start = time.perf_counter()
            work()
            taken.append(time.perf_counter() - start)
        times[name] = round(statistics.median(taken) * 1000, 2)
    return times


def preview(setup: Setup) -> list[str]:
    """Time a warm preview at 1280x720 without the queue around it."""
    wanted, taken = request(setup.folder, setup.folder / "1_720.mp4", frame_number=30), []
    for _ in range(7):
        start = time.perf_counter()
        setup.run(preview_swap, wanted)
        taken.append(time.perf_counter() - start)
    median = statistics.median(taken)
    setup.figures["preview_seconds"] = {"median": round(median, 3), "best": round(min(taken), 3)}
    return ["preview, warm, 1280x720", f"{median:.2f} s median, {min(taken):.2f} s best"]
