"""Sound that is copied loses no sample to the rounded times of its container."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from shared.media.decode import open_video
from shared.media.encode import encode
from shared.media.provenance import Label
from shared.settings import EncodingSettings, Settings
from tests.support.clips import ffmpeg, opened, output_in

PICTURE = ["-f", "lavfi", "-i", "testsrc2=s=64x36:r=24:d=1"]
SETTINGS = Settings(encoding=EncodingSettings(preset="ultrafast"))


def rewrite(source: Path, folder: Path) -> Path:
    with opened(source) as file, open_video(file) as video, output_in(folder) as target:
        size, label = (video.width, video.height), Label("tests", "samples")
        report = encode(video.frames(), target, like=video, size=size, settings=SETTINGS, label=label)
        assert report.lost == []
        return folder / target.publish()


def heard(path: Path) -> npt.NDArray[np.float32]:
    """The samples as libav alone decodes them, channels in rows."""
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)


def packets(path: Path) -> list[tuple[int, int]]:
    """Begin and length of the packets, in samples."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        assert stream.time_base == Fraction(1, stream.rate or 0)
        return [(packet.pts or 0, packet.duration or 0) for packet in container.demux(stream) if packet.size]


@pytest.mark.parametrize("offset", ["0", "5"])
@pytest.mark.parametrize(
    ("suffix", "codec", "rate", "whole"),
    [
        (".mkv", "flac", 44100, 1024), (".mkv", "alac", 44100, 4096), (".mkv", "eac3", 44100, 1536),
        (".mkv", "aac", 48000, 1024), (".mkv", "aac", 44100, 1024), (".flv", "aac", 44100, 1024),
        (".mkv", "libopus", 48000, 960), (".mkv", "libmp3lame", 44100, 1152), (".mkv", "ac3", 44100, 1536),
    ],
)  # fmt: skip
def test_no_sample_is_cut(tmp_path: Path, suffix: str, codec: str, rate: int, whole: int, *, offset: str) -> None:
    source = tmp_path / f"sound{suffix}"
    tone = ["-f", "lavfi", "-i", f"sine=f=440:r={rate}:d=1"]
    ffmpeg(*PICTURE, *tone, "-c:v", "libx264", "-c:a", codec, "-output_ts_offset", offset, source)
    result = rewrite(source, tmp_path)
    wanted, found = heard(source), heard(result)
    count = min(wanted.shape[1], found.shape[1])
    assert np.array_equal(wanted[:, :count], found[:, :count])
    assert abs(wanted.shape[1] - found.shape[1]) < whole  # the container's end lies within the last packet
    told = packets(result)
    assert {length for _, length in told[:-1]} == {whole}
    assert [begin for begin, _ in told] == [told[0][0] + number * whole for number in range(len(told))]


def test_a_pause_in_the_sound_stays_one(tmp_path: Path) -> None:
    source = tmp_path / "pause.mkv"
    pause = ["-af", "aselect='not(between(t,0.3,0.6))'"]
    ffmpeg(*PICTURE, "-f", "lavfi", "-i", "sine=f=440:r=48000:d=1", *pause, "-c:v", "libx264", "-c:a", "aac", source)
    with av.open(str(source)) as container:
        times = [(packet.pts or 0) / 1000 for packet in container.demux(audio=0) if packet.size]
    found = [begin / 48000 for begin, _ in packets(rewrite(source, tmp_path))]
    assert max(later - earlier for earlier, later in pairwise(times)) > 0.2
    assert found == pytest.approx(times, abs=0.001)
