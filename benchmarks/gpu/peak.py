"""The card's own limits: matrix products, copies in its memory, copies to and from the host."""

from collections.abc import Iterator
from functools import partial

import torch

from benchmarks.gpu.parts import Options, Row, milliseconds


def measure(options: Options) -> Iterator[Row]:
    """Yield the rates that the other parts are compared with."""
    size = 64 if options.small else 8192
    for dtype in (torch.float16, torch.bfloat16):
        left, right = (torch.randn(size, size, device=options.device, dtype=dtype) for _ in range(2))
        rate = 2 * size**3 / milliseconds(partial(torch.matmul, left, right), options.device) / 1e9
        name = str(dtype).removeprefix("torch.")
        yield Row(f"matrix product {size}x{size}, {name}", f"{rate:.0f} TFLOP/s", figures={f"peak_{name}": rate})
    source = torch.empty(1 << (16 if options.small else 30), dtype=torch.uint8, device=options.device)
    target = torch.empty_like(source)
    rate = 2 * source.numel() / milliseconds(lambda: target.copy_(source), options.device) / 1e6
    yield Row("copy inside its memory, read and written", f"{rate:.0f} GB/s", figures={"copy": rate})
    host = torch.empty(1920 * 1080 * 3, dtype=torch.uint8, pin_memory=options.device.type == "cuda")
    there = torch.empty_like(host, device=options.device)
    for name, work in (("to", lambda: there.copy_(host, True)), ("from", lambda: host.copy_(there, True))):
        rate = host.numel() / milliseconds(work, options.device) / 1e6
        yield Row(f"a 1080p picture {name} the card, pinned", f"{rate:.0f} GB/s", figures={f"copy_{name}": rate})
