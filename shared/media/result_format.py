"""What all frames of one result have in common, and the picture track that a container gets for them."""

from dataclasses import dataclass
from fractions import Fraction

from av.container import OutputContainer
from av.video.stream import VideoStream

from shared.errors import JobFailed
from shared.media.colour import Colour
from shared.media.container import MAX_SIDE
from shared.media.decode import VideoSource
from shared.media.encoders import Encoder, choose_encoder
from shared.settings import Settings

_RATE_LIMIT = 1_000_000  # the largest denominator of a frame rate
_MADE_RATE = Fraction(24)
_BYTE = 8  # bits


@dataclass(frozen=True)
class ResultFormat:
    """Size, rate, clock, encoder and what else a result's frames share; the same for each part of it.

    `size` is the frames' (width, height). `like` is the source that the result resembles, None for a clip made from
    nothing; `shape` the one whose orientation, pixel shape and depth the frames have.
    """

    like: VideoSource | None
    shape: VideoSource | None
    size: tuple[int, int]
    frame_rate: Fraction
    time_base: Fraction
    sample_aspect_ratio: Fraction | None  # of the pixels; None is unknown
    encoder: Encoder
    visible_label: bool

    @classmethod
    def of(
        cls,
        settings: Settings,
        *,
        like: VideoSource | None,
        size: tuple[int, int],
        frame_rate: Fraction | None = None,
        time_base: Fraction | None = None,
        sample_aspect_ratio: Fraction | None = None,
        display_oriented: bool = False,
        deep: bool = False,
    ) -> "ResultFormat":
        """Choose the encoder; `deep` frames have more than 8 bits. Raises JobFailed for what cannot be encoded."""
        width, height = (side + side % 2 for side in size)
        if max(width, height) > MAX_SIDE:
            raise JobFailed("result_too_large", width=width, height=height, limit=MAX_SIDE)
        rate = frame_rate or (like.frame_rate if like else _MADE_RATE)
        shape = None if display_oriented else like
        deep = deep or (shape is not None and shape.bit_depth > _BYTE)
        return cls(
            like=like,
            shape=shape,
            size=size,
            frame_rate=rate.limit_denominator(_RATE_LIMIT),
            time_base=time_base or (like.time_base if like else 1 / rate),
            sample_aspect_ratio=sample_aspect_ratio or (shape.sample_aspect_ratio if shape else None),
            encoder=choose_encoder(settings, 10 if deep else _BYTE),
            visible_label=settings.encoding.visible_label,
        )

    @property
    def coded_size(self) -> tuple[int, int]:
        """(width, height) in the file: 4:2:0 has no odd sizes."""
        width, height = self.size
        return width + width % 2, height + height % 2

    @property
    def colour(self) -> Colour:
        return self.like.colour if self.like else Colour.made(self.coded_size[1])

    def add_track(self, container: OutputContainer, ticks: Fraction) -> VideoStream:
        """Set up the encoder, with the shape and the colour of the source stated explicitly; times count `ticks`."""
        stream = container.add_stream(
            self.encoder.name,
            rate=self.frame_rate,
            options={**self.encoder.options, "chroma_sample_location": "left"},
            width=self.coded_size[0],
            height=self.coded_size[1],
            time_base=ticks,
        )
        assert isinstance(stream, VideoStream)
        context = stream.codec_context
        context.pix_fmt = self.encoder.pixel_format
        # PyAV asks for slice threads; each slice predicts anew, so the file grows with the number of cores.
        context.thread_type = "FRAME"
        context.colorspace = self.colour.matrix
        context.color_primaries = self.colour.primaries
        context.color_trc = self.colour.transfer
        context.color_range = 2 if self.colour.full_range else 1
        if self.encoder.tag:
            context.codec_tag = self.encoder.tag
        if self.sample_aspect_ratio:
            context.sample_aspect_ratio = self.sample_aspect_ratio
        if self.shape is not None and self.shape.display_matrix:
            stream.set_display_matrix(self.shape.display_matrix)
        return stream
