"""The length that acceptance stores is right or unknown, also where the clock jumps."""

from pathlib import Path

import pytest

from shared.media.decode import open_video
from shared.media.encode import encode
from shared.media.probe import ProbePool
from shared.media.provenance import Label
from shared.settings import EncodingSettings, Settings
from tests.support.clips import clip, ffmpeg, opened, output_in

PICTURE = ["-f", "lavfi", "-i", "testsrc2=s=64x36:r=25:d=1"]
TONE = ["-f", "lavfi", "-i", "sine=f=440:r=48000:d=1"]
H264 = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac"]
MPEG2 = ["-c:v", "mpeg2video", "-bf", "2", "-c:a", "mp2"]
FLV_HEADER_BYTES = 13


def joined(folder: Path, suffix: str, starts: tuple[int, ...], codecs: list[str]) -> Path:
    """Put recordings of a second behind each other, each with its own clock, as `cat` does."""
    whole = folder / f"joined{suffix}"
    parts = []
    for number, start in enumerate(starts):
        part = folder / f"{number}{suffix}"
        ffmpeg(*PICTURE, *TONE, *codecs, "-output_ts_offset", str(start), part)
        parts.append(part.read_bytes()[FLV_HEADER_BYTES if suffix == ".flv" and number else 0 :])
    whole.write_bytes(b"".join(parts))
    return whole


CASES = [
    *((".ts", starts, H264) for starts in [(5, 200), (200, 5), (5, 5), (5, 200, 5), (95_442, 50), (0, 50_000), (7,)]),
    *((suffix, starts, MPEG2) for suffix in (".ts", ".mpg") for starts in [(5, 200), (200, 5), (5, 5), (7,)]),
    *((".flv", starts, H264) for starts in [(0, 0), (50, 0), (0, 0, 0), (7,)]),
]


@pytest.mark.parametrize(("suffix", "starts", "codecs"), CASES, ids=str)
def test_the_length_is_that_of_the_pictures(
    tmp_path: Path, suffix: str, starts: tuple[int, ...], codecs: list[str]
) -> None:
    with opened(joined(tmp_path, suffix, starts, codecs)) as file, open_video(file) as video:
        frames = list(video.frames())
        shown = float((frames[-1].pts + frames[-1].duration - frames[0].pts) * video.time_base)
        assert len(frames) in range(25 * len(starts) - 1, 25 * len(starts) + 1)  # libav's parser may join two at a seam
        assert video.duration_seconds == pytest.approx(shown, abs=0.05)
        assert shown == pytest.approx(len(starts), abs=0.1)
        assert video.frame_count == pytest.approx(25 * len(starts), abs=2)


@pytest.mark.parametrize("suffix", [".ts", ".mpg", ".flv"])
def test_a_length_that_is_not_found_soon_is_unknown(tmp_path: Path, suffix: str) -> None:
    source = joined(tmp_path, suffix, (0, 0), MPEG2 if suffix == ".mpg" else H264)
    with opened(source) as file, open_video(file, patience=0) as video:
        assert video.duration_seconds == 0
        assert len(list(video.frames())) in {49, 50}


async def test_acceptance_gets_the_length(tmp_path: Path) -> None:
    pool = ProbePool(Settings(media_roots=(tmp_path,)))
    try:
        header = await pool.probe(joined(tmp_path, ".ts", (5, 200), H264), "video")
    finally:
        await pool.close()
    assert header.duration_seconds == pytest.approx(2, abs=0.05)


def test_joined_flv_plays_on_in_sync(tmp_path: Path) -> None:
    source = joined(tmp_path, ".flv", (0, 0), H264)
    with opened(source) as file, open_video(file) as video, output_in(tmp_path) as target:
        settings = Settings(encoding=EncodingSettings(preset="ultrafast"))
        size, label = (video.width, video.height), Label("tests", "joined")
        report = encode(video.frames(), target, like=video, size=size, settings=settings, label=label)
        result = tmp_path / target.publish()
    assert report.frames == 50
    with opened(result) as file, open_video(file) as video:
        assert max(float(frame.duration * video.time_base) for frame in video.frames()) < 0.1
        assert video.duration_seconds == pytest.approx(2, abs=0.05)


def test_a_long_still_in_flv_is_no_jump(tmp_path: Path) -> None:
    source = clip(
        tmp_path / "still.flv",
        size=(64, 36),
        sound=None,
        options=["-vf", "setpts='PTS+gte(N,12)*60/TB'", "-fps_mode", "vfr", "-pix_fmt", "yuv420p"],
    )
    with opened(source) as file, open_video(file) as video:
        frames = list(video.frames())
        assert max(float(frame.duration * video.time_base) for frame in frames) == pytest.approx(60, abs=0.1)
        assert video.duration_seconds == pytest.approx(61, abs=0.1)
