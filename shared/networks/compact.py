"""A compact upscaling network on a CPU: its convolutions by one of several engines, and what lies around them."""

import copy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pixel_shuffle

from shared.arrays import Picture
from shared.networks.ncnn_graph import NcnnChain
from shared.networks.onednn_chain import OneDnnChain, has_onednn_bfloat16
from shared.networks.srvgg import CHANNELS, SRVGG


class CompactOnCpu(nn.Module):
    """The same as the `SRVGG` that it is made of: (N, 3, H, W) to (N, 3, H*scale, W*scale), both fp32.

    The correction of the brightness and the ratio are among the convolutions, so that every engine computes them.
    """

    def __init__(self, network: SRVGG, dtype: torch.dtype = torch.float32, *, is_ncnn: bool = False) -> None:
        super().__init__()
        self.scale = network.scale
        self._takes = torch.float32
        self._chain: nn.Module
        if is_ncnn:
            self._chain = NcnnChain(network.body, dtype)
        elif dtype == torch.bfloat16 and has_onednn_bfloat16():
            self._chain = OneDnnChain(network.body)
        else:
            self._takes = dtype
            self._chain = copy.deepcopy(network.body).to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack memory_format

    def forward(self, picture: Tensor) -> Tensor:
        """Return the picture at `scale`."""
        enlarged = interpolate(picture, scale_factor=self.scale, mode="nearest")
        return enlarged.add_(pixel_shuffle(self._correction(picture), self.scale))

    def rounded(self, pixels: Picture) -> Picture:
        """Return (H*scale, W*scale, 3) for (H, W, 3) of the same dtype, uint8 or uint16.

        Each plane of the correction is rounded while it is in the cache; what is shuffled then are integers.
        """
        import cv2  # noqa: PLC0415  # a GPU, which has a way of its own, needs no OpenCV

        white, scale = int(np.iinfo(pixels.dtype).max), self.scale
        height, width = pixels.shape[:2]
        planes = np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32)
        picture = torch.from_numpy(planes).div(white)[None]
        correction = self._correction(picture).view(CHANNELS, scale, scale, height, width).numpy()
        depth = cv2.CV_8U if pixels.dtype == np.uint8 else cv2.CV_16U
        enlarged = np.empty((height, scale, width, scale * CHANNELS), pixels.dtype)
        for down in range(scale):
            row = [
                cv2.addWeighted(correction[colour, down, across], white, planes[colour], 1, 0, dtype=depth)
                for across in range(scale)
                for colour in range(CHANNELS)
            ]
            cv2.merge(row, enlarged[:, down])
        return enlarged.reshape(height * scale, width * scale, CHANNELS)

    def _correction(self, picture: Tensor) -> Tensor:
        """Return what is added to each pixel's block, (N, 3 * scale**2, H, W) fp32, plane by plane."""
        correction: Tensor = self._chain(picture.to(self._takes)).float()
        return correction.contiguous()
