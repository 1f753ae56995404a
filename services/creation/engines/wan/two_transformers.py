"""Two transformers of which one denoises at a time: on a GPU the other one waits in host memory."""

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

logger = logging.getLogger("bentoml.kinora.wan")


class Alternating:
    """Keeps on the device whichever of some modules was called last.

    Their weights never change, so that a module leaves the device by forgetting its copy there: only the way to the
    device costs time, once at the boundary of a clip and once at the beginning of the next.
    """

    def __init__(self, modules: list[Any], carry: Callable[[Tensor], Tensor]) -> None:
        """`carry` copies a tensor to the device."""
        self._carry = carry
        self._at_home = [[(parameter, parameter.data) for parameter in _tensors(module)] for module in modules]
        self.present: int | None = None  # which module is on the device
        for index, module in enumerate(modules):
            module.register_forward_pre_hook(lambda _module, _inputs, index=index: self.bring(index))

    def bring(self, index: int) -> None:
        """Put a module on the device, and the others off it."""
        if self.present == index:
            return
        if self.present is not None:
            for parameter, weights in self._at_home[self.present]:
                parameter.data = weights
        self.present = None  # in case that there is not enough memory for it
        for parameter, weights in self._at_home[index]:
            parameter.data = self._carry(weights)
        self.present = index
        logger.info("transformer %d of %d is on the device", index + 1, len(self._at_home))


def alternate(modules: list[Any], device: torch.device) -> Alternating:
    """Keep modules in host memory, from where each comes to the device when it is called; the first one does now."""
    alternating = Alternating(modules, lambda weights: weights.to(device, non_blocking=True))
    alternating.bring(0)
    return alternating


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]
