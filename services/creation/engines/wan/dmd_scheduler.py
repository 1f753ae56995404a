"""The scheduler of a distilled model: predict the picture, add less noise than before, a fixed number of times."""

from collections.abc import Mapping
from itertools import pairwise
from types import SimpleNamespace

import torch
from torch import Tensor

from services.creation.engines.wan.models import SIGMAS, Solver

TRAINING_STEPS = 1000  # the model is given sigma in thousandths

FAST_WAN = (1.0, 0.757, 0.522)  # sigmas (shares of noise, 0-1) at which FastVideo's transformer was distilled


class DMDScheduler:
    """A scheduler for diffusers' WanPipeline, after distribution matching distillation (arXiv 2405.14867, algorithm 2).

    At each sigma s the model's velocity v predicts the picture from the noisy x as x - s v; new noise is then mixed
    into it with the next sigma. The last prediction is the result. The noise is drawn from the generator on the CPU in
    fp32, so that it is the same on every machine.
    """

    order = 1

    def __init__(self, sigmas: tuple[float, ...]) -> None:
        self._sigmas = sigmas
        self.sigmas = torch.tensor([*sigmas, 0.0], dtype=torch.float32)
        self.timesteps = self.sigmas[:-1] * TRAINING_STEPS  # on the pipeline's device after `set_timesteps`
        self.config = SimpleNamespace(
            num_train_timesteps=TRAINING_STEPS
        )  # a pipeline with two transformers asks for it
        self.predicted: Tensor | None = None  # what the last step took for the picture
        self._generator = torch.Generator()
        self._next = 0

    @property
    def count(self) -> int:
        """How many steps there are."""
        return len(self._sigmas)

    def begin(self, generator: torch.Generator) -> None:
        """Draw the noise of the next run from this generator."""
        self._generator = generator

    # What the pipeline calls.

    def set_timesteps(self, count: int, device: torch.device | str | None = None) -> None:
        if count != self.count:
            raise ValueError(f"{count} steps are asked for, the model was distilled to {self.count}")
        self.timesteps = self.timesteps.to(device)
        self._next = 0

    def set_begin_index(self, index: int) -> None:
        self._next = index

    def step(self, velocity: Tensor, _time: Tensor, noisy: Tensor, *, return_dict: bool = False) -> tuple[Tensor]:
        """Denoise once; the pipeline reads the first of what is returned."""
        del return_dict
        sigma, next_sigma = list(pairwise(self.sigmas.tolist()))[self._next]
        self._next += 1
        picture = self.predicted = noisy.float() - sigma * velocity.float()
        if next_sigma == 0:
            return (picture,)
        return (self._noised(picture, velocity, next_sigma),)

    def _noised(self, picture: Tensor, _velocity: Tensor, sigma: float) -> Tensor:
        noise = torch.randn(picture.shape, generator=self._generator, dtype=torch.float32).to(picture.device)
        return (1 - sigma) * picture + sigma * noise


class EulerScheduler(DMDScheduler):
    """Euler's method over the same kind of steps: the picture goes back along the velocity, no noise is new."""

    def _noised(self, picture: Tensor, velocity: Tensor, sigma: float) -> Tensor:
        return picture + sigma * velocity.float()


SCHEDULERS: Mapping[Solver, type[DMDScheduler]] = {"dmd": DMDScheduler, "euler": EulerScheduler}


def sigmas_for(*, adapter: bool) -> tuple[float, ...]:
    """Return the sigmas of a distilled transformer, or those of an adapter where there is one: a four-step LoRA."""
    return SIGMAS if adapter else FAST_WAN
