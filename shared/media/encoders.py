"""Which encoder, and the settings' preset and CRF on its own scales."""

from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import av
import numpy as np
from av.codec.context import CodecContext

from shared.errors import JobFailed
from shared.settings import Settings

# x264's names, which are well known, on the other encoders' scales.
_PRESETS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo",
)  # fmt: skip
# SVT-AV1 warns of artefacts from its preset 10 up.
_SVT_PRESETS = dict(zip(_PRESETS, (9, 9, 8, 8, 7, 6, 5, 4, 3, 2), strict=True))
_NVENC_PRESETS = dict(zip(_PRESETS, (1, 1, 2, 3, 3, 4, 5, 6, 7, 7), strict=True))
_SVT_CRF_SCALE = 63 / 51  # AV1's scale ends at 63, x264's at 51
_BYTE = 8


@dataclass(frozen=True)
class Encoder:
    """One libav encoder with its options, the pixel format that it gets and the tag that players know it by."""

    name: str
    options: dict[str, str]
    pixel_format: str
    tag: str | None = None


def choose_encoder(settings: Settings, bit_depth: int) -> Encoder:
    """Return the encoder that the settings ask for; raise JobFailed when this machine does not have it.

    `auto` is NVENC where the hardware really opens it, x264 elsewhere and for more than 8 bits, which NVENC's H.264
    does not have.
    """
    wanted = settings.encoding
    if wanted.preset not in _PRESETS:
        raise JobFailed("unknown_preset", preset=wanted.preset, allowed=", ".join(_PRESETS))
    choice = wanted.encoder
    if choice == "auto":
        hardware = settings.device != "cpu" and bit_depth <= _BYTE and _opens("h264_nvenc")
        choice = "nvenc" if hardware else "x264"
    planar = "yuv420p10le" if bit_depth > _BYTE else "yuv420p"
    crf = str(wanted.crf)
    match choice:
        case "x265":
            # Its note about itself names the processor: parts of one film, made on two machines, could not be joined.
            options = {"preset": wanted.preset, "crf": crf, "x265-params": "log-level=error:info=0", "a53cc": "1"}
            encoder = Encoder("libx265", options, planar, "hvc1")
        case "svtav1":
            options = {
                "preset": str(_SVT_PRESETS[wanted.preset]),
                "crf": str(round(wanted.crf * _SVT_CRF_SCALE)),
            }
            encoder = Encoder("libsvtav1", options, planar)
        case "nvenc":
            options = {"preset": f"p{_NVENC_PRESETS[wanted.preset]}", "rc": "vbr", "cq": crf, "b": "0"}
            deep = bit_depth > _BYTE
            name = "hevc_nvenc" if deep else "h264_nvenc"
            encoder = Encoder(name, options, "p010le" if deep else "yuv420p", "hvc1" if deep else None)
        case _:
            return Encoder("libx264", {"preset": wanted.preset, "crf": crf}, planar)
    if choice == "nvenc" and not _opens(encoder.name):  # the others come with PyAV
        raise JobFailed("encoder_unavailable", encoder=choice)
    return encoder


@cache
def _opens(name: str) -> bool:
    """Whether a hardware encoder works, found by encoding a picture: libav lists NVENC without a GPU too."""
    try:
        context = CodecContext.create(name, "w")
        context.width, context.height, context.pix_fmt = 320, 192, "yuv420p"  # type: ignore[attr-defined]
        context.time_base = Fraction(1, 25)
        context.open()
        picture = av.VideoFrame.from_ndarray(np.zeros((288, 320), np.uint8), "yuv420p")
        context.encode(picture)  # type: ignore[attr-defined]
        context.encode(None)  # type: ignore[attr-defined]
    except (av.FFmpegError, ValueError):
        return False
    return True
