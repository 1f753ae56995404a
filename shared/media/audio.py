"""Sound into MP4: copied packet by packet where MP4 holds its codec, else encoded as AAC."""

from collections.abc import Iterator
from fractions import Fraction
from io import BytesIO
from itertools import islice

import av
from av.audio.frame import AudioFrame
from av.audio.layout import AudioLayout
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.filter import Graph
from av.packet import Packet

# What MP4 players know; MP4 can hold more (PCM, DTS, Vorbis) that most of them do not play.
_COPIED = {"aac", "mp3", "ac3", "eac3", "alac", "flac", "opus"}
_TRIED_PACKETS = 3
_AAC_RATES = {8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000}
# Layouts for which AAC has a number, and three more that decoders recognise by its description; small ones first.
_AAC_LAYOUTS = ("mono", "stereo", "3.0", "2.1", "3.0(back)", "4.0", "quad", "5.0", "5.1", "7.1")
_BACK = {"SL": "BL", "SR": "BR"}  # without back channels, the ones at the sides are played by the same loudspeakers
_FRONT = {"DL": "FL", "DR": "FR"}  # stereo that was mixed from more
_TOLERATED_GAP = 0.002  # seconds; more than containers lose that round times to milliseconds
_BITS_PER_CHANNEL = 96_000  # a second; clear of audible loss


def can_copy(container: InputContainer, stream: AudioStream) -> bool:
    """Whether MP4 can hold this stream unchanged, found by writing its first packets. Reads from `container`."""
    if stream.codec_context.name.removesuffix("float") not in _COPIED | {"libopus"}:
        return False
    try:
        with av.open(BytesIO(), "w", format="mp4") as trial:
            copy = trial.add_stream_from_template(stream)
            for packet in islice((packet for packet in container.demux(stream) if packet.size), _TRIED_PACKETS):
                packet.stream = copy
                trial.mux(packet)
    except (av.FFmpegError, ValueError):
        return False
    return True


def can_encode(stream: AudioStream) -> bool:
    """Whether this stream can be decoded: broken headers say that it has no channels, or no rate."""
    return bool(stream.rate) and stream.layout.nb_channels > 0


def add_encoded(target: OutputContainer, stream: AudioStream) -> AudioStream:
    """Add an AAC stream to `target`, of the same rate and channels where AAC has them."""
    rate = stream.rate if stream.rate in _AAC_RATES else 48000
    encoded = target.add_stream("aac", rate=rate, layout=_aac_layout(stream.layout)[0])
    encoded.bit_rate = _BITS_PER_CHANNEL * encoded.layout.nb_channels
    encoded.time_base = Fraction(1, rate)
    return encoded


def mixes_channels(stream: AudioStream) -> bool:
    """Whether encoding this stream as AAC mixes some of its channels into others."""
    return not _aac_layout(stream.layout)[1]


def _aac_layout(told: AudioLayout) -> tuple[str, bool]:
    """Return the smallest AAC layout that has a place for the most channels, and whether that is all of them."""
    names = {channel.name for channel in _supposed(told).channels}
    renamed = _FRONT if names.intersection(_BACK.values()) else _FRONT | _BACK
    names = {renamed.get(name, name) for name in names}
    held = {layout: len(names.intersection(c.name for c in AudioLayout(layout).channels)) for layout in _AAC_LAYOUTS}
    best = max(held, key=lambda layout: held[layout])  # the first of several
    return (best, True) if held[best] == told.nb_channels else (best if held[best] > 1 else "stereo", False)


def _supposed(told: AudioLayout) -> AudioLayout:
    """Return the usual layout of as many channels where the file does not say which is which (PCM in Matroska)."""
    if told.name != f"{told.nb_channels} channels":
        return told
    try:
        return AudioLayout(f"{told.nb_channels}c")
    except ValueError:  # nothing is usual for nine
        return told


def encoded(
    packets: Iterator["Packet[AudioStream]"], target: AudioStream, origin: Fraction
) -> Iterator["Packet[AudioStream]"]:
    """Decode `packets` and encode it for `target`, `origin` seconds earlier; gaps become silence.

    What the decoder gives counts, not what the header says of it: they differ (every MPEG sound of a broadcast), and
    a broadcast changes from stereo to 5.1 and back.
    """
    for frame in _without_gaps(_uniform(_decoded(packets), target, origin), target):
        yield from target.encode(frame)
    yield from target.encode(None)


def _decoded(packets: Iterator["Packet[AudioStream]"]) -> Iterator[AudioFrame]:
    for packet in packets:
        try:
            yield from packet.decode()
        except av.FFmpegError:  # a broken packet is silent; the filter fills its time
            continue


def _uniform(frames: Iterator[AudioFrame], target: AudioStream, origin: Fraction) -> Iterator[AudioFrame]:
    """Bring frames of any shape to that of `target`, their times in its samples, `origin` seconds earlier."""
    shape: tuple[str, str, int] | None = None
    resampler: AudioResampler | None = None
    end: Fraction | None = None  # seconds; what a decoder gives at last has no time of its own
    for frame in frames:
        begin = end if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base - origin
        if begin is not None:
            frame.pts, frame.time_base = round(begin * frame.sample_rate), Fraction(1, frame.sample_rate)
            end = begin + Fraction(frame.samples, frame.sample_rate)
        now = (frame.format.name, frame.layout.name, frame.sample_rate)
        if resampler is None or now != shape:
            if resampler is not None:
                yield from resampler.resample(None)
            shape, resampler = now, AudioResampler(target.format, target.layout, target.rate)
        yield from resampler.resample(frame)
    if resampler is not None:
        yield from resampler.resample(None)


def _without_gaps(frames: Iterator[AudioFrame], target: AudioStream) -> Iterator[AudioFrame]:
    """Fill what is missing with silence and drop what overlaps."""
    graph = Graph()
    source = graph.add_abuffer(
        format=target.format.name,
        sample_rate=target.rate,
        layout=target.layout.name,
        time_base=Fraction(1, target.rate),
    )
    sink = graph.add("abuffersink")
    graph.link_nodes(source, graph.add("aresample", f"async=1:min_hard_comp={_TOLERATED_GAP}"), sink).configure()
    for frame in frames:
        if frame.pts is not None and frame.time_base is not None:
            frame.pts = round(frame.pts * frame.time_base * target.rate)
            frame.time_base = Fraction(1, target.rate)
        graph.push(frame)
        yield from _pulled(graph)
    graph.push(None)
    yield from _pulled(graph)


def _pulled(graph: Graph) -> Iterator[AudioFrame]:
    """Yield the frames that the filters have ready."""
    while True:
        try:
            frame = graph.pull()
        except (av.BlockingIOError, av.EOFError):
            return
        if isinstance(frame, AudioFrame):
            yield frame
