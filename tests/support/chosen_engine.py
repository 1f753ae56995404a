"""A choice of engines without a race, for tests of what follows from it."""

from collections.abc import Callable
from types import ModuleType

import pytest


def picks(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, network: str) -> list[tuple[str, ...]]:
    """Have that engine win wherever `module` chooses for `network`; returns what it was chosen from."""
    offered: list[tuple[str, ...]] = []
    expected = network

    def choose(engines: dict[str, Callable[[], object]], *_: object, network: str) -> str:
        assert network == expected
        offered.append(tuple(engines))
        return name

    monkeypatch.setattr(module, "fastest", choose)
    return offered
