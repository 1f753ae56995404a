"""A long video, made in segments: what an earlier attempt has finished is taken over, the rest is made, all is joined.

While one segment's encoder is emptied and its file synced, the model is at work on the next one: a clip without kills
pays a key frame for each segment and the copying of packets at the end.
"""

import hashlib
import json
import logging
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import closing, suppress
from functools import partial
from typing import Any

from shared.errors import JobFailed
from shared.files.handles import OutputFile
from shared.media.decode import VideoSource
from shared.media.encode import EncodeReport, writing
from shared.media.frame import Frame
from shared.media.frame_queue import Channel, Handover, depth_for, hand_over
from shared.media.frame_range import FramePass, FrameRange
from shared.media.join import join
from shared.media.picture_encoder import PictureEncoder
from shared.media.provenance import Label
from shared.media.result_format import ResultFormat
from shared.media.segment_file import SegmentWriter
from shared.pipeline.job import Job, JobStopped
from shared.pipeline.segment_plan import SegmentPlan
from shared.pipeline.segment_store import DamagedSegment, SegmentRecord
from shared.pipeline.video_work import VideoWork

_JOINED = 0.99  # the progress at which only the joining is left
_TRIES = 3  # of joining, while something damages segments under our hands

logger = logging.getLogger(__name__)


