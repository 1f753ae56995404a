"""A piece that was cut out of a longer AVI begins with pictures that cannot be decoded: all others keep their times."""

from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import pytest
from av.packet import Packet

from shared.media.decode import open_video
from tests.support.clips import ffmpeg, opened

OPEN_GOP = ["-c:v", "libx264", "-x264-params", "open-gop=1:keyint=12:min-keyint=12:bframes=3:scenecut=0:b-adapt=0"]


def cut_out(folder: Path, codec: list[str]) -> tuple[Path, int]:
    """Copy the packets from the second key frame on into an AVI; return how many there are."""
    whole, piece = folder / "whole.ts", folder / "piece.avi"
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x36:r=24:d=2", "-pix_fmt", "yuv420p", *codec, whole)
    with av.open(str(whole)) as source, av.open(str(piece), "w") as target:
        packets = [packet for packet in source.demux(video=0) if packet.size]
        begin = [number for number, packet in enumerate(packets) if packet.is_keyframe][1]
        stream = target.add_stream_from_template(source.streams.video[0])
        stream.time_base = Fraction(1, 24)
        for number, packet in enumerate(islice(packets, begin, None)):
            copy = Packet(bytes(packet))
            copy.pts = copy.dts = number
            copy.time_base, copy.is_keyframe, copy.stream = Fraction(1, 24), packet.is_keyframe, stream
            target.mux(copy)
    return piece, len(packets) - begin


@pytest.mark.parametrize(
    "codec",
    [OPEN_GOP, ["-c:v", "mpeg4", "-bf", "2", "-g", "12"], ["-c:v", "mpeg2video", "-bf", "2", "-g", "12"]],
    ids=["h264", "mpeg4", "mpeg2"],
)
def test_what_follows_lost_pictures_keeps_its_time(tmp_path: Path, codec: list[str]) -> None:
    piece, packets = cut_out(tmp_path, codec)
    with opened(piece) as file, open_video(file) as video:
        frames = list(video.frames())
        lost = packets - len(frames)
        assert lost in {2, 3}
        assert [frame.pts * video.time_base for frame in frames] == [Fraction(n, 24) for n in range(lost, packets)]


def test_a_whole_file_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "whole.avi"
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x36:r=24:d=2", "-pix_fmt", "yuv420p", *OPEN_GOP, path)
    with opened(path) as file, open_video(file) as video:
        assert [frame.pts * video.time_base for frame in video.frames()] == [Fraction(n, 24) for n in range(48)]
