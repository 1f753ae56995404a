"""Video sparse attention (arXiv 2505.13389): attention among tiles of a clip, and from tokens to the tiles that matter.

Tensors of tokens are (batch, tokens, heads, features), the tokens in the order time, height, width. Tiles at the edges
of the clip may hold fewer tokens than the others.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot, scaled_dot_product_attention

SIDE = 4  # tokens of a tile along time, height and width
SPARSITY = 0.8  # share of the tiles that a token did not look at in training
# How many it did look at: a fifth of the 364 tiles of 61 frames at 832x448. A small clip has fewer tiles in all; with a
# fifth of those a token would see less than it ever did in training.
TRAINED_TILES = 73


@dataclass(frozen=True)
class Tiles:
    """How the tokens of a clip are divided into tiles."""

    tile_of: Tensor  # (tokens,): the tile of each token
    sizes: Tensor  # (tiles,): how many tokens each holds
    members: Tensor  # (tiles, tokens of a whole tile): which they are, -1 where there are fewer

    @classmethod
    def of(cls, grid: tuple[int, int, int], device: torch.device) -> "Tiles":
        """Divide a clip of so many tokens along time, height and width."""
        places = torch.cartesian_prod(*(torch.arange(length, device=device) for length in grid)) // SIDE
        _, rows, columns = (math.ceil(length / SIDE) for length in grid)
        tile_of = (places[:, 0] * rows + places[:, 1]) * columns + places[:, 2]
        sizes = torch.bincount(tile_of)
        members = torch.full((len(sizes), SIDE**3), -1, device=device)
        order = torch.argsort(tile_of, stable=True)
        members[torch.arange(SIDE**3, device=device) < sizes[:, None]] = order
        return cls(tile_of, sizes, members)

    def __len__(self) -> int:
        return len(self.sizes)

    def means(self, tokens: Tensor) -> Tensor:
        """Return the mean of the tokens of each tile, (batch, tiles, heads, features)."""
        # A product with zeros and ones, which every precision holds: faster than to sort the tokens by tile.
        sums = one_hot(self.tile_of, len(self)).T.to(tokens.dtype) @ tokens.flatten(2)
        means = sums.float() / self.sizes[:, None]
        return means.to(tokens.dtype).view(*means.shape[:2], *tokens.shape[2:])


def gated_attention(query: Tensor, key: Tensor, value: Tensor, gate: Tensor, tiles: Tiles) -> Tensor:
    """Return what each token finds in the tiles that it selects, plus what its tile finds in the others, gated."""
    means = [tiles.means(tokens) for tokens in (query, key, value)]
    compressed = attention(*means)[:, tiles.tile_of]
    count = selected_count(len(tiles))
    if count == len(tiles):
        selected = attention(query, key, value)
    else:
        scores = torch.einsum("bqhd,bkhd->bhqk", means[0], means[1])
        selected = selected_attention(query, key, value, scores.topk(count, dim=-1).indices, tiles)
    return torch.addcmul(selected, compressed, gate)


def selected_count(tiles: int) -> int:
    """Return how many tiles of a clip each tile selects: the share of the training, but not fewer than there."""
    return min(tiles, max(TRAINED_TILES, math.ceil((1 - SPARSITY) * tiles)))


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return ordinary attention, of all tokens to all."""
    found = scaled_dot_product_attention(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
    return found.transpose(1, 2)


def selected_attention(query: Tensor, key: Tensor, value: Tensor, chosen: Tensor, tiles: Tiles) -> Tensor:
    """Return the attention of each tile's tokens to those of its chosen tiles.

    `chosen` is (batch, heads, tiles, count). One head at a time: the chosen keys of all would fill the memory.
    """
    is_token = tiles.members >= 0
    by_tile = [tokens[:, tiles.members.clamp(min=0)] for tokens in (query, key, value)]
    found = torch.empty_like(by_tile[0])
    for batch in range(query.shape[0]):
        for head in range(query.shape[2]):
            queries, keys, values = (tokens[batch, :, :, head] for tokens in by_tile)
            mine = chosen[batch, head]
            found[batch, :, :, head] = scaled_dot_product_attention(
                queries[:, None],
                keys[mine].flatten(1, 2)[:, None],
                values[mine].flatten(1, 2)[:, None],
                attn_mask=is_token[mine].flatten(1)[:, None, None],
            )[:, 0]
    tokens = torch.empty_like(query)
    tokens[:, tiles.members[is_token]] = found[:, is_token]
    return tokens
