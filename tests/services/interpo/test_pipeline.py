"""The interpolation pipeline on real files: every count, every time, what is held, and what memory it takes."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from benchmarks.clips import write_clip
from services.interpo.model import load
from services.interpo.pipeline import interpolate_video
from services.interpo.request import InterpoRequest
from shared.arrays import Picture
from shared.errors import JobFailed, UnreadableMedia
from shared.networks.compute import Compute
from shared.networks.engines import Engine
from shared.pipeline.direct_job import DirectJob
from shared.process.malloc import KEEP_FREED_MEMORY
from shared.settings import EncodingSettings, LimitSettings, Settings
from tests.support import clips

SETTINGS = Settings(device="cpu", encoding=EncodingSettings(preset="ultrafast", crf=4))
MEMORY_LIMIT = 1350  # MB at 1280x720 with two pairs at a time, docs/interpo.md


class Blend:
    """The only double: a model that mixes, and counts what it was asked."""

    name = "blend"
    engine = Engine(Compute(torch.device("cpu"), torch.float32))

    def pairs_at_once(self, _pixels: int) -> int:
        return 2

    def __init__(self) -> None:
        self.calls: list[Sequence[float]] = []

    def __call__(self, first: Picture, second: Picture, timesteps: Sequence[float], /) -> list[Picture]:
        self.calls.append(timesteps)
        return [((1 - at) * first + at * second).astype(first.dtype) for at in timesteps]


Run = Callable[..., tuple[Path, DirectJob]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Interpolate a file; the result's path and the job."""

    def work(source: Path, rate: int | None, model: Any = None, *, fps: str = "") -> tuple[Path, DirectJob]:
        job = DirectJob(tmp_path / "out", SETTINGS, service="interpo")
        request = InterpoRequest(task_id=1, video_url=str(source), rate=rate, fps=fps, dist_dir=str(tmp_path / "out"))
        result = job.run(interpolate_video, request, model or Blend())
        return tmp_path / "out" / result.video, job

    return work


