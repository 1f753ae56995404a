"""Frames read from the middle of a file are those that a pass from the beginning yields: pixels, times, durations."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shared.errors import UnreadableMedia
from shared.media.decode import VideoSource, open_video
from shared.media.frame import Frame
from tests.support import clips
from tests.support.clips import clip, opened

Make = Callable[[Path], Path]

SOURCES: dict[str, Make] = {
    "b-frames.mp4": lambda path: clip(path, seconds=2, options=["-g", "12"]),
    "b-frames.mkv": lambda path: clip(path, seconds=2, options=["-g", "12"]),
    "film.mov": lambda path: clip(path, seconds=2, rate="24000/1001", sound="pcm_s16le", options=["-g", "12"]),
    "film.webm": lambda path: clip(path, seconds=2, codec="libvpx-vp9", sound="libopus", options=["-g", "12"]),
    "hevc.mp4": lambda path: clip(path, seconds=2, codec="libx265", options=["-g", "12"]),
    "open.mp4": clips.open_gop,
    "open.mkv": clips.open_gop,
    "vfr.mp4": clips.variable_rate,
    "vfr.mkv": clips.variable_rate,
    "trimmed.mp4": lambda path: clips.trimmed_by_edit_list(path, seconds=0.52),
    "late.mp4": clips.late_picture,
    "offset.mkv": lambda path: _copied(path, "-output_ts_offset", "7.3"),
    "offset.mp4": lambda path: _copied(path, "-output_ts_offset", "7.3"),
    "one-key-frame.mp4": lambda path: clip(path, seconds=2, options=["-g", "500"]),
    "refreshed.mp4": lambda path: clip(path, seconds=2, options=["-x264-params", "intra-refresh=1:keyint=12"]),
    "stream.ts": lambda path: clip(path, seconds=2, options=["-g", "12"]),
    "old.avi": lambda path: clip(path, seconds=2, codec="mpeg4", sound="mp3"),
    "live.mkv": lambda path: _copied(path, "-live", "1"),
}


def _copied(path: Path, *options: str) -> Path:
    base = clip(path.with_suffix(".base.mkv"), seconds=2, options=["-g", "12"])
    clips.ffmpeg("-i", base, "-c", "copy", *options, path)
    return path


@pytest.fixture(scope="module", params=list(SOURCES))
def video(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return SOURCES[request.param](tmp_path_factory.mktemp("ranges") / request.param)


def differs(one: Frame, other: Frame) -> bool:
    return (one.pts, one.duration) != (other.pts, other.duration) or not np.array_equal(one.image, other.image)


def assert_same(frames: list[Frame], others: list[Frame]) -> None:
    assert [frame.pts for frame in frames] == [frame.pts for frame in others]
    assert not [one.pts for one, other in zip(frames, others, strict=True) if differs(one, other)]


def test_every_range_holds_the_frames_of_a_pass_from_the_beginning(video: Path) -> None:
    with opened(video) as file, open_video(file) as source:
        whole = list(source.frames())
        for place in {1, 5, len(whole) // 3, len(whole) // 2, len(whole) - 2, len(whole) - 1} & set(range(len(whole))):
            for begin in {whole[place].pts, whole[place].pts - 1, whole[place - 1].pts + 1}:
                assert_same(list(source.frames(begin)), [frame for frame in whole if frame.pts >= begin])


def test_a_range_behind_the_end_is_empty(video: Path) -> None:
    with opened(video) as file, open_video(file) as source:
        end = [frame.pts + frame.duration for frame in source.frames()][-1]
        assert list(source.frames(end + 1)) == []


def test_a_container_with_an_index_is_not_decoded_from_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resumed film must not cost the decoding of what is finished."""
    looked: list[bool] = []
    seek = VideoSource._seek

    def note(self: VideoSource, *arguments: object) -> object:
        looked.append((found := seek(self, *arguments)) is not None)  # type: ignore[arg-type]
        return found

    monkeypatch.setattr(VideoSource, "_seek", note)
    for name in ("b-frames.mp4", "b-frames.mkv", "film.webm", "open.mp4", "vfr.mkv", "trimmed.mp4", "offset.mkv"):
        with opened(SOURCES[name](tmp_path / name)) as file, open_video(file) as source:
            next(source.frames(round(1 / source.time_base)))
    assert looked == [True] * 7


def test_where_a_seek_leads_elsewhere_than_an_earlier_pass_did_the_file_is_read_from_the_beginning(
    tmp_path: Path,
) -> None:
    with opened(clip(tmp_path / "film.mp4", seconds=2, options=["-g", "12"])) as file, open_video(file) as source:
        whole = list(source.frames())
        assert_same(list(source.frames(whole[20].pts - 1, first=whole[20].pts)), whole[20:])
        assert_same(list(source.frames(whole[20].pts - 1, first=whole[20].pts + 1)), whole[20:])


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv"])
def test_a_truncated_file_is_found_out_from_its_middle_too(tmp_path: Path, name: str) -> None:
    options = ["-g", "12", *(["-movflags", "+faststart"] if name.endswith("mp4") else [])]
    whole = clip(tmp_path / name, seconds=4, options=options)
    cut = clips.truncated(whole, tmp_path / f"cut-{name}", share=0.8)
    with opened(cut) as file, open_video(file) as source, pytest.raises(UnreadableMedia, match="truncated"):
        list(source.frames(round(1 / source.time_base)))
