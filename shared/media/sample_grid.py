"""Times of copied sound in samples, where a container told them in coarser units.

Matroska and FLV round to milliseconds. MP4 takes the distance of two packets for the length of the first, cuts what is
longer, and takes the encoder's run-in from the first time: so a rounded time cuts samples off.
"""

import struct
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from math import ceil, floor
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet

_SKIPPED = struct.Struct("<II")  # samples not to be heard at the beginning and at the end of a packet
_OPUS_SECONDS = Fraction(1, 400)  # its packets last a multiple of this
_OPUS = {"opus", "libopus"}
_DECODED_PACKETS = 4
_HALF = Fraction(1, 2)

Packets = Iterator["Packet[Any]"]


def is_coarse(stream: AudioStream) -> bool:
    """Whether the container's unit of time is longer than a sample."""
    return bool(stream.rate) and stream.time_base is not None and stream.time_base > Fraction(1, stream.rate)


def packet_samples(container: InputContainer, stream: AudioStream) -> int:
    """Decode the first packets of a track; return how many samples a whole one has, 0 if that is not known."""
    try:
        frames = [frame for packet in islice(container.demux(stream), _DECODED_PACKETS) for frame in packet.decode()]
    except av.FFmpegError:
        return 0
    return max((round(Fraction(frame.samples * stream.rate, frame.sample_rate)) for frame in frames), default=0)


def on_sample_grid(packets: Packets, stream: AudioStream, whole: int) -> Packets:
    """Yield `packets` with times in samples, each where the one before ends unless it was told to be elsewhere.

    Elsewhere is a time further away than the container's rounding explains. `whole` is what `packet_samples` found.
    """
    assert stream.time_base is not None
    unit = stream.time_base * stream.rate  # in samples
    slack = ceil(unit)
    expected: int | None = None
    for packet in packets:
        if not packet.size or packet.pts is None:
            yield packet
            continue
        begin, run_in, run_out = round(packet.pts * unit), *_skipped(packet)
        if run_in:  # the container rounded when the first sample is heard, and the run-in
            begin = round((packet.pts + floor(run_in / unit + _HALF)) * unit) - run_in
        if expected is not None and abs(begin - expected) <= slack:
            begin = expected
        told = round((packet.duration or 0) * unit)
        length = _length(stream, told, run_out, whole, slack)
        expected = begin + length
        packet.time_base = Fraction(1, stream.rate)
        packet.pts = packet.dts = begin
        packet.duration = length
        yield packet


def _length(stream: AudioStream, told: int, run_out: int, whole: int, slack: int) -> int:
    """Return how many samples of a packet are heard, of which about `told` are, and at its end `run_out` are not."""
    if stream.codec_context.name in _OPUS:  # the only one whose packets may be of any length
        step = _OPUS_SECONDS * stream.rate
        whole = round(round((told + run_out) / step) * step)
    if abs(told + run_out - whole) <= slack:
        return whole - run_out
    return whole if abs(told - whole) <= slack else told


def _skipped(packet: "Packet[Any]") -> tuple[int, int]:
    """Return how many samples at the beginning and at the end of a packet are not to be heard."""
    if not packet.has_sidedata("skip_samples"):
        return 0, 0
    run_in, run_out = _SKIPPED.unpack_from(bytes(packet.get_sidedata("skip_samples")))
    return run_in, run_out
