"""One request through the pipeline: the files that come out, and what the task's details say."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image as Pillow

from services.creation.acceptance import check_source, inputs
from services.creation.model import load
from services.creation.pipeline import create_video
from services.creation.request import CreationRequest
from shared.arrays import Image
from shared.errors import JobFailed, Rejected, UnreadableMedia
from shared.media.media_info import MediaHeader
from shared.pipeline.direct_job import DirectJob
from shared.settings import CreationSettings, EncodingSettings, Settings
from tests.support import clips

SETTINGS = Settings(encoding=EncodingSettings(preset="ultrafast"))


@dataclass(frozen=True)
class Made:
    """A finished clip as a player sees it."""

    path: Path
    details: dict[str, Any]
    frames: list[Image]
    seconds: list[Fraction]
    has_audio: bool
    pixel_format: str
    rate: Fraction


Create = Callable[..., Made]


@pytest.fixture
def create(tmp_path: Path) -> Create:
    def run(settings: Settings = SETTINGS, **fields: object) -> Made:
        folder = tmp_path / "out"
        folder.mkdir(exist_ok=True)
        request = CreationRequest.model_validate({"task_id": 1, "dist_dir": str(folder), "seed": 5} | fields)
        job = DirectJob(folder, settings, service="creation")
        result = job.run(create_video, request, load(settings))
        assert job.progress == 1.0
        return watched(folder / result.video, job.details)

    return run


def watched(path: Path, details: dict[str, Any]) -> Made:
    with av.open(path) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        return Made(
            path=path,
            details=details,
            frames=[np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in frames],
            seconds=[Fraction(frame.pts or 0) * (frame.time_base or 1) for frame in frames],
            has_audio=bool(container.streams.audio),
            pixel_format=stream.codec_context.pix_fmt or "",
            rate=stream.average_rate or Fraction(0),
        )


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    across, down = np.meshgrid(np.arange(300), np.arange(200))
    image = np.stack([across % 256, down, (across * down) % 256], axis=-1).astype(np.uint8)
    path = tmp_path / "图片 🎨.png"
    Pillow.fromarray(image).save(path)
    return path


@pytest.mark.parametrize("fps", [8, 24])
def test_a_picture_becomes_three_seconds_at_the_asked_rate(create: Create, picture: Path, fps: int) -> None:
    made = create(category=2, image_url=str(picture), fps=fps, camera="pan right", aspect_ratio="16:9")
    assert made.rate == fps
    assert len(made.frames) == 3 * fps
    assert made.seconds == [Fraction(index, fps) for index in range(3 * fps)]
    assert made.frames[0].shape == (576, 1024, 3)
    assert made.pixel_format == "yuv420p"
    content = made.path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_one_seed_gives_one_clip_and_another_seed_another(create: Create, picture: Path) -> None:
    one, again, other = (create(category=2, image_url=str(picture), fps=8, seed=seed) for seed in (9, 9, 10))
    assert all(np.array_equal(a, b) for a, b in zip(one.frames, again.frames, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one.frames, other.frames, strict=True))


def test_a_seed_of_zero_is_drawn_and_told(create: Create, picture: Path) -> None:
    made = create(category=2, image_url=str(picture), fps=8, seed=0)
    assert made.details["seed"] > 0


def test_fields_that_the_engine_cannot_use_are_told(create: Create, picture: Path) -> None:
    made = create(category=2, image_url=str(picture), fps=8, prompt_cn="猫", guidance=20)
    assert made.details["engine"] == "classic"
    assert made.details["ignored_fields"] == ["prompt_cn", "guidance"]


@pytest.mark.parametrize(
    ("fields", "size"),
    [({}, (960, 640)), ({"aspect_ratio": "1:1"}, (768, 768)), ({"aspect_ratio": "9:16"}, (576, 1024))],
)
def test_a_picture_keeps_its_shape_unless_another_is_asked(
    create: Create, picture: Path, fields: dict[str, str], size: tuple[int, int]
) -> None:
    made = create(category=2, image_url=str(picture), fps=8, **fields)
    assert made.frames[0].shape[1::-1] == size


def test_a_turned_photograph_is_seen_upright(create: Create, picture: Path, tmp_path: Path) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6
    turned = tmp_path / "turned.jpg"
    Pillow.open(picture).save(turned, exif=exif)
    made = create(category=2, image_url=str(turned), fps=8)
    assert made.frames[0].shape[0] > made.frames[0].shape[1]


def test_pictures_of_every_kind_are_read(create: Create, tmp_path: Path) -> None:
    cmyk, deep = tmp_path / "print.jpg", tmp_path / "deep.png"
    Pillow.new("CMYK", (64, 48), (0, 200, 200, 0)).save(cmyk)
    Pillow.fromarray(np.full((48, 64), 40_000, np.uint16)).save(deep)
    assert create(category=2, image_url=str(cmyk), fps=8).frames
    assert create(category=2, image_url=str(deep), fps=8).frames


def test_an_animation_is_a_video_and_no_picture(create: Create, tmp_path: Path) -> None:
    moving = tmp_path / "moving.gif"
    red, blue = Pillow.new("RGB", (64, 48), "red"), Pillow.new("RGB", (64, 48), "blue")
    red.save(moving, save_all=True, append_images=[blue], duration=500)
    with pytest.raises(UnreadableMedia, match="is an animation"):
        create(category=2, image_url=str(moving), fps=8)
    made = create(category=3, video_url=str(moving), fps=8)
    assert made.frames[0][..., 0].mean() > 200
    assert made.frames[-1][..., 2].mean() > 200


@pytest.mark.parametrize("style", [0, 1, 2])
def test_a_video_keeps_its_length_and_its_sound_in_every_style(create: Create, tmp_path: Path, style: int) -> None:
    source = clips.clip(tmp_path / "in.mp4", seconds=1, rate="30")
    made = create(category=3, video_url=str(source), video_style=style, fps=12)
    assert made.rate == 12
    assert abs(len(made.frames) - 12) <= 1
    assert made.has_audio
    assert made.frames[0].shape[1::-1] == (1024, 576)
    assert made.pixel_format == "yuv420p"


def test_a_slow_video_gets_real_motion_between_its_frames(create: Create, tmp_path: Path) -> None:
    source = clips.clip(tmp_path / "in.mp4", seconds=0.5, rate="8", sound=None, size=(64, 48))
    made = create(category=3, video_url=str(source), fps=16, video_style=0)
    assert len(made.frames) == 8
    assert all((a != b).any() for a, b in zip(made.frames[:6], made.frames[1:7], strict=True))


def test_pixel_art_survives_the_encoder(create: Create, tmp_path: Path) -> None:
    source = clips.clip(tmp_path / "in.mp4", seconds=0.5, sound=None)
    made = create(settings=Settings(), category=3, video_url=str(source), video_style=2, fps=8)
    for frame in made.frames:
        blocks = frame.astype(int).reshape(72, 8, 128, 8, 3)
        spread = np.ptp(blocks, axis=(1, 3)).max(axis=-1)
        assert (spread <= 24).mean() >= 0.95


def test_a_camera_moves_over_a_video_too(create: Create, tmp_path: Path) -> None:
    source = clips.clip(tmp_path / "in.mp4", seconds=1, sound=None, source="smptebars")
    still = create(category=3, video_url=str(source), fps=8)
    panned = create(category=3, video_url=str(source), fps=8, camera="pan left", movement=4)
    assert np.abs(still.frames[0].astype(int) - still.frames[-1]).mean() < 3
    assert np.abs(panned.frames[0].astype(int) - panned.frames[-1]).mean() > 6


def test_a_shape_of_pixels_in_the_container_alone_is_followed(create: Create, tmp_path: Path) -> None:
    source = tmp_path / "wide.webm"
    clips.ffmpeg("-f", "lavfi", "-i", "testsrc2=s=96x96:r=24:d=0.5", "-vf", "setsar=2", "-c:v", "libvpx-vp9", source)
    height, width = create(category=3, video_url=str(source), fps=8).frames[0].shape[:2]
    assert width == pytest.approx(2 * height, rel=0.05)


def test_a_turned_video_is_made_upright(create: Create, tmp_path: Path) -> None:
    source = clips.rotated(tmp_path / "turned.mp4", 90)
    made = create(category=3, video_url=str(source), fps=8)
    assert made.frames[0].shape[0] > made.frames[0].shape[1]
    with av.open(made.path) as container:
        assert next(container.decode(video=0)).rotation == 0


@pytest.mark.parametrize("degrees", [0, 90, 270])
def test_a_turned_and_mirrored_video_is_made_as_a_player_shows_it(create: Create, tmp_path: Path, degrees: int) -> None:
    source = clips.oriented(tmp_path / "turned.mp4", degrees, mirrored=True)
    shown = tmp_path / "shown.mp4"
    clips.ffmpeg("-i", source, "-an", "-crf", "5", shown)  # ffmpeg turns and mirrors it itself
    made, expected = (create(category=3, video_url=str(path), fps=8).frames[0].astype(int) for path in (source, shown))
    assert made.shape == expected.shape
    errors = [np.abs(made - other).mean() for other in (expected, expected[::-1], expected[:, ::-1])]
    assert errors[0] < 10 < min(errors[1:])  # twice converted to halved chroma, in different places


@pytest.mark.parametrize("odd", ["ten_bit", "odd_sized", "variable_rate", "late_picture", "with_companions"])
def test_odd_videos_become_plain_ones(create: Create, tmp_path: Path, odd: str) -> None:
    source = getattr(clips, odd)(tmp_path / ("in.mkv" if odd == "with_companions" else "in.mp4"))
    with av.open(source) as container:
        stream = container.streams.video[0]
        times = [frame.time for frame in container.decode(stream) if frame.time is not None]
    made = create(category=3, video_url=str(source), fps=8)
    assert made.pixel_format == "yuv420p"
    assert made.seconds == [Fraction(index, 8) for index in range(len(made.frames))]
    assert abs(len(made.frames) / 8 - max(times)) < 0.5
    assert made.frames[0].shape[0] % 16 == made.frames[0].shape[1] % 16 == 0


def test_a_second_attempt_makes_the_same_clip(tmp_path: Path, picture: Path) -> None:
    request = CreationRequest.model_validate(
        {"task_id": 1, "dist_dir": str(tmp_path), "category": 2, "image_url": str(picture), "fps": 8}
    )
    attempts = []
    for _ in range(2):
        job = DirectJob(tmp_path, SETTINGS, service="creation", context={"seed": 77})
        attempts.append(watched(tmp_path / job.run(create_video, request, load(SETTINGS)).video, job.details))
    assert [made.details["seed"] for made in attempts] == [77, 77]
    assert all(np.array_equal(a, b) for a, b in zip(attempts[0].frames, attempts[1].frames, strict=True))


def test_a_text_needs_a_model_and_leaves_nothing_behind(create: Create, tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="text-to-video"):
        create(category=1, prompt_cn="海边的猫")
    assert list((tmp_path / "out").iterdir()) == []


def test_what_is_no_picture_ends_the_job(create: Create, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"not a picture")
    with pytest.raises(UnreadableMedia):
        create(category=2, image_url=str(bad))


def test_a_video_beyond_the_limit_is_refused_with_the_limit() -> None:
    header = MediaHeader(kind="video", width=640, height=360, bit_depth=8, duration_seconds=31)
    with pytest.raises(Rejected, match=r"31\.0 s, the limit is 30 s \(KINORA_CREATION_MAX_SECONDS\)"):
        check_source({"video_url": header}, Settings())


def test_a_video_whose_header_lied_ends_at_the_limit(create: Create, tmp_path: Path) -> None:
    source = clips.clip(tmp_path / "in.mp4", seconds=1, sound=None, size=(64, 48))
    with pytest.raises(JobFailed, match=r"the limit is 0\.5 s"):
        create(settings=Settings(creation=CreationSettings(max_seconds=0.5)), category=3, video_url=str(source), fps=24)


def test_a_picture_of_one_pixel_is_refused() -> None:
    header = MediaHeader(kind="image", width=1, height=1, bit_depth=8)
    with pytest.raises(Rejected, match="image_url is 1x1 pixels"):
        check_source({"image_url": header}, Settings())


def test_a_text_is_refused_at_once_where_no_model_makes_clips_of_texts() -> None:
    request = CreationRequest.model_validate({"task_id": 1, "dist_dir": "/m", "category": 1, "prompt_cn": "猫"})
    with pytest.raises(Rejected, match=r"run `kinora weights pull wan-(draft|vace)-1\.3b`"):
        inputs(request, SETTINGS)


def test_a_drawn_path_moves_a_part_of_the_picture_for_three_seconds(create: Create, tmp_path: Path) -> None:
    ground = np.full((180, 320, 3), 200, np.uint8)
    ground[80:100, 70:90] = (200, 30, 30)
    Pillow.fromarray(ground).save(tmp_path / "square.png")
    points = [[[80, 90], [200, 90]]]
    made = create(category=2, image_url=str(tmp_path / "square.png"), fps=8, tracking_points=points, movement=3)
    assert len(made.frames) == 24
    assert made.details["ignored_fields"] == ["movement"]
    for frame, place in ((made.frames[0], 80), (made.frames[-1], 200)):
        red = frame[..., 0].astype(int) - frame[..., 1] > 80
        assert abs(np.nonzero(red)[1].mean() / frame.shape[1] * 320 - place) < 2


def test_a_camera_moves_over_a_picture_whose_parts_move(create: Create, picture: Path) -> None:
    points = [[0.5, 0.5], [0.6, 0.5]]
    made = create(category=2, image_url=str(picture), fps=8, tracking_points=points, camera="zoom in", movement=3)
    assert made.details["ignored_fields"] == []
    assert len(made.frames) == 24


def test_a_clip_lasts_as_long_as_asked(create: Create, picture: Path) -> None:
    assert len(create(category=2, image_url=str(picture), fps=8, duration=1.5).frames) == 12