def times(path: Path) -> list[Fraction]:
    """When each frame is shown, in seconds, and last when the video ends."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        shown = [frame.pts * stream.time_base for frame in container.decode(stream) if frame.pts is not None]
        assert stream.duration is not None
        return [*shown, stream.duration * stream.time_base]


def pictures(path: Path) -> list[Picture]:
    with av.open(path) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.mark.parametrize("rate", [2, 4, 6, 8])
@pytest.mark.parametrize("frame_rate", [Fraction(25), Fraction(24000, 1001)], ids=str)
def test_a_constant_rate_is_multiplied_to_the_fraction(
    run: Run, tmp_path: Path, rate: int, frame_rate: Fraction
) -> None:
    source = write_clip(tmp_path / "in.mp4", size=(48, 32), frames=5, rate=frame_rate)
    model = Blend()
    result, job = run(source, rate, model)
    assert times(result) == [place / (frame_rate * rate) for place in range(5 * rate + 1)]
    assert model.calls == [[place / rate for place in range(1, rate)]] * 4
    assert job.details["frames"] == 5 * rate
    assert job.details["model"] == "blend"
    assert job.progress == 1


def test_a_variable_rate_keeps_every_instant_of_its_source(run: Run, tmp_path: Path) -> None:
    source = clips.variable_rate(tmp_path / "in.mp4")
    result, _ = run(source, 4)
    before, after = times(source), times(result)
    assert len(after) - 1 == 4 * (len(before) - 2) + 1
    assert after[:-1:4] == before[:-1]
    for place in range(len(before) - 2):
        step = (before[place + 1] - before[place]) / 4
        assert after[4 * place : 4 * place + 4] == [before[place] + part * step for part in range(4)]
    assert after[-1] == before[-1]


@pytest.mark.parametrize("rate", [2, 8])
def test_milliseconds_copied_to_a_finer_clock_are_a_constant_rate(run: Run, tmp_path: Path, rate: int) -> None:
    rounded, source = tmp_path / "rounded.mkv", tmp_path / "in.mp4"
    clips.clip(rounded, size=(64, 36), rate="24000/1001", seconds=0.6, sound=None)
    clips.ffmpeg("-i", rounded, "-c", "copy", source)
    result, _ = run(source, rate)
    before, after = times(source), times(result)
    assert len({later - earlier for earlier, later in pairwise(before)}) > 1
    assert len(after) - 1 == 15 * rate
    assert after[:-1:rate] == before[:-1]
    assert after[-1] == before[-1]


def test_reordered_pictures_of_avi_are_multiplied_evenly(run: Run, tmp_path: Path) -> None:
    source = clips.clip(tmp_path / "in.avi", size=(64, 36), rate="24", sound=None, options=["-bf", "3"])
    result, _ = run(source, 2)
    assert times(result) == [Fraction(place, 48) for place in range(49)]


@pytest.mark.parametrize("fps", ["60", "60000/1001", "24", "12", "2997/50"])
def test_an_exact_rate_is_met_to_the_fraction(run: Run, tmp_path: Path, fps: str) -> None:
    source = write_clip(tmp_path / "in.mp4", size=(48, 32), frames=15, rate=Fraction(30000, 1001), sound=True)
    result, job = run(source, 2, fps=fps)
    count = round(15 * Fraction(1001, 30000) * Fraction(fps))
    *shown, end = times(result)
    assert len(shown) == count
    for number, time in enumerate(shown):
        assert abs(time - number / Fraction(fps)) < Fraction(1, 1_000_000)
    assert abs(end - count / Fraction(fps)) < Fraction(1, 1_000_000)
    with av.open(result) as container:
        assert container.streams.video[0].average_rate == pytest.approx(Fraction(fps), rel=1e-6)
        assert len(container.streams.audio) == 1
    assert job.details["ignored_fields"] == ["rate"]
    assert job.progress == 1


def test_a_variable_rate_becomes_the_exact_one(run: Run, tmp_path: Path) -> None:
    source = clips.variable_rate(tmp_path / "in.mp4")
    result, job = run(source, None, fps="50")
    *shown, end = times(result)
    assert shown == [Fraction(number, 50) for number in range(len(shown))]
    assert end == Fraction(len(shown), 50)
    assert abs(end - times(source)[-1]) <= Fraction(1, 100)
    assert job.details["ignored_fields"] == []


@pytest.mark.parametrize("frames", [1, 2])
def test_the_shortest_videos_work(run: Run, tmp_path: Path, frames: int) -> None:
    source = write_clip(tmp_path / "in.mp4", size=(48, 32), frames=frames)
    result, _ = run(source, 8)
    assert times(result) == [Fraction(place, 24 * 8) for place in range(frames * 8 + 1)]


def test_across_a_cut_frames_are_held_and_never_blended(run: Run, tmp_path: Path) -> None:
    source = clips.scene_cuts(tmp_path / "in.mp4", frames=6, cut_at=3)
    result, job = run(source, 4)
    before = pictures(source)
    for picture in pictures(result):
        differences = [np.abs(picture.astype(int) - side).mean() for side in (before[0], before[-1])]
        assert min(differences) < 6
        assert max(differences) > 40
    assert job.details["pairs"]["cut"] == 1


def test_a_fast_turn_that_goes_on_over_a_joint_is_not_taken_for_cuts(tmp_path: Path) -> None:
    """Its neighbours become less and less alike: what is usual in it is known from its beginning only."""
    rng = np.random.default_rng(7)
    shared = rng.normal(size=(36, 64, 3))
    alike = np.linspace(0.99, 0.79, 12).tolist() + [0.79] * 36
    mixed = [share * shared + np.sqrt(1 - share**2) * rng.normal(size=shared.shape) for share in alike]
    drawn = [np.clip(128 + 40 * picture, 0, 255).astype(np.uint8).repeat(2, 0).repeat(2, 1) for picture in mixed]
    source = clips.from_pictures(tmp_path / "turn.mp4", drawn, crf=1)
    found = []
    for seconds in (100.0, 0.4):
        settings = SETTINGS.model_copy(update={"limits": LimitSettings(segment_seconds=seconds)})
        job = DirectJob(tmp_path / "out", settings, service="interpo")
        request = InterpoRequest(task_id=1, video_url=str(source), rate=2, dist_dir=str(tmp_path / "out"))
        job.run(interpolate_video, request, Blend())
        found.append(job.details["pairs"])
    assert found[0] == found[1] == {"moving": 47, "still": 0, "cut": 0}


@pytest.mark.parametrize("cut_at", [9, 10, 11, 12, 20, 21])
def test_a_cut_is_one_wherever_it_lies_between_joints(tmp_path: Path, cut_at: int) -> None:
    source = clips.scene_cuts(tmp_path / "in.mp4", frames=30, cut_at=cut_at)
    settings = SETTINGS.model_copy(update={"limits": LimitSettings(segment_seconds=0.4)})
    job = DirectJob(tmp_path / "out", settings, service="interpo")
    request = InterpoRequest(task_id=1, video_url=str(source), rate=2, dist_dir=str(tmp_path / "out"))
    job.run(interpolate_video, request, Blend())
    assert job.details["pairs"]["cut"] == 1


def test_repeated_frames_cost_nothing_and_do_not_tremble(run: Run, tmp_path: Path) -> None:
    """A cartoon drawn on twos: every drawing stands for two frames."""
    drawings = [clips.pan_picture(shift) for shift in (0, 6, 12)]
    source = clips.from_pictures(tmp_path / "in.mp4", [drawing for drawing in drawings for _ in range(2)])
    model = Blend()
    result, job = run(source, 2, model)
    assert len(model.calls) == 2
    assert job.details["pairs"] == {"moving": 2, "still": 3, "cut": 0}
    shown = pictures(result)
    for place in (0, 4, 8):  # the first, its own held successor, and its repetition
        for other in (1, 2):
            assert np.abs(shown[place].astype(int) - shown[place + other]).mean() < 2


def test_sound_and_captions_keep_pace(run: Run, tmp_path: Path) -> None:
    source = clips.with_companions(tmp_path / "in.mkv")
    result, _ = run(source, 2)
    with av.open(source) as before, av.open(result) as after:
        assert [len(after.streams.audio), len(after.streams.subtitles)] == [
            len(before.streams.audio),
            len(before.streams.subtitles),
        ]
        sound = [sum(frame.samples for frame in container.decode(audio=0)) for container in (before, after)]
    assert sound[0] == sound[1]


@pytest.mark.parametrize("degrees", [90, 180])
def test_rotation_size_and_depth_are_kept(run: Run, tmp_path: Path, degrees: int) -> None:
    result, _ = run(clips.rotated(tmp_path / "turned.mp4", degrees), 2)
    with av.open(result) as container:
        frame = next(container.decode(video=0))
        assert (frame.width, frame.height, round(frame.rotation) % 360) == (160, 90, -degrees % 360)


def test_ten_bits_stay_ten_bits(run: Run, tmp_path: Path) -> None:
    result, _ = run(clips.ten_bit(tmp_path / "in.mp4"), 2)
    with av.open(result) as container:
        assert next(container.decode(video=0)).format.components[0].bits == 10


def test_a_truncated_video_leaves_nothing_behind(run: Run, tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "whole.mp4", size=(160, 96), frames=60)
    with pytest.raises(UnreadableMedia):
        run(clips.truncated(whole, tmp_path / "cut.mp4"), 2)
    assert list(tmp_path.glob("out/*")) == []


def test_the_real_model_puts_a_pan_between(run: Run, tmp_path: Path) -> None:
    source = clips.affine_pan(tmp_path / "in.mp4", frames=3, step=6.0)
    result, job = run(source, 2, load(SETTINGS))
    between = pictures(result)[1].astype(float)
    errors = {shift: np.abs(between - clips.pan_picture(shift)).mean() for shift in (0.0, 3.0, 6.0)}
    assert errors[3.0] < min(errors[0.0], errors[6.0]) / 3
    assert job.details["model"].startswith("RIFE 4.0")
    assert job.details["engine"].startswith("cpu ")
    assert job.details["model"].endswith(job.details["engine"])


PEAK = """
import sys
from pathlib import Path
from types import SimpleNamespace
from services.interpo.model import load
from services.interpo.pipeline import interpolate_video
from services.interpo.request import InterpoRequest
from shared.pipeline.direct_job import DirectJob
from shared.settings import EncodingSettings, LimitSettings, Settings