class SegmentedVideo:
    """One attempt at a long video. `identity` is what of the request decides pixels, as plain JSON values."""

    def __init__(
        self,
        job: Job,
        source: VideoSource,
        work: VideoWork,
        *,
        plan: SegmentPlan,
        result: ResultFormat,
        identity: dict[str, Any],
    ) -> None:
        self._job = job
        self._store = job.segments
        self._source = source
        self._work = work
        self._plan = plan
        self._result = result
        encoder = PictureEncoder.alone(result)
        self._description = encoder.description
        self._made_with = f"Kinora {job.settings.version}, {work.model}, {result.encoder.name}"
        self._fingerprint = self._identify(identity)
        self._done: dict[int, SegmentRecord] = {}
        self._begun = 0  # segments that are finished or handed over to their encoder

    def write(self, target: OutputFile, label: Label) -> tuple[EncodeReport, "Counter[str]"]:
        """Write the result; raise JobFailed when the source has changed since the first segment was made."""
        self._take_over()
        for _ in range(_TRIES):
            while (gap := self._gap()) is not None:
                self._make_from(gap)
            self._source.file.check_unchanged()
            try:
                return self._join(target, label)
            except DamagedSegment as damage:
                logger.warning("task %s: %s: made again", self._job.task_id, damage)
                del self._done[damage.number]
                self._begun = len(self._done)
        raise JobFailed("segments_damaged", name=target.name)

    def _identify(self, identity: dict[str, Any]) -> str:
        """Return a hash of all that decides what a segment holds, the numbers of its frames aside."""
        result, plan = self._result, self._plan
        decisive = [
            self._made_with, identity, self._source.file.stamp, plan.length, plan.count, result.size,
            str(result.frame_rate), str(result.time_base), result.visible_label,
            result.encoder.options, result.encoder.pixel_format, self._description.hex(),
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()

    def _take_over(self) -> None:
        """Look at what earlier attempts have left, and keep what is whole, of this source and made alike."""
        before: SegmentRecord | None = None
        for record in sorted(self._store.ledger.records(), key=lambda record: record.number):
            self._job.check()
            if record.source != self._source.file.stamp:
                raise JobFailed("source_changed", name=self._source.file.name)
            try:
                self._check(record, before)
            except DamagedSegment as damage:
                logger.warning("task %s: %s: made again", self._job.task_id, damage)
                continue
            before = self._done[record.number] = record
        if self._done:
            logger.info("task %s: %s segments are taken over", self._job.task_id, len(self._done))
        self._begun = len(self._done)
        self._job.inherit(self._share(self._begun), sum(record.seconds for record in self._done.values()))

    def _check(self, record: SegmentRecord, before: SegmentRecord | None) -> None:
        """Raise DamagedSegment for a segment that cannot be taken over; `before` is the last one that can."""
        if record.fingerprint != self._fingerprint:
            raise DamagedSegment(record.number, f"made with {record.made_with}, now {self._made_with}")
        if before and before.number + 1 == record.number and before.next_pts != record.begins_with:
            raise DamagedSegment(record.number, "does not go on where the one before ends")
        self._store.check(record)

    def _gap(self) -> int | None:
        """Return the first segment that is missing; None when all are there, up to the end of the source."""
        number = 0
        while record := self._done.get(number):
            if record.next_pts is None:
                return None
            number += 1
        return number

    def _make_from(self, first: int) -> None:
        """Make the missing segments from one on, in one pass over the source, up to one that is there."""
        before = self._done.get(first - 1)
        latest: Handover[SegmentRecord] | None = None
        with closing(self._source.frames(self._plan.begin(first), first=before.next_pts if before else None)) as frames:
            passing, number = FramePass(frames), first
            try:
                while True:
                    self._store.ledger.pause()
                    self._source.file.check_unchanged()
                    started = self._start(number, passing)
                    if latest:
                        self._note(latest.result())
                    latest, number = started, number + 1
                    if passing.upcoming is None or number in self._done:
                        break
            except BaseException:
                if latest:
                    with suppress(
                        Exception, JobStopped
                    ):  # whatever stops this attempt, what is complete is kept for the next one
                        latest.result()
                raise
            self._note(latest.result())

    def _note(self, record: SegmentRecord) -> None:
        self._done[record.number] = record

    def _start(self, number: int, passing: FramePass) -> Handover[SegmentRecord]:
        """Make the frames of one segment; return when all are in the hands of its encoder."""
        self._store.ledger.begin(number, self._plan.count, self._frames_of(number))
        frames, tally = passing.until(self._plan.end(number)), Counter[str]()
        work = partial(self._encode, number, frames, tally, time.monotonic())
        return hand_over(self._watched(self._work.transform(frames, tally), number), work, depth_for(*self._work.size))

    def _watched(self, frames: Iterator[Frame], number: int) -> Iterator[Frame]:
        """Report progress by the frames of one segment among all."""
        begin, self._begun = self._share(self._begun), self._begun + 1
        seconds = float(self._plan.length * self._source.time_base)
        if self._plan.end(number) is None:
            seconds = max(self._source.duration_seconds - number * seconds, 0.0)
        total = round(seconds * float(self._source.frame_rate) * self._work.multiple)
        return self._job.watch(frames, total, begin=begin, end=self._share(self._begun))

    def _frames_of(self, number: int) -> tuple[int, int | None]:
        """Return the first and the last frame of a segment, as they would be numbered at a constant rate."""
        step = 1 / (self._source.frame_rate * self._source.time_base)
        end = self._plan.end(number)
        return round(self._plan.begin(number) / step), None if end is None else round(end / step) - 1

    def _share(self, segments: int) -> float:
        return _JOINED * min(segments / self._plan.count, 1.0) if self._plan.count else 0.0

    def _encode(
        self, number: int, frames: FrameRange, tally: "Counter[str]", begun: float, channel: Channel[Frame]
    ) -> SegmentRecord:
        """Encode one segment in the calling thread, sync its file and have the ledger keep it."""
        with self._store.create(number) as file, writing(file.name):
            encoder = PictureEncoder.alone(self._result)
            with closing(SegmentWriter(file, encoder.timing)) as writer:
                for frame in channel:
                    writer.write(encoder.encode(frame))
                if channel.closed:  # the segment is no longer wanted
                    raise CancelledError
                if encoder.frames:
                    writer.write(encoder.flush())
                made = writer.finish()
            record = SegmentRecord(
                number=number,
                fingerprint=self._fingerprint,
                made_with=self._made_with,
                source=self._source.file.stamp,
                bytes=made.bytes,
                sha256=made.sha256,
                frames=made.frames,
                reordered=made.reordered,
                first_pts=frames.first,
                next_pts=None if frames.following is None else frames.following.pts,
                seconds=time.monotonic() - begun,
                tally=dict(tally),
            )
            self._store.keep(file, record)
            return record

    def _join(self, target: OutputFile, label: Label) -> tuple[EncodeReport, "Counter[str]"]:
        records = [self._done[number] for number in range(len(self._done)) if number in self._done]
        last = next(place for place, record in enumerate(records) if record.next_pts is None)
        records = records[: last + 1]
        report = join(
            [partial(self._store.open, record) for record in records],
            target,
            self._result,
            label,
            reordered=max(record.reordered for record in records),
            check=self._job.check,
        )
        self._job.report(1.0)
        return report, sum((Counter(record.tally) for record in records), Counter[str]())
