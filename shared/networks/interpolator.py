"""Frames between frames: two pictures and instants in, the pictures at those instants out."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from shared.arrays import Picture
from shared.networks.compute import Compute
from shared.networks.rife import RGB, FrameFeatures, Rife

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
        on_cuda = compute.device.type == "cuda"
        self._batch_pixels = batch_pixels or (_CUDA_BATCH_PIXELS if on_cuda else _CPU_BATCH_PIXELS)
        self._latest: tuple[Picture, FrameFeatures] | None = None

    @property
    def name(self) -> str:
        """Return a name such as "RIFE 4.0 refined, cpu float32", for logs and task details."""
        return f"RIFE {self._network.layout.name}{' refined' if self.refine else ''}, {self.compute.name}"

    def __call__(self, first: Picture, second: Picture, timesteps: Sequence[float]) -> Iterator[Picture]:
        """Yield one picture a timestep, in their order."""
        if first.shape != second.shape or first.dtype != second.dtype:
            raise ValueError(f"{first.shape} {first.dtype} and {second.shape} {second.dtype} are not one video's")
        height, width = first.shape[:2]
        flow_scale = 0.5 if height * width > _HALF_FLOW_PIXELS else 1.0
        with torch.inference_mode():
            pair = self._features(first, flow_scale), self._features(second, flow_scale)
        self._latest = second, pair[1]
        batch = max(1, self._batch_pixels // (height * width))
        for begin in range(0, len(timesteps), batch):
            instants = torch.tensor(timesteps[begin : begin + batch], dtype=torch.float32, device=self.compute.device)
            with torch.inference_mode():
                frames = self._network(*pair, instants, flow_scale=flow_scale, refine=self.refine, steady=True)
                pictures = _to_pictures(frames[..., :height, :width], first.dtype)
            yield from pictures

    def _features(self, picture: Picture, flow_scale: float) -> FrameFeatures:
        if self._latest is not None and self._latest[0] is picture:
            return self._latest[1]
        multiple = self._network.multiple(flow_scale)
        height, width = picture.shape[:2]
        frame = _to_frame(picture, self.compute.device)
        # The edge repeated, where the published code pads with black: no black is warped into the picture.
        frame = pad(frame, (0, -width % multiple, 0, -height % multiple), mode="replicate")
        return self._network.features(frame, refine=self.refine)


def _to_frame(picture: Picture, device: torch.device) -> Tensor:
    """Return (1, 3, H, W) float32 RGB 0-1, plane by plane; pictures travel to the device in their own dtype."""
    values = torch.from_numpy(np.ascontiguousarray(picture)).to(device)
    frame = torch.empty((1, RGB, *picture.shape[:2]), dtype=torch.float32, device=device)
    return frame.copy_(values.permute(2, 0, 1).unsqueeze(0)).div_(np.iinfo(picture.dtype).max)


def _to_pictures(frames: Tensor, dtype: np.dtype[Any]) -> list[Picture]:
    """Round (T, 3, H, W) RGB 0-1 to T pictures."""
    white = int(np.iinfo(dtype).max)
    values = frames.clamp(0, 1).mul_(white).add_(0.5)  # the conversion truncates, so adding 0.5 rounds
    whole = values.to(torch.uint8 if dtype == np.uint8 else torch.int32).permute(0, 2, 3, 1).contiguous()
    return list(whole.cpu().numpy().astype(dtype, copy=False))
