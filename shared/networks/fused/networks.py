"""The upscaling networks with fused convolutions: the same weights and pictures, in fewer passes over memory."""

from itertools import zip_longest

import torch
from torch import Tensor, nn

from shared.networks.fused.convolution import FusedConv, filled_inputs
from shared.networks.rrdb import RESIDUAL, RRDB, SCALE, SLOPE, TAIL_REACH, ResidualBlock, Shrunk
from shared.networks.srvgg import CHANNELS, SRVGG

TAIL_PIXELS = 1 << 18  # of features that are enlarged at a time: at 16 times the pixels 64 channels of fp16 are 0.5 GB


def fuse(network: nn.Module, dtype: torch.dtype = torch.float16) -> nn.Module:
    """Return `network` with fused convolutions that multiply in `dtype`, or itself if its architecture is another."""
    if isinstance(network, SRVGG):
        return FusedSRVGG(network, dtype)
    if isinstance(network, RRDB):
        return FusedRRDB(network, dtype)
    if isinstance(network, Shrunk):
        return Shrunk(fuse(network.network, dtype), network.scale)
    return network


class FusedSRVGG(nn.Module):
    """`SRVGG` with each PReLU inside the convolution before it; the features alternate between two buffers."""

    def __init__(self, network: SRVGG, dtype: torch.dtype) -> None:
        super().__init__()
        layers = list(network.body)
        convs = [
            FusedConv.of(layer, after.weight if isinstance(after, nn.PReLU) else None).in_precision(dtype)
            for layer, after in zip_longest(layers, layers[1:])
            if isinstance(layer, nn.Conv2d)
        ]
        self._convs = convs
        self.convs = nn.ModuleList(convs)  # the same, so that torch moves them to a device
        self.scale = network.scale

    def forward(self, picture: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 3, H*scale, W*scale), both fp32."""
        count, channels, height, width = picture.shape
        size = (height, self.scale, width, self.scale)
        enlarged = torch.empty((count, channels, *size), dtype=torch.float32, device=picture.device)
        for one, out in zip(picture, enlarged, strict=True):
            self._enlarge(one, out)
        return enlarged.view(count, channels, height * self.scale, width * self.scale)

    def _enlarge(self, picture: Tensor, out: Tensor) -> None:
        values = _features(picture, self._convs[0].weight)
        height, width = values.shape[:2]
        widest = max(conv.weight.shape[3] for conv in self._convs)
        buffers = values.new_empty(2, height, width, widest)
        for index, conv in enumerate(self._convs):
            values = conv(values[..., : conv.weight.shape[2]], buffers[index % 2, ..., : conv.weight.shape[3]])
        blocks = values[..., : CHANNELS * self.scale**2].view(height, width, CHANNELS, self.scale, self.scale)
        torch.add(blocks.permute(2, 0, 3, 1, 4), picture[:, :, None, :, None], out=out)


class FusedRRDB(nn.Module):
    """`RRDB` whose dense blocks write side by side into one buffer, where the network concatenates."""

    def __init__(self, network: RRDB, dtype: torch.dtype) -> None:
        super().__init__()
        self.features, self.growth = network.features, network.growth
        dense = [
            (rdb.conv1, rdb.conv2, rdb.conv3, rdb.conv4, rdb.conv5)
            for block in network.body
            if isinstance(block, ResidualBlock)
            for rdb in (block.rdb1, block.rdb2, block.rdb3)
        ]
        self.dense = nn.ModuleList(
            nn.ModuleList(FusedConv.of(conv, SLOPE if conv is not convs[-1] else None) for conv in convs)
            for convs in dense
        )
        self.first = FusedConv.of(network.conv_first)
        self.body = FusedConv.of(network.conv_body)
        self.up1 = FusedConv.of(network.conv_up1, SLOPE)
        self.up2 = FusedConv.of(network.conv_up2, SLOPE)
        self.detail = FusedConv.of(network.conv_hr, SLOPE)
        self.last = FusedConv.of(network.conv_last)
        for module in self.modules():
            if isinstance(module, FusedConv):
                module.in_precision(dtype)

    def forward(self, picture: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 3, H*4, W*4), both fp32."""
        count, channels, height, width = picture.shape
        size = (height * SCALE, width * SCALE)
        enlarged = torch.empty((count, channels, *size), dtype=torch.float32, device=picture.device)
        for one, out in zip(picture, enlarged, strict=True):
            self._enlarge(one, out)
        return enlarged

    def _enlarge(self, picture: Tensor, out: Tensor) -> None:
        values = _features(picture, self.first.weight)
        height, width = values.shape[:2]
        # Four stacks: one for each dense block of a residual block, which keeps its input in the first, and its sum.
        stacks = values.new_empty(4, height, width, self.features + 4 * self.growth)
        first = self.first(values, values.new_empty(height, width, self.features))
        stacks[0, ..., : self.features].copy_(first)
        for index, convs in enumerate(self.dense):
            begins = stacks[(index - index % 3) % 4]  # where the residual block has its input
            self._dense(convs, stacks[index % 4], stacks[(index + 1) % 4], begins if index % 3 == 2 else None)  # noqa: PLR2004
        last = stacks[len(self.dense) % 4, ..., : self.features]
        features = self.body(last, torch.empty_like(first), (first,))
        self._tail(features, out)

    def _dense(self, convs: nn.Module, stack: Tensor, following: Tensor, outer: Tensor | None) -> None:
        """Fill `stack` behind its first channels; write the block's sum, with `outer` the outer, into `following`."""
        *growing, last = convs.children()
        width = self.features
        for conv in growing:
            conv(stack[..., :width], stack[..., width : width + self.growth])
            width += self.growth
        inputs = [stack[..., : self.features]] + ([] if outer is None else [outer[..., : self.features]])
        last(stack, following[..., : self.features], tuple(inputs), RESIDUAL)

    def _tail(self, features: Tensor, picture: Tensor) -> None:
        """(h, w, features) into the picture (3, h*4, w*4), in strips: it needs sixteen times the memory."""
        height, width = features.shape[:2]
        rows = max(TAIL_PIXELS // width, 1)
        for top in range(0, height, rows):
            begin, bottom = max(top - TAIL_REACH, 0), min(top + rows, height)
            strip = features[begin : bottom + TAIL_REACH]
            for conv in (self.up1, self.up2):
                rows, columns, channels = strip.shape
                strip = conv(strip, strip.new_empty(2 * rows, 2 * columns, channels), doubled=True)
            detail = self.detail(strip, torch.empty_like(strip))
            shape = (*detail.shape[:2], self.last.weight.shape[3])
            made = self.last(detail, detail.new_empty(shape, dtype=torch.float32))
            inside = made[(top - begin) * SCALE : (bottom - begin) * SCALE, :, :CHANNELS]
            picture[:, top * SCALE : bottom * SCALE] = inside.permute(2, 0, 1)


def _features(picture: Tensor, weight: Tensor) -> Tensor:
    """Return (3, H, W) as (H, W, channels) in the precision of `weight`, filled up with zeros to its inputs."""
    channels, height, width = picture.shape
    values = torch.zeros((height, width, filled_inputs(channels)), dtype=weight.dtype, device=weight.device)
    values[..., :channels] = picture.permute(1, 2, 0)
    return values
