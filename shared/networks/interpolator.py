"""Frames between frames: two pictures and instants in, the pictures at those instants out."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from shared.arrays import Picture
from shared.networks.compute import Compute
from shared.networks.engines import Engine
from shared.networks.fused import can_fuse, fuse_activations
from shared.networks.recorded import Recorded, shared_pool
from shared.networks.rife import FrameFeatures, Rife
from shared.networks.rife_blocks import RGB
from shared.networks.rife_engines import use_ncnn
from shared.networks.transfer import to_device, to_host

_BYTES_A_PIXEL = 400  # that the network needs, about
_CPU_BYTES = 1 << 32  # that all pairs together may take
# A frame's instants are computed together up to this many pixels.
_CPU_BATCH_PIXELS = 640 * 384
_CUDA_BATCH_PIXELS = 16 * 1920 * 1088
_HALF_FLOW_PIXELS = 2560 * 1440  # above it the flow is searched at half the size, as RIFE's authors do for 4K


class Interpolator:
    """Callable: two pictures of one size and instants in (0, 1), ascending, give the pictures at those instants.

    Pictures are (H, W, 3) RGB of one dtype, uint8 or uint16; so are the answers, made one batch at a time as they are
    asked for. The second picture of a call is not analysed again when the next call has it first; it is recognised as
    the same array, so it must not be changed. Several threads may call it.
    """

    def __init__(
        self,
        network: Rife,
        compute: Compute,
        *,
        refine: bool = True,
        batch_pixels: int | None = None,
        engine: Engine | None = None,
    ) -> None:
        """`refine` runs the correction behind the flow where the weights have one; docs/interpo.md has its cost."""
        self.refine = refine and network.layout.refines
        self.compute = compute
        self.engine = engine or Engine(compute)
        self._network: Rife = network.eval().to(  # type: ignore[call-overload]  # torch's stubs lack memory_format
            device=compute.device, dtype=compute.dtype, memory_format=compute.memory_format
        )
        if self.engine.is_ncnn:
            use_ncnn(self._network)
        if can_fuse(compute.device):
            fuse_activations(self._network)
        on_cuda = compute.device.type == "cuda"
        self._batch_pixels = batch_pixels or (_CUDA_BATCH_PIXELS if on_cuda else _CPU_BATCH_PIXELS)
        self._work: _CpuWork | _GpuWork | None = None  # for the size that came last
        self._choosing = Lock()

    @property
    def name(self) -> str:
        """Return a name such as "RIFE 4.0 refined, cpu float32", for logs and task details."""
        return f"RIFE {self._network.layout.name}{' refined' if self.refine else ''}, {self.engine.name}"

    def pairs_at_once(self, pixels: int) -> int:
        """Return how many pairs of so many pixels are best worked on side by side.

        On a CPU one a core, as far as their memory goes; a GPU's recordings share theirs: one.
        """
        if self.compute.device.type != "cpu":
            return 1
        return max(1, min(self.compute.frames_at_once, _CPU_BYTES // (_BYTES_A_PIXEL * pixels)))

    def __call__(self, first: Picture, second: Picture, timesteps: Sequence[float]) -> Iterator[Picture]:
        """Yield one picture a timestep, in their order."""
        if first.shape != second.shape or first.dtype != second.dtype:
            raise ValueError(f"{first.shape} {first.dtype} and {second.shape} {second.dtype} are not one video's")
        work = self._work_for(first)
        batch = max(1, self._batch_pixels // (first.shape[0] * first.shape[1]))
        for begin in range(0, len(timesteps), batch):
            with torch.inference_mode():
                pictures = work.between(first, second, timesteps[begin : begin + batch])
            yield from pictures

    def _work_for(self, picture: Picture) -> "_CpuWork | _GpuWork":
        """Return what works on pictures like this one; that for another size is dropped before."""
        with self._choosing:
            if self._work is None or not self._work.takes(picture):
                self._work = None  # its memory is free before the next one's is taken
                kind = _CpuWork if self.compute.device.type == "cpu" else _GpuWork
                self._work = kind(self._network, self.compute, picture, refine=self.refine)
            return self._work


class _Work:
    """What both have: the shape of the pictures, and a frame's analysis."""

    def __init__(self, network: Rife, compute: Compute, like: Picture, *, refine: bool) -> None:
        self._network = network
        self._device = compute.device
        self._shape, self._dtype = like.shape, like.dtype
        self._how: dict[str, Any] = {
            "flow_scale": 0.5 if like.shape[0] * like.shape[1] > _HALF_FLOW_PIXELS else 1.0,
            "refine": refine,
            "steady": True,
        }

    def takes(self, picture: Picture) -> bool:
        """Whether it is made for pictures like this one."""
        return picture.shape == self._shape and picture.dtype == self._dtype

    def _analyse(self, values: Tensor) -> FrameFeatures:
        multiple = self._network.multiple(self._how["flow_scale"])
        height, width = self._shape[:2]
        # The edge repeated, where the published code pads with black: no black is warped into the picture.
        frame = pad(_to_frame(values), (0, -width % multiple, 0, -height % multiple), mode="replicate")
        return self._network.features(frame, refine=self._how["refine"])

    def _pictures(self, frames: Tensor) -> Tensor:
        """Round (T, 3, H, W) RGB 0-1, padded, to (T, h, w, 3): uint8 or, for 16 bits, int32."""
        white = int(np.iinfo(self._dtype).max)
        values = frames[..., : self._shape[0], : self._shape[1]].clamp(0, 1).mul_(white).add_(0.5)
        whole = values.to(torch.uint8 if self._dtype == np.uint8 else torch.int32)  # truncates: 0.5 was added
        return whole.permute(0, 2, 3, 1).contiguous()


