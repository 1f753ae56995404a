"""What goes along with the picture arrives in time: sound, subtitles, chapters, metadata; copied where MP4 allows."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.container import InputContainer

from shared.media.decode import open_video
from shared.media.encode import EncodeReport, encode
from shared.media.provenance import Label
from shared.media.stream_copy import CopiedStream
from shared.settings import Settings
from tests.support import clips
from tests.support.clips import clip, ffmpeg, opened, output_in


def rewrite(source: Path, folder: Path) -> tuple[Path, EncodeReport]:
    """One pass through decoder and encoder, nothing in between."""
    with opened(source) as file, open_video(file) as video, output_in(folder) as target:
        size, label = (video.width, video.height), Label("tests", "mux")
        report = encode(video.frames(), target, like=video, size=size, settings=Settings(), label=label)
        return folder / target.publish(), report


def packets(path: Path, kind: str, number: int = 0) -> list[Any]:
    """The packets of a stream; ask them for data and times, not for the stream, which is closed."""
    with av.open(str(path)) as container:
        stream = [stream for stream in container.streams if stream.type == kind][number]
        return [packet for packet in container.demux(stream) if packet.size]


def sound_codec(path: Path) -> str:
    with av.open(str(path)) as container:
        return container.streams.audio[0].codec_context.codec.canonical_name


def decoded_samples(path: Path, number: int = 0) -> float:
    """Seconds of sound that come out of the decoder."""
    with av.open(str(path)) as container:
        frames = list(container.decode(container.streams.audio[number]))
        return sum(frame.samples for frame in frames) / frames[0].sample_rate


def texts(path: Path, number: int = 0) -> list[tuple[float, float, str]]:
    """Start, length and words of the subtitles, without the pauses."""
    shown = []
    for packet in packets(path, "subtitle", number):
        data = bytes(packet)
        words = data[2 : 2 + int.from_bytes(data[:2])].decode()  # styles follow
        if words:
            shown.append((float(packet.pts * packet.time_base), float(packet.duration * packet.time_base), words))
    return shown


@pytest.mark.parametrize(
    ("name", "sound", "codec"),
    [
        ("aac.mp4", "aac", "aac"),
        ("mp3.mkv", "mp3", "mp3"),
        ("ac3.mkv", "ac3", "ac3"),
        ("opus.webm", "libopus", "opus"),
        ("flac.mkv", "flac", "flac"),
        ("adts.ts", "aac", "aac"),
        ("aac.flv", "aac", "aac"),
    ],
)
def test_sound_that_mp4_holds_is_copied_byte_for_byte(tmp_path: Path, name: str, sound: str, codec: str) -> None:
    source = clip(tmp_path / name, sound=sound, seconds=2, codec="libvpx-vp9" if name.endswith("webm") else "libx264")
    result, report = rewrite(source, tmp_path)
    before, after = packets(source, "audio"), packets(result, "audio")
    header = 7 if name.endswith(".ts") else 0  # a transport stream packs each AAC frame into a header of its own
    assert [bytes(packet)[header:] for packet in before] == [bytes(packet) for packet in after]
    assert sound_codec(result) == codec
    assert report.lost == []


@pytest.mark.parametrize(
    ("name", "sound"), [("pcm.mov", "pcm_s16le"), ("vorbis.mkv", "libvorbis"), ("pcm.avi", "pcm_s16le")]
)
def test_other_sound_becomes_aac_of_the_same_length(tmp_path: Path, name: str, sound: str) -> None:
    source = clip(tmp_path / name, sound=sound, seconds=2, codec="mjpeg" if name.endswith("avi") else "libx264")
    result, report = rewrite(source, tmp_path)
    assert sound_codec(result) == "aac"
    assert decoded_samples(result) == pytest.approx(decoded_samples(source), abs=1 / 25)
    assert report.lost == []


@pytest.mark.parametrize(
    ("name", "sound"),
    [("a.mp4", "aac"), ("a.mkv", "libopus"), ("a.mov", "pcm_s16le"), ("a.ts", "aac"), ("film.mp4", "aac")],
)
def test_sound_and_picture_differ_by_less_than_a_frame(tmp_path: Path, name: str, sound: str) -> None:
    result, _ = rewrite(
        clip(tmp_path / name, sound=sound, seconds=3, rate="24000/1001" if "film" in name else "25"), tmp_path
    )
    with av.open(str(result)) as container:
        picture, tone = container.streams.video[0], container.streams.audio[0]
        lengths = [float(stream.duration * stream.time_base) for stream in (picture, tone)]  # type: ignore[operator]
    assert abs(lengths[0] - lengths[1]) < 1 / 23


def test_a_late_picture_stays_late(tmp_path: Path) -> None:
    source = clips.late_picture(tmp_path / "late.mp4", milliseconds=120)
    result, _ = rewrite(source, tmp_path)
    with av.open(str(result)) as container:
        picture, tone = container.streams.video[0], container.streams.audio[0]
        assert float(picture.start_time * picture.time_base) == pytest.approx(0.12)  # type: ignore[operator]
        assert float(tone.start_time * tone.time_base) == pytest.approx(0)  # type: ignore[operator]


def test_a_gap_in_the_sound_stays_a_gap_when_it_is_encoded_anew(tmp_path: Path) -> None:
    whole = clip(tmp_path / "whole.mkv", sound="pcm_s16le", seconds=3)
    holed = tmp_path / "holed.mkv"
    ffmpeg("-i", whole, "-c", "copy", "-bsf:a", "noise=drop='between(pts*tb,1,2)'", holed)
    assert decoded_samples(holed) < 2.2
    result, _ = rewrite(holed, tmp_path)
    assert decoded_samples(result) == pytest.approx(3, abs=0.1)


def test_all_tracks_chapters_and_metadata_come_along(tmp_path: Path) -> None:
    result, report = rewrite(clips.with_companions(tmp_path / "所有.mkv"), tmp_path)
    with av.open(str(result)) as container:
        assert [(s.codec_context.name, s.language, bool(s.disposition & 1)) for s in container.streams.audio] == [
            ("aac", "chi", True),
            ("aac", "eng", False),
        ]
        assert [(s.codec_context.name, s.language) for s in container.streams.subtitles] == [
            ("mov_text", "chi"),
            ("mov_text", "und"),
        ]
        assert container.metadata["title"] == "标题 title"
        assert {key.lower(): text for key, text in container.metadata.items()}["artist"] == "someone"
        chapters = [
            (float(c["start"] * c["time_base"]), float(c["end"] * c["time_base"]), c["metadata"]["title"])  # type: ignore[operator]
            for c in container.chapters()
        ]
    assert chapters == [(0, 1, "一"), (1, 2, "two")]
    for number in (0, 1):
        assert texts(result, number)[0] == (0.2, 0.4, "你好，世界")
        assert texts(result, number)[1] == (1.0, 0.5, "second line")
    assert report.lost == ["cover picture"]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_every_track_keeps_its_title_and_its_language(tmp_path: Path, suffix: str) -> None:
    subtitles = tmp_path / "words.srt"
    subtitles.write_text("1\n00:00:00,200 --> 00:00:00,600\nword\n", encoding="utf-8")
    named = {"v:0": ("eng", "镜头 one"), "a:0": ("ger", "Commentary"), "a:1": ("fra", "旁白"), "s:0": ("chi", "Signs")}
    told = [
        argument
        for track, (language, title) in named.items()
        for argument in (f"-metadata:s:{track}", f"language={language}", f"-metadata:s:{track}", f"title={title}")
    ]
    source = tmp_path / f"named{suffix}"
    ffmpeg(
        "-i", clip(tmp_path / "base.mp4"), "-i", subtitles, "-map", "0:v", "-map", "0:a", "-map", "0:a", "-map", "1",
        "-c", "copy", "-c:s", "srt" if suffix == ".mkv" else "mov_text", *told, source,
    )  # fmt: skip

    first, _ = rewrite(source, tmp_path)
    second, _ = rewrite(first, tmp_path)

    for result in (first, second):
        with av.open(str(result)) as container:
            tracks = [(stream.metadata["language"], stream.metadata["name"]) for stream in container.streams]
        assert tracks == list(named.values())


# Every channel has a frequency of its own, so that what comes out tells where it went.
@pytest.mark.parametrize(
    ("layout", "suffix", "expected", "kept"),
    [
        ("5.1(side)", ".mov", "5.1", True), ("5.0(side)", ".mov", "5.0", True), ("quad", ".mov", "quad", True),
        ("2.1", ".mov", "2.1", True), ("3.0(back)", ".mov", "3.0(back)", True), ("3.1", ".mov", "5.1", True),
        ("7.0", ".mov", "7.1", True), ("7.1", ".mov", "7.1", True), ("downmix", ".mov", "stereo", True),
        ("5.1", ".mkv", "5.1", True), ("7.1", ".mkv", "7.1", True), ("4.0", ".mkv", "4.0", True),
        ("6.1", ".mov", "5.1", False), ("4.1", ".mov", "4.0", False), ("7.1(wide)", ".mov", "5.1", False),
        ("22.2", ".mkv", "7.1", False),
    ],
)  # fmt: skip
def test_every_channel_is_kept_in_its_place_or_named(
    tmp_path: Path, layout: str, suffix: str, expected: str, *, kept: bool
) -> None:
    names = [channel.name for channel in av.AudioLayout(layout).channels]
    tones = "|".join(f"0.3*sin(2*PI*t*{300 + 100 * number})" for number in range(len(names)))
    source = tmp_path / f"many{suffix}"  # PCM in Matroska does not say which channel is which
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=s=64x36:r=24:d=1", "-f", "lavfi", "-i", f"aevalsrc={tones}:c={layout}:d=1:s=48k",
        "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "pcm_s16le", source,
    )  # fmt: skip
    result, report = rewrite(source, tmp_path)
    with av.open(str(result)) as container:
        assert container.streams.audio[0].layout.name == expected
    assert report.lost == ([] if kept else ["some of the channels of audio stream 1 (pcm_s16le), mixed into others"])
    raw = tmp_path / "samples"
    ffmpeg("-i", result, "-map", "0:a", "-f", "f32le", raw)
    places = [channel.name for channel in av.AudioLayout(expected).channels]
    samples = np.fromfile(raw, np.float32).reshape(-1, len(places))[8192:40960]
    spectrum = np.abs(np.fft.rfft(samples, axis=0))
    for number, name in enumerate(names if kept else ()):
        if name != "LFE":  # an encoder may keep low tones only
            place = name if name in places else {"S": "B", "D": "F"}[name[0]] + name[1]
            assert abs(spectrum[:, places.index(place)].argmax() * 48000 / 32768 - (300 + 100 * number)) < 3


def test_what_mp4_cannot_hold_is_named(tmp_path: Path) -> None:
    base = clip(tmp_path / "base.mkv")
    font = tmp_path / "font.ttf"
    font.write_bytes(b"no real font")
    source = tmp_path / "fonts.mkv"
    ffmpeg(
        "-i",
        base,
        "-map",
        "0",
        "-map",
        "0:v",
        "-c",
        "copy",
        "-attach",
        font,
        "-metadata:s:t",
        "mimetype=font/ttf",
        source,
    )
    _, report = rewrite(source, tmp_path)
    assert [text.split()[0] for text in report.lost] == ["video", "attachment"]


def test_a_cover_is_not_taken_for_the_video(tmp_path: Path) -> None:
    result, report = rewrite(clips.with_cover(tmp_path / "cover.mp4"), tmp_path)
    with av.open(str(result)) as container:
        assert (container.streams.video[0].width, len(container.streams.video)) == (160, 1)
    assert report.lost == ["cover picture"]


def test_timed_text_is_copied(tmp_path: Path) -> None:
    source = clips.with_mov_text(tmp_path / "captions.mp4")
    result, report = rewrite(source, tmp_path)
    assert texts(result) == texts(source) == [(0.2, 0.4, "字幕")]
    assert report.lost == []


def test_a_result_can_be_the_next_source(tmp_path: Path) -> None:
    first, _ = rewrite(clips.with_companions(tmp_path / "all.mkv"), tmp_path)
    second, report = rewrite(first, tmp_path)
    assert second != first
    assert report.lost == []
    assert texts(second) == texts(first)
    with av.open(str(first)) as a, av.open(str(second)) as b:
        assert [c["metadata"] for c in a.chapters()] == [c["metadata"] for c in b.chapters()]
        assert [s.type for s in a.streams] == [s.type for s in b.streams]


def test_sound_that_cannot_be_read_to_its_end_is_kept_so_far(tmp_path: Path) -> None:
    def breaking(container: InputContainer) -> Iterator[Any]:
        for number, packet in enumerate(container.demux(container.streams.audio[0])):
            if number == 5:
                raise av.error.InvalidDataError(1, "broken")
            yield packet

    with (
        av.open(str(clip(tmp_path / "clip.mp4"))) as source,
        av.open(str(tmp_path / "result.mp4"), "w") as target,
    ):
        track = CopiedStream("the sound", target.add_stream_from_template(source.streams.audio[0]), breaking(source))
        assert len(list(track.until(None))) == 5
        assert track.broken_off


@pytest.mark.parametrize("interleaved", [True, False])
def test_sound_lies_beside_its_picture_in_the_file(tmp_path: Path, *, interleaved: bool) -> None:
    source = clip(tmp_path / "clip.mp4", seconds=8, size=(64, 48))
    if not interleaved:  # all pictures first, then all sound
        ffmpeg("-i", source, "-c", "copy", "-max_interleave_delta", "1", "-movflags", "+faststart", "-muxdelay", "9",
               tmp_path / "apart.mkv")  # fmt: skip
        source = tmp_path / "apart.mkv"
    result, _ = rewrite(source, tmp_path)
    reached: dict[str, float] = defaultdict(float)
    worst = 0.0
    with av.open(str(result)) as container:
        written = [
            (p.pos or 0, p.stream.type, float(p.dts * p.time_base)) for p in container.demux() if p.dts is not None
        ]
    for _, kind, seconds in sorted(written):
        reached[kind] = seconds
        if len(reached) == 2:
            worst = max(worst, abs(reached["video"] - reached["audio"]))
    assert worst < 1.5


def test_sound_without_channels_is_lost_by_name_and_not_the_video(tmp_path: Path) -> None:
    source = tmp_path / "clip.avi"
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=48x32:d=1", "-f", "lavfi", "-i", "sine=d=1", "-c:a", "pcm_s16le", source)
    content = bytearray(source.read_bytes())
    header = content.index(b"strf", content.index(b"auds")) + 8
    content[header + 2 : header + 4] = b"\0\0"
    source.write_bytes(content)
    result, report = rewrite(source, tmp_path)
    assert report.lost == ["audio stream 1 (pcm_s16le)"]
    assert packets(result, "video")
