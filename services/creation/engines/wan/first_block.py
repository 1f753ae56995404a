"""The first-block cache: where the first block adds nearly what it added a step ago, the others are skipped.

After ParaAttention's first-block cache, for VACE. That of diffusers 0.42.1 takes its residual from the end of the
stream, where VACE has already added its control hints; on a skipped step they are added again, and two identical
calls differ. Here each block's own contribution is summed, so that a skipped step adds its own hints, and once.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class FirstBlockCache:
    """What the blocks of one transformer added last, separately for each branch of the guidance."""

    def __init__(self, threshold: float) -> None:
        """Skip where the first block's contribution has changed by less than this share of itself."""
        self.skipping = False  # whether this pass of the transformer runs the first block only
        self._threshold = threshold
        self._branches: dict[str, tuple[Tensor, Tensor]] = {}  # the first block's contribution, that of all others
        self._branch = ""
        self._first: Tensor | None = None
        self._others: Tensor | None = None

    def reset(self) -> None:
        """Forget everything: a request that did not begin so would depend on the one before."""
        self._branches.clear()

    @contextmanager
    def branch(self, name: str, **_: object) -> Iterator[None]:
        """Run the transformer once for a branch; the pipeline calls this as the transformer's `cache_context`.

        Where the step stands among all steps, which some pipelines tell as well, is of no use here.
        """
        self._branch = name
        yield
        if not self.skipping and self._first is not None and self._others is not None:
            self._branches[name] = self._first, self._others
        self._first = self._others = None

    def begin(self, contribution: Tensor) -> None:
        """Decide, by what the first block added to the stream, whether the others are run."""
        before = self._branches.get(self._branch)
        self.skipping = before is not None and self._change(before[0], contribution) < self._threshold
        self._first = contribution
        self._others = None if self.skipping else torch.zeros_like(contribution, dtype=torch.float32)

    def add(self, stream: Tensor, output: Tensor) -> None:
        """Add what a later block added to the stream."""
        if self._others is not None:
            self._others.add_(output).sub_(stream)

    def others(self) -> Tensor:
        """Return what the later blocks together added when they last ran."""
        return self._branches[self._branch][1]

    @staticmethod
    def _change(before: Tensor, now: Tensor) -> float:
        return float((now - before).abs().mean() / before.abs().mean())


class Caches:
    """Those of all transformers of a pipeline."""

    def __init__(self, caches: Sequence[FirstBlockCache]) -> None:
        self._caches = caches

    def reset(self) -> None:
        """Forget everything."""
        for cache in self._caches:
            cache.reset()


class First(nn.Module):
    """The first block, which always runs."""

    def __init__(self, block: nn.Module, cache: FirstBlockCache) -> None:
        super().__init__()
        self.block, self._cache = block, cache

    def forward(self, stream: Tensor, *conditions: Any) -> Tensor:
        output: Tensor = self.block(stream, *conditions)
        self._cache.begin(output - stream)
        return output


class Later(nn.Module):
    """Another block; when they are skipped the last one adds what all of them added before."""

    def __init__(self, block: nn.Module, cache: FirstBlockCache, *, last: bool) -> None:
        super().__init__()
        self.block, self._cache, self._last = block, cache, last

    def forward(self, stream: Tensor, *conditions: Any) -> Tensor:
        if self._cache.skipping:
            return (stream + self._cache.others()).to(stream.dtype) if self._last else stream
        output: Tensor = self.block(stream, *conditions)
        self._cache.add(stream, output)
        return output


def cache_first_block(transformer: Any, threshold: float) -> FirstBlockCache:
    """Wrap the blocks of a transformer of Wan's, VACE or not, in a cache, in place; they must not be compiled yet."""
    cache = FirstBlockCache(threshold)
    first, *later = transformer.blocks
    transformer.blocks = nn.ModuleList(
        [
            First(first, cache),
            *(Later(block, cache, last=block is later[-1]) for block in later),
        ]
    )
    transformer.cache_context = cache.branch
    return cache
