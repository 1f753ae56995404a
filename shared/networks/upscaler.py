"""Upscaling of one frame: windows of a picture through a network, on any device, in bounded memory."""

import logging
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from threading import Lock
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from shared.arrays import Picture
from shared.errors import JobFailed
from shared.networks.compact import CompactOnCpu
from shared.networks.compute import Compute
from shared.networks.engines import Engine
from shared.networks.fused import can_fuse, fuse
from shared.networks.srvgg import SRVGG
from shared.networks.tiles import SMALLEST_CORE, Tile, plan
from shared.networks.transfer import to_device, to_host

CPU_WORKING_VALUES = 1 << 27  # how many numbers all passes together may hold: 512 MB of fp32
CPU_LEAST_VALUES = 1 << 25  # of one of them: below it windows are hardly more than their overlap
WINOGRAD_GRID = 12
GPU_WORKING_SHARE = 4  # all passes together hold at most this part of a GPU's memory

HAS_OPENCV = find_spec("cv2") is not None  # without it, on an image for benchmarks of a GPU, torch rounds

logger = logging.getLogger("bentoml.kinora.upscaler")


class Network(Protocol):
    """What both families of networks provide."""

    @property
    def reach(self) -> int:
        """How many input pixels away an output pixel still depends on."""

    @property
    def values_per_pixel(self) -> int:
        """How many numbers are alive at once for every input pixel, about."""

    def at_scale(self, scale: int) -> nn.Module:
        """Return a module for that scale, (N, 3, H, W) to (N, 3, H*scale, W*scale), that shares this one's weights."""

    def in_precision(self, dtype: torch.dtype) -> nn.Module:
        """Compute in `dtype` wherever that is precise enough, in place."""


