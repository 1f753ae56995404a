"""A video goes through a model frame by frame and keeps everything that is not its pictures."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.clips import write_clip
from services.upscale.model import load
from services.upscale.pipeline import Done, enlarged, resized, upscale_video
from services.upscale.request import UpscaleRequest
from shared.arrays import Picture
from shared.errors import JobFailed
from shared.media.frame import Frame
from shared.networks.area import area_average
from shared.networks.changes import ChangedParts
from shared.networks.compute import choose_compute
from shared.networks.srvgg import SRVGG
from shared.networks.upscaler import Upscaler
from shared.pipeline.direct_job import DirectJob
from shared.pipeline.job import JobStopped
from shared.settings import LimitSettings, Settings, UpscaleSettings
from tests.support.clips import from_pictures, rotated, ten_bit, variable_rate, without_length
from tests.support.stand_in import StandIn


class Enlarger(StandIn):
    """The tiny model: repeats every pixel, and counts the frames that it was asked for."""

    def __init__(self) -> None:
        self.frames = 0

    def __call__(self, frame: Picture, ratio: int, between_windows: Callable[[float], None]) -> Picture:
        between_windows(0.0)
        self.frames += 1
        return frame.repeat(ratio, 0).repeat(ratio, 1)


def upscale(clip: Path, ratio: int | None, model: object, folder: Path, **sides: int) -> tuple[DirectJob, Path]:
    """Run the pipeline as a runner does."""
    job = DirectJob(folder, Settings(), service="upscale")
    request = UpscaleRequest(task_id=1, dist_dir=str(folder), video_url=str(clip), ratio=ratio, **sides)
    result = job.run(upscale_video, request, model)  # type: ignore[arg-type]  # the tiny model is callable alike
    return job, folder / result.video


def times(clip: Path) -> list[Fraction]:
    with av.open(clip) as container:
        base = container.streams.video[0].time_base or Fraction(1)
        stamps = [frame.pts * base for frame in container.decode(video=0) if frame.pts is not None]
    return [stamp - stamps[0] for stamp in stamps]


@pytest.mark.parametrize("ratio", [1, 2, 3, 4])
def test_the_size_is_exactly_ratio_times_the_source_s_and_every_time_is_kept(tmp_path: Path, ratio: int) -> None:
    clip = write_clip(tmp_path / "电影 🎬.mp4", size=(64, 48), frames=12, rate=Fraction(30000, 1001), sound=True)
    job, video = upscale(clip, ratio, Enlarger(), tmp_path / "out")
    with av.open(video) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (64 * ratio, 48 * ratio)
        assert len(container.streams.audio) == 1
    assert times(video) == times(clip)
    assert job.progress == 1


@pytest.mark.parametrize(
    ("sides", "stored", "pixel_shape"),
    [
        ({"width": 150}, (150, 112), None),
        ({"height": 72}, (96, 72), None),
        ({"width": 150, "height": 150}, (150, 150), Fraction(4, 3)),
        ({"width": 256, "height": 192}, (256, 192), None),
    ],
)
def test_an_exact_size_is_met_and_the_picture_keeps_its_shape(
    tmp_path: Path, sides: dict[str, int], stored: tuple[int, int], pixel_shape: Fraction | None
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", size=(64, 48), frames=3)
    job, video = upscale(clip, 2, Enlarger(), tmp_path / "out", **sides)
    with av.open(video) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == stored
        assert (stream.sample_aspect_ratio or 1) == (pixel_shape or 1)
    assert job.details["size"] == "{}x{}".format(*stored)
    assert job.details["ignored_fields"] == ["ratio"]
    assert job.details.get("pixel_shape") == ("4:3" if pixel_shape else None)


def test_an_exact_size_is_that_of_the_turned_picture(tmp_path: Path) -> None:
    job, video = upscale(rotated(tmp_path / "phone.mp4", 90), None, Enlarger(), tmp_path / "out", width=120)
    with av.open(video) as container:
        frame = next(container.decode(video=0))
        assert (frame.width, frame.height, round(frame.rotation) % 360) == (214, 120, 270)
    assert job.details["size"] == "120x214"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_size_between_ratios_is_the_exact_area_average(dtype: type[np.uint8 | np.uint16]) -> None:
    largest = np.iinfo(dtype).max
    picture = np.random.default_rng(1).integers(0, largest, (36, 64, 3), dtype, endpoint=True)
    rows, columns = area_average(36, 25).double().numpy(), area_average(64, 45).double().numpy()
    expected = np.einsum("ai,bj,ijc->abc", rows, columns, picture.astype(float))
    ours = resized(picture, (45, 25))
    assert ours.dtype == picture.dtype
    assert np.abs(ours - expected).max() <= 0.51 * (1 if dtype == np.uint8 else 2)  # fp32 of 16 bits


def test_variable_frame_times_are_kept(tmp_path: Path) -> None:
    clip = variable_rate(tmp_path / "vfr.mp4")
    _, video = upscale(clip, 2, Enlarger(), tmp_path / "out")
    assert [round(float(stamp), 3) for stamp in times(video)] == [round(float(stamp), 3) for stamp in times(clip)]


def test_ten_bits_stay_ten_bits(tmp_path: Path) -> None:
    _, video = upscale(ten_bit(tmp_path / "ten.mp4"), 2, Enlarger(), tmp_path / "out")
    with av.open(video) as container:
        assert container.streams.video[0].format.components[0].bits == 10


def test_identical_frames_in_a_row_are_computed_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    stills = [rng.integers(0, 255, (48, 64, 3), np.uint8) for _ in range(3)]
    pictures = [still for still in stills for _ in range(5)]
    clip = from_pictures(tmp_path / "held.mp4", pictures, crf=0)  # lossless, so that equal pictures decode equal
    model = Enlarger()
    _, video = upscale(clip, 2, model, tmp_path / "out")
    assert model.frames == 3
    assert len(times(video)) == 15


def test_identical_consecutive_frames_are_computed_once_and_keep_their_times(tmp_path: Path) -> None:
    pictures = [np.full((2, 2, 3), value, np.uint8) for value in (1, 1, 1, 2, 2, 1)]
    computed: list[int] = []

    class Double(StandIn):
        def __call__(self, picture: Picture, _ratio: int, _between_windows: Callable[[float], None]) -> Picture:
            computed.append(int(picture[0, 0, 0]))
            return picture * 2

    frames = [Frame(picture, pts, 1) for pts, picture in enumerate(pictures)]
    parts = ChangedParts(Double(), 1)  # type: ignore[arg-type]  # callable alike
    done = Done(DirectJob(tmp_path, Settings()), None)
    results = list(enlarged(iter(frames), parts, 1, done))
    assert computed == [1, 2, 1]
    assert [int(frame.image[0, 0, 0]) for frame in results] == [2, 2, 2, 4, 4, 2]
    assert [frame.pts for frame in results] == [0, 1, 2, 3, 4, 5]


def test_black_bars_and_a_still_half_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    pictures = []
    for _ in range(4):
        picture = np.zeros((96, 128, 3), np.uint8)
        picture[24:72, :64] = rng.integers(0, 255, (48, 64, 3))
        pictures.append(picture)
    clip = from_pictures(tmp_path / "film.mp4", pictures, crf=0)
    torch.manual_seed(1)
    network = SRVGG(nn.Sequential(nn.Conv2d(3, 48, 3, padding=1)))
    seen: list[int] = []
    whole_frames = Upscaler.__call__

    def noted(self: Upscaler, frame: Picture, ratio: int, between_windows: Callable[[float], None]) -> Picture:
        seen.append(frame.shape[0] * frame.shape[1])
        return whole_frames(self, frame, ratio, between_windows)

    monkeypatch.setattr(Upscaler, "__call__", noted)
    _, ours = upscale(clip, 2, Upscaler(network, choose_compute("cpu")), tmp_path / "out")
    assert seen[0] == 96 * 128
    assert all(pixels < 96 * 128 / 2 for pixels in seen[1:])  # the network's reach, and the chroma's, included
    monkeypatch.setattr(Upscaler, "computes_parts", False)
    _, whole = upscale(clip, 2, Upscaler(network, choose_compute("cpu")), tmp_path / "whole")
    for one, other in zip(decoded(ours), decoded(whole), strict=True):
        assert np.abs(one.astype(int) - other).max() <= 2  # rounding, through two encoders


def decoded(clip: Path) -> list[Picture]:
    with av.open(clip) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_the_task_s_details_name_model_engine_and_encoder(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", size=(64, 48), frames=3)
    job, _ = upscale(clip, 2, Enlarger(), tmp_path / "out")
    assert job.details["model"] == "tiny"
    assert job.details["engine"].startswith("cpu ")
    assert job.details["encoder"]
    assert job.details["lost"] == []


def test_a_failure_in_the_model_leaves_nothing_behind(tmp_path: Path) -> None:
    class Failing(Enlarger):
        def __call__(self, frame: Picture, ratio: int, between_windows: Callable[[float], None]) -> Picture:
            if self.frames == 2:
                raise JobStopped
            return super().__call__(frame, ratio, between_windows)

    clip = write_clip(tmp_path / "clip.mp4", size=(64, 48), frames=6)
    with pytest.raises(JobStopped):
        upscale(clip, 2, Failing(), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_progress_rises_within_a_large_frame(tmp_path: Path) -> None:
    class InFour(Enlarger):
        def __call__(self, frame: Picture, ratio: int, between_windows: Callable[[float], None]) -> Picture:
            for window in range(4):
                between_windows(window / 4)
            return frame.repeat(ratio, 0).repeat(ratio, 1)

    clip = write_clip(tmp_path / "clip.mp4", size=(64, 48), frames=3)
    seen: list[float] = []
    job = DirectJob(tmp_path / "out", Settings(), on_progress=seen.append)
    request = UpscaleRequest(task_id=1, dist_dir=str(tmp_path / "out"), video_url=str(clip), ratio=2)
    job.run(upscale_video, request, InFour())  # type: ignore[arg-type]  # the tiny model is callable alike
    assert sorted({round(share * 12) for share in seen}) == list(range(13))
    assert seen == sorted(seen)


def test_frames_beyond_the_limit_of_work_end_the_task_where_the_container_told_no_number(tmp_path: Path) -> None:
    clip = without_length(tmp_path / "live.mkv", frames=48, size=(64, 36))
    settings = Settings(limits=LimitSettings(max_task_megapixels=1.32))
    job = DirectJob(tmp_path / "out", settings)
    request = UpscaleRequest(task_id=1, dist_dir=str(tmp_path / "out"), video_url=str(clip), ratio=2)
    model = Enlarger()
    with pytest.raises(JobFailed, match=r"live\.mkv is 1\.38 megapixels of work or more; .* allows 1\.32 a task"):
        job.run(upscale_video, request, model)  # type: ignore[arg-type]  # the tiny model is callable alike
    assert model.frames <= 20  # those that repeat the one before are not computed
    assert list((tmp_path / "out").iterdir()) == []


def test_the_real_model_is_chosen_by_the_setting_and_runs_end_to_end(tmp_path: Path) -> None:
    model = load(Settings(device="cpu"))
    assert isinstance(model, Upscaler)
    assert model.name == "realesr-animevideov3"
    clip = write_clip(tmp_path / "clip.mp4", size=(64, 48), frames=4)
    job, video = upscale(clip, 3, model, tmp_path / "out")
    assert len(times(video)) == 4
    assert job.details["model"] == "realesr-animevideov3"
    assert load(Settings(device="cpu", upscale=UpscaleSettings(model="x4plus-anime"))).overlap == 48
