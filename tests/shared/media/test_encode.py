"""What the encoder writes: the frames it got, at their times, in a file that players and streams take."""

import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.stream import VideoStream

from shared.errors import JobFailed
from shared.files.handles import OutputFile
from shared.media.decode import VideoSource, open_video
from shared.media.encode import EncodeReport, encode
from shared.media.frame import Frame
from shared.media.orientation import Orientation
from shared.media.provenance import Label
from shared.pipeline.job import JobStopped
from shared.settings import EncodingSettings, Settings
from tests.support import clips
from tests.support.clips import IRREGULAR, Pixels, clip, opened, output_in

LABEL = Label("tests", "encode")
SETTINGS = Settings()


def rewrite(source: Path, folder: Path, settings: Settings = SETTINGS) -> tuple[Path, EncodeReport]:
    """One pass through decoder and encoder, nothing in between."""
    with opened(source) as file, open_video(file) as video, output_in(folder) as target:
        size = video.width, video.height
        report = encode(video.frames(), target, like=video, size=size, settings=settings, label=LABEL)
        return folder / target.publish(), report


def instants(path: Path) -> list[tuple[Fraction, Fraction]]:
    """When each frame is shown, and for how long, in seconds."""
    with opened(path) as file, open_video(file) as video:
        return [(frame.pts * video.time_base, frame.duration * video.time_base) for frame in video.frames()]


def made(count: int, *, size: tuple[int, int] = (64, 48)) -> Iterator[Frame]:
    """Frames from nothing, each of one grey."""
    for number in range(count):
        yield Frame(np.full((size[1], size[0], 3), 16 * number % 256, np.uint8), number, 1)


def write_made(
    target: OutputFile,
    frames: Iterator[Frame],
    size: tuple[int, int] = (64, 48),
    *,
    settings: Settings = SETTINGS,
    frame_rate: Fraction | None = None,
) -> EncodeReport:
    return encode(frames, target, like=None, size=size, settings=settings, label=LABEL, frame_rate=frame_rate)


def encoding_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name in {"encode", "decode"}]


@contextmanager
def video_of(path: Path) -> Iterator[VideoStream]:
    with av.open(str(path)) as container:
        yield container.streams.video[0]


