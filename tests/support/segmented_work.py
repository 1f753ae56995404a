"""Work in segments to test with: a model that dies where it is told to, attempts at one task, and what came of them."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from services.interpo.request import InterpoRequest
from shared.media.decode import open_video
from shared.media.frame import Frame
from shared.media.frame_range import FrameRange
from shared.pipeline.direct_job import DirectJob
from shared.pipeline.job import JobStopped, Result
from shared.pipeline.segment_store import MemoryLedger, SegmentStart
from shared.pipeline.video import make_video
from shared.pipeline.video_work import Memory, VideoWork
from shared.settings import EncodingSettings, LimitSettings, Settings

SETTINGS = Settings(
    device="cpu", encoding=EncodingSettings(preset="ultrafast"), limits=LimitSettings(segment_seconds=0.4)
)


class Killed(JobStopped):
    """Stands for what ends a process in the middle of its work."""


@dataclass
class Model:
    """Turns pictures dark side up; counts them, and dies at one."""

    name: str = "negative"
    dies_at: int | None = None
    made: int = 0
    memory: Memory | None = None

    def __call__(self, frames: FrameRange, tally: "Counter[str]") -> Iterator[Frame]:
        for frame in frames:
            if self.made == self.dies_at:
                raise Killed
            self.made += 1
            tally["frames"] += 1
            yield replace(frame, image=255 - frame.image)


class Attempts:
    """Attempts at one task, each with a new job, over the same folder and the same ledger."""

    def __init__(self, source: Path, folder: Path, settings: Settings = SETTINGS) -> None:
        self.source, self.folder, self.settings = source, folder, settings
        self.ledger = MemoryLedger()
        self.number = 0
        self.job: DirectJob

    def make(self, model: Model) -> tuple[Path, "Counter[str]"]:
        self.number += 1
        request = InterpoRequest(task_id=1, dist_dir=str(self.folder), video_url=str(self.source), rate=2)
        self.job = DirectJob(self.folder, self.settings, ledger=self.ledger, attempt=self.number)
        tally: Counter[str] = Counter()

        def work(job: DirectJob, request: InterpoRequest, model: Model) -> Result:
            with job.input(request.video_url) as file, open_video(file) as source, job.output(".mp4") as target:
                what = VideoWork(model, (source.width, source.height), model.name, memory=model.memory)
                report, counted = make_video(job, request, source, target, what)
                assert report.frames == counted["frames"]
                tally.update(counted)
            return Result(video=target.name)

        return self.folder / self.job.run(work, request, model).video, tally

    def interrupted(self, frame: int) -> int:
        """Make an attempt that dies at its n-th frame; return how many it made."""
        return self.interrupted_by(Model(dies_at=frame))

    def interrupted_by(self, model: Model) -> int:
        """Make an attempt with a model that dies; return how many frames it made."""
        with pytest.raises(Killed):
            self.make(model)
        return model.made

    def segments(self) -> list[Path]:
        return sorted(self.folder.glob(".*-s-*"))

    def visible(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir() if not path.name.startswith("."))


def contents(path: Path) -> list[Any]:
    """Return everything that a player gets: pictures with their times, and the packets of all other tracks."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        assert stream.duration
        found: list[Any] = [stream.duration * (stream.time_base or 0), container.metadata["AIGC"] != ""]
        found += [(frame.pts, frame.to_ndarray(format="rgb24").tobytes()) for frame in container.decode(stream)]
    with av.open(path) as container:
        others = [stream for stream in container.streams if stream.type != "video"]
        found += [(p.stream.index, p.pts, p.duration, bytes(p)) for p in container.demux(others) if p.size]
        return found


def times(path: Path) -> list[Fraction]:
    with av.open(path) as container:
        base = container.streams.video[0].time_base or Fraction(1)
        return [frame.pts * base for frame in container.decode(video=0) if frame.pts is not None]


def edited(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


class Assigned(MemoryLedger):
    """A helper's: one segment, in the records of the task's own attempt."""

    def __init__(self, own: MemoryLedger, number: int, fingerprint: str) -> None:
        super().__init__()
        self.assigned = number
        self._records = own._records
        self._fingerprint = fingerprint

    def begin(self, start: SegmentStart) -> bool:
        if start.fingerprint != self._fingerprint:
            raise JobStopped
        return super().begin(start)
