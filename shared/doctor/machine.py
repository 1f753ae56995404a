"""The machine: interpreter, cores, memory, GPU and its driver, and whether torch finds the device of the settings."""

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pynvml

from shared.doctor.finding import Finding, ask_aside
from shared.settings import Settings

LEAST_MEMORY_BYTES = 4 << 30
LEAST_CORES = 2
NVIDIA = "0x10de"  # a PCI vendor
DISPLAY = "0x03"  # a PCI class: VGA and 3D controllers
TORCH = """
import torch
answer.update(version=torch.__version__, built_for=torch.version.cuda, found=torch.cuda.is_available())
answer["names"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if answer["found"] else []
"""


@dataclass(frozen=True)
class Driver:
    """What the NVIDIA driver reports."""

    version: str
    cuda: tuple[int, int]  # the newest CUDA that it runs
    gpus: int


def python(_settings: Settings) -> Iterator[Finding]:
    """Check the interpreter."""
    good = sys.version_info >= (3, 11) and platform.system() == "Linux"
    text = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Finding("python", "ok" if good else "broken", text if good else f"{text}: Linux with Python 3.11 is needed")


def strength(_settings: Settings) -> Iterator[Finding]:
    """Check cores and memory."""
    yield from judge_strength(os.cpu_count() or 1, psutil.virtual_memory().total)


def judge_strength(cores: int, memory_bytes: int) -> Iterator[Finding]:
    text = f"{cores} cores, {memory_bytes / 2**30:.1f} GiB of memory"
    if memory_bytes < LEAST_MEMORY_BYTES:
        advice = f"{text}: less than 4 GiB; start fewer services with KINORA_SERVICES"
        yield Finding("machine", "warning", advice)
    elif cores < LEAST_CORES:
        yield Finding("machine", "warning", f"{text}: answers will be slow while a task runs; give it two cores")
    else:
        yield Finding("machine", "ok", text)


def gpu(settings: Settings) -> Iterator[Finding]:
    """Check driver and GPUs, then, in a process of its own, whether torch can use them."""
    try:
        driver: Driver | str | None = driver_here()
    except pynvml.NVMLError as error:
        driver = str(error)
    yield from judge_driver(driver, card=has_nvidia_card(), wanted=settings.device == "cuda")
    yield from judge_torch(ask_aside(TORCH), driver if isinstance(driver, Driver) else None, settings)


def driver_here() -> Driver | None:
    """Ask the driver; None where there is none. Raises NVMLError when there is one that does not work."""
    try:
        pynvml.nvmlInit()
    except (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded):
        return None
    try:
        cuda = pynvml.nvmlSystemGetCudaDriverVersion()  # 12040 is 12.4
        version = pynvml.nvmlSystemGetDriverVersion()
        return Driver(str(version), (cuda // 1000, cuda % 1000 // 10), pynvml.nvmlDeviceGetCount())
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def has_nvidia_card(devices: Path = Path("/sys/bus/pci/devices")) -> bool:
    """Whether the machine has an NVIDIA card, with or without a driver."""
    for device in devices.glob("*"):
        with suppress(OSError):
            vendor = (device / "vendor").read_text(encoding="ascii").strip()
            if vendor == NVIDIA and (device / "class").read_text(encoding="ascii").startswith(DISPLAY):
                return True
    return False


def judge_driver(driver: Driver | str | None, *, card: bool, wanted: bool) -> Iterator[Finding]:
    """Report on the driver: `driver` is its answer, the reason why it gave none, or None without a driver."""
    match driver:
        case Driver(version=version, cuda=cuda, gpus=gpus) if gpus:
            yield Finding("gpu", "ok", f"driver {version}, {gpus} GPU(s), CUDA up to {cuda[0]}.{cuda[1]}")
        case Driver(version=version):
            yield Finding("gpu", "broken" if wanted else "warning", f"driver {version} shows no GPU: run `nvidia-smi`")
        case str():
            advice = (
                "after an update of the driver restart the machine; else run `nvidia-smi` and correct what it reports"
            )
            yield Finding("gpu", "broken", f"the NVIDIA driver does not work ({driver}): {advice}")
        case None if card:
            text = "an NVIDIA card has no driver: install one, or the models stay on the CPU"
            yield Finding("gpu", "broken" if wanted else "warning", text)
        case None if wanted:
            text = "KINORA_DEVICE is cuda and there is no NVIDIA GPU: unset it, or give the container a GPU"
            yield Finding("gpu", "broken", text)
        case None:
            yield Finding("gpu", "ok", "no NVIDIA GPU: the models run on the CPU")


def judge_torch(answer: dict[str, Any], driver: Driver | None, settings: Settings) -> Iterator[Finding]:
    """Report whether torch can be used, on the device of the settings."""
    if problem := answer.get("problem"):
        yield Finding("torch", "broken", f"torch cannot be used ({problem}): run `make setup`")
        return
    name = f"torch {answer['version']}"
    on_gpu = settings.device != "cpu" and (driver is not None or settings.device == "cuda")
    if not on_gpu:
        yield Finding("torch", "ok", f"{name} on the CPU")
        return
    if answer["found"]:
        yield Finding("torch", "ok", f"{name} for CUDA {answer['built_for']} on {', '.join(answer['names'])}")
        return
    if answer["built_for"] is None:
        why = "it was installed without CUDA: run `make setup TORCH=pypi`, or install the build for your CUDA version"
    elif driver and _version(answer["built_for"]) > driver.cuda:
        newest = f"{driver.cuda[0]}.{driver.cuda[1]}"
        why = (
            f"it is for CUDA {answer['built_for']} and driver {driver.version} runs {newest} at most: update the driver"
        )
    else:
        why = f"it is for CUDA {answer['built_for']} and finds no device: look at CUDA_VISIBLE_DEVICES and `nvidia-smi`"
    yield Finding("torch", "broken" if settings.device == "cuda" else "warning", f"{name} does not use the GPU: {why}")


def _version(text: str) -> tuple[int, int]:
    major, _, rest = text.partition(".")
    return int(major), int(rest.partition(".")[0] or 0)
