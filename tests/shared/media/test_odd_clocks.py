"""Clocks as real files have them: offset, longer on one side, jumping. What goes in comes out when it was shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from shared.errors import UnreadableMedia
from shared.media.decode import open_video
from shared.media.encode import EncodeReport, encode
from shared.media.frame import Frame
from shared.media.provenance import Label
from shared.settings import EncodingSettings, Settings
from tests.support.clips import ffmpeg, opened, output_in, truncated

PICTURE = ["-f", "lavfi", "-i", "testsrc2=s=64x36:r=24:d=1"]
TONE = ["-f", "lavfi", "-i", "sine=f=440:r=48000:d=1"]
H264 = ["-c:v", "libx264", "-pix_fmt", "yuv420p"]
SETTINGS = Settings(encoding=EncodingSettings(preset="ultrafast"))
MILLISECOND = 0.001


@dataclass(frozen=True)
class Span:
    """What a track has, in seconds from the first picture's begin."""

    count: int
    start: float
    end: float


def rewrite(source: Path, folder: Path) -> tuple[Path, EncodeReport]:
    """One pass through decoder and encoder, nothing in between."""
    with opened(source) as file, open_video(file) as video, output_in(folder) as target:
        size, label = (video.width, video.height), Label("tests", "clocks")
        report = encode(video.frames(), target, like=video, size=size, settings=SETTINGS, label=label)
        return folder / target.publish(), report


def read(path: Path) -> list[Frame]:
    with opened(path) as file, open_video(file) as video:
        return list(video.frames())


def picture_of(path: Path) -> Span:
    """The picture as we read it: how many frames, when the first is shown, when the last one ends."""
    with opened(path) as file, open_video(file) as video:
        frames = list(video.frames())
        unit = float(video.time_base)
    return Span(len(frames), round(frames[0].pts * unit, 9), round((frames[-1].pts + frames[-1].duration) * unit, 9))


def steps_of(path: Path) -> list[Fraction]:
    """For how long each picture is shown, in seconds."""
    with opened(path) as file, open_video(file) as video:
        return [frame.duration * video.time_base for frame in video.frames()]


def delay_of_sound(path: Path) -> float:
    """By how much the first sample comes after the first picture, in seconds, told by libav alone."""
    starts = []
    for kind in ("video", "audio"):
        with av.open(str(path)) as container:
            frame = next(container.decode(**{kind: 0}))
            assert isinstance(frame, av.VideoFrame | av.AudioFrame)
            assert frame.time is not None
            starts.append(frame.time)
    return starts[1] - starts[0]


def seconds_of_sound(path: Path, number: int = 0) -> float:
    with av.open(str(path)) as container:
        return sum(frame.samples / frame.sample_rate for frame in container.decode(audio=number))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts", ".flv"])
@pytest.mark.parametrize("sound_seconds", [0.6, 1.4, 4.0])
def test_tracks_of_different_lengths_keep_them(tmp_path: Path, suffix: str, sound_seconds: float) -> None:
    source = tmp_path / f"uneven{suffix}"
    ffmpeg(*PICTURE, "-f", "lavfi", "-i", f"sine=d={sound_seconds}", *H264, "-c:a", "aac", source)
    result, report = rewrite(source, tmp_path)
    picture = picture_of(result)
    assert picture.count == 24
    assert picture.end - picture.start == pytest.approx(1, abs=1.01 * MILLISECOND)  # Matroska and FLV round the last
    assert seconds_of_sound(result) == pytest.approx(seconds_of_sound(source), abs=MILLISECOND)
    assert seconds_of_sound(result) == pytest.approx(sound_seconds, abs=0.05)  # whole packets of 1024 samples
    assert delay_of_sound(result) == pytest.approx(delay_of_sound(source), abs=MILLISECOND)
    assert report.lost == []


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_subtitles_may_last_longer_than_the_picture(tmp_path: Path, suffix: str) -> None:
    text = tmp_path / "text.srt"
    text.write_text("1\n00:00:00,200 --> 00:00:03,600\nhello\n", encoding="utf-8")
    source = tmp_path / f"text{suffix}"
    kept = "mov_text" if suffix == ".mp4" else "srt"
    ffmpeg(*PICTURE, "-i", text, *H264, "-c:s", kept, source)
    result, report = rewrite(source, tmp_path)
    with opened(source) as file, open_video(file) as video:
        assert video.duration_seconds == pytest.approx(1)
        assert video.frame_count == 24
    assert picture_of(result).count == 24
    assert report.lost == []


