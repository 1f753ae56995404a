"""Between what a stream stores (YUV of some matrix and range) and what models see (full-range RGB).

Matrices: ITU-R BT.601-7, BT.709-6, BT.2020-2. A stream that names no matrix is read as players read it: 709 from 720
lines up, 601 below, limited range; the result is then tagged with just that, so that no reader has to guess.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

if TYPE_CHECKING:
    from shared.arrays import Picture

# Code points of ITU-T H.273, as libav, H.264, HEVC and AV1 use them.
UNSPECIFIED = 2
BT709, BT601, BT2020 = 1, 6, 9
_IDENTITY = 0  # the planes are RGB itself
_HD_LINES = 720

# libswscale's own names of the matrices, by code point.
_SWS_MATRIX = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_SWS_RGB = 5  # ignored for RGB; any valid value
_OPAQUE = 255
_LIMITED, _FULL = 1, 2  # AVColorRange

# Measured on Big Buck Bunny, RGB to 4:2:0 and back: bilinear both ways 45.8 dB, averaged down and bicubic up 51.3 dB.
# Bilinear up takes half of bicubic's time (4 ms against 8 a picture of 1280x720) for 0.25 dB less there and 0.15 dB
# more on filmed clips.
# Without ACCURATE_RND and FULL_CHR_H_INT libswscale takes a path that replicates chroma and darkens by 1/255. In 48-bit
# RGB FULL_CHR_H_INT breaks the picture (FFmpeg 8.1), and the plain path is exact to 0.4/255.
_TO_RGB_8 = int(
    Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
)
_TO_RGB_16 = int(Interpolation.BICUBIC)
_TO_YUV = int(Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP)


@dataclass(frozen=True)
class Colour:
    """What a stream's numbers mean: H.273 code points, and the range of its luma."""

    matrix: int = BT709
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    full_range: bool = False

    @classmethod
    def made(cls, height: int) -> "Colour":
        """Colour of a clip that is made here, by the same convention as for an untagged one."""
        code = BT709 if height >= _HD_LINES else BT601
        return cls(matrix=code, primaries=code, transfer=code)

    @classmethod
    def of(cls, frame: VideoFrame) -> "Colour":
        """Colour of a decoded frame, with unspecified values set by convention."""
        if frame.format.is_rgb or frame.colorspace == _IDENTITY:
            return cls.made(frame.height)
        full_range = frame.color_range == _FULL or frame.format.name.startswith("yuvj")
        if frame.colorspace not in _SWS_MATRIX:
            guess = cls.made(frame.height)
            primaries = guess.primaries if frame.color_primaries == UNSPECIFIED else frame.color_primaries
            transfer = guess.transfer if frame.color_trc == UNSPECIFIED else frame.color_trc
            return cls(guess.matrix, primaries, transfer, full_range)
        return cls(frame.colorspace, frame.color_primaries, frame.color_trc, full_range)


class ToRgb:
    """Decoded frames to RGB arrays. Holds libswscale's tables, so one a stream and thread.

    A stream may change its size; every picture comes out in the one `size` (width, height) if it is given.
    """

    def __init__(self, colour: Colour, size: tuple[int, int] | None = None) -> None:
        self._colour = colour
        self._size = size
        self._scaler = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> "Picture":
        """Return (height, width, 3) uint8, or uint16 with white at 65535 when the frame has more than 8 bits."""
        deep = bit_depth(frame) > 8  # noqa: PLR2004  # a byte
        width, height = self._size or (frame.width, frame.height)
        rgb = self._scaler.reformat(
            frame,
            width=width,
            height=height,
            format="rgb48le" if deep else "rgb24",
            src_colorspace=_SWS_MATRIX[self._colour.matrix],
            dst_colorspace=_SWS_RGB,
            src_color_range=_FULL if self._colour.full_range or frame.format.is_rgb else _LIMITED,
            dst_color_range=_FULL,
            interpolation=_TO_RGB_16 if deep else _TO_RGB_8,
            threads=1,
        )
        image = rgb.to_ndarray()
        return _stretch(image, self._colour) if deep and not frame.format.is_rgb else image


class ToYuv:
    """RGB arrays to frames for an encoder. Holds libswscale's tables, so one a stream and thread."""

    def __init__(self, colour: Colour, pixel_format: str) -> None:
        self._colour = colour
        self._format = pixel_format
        self._scaler = VideoReformatter()

    def __call__(self, image: "Picture") -> VideoFrame:
        """Take (height, width, 3) uint8 or uint16; the frame carries the colour's matrix and range."""
        deep = image.dtype == np.uint16
        image = np.ascontiguousarray(_squeeze(image, self._colour) if deep else image)
        rgb = VideoFrame.from_numpy_buffer(image, "rgb48le" if deep else "rgb24")
        return self._scaler.reformat(
            rgb,
            format=self._format,
            src_colorspace=_SWS_RGB,
            dst_colorspace=_SWS_MATRIX[self._colour.matrix],
            src_color_range=_FULL,
            dst_color_range=_FULL if self._colour.full_range else _LIMITED,
            interpolation=_TO_YUV,
            threads=1,
        )


def bit_depth(frame: VideoFrame) -> int:
    """Bits of a component; 8 for palettes."""
    return max((component.bits for component in frame.format.components), default=8)


def is_transparent(frame: VideoFrame) -> bool:
    """Whether any part of the picture lets a background through."""
    if not (frame.format.has_palette or any(component.is_alpha for component in frame.format.components)):
        return False
    return bool(VideoReformatter().reformat(frame, format="rgba", threads=1).to_ndarray()[..., 3].min() < _OPAQUE)


def _white_shift(colour: Colour) -> int:
    """How far libswscale's white in 48-bit RGB falls short: 0xFF00 from limited range, 0xFFC0 from full."""
    return 10 if colour.full_range else 8


def _stretch(image: "Picture", colour: Colour) -> "Picture":
    shift = _white_shift(colour)
    image = np.minimum(image, 65535 - (65535 >> shift))
    image += image >> shift
    return image


def _squeeze(image: "Picture", colour: Colour) -> "Picture":
    squeezed: Picture = image - (image >> _white_shift(colour))
    return squeezed
