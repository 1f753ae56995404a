"""The comparison of engines: what is made of the times that the process with the peers prints."""

import json
import subprocess

import pytest

from benchmarks import upscale as module
from benchmarks.upscale import AVX2, measure
from shared.process.malloc import KEEP_FREED_MEMORY

OURS = {"alone": [0.5, 0.4], "cpu": [0.4, 0.5, 0.6], "wall": [0.2, 0.25, 0.3]}
PEER = {"alone": [0.9, 0.8], "cpu": [0.8, 0.5, 1.2], "wall": [0.4, 0.5, 0.6]}


def answers(monkeypatch: pytest.MonkeyPatch, instructions: list[str]) -> list[dict[str, str]]:
    """Have the processes answer those times on such a processor; returns their environments."""
    environments: list[dict[str, str]] = []

    def run(command: list[str], *, env: dict[str, str], **_: object) -> "subprocess.CompletedProcess[str]":
        environments.append(env)
        return subprocess.CompletedProcess(command, 0, "a line of a library\n" + json.dumps({"we": OURS, "they": PEER}))

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(module, "machine", lambda: {"isa": instructions})
    return environments


def test_the_speed_up_compares_times_of_the_same_round(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, ["avx2", "avx512f", "avx512_bf16"])
    rows = measure().rows
    assert rows[:2] == [
        ["AVX512-BF16", "we", "400", "500", "250", "1.00"],
        ["AVX512-BF16", "they", "800", "800", "500", "2.00"],
    ]
    assert [row[0] for row in rows[2:]] == ["AVX2, imitated"] * 2


def test_avx2_is_imitated_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    environments = answers(monkeypatch, ["avx2", "avx512f"])
    measure()
    plain, limited = environments
    assert not AVX2.items() <= plain.items()
    assert AVX2.items() <= limited.items()
    assert all(KEEP_FREED_MEMORY.items() <= environment.items() for environment in environments)


def test_it_is_not_imitated_where_there_is_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, ["avx2"])
    assert [row[0] for row in measure().rows] == ["AVX2", "AVX2"]


def test_it_tells_how_much_of_the_cores_other_programs_left(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, ["avx2"])
    monkeypatch.setattr(module, "usable_cores", lambda: 4)
    assert "they had 44% of the cores' time" in measure().notes[-1]  # 4 s of CPU time in 2.25 s on 4 cores
