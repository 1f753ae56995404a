"""Long videos in segments: whatever stopped an attempt, and whatever became of its files, the result is the same."""

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from shared.errors import JobFailed, Problem, UnreadableMedia
from shared.media import decode
from shared.media.frame import Frame
from shared.media.frame_range import FrameRange
from shared.media.measured_length import measured_seconds
from shared.pipeline.segment_store import MemoryLedger, SegmentRecord
from shared.process.malloc import KEEP_FREED_MEMORY
from shared.settings import EncodingSettings, LimitSettings, Settings
from tests.support import clips
from tests.support.clips import clip
from tests.support.segmented_work import SETTINGS, Attempts, Killed, Model, contents, times


def test_a_film_in_segments_has_every_frame_at_its_time_with_all_that_its_source_has(
    film: Path, attempts: Attempts
) -> None:
    result, tally = attempts.make(Model())
    assert len(attempts.segments()) == 5
    assert tally["frames"] == 50
    with av.open(film) as before, av.open(result) as after:
        for name in ("video", "audio"):
            [one], [two] = before.streams.get(**{name: 0}), after.streams.get(**{name: 0})
            assert (one.duration or 0) * (one.time_base or 0) == (two.duration or 0) * (two.time_base or 0)
        packets = [p for p in after.demux(video=0) if p.size]
        keys = [packet.pts * packet.time_base for packet in packets if packet.is_keyframe and packet.pts is not None]
        assert keys == [Fraction(2 * n, 5) for n in range(5)]
        assert all(a.dts < b.dts for a, b in pairwise(packets) if a.dts is not None and b.dts is not None)
        assert all(p.dts <= p.pts for p in packets if p.dts is not None and p.pts is not None)
    whole, _ = Attempts(film, result.parent / "whole", Settings(device="cpu")).make(Model())
    with av.open(result) as ours_open, av.open(whole) as theirs_open:
        for ours, theirs in zip(ours_open.decode(video=0), theirs_open.decode(video=0), strict=True):
            assert ours.pts == theirs.pts
            assert np.abs(ours.to_ndarray(format="rgb24") - theirs.to_ndarray(format="rgb24").astype(int)).mean() < 4


@pytest.mark.parametrize("frame", [0, 9, 10, 11, 25, 49])
def test_the_next_attempt_goes_on_after_the_last_finished_segment(attempts: Attempts, frame: int) -> None:
    expected, _ = Attempts(attempts.source, attempts.folder / "undisturbed").make(Model())
    attempts.interrupted(frame)
    assert attempts.visible() == ["undisturbed"]
    model = Model()
    result, tally = attempts.make(model)
    assert model.made == 50 - frame // 10 * 10  # what was finished is not made again
    assert tally["frames"] == 50
    assert contents(result) == contents(expected)


def test_many_stops_repeat_at_most_a_segment_each(attempts: Attempts) -> None:
    expected, _ = Attempts(attempts.source, attempts.folder / "undisturbed").make(Model())
    made = sum(attempts.interrupted(frame) for frame in (3, 12, 4, 17, 13))
    model = Model()
    result, _ = attempts.make(model)
    assert made + model.made <= 50 + 5 * 10
    assert contents(result) == contents(expected)


