"""The few steps of a distilled model: from noise to a picture, and from it to less noise, a given number of times."""

from itertools import pairwise

import torch
from torch import Tensor

TRAINING_STEPS = 1000  # the model is told the noise's share in thousandths

# The shares of noise at which the models were distilled; they know no others.
FAST_WAN = (1.0, 0.757, 0.522)  # FastVideo's transformer
LORA = (1.0, 0.9375, 0.8333, 0.625)  # four-step LoRAs: 1, 3/4, 1/2, 1/4 under a shift of 5


class FewSteps:
    """A scheduler for diffusers' WanPipeline, after distribution matching distillation (arXiv 2405.14867, algorithm 2).

    At each share `s` of noise the model's velocity v leads straight to its picture, x - s v; new noise of the next
    share is mixed into that. The last picture stays. The noise is drawn from the generator on the CPU in fp32: the same
    everywhere.
    """

    order = 1

    def __init__(self, shares: tuple[float, ...]) -> None:
        self._shares = shares
        self._generator = torch.Generator()
        self._next = 0

    @property
    def count(self) -> int:
        """How many steps there are."""
        return len(self._shares)

    def begin(self, generator: torch.Generator) -> None:
        """Draw the noise of the coming run from this generator."""
        self._generator = generator

    # What the pipeline calls.

    def set_timesteps(self, count: int, device: torch.device | str | None = None) -> None:
        if count != self.count:
            raise ValueError(f"{count} steps are asked for, the model was distilled to {self.count}")
        self.sigmas = torch.tensor([*self._shares, 0.0], dtype=torch.float32)
        self.timesteps = (self.sigmas[:-1] * TRAINING_STEPS).to(device)

    def set_begin_index(self, index: int) -> None:
        self._next = index

    def step(self, velocity: Tensor, _time: Tensor, noisy: Tensor, *, return_dict: bool = False) -> tuple[Tensor]:
        """Take one step; the pipeline reads the first of what is returned."""
        del return_dict
        share, rest = list(pairwise(self.sigmas.tolist()))[self._next]
        self._next += 1
        picture = noisy.float() - share * velocity.float()
        if rest == 0:
            return (picture,)
        noise = torch.randn(picture.shape, generator=self._generator, dtype=torch.float32).to(picture.device)
        return ((1 - rest) * picture + rest * noise,)


def shares_for(*, adapter: bool) -> tuple[float, ...]:
    """Return the shares of a distilled transformer, or those of an adapter where there is one."""
    return LORA if adapter else FAST_WAN
