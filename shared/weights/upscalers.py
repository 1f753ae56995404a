"""The upscaling networks by their setting, `KINORA_UPSCALE_MODEL`."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class UpscalerWeights:
    """The weights of a network, and by how many pixels its windows overlap."""

    name: str  # in the catalogue
    overlap: int | None  # None is the network's whole reach, so that windows change nothing


# The RRDB networks reach 94 and 349 pixels but hardly use distant pixels: docs/upscale.md has the measurement.
UPSCALERS: Mapping[str, UpscalerWeights] = {
    "animevideov3": UpscalerWeights("realesr-animevideov3", None),
    "x4plus": UpscalerWeights("realesrgan-x4plus", 64),
    "x4plus-anime": UpscalerWeights("realesrgan-x4plus-anime", 48),
}
