"""The upscaling networks by their setting, `KINORA_UPSCALE_MODEL`."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class UpscalerWeights:
    """The weights of a network, and by how many pixels its windows overlap."""

    name: str  # in the catalogue
    overlap: int | None  # None is the network's whole reach, so that windows change nothing


KEEPS_NOISE = "realesr-general-wdn-x4v3"  # mixed with general-x4v3 below the full strength of its denoising
OTHER_OVERLAP = 64  # pixels, of an RRDB network that nobody measured: that of the deepest one below

# The RRDB networks reach 94 and 349 pixels but hardly use distant pixels: docs/upscale.md has the measurement.
UPSCALERS: Mapping[str, UpscalerWeights] = {
    "animevideov3": UpscalerWeights("realesr-animevideov3", None),
    "x4plus": UpscalerWeights("realesrgan-x4plus", 64),
    "x4plus-anime": UpscalerWeights("realesrgan-x4plus-anime", 48),
    "general-x4v3": UpscalerWeights("realesr-general-x4v3", None),
}
