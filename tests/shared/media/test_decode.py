"""Every frame, once, in order, at its time; and one clear sentence for files that are not what they seem."""

import threading
import time
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from shared.errors import UnreadableMedia
from shared.files.handles import InputFile
from shared.media.decode import open_video
from shared.media.frame import Frame
from shared.media.orientation import Orientation, as_stored, upright
from tests.support import clips
from tests.support.clips import IRREGULAR, clip, opened, without_length


def read(path: Path) -> list[Frame]:
    with opened(path) as file, open_video(file) as video:
        return list(video.frames())


def decoding_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "decode"]


@pytest.mark.parametrize(
    ("suffix", "codec", "sound"),
    [
        (".mp4", "libx264", "aac"),
        (".mkv", "libx264", "aac"),
        (".mov", "libx264", "pcm_s16le"),
        (".webm", "libvpx-vp9", "libopus"),
        (".avi", "mpeg4", "mp3"),
        (".ts", "libx264", "aac"),
        (".flv", "libx264", "aac"),
        (".gif", "gif", None),
    ],
)
def test_every_container_gives_all_frames_in_order(tmp_path: Path, suffix: str, codec: str, sound: str | None) -> None:
    path = clip(tmp_path / f"clip{suffix}", codec=codec, sound=sound)
    with opened(path) as file, open_video(file) as video:
        frames = list(video.frames())
        assert (video.width, video.height, video.has_audio) == (160, 90, sound is not None)
        assert abs(video.frame_rate - 25) < Fraction(1, 2)
        assert video.frame_count in range(25, 28)  # some containers know their length, sound included, and no count
        assert abs(video.duration_seconds - 1) < 0.15
    assert len(frames) == 25
    assert {frame.image.shape for frame in frames} == {(90, 160, 3)}
    assert all(earlier.pts + earlier.duration == later.pts for earlier, later in pairwise(frames))


def test_the_frame_rate_stays_a_fraction(tmp_path: Path) -> None:
    with opened(clip(tmp_path / "film.mp4", rate="24000/1001")) as file, open_video(file) as video:
        assert video.frame_rate == Fraction(24000, 1001)
        assert [frame.pts * video.time_base for frame in video.frames()][:3] == [
            0,
            Fraction(1001, 24000),
            Fraction(1001, 12000),
        ]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_variable_rate_keeps_every_instant(tmp_path: Path, suffix: str) -> None:
    path = clips.variable_rate(tmp_path / f"vfr{suffix}")
    with opened(path) as file, open_video(file) as video:
        assert [frame.pts * video.time_base * 1000 for frame in video.frames()] == list(IRREGULAR)


def test_the_clock_starts_with_the_earliest_stream(tmp_path: Path) -> None:
    transport = clip(tmp_path / "stream.ts")  # its clock starts at 1.4 s
    with opened(transport) as file, open_video(file) as video:
        assert video.origin_seconds > 1
        assert 0 <= next(video.frames()).pts * video.time_base < Fraction(1, 10)
    late = clips.late_picture(tmp_path / "late.mp4", milliseconds=120)
    with opened(late) as file, open_video(file) as video:
        assert next(video.frames()).pts * video.time_base == Fraction(12, 100)


def test_what_an_edit_list_hides_is_not_shown(tmp_path: Path) -> None:
    frames = read(clips.trimmed_by_edit_list(tmp_path / "trimmed.mp4", seconds=0.52))
    assert frames[0].pts == 0
    assert len(frames) == 37


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotation_is_told_and_can_be_applied(tmp_path: Path, degrees: int) -> None:
    with opened(clips.rotated(tmp_path / "phone.mp4", degrees)) as file, open_video(file) as video:
        assert video.orientation == Orientation(degrees)
        stored = video.frame_at(0).image
    shown = upright(stored, Orientation(degrees))
    assert shown.shape[:2] == ((160, 90) if degrees in {90, 270} else (90, 160))
    turns = {0: stored, 90: stored[::-1].swapaxes(0, 1), 180: stored[::-1, ::-1], 270: stored[:, ::-1].swapaxes(0, 1)}
    assert np.array_equal(shown, turns[degrees])
    assert np.array_equal(as_stored(shown, Orientation(degrees)), stored)


def test_odd_sizes_and_chinese_names_are_read_as_they_are(tmp_path: Path) -> None:
    path = clips.odd_sized(tmp_path / "奇数 尺寸 😀.mp4")
    with opened(path) as file, open_video(file) as video:
        assert (video.width, video.height) == (175, 143)
        assert video.frame_at(0).image.shape == (143, 175, 3)


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: clip(folder / "b-frames.mp4", seconds=2),
        lambda folder: clip(folder / "b-frames.mkv", seconds=2, options=["-g", "12"]),
        lambda folder: clip(folder / "stream.ts", seconds=2, options=["-g", "12"]),
        lambda folder: clip(folder / "old.avi", seconds=2, codec="mpeg4", sound="mp3"),
        lambda folder: clips.open_gop(folder / "open.mp4"),
        lambda folder: clips.open_gop(folder / "open.mkv"),
        lambda folder: clips.variable_rate(folder / "vfr.mkv"),
        lambda folder: clips.trimmed_by_edit_list(folder / "trimmed.mp4"),
        lambda folder: clips.late_picture(folder / "late.mp4"),
    ],
)
def test_a_frame_by_number_is_the_frame_that_counting_finds(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path)
    frames = read(path)
    with opened(path) as file, open_video(file) as video:
        for index in (0, 1, 9, 10, 11, len(frames) - 2, len(frames) - 1, len(frames), 10**6):
            found, expected = video.frame_at(index), frames[min(index, len(frames) - 1)]
            assert (found.pts, found.duration) == (expected.pts, expected.duration), index
            assert np.array_equal(found.image, expected.image), index


