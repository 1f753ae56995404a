"""The table of swapping networks: how each one's chip is cut out and scaled, and what it takes of the source."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from services.facefusion.face import ARCFACE_112, Float

Identity = Literal["unit", "emap", "converted", "converted unit"]

# Where a chip has the five landmarks, 0-1 of its side.
TEMPLATES: Mapping[str, Float] = {
    # ARCFACE_112 with 8 pixels more at the left and the right, in a chip of 128.
    "arcface-128": ((ARCFACE_112 + np.array([8.0, 0.0], np.float32)) / 128).astype(np.float32),
    # The frontal one of insightface's first five templates: a smaller face.
    "arcface-112-v1": np.array(
        [
            [0.35473214, 0.45658929],
            [0.64526786, 0.45658929],
            [0.5, 0.61154464],
            [0.37913393, 0.776875],
            [0.62086607, 0.776875],
        ],
        np.float32,
    ),
}


@dataclass(frozen=True)
class SwapperRow:
    """One network of the table; `swappers.toml` says what the fields mean."""

    name: str
    side: int
    template: Float  # (5, 2) in pixels of the chip
    mean: Float  # (3,) of RGB 0-1
    deviation: Float  # (3,)
    output: Literal["0-1", "as input"]
    identity: Identity

    def to_input(self, chips: Float) -> Float:
        """(n, side, side, 3) RGB 0-255 to (n, 3, side, side), float32, in the network's range."""
        return np.asarray(((chips / 255 - self.mean) / self.deviation).transpose(0, 3, 1, 2), np.float32)

    def from_output(self, found: Float) -> Float:
        """(n, 3, side, side) as the network gives it to (n, side, side, 3) RGB 0-255, float32."""
        chips = found.transpose(0, 2, 3, 1).astype(np.float32)
        if self.output == "as input":
            chips = chips * self.deviation + self.mean
        return np.asarray(np.clip(chips, 0, 1) * 255, np.float32)


@cache
def swappers() -> Mapping[str, SwapperRow]:
    """Return every row by its name, in the order of `swappers.toml`."""
    tables = tomllib.loads(Path(__file__).with_name("swappers.toml").read_text(encoding="utf-8"))
    return {name: _row(name, table) for name, table in tables.items()}


def _row(name: str, table: dict[str, Any]) -> SwapperRow:
    side = int(table.pop("side"))
    template = TEMPLATES[table.pop("template")] * side
    mean, deviation = (np.array(table.pop(key), np.float32) for key in ("mean", "deviation"))
    return SwapperRow(name, side, template, mean, deviation, **table)
