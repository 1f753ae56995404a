"""The device, precision and layout follow from what the machine can do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from shared.errors import Unavailable
from shared.networks.compute import choose_compute, cpu_multiplies_bfloat16
from shared.process.malloc import KEEP_FREED_MEMORY


def pretend(monkeypatch: pytest.MonkeyPatch, *, cuda: bool, **capabilities: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)


@pytest.mark.parametrize("capability", ["amx_bf16", "avx512_bf16"])
def test_a_cpu_with_bfloat16_instructions_uses_them(monkeypatch: pytest.MonkeyPatch, capability: str) -> None:
    pretend(monkeypatch, cuda=False, **{capability: True})
    compute = choose_compute("auto")
    assert (compute.device.type, compute.dtype, compute.memory_format) == ("cpu", torch.bfloat16, torch.channels_last)
    assert compute.name == "cpu bfloat16"


def test_any_other_cpu_computes_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, cuda=False, avx2=True, avx512_f=True, amx_bf16=False)
    assert choose_compute("auto").dtype == torch.float32


def test_a_gpu_is_preferred_and_computes_in_fp16(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, cuda=True)
    compute = choose_compute("auto")
    assert (compute.device, compute.dtype) == (torch.device("cuda:0"), torch.float16)
    assert choose_compute("cpu").device.type == "cpu"


def test_asking_for_a_gpu_that_is_not_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, cuda=False)
    with pytest.raises(Unavailable) as raised:
        choose_compute("cuda")
    assert "KINORA_DEVICE" in raised.value.sentence("en")


def test_what_this_cpu_multiplies_is_what_its_kernel_says() -> None:
    flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    assert cpu_multiplies_bfloat16() == bool(flags & {"amx_bf16", "avx512_bf16"})


def test_freed_memory_stays_for_the_next_tensor() -> None:
    """In a thread, where glibc would otherwise map every large tensor anew: the page faults are counted."""
    script = """
import resource, threading
import torch
def work():
    for _ in range(20):
        torch.ones(14_000_000)
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    for _ in range(5):
        torch.ones(14_000_000)
    print(resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before)
torch.set_num_threads(1)
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""

    def faults(extra: dict[str, str]) -> int:
        environment = {**os.environ, **extra}
        ran = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        return int(ran.stdout)

    assert faults(KEEP_FREED_MEMORY) < 100 < faults({})