@pytest.mark.parametrize(
    "name",
    [
        "film.mp4",
        "film.mkv",
        "film.mov",
        "film.ts",
        "film.webm",
        "film.avi",
        "vfr.mkv",
        "vfr.mp4",
        "late.mp4",
        "open.mp4",
    ],
)
def test_every_frame_keeps_its_time_and_its_duration(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    match path.stem, path.suffix:
        case "vfr", _:
            clips.variable_rate(path)
        case "late", _:
            clips.late_picture(path)
        case "open", _:
            clips.open_gop(path)
        case _, ".webm":
            clip(path, rate="24000/1001", codec="libvpx-vp9", sound="libopus")
        case _, ".avi":
            clip(path, rate="24000/1001", codec="mjpeg", sound="mp3")
        case _:
            clip(path, rate="24000/1001")
    result, report = rewrite(path, tmp_path)
    before = instants(path)
    assert instants(result) == before
    assert report.frames == len(before)
    assert report.duration_seconds == pytest.approx(float(sum(before[-1])))
    assert report.lost == []


def test_a_variable_rate_is_not_evened_out(tmp_path: Path) -> None:
    result, _ = rewrite(clips.variable_rate(tmp_path / "vfr.mkv", last=300), tmp_path)
    shown = instants(result)
    assert [pts * 1000 for pts, _ in shown] == list(IRREGULAR)
    assert shown[-1][1] == Fraction(300, 1000)


@pytest.mark.parametrize(
    "milliseconds", [(0, 500, 540, 580, 620, 660), (0, 40, 80, 120, 620, 630), (0, 1, 2, 3, 900, 1900), (0, 900), (0,)]
)
def test_uneven_beginnings_and_ends_keep_the_last_duration(tmp_path: Path, milliseconds: tuple[int, ...]) -> None:
    source = clips.variable_rate(tmp_path / "uneven.mkv", milliseconds=milliseconds, last=120)
    result, _ = rewrite(source, tmp_path)
    assert instants(result) == instants(source)


def test_the_frame_rate_is_the_fraction_it_was(tmp_path: Path) -> None:
    result, _ = rewrite(clip(tmp_path / "film.mp4", rate="24000/1001"), tmp_path)
    with video_of(result) as stream:
        assert stream.average_rate == Fraction(24000, 1001)


def test_pictures_stay_what_they_were(tmp_path: Path) -> None:
    pictures = [clips.pan_picture(4 * n) for n in range(10)]
    source = clips.from_pictures(tmp_path / "pan.mp4", pictures)
    result, _ = rewrite(source, tmp_path)
    with opened(source) as a, open_video(a) as before, opened(result) as b, open_video(b) as after:
        for was, now in zip(before.frames(), after.frames(), strict=True):
            error = np.mean((was.image.astype(float) - now.image) ** 2)
            assert 10 * np.log10(255**2 / error) > 33


def test_interpolated_frames_get_their_own_times(tmp_path: Path) -> None:
    """Twice the frames at twice the rate in half the unit; the sound stays where it was."""
    source = clip(tmp_path / "film.mp4", rate="24000/1001")

    def doubled(video: VideoSource) -> Iterator[Frame]:
        for frame in video.frames():
            yield Frame(frame.image, frame.pts * 2, frame.duration)
            yield Frame(frame.image, frame.pts * 2 + frame.duration, frame.duration)

    with opened(source) as file, open_video(file) as video, output_in(tmp_path) as target:
        encode(
            doubled(video), target, like=video, size=(160, 90), settings=SETTINGS, label=LABEL,
            frame_rate=video.frame_rate * 2, time_base=video.time_base / 2,
        )  # fmt: skip
        result = tmp_path / target.publish()
    shown = instants(result)
    assert [pts for pts, _ in shown] == [Fraction(1001 * n, 48000) for n in range(len(shown))]
    assert len(shown) == 2 * len(instants(source))
    assert sum(shown[-1]) == sum(instants(source)[-1])
    with video_of(result) as stream:
        assert stream.average_rate == Fraction(48000, 1001)


def test_a_clip_can_be_made_from_nothing(tmp_path: Path) -> None:
    with output_in(tmp_path, "做的") as target:
        report = write_made(target, made(24), frame_rate=Fraction(8))
        result = tmp_path / target.publish()
    assert (report.frames, report.width, report.height, report.duration_seconds) == (24, 64, 48, 3.0)
    assert instants(result) == [(Fraction(n, 8), Fraction(1, 8)) for n in range(24)]
    with video_of(result) as stream:
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.codec_context.colorspace == 6
    with opened(result) as file, open_video(file) as video:
        assert not video.has_audio
        assert [round(frame.image.mean() / 16) for frame in video.frames()][:5] == [0, 1, 2, 3, 4]


def test_an_odd_side_grows_by_its_own_last_line(tmp_path: Path) -> None:
    result, report = rewrite(clips.odd_sized(tmp_path / "odd.mp4", size=(175, 143)), tmp_path)
    assert (report.width, report.height) == (176, 144)
    with opened(result) as file, open_video(file) as video:
        image = video.frame_at(3).image.astype(int)
    assert image.shape == (144, 176, 3)
    assert np.abs(image[-1] - image[-2]).mean() < 6
    assert np.abs(image[:, -1] - image[:, -2]).mean() < 6


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_is_kept(tmp_path: Path, degrees: int) -> None:
    result, _ = rewrite(clips.rotated(tmp_path / "phone.mp4", degrees), tmp_path)
    with opened(result) as file, open_video(file) as video:
        assert (video.width, video.height, video.orientation) == (160, 90, Orientation(degrees))


def test_the_shape_of_pixels_is_kept(tmp_path: Path) -> None:
    source = clip(tmp_path / "dv.mp4", options=["-vf", "setsar=16/15"])
    result, _ = rewrite(source, tmp_path)
    with video_of(result) as stream:
        assert stream.codec_context.sample_aspect_ratio == Fraction(16, 15)


@pytest.mark.parametrize(
    ("name", "codec", "told"),
    [
        ("film.webm", ["libvpx-vp9", "-deadline", "realtime"], Fraction(4, 3)),
        ("film.mkv", ["libsvtav1", "-preset", "12"], Fraction(4, 3)),
        ("film.mp4", ["libsvtav1", "-preset", "12"], Fraction(4, 3)),
        ("film.mkv", ["ffv1"], Fraction(4, 3)),
        ("film.mov", ["prores_ks"], Fraction(4, 3)),
        ("film.asf", ["wmv2"], Fraction(4, 3)),
        ("film.ts", ["libx264"], Fraction(4, 3)),
    ],
    ids=str,
)
def test_a_shape_of_pixels_that_the_container_tells_is_kept(
    tmp_path: Path, name: str, codec: list[str], told: Fraction
) -> None:
    ratio = f"{told.numerator}/{told.denominator}"
    source = tmp_path / name
    clips.ffmpeg("-f", "lavfi", "-i", "testsrc2=s=192x108:r=24:d=0.2", "-vf", f"setsar={ratio}", "-c:v", *codec, source)
    with opened(source) as file, open_video(file) as video:
        assert video.sample_aspect_ratio == told
    result, _ = rewrite(source, tmp_path)
    with opened(result) as file, open_video(file) as video:
        assert video.sample_aspect_ratio == told


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_the_container_overrides_the_shape_that_the_codec_tells(tmp_path: Path, suffix: str) -> None:
    inside = clip(tmp_path / "inside.mp4", options=["-vf", "setsar=16/15"])
    source = tmp_path / f"outside{suffix}"
    clips.ffmpeg("-i", inside, "-c", "copy", "-aspect", "4:3", source)  # 160x90 pixels of 3/4
    result, _ = rewrite(source, tmp_path)
    with video_of(result) as stream:
        assert stream.sample_aspect_ratio == stream.codec_context.sample_aspect_ratio == Fraction(3, 4)


def test_ten_bits_stay_ten_bits(tmp_path: Path) -> None:
    result, _ = rewrite(clips.ten_bit(tmp_path / "hdr.mp4"), tmp_path)
    with video_of(result) as stream:
        context = stream.codec_context
        assert context.pix_fmt == "yuv420p10le"
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (9, 9, 16, 1)


@pytest.mark.parametrize(
    ("encoder", "codec", "tag"),
    [("auto", "h264", "avc1"), ("x264", "h264", "avc1"), ("x265", "hevc", "hvc1"), ("svtav1", "av1", "av01")],
)
def test_the_encoder_is_the_one_that_was_asked_for(tmp_path: Path, encoder: str, codec: str, tag: str) -> None:
    settings = Settings(encoding=EncodingSettings(encoder=encoder, preset="ultrafast"), device="cpu")
    result, report = rewrite(clips.variable_rate(tmp_path / "vfr.mkv"), tmp_path, settings)
    with video_of(result) as stream:
        assert (stream.codec_context.codec.canonical_name, stream.codec_context.codec_tag) == (codec, tag)
    assert [pts * 1000 for pts, _ in instants(result)] == list(IRREGULAR)
    assert report.frames == len(IRREGULAR)


@pytest.mark.needs_no_gpu
def test_hardware_that_is_not_there_is_named(tmp_path: Path) -> None:
    with output_in(tmp_path) as target, pytest.raises(JobFailed, match="nvenc"):
        write_made(target, made(3), settings=Settings(encoding=EncodingSettings(encoder="nvenc")))


def test_an_unknown_preset_is_named_with_the_known_ones(tmp_path: Path) -> None:
    with output_in(tmp_path) as target, pytest.raises(JobFailed, match=r"hasty.*veryfast"):
        write_made(target, made(3), settings=Settings(encoding=EncodingSettings(preset="hasty")))


def test_a_player_can_start_before_the_whole_file_is_there(tmp_path: Path) -> None:
    result, _ = rewrite(clip(tmp_path / "clip.mp4"), tmp_path)
    data = result.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("problem", [ValueError, JobStopped, KeyboardInterrupt])
def test_a_failure_in_the_frames_ends_every_thread_and_comes_through(
    tmp_path: Path, problem: type[BaseException]
) -> None:
    def stopping(video: VideoSource) -> Iterator[Frame]:
        for number, frame in enumerate(video.frames()):
            if number == 20:
                raise problem
            yield frame

    def run(video: VideoSource, target: OutputFile) -> None:
        encode(stopping(video), target, like=video, size=(160, 90), settings=SETTINGS, label=LABEL)

    source = clip(tmp_path / "clip.mp4", seconds=4)
    with opened(source) as file, output_in(tmp_path) as target, pytest.raises(problem), open_video(file) as video:
        run(video, target)
    assert encoding_threads() == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4"]


def test_a_failing_encoder_stops_the_frames(tmp_path: Path) -> None:
    taken = 0

    def counted() -> Iterator[Frame]:
        nonlocal taken
        for frame in made(1000):
            taken += 1
            yield frame if taken < 10 else Frame(np.zeros((2, 2, 3), np.uint8), frame.pts, 1)

    with output_in(tmp_path) as target, pytest.raises(ValueError, match="2x2"):
        write_made(target, counted())
    assert taken < 30
    assert encoding_threads() == []


def test_a_full_disk_is_one_clear_sentence(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    with OutputFile(os.open("/dev/full", os.O_RDWR), "full", ".mp4", folder=folder) as target:
        noise = np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)
        frames = (Frame(noise + np.uint8(n), n, 1) for n in range(200))
        with pytest.raises(JobFailed) as problem:
            write_made(target, frames)
    assert problem.value.key == "no_room"
    assert encoding_threads() == []


@pytest.mark.parametrize("missing", [1, 700, 20_000, 90_000])
def test_room_that_ends_at_the_very_end_is_noticed_too(tmp_path: Path, missing: int) -> None:
    noise = [np.random.default_rng(seed).integers(0, 256, (96, 128, 3), np.uint8) for seed in range(3)]

    def write() -> int:
        with output_in(tmp_path) as target:
            settings = Settings(encoding=EncodingSettings(preset="ultrafast"))
            write_made(target, (Frame(noise[n % 3], n, 1) for n in range(20)), (128, 96), settings=settings)
            return os.fstat(target.fd).st_size

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = write()
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - missing, hard))
    try:
        with pytest.raises(JobFailed) as problem:
            write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert problem.value.key == "no_room"


def test_no_frames_are_no_result(tmp_path: Path) -> None:
    with output_in(tmp_path) as target, pytest.raises(JobFailed, match="no frame"):
        write_made(target, made(0))


def test_a_result_beyond_any_encoder_is_refused(tmp_path: Path) -> None:
    wide: Pixels = np.zeros((16, 20000, 3), np.uint8)
    with output_in(tmp_path) as target, pytest.raises(JobFailed, match="20000x16"):
        write_made(target, iter([Frame(wide, 0, 1)]), size=(20000, 16))


def test_only_a_few_pictures_wait_for_the_encoder(tmp_path: Path) -> None:
    """The frames are pulled as the encoder takes them: what is alive at once does not grow with the clip."""
    alive = most = 0

    class Counted(np.ndarray):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def frames() -> Iterator[Frame]:
        nonlocal alive, most
        for number in range(150):
            picture = np.full((48, 64, 3), number, np.uint8).view(Counted)
            alive += 1
            most = max(most, alive)
            yield Frame(picture, number, 1)

    with output_in(tmp_path) as target:
        write_made(target, frames())
    assert most < 20
