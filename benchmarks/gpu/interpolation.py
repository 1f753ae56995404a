"""RIFE 4.0 at 1080p: two pictures of the host to the one between them, against the published order of computation."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu.parts import Options, Row, decibels, milliseconds, wall_milliseconds
from benchmarks.textbook_rife import textbook_rife
from shared.arrays import Image
from shared.networks.compute import Compute
from shared.networks.interpolator import Interpolator
from shared.networks.rife import Rife

SIZE = (1080, 1920)
SMALL = (64, 96)
COMPARED = (256, 384)


def measure(options: Options) -> Iterator[Row]:
    """Yield agreement with fp32 on the CPU, then times refined and plain."""
    state = options.load("rife-4.0")
    device = options.device
    fast = Compute(device, torch.float16 if device.type == "cuda" else torch.float32)
    size = SMALL if options.small else COMPARED
    first, second = _scene(size, 0), _scene(size, 6)
    (exact,) = Interpolator(Rife.from_weights(state), Compute(torch.device("cpu"), torch.float32))(first, second, [0.5])
    (quick,) = Interpolator(Rife.from_weights(state), fast)(first, second, [0.5])
    agreement = decibels(torch.from_numpy(quick) / 255, torch.from_numpy(exact) / 255)
    yield Row("RIFE 4.0: agrees with fp32 on the CPU", f"{agreement:.1f} dB", figures={"rife_db": agreement})
    size = SMALL if options.small else SIZE
    pictures = [_scene(size, step) for step in range(0, 24, 6)]
    for refine in (True, False):
        yield _times(Interpolator(Rife.from_weights(state), fast, refine=refine), pictures)
    yield _textbook(Rife.from_weights(state), fast, size)


def _times(model: Interpolator, pictures: list[Image]) -> Row:
    """Time a new pair with each call, as in a video: one frame is analysed and one is made."""
    place = 0

    def step() -> None:
        nonlocal place
        list(model(pictures[place % len(pictures)], pictures[(place + 1) % len(pictures)], [0.5]))
        place += 1

    time = wall_milliseconds(step)
    name = "refined" if model.refine else "plain"
    shape = f"{pictures[0].shape[1]}x{pictures[0].shape[0]}"
    text = f"{time:.2f} ms, {1e3 / time:.0f} frames a second"
    return Row(f"RIFE 4.0 {name}, {shape}: a pair, host to host", text, figures={f"rife_{name}_ms": time})


def _textbook(network: Rife, compute: Compute, size: tuple[int, int]) -> Row:
    """Time the published order of the computation, refined, on frames that lie on the device already."""
    network.to(device=compute.device).eval()
    multiple = network.multiple(1.0)
    shape = (1, 3, -(-size[0] // multiple) * multiple, -(-size[1] // multiple) * multiple)
    frames: list[Tensor] = [torch.rand(shape, device=compute.device) for _ in range(2)]
    with (
        torch.inference_mode(),
        torch.autocast(compute.device.type, compute.dtype, enabled=compute.dtype == torch.float16),
    ):
        time = milliseconds(lambda: textbook_rife(network, frames[0], frames[1], 0.5, refine=True), compute.device)
    text = f"{time:.2f} ms, {1e3 / time:.0f} frames a second"
    return Row(
        "RIFE 4.0 refined as published, eager, autocast: device to device", text, figures={"rife_textbook_ms": time}
    )


def _scene(size: tuple[int, int], step: int) -> Image:
    """Return a texture that moves by `step` pixels to the right."""
    rows, columns = np.mgrid[0 : size[0], 0 : size[1]].astype(np.float32)
    columns = columns - step
    waves = [np.sin(columns / 5) * np.cos(rows / 7), np.sin((columns + rows) / 9), np.cos(columns / 11 - rows / 6)]
    return np.asarray(np.stack([127.5 + 100 * wave for wave in waves], -1).round(), np.uint8)
