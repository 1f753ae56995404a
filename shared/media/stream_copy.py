"""What is kept beside the picture: sound, subtitles, chapters, metadata. Copied where MP4 can hold them unchanged."""

from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import DataStream, Discard, Disposition, Stream
from av.subtitles.stream import SubtitleStream

from shared.files.handles import InputFile
from shared.media import audio, subtitles
from shared.media.container import frame_rate, open_container, picture_track
from shared.media.continuity import may_jump, packets_of
from shared.media.sample_grid import is_coarse, on_sample_grid, packet_samples

if TYPE_CHECKING:
    from av.container.core import Chapter  # exists only in the stubs

# The container's data about itself, wrong for the new file, and the label of an earlier producer.
_DROPPED = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration", "aigc"}
_STREAM_METADATA = {"language", "title", "handler_name"}

Packets = Iterator["Packet[Any]"]


class CopiedStream:
    """A stream of the source that is copied into the result, up to the time that the picture has reached.

    Where the source cannot be read any further, the track ends and is `broken_off`: the picture alone decides whether
    a damaged file is refused.
    """

    def __init__(self, name: str, stream: Stream, packets: Packets) -> None:
        self.name = name
        self.broken_off = False
        self._stream = stream
        self._packets = packets
        self._waiting: Packet[Any] | None = None
        self._begun = False
        self._last_dts: int | None = None

    def until(self, seconds: Fraction | None) -> Packets:
        """Yield the packets that are due at `seconds`; all that are left when it is None."""
        if not self._begun:  # an encoder gives its first packet only when all streams are set up
            self._begun, self._waiting = True, self._next()
        while (packet := self._waiting) is not None:
            if packet.dts is None:
                packet.dts = packet.pts
            if packet.dts is None:  # without any time it cannot be placed
                self._waiting = self._next()
                continue
            if seconds is not None and packet.dts * packet.time_base > seconds:
                return
            if self._last_dts is not None and packet.dts <= self._last_dts:  # muxers refuse times that do not increase
                packet.dts = self._last_dts + 1
                packet.pts = max(packet.pts or 0, packet.dts)
            self._last_dts = packet.dts
            self._waiting = self._next()
            packet.stream = self._stream
            yield packet

    def _next(self) -> "Packet[Any] | None":
        try:
            return next(self._packets, None)
        except av.FFmpegError:
            self.broken_off = True
            return None


def carry_over(
    file: InputFile, origin: Fraction, target: OutputContainer, stack: ExitStack
) -> tuple[list[CopiedStream], list[str]]:
    """Add all but the picture of `file` to `target`; return the tracks to mux and the names of what MP4 cannot hold.

    `origin` seconds are subtracted from every time. Each track has its own container, kept open by `stack`, so
    that a badly interleaved source never makes packets accumulate.
    """
    with open_container(file) as source:
        target.metadata.update({key: text for key, text in source.metadata.items() if key.lower() not in _DROPPED})
        told = source.chapters()
        chapters = _shifted(told, origin)
        if chapters:
            target.set_chapters(chapters)
        lost = ["chapters that end before the picture begins"] if len(chapters) < len(told) else []
        picture = picture_track(source)
        assert picture is not None  # the frames come from it
        made = target.streams.video[0]
        made.metadata.update(_stream_metadata(picture))
        timecode = _timecode(source)
        if timecode and made.average_rate == frame_rate(picture):  # it counts pictures; libav makes its track of this
            made.metadata["timecode"] = timecode
        elif timecode:
            target.metadata.pop("timecode", None)
            lost.append("timecode")
        again = [*filter(_is_timecode, source.streams), *(filter(_lists_chapters, source.streams) if chapters else ())]
        lead, others = picture.index, [s.index for s in source.streams if s not in {picture, *again}]
    tracks = []
    for index in others:
        container = stack.enter_context(open_container(file))
        stream = _alone(container, index)
        carried = _carried(file, stream, lead, origin, target)
        if carried is None:
            lost.append(_described(stream))
            continue
        new, packets, less = carried
        lost += less
        new.metadata.update(_stream_metadata(stream))
        new.disposition = stream.disposition
        tracks.append(CopiedStream(_described(stream), new, packets))
    return tracks, lost


