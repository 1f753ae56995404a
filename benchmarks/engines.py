"""The engines of each network on this CPU: what the first load of a model chooses from, on frames of a usual size."""

import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from benchmarks.report import Report
from shared import weights
from shared.networks import engines, rife_engines
from shared.networks.compute import use_threads
from shared.networks.fastest import Engines
from shared.networks.rife import Rife
from shared.networks.srvgg import SRVGG

ROUNDS = 6
UPSCALED = (180, 320)  # height, width
INTERPOLATED = (384, 640)


def measure() -> Report:
    """Time every engine in turns."""
    use_threads(1)
    rows, figures = [], {}
    for network, choices, given in networks():
        times, agreements = compared(choices, given)
        least = {name: min(values) * 1e3 for name, values in times.items()}
        figures[network] = {"ms": least, "agreement_db": agreements}
        reference = next(iter(least.values()))
        for name, ms in least.items():
            rows.append([network, name, f"{ms:.0f}", f"{reference / ms:.2f}", f"{agreements[name]:.0f} dB"])
    return Report(
        name="engines",
        title="Engines of the networks on a CPU",
        columns=["network", "engine", "CPU ms a frame, one thread", "speed-up", "agrees with fp32"],
        rows=rows,
        figures=figures,
        notes=[f"The least of {ROUNDS} frames, in turns; frames have the statistics of pictures. 140 dB is the same."],
    )


def networks() -> Iterator[tuple[str, Engines, Tensor]]:
    """Yield each network with its engines and what they compute."""
    compact = SRVGG.from_weights(weights.load_safetensors("realesr-animevideov3")).float().anchored()
    yield "animevideov3 x4, 320x180", engines.candidates(compact), engines.natural_picture(*UPSCALED)
    rife = Rife.from_weights(weights.load_safetensors("rife-4.0"), "4.0")
    frames = rife_engines.trial_frames(*INTERPOLATED)
    yield "RIFE 4.0, 640x384", rife_engines.candidates(rife, refine=False), frames
    yield "RIFE 4.0 refined, 640x384", rife_engines.candidates(rife, refine=True), frames


@torch.inference_mode()
def compared(choices: Engines, given: Tensor) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Return CPU seconds by engine, and dB by engine to the first one's answer."""
    built: dict[str, nn.Module] = {name: build() for name, build in choices.items()}
    answers = {name: engine(given) for name, engine in built.items()}
    reference = next(iter(answers.values()))
    times: dict[str, list[float]] = {name: [] for name in built}
    for _ in range(ROUNDS):
        for name, engine in built.items():
            begin = time.thread_time()
            engine(given)
            times[name].append(time.thread_time() - begin)
    errors = {name: float((answer - reference).square().mean().clamp(min=1e-14)) for name, answer in answers.items()}
    return times, {name: float(-10 * torch.tensor(error).log10()) for name, error in errors.items()}
