"""A catalogue of weights that a test makes."""

from collections.abc import Mapping

import pytest

from shared.weights import Entry


def use_catalogue(monkeypatch: pytest.MonkeyPatch, entries: Mapping[str, Entry]) -> None:
    """Have these entries alone be known."""
    for name in ("shared.weights.entries", "shared.weights.catalogue.entries"):
        monkeypatch.setattr(name, lambda: entries)
