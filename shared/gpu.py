"""Whether networks run on a GPU here, found without importing torch."""

from pathlib import Path

from shared.settings import Settings

NVIDIA = Path("/dev/nvidiactl")


def uses_gpu(settings: Settings) -> bool:
    """Whether networks run on a GPU here; with `auto` in the settings, the driver's device file decides."""
    return settings.device == "cuda" or (settings.device == "auto" and NVIDIA.exists())
