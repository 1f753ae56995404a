"""Upscaling 1080p to 4K: both families of networks, with fused convolutions, against the plain modules in fp16."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from benchmarks.gpu.parts import Options, Row, decibels, milliseconds, wall_milliseconds
from shared.networks.compute import Compute
from shared.networks.fused import can_fuse, fuse
from shared.networks.rrdb import RRDB
from shared.networks.srvgg import SRVGG
from shared.networks.upscaler import Network, Upscaler

SIZE = (1080, 1920)
SMALL = (24, 32)
COMPARED = (96, 128)  # what a CPU computes in fp32 in seconds
NAMES = ("realesr-animevideov3", "realesrgan-x4plus-anime", "realesrgan-x4plus")


def measure(options: Options) -> Iterator[Row]:
    """Yield agreement with fp32, time of the network alone and of a whole frame, for each network."""
    for name in NAMES:
        yield from _network(name, options)


def _build(name: str, options: Options) -> tuple[SRVGG | RRDB, str]:
    """Return the network; where x4plus's weights are not at hand, one of its shape, whose time is the same."""
    try:
        state = options.load(name)
    except FileNotFoundError:
        if name != "realesrgan-x4plus":
            raise
        return RRDB(features=64, growth=32, blocks=23), f"{name} (random weights)"
    return (SRVGG.from_weights(state).anchored() if "animevideo" in name else RRDB.from_weights(state)), name


def _network(name: str, options: Options) -> Iterator[Row]:
    torch.manual_seed(1)
    network, title = _build(name, options)
    device = options.device
    height, width = SMALL if options.small else SIZE
    picture = _scene(*COMPARED if not options.small else SMALL)
    with torch.inference_mode():
        exact = network.eval()(picture)
        operations = _operations(network) * height * width
        plain = network.in_precision(torch.float16) if device.type == "cuda" else network
        fast = fuse(plain, torch.float16) if can_fuse(device) else plain
        fast.to(device=device)
        agreement = decibels(fast(picture.to(device)), exact)
        yield Row(f"{title}: agrees with fp32 on the CPU", f"{agreement:.1f} dB", figures={f"{name}_db": agreement})
        frame = _scene(height, width).to(device)
        ours = milliseconds(partial(fast, frame), device)
        textbook = milliseconds(_textbook(plain.to(device), frame), device)
    rate = operations / ours / 1e9
    share = f"{rate / options.peak:.0%} of the peak, " if options.peak else ""
    figures = {f"{name}_ms": ours, f"{name}_tflops": rate, f"{name}_textbook_ms": textbook}
    yield Row(
        f"{title}: network alone, {width}x{height} x4", f"{ours:.2f} ms, {rate:.0f} TFLOP/s",
        f"{share}{textbook / ours:.1f} times the plain modules ({textbook:.1f} ms)", figures,
    )  # fmt: skip
    yield _whole_frame(name, title, network, options, (height, width))


def _whole_frame(name: str, title: str, network: SRVGG | RRDB, options: Options, size: tuple[int, int]) -> Row:
    """Time what the service calls: a picture of the host to a picture of the host."""
    dtype = torch.float16 if options.device.type == "cuda" else torch.float32
    whole: Network = network.float()  # as it is loaded
    upscaler = Upscaler(whole, Compute(options.device, dtype), name=name, overlap=None if "video" in name else 32)
    frame = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    if options.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    time = wall_milliseconds(lambda: upscaler(frame, 4))
    memory = torch.cuda.max_memory_reserved() / 2**30 if options.device.type == "cuda" else 0.0
    text = f"{time:.1f} ms, {1e3 / time:.1f} frames a second, {memory:.1f} GiB"
    return Row(f"{title}: a whole frame, host to host", text, figures={f"{name}_frame_ms": time})


def _scene(height: int, width: int) -> Tensor:
    """Return a soft picture (1, 3, H, W) with some edges, 0-1."""
    soft = interpolate(torch.rand(1, 3, height // 8, width // 8), size=(height, width), mode="bicubic")
    return (soft + 0.2 * (soft > soft.mean())).clamp(0, 1)


def _textbook(network: nn.Module, frame: Tensor) -> "_Plain":
    return _Plain(network.to(memory_format=torch.contiguous_format), frame.contiguous())  # type: ignore[call-overload]


class _Plain:
    """The modules as they were published, plane by plane in fp16; half the rows at a time, which fit any card."""

    def __init__(self, network: nn.Module, frame: Tensor) -> None:
        self._network = network
        self._halves = frame.chunk(2, 2)

    def __call__(self) -> None:
        for half in self._halves:
            self._network(half)


def _operations(network: nn.Module) -> int:
    """Return the operations for one input pixel: two for each multiplication of a convolution, at its own size."""
    total = 0
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d):
            enlarged = {"conv_up1": 4, "conv_up2": 16, "conv_hr": 16, "conv_last": 16}.get(name, 1)
            total += 2 * layer.weight.numel() * enlarged
    return total
