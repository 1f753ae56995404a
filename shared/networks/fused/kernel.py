"""The fused 3x3 convolution in Triton. Only imported where `can_fuse` says that it can be compiled.

Why it is built so: with 64 channels a convolution is bound by what travels from the L2 cache to a multiprocessor, not
by its multiplications. A program therefore makes several rows at once. Every run of pixels that it loads serves three
of them, so that with four rows 4.5 loads a pixel do what nine would, and the weights are loaded once for all of them.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

HALF = 2  # bytes of an fp16
PIXELS = 64  # of a row; what one instruction of Hopper's matrix units takes


@dataclass(frozen=True)
class Tile:
    """What one program makes, measured on an H100 (docs/benchmarks.md)."""

    rows: int
    channels: int
    depth: int  # input channels at a time
    stages: int  # of loads that are under way

    def stages_on(self, device: torch.device, depth: int) -> int:
        """Return how many stages fit the shared memory of a multiprocessor: cards for games have less of it."""
        limit: int = torch.cuda.get_device_properties(device).shared_memory_per_block_optin
        stage = HALF * depth * ((self.rows + 2) * PIXELS + 3 * self.channels)
        return max(1, min(self.stages, limit // stage))


TILES = (  # by the channels that an output is a multiple of
    Tile(rows=4, channels=64, depth=32, stages=3),
    Tile(rows=4, channels=32, depth=32, stages=2),
    Tile(rows=8, channels=16, depth=32, stages=2),
)


@triton.jit
def _conv3x3(
    x, weight, bias, slope, near, far, out, height, width, x_width, x_pixel, out_pixel, near_pixel, far_pixel, scale,
    INPUTS: tl.constexpr, OUTPUTS: tl.constexpr, ROWS: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
    BK: tl.constexpr, DOUBLED: tl.constexpr, ACT: tl.constexpr, RESIDUALS: tl.constexpr,
):  # fmt: skip
    """Make ROWS rows of BM pixels, BN channels each; `weight` is (3 columns, 3 rows, INPUTS, OUTPUTS)."""
    program = tl.program_id(0)
    across = tl.cdiv(width, BM)
    top = (program // across) * ROWS
    columns = (program % across) * BM + tl.arange(0, BM)
    channels = tl.program_id(1) * BN + tl.arange(0, BN)
    inner = tl.arange(0, BK)
    sums = ()
    for _ in tl.static_range(ROWS):
        sums = sums + (tl.zeros((BM, BN), tl.float32),)
    for step in tl.range(0, 3 * (INPUTS // BK)):
        first = (step // 3) * BK
        column = columns + step % 3 - 1
        exists = ((column >= 0) & (column < width))[:, None]
        at = x + (column >> DOUBLED)[:, None] * x_pixel + first + inner[None, :]
        at_weight = weight + ((step % 3) * 3 * INPUTS + first + inner)[:, None] * OUTPUTS + channels[None, :]
        above = tl.load(at_weight)
        beside = tl.load(at_weight + INPUTS * OUTPUTS)
        below = tl.load(at_weight + 2 * INPUTS * OUTPUTS)
        seen = ()
        for index in tl.static_range(ROWS + 2):
            row = top + index - 1
            there = exists & (row >= 0) & (row < height)
            seen = seen + (tl.load(at + (row >> DOUBLED) * x_width * x_pixel, mask=there, other=0.0),)
        grown = ()
        for index in tl.static_range(ROWS):
            v = tl.dot(seen[index], above, sums[index])
            v = tl.dot(seen[index + 1], beside, v)
            v = tl.dot(seen[index + 2], below, v)
            grown = grown + (v,)
        sums = grown
    biases = tl.load(bias + channels)[None, :]
    slopes = tl.load(slope + channels)[None, :]
    for index in tl.static_range(ROWS):
        v = sums[index] + biases
        pixel = ((top + index) * width + columns)[:, None]
        inside = ((top + index < height) & (columns < width))[:, None]
        if ACT:
            v = tl.where(v > 0, v, v * slopes)
        if RESIDUALS >= 1:
            v = v * scale + tl.load(near + pixel * near_pixel + channels[None, :], mask=inside, other=0.0).to(
                tl.float32
            )
        if RESIDUALS >= 2:
            v = v * scale + tl.load(far + pixel * far_pixel + channels[None, :], mask=inside, other=0.0).to(tl.float32)
        tl.store(out + pixel * out_pixel + channels[None, :], v.to(out.dtype.element_ty), mask=inside)


def conv3x3(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    slope: Tensor | None,
    out: Tensor,
    *,
    residuals: tuple[Tensor, ...] = (),
    scale: float = 1.0,
    doubled: bool = False,
) -> None:
    """Convolve (h, w, inputs) into `out` (H, W, outputs): views with channels last in memory and any pixel stride.

    `weight` is (3 columns, 3 rows, inputs, outputs) fp16; `bias` and `slope` are (outputs,) fp32; `slope` multiplies
    what is negative. Each of at most two `residuals` (H, W, outputs) is added to what is there, `scale`d. With
    `doubled` every pixel of `x` counts as two by two; else `x` has the size of `out`.
    """
    height, width = out.shape[:2]
    inputs, outputs = weight.shape[2:]
    tile = next(tile for tile in TILES if outputs % tile.channels == 0)
    depth = min(tile.depth, inputs & -inputs)
    near, far = (*residuals, x, x)[:2]
    grid = (triton.cdiv(height, tile.rows) * triton.cdiv(width, PIXELS), outputs // tile.channels)
    _conv3x3[grid](
        x, weight, bias, bias if slope is None else slope, near, far, out, height, width, x.shape[1],
        x.stride(1), out.stride(1), near.stride(1), far.stride(1), scale,
        INPUTS=inputs, OUTPUTS=outputs, ROWS=tile.rows, BM=PIXELS, BN=tile.channels,
        BK=depth, DOUBLED=int(doubled), ACT=slope is not None, RESIDUALS=len(residuals),
        num_warps=4, num_stages=tile.stages_on(x.device, depth),
    )  # fmt: skip


@triton.jit
def _round(planes, out, width, plane, row, out_row, white, BLOCK: tl.constexpr):
    line = tl.program_id(1)
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)  # in a row of interleaved colours
    inside = place < width * 3
    values = tl.load(planes + (place % 3) * plane + line * row + place // 3, mask=inside, other=0.0)
    rounded = tl.minimum(tl.maximum(values * white + 0.5, 0.0), white)
    tl.store(out + line * out_row + place, rounded.to(out.dtype.element_ty), mask=inside)


def round_into(out: Tensor, planes: Tensor, white: int) -> None:
    """Write (3, H, W) fp32 0-1 as integers 0-`white` into (H, W, 3), whose rows may lie apart."""
    height, width = out.shape[:2]
    block = 1024
    _round[(triton.cdiv(width * 3, block), height)](
        planes, out, width, planes.stride(0), planes.stride(1), out.stride(0), float(white), BLOCK=block
    )


@triton.jit
def _activate(values, bias, slope, count, CHANNELS: tl.constexpr, BLOCK: tl.constexpr):
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    channel = place % CHANNELS
    v = tl.load(values + place, mask=place < count, other=0.0).to(tl.float32) + tl.load(bias + channel)
    v = tl.where(v > 0, v, v * tl.load(slope + channel))
    tl.store(values + place, v.to(values.dtype.element_ty), mask=place < count)


def activate(values: Tensor, bias: Tensor, slope: Tensor) -> None:
    """Add `bias` and multiply what is negative by `slope`, in place; `values` (N, C, H, W) has its channels last."""
    block = 2048
    _activate[(triton.cdiv(values.numel(), block),)](
        values, bias, slope, values.numel(), CHANNELS=values.shape[1], BLOCK=block
    )
