"""A compact network run by ncnn, whose Winograd convolutions are the fastest on processors without bf16.

The graph is written from the layers that torch has, so that the correction of the brightness and every ratio are in it.
"""

from importlib.util import find_spec
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shared.networks.ncnn_weights import MAGIC
from shared.networks.srvgg import SRVGG

RAW = b"\0\0\0\0"  # the tag of weights in fp32


def has_ncnn() -> bool:
    """Whether ncnn is installed."""
    return find_spec("ncnn") is not None


class NcnnNetwork(nn.Module):
    """The same as the `SRVGG` that it is made of, (N, 3, H, W) to (N, 3, H*scale, W*scale), both fp32, on the CPU.

    A call computes in as many threads as torch would in the calling thread; several callers may call at once.
    """

    def __init__(self, network: SRVGG) -> None:
        super().__init__()
        import ncnn  # noqa: PLC0415  # takes its time to load, and only some processors use it

        self._ncnn = ncnn
        self._graph, self._weights = written(network)
        self._nets: dict[int, Any] = {}  # by their number of threads
        self._loading = Lock()

    def forward(self, picture: Tensor) -> Tensor:
        """Return the picture at the network's scale."""
        net = self._net(torch.get_num_threads())
        return torch.stack([self._enlarged(net, one) for one in picture])

    def _net(self, threads: int) -> Any:
        with self._loading:
            if threads not in self._nets:
                net = self._ncnn.Net()
                net.opt.num_threads = threads
                net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
                if net.load_param_mem(self._graph):
                    raise ValueError("ncnn does not take this network")
                net.load_model_mem(self._weights)  # reads from this memory for as long as the network lives
                self._nets[threads] = net
            return self._nets[threads]

    def _enlarged(self, net: Any, picture: Tensor) -> Tensor:
        extractor = net.create_extractor()
        extractor.input("picture", self._ncnn.Mat(np.ascontiguousarray(picture.numpy(), np.float32)))
        status, made = extractor.extract("enlarged")
        if status:
            raise MemoryError("ncnn could not compute")  # the only reason with a graph that it has loaded
        return torch.from_numpy(np.array(made))


def written(network: SRVGG) -> tuple[str, bytes]:
    """Return the graph as ncnn's text, and its weights (ncnn's wiki, "param and model file structure")."""
    layers = ["Input picture 0 1 picture", "Split both 1 2 picture last0 kept"]
    weights = bytearray()
    for index, layer in enumerate(network.body):
        names = f"layer{index} 1 1 last{index} last{index + 1}"
        if isinstance(layer, nn.PReLU):
            layers.append(f"PReLU {names} 0={layer.num_parameters}")
            weights += _bytes(layer.weight)
            continue
        assert isinstance(layer, nn.Conv2d)
        assert layer.bias is not None
        grouped = layer.groups > 1
        kind = "ConvolutionDepthWise" if grouped else "Convolution"
        count = layer.weight.numel()
        options = f"0={layer.out_channels} 1=3 4=1 5=1 6={count}" + (f" 7={layer.groups}" if grouped else "")
        layers.append(f"{kind} {names} {options}")
        weights += RAW + _bytes(layer.weight) + _bytes(layer.bias)
    layers += [
        f"PixelShuffle shuffle 1 1 last{len(network.body)} detail 0={network.scale}",
        f"Interp nearest 1 1 kept base 0=1 1={network.scale}.0 2={network.scale}.0",
        "BinaryOp add 2 1 detail base enlarged 0=0",
    ]
    blobs = sum(int(layer.split()[3]) for layer in layers)
    return "\n".join([MAGIC, f"{len(layers)} {blobs}", *layers, ""]), bytes(weights)


def _bytes(values: Tensor) -> bytes:
    return values.detach().float().contiguous().numpy().tobytes()
