"""A compact upscaling network run by ncnn.

The graph is written from the layers that torch has, so that the correction of the brightness and every ratio are in it.
"""

from shared.networks.ncnn_graph import NcnnGraph, written
from shared.networks.srvgg import SRVGG


class NcnnNetwork(NcnnGraph):
    """The same as the `SRVGG` that it is made of, (N, 3, H, W) to (N, 3, H*scale, W*scale), both fp32, on the CPU."""

    def __init__(self, network: SRVGG) -> None:
        lines, weights = written(network.body)
        layers = [
            "Split both 1 2 picture last0 kept",
            *lines,
            f"PixelShuffle shuffle 1 1 last{len(network.body)} detail 0={network.scale}",
            f"Interp nearest 1 1 kept base 0=1 1={network.scale}.0 2={network.scale}.0",
            "BinaryOp add 2 1 detail base enlarged 0=0",
        ]
        super().__init__(layers, weights, given="picture", made="enlarged")
