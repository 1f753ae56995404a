"""The table of engines: each against the first."""

import torch
from torch import Tensor, nn

from benchmarks.engines import ROUNDS, compared


class Shift(nn.Module):
    """Moves values by so much."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, values: Tensor) -> Tensor:
        return values + self.by


def test_engines_are_compared_with_the_first() -> None:
    times, agreements = compared({"exact": lambda: Shift(0.0), "near": lambda: Shift(0.01)}, torch.zeros(1, 3, 4, 4))
    assert {name: len(values) for name, values in times.items()} == {"exact": ROUNDS, "near": ROUNDS}
    assert {name: round(db) for name, db in agreements.items()} == {"exact": 140, "near": 40}
