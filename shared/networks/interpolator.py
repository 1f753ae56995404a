"""Frames between frames: two pictures and instants in, the pictures at those instants out."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from shared.arrays import Picture
from shared.networks.compute import Compute
from shared.networks.fused import can_fuse, fuse_activations
from shared.networks.recorded import Recorded, shared_pool
from shared.networks.rife import RGB, FrameFeatures, Rife
from shared.networks.transfer import to_device, to_host

# A frame's instants are computed together up to this many pixels: a network needs about 400 bytes a pixel.
_CPU_BATCH_PIXELS = 640 * 384
_CUDA_BATCH_PIXELS = 16 * 1920 * 1088
_HALF_FLOW_PIXELS = 2560 * 1440  # above it the flow is searched at half the size, as RIFE's authors do for 4K


class Interpolator:
    """Callable: two pictures of one size and instants in (0, 1), ascending, give the pictures at those instants.

    Pictures are (H, W, 3) RGB of one dtype, uint8 or uint16; so are the answers, made one batch at a time as they are
    asked for. The second picture of a call is not analysed again when the next call has it first; it is recognised as
    the same array, so it must not be changed. Not thread-safe.
    """

    def __init__(
        self, network: Rife, compute: Compute, *, refine: bool = True, batch_pixels: int | None = None
    ) -> None:
        """`refine` runs the correction behind the flow where the weights have one; docs/interpo.md has its cost."""
        self.refine = refine and network.layout.refines
        self.compute = compute
        self._network: Rife = network.eval().to(  # type: ignore[call-overload]  # torch's stubs lack memory_format
            device=compute.device, dtype=compute.dtype, memory_format=compute.memory_format
        )
        if can_fuse(compute.device):
            fuse_activations(self._network)
        on_cuda = compute.device.type == "cuda"
        self._batch_pixels = batch_pixels or (_CUDA_BATCH_PIXELS if on_cuda else _CPU_BATCH_PIXELS)
        self._frames: _Frames | None = None  # those of the size that came last

    @property
    def name(self) -> str:
        """Return a name such as "RIFE 4.0 refined, cpu float32", for logs and task details."""
        return f"RIFE {self._network.layout.name}{' refined' if self.refine else ''}, {self.compute.name}"

    def __call__(self, first: Picture, second: Picture, timesteps: Sequence[float]) -> Iterator[Picture]:
        """Yield one picture a timestep, in their order."""
        if first.shape != second.shape or first.dtype != second.dtype:
            raise ValueError(f"{first.shape} {first.dtype} and {second.shape} {second.dtype} are not one video's")
        if self._frames is None or not self._frames.takes(first):
            self._frames = None  # its memory is free before the next one's is taken
            self._frames = _Frames(self._network, self.compute, first, refine=self.refine)
        batch = max(1, self._batch_pixels // (first.shape[0] * first.shape[1]))
        for begin in range(0, len(timesteps), batch):
            with torch.inference_mode():
                pictures = self._frames.between(first, second, timesteps[begin : begin + batch])
            yield from pictures


class _Frames:
    """The two frames of a pair in memory that stays where it is, so that a GPU's work on them can be recorded."""

    def __init__(self, network: Rife, compute: Compute, like: Picture, *, refine: bool) -> None:
        self._network = network
        self._device = compute.device
        self._shape, self._dtype = like.shape, like.dtype
        self._refine = refine
        self._flow_scale = 0.5 if like.shape[0] * like.shape[1] > _HALF_FLOW_PIXELS else 1.0
        self._held: list[Picture | None] = [None, None]  # which picture lies in which place
        self._values = [to_device(np.zeros_like(like), self._device) for _ in self._held]
        self._pool = shared_pool(self._device)
        self._analysis = [Recorded(partial(self._analyse, place), self._device, self._pool) for place in (0, 1)]
        self._features: list[FrameFeatures | None] = [None, None]
        self._instants: dict[int, Tensor] = {}
        self._work: dict[tuple[int, int, bool], Recorded[tuple[Tensor, Tensor]]] = {}

    def takes(self, picture: Picture) -> bool:
        """Whether it is made for pictures like this one."""
        return picture.shape == self._shape and picture.dtype == self._dtype

    def between(self, first: Picture, second: Picture, timesteps: Sequence[float]) -> list[Picture]:
        """Return the pictures at all `timesteps` between two pictures, computed together."""
        place = 1 if self._held[1] is first else 0
        for picture, where in ((first, place), (second, 1 - place)):
            if self._held[where] is not picture:
                self._held[where] = None  # until it is there
                self._values[where].copy_(to_device(picture, self._device))
                self._features[where] = self._analysis[where]()
                self._held[where] = picture
        count = len(timesteps)
        instants = self._instants.setdefault(count, torch.empty(count, dtype=torch.float32, device=self._device))
        instants.copy_(torch.tensor(timesteps, dtype=torch.float32))
        frames, missed = self._recorded(place, count, far=False)()
        pictures = to_host(frames)
        if missed:
            pictures = to_host(self._recorded(place, count, far=True)()[0])
        return list(pictures.numpy().astype(self._dtype, copy=False))

    def _recorded(self, place: int, count: int, *, far: bool) -> Recorded[tuple[Tensor, Tensor]]:
        key = (place, count, far)
        if key not in self._work:
            work = partial(self._interpolate, place, count, far=far)
            self._work[key] = Recorded(work, self._device, self._pool)
        return self._work[key]

    def _analyse(self, place: int) -> FrameFeatures:
        multiple = self._network.multiple(self._flow_scale)
        height, width = self._shape[:2]
        # The edge repeated, where the published code pads with black: no black is warped into the picture.
        frame = pad(_to_frame(self._values[place]), (0, -width % multiple, 0, -height % multiple), mode="replicate")
        return self._network.features(frame, refine=self._refine)

    def _interpolate(self, place: int, count: int, *, far: bool) -> tuple[Tensor, Tensor]:
        first, second = self._features[place], self._features[1 - place]
        assert first is not None
        assert second is not None
        how: dict[str, Any] = {"flow_scale": self._flow_scale, "refine": self._refine, "steady": True}
        if self._device.type == "cpu":  # which need not be waited for, and would search the far motion in vain
            frames, missed = self._network(first, second, self._instants[count], **how), torch.tensor(False)
        else:
            frames, missed = self._network.without_waiting(first, second, self._instants[count], far=far, **how)
        return _to_pictures(frames[..., : self._shape[0], : self._shape[1]], self._dtype), missed


def _to_frame(picture: Tensor) -> Tensor:
    """Return (H, W, 3) integers as (1, 3, H, W) float32 RGB 0-1, plane by plane."""
    frame = torch.empty((1, RGB, *picture.shape[:2]), dtype=torch.float32, device=picture.device)
    return frame.copy_(picture.permute(2, 0, 1).unsqueeze(0)).div_(torch.iinfo(picture.dtype).max)


def _to_pictures(frames: Tensor, dtype: np.dtype[Any]) -> Tensor:
    """Round (T, 3, H, W) RGB 0-1 to (T, H, W, 3), uint8 or, for 16 bits, int32."""
    white = int(np.iinfo(dtype).max)
    values = frames.clamp(0, 1).mul_(white).add_(0.5)  # the conversion truncates, so adding 0.5 rounds
    return values.to(torch.uint8 if dtype == np.uint8 else torch.int32).permute(0, 2, 3, 1).contiguous()
