"""RIFE computed as it was published: everything at full size, resized for every block and back.

What `shared.networks.rife` must agree with, and the "eager RIFE" that its speed is measured against. It runs the same
modules with the same weights; only the order of the computation is the published one.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from shared.networks.rife import LARGE_MOTION, Rife
from shared.networks.rife_blocks import FLOW, MASK


def textbook_rife(network: Rife, first: Tensor, second: Tensor, timestep: float, *, refine: bool) -> Tensor:
    """Return (1, 3, H, W) for two frames (1, 3, H, W) RGB 0-1 whose sides are multiples of the network's."""
    layout, modules = network.layout, dict(network.named_children())
    blocks = [modules[f"block{index}"] for index in range(len(layout.widths))]
    scales = list(layout.scales)
    frames = [first, second]
    learned = [modules["encode"](frame) for frame in frames] if layout.features else []
    instant = torch.full_like(first[:, :1], timestep)
    flow, mask, carried = _answer(blocks[0], torch.cat((*frames, *learned, instant), 1), None, scales[0])
    for index in range(1, len(blocks)):
        update, found, new = _step(blocks[index], (frames, learned), instant, (flow, mask, carried), scales[index])
        missed = index == 1 and all(update[:, at : at + 2].abs().max() > LARGE_MOTION for at in (0, 2))
        if layout.looks_again and missed:
            scales = [2 * scale for scale in scales]
            flow, mask, carried = _answer(blocks[0], torch.cat((*frames, instant), 1), None, scales[0])
            update, found, new = _step(blocks[1], (frames, learned), instant, (flow, mask, carried), scales[1])
        flow, carried = flow + update, new
        mask = mask + found if layout.adds_masks else found
    warped = [_warp(frame, flow[:, 2 * side : 2 * side + 2]) for side, frame in enumerate(frames)]
    share = torch.sigmoid(mask)
    mixed = warped[0] * share + warped[1] * (1 - share)
    if not refine:
        return mixed
    context = [
        _context(modules["contextnet"], frame, flow[:, 2 * side : 2 * side + 2]) for side, frame in enumerate(frames)
    ]
    levels = [torch.cat(pair, 1) for pair in zip(*context, strict=True)]
    correction: Tensor = modules["unet"]([*frames, *warped, mask, flow], levels)
    return (mixed + correction).clamp(0, 1)


def _step(
    block: Any, sources: tuple[list[Tensor], list[Tensor]], instant: Tensor, state: tuple[Tensor, ...], scale: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Warp everything at full size and run a block on it."""
    flow, mask, carried = state
    warped = [
        _warp(values, flow[:, 2 * side : 2 * side + 2]) for source in sources for side, values in enumerate(source)
    ]
    return _answer(block, torch.cat((*warped, instant, mask, carried), 1), flow, scale)


def _answer(block: Any, seen: Tensor, flow: Tensor | None, scale: int) -> tuple[Tensor, Tensor, Tensor]:
    """Shrink to the block's scale, run it, enlarge flow, mask and carried channels to full size."""
    seen = _resize(seen, 1 / scale)
    if flow is not None:
        seen = torch.cat((seen, _resize(flow, 1 / scale) / scale), 1)
    cell = scale * block.cell
    answer = _resize(block(seen), cell)
    return answer[:, :FLOW] * cell, answer[:, FLOW : FLOW + MASK], answer[:, FLOW + MASK :]


def _context(encoder: Any, frame: Tensor, flow: Tensor) -> list[Tensor]:
    levels = []
    for level in encoder(frame):
        flow = _resize(flow, 0.5) * 0.5
        levels.append(_warp(level, flow))
    return levels


def _resize(values: Tensor, factor: float) -> Tensor:
    return interpolate(values, scale_factor=factor, mode="bilinear", align_corners=False)


def _warp(values: Tensor, flow: Tensor) -> Tensor:
    height, width = values.shape[-2:]
    like: dict[str, Any] = {"device": values.device, "dtype": flow.dtype}
    rows, columns = torch.meshgrid(
        torch.linspace(-1, 1, height, **like), torch.linspace(-1, 1, width, **like), indexing="ij"
    )
    grid = torch.stack((columns, rows))[None] + flow / torch.tensor(((width - 1) / 2, (height - 1) / 2), **like).view(
        1, 2, 1, 1
    )
    return grid_sample(
        values.to(grid.dtype), grid.permute(0, 2, 3, 1), mode="bilinear", padding_mode="border", align_corners=True
    )
