"""Subtitles into MP4: its own timed text is copied, other text becomes timed text, pictures are lost."""

from collections.abc import Iterator

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.subtitles.codeccontext import SubtitleCodecContext
from av.subtitles.stream import SubtitleStream

_OWN = "mov_text"
_TEXT = {"subrip", "srt", "ass", "ssa", "webvtt", "text"}


def can_carry(stream: SubtitleStream) -> bool:
    """Whether the subtitles are text; MP4 cannot hold the bitmaps of DVDs and discs."""
    return stream.codec_context is not None and stream.codec_context.name in {_OWN, *_TEXT}


def add_subtitles(target: OutputContainer, stream: SubtitleStream) -> SubtitleStream:
    """Add a timed text stream to `target`, with the styles of `stream`."""
    if stream.codec_context.name == _OWN:
        return target.add_stream_from_template(stream)
    timed_text = target.add_stream(_OWN)
    assert isinstance(timed_text, SubtitleStream)
    context: SubtitleCodecContext = stream.codec_context
    context.open(strict=False)
    timed_text.codec_context.subtitle_header = context.subtitle_header
    timed_text.time_base = stream.time_base
    if stream.time_base is not None:
        timed_text.codec_context.time_base = stream.time_base
    return timed_text


def packets(
    container: InputContainer, stream: SubtitleStream, target: SubtitleStream
) -> Iterator["Packet[SubtitleStream]"]:
    """Yield the texts as timed text, each with its own time and duration."""
    if stream.codec_context.name == _OWN:
        yield from container.demux(stream)
        return
    for packet in container.demux(stream):
        if not packet.size or packet.pts is None:
            continue
        try:
            subtitle = stream.codec_context.decode2(packet)
            if subtitle is None:
                continue
            made = target.codec_context.encode_subtitle(subtitle)
        except av.FFmpegError:  # one unreadable line; the others are kept
            continue
        made.pts = made.dts = packet.pts
        made.duration = packet.duration
        made.time_base = packet.time_base
        yield made
