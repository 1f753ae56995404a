"""The choice of an engine: the fastest that agrees, tried once."""

import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from shared.networks import fastest as module
from shared.networks.fastest import fastest

WINDOW = torch.rand(1, 3, 8, 8)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.0)


class Busy(nn.Module):
    """Computes for a while; answers its input, moved by `error`."""

    def __init__(self, seconds: float, error: float = 0.0) -> None:
        super().__init__()
        self._seconds, self._error = seconds, error
        self.calls = 0

    def forward(self, picture: Tensor) -> Tensor:
        self.calls += 1
        begin = time.thread_time()
        while time.thread_time() - begin < self._seconds:
            pass
        return picture + self._error


def engines(**seconds_and_errors: tuple[float, float]) -> dict[str, Callable[[], nn.Module]]:
    return {name: lambda given=given: Busy(*given) for name, given in seconds_and_errors.items()}  # type: ignore[misc]


def test_the_fastest_is_taken_and_remembered() -> None:
    memory: dict[str, str] = {}
    assert fastest(engines(exact=(0.03, 0), quick=(0.002, 1e-4)), WINDOW, memory, network="n") == "quick"
    assert list(memory.values()) == ["quick"]
    assert fastest(engines(exact=(0.001, 0), quick=(0.05, 0)), WINDOW, memory, network="n") == "quick"
    assert fastest(engines(exact=(0.001, 0), quick=(0.05, 0)), WINDOW, memory, network="other") == "exact"


def test_an_engine_that_computes_something_else_is_not_taken() -> None:
    assert fastest(engines(exact=(0.02, 0), wrong=(0.0, 0.1)), WINDOW, {}, network="n") == "exact"


def test_an_engine_whose_answer_is_no_number_is_not_taken() -> None:
    """As ncnn's is in bf16 without Winograd."""
    assert fastest(engines(exact=(0.02, 0), broken=(0.0, float("nan"))), WINDOW, {}, network="n") == "exact"


def test_an_engine_that_fails_is_not_taken() -> None:
    def broken() -> nn.Module:
        raise ImportError("no such library")

    choices = engines(exact=(0.01, 0)) | {"broken": broken}
    assert fastest(choices, WINDOW, {}, network="n") == "exact"


def test_an_engine_that_takes_far_too_long_is_called_once() -> None:
    """As bf16 is where oneDNN may not use the processor's instructions for it: ten times as slow, for seconds."""
    slow, quick = Busy(0.2), Busy(0.001)
    assert fastest({"quick": lambda: quick, "slow": lambda: slow}, WINDOW, {}, network="n") == "quick"
    assert slow.calls == 1
    assert quick.calls > 1


def test_another_version_of_a_library_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    memory: dict[str, str] = {}
    choices = engines(exact=(0.01, 0), quick=(0.0, 0))
    fastest(choices, WINDOW, memory, network="n")
    for library in ("torch", "ncnn"):
        monkeypatch.setattr(module, "version", lambda name, other=library: "2.0" if name == other else "1.0")
        fastest(choices, WINDOW, memory, network="n")
    assert len(memory) == 3


def test_a_failing_reference_is_told() -> None:
    def broken() -> nn.Module:
        raise ImportError("no such library")

    with pytest.raises(ImportError):
        fastest({"broken": broken} | engines(other=(0.0, 0)), WINDOW, {}, network="n")


def test_one_engine_is_not_tried() -> None:
    def never() -> nn.Module:
        raise AssertionError

    assert fastest({"only": never}, WINDOW, {}, network="n") == "only"


def test_the_threads_of_the_caller_stay_as_they_are() -> None:
    before = torch.get_num_threads()
    fastest(engines(exact=(0.001, 0), quick=(0.0, 0)), WINDOW, {}, network="n")
    assert torch.get_num_threads() == before