def _carried(
    file: InputFile, stream: Stream, lead: int, origin: Fraction, target: OutputContainer
) -> tuple[Stream, Packets, list[str]] | None:
    """Add one stream to `target`; return it with its packets and what it lacks, None when MP4 has no place for it.

    `lead` is the index of the picture track in the source.
    """
    container = stream.container
    assert isinstance(container, InputContainer)
    if isinstance(stream, AudioStream) and stream.codec_context is not None:
        with open_container(file) as trial:
            again = _alone(trial, stream.index)
            copies = isinstance(again, AudioStream) and audio.can_copy(trial, again)
        if copies:
            return target.add_stream_from_template(stream), _moved(_exact(file, stream, lead), origin), []
        if not audio.can_encode(stream):
            return None
        new = audio.add_encoded(target, stream)
        mixed = (
            [f"some of the channels of {_described(stream)}, mixed into others"] if audio.mixes_channels(stream) else []
        )
        return new, audio.encoded(packets_of(container, stream, lead), new, origin), mixed
    if isinstance(stream, SubtitleStream) and subtitles.can_carry(stream):
        text = subtitles.add_subtitles(target, stream)
        return text, _moved(subtitles.packets(container, stream, text), origin), []
    return None


def _exact(file: InputFile, stream: AudioStream, lead: int) -> Packets:
    """Return the packets of a sound with exact times."""
    container = stream.container
    assert isinstance(container, InputContainer)
    packets = packets_of(container, stream, lead)
    if not is_coarse(stream):
        return packets
    with open_container(file) as trial:
        again = _alone(trial, stream.index)
        assert isinstance(again, AudioStream)
        return on_sample_grid(packets, stream, packet_samples(trial, again))


def _stream_metadata(stream: Stream) -> dict[str, str]:
    """Return what a user wrote about a track: its language, its title, its handler's name.

    MP4 keeps a track's title in an atom called `name`, and libav reads it under that name but writes it from `title`.
    """
    told = {key.lower(): text for key, text in stream.metadata.items()}
    if "name" in told:
        told.setdefault("title", told["name"])
    return {key: text for key, text in told.items() if key in _STREAM_METADATA}


def _alone(container: InputContainer, index: int) -> Stream:
    """Return a stream after telling the demuxer to skip all others, where they do not tell of jumps of the clock."""
    for stream in container.streams:
        kept = stream.index == index or may_jump(container)
        stream.discard = Discard.default if kept else Discard.all
    return container.streams[index]


def _moved(packets: Packets, origin: Fraction) -> Packets:
    """Subtract `origin` seconds from the packets' times."""
    for packet in packets:
        if not packet.size:
            continue
        shift = round(origin / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts - shift
        packet.dts = None if packet.dts is None else packet.dts - shift
        yield packet


def _shifted(chapters: "list[Chapter]", origin: Fraction) -> "list[Chapter]":
    """Subtract `origin` seconds from the chapters' times; none starts before zero."""
    moved: list[Chapter] = []
    for chapter in chapters:
        shift = round(origin / chapter["time_base"]) if chapter["time_base"] else 0
        start, end = max(chapter["start"] - shift, 0), chapter["end"] - shift
        if end > start:
            moved.append({**chapter, "start": start, "end": end})
    return moved


def _is_timecode(stream: Stream) -> bool:
    """Whether this is a track that says at which time of the day, or of a tape, the first picture was taken."""
    return isinstance(stream, DataStream) and "timecode" in stream.metadata


def _timecode(source: InputContainer) -> str | None:
    """Return the timecode of the first picture, HH:MM:SS:FF."""
    return next(filter(None, (held.metadata.get("timecode") for held in (source, *source.streams))), None)


def _lists_chapters(stream: Stream) -> bool:
    """Whether this is the track in which MP4 itself keeps its chapters, shown once more as a stream."""
    return isinstance(stream, DataStream) and stream.name == "bin_data"


def _described(stream: Stream) -> str:
    """Name a stream of the source as a user would know it."""
    if stream.disposition & Disposition.attached_pic:
        return "cover picture"
    codec = stream.codec_context.name if stream.codec_context is not None else stream.name or "unknown"
    return f"{stream.type} stream {stream.index} ({codec})"