class Hold:
    name = "hold"
    engine = SimpleNamespace(name="none")
    def pairs_at_once(self, pixels):
        return 2
    def __call__(self, first, second, timesteps):
        return [first + 1 for _ in timesteps]

source, out, model = sys.argv[1:]
settings = Settings(device="cpu", encoding=EncodingSettings(preset="ultrafast"))
request = InterpoRequest(task_id=1, video_url=source, rate=2, dist_dir=out)
DirectJob(Path(out), settings).run(interpolate_video, request, load(settings) if model == "real" else Hold())
# Not getrusage: a child's figure begins with what its parent weighed.
print(int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024)
"""


def peak_megabytes(source: Path, model: str) -> int:
    """Run the pipeline in a process of its own, which keeps memory as a runner does; return its largest size."""
    command = [sys.executable, "-c", PEAK, str(source), str(source.parent / "out"), model]
    environment = {**os.environ, **KEEP_FREED_MEMORY}
    return int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


@pytest.mark.slow
def test_memory_at_720p_stays_in_its_bound(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", size=(1280, 720), frames=3)
    assert peak_megabytes(source, "real") < MEMORY_LIMIT


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    short, long = (
        peak_megabytes(write_clip(tmp_path / f"{frames}.mp4", size=(640, 360), frames=frames), "hold")
        for frames in (20, 120)
    )
    assert long < short + 60  # 100 frames are 69 MB, their 200 results 138


@pytest.mark.parametrize("hidden", [False, True], ids=["counted", "behind another"])
def test_a_gif_of_very_many_tiny_frames_ends_at_the_limit_of_work_and_tells_its_progress(
    tmp_path: Path, *, hidden: bool
) -> None:
    """libav counts the frames of a GIF up to its first end, and reads on behind it."""
    source = clips.tiny_gif(tmp_path / "many.gif", frames=500)
    if hidden:
        source.write_bytes(clips.tiny_gif(tmp_path / "few.gif", frames=3).read_bytes() + source.read_bytes())
    frames = 503 if hidden else 500
    shares: list[float] = []

    def interpolated(limit: float) -> None:
        settings = Settings(device="cpu", limits=LimitSettings(max_task_megapixels=limit))
        job = DirectJob(tmp_path / "out", settings, on_progress=shares.append)
        request = InterpoRequest(task_id=1, video_url=str(source), rate=8, dist_dir=str(tmp_path / "out"))
        job.run(interpolate_video, request, Blend())

    with pytest.raises(JobFailed, match=r"many\.gif is 131 megapixels of work or more; .* allows 131 a task"):
        interpolated(131)  # 249 frames of the source, each eight of 256x256
    assert list((tmp_path / "out").iterdir()) == []
    assert max(shares) == pytest.approx(248 / frames, abs=0.02)
    shares.clear()
    interpolated(1000)
    made = [share for share in shares if share < 1]
    assert len(made) >= 0.99 * 8 * frames
    assert made[len(made) // 2] == pytest.approx(0.5, abs=0.02)