@pytest.mark.parametrize(
    ("key", "make"),
    [
        ("media_unreadable", lambda folder: clips.renamed_text(folder / "text.mp4")),
        ("media_unreadable", lambda folder: clips.playlist(folder / "list.m3u8", clip(folder / "secret.ts"))),
        ("media_unreadable", lambda folder: clips.playlist(folder / "list.mp4", clip(folder / "secret.ts"))),
        ("media_unreadable", lambda folder: clips.truncated(clip(folder / "whole.mp4"), folder / "cut.mp4")),
        ("media_without_video", lambda folder: clips.audio_only(folder / "sound.mp4")),
        ("media_without_frames", lambda folder: clips.without_frames(folder / "none.mp4")),
        ("media_too_large", lambda folder: clips.gigantic(folder / "gigantic.mkv")),
        ("media_encrypted", lambda folder: clips.encrypted(folder / "bought.mp4")),
    ],
)
def test_what_is_no_readable_video_is_refused_with_its_reason(
    tmp_path: Path, key: str, make: Callable[[Path], Path]
) -> None:
    with opened(make(tmp_path)) as file, pytest.raises(UnreadableMedia) as problem, open_video(file):
        pass
    assert problem.value.key == key
    assert file.name in str(problem.value)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    with opened(tmp_path / "empty.mp4") as file, pytest.raises(UnreadableMedia, match="empty"), open_video(file):
        pass


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".flv", ".avi"])
def test_a_file_that_ends_early_fails_after_its_last_frame(tmp_path: Path, suffix: str) -> None:
    codec = {".webm": "libvpx-vp9", ".avi": "mpeg4"}.get(suffix, "libx264")
    sound = {".webm": "libopus", ".avi": "mp3"}.get(suffix, "aac")
    options = ["-movflags", "+faststart"] if suffix == ".mp4" else []
    whole = clip(tmp_path / f"whole{suffix}", seconds=3, codec=codec, sound=sound, options=options)
    cut = clips.truncated(whole, tmp_path / f"cut{suffix}")
    seen = 0
    with opened(cut) as file, open_video(file) as video, pytest.raises(UnreadableMedia) as problem:  # noqa: PT012
        for _ in video.frames():
            seen += 1
    assert problem.value.key == "media_truncated"
    assert 10 < seen < 75
    assert decoding_threads() == []


def test_one_broken_packet_is_concealed(tmp_path: Path) -> None:
    frames = read(clips.corrupted(tmp_path / "scratched.mp4"))
    assert len(frames) in {49, 50}
    assert sum(frame.duration for frame in frames) == frames[-1].pts + frames[-1].duration


def test_a_file_that_is_mostly_noise_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableMedia) as problem:
        read(clips.ruined(tmp_path / "noise.mp4"))
    assert problem.value.key == "media_corrupt"


def test_a_stream_that_changes_its_size_and_restarts_its_clock_is_read_in_one_size(tmp_path: Path) -> None:
    """As a recorded call or a broadcast does; two transport streams in a row are one."""
    large, small = clip(tmp_path / "large.ts"), clip(tmp_path / "small.ts", size=(96, 64))
    joined = tmp_path / "joined.ts"
    joined.write_bytes(large.read_bytes() + small.read_bytes())
    frames = read(joined)
    assert len(frames) >= 48
    assert {frame.image.shape for frame in frames} == {(90, 160, 3)}
    assert all(earlier.pts < later.pts for earlier, later in pairwise(frames))


def test_decoding_runs_ahead_by_a_few_frames_only(tmp_path: Path) -> None:
    with opened(clip(tmp_path / "long.mp4", seconds=4)) as file, open_video(file) as video:
        frames = video.frames()
        next(frames)
        time.sleep(0.3)
        (channel, thread), *_ = video._decoding
        assert thread.is_alive()
        assert len(channel._items) <= 4
        frames.close()


def test_threads_end_when_a_consumer_stops_early(tmp_path: Path) -> None:
    path = clip(tmp_path / "clip.mp4", seconds=4)
    with opened(path) as file, open_video(file) as video:
        frames = video.frames()
        next(frames)
        frames.close()
        assert decoding_threads() == []
    with opened(path) as file:
        with open_video(file) as video:
            held = video.frames()
            next(held)
        assert decoding_threads() == []
        assert list(held) == []


def test_threads_end_when_a_consumer_fails(tmp_path: Path) -> None:
    class Stop(BaseException):
        pass

    def fail_at_the_first(file: InputFile) -> None:
        with open_video(file) as video:
            for _ in video.frames():
                raise Stop

    with opened(clip(tmp_path / "clip.mp4", seconds=4)) as file, pytest.raises(Stop):
        fail_at_the_first(file)
    assert decoding_threads() == []


def test_how_far_a_video_without_a_told_length_has_been_read_is_estimated(tmp_path: Path) -> None:
    with opened(without_length(tmp_path / "live.mkv", frames=96)) as file, open_video(file) as video:
        assert video.frame_count is None
        assert video.share(1) == 0
        shares = [video.share(count) for count, _ in enumerate(video.frames(), start=1)]
        assert len(shares) == 96
    assert shares[0] < 0.4  # the first picture, a key frame, holds many of the bytes
    assert shares[47] < 0.9
    assert shares[-1] == pytest.approx(1, abs=0.1)


def test_a_share_is_exact_where_frames_are_counted_and_parts_of_a_frame_count(tmp_path: Path) -> None:
    with opened(clip(tmp_path / "in.mp4", seconds=1)) as file, open_video(file) as video:
        assert video.frame_count is not None
        assert video.share(video.frame_count / 4) == 0.25
        assert video.share(0.5) == 0.5 / video.frame_count
        assert video.share(2 * video.frame_count) == 1
