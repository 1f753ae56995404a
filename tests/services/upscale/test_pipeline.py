"""A video goes through a model frame by frame and keeps everything that is not its pictures."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from benchmarks.clips import write_clip
from services.upscale.model import load
from services.upscale.pipeline import upscale_video
from services.upscale.request import UpscaleRequest
from shared.arrays import Picture
from shared.errors import JobFailed
from shared.networks.compute import Compute, choose_compute
from shared.networks.upscaler import Upscaler
from shared.pipeline.direct_job import DirectJob
from shared.pipeline.job import JobStopped
from shared.settings import LimitSettings, Settings, UpscaleSettings
from tests.support.clips import from_pictures, ten_bit, variable_rate, without_length


class Enlarger:
    """The tiny model: repeats every pixel, and counts the frames that it was asked for."""

    name = "tiny"
    compute: Compute = choose_compute("cpu")

    def __init__(self) -> None:
        self.frames = 0

    def __call__(self, frame: Picture, ratio: int, between_windows: Callable[[float], None]) -> Picture:
        between_windows(0.0)
        self.frames += 1
        return frame.repeat(ratio, 0).repeat(ratio, 1)


def upscale(clip: Path, ratio: int, model: object, folder: Path) -> tuple[DirectJob, Path]:
    """Run the pipeline as a runner does."""
    job = DirectJob(folder, Settings(), service="upscale")
    request = UpscaleRequest(task_id=1, dist_dir=str(folder), video_url=str(clip), ratio=ratio)
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
    assert model.frames == 20
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
