"""Frames to packets: the picture's encoder, whichever file its packets go to."""

import io

import av
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from shared.arrays import Picture
from shared.media import captions
from shared.media.colour import ToYuv
from shared.media.frame import Frame
from shared.media.mp4_timing import Mp4Timing
from shared.media.orientation import Orientation
from shared.media.result_format import ResultFormat
from shared.media.watermark import stamp
from shared.process.lifetime import ordinary_scheduling

_LABELLED_SECONDS = 3  # the rule asks for two


class PictureEncoder:
    """Encodes the frames of one result, or of one segment of it. Its packets' times count `timing.ticks`."""

    def __init__(self, result: ResultFormat, stream: VideoStream, timing: Mp4Timing) -> None:
        self.timing = timing
        self.frames = 0
        self.captioned = False  # whether a picture had captions
        self._own: OutputContainer | None = None
        self._result = result
        self._stream = stream
        self._to_yuv = ToYuv(result.colour, result.encoder.pixel_format)

    @classmethod
    def alone(cls, result: ResultFormat) -> "PictureEncoder":
        """Return an encoder whose packets go to no container: it begins with a key frame and refers to no other."""
        timing = Mp4Timing(result.time_base, result.frame_rate)
        container = av.open(io.BytesIO(), "w", format="mp4")  # never written: it sets the encoder up as for the result
        stream = result.add_track(container, timing.ticks)
        stream.codec_context.open()
        ordinary_scheduling()
        encoder = cls(result, stream, timing)
        encoder._own = container
        return encoder

    def close(self) -> None:
        """Let go of what `alone` opened: container and stream know each other, and would stay until they are sought
        for, with all the memory of the encoder.
        """  # fmt: skip
        if self._own is not None:
            self._own.close()

    @property
    def reordered(self) -> int:
        """By how many pictures the encoder changes the order."""
        return self._stream.codec_context.reorder_depth

    @property
    def description(self) -> bytes:
        """The codec's parameter sets (extradata), which all packets of one track share."""
        return self._stream.codec_context.extradata or b""

    def encode(self, frame: Frame) -> "list[Packet[VideoStream]]":
        """Encode one frame; return the packets that are ready."""
        self.frames += 1
        image = self._fitted(frame)
        result = self._result
        if result.visible_label and frame.pts * result.time_base < _LABELLED_SECONDS:
            image = stamp(image, result.shape.orientation if result.shape else Orientation())
        picture = self._to_yuv(image)
        if frame.captions is not None and result.encoder.name in captions.ENCODERS:
            picture, self.captioned = frame.captions.on(picture), True
        picture.pts, picture.time_base = self.timing.place(frame), self.timing.ticks
        return self._stream.encode(picture)

    def flush(self) -> "list[Packet[VideoStream]]":
        """Return the packets that are left."""
        return self._stream.encode(None)

    def _fitted(self, frame: Frame) -> Picture:
        """Return the picture in the encoder's even size: an odd side grows by repeating its last line."""
        width, height = self._result.size
        coded = self._result.coded_size
        if frame.image.shape[:2] != (height, width):
            message = f"a frame is {frame.image.shape[1]}x{frame.image.shape[0]}, promised were {width}x{height}"
            raise ValueError(message)
        if (width, height) == coded:
            return frame.image
        return np.pad(frame.image, ((0, coded[1] - height), (0, coded[0] - width), (0, 0)), mode="edge")
