"""Sound that is encoded anew lies beside the picture where it lay, told by its samples and not by its header."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from shared.media.decode import open_video
from shared.media.encode import EncodeReport, encode
from shared.media.provenance import Label
from shared.settings import EncodingSettings, Settings
from tests.support.clips import Pixels, ffmpeg, opened, output_in

PICTURE = ["-f", "lavfi", "-i", "testsrc2=s=64x36:r=24:d=1"]
NOISE = ["-f", "lavfi", "-i", "anoisesrc=d=1:r=48000:seed=7:amplitude=0.4"]
MPEG = ["-c:v", "mpeg2video", "-c:a", "mp2"]
H264 = ["-c:v", "libx264", "-pix_fmt", "yuv420p"]
RATE = 48_000
SETTINGS = Settings(encoding=EncodingSettings(preset="ultrafast"))


def rewrite(source: Path, folder: Path) -> tuple[Path, EncodeReport]:
    """One pass through decoder and encoder, nothing in between."""
    with opened(source) as file, open_video(file) as video, output_in(folder) as target:
        size, label = (video.width, video.height), Label("tests", "sync")
        report = encode(video.frames(), target, like=video, size=size, settings=SETTINGS, label=label)
        return folder / target.publish(), report


def heard(path: Path, seconds: float = 4) -> Pixels:
    """The samples of the first track where they are heard: index 48,000 is the moment of the first picture."""
    with av.open(str(path)) as container:
        zero = next(container.decode(video=0)).time
    samples = np.zeros(int((seconds + 1) * RATE))
    place = None
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("flt", "mono", RATE)
        for frame in container.decode(audio=0):
            assert zero is not None
            if frame.time is not None:
                told = round((frame.time - zero + 1) * RATE)
                # Matroska and ASF round to milliseconds; players let samples follow each other.
                place = told if place is None or abs(told - place) > RATE // 500 else place
            for part in resampler.resample(frame):
                assert place is not None
                data = part.to_ndarray().ravel()
                data = data[: max(len(samples) - place, 0)]
                samples[place : place + len(data)] = data
                place += len(data)
    return samples


def shift_of_sound(source: Path, result: Path) -> float:
    """By how many seconds the result's sound is late, from the peak of the correlation of both."""
    before, after = heard(source), heard(result)
    spectrum = np.fft.rfft(after, 2 * len(after)) * np.conj(np.fft.rfft(before, 2 * len(before)))
    correlation = np.fft.irfft(spectrum)
    assert correlation.max() > 0.5 * (before**2).sum()
    lag = int(correlation.argmax())
    return (lag - len(correlation) if lag > len(correlation) // 2 else lag) / RATE


@pytest.mark.parametrize(
    ("name", "codecs"),
    [
        ("broadcast.ts", MPEG),
        ("broadcast.mpg", MPEG),
        ("mono.ts", [*MPEG, "-ac", "1"]),
        ("slow.ts", [*MPEG, "-ar", "32000"]),
        ("pcm.mkv", [*H264, "-c:a", "pcm_s16le"]),
        ("pcm.mov", [*H264, "-c:a", "pcm_s16le"]),
        ("deep.mov", [*H264, "-c:a", "pcm_s24le"]),
        ("vorbis.mkv", [*H264, "-c:a", "libvorbis"]),
        ("wma.asf", ["-c:v", "mpeg4", "-c:a", "wmav2"]),
        ("pcm.avi", ["-c:v", "mpeg4", "-c:a", "pcm_s16le"]),
        ("odd.mkv", [*H264, "-c:a", "pcm_s16le", "-ar", "37800"]),
    ],
)
@pytest.mark.parametrize("late", [-0.25, 0, 0.17])
def test_sound_encoded_anew_is_in_sync(tmp_path: Path, name: str, codecs: Sequence[str], late: float) -> None:
    source = tmp_path / name
    before = ["-itsoffset", str(-late)] if late < 0 else []
    between = ["-itsoffset", str(late)] if late > 0 else []
    ffmpeg(*before, *PICTURE, *between, *NOISE, *codecs, source)
    result, report = rewrite(source, tmp_path)
    assert report.lost == []
    with av.open(str(result)) as container:
        assert len(container.streams.audio) == 1
    assert abs(shift_of_sound(source, result)) < 0.001


def test_sound_that_changes_its_shape_on_the_way_is_heard_to_its_end(tmp_path: Path) -> None:
    """A broadcast changes from stereo to mono, and its rate, between two programmes."""
    parts = []
    for number, shape in enumerate([["-ac", "2"], ["-ac", "1"], ["-ac", "2", "-ar", "32000"]]):
        part = tmp_path / f"{number}.ts"
        ffmpeg(*PICTURE, *NOISE, *MPEG, *shape, "-output_ts_offset", str(number), part)
        parts.append(part.read_bytes())
    source = tmp_path / "programmes.ts"
    source.write_bytes(b"".join(parts))
    result, report = rewrite(source, tmp_path)
    assert report.lost == []
    sound = heard(result)
    for tenth in range(1, 29):
        assert sound[RATE + tenth * RATE // 10 :][: RATE // 10].std() > 0.05


def test_one_lost_packet_of_sound_moves_nothing_behind_it(tmp_path: Path) -> None:
    whole, source = tmp_path / "whole.ts", tmp_path / "holed.ts"
    ffmpeg(*PICTURE, *NOISE, *MPEG, whole)
    ffmpeg("-i", whole, "-c", "copy", "-copyts", "-bsf:a", "noise=drop='between(n,5,6)'", source)
    result, _ = rewrite(source, tmp_path)
    assert abs(shift_of_sound(whole, result)) < 0.001


@pytest.mark.parametrize("codecs", [MPEG, [*H264, "-c:a", "aac"]], ids=["encoded", "copied"])
@pytest.mark.parametrize("starts", [(0, 100), (100, 0), (0, 0)], ids=str)
def test_sound_behind_a_jump_of_the_clock_is_in_sync(
    tmp_path: Path, starts: Sequence[int], codecs: Sequence[str]
) -> None:
    """A flash and a beep begin together in the middle of each part."""
    parts = []
    for number, start in enumerate(starts):
        part = tmp_path / f"{number}.ts"
        flash = "color=black:s=64x36:r=24:d=1,drawbox=color=white:t=fill:enable='gte(t,0.5)'"
        beep = "aevalsrc='0.5*sin(2500*t)*gte(t,0.5)':s=48000:d=1"
        ffmpeg("-f", "lavfi", "-i", flash, "-f", "lavfi", "-i", beep, *codecs, "-output_ts_offset", str(start), part)
        parts.append(part.read_bytes())
    source = tmp_path / "joined.ts"
    source.write_bytes(b"".join(parts))
    for path in (tmp_path / "0.ts", rewrite(source, tmp_path)[0]):
        sound, gaps = heard(path), []
        with av.open(str(path)) as container:
            shown = [(frame.time or 0, frame.to_ndarray(format="gray").mean()) for frame in container.decode(video=0)]
        for (_, before), (time, now) in pairwise(shown):
            if before < 100 < now:
                around = round((time - shown[0][0] + 1 - 0.1) * RATE)
                gaps.append(int(np.argmax(np.abs(sound[around:]) > 0.1)) / RATE - 0.1)
        assert len(gaps) == (1 if path.name == "0.ts" else 2)
        assert [
            gap for gap in gaps if abs(gap) > 0.003
        ] == []  # the codecs smear a beginning, and a seam cuts whole packets
