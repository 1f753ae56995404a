"""Closed captions: the CEA-608 and 708 bytes that a codec carries beside each picture (ATSC A/53 Part 4, 6.2.3).

libav decodes them into a frame's side data and encodes them from there. PyAV cannot add side data to a frame, but a
scaled frame has that of the frame that it was made from: so captions travel on a tiny picture.
"""

from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

ENCODERS = {"libx264", "libx265", "h264_nvenc", "hevc_nvenc"}  # those that write captions

_SIDE = 16  # pixels of the tiny picture


class Captions:
    """The captions of one picture."""

    def __init__(self, carrier: VideoFrame) -> None:
        self._carrier = carrier

    @classmethod
    def of(cls, decoded: VideoFrame) -> "Captions | None":
        """Take the captions of a decoded picture; None where it has none."""
        if SideDataType.A53_CC not in decoded.side_data:
            return None
        tiny = VideoReformatter().reformat(decoded, _SIDE, _SIDE, "gray", interpolation=Interpolation.POINT, threads=1)
        return cls(tiny)

    def on(self, picture: VideoFrame) -> VideoFrame:
        """Return `picture` with these captions, without a time."""
        captioned = VideoReformatter().reformat(
            self._carrier,
            picture.width,
            picture.height,
            picture.format.name,
            interpolation=Interpolation.POINT,
            threads=1,
        )
        for plane, content in zip(captioned.planes, picture.planes, strict=True):
            plane.update(bytes(content))
        captioned.colorspace, captioned.color_range = picture.colorspace, picture.color_range
        captioned.pict_type = PictureType.NONE  # else the encoder repeats the source's choice of key frames
        return captioned