class _CpuWork(_Work):
    """Pairs in several threads at once; a frame that two of them share is analysed once."""

    def __init__(self, network: Rife, compute: Compute, like: Picture, *, refine: bool) -> None:
        super().__init__(network, compute, like, refine=refine)
        self._most = compute.frames_at_once + 1  # so many pairs next to each other have so many frames
        self._known: dict[int, tuple[Picture, Future[FrameFeatures]]] = {}  # by identity, oldest first
        self._looking = Lock()

    def between(self, first: Picture, second: Picture, timesteps: Sequence[float]) -> list[Picture]:
        """Return the pictures at all `timesteps` between two pictures, computed together."""
        instants = torch.tensor(timesteps, dtype=torch.float32)
        frames = self._network(self._features(first), self._features(second), instants, **self._how)
        return list(self._pictures(frames).numpy().astype(self._dtype, copy=False))

    def _features(self, picture: Picture) -> FrameFeatures:
        with self._looking:
            found = self._known.pop(id(picture), None)
            future: Future[FrameFeatures] = Future() if found is None else found[1]
            self._known[id(picture)] = picture, future  # the picture too: while it lives, no other has its identity
            while len(self._known) > self._most:
                del self._known[next(iter(self._known))]
        if found is None:
            try:
                future.set_result(self._analyse(to_device(picture, self._device)))
            except BaseException as problem:
                future.set_exception(problem)
                raise
        return future.result()


class _GpuWork(_Work):
    """The two frames of a pair in memory that stays where it is, so that the work on them can be recorded."""

    def __init__(self, network: Rife, compute: Compute, like: Picture, *, refine: bool) -> None:
        super().__init__(network, compute, like, refine=refine)
        self._held: list[Picture | None] = [None, None]  # which picture lies in which place
        self._values = [to_device(np.zeros_like(like), self._device) for _ in self._held]
        self._pool = shared_pool(self._device)
        self._analysis = [Recorded(partial(self._analyse, values), self._device, self._pool) for values in self._values]
        self._features: list[FrameFeatures | None] = [None, None]
        self._instants: dict[int, Tensor] = {}
        self._recordings: dict[tuple[int, int, bool], Recorded[tuple[Tensor, Tensor]]] = {}
        self._working = Lock()

    def between(self, first: Picture, second: Picture, timesteps: Sequence[float]) -> list[Picture]:
        """Return the pictures at all `timesteps` between two pictures, computed together."""
        with self._working:
            place = 1 if self._held[1] is first else 0
            self._place(first, place)
            self._place(second, 1 - place)
            count = len(timesteps)
            instants = self._instants.setdefault(count, torch.empty(count, dtype=torch.float32, device=self._device))
            instants.copy_(torch.tensor(timesteps, dtype=torch.float32))
            frames, missed = self._recorded(place, count, far=False)()
            pictures = to_host(frames)
            if missed:
                pictures = to_host(self._recorded(place, count, far=True)()[0])
        return list(pictures.numpy().astype(self._dtype, copy=False))

    def _place(self, picture: Picture, place: int) -> None:
        """Analyse a picture in one of the two places, where it may already be."""
        if self._held[place] is not picture:
            self._held[place] = None  # until it is there
            self._values[place].copy_(to_device(picture, self._device))
            self._features[place] = self._analysis[place]()
            self._held[place] = picture

    def _recorded(self, place: int, count: int, *, far: bool) -> Recorded[tuple[Tensor, Tensor]]:
        key = (place, count, far)
        if key not in self._recordings:
            work = partial(self._interpolate, place, count, far=far)
            self._recordings[key] = Recorded(work, self._device, self._pool)
        return self._recordings[key]

    def _interpolate(self, place: int, count: int, *, far: bool) -> tuple[Tensor, Tensor]:
        first, second = self._features[place], self._features[1 - place]
        assert first is not None
        assert second is not None
        frames, missed = self._network.without_waiting(first, second, self._instants[count], far=far, **self._how)
        return self._pictures(frames), missed


def _to_frame(picture: Tensor) -> Tensor:
    """Return (H, W, 3) integers as (1, 3, H, W) float32 RGB 0-1, plane by plane."""
    frame = torch.empty((1, RGB, *picture.shape[:2]), dtype=torch.float32, device=picture.device)
    return frame.copy_(picture.permute(2, 0, 1).unsqueeze(0)).div_(torch.iinfo(picture.dtype).max)