@pytest.mark.parametrize(
    "source", ["vfr.mp4", "vfr.mkv", "open.mp4", "trimmed.mp4", "late.mp4", "stream.ts", "old.avi"]
)
def test_an_interrupted_film_of_any_kind_is_the_undisturbed_one(tmp_path: Path, source: str) -> None:
    makers: dict[str, Callable[[Path], Path]] = {
        "vfr": clips.variable_rate,
        "open": clips.open_gop,
        "trimmed": lambda path: clips.trimmed_by_edit_list(path, seconds=0.52),
        "late": lambda path: clips.late_picture(path, milliseconds=500),
        "stream": lambda path: clip(path, seconds=2, options=["-g", "12"]),
        "old": lambda path: clip(path, seconds=2, codec="mpeg4", sound="mp3"),
    }
    film = makers[source.split(".", maxsplit=1)[0]](tmp_path / source)
    settings = SETTINGS.model_copy(update={"limits": LimitSettings(segment_seconds=0.25)})
    expected, _ = Attempts(film, tmp_path / "undisturbed", settings).make(Model())
    attempts = Attempts(film, tmp_path / "out", settings)
    with av.open(film) as container:
        frames = sum(1 for _ in container.decode(video=0))
    attempts.interrupted(frames // 2)
    attempts.interrupted(2)
    result, _ = attempts.make(Model())
    assert contents(result) == contents(expected)
    whole, _ = Attempts(film, tmp_path / "whole", Settings(device="cpu")).make(Model())
    assert times(result) == times(whole)


@pytest.mark.parametrize("patient", [[0, 1], [1, 0], [0, 1, 2]], ids=str)
def test_the_first_attempt_decides_where_a_recording_is_cut_whoever_has_time_to_measure_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patient: list[int]
) -> None:
    """How long an MPEG-TS is stands nowhere in it: a busy host gives up looking."""
    film = clip(tmp_path / "film.ts", seconds=2, options=["-g", "12"])
    attempts = Attempts(film, tmp_path / "out")
    made = 0
    for number, frame in enumerate((15, 12, 13)):
        found = measured_seconds if number in patient else lambda *_: None
        monkeypatch.setattr(decode, "measured_seconds", found)
        made += attempts.interrupted(frame)
    monkeypatch.setattr(decode, "measured_seconds", measured_seconds)
    model = Model()
    result, _ = attempts.make(model)
    assert made + model.made <= 50 + 3 * 10
    assert {record.number for record in attempts.ledger.records()} == set(range(5))
    expected, _ = Attempts(film, tmp_path / "undisturbed").make(Model())
    assert contents(result) == contents(expected)


@pytest.mark.parametrize("encoder", ["x265", "svtav1"])
def test_other_encoders_are_joined_too(film: Path, tmp_path: Path, encoder: str) -> None:
    settings = Settings(
        device="cpu",
        encoding=EncodingSettings.model_validate({"preset": "ultrafast", "encoder": encoder}),
        limits=LimitSettings(segment_seconds=0.4),
    )
    attempts = Attempts(film, tmp_path / "out", settings)
    attempts.interrupted(25)
    result, _ = attempts.make(Model())
    assert times(result) == [Fraction(n, 25) for n in range(50)]


def test_ten_bits_and_odd_sizes_are_joined_too(tmp_path: Path) -> None:
    deep = Attempts(clips.ten_bit(tmp_path / "deep.mp4"), tmp_path / "deep")
    odd = Attempts(clips.odd_sized(tmp_path / "odd.mp4"), tmp_path / "odd")
    for attempts, size, bits in ((deep, (160, 90), 10), (odd, (176, 144), 8)):
        attempts.make(Model())
        with av.open(attempts.folder / attempts.visible()[0]) as container:
            stream = container.streams.video[0]
            assert (stream.width, stream.height) == size
            assert stream.format.components[0].bits == bits


def test_a_truncated_film_ends_with_its_reason_also_after_a_stop(tmp_path: Path) -> None:
    whole = clip(tmp_path / "whole.mp4", seconds=4, options=["-movflags", "+faststart", "-g", "12"])
    attempts = Attempts(clips.truncated(whole, tmp_path / "cut.mp4", share=0.6), tmp_path / "out")
    attempts.interrupted(25)
    with pytest.raises(UnreadableMedia, match="truncated"):
        attempts.make(Model())
    assert attempts.visible() == []


def test_a_stop_between_two_segments_leaves_all_that_is_finished(attempts: Attempts) -> None:
    class Pausing(MemoryLedger):
        def pause(self) -> None:
            if len(self.records()) >= 2:
                raise Killed

    attempts.ledger = Pausing()
    with pytest.raises(Killed):
        attempts.make(Model())
    kept = len(attempts.ledger.records())
    assert kept >= 2
    assert len(attempts.segments()) == kept


