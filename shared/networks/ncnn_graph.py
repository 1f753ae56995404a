"""A graph that ncnn runs, written from the layers of a torch network (ncnn's wiki, "param and model file structure").

Its Winograd convolutions are the fastest on processors without bf16.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shared.networks.ncnn_weights import MAGIC

RAW = b"\0\0\0\0"  # the tag of weights in fp32


def has_ncnn() -> bool:
    """Whether ncnn is installed."""
    return find_spec("ncnn") is not None


class NcnnGraph(nn.Module):
    """(N, C, H, W) to what the graph makes of each, both fp32, on the CPU.

    A call computes in as many threads as torch would in the calling thread; several callers may call at once.
    """

    def __init__(
        self, layers: Sequence[str], weights: bytes, dtype: torch.dtype = torch.float32, *, given: str, made: str
    ) -> None:
        """`layers` are lines of the graph, `given` and `made` the names of its input and its output in them.

        With bf16 as `dtype` values are stored in it between the layers, and still multiplied in fp32.
        """
        super().__init__()
        import ncnn  # noqa: PLC0415  # takes its time to load, and only some processors use it

        self._ncnn = ncnn
        lines = [f"Input input 0 1 {given}", *layers]
        blobs = sum(int(line.split()[3]) for line in lines)
        self._graph = "\n".join([MAGIC, f"{len(lines)} {blobs}", *lines, ""])
        self._weights, self._given, self._made = weights, given, made
        self._stores_bfloat16 = dtype == torch.bfloat16
        self._nets: dict[int, Any] = {}  # by their number of threads
        self._loading = Lock()

    def forward(self, values: Tensor) -> Tensor:
        """Return what the graph makes."""
        net = self._net(torch.get_num_threads())
        made = [self._computed(net, one) for one in values]
        return made[0][None] if len(made) == 1 else torch.stack(made)

    def _net(self, threads: int) -> Any:
        with self._loading:
            if threads not in self._nets:
                net = self._ncnn.Net()
                net.opt.num_threads = threads
                net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
                net.opt.use_bf16_storage = net.opt.use_bf16_packed = self._stores_bfloat16
                if net.load_param_mem(self._graph):
                    raise ValueError("ncnn does not take this network")
                net.load_model_mem(self._weights)  # reads from this memory for as long as the network lives
                self._nets[threads] = net
            return self._nets[threads]

    def _computed(self, net: Any, values: Tensor) -> Tensor:
        plain = np.ascontiguousarray(
            values.numpy(), np.float32
        )  # a name of its own: ncnn reads it, but does not keep it
        extractor = net.create_extractor()
        extractor.input(self._given, self._ncnn.Mat(plain))
        status, made = extractor.extract(self._made)
        if status:
            raise MemoryError("ncnn could not compute")  # the only reason with a graph that it has loaded
        return torch.from_numpy(np.array(made))


class NcnnChain(NcnnGraph):
    """The same as the convolutions and PReLUs of a `Sequential`, which keep the size, one after the other."""

    def __init__(self, chain: nn.Sequential, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(*written(chain), dtype, given="last0", made=f"last{len(chain)}")


def written(chain: nn.Sequential) -> tuple[list[str], bytes]:
    """Return lines of a graph from the blob "last0" to "lastN" for N convolutions and PReLUs, and their weights."""
    lines, weights = [], bytearray()
    for index, layer in enumerate(chain):
        names = f"layer{index} 1 1 last{index} last{index + 1}"
        if isinstance(layer, nn.PReLU):
            lines.append(f"PReLU {names} 0={layer.num_parameters}")
            weights += _bytes(layer.weight)
            continue
        assert isinstance(layer, nn.Conv2d)
        assert (layer.kernel_size, layer.stride, layer.padding) == ((3, 3), (1, 1), (1, 1))
        assert layer.bias is not None
        grouped = layer.groups > 1
        kind = "ConvolutionDepthWise" if grouped else "Convolution"
        count = layer.weight.numel()
        options = f"0={layer.out_channels} 1=3 4=1 5=1 6={count}" + (f" 7={layer.groups}" if grouped else "")
        lines.append(f"{kind} {names} {options}")
        weights += RAW + _bytes(layer.weight) + _bytes(layer.bias)
    return lines, bytes(weights)


def _bytes(values: Tensor) -> bytes:
    return values.detach().float().contiguous().numpy().tobytes()
