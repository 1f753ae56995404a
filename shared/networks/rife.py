"""RIFE 4: two frames and an instant between them give the frame at that instant.

Source: "Real-Time Intermediate Flow Estimation for Video Frame Interpolation" (Huang et al. 2022, arXiv:2011.06294)
and the layouts of the weights that Practical-RIFE publishes. A chain of blocks, each at a finer scale than the one
before, refines the flow from the wanted instant to either frame; the frames are warped along it and mixed by a mask.

The result is that of the published network, computed in another order. There every block's flow is enlarged to
full size, the frames are warped there, and all of it is shrunk again for the next block, so that resizing takes more
time than the convolutions. Here flow and mask stay as small as the block made them (`Estimate`) and each block samples
the frames on its own grid. Enlarging by 16 and shrinking by 4, both bilinear, is exactly enlarging by 4. And shrinking
a warped frame takes the mean of the four pixels in the middle of each cell: one sample of a frame averaged around
every corner of its pixels, exactly so wherever those four move alike.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, takewhile
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, grid_sample, interpolate, pad

from shared.networks.rife_blocks import (
    FLOW,
    LAYOUTS,
    MASK,
    RGB,
    SHARED_LAYOUTS,
    STRIDE,
    FlowBlock,
    FrameEncoder,
    Layout,
)
from shared.networks.rife_refinement import ContextEncoder, Refinement

MEDIAN_SAMPLES = 16384  # of a picture at least: a GPU takes longer for their median than for the flow
LARGE_MOTION = 32  # pixels that the second block adds in both directions when the first has missed the motion

_INFERENCE = re.compile(r"(block\d+|encode|contextnet|unet)\.")  # each release has other parts beside them for training


@dataclass(frozen=True)
class FrameFeatures:
    """What depends on one frame alone: computed once, used for both of its pairs and all of their instants."""

    channels: Tensor  # (1, 3 + features, H, W) float32, RGB 0-1 first
    corners: Tensor  # (1, 3 + features, H + 1, W + 1): the means of the four pixels around every corner
    context: tuple[Tensor, ...]  # (1, 16·2^i, H/2^(i+1), W/2^(i+1)) for the refinement; empty without it

    def shrunk(self, scale: int) -> Tensor:
        """Return (1, 3 + features, H/scale, W/scale) for an even `scale`: the corner in the middle of every cell."""
        middles = slice(scale // 2, None, scale)
        return self.corners[..., middles, middles]

    def along(self, flow: Tensor, scale: int) -> Tensor:
        """Return (T, 3 + features, h, w) along (T, 2, h, w) `flow`, whose cells have `scale` pixels."""
        return _warp(self.channels, flow) if scale == 1 else _warp_corners(self.corners, flow)


class Estimate:
    """Flow, mask and carried channels at the blocks' own sizes, enlarged only where needed."""

    def __init__(self, layout: Layout) -> None:
        self._added = FLOW + MASK if layout.adds_masks else FLOW  # channels that sum over the blocks
        self._parts: list[tuple[int, Tensor]] = []  # a cell's side in pixels, (T, 5 + carried, H/side, W/side)

    def add(self, side: int, answer: Tensor) -> None:
        """Add a block's output on cells of `side` pixels."""
        self._parts.append((side, answer))

    def at(self, side: int) -> Tensor:
        """Return (T, 5 + carried, H/side, W/side): the flow in cells of `side` pixels, the mask, the carried channels.

        Every part is enlarged at once from its own size: enlarging step by step would blur it.
        """
        cell, newest = self._parts[-1]
        total = _enlarged(newest, cell // side)
        for cell, part in self._parts[:-1]:
            total[:, : self._added] += _enlarged(part[:, : self._added], cell // side)
        if side == 1:  # nothing finer is needed, so the sum may replace its parts
            self._parts = [(1, total)]
        return total


@dataclass(frozen=True)
class _Pair:
    """The input of the blocks: two frames and the wanted instants, (T, 1, 1, 1)."""

    first: FrameFeatures
    second: FrameFeatures
    timesteps: Tensor

    def warped(self, flow: Tensor, scale: int) -> list[Tensor]:
        """Return a block's input, the frames warped along (T, 4, h, w) `flow`: colours, features, the instant."""
        return self._seen(self.first.along(flow[:, :2], scale), self.second.along(flow[:, 2:], scale))

    def shrunk(self, scale: int) -> list[Tensor]:
        """Return the same of the frames as they are."""
        count = len(self.timesteps)
        return self._seen(*(frame.shrunk(scale).expand(count, -1, -1, -1) for frame in (self.first, self.second)))

    def _seen(self, first: Tensor, second: Tensor) -> list[Tensor]:
        instant = self.timesteps.expand(-1, 1, *first.shape[-2:])
        return [first[:, :RGB], second[:, :RGB], first[:, RGB:], second[:, RGB:], instant]


class Rife(nn.Module):
    """Flow blocks, and for the weights that have them an encoder of features and a refinement.

    Frames are (1, 3, H, W) RGB 0-1 float32 with H and W multiples of `multiple(flow_scale)`. Images, flow and sampling
    grids stay float32 whatever the weights' precision: half a pixel at x = 2000 needs more than 11 bits.
    """

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout = layout
        frames = 2 * (RGB + layout.features) + 1
        for index, width in enumerate(layout.widths):
            inputs = frames if index == 0 else frames + MASK + layout.carried + FLOW
            self.add_module(f"block{index}", FlowBlock(layout, inputs, width))
        if layout.features:
            self.encode = FrameEncoder(layout.features)
        if layout.refines:
            self.contextnet = ContextEncoder()
            self.unet = Refinement(inputs=4 * RGB + MASK + FLOW)

    @classmethod
    def from_weights(cls, weights: Mapping[str, Tensor], name: str = "") -> Self:
        """Build the network that a published state dict belongs to; parts used only in training are left out.

        `name` is that of a generation, which decides between those of one layout; without it the layout names itself.
        Raises RuntimeError for weights of another network or another generation.
        """
        network = cls(_layout_named(name) if name else _layout_of(weights))
        network.load_state_dict({key: tensor for key, tensor in weights.items() if _INFERENCE.match(key)})
        return network

    def multiple(self, flow_scale: float) -> int:
        """Return what a frame's sides must be multiples of."""
        return int(max(self.layout.scales) / flow_scale) * STRIDE

    def features(self, frame: Tensor, *, refine: bool) -> FrameFeatures:
        """Compute what depends on one frame alone; `refine` as in `forward`."""
        channels = torch.cat((frame, self.encode(self._narrow(frame)).float()), 1) if self.layout.features else frame
        context = self.contextnet(self._narrow(frame)) if refine and self.layout.refines else ()
        corners = avg_pool2d(pad(channels, (1, 1, 1, 1), mode="replicate"), 2, stride=1)
        return FrameFeatures(channels, corners, context)

    def forward(
        self,
        first: FrameFeatures,
        second: FrameFeatures,
        timesteps: Tensor,
        *,
        flow_scale: float = 1.0,
        refine: bool = False,
        steady: bool = False,
    ) -> Tensor:
        """Return (T, 3, H, W) RGB float32, about 0-1, for the T `timesteps` in (0, 1) of one pair.

        `flow_scale` shrinks what the blocks see: 0.5 for frames so large that motion exceeds their reach.
        `refine` needs features that were computed with it. `steady` moves the picture as a whole to where even
        motion puts it at each instant, see `_steadied`.
        """
        pair = _Pair(first, second, timesteps.view(-1, 1, 1, 1))
        scales = self._scales(flow_scale)
        estimate, moved = self._coarse(pair, scales)
        if self.layout.looks_again and float(moved) > LARGE_MOTION:
            scales = self._scales(flow_scale / 2)
            estimate, _ = self._coarse(pair, scales)
        return self._render(pair, self._fine(pair, scales, estimate), refine=refine, steady=steady)

    def without_waiting(
        self,
        first: FrameFeatures,
        second: FrameFeatures,
        timesteps: Tensor,
        *,
        far: bool,
        flow_scale: float = 1.0,
        refine: bool = False,
        steady: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Return `forward`'s answer and whether it missed large motion, both on the device.

        `forward` reads from the device how far the pair moves and may search again. This does not, so that it can be
        recorded: it searches with `far` for large motion, and where it answers True (a bool of no dimension) to
        `far=False`, `forward` would have searched with `far=True`.
        """
        pair = _Pair(first, second, timesteps.view(-1, 1, 1, 1))
        scales = self._scales(flow_scale / 2 if far else flow_scale)
        estimate, moved = self._coarse(pair, scales)
        missed = (moved > LARGE_MOTION) & (self.layout.looks_again and not far)
        return self._render(pair, self._fine(pair, scales, estimate), refine=refine, steady=steady), missed

    def _render(self, pair: "_Pair", estimate: Estimate, *, refine: bool, steady: bool) -> Tensor:
        """Warp both frames along the estimate, mix them and, with `refine`, correct the mixture."""
        first, second = pair.first, pair.second
        flow, mask = estimate.at(1).split_with_sizes([FLOW, MASK, self.layout.carried], 1)[:2]
        if steady:
            flow = _steadied(flow, pair.timesteps)
        from_first = _warp(first.channels[:, :RGB], flow[:, :2])
        from_second = _warp(second.channels[:, :RGB], flow[:, 2:])
        mixed = torch.lerp(from_second, from_first, torch.sigmoid(mask))
        if not (refine and self.layout.refines):
            return mixed
        frames = [frame.channels[:, :RGB].expand_as(mixed) for frame in (first, second)]
        context = _warped_context(first.context, second.context, flow)
        correction: Tensor = self.unet([*frames, from_first, from_second, mask, flow], context)
        return mixed + correction

    def _scales(self, flow_scale: float) -> list[int]:
        return [int(scale / flow_scale) for scale in self.layout.scales]

    def _coarse(self, pair: _Pair, scales: Sequence[int]) -> tuple[Estimate, Tensor]:
        """Run the two coarsest blocks; return the estimate and how many pixels the second moved it, see `_farthest`."""
        estimate = Estimate(self.layout)
        self._block(0, scales[0], pair.shrunk(scales[0]), estimate)
        update = self._step(1, scales[1], pair, estimate)
        return estimate, _farthest(update) * scales[1] * 2

    def _fine(self, pair: _Pair, scales: Sequence[int], estimate: Estimate) -> Estimate:
        """Run the other blocks."""
        for index, scale in enumerate(scales[2:], start=2):
            self._step(index, scale, pair, estimate)
        return estimate

    def _step(self, index: int, scale: int, pair: _Pair, estimate: Estimate) -> Tensor:
        """Run a block on the frames warped along the estimate so far, and add its output."""
        flow, rest = estimate.at(scale).split_with_sizes([FLOW, MASK + self.layout.carried], 1)
        return self._block(index, scale, [*pair.warped(flow, scale), rest, flow], estimate)

    def _block(self, index: int, scale: int, seen: Sequence[Tensor], estimate: Estimate) -> Tensor:
        block = self.get_submodule(f"block{index}")
        assert isinstance(block, FlowBlock)
        answer: Tensor = block(self._narrow(torch.cat(tuple(seen), 1))).float()
        estimate.add(scale * block.cell, answer)
        return answer

    def _narrow(self, values: Tensor) -> Tensor:
        """Convert to the weights' precision, in which convolutions run."""
        return values.to(next(weight for weight in self.parameters() if weight.ndim > 1).dtype)


def _layout_named(name: str) -> Layout:
    return replace(LAYOUTS[SHARED_LAYOUTS.get(name, name)], name=name)


def _layout_of(weights: Mapping[str, Tensor]) -> Layout:
    """Return the layout with these blocks; that of 4.0 where there is none, which then refuses the weights."""
    outputs = (weights.get(f"block{index}.conv0.1.0.weight") for index in count())
    widths = tuple(len(weight) for weight in takewhile(lambda weight: weight is not None, outputs))  # type: ignore[arg-type]
    return next((layout for layout in LAYOUTS.values() if layout.widths == widths), LAYOUTS["4.0"])


def _resize(values: Tensor, factor: float) -> Tensor:
    return interpolate(values, scale_factor=factor, mode="bilinear", align_corners=False)


def _enlarged(estimate: Tensor, factor: int) -> Tensor:
    """Return a new estimate on cells that are `factor` times smaller; its flow counts those."""
    scaled = estimate.clone()
    scaled[:, :FLOW] *= factor
    return scaled if factor == 1 else _resize(scaled, factor)


def _farthest(update: Tensor) -> Tensor:
    """Return how many cells a block's answer moves the flow at most, to the frame where that is less.

    It is one number for all instants of a pair, else the flow would jump between two searches; a 0-d tensor.
    """
    return torch.minimum(update[:, :2].abs().amax(), update[:, 2:FLOW].abs().amax())


def _steadied(flow: Tensor, timesteps: Tensor) -> Tensor:
    """Correct (T, 4, H, W) so that evenly moving content is in its place at each instant.

    What moves evenly has (1 - t)·(flow to the first) + t·(flow to the second) = 0; the rest is how far it is from
    its place. The network was trained on single instants and puts a whole pan up to 0.4 pixels ahead or behind,
    differently at each k/rate. The median over the picture is that error; the motion of single objects is kept.
    """
    apart = max(4, math.isqrt(flow.shape[-1] * flow.shape[-2] // MEDIAN_SAMPLES))
    beside = (1 - timesteps) * flow[:, :2, ::apart, ::apart] + timesteps * flow[:, 2:, ::apart, ::apart]
    offset = beside.flatten(2).median(2).values[..., None, None]
    return flow - torch.cat((offset, offset), 1)


def _warp(values: Tensor, flow: Tensor) -> Tensor:
    """Sample (1, C, H, W) at the centres of the cells of (T, 2, h, w) `flow`, moved by that many cells.

    Returns (T, C, h, w); positions outside repeat the edge.
    """
    return grid_sample(
        values.expand(len(flow), -1, -1, -1), _grid(flow), mode="bilinear", padding_mode="border", align_corners=False
    )


def _warp_corners(corners: Tensor, flow: Tensor) -> Tensor:
    """Sample in the same way values at the corners of (H, W) pixels, (1, C, H + 1, W + 1)."""
    return grid_sample(
        corners.expand(len(flow), -1, -1, -1), _grid(flow), mode="bilinear", padding_mode="border", align_corners=True
    )


def _grid(flow: Tensor) -> Tensor:
    """Return (T, h, w, 2) positions in (-1, 1), laid out plane by plane: interleaving would cost a transposition."""
    height, width = flow.shape[-2:]
    grid = torch.empty_like(flow)
    torch.add(_centres(width, flow), flow[:, 0], alpha=2 / width, out=grid[:, 0])
    torch.add(_centres(height, flow)[:, None], flow[:, 1], alpha=2 / height, out=grid[:, 1])
    return grid.permute(0, 2, 3, 1)


def _centres(cells: int, like: Tensor) -> Tensor:
    """Return the centres of `cells` equal cells over (-1, 1)."""
    return torch.arange(1 - cells, cells, 2, device=like.device, dtype=like.dtype) / cells


def _warped_context(first: Sequence[Tensor], second: Sequence[Tensor], flow: Tensor) -> list[Tensor]:
    """Warp both frames' context levels along the flow, halved from level to level; (T, both's channels, h, w) each.

    Channels are last in memory, as in the convolutions' results that they are concatenated with: concatenating two
    layouts takes longer than the convolution that follows.
    """
    levels = []
    for of_first, of_second in zip(first, second, strict=True):
        flow = _resize(flow, 0.5) * 0.5
        both = torch.cat((_warp(of_first, flow[:, :2]), _warp(of_second, flow[:, 2:])), 1)
        levels.append(both.contiguous(memory_format=torch.channels_last))
    return levels