def test_an_attempt_that_finds_everything_made_only_joins(attempts: Attempts) -> None:
    first, _ = attempts.make(Model())
    model = Model()
    second, tally = attempts.make(model)
    assert model.made == 0
    assert tally["frames"] == 50
    assert contents(first) == contents(second)


def test_an_attempt_that_has_lost_a_segment_writes_over_nobody_s_file(attempts: Attempts) -> None:
    class Lost(MemoryLedger):
        def confirm(self, number: int) -> None:
            if number == 1:
                raise Killed

    attempts.ledger = Lost()
    with pytest.raises(Killed):
        attempts.make(Model())
    assert "00001" not in [path.name[-5:] for path in attempts.segments()]
    assert not [thread for thread in threading.enumerate() if thread.name in {"encode", "decode"}]


def test_a_segment_that_cannot_be_kept_ends_the_attempt_and_leaves_no_thread_at_work(attempts: Attempts) -> None:
    class Failing(MemoryLedger):
        def keep(self, record: SegmentRecord) -> None:
            raise JobFailed("no_room", name=f"nowhere {record.number}")

    attempts.ledger = Failing()
    with pytest.raises(JobFailed, match="nowhere"):
        attempts.make(Model())
    assert not [thread for thread in threading.enumerate() if thread.name in {"encode", "decode"}]


def test_the_record_of_another_release_can_be_read_and_is_refused(
    attempts: Attempts, caplog: pytest.LogCaptureFixture
) -> None:
    attempts.interrupted(10)
    [record] = attempts.ledger.records()
    known = {name: record.to_json()[name] for name in ("number", "bytes", "sha256", "frames", "seconds")}
    attempts.ledger.keep(SegmentRecord.from_json(known | {"fingerprint": "of the future", "flavour": "sweet"}))
    model = Model()
    attempts.make(model)
    assert model.made == 50
    assert "segment 0: made with" in caplog.text


def test_progress_begins_where_the_last_attempt_stopped(attempts: Attempts) -> None:
    attempts.interrupted(30)
    seen: list[float] = []
    attempts.ledger.pause = lambda: seen.append(attempts.job.progress)  # type: ignore[method-assign]
    attempts.make(Model())
    assert seen[0] == pytest.approx(0.99 * 3 / 5)
    assert attempts.job.progress == 1


def test_a_full_disk_ends_the_attempt_with_its_reason(attempts: Attempts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.media.segment_file.os.fdopen", lambda _fd, _mode: open("/dev/full", "wb", buffering=64))  # noqa: PTH123, SIM115
    with pytest.raises(JobFailed, match="no space"):
        attempts.make(Model())
    assert attempts.visible() == []


def test_a_folder_that_vanishes_or_refuses_between_two_segments_is_an_error_or_is_made_again(
    attempts: Attempts, tmp_path: Path
) -> None:
    class Vanishing(Model):
        def __call__(self, frames: FrameRange, tally: "Counter[str]") -> Iterator[Frame]:
            if self.made == 20 and attempts.folder.exists():
                attempts.folder.rename(tmp_path / "gone")
                attempts.folder.symlink_to("/proc")
            return super().__call__(frames, tally)

    with pytest.raises(Problem):
        attempts.make(Vanishing())


PEAK = """
import sys
from pathlib import Path
from tests.support.segmented_work import Attempts, Model
from tests.support.clips import clip
from shared.settings import LimitSettings, Settings

seconds, folder = float(sys.argv[1]), Path(sys.argv[2])
source = clip(folder / "film.mp4", seconds=seconds, size=(320, 180))
Attempts(source, folder / "out", Settings(device="cpu", limits=LimitSettings(segment_seconds=1))).make(Model())
print(int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_segments(tmp_path: Path) -> None:
    peaks = []
    for seconds in (4, 40):
        folder = tmp_path / str(seconds)
        folder.mkdir()
        command = [sys.executable, "-c", PEAK, str(seconds), str(folder)]
        done = subprocess.run(
            command, env={**os.environ, **KEEP_FREED_MEMORY}, capture_output=True, text=True, check=True
        )
        peaks.append(int(done.stdout))
    assert peaks[1] < peaks[0] + 40  # the 900 frames more are 156 MB
