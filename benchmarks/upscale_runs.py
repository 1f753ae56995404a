"""Time upscaling by each engine in this process, and print the times as JSON: `benchmarks.upscale` starts it.

A process of its own, because which instructions may be used is decided when the libraries are loaded.
"""

import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.clips import clip_frames, write_frames
from benchmarks.upscale_peers import Engine, peers
from services.upscale.model import load
from services.upscale.pipeline import upscale_video
from services.upscale.request import UpscaleRequest
from shared.arrays import Image
from shared.networks.compute import Compute, use_threads
from shared.networks.upscaler import Upscaler
from shared.pipeline.direct_job import DirectJob
from shared.settings import Settings, UpscaleSettings

ALONE_ROUNDS = 6
ROUNDS = 3
FRAMES = 10


def main() -> None:
    """Print {engine: {"alone": CPU seconds, "cpu": CPU seconds, "wall": seconds}}, each a list a frame; ours first."""
    use_threads(1)
    frames = clip_frames(FRAMES)
    with TemporaryDirectory() as made:
        folder = Path(made)
        model = load(Settings(device="cpu", state_dir=folder, upscale=UpscaleSettings(model="animevideov3")))
        engines: dict[str, Engine] = {f"kinora ({model.engine.name})": lambda frame: model(frame, 4), **peers()}
        alone = in_turns({name: partial(engine, frames[0]) for name, engine in engines.items()}, ALONE_ROUNDS)
        clip = write_frames(folder / "clip.mp4", frames)
        runs = {name: partial(end_to_end, engine, clip, folder, model) for name, engine in engines.items()}
        whole = in_turns(runs, ROUNDS)
    times = {
        name: {
            "alone": [cpu for cpu, _ in alone[name]],
            "cpu": [cpu / FRAMES for cpu, _ in whole[name]],
            "wall": [wall / FRAMES for _, wall in whole[name]],
        }
        for name in engines
    }
    print(json.dumps(times))


def in_turns(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Return CPU seconds of all threads and seconds: every round runs each once, after one unmeasured round."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            cpu, wall = time.process_time(), time.perf_counter()
            run()
            if number:
                seconds[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    return seconds


def end_to_end(engine: Engine, clip: Path, folder: Path, model: Upscaler) -> None:
    """Run our pipeline with an engine in the model's place."""

    class Replaced:
        name = "peer"
        compute: Compute = model.compute
        engine = model.engine
        computes_parts = False
        window_pixels = 0

        def __call__(self, frame: Image, _ratio: int, between_windows: Callable[[float], None]) -> Image:
            between_windows(0.0)
            return engine(frame)

    request = UpscaleRequest(task_id=1, dist_dir=str(folder), video_url=str(clip), ratio=4)
    DirectJob(folder, Settings.load(), service="upscale").run(upscale_video, request, Replaced())  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