@pytest.mark.parametrize("flags", ["+frag_keyframe+empty_moov", "+frag_keyframe+delay_moov", "+faststart"])
def test_fragments_with_longer_sound_are_whole(tmp_path: Path, flags: str) -> None:
    source = tmp_path / "fragments.mp4"
    ffmpeg(*PICTURE, "-f", "lavfi", "-i", "sine=d=1.4", *H264, "-c:a", "aac", "-movflags", flags, source)
    assert picture_of(source).count == 24


def test_a_picture_that_is_cut_off_is_told_although_the_sound_is_longer(tmp_path: Path) -> None:
    whole = tmp_path / "whole.mp4"
    ffmpeg(
        *["-f", "lavfi", "-i", "testsrc2=s=64x36:r=24:d=4"], *["-f", "lavfi", "-i", "sine=d=6"],
        *H264, "-c:a", "aac", "-movflags", "+faststart", whole,
    )  # fmt: skip
    with pytest.raises(UnreadableMedia) as problem:
        picture_of(truncated(whole, tmp_path / "cut.mp4", share=0.4))
    assert problem.value.key == "media_truncated"


@pytest.mark.parametrize(
    ("suffix", "codecs"),
    [
        (".mkv", [*H264, "-c:a", "aac"]),
        (".nut", [*H264, "-c:a", "aac"]),
        (".mp4", [*H264, "-c:a", "aac"]),
        (".ts", [*H264, "-c:a", "aac"]),
        (".flv", [*H264, "-c:a", "aac"]),
        (".webm", ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-c:a", "libopus"]),
        (".asf", ["-c:v", "mpeg4", "-c:a", "wmav2"]),
    ],
)
@pytest.mark.parametrize("offset", [5, 100_000])
def test_a_clock_that_begins_late_is_no_longer_video(
    tmp_path: Path, suffix: str, codecs: Sequence[str], offset: int
) -> None:
    source = tmp_path / f"offset{suffix}"
    ffmpeg(*PICTURE, *TONE, *codecs, "-output_ts_offset", str(offset), source)
    with opened(source) as file, open_video(file) as video:
        assert video.duration_seconds == pytest.approx(1, abs=0.1)
        assert video.frame_count in range(23, 28)
    result, report = rewrite(source, tmp_path)
    picture = picture_of(result)
    assert picture.count == 24
    assert picture.start < 1 / 20  # an AAC encoder's run-in may come before it
    assert picture.end - picture.start == pytest.approx(1, abs=1.01 * MILLISECOND)
    assert report.lost == []


def test_an_offset_file_that_ends_early_is_told(tmp_path: Path) -> None:
    whole = tmp_path / "whole.mkv"
    ffmpeg(*PICTURE[:-1], "testsrc2=s=64x36:r=24:d=4", *H264, "-g", "12", "-output_ts_offset", "5", whole)
    with pytest.raises(UnreadableMedia) as problem:
        picture_of(truncated(whole, tmp_path / "cut.mkv"))
    assert problem.value.key == "media_truncated"


def test_times_below_zero_count_from_the_earliest(tmp_path: Path) -> None:
    """Matroska allows them; only an edit list hides what comes before zero."""
    base, source = tmp_path / "base.mkv", tmp_path / "below.mkv"
    ffmpeg(*PICTURE, *TONE, *H264, "-bf", "0", "-c:a", "flac", base)
    ffmpeg("-itsoffset", "-0.5", "-i", base, "-c", "copy", "-avoid_negative_ts", "disabled", source)
    result, _ = rewrite(source, tmp_path)
    picture = picture_of(result)
    assert (picture.count, picture.start) == (24, 0)
    assert picture.end == pytest.approx(1, abs=0.02)  # libav tells the picture's times from zero on only
    assert max(steps_of(result)) < 0.06
    assert delay_of_sound(result) == pytest.approx(delay_of_sound(base), abs=MILLISECOND)


SLOW = ["-f", "lavfi", "-i", "testsrc2=s=64x36:r=10:d=1"]
COARSE = [*H264, "-bf", "0", "-c:a", "aac", "-video_track_timescale", "10"]


@pytest.mark.parametrize("late", [0, 0.03, 0.17, 0.2, 0.333])
@pytest.mark.parametrize("which", ["sound", "picture", "both"])
def test_sound_keeps_its_place_beside_a_picture_that_counts_tenths(tmp_path: Path, late: float, which: str) -> None:
    source = tmp_path / "late.mp4"
    sound = ["-f", "lavfi", "-i", "sine=r=48000:d=0.8"]
    if which == "picture":
        ffmpeg("-itsoffset", str(late), *SLOW, *sound, *COARSE, source)
    else:
        ffmpeg(*SLOW, "-itsoffset", str(late), *sound, *COARSE,
               *(["-output_ts_offset", "0.27"] if which == "both" else []), source)  # fmt: skip
    result, _ = rewrite(source, tmp_path)
    assert delay_of_sound(result) == pytest.approx(delay_of_sound(source), abs=MILLISECOND)
    assert picture_of(result).count == picture_of(source).count
    assert steps_of(result) == steps_of(source)


@pytest.mark.parametrize("frame_rate", [8, 24, 30])
def test_a_late_sound_stays_late_whatever_the_frame_rate_of_the_new_picture(tmp_path: Path, frame_rate: int) -> None:
    """As video creation does: pictures of its own, counted in frames, beside the sound of the source."""
    source = tmp_path / "late.mp4"
    ffmpeg(*SLOW, "-itsoffset", "0.17", "-f", "lavfi", "-i", "sine=r=48000:d=0.8", *COARSE, source)
    made = (Frame(np.full((36, 64, 3), 40, np.uint8), number, 1) for number in range(frame_rate))
    with opened(source) as file, open_video(file) as video, output_in(tmp_path) as target:
        encode(
            made, target, like=video, size=(64, 36), settings=SETTINGS, label=Label("tests", "clocks"),
            frame_rate=Fraction(frame_rate), time_base=Fraction(1, frame_rate), display_oriented=True,
        )  # fmt: skip
        result = tmp_path / target.publish()
    assert delay_of_sound(result) == pytest.approx(delay_of_sound(source), abs=MILLISECOND)
    assert seconds_of_sound(result) == pytest.approx(seconds_of_sound(source), abs=MILLISECOND)
    assert steps_of(result) == [Fraction(1, frame_rate)] * frame_rate


def test_a_frame_by_number_is_found_on_a_finer_clock(tmp_path: Path) -> None:
    source = tmp_path / "offset.mp4"
    ffmpeg(*SLOW, "-f", "lavfi", "-i", "sine=r=48000:d=0.8", *COARSE, "-output_ts_offset", "0.27", source)
    with opened(source) as file, open_video(file) as video:
        frames = list(video.frames())
        assert video.time_base < Fraction(1, 1000)
        for index in (0, 4, 9):
            found = video.frame_at(index)
            assert (found.pts, found.duration) == (frames[index].pts, frames[index].duration)
            assert np.array_equal(found.image, frames[index].image)


@pytest.mark.parametrize(
    "codec",
    [
        [*H264, "-bf", "3"],
        [*H264, "-x264-params", "bframes=4:b-pyramid=normal:ref=4"],
        ["-c:v", "mpeg4", "-bf", "2"],
        ["-c:v", "mpeg2video", "-bf", "2"],
    ],
    ids=lambda codec: " ".join(codec[-2:]),
)
@pytest.mark.parametrize("sound", [[], ["-c:a", "mp3"]], ids=["mute", "sound"])
def test_reordered_pictures_of_avi_are_even(tmp_path: Path, codec: list[str], sound: list[str]) -> None:
    source = tmp_path / "reordered.avi"
    ffmpeg(*PICTURE, *(TONE if sound else []), *codec, *sound, source)
    assert steps_of(source) == [Fraction(1, 24)] * 24
    result, _ = rewrite(source, tmp_path)
    assert picture_of(result) == Span(24, 0, 1)
    if sound:
        assert delay_of_sound(result) == pytest.approx(0, abs=MILLISECOND)


@pytest.mark.parametrize("codec", [H264, ["-c:v", "mpeg4"], ["-c:v", "mpeg2video"]], ids=lambda codec: codec[1])
def test_a_broken_packet_of_avi_moves_nothing_behind_the_next_key_frame(tmp_path: Path, codec: list[str]) -> None:
    source = tmp_path / "scratched.avi"
    ffmpeg(*PICTURE[:-1], "testsrc2=s=64x36:r=24:d=3", *codec, "-bf", "2", "-g", "24", source)
    whole = [frame.pts for frame in read(source)]
    with av.open(str(source)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][30]
        assert packet.pos is not None
        start, end = packet.pos + 5, packet.pos + packet.size
    data = bytearray(source.read_bytes())
    data[start:end] = np.random.default_rng(3).bytes(end - start)
    source.write_bytes(data)
    scratched = read(source)
    assert len(scratched) == 71
    assert [frame.pts for frame in scratched[-20:]] == whole[-20:]


def test_a_picture_that_avi_holds_is_held_and_moves_no_sound(tmp_path: Path) -> None:
    """Without reordering ffmpeg leaves an empty chunk behind the first picture, which tells to hold it."""
    source = tmp_path / "held.avi"
    ffmpeg(*PICTURE, *TONE, *H264, "-bf", "0", "-c:a", "mp3", source)
    assert steps_of(source) == [Fraction(2, 24), *[Fraction(1, 24)] * 23]
    result, _ = rewrite(source, tmp_path)
    picture = picture_of(result)
    assert (picture.count, picture.start) == (24, 0)
    assert picture.end == pytest.approx(25 / 24)
    assert delay_of_sound(result) == pytest.approx(0, abs=MILLISECOND)


JOINED = ["-f", "lavfi", "-i", "testsrc2=s=64x36:r=25:d=1"]


BROADCAST = ["-c:v", "mpeg2video", "-bf", "2", "-c:a", "mp2"]


@pytest.mark.parametrize(
    ("suffix", "codecs"), [(".ts", [*H264, "-c:a", "aac"]), (".ts", BROADCAST), (".mpg", BROADCAST)]
)
@pytest.mark.parametrize(
    "starts", [(100, 0), (0, 100), (0, 0), (10, 9), (0, 50_000), (50_000, 0), (0, 100, 20, 20), (95_000, 0)], ids=str
)
def test_a_clock_that_jumps_is_continued(
    tmp_path: Path, suffix: str, starts: tuple[int, ...], codecs: list[str]
) -> None:
    source = tmp_path / f"joined{suffix}"
    parts = []
    for number, start in enumerate(starts):
        part = tmp_path / f"{number}{suffix}"
        ffmpeg(*JOINED, *TONE, *codecs, "-output_ts_offset", str(start), part)
        parts.append(part.read_bytes())
    source.write_bytes(b"".join(parts))
    result, report = rewrite(source, tmp_path)
    assert report.lost == []
    picture = picture_of(result)
    assert picture.count in range(25 * len(starts) - 1, 25 * len(starts) + 1)  # libav's parser may join two at a seam
    assert picture.end - picture.start == pytest.approx(len(starts), abs=0.1)
    assert max(steps_of(result)) < 0.1
    assert seconds_of_sound(result) == pytest.approx(len(starts), abs=0.1)
    assert abs(delay_of_sound(result)) < 0.05


def test_a_clock_that_wraps_is_continued(tmp_path: Path) -> None:
    """The clock of a transport stream has 33 bits of 1/90,000 s: it begins anew every 26.5 hours."""
    source = tmp_path / "wraps.ts"
    ffmpeg(
        *PICTURE, *TONE, *H264, "-c:a", "aac", "-output_ts_offset", str(2**33 / 90_000 - 1.9), "-muxdelay", "0", source
    )
    result, _ = rewrite(source, tmp_path)
    assert picture_of(result).count == 24
    assert set(steps_of(result)) == {Fraction(1, 24)}
    assert seconds_of_sound(result) == pytest.approx(seconds_of_sound(source), abs=MILLISECOND)


def test_a_frame_by_number_is_found_behind_a_jump(tmp_path: Path) -> None:
    parts = []
    for number, start in enumerate((100, 0)):
        part = tmp_path / f"{number}.ts"
        ffmpeg(*JOINED, *TONE, *H264, "-c:a", "aac", "-output_ts_offset", str(start), part)
        parts.append(part.read_bytes())
    source = tmp_path / "joined.ts"
    source.write_bytes(b"".join(parts))
    with opened(source) as file, open_video(file) as video:
        frames = list(video.frames())
        for index in (0, 20, 24, 25, 40, len(frames) - 1):
            found = video.frame_at(index)
            assert (found.pts, found.duration) == (frames[index].pts, frames[index].duration)
            assert np.array_equal(found.image, frames[index].image)