class Upscaler:
    """Callable: a frame (H, W, 3) RGB uint8 or uint16 and a ratio 1-4 to (H*ratio, W*ratio, 3) of the same dtype.

    Ratios below 4 are the exact area average of the x4 picture. Frames larger than a window are cut into windows that
    overlap by `overlap` pixels: nothing changes when that is at least the network's reach. At the picture's own edge
    the network pads with zeros, as it was trained. If a window does not fit the memory, all later ones are halved too.
    Several threads may call it.
    """

    def __init__(
        self,
        network: Network,
        compute: Compute,
        *,
        name: str = "",
        overlap: int | None = None,
        window_pixels: int | None = None,
        engine: Engine | None = None,
    ) -> None:
        """`overlap` is the network's reach unless given; `window_pixels` bounds the memory of one window."""
        self.name = name
        self.compute = compute
        self.overlap = network.reach if overlap is None else overlap
        self.window_pixels = window_pixels or _working_values(compute) // network.values_per_pixel
        self.engine = engine or Engine(compute)
        self._fused = can_fuse(compute.device)
        self._network = network
        self._is_compact = compute.device.type == "cpu" and isinstance(network, SRVGG)
        if not self._is_compact:
            network.in_precision(compute.dtype)
        self._modules: dict[int, nn.Module] = {}
        self._building = Lock()

    @property
    def reach(self) -> int:
        """How many input pixels away an output pixel still depends on."""
        return self._network.reach

    @property
    def grid(self) -> int:
        """What the first row and column of a part are a multiple of, if its values are to be those of the whole frame.

        ncnn's Winograd computes tiles of 2, 4 or 6 pixels; begun elsewhere they round otherwise, which bf16 shows in
        3 of 100 values, by one.
        """
        return WINOGRAD_GRID if self.engine.is_ncnn else 1

    @property
    def computes_parts(self) -> bool:
        """Whether parts of a frame take less time than all of it: a GPU is fast because all frames have one shape."""
        return self.compute.device.type == "cpu"

    def __call__(
        self, frame: Picture, ratio: int, between_windows: Callable[[float], None] = lambda _done: None
    ) -> Picture:
        """Upscale one frame; `between_windows` gets the share of it that is done, 0-1, and may raise to stop.

        JobFailed when not even the smallest window fits.
        """
        while True:
            try:
                return self._upscale(frame, ratio, between_windows)
            except RuntimeError as error:
                if not _is_out_of_memory(error):
                    raise
                if self.window_pixels <= (SMALLEST_CORE + 2 * self.overlap) ** 2:
                    raise JobFailed("upscale_out_of_memory", device=self.compute.name) from error
            # Outside the handler, whose traceback keeps the tensors that did not fit.
            self.window_pixels = min(self.window_pixels, frame.shape[0] * frame.shape[1]) // 2
            if self.compute.device.type == "cuda":
                torch.cuda.empty_cache()
            logger.warning("out of memory: continuing with windows of %d pixels", self.window_pixels)

    @torch.inference_mode()
    def _upscale(self, frame: Picture, ratio: int, between_windows: Callable[[float], None]) -> Picture:
        height, width, channels = frame.shape
        module = self._module(ratio)
        tiles = plan(height, width, window_pixels=self.window_pixels, overlap=self.overlap)
        if isinstance(module, CompactOnCpu) and HAS_OPENCV:
            return _by_windows(module, frame, tiles, between_windows)
        picture = to_device(frame, self.compute.device)
        enlarged = torch.empty(
            (height * ratio, width * ratio, channels), dtype=picture.dtype, device=self.compute.device
        )
        group = max(1, self.window_pixels // (tiles[0].window_height * tiles[0].window_width))
        for first in range(0, len(tiles), group):
            between_windows(first / len(tiles))
            batch = tiles[first : first + group]
            answers = module(torch.cat([_window(picture, tile) for tile in batch]))
            for tile, answer in zip(batch, answers, strict=True):
                _keep_core(enlarged, tile, answer, ratio, fused=self._fused)
        result: Picture = to_host(enlarged).numpy()
        return result

    def _module(self, ratio: int) -> nn.Module:
        with self._building:
            if ratio in self._modules:
                return self._modules[ratio]
            module = self._network.at_scale(ratio).eval().to(self.compute.device)
            if self._is_compact:
                assert isinstance(module, SRVGG)
                module = CompactOnCpu(module, self.compute.dtype, is_ncnn=self.engine.is_ncnn)
            else:
                if self._fused:
                    module = fuse(module, self.compute.dtype).to(self.compute.device)
                module.to(memory_format=self.compute.memory_format)  # type: ignore[call-overload]  # torch's stubs
            self._modules[ratio] = module
            return module


def _by_windows(
    network: CompactOnCpu, frame: Picture, tiles: Sequence[Tile], between_windows: Callable[[float], None]
) -> Picture:
    """Enlarge a frame in integers, one window after the other; one that is the whole frame is not copied."""
    enlarged: Picture | None = None
    for index, tile in enumerate(tiles):
        between_windows(index / len(tiles))
        made = network.rounded(tile.window.of(frame))
        if len(tiles) == 1:
            return made
        if enlarged is None:
            enlarged = np.empty((*(side * network.scale for side in frame.shape[:2]), frame.shape[2]), frame.dtype)
        tile.core.of(enlarged, network.scale)[:] = tile.core.within(tile.window).of(made, network.scale)
    assert enlarged is not None
    return enlarged


def _window(picture: Tensor, tile: Tile) -> Tensor:
    """Return a tile's window of (H, W, 3) integers as (1, 3, h, w) 0-1 fp32, channels last."""
    rows = slice(tile.window_top, tile.window_top + tile.window_height)
    columns = slice(tile.window_left, tile.window_left + tile.window_width)
    return picture[rows, columns].permute(2, 0, 1).unsqueeze(0).to(torch.float32).div_(torch.iinfo(picture.dtype).max)


def _working_values(compute: Compute) -> int:
    """Return how many numbers one pass may hold."""
    if compute.device.type == "cpu":
        return max(CPU_WORKING_VALUES // compute.frames_at_once, CPU_LEAST_VALUES)
    memory: int = torch.cuda.get_device_properties(compute.device).total_memory
    return memory // (GPU_WORKING_SHARE * compute.frames_at_once * compute.dtype.itemsize)


def _keep_core(enlarged: Tensor, tile: Tile, answer: Tensor, ratio: int, *, fused: bool) -> None:
    """Round the core of an output (3, h*ratio, w*ratio) into its place in (H, W, 3) integers."""
    top, left = (tile.top - tile.window_top) * ratio, (tile.left - tile.window_left) * ratio
    height, width = (tile.bottom - tile.top) * ratio, (tile.right - tile.left) * ratio
    planes = answer[:, top : top + height, left : left + width]
    largest = torch.iinfo(enlarged.dtype).max
    place = enlarged[tile.top * ratio : tile.bottom * ratio, tile.left * ratio : tile.right * ratio]
    if fused:
        from shared.networks.fused.kernel import round_into  # noqa: PLC0415  # needs Triton, which only CUDA brings

        round_into(place, planes, largest)
        return
    core = planes.permute(1, 2, 0)
    place.copy_(core.mul_(largest).add_(0.5).clamp_(0, largest))  # the copy truncates, so adding 0.5 rounds


def _is_out_of_memory(error: RuntimeError) -> bool:
    """CUDA has an exception of its own for it; the CPU's allocator only has a message."""
    return isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error)
