"""A long video, made in segments: what an earlier attempt has finished is taken over, the rest is made, all is joined.

While one segment's encoder is emptied and its file synced, the model is at work on the next one: a clip without kills
pays a key frame for each segment and the copying of packets at the end.
"""

import logging
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn

from shared.errors import JobFailed
from shared.files.handles import OutputFile
from shared.media.decode import VideoSource
from shared.media.encode import EncodeReport
from shared.media.frame import Frame
from shared.media.frame_queue import Handover
from shared.media.frame_range import FramePass
from shared.media.join import join
from shared.media.provenance import Label
from shared.media.result_format import ResultFormat
from shared.pipeline.job import Job, JobStopped, SegmentMade
from shared.pipeline.segment_maker import SegmentMaker, Watch, lost_in
from shared.pipeline.segment_plan import SegmentPlan
from shared.pipeline.segment_states import SegmentStates
from shared.pipeline.segment_store import DamagedSegment, SegmentRecord, SegmentStart
from shared.pipeline.video_work import VideoWork

_JOINED = 0.99  # the progress at which only the joining is left
_LOOK_SECONDS = 1.0  # between two looks at what helpers have finished, while nothing else is left to do
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
        self._maker = SegmentMaker(source, work, plan, result=result, release=job.settings.version, identity=identity)
        self._done: dict[int, SegmentRecord] = {}
        self._refused: dict[int, str] = {}  # hashes of finished segments that are made again
        self._states = SegmentStates(self._store, work.memory)

    def write(self, target: OutputFile, label: Label) -> tuple[EncodeReport, "Counter[str]"]:
        """Write the result; raise JobFailed when the source has changed since the first segment was made."""
        counted = self._store.ledger.total(self._maker.fingerprint, self._plan.count)
        self._plan = self._maker.plan = replace(self._plan, count=counted)
        if self._store.ledger.assigned is not None:
            self._help(self._store.ledger.assigned)
        self._take_over()
        for _ in range(_TRIES):
            try:
                self._complete()
                self._source.file.check_unchanged()
                return self._join(target, label)
            except DamagedSegment as damage:
                self._refuse(self._done[damage.number], damage)
        raise JobFailed("segments_damaged", name=target.name)

    def _help(self, number: int) -> NoReturn:
        """Make one segment of somebody else's attempt and no more; raise SegmentMade."""
        if not self._work.helped:
            raise JobStopped("no segment stands for itself")
        before = next((record for record in self._store.ledger.records() if record.number == number - 1), None)
        known = before.next_pts if before and before.fingerprint == self._maker.fingerprint else None
        with closing(self._source.frames(self._plan.begin(number), first=known)) as frames:
            self._begin(number)
            passing = FramePass(frames, opens=number == 0)
            self._maker.make(number, passing, self._store, self._watch(0)).result()
        raise SegmentMade

    def _take_over(self) -> None:
        """Look at what earlier attempts have left, and keep what is whole, of this source and made alike."""
        self._look()
        for record in list(self._done.values()):
            self._job.check()
            try:
                self._store.check(record)
            except DamagedSegment as damage:
                self._refuse(record, damage)
        if self._done:
            logger.info("task %s: %s segments are taken over", self._job.task_id, len(self._done))
        self._job.inherit(self._share(0), sum(record.seconds for record in self._done.values()))

    def _look(self) -> None:
        """See which segments are finished by now, whoever made them."""
        before: SegmentRecord | None = None
        for record in sorted(self._store.ledger.records(), key=lambda record: record.number):
            if record.source not in {"", self._source.file.stamp}:
                raise JobFailed("source_changed", name=self._source.file.name)
            if self._refused.get(record.number) == record.sha256:
                continue
            try:
                self._maker.check(record, before)
            except DamagedSegment as damage:
                self._refuse(record, damage)
                continue
            before = self._done[record.number] = record

    def _refuse(self, record: SegmentRecord, damage: DamagedSegment) -> None:
        """Have a segment made again."""
        logger.warning("task %s: %s: made again", self._job.task_id, damage)
        self._refused[record.number] = record.sha256
        self._done.pop(record.number, None)

    def _gaps(self) -> Iterator[int]:
        """Yield the segments that are missing, up to the end of the source."""
        number = 0
        while self._plan.count is None or number < self._plan.count:
            record = self._done.get(number)
            if record is None:
                yield number
            elif record.next_pts is None:
                return
            number += 1

    def _complete(self) -> None:
        """Make what is missing, or wait for who makes it, until nothing is."""
        while (first := next(self._gaps(), None)) is not None:
            gaps = list(self._gaps()) if self._plan.count is not None and self._work.helped else [self._start_of(first)]
            if not any(self._make_from(gap) for gap in gaps):  # all that is missing is in the hands of helpers
                self._job.check()
                self._store.ledger.pause()
                self._job.report(self._share(0))
                time.sleep(_LOOK_SECONDS)
            self._look()

    def _start_of(self, missing: int) -> int:
        """Return from where on to make segments so that a missing one follows from what is still remembered; those
        between are made again.
        """  # fmt: skip
        first = missing
        while (before := self._done.get(first - 1)) and self._states.lacks(before):
            self._refuse(before, DamagedSegment(before.number, f"its state is gone, from which {missing} follows"))
            first -= 1
        return first

    def _make_from(self, first: int) -> bool:
        """Make the missing segments from one on, in one pass over the source, up to one that is there or in the hands
        of a helper; False when the first is.
        """  # fmt: skip
        before = self._done.get(first - 1)
        self._store.ledger.pause()
        if not self._begin(first):
            return False
        self._states.recall(before)
        encoding: deque[Handover[SegmentRecord]] = deque()
        with closing(self._source.frames(self._plan.begin(first), first=before.next_pts if before else None)) as frames:
            passing, number = FramePass(self._limited(frames, first), opens=first == 0), first
            try:
                while True:
                    encoding.append(self._maker.make(number, passing, self._store, self._watch(len(encoding))))
                    if len(encoding) > 1:
                        self._note(encoding.popleft().result())
                    number += 1
                    if passing.upcoming is None or number in self._done:
                        break
                    self._store.ledger.pause()
                    if not self._begin(number):
                        break
                    self._look()
                self._note(encoding.popleft().result())
            finally:
                for unfinished in encoding:  # whatever stops this attempt, what is complete is kept
                    with suppress(Exception, JobStopped):
                        unfinished.result()
        return True

    def _limited(self, frames: Iterator[Frame], first: int) -> Iterator[Frame]:
        """Pass on the source's frames from a segment on, as far as the limit of a task's work allows."""
        before = sum(record.frames for number, record in self._done.items() if number < first)
        return self._work.limited(frames, round(before / self._work.multiple))

    def _note(self, record: SegmentRecord) -> None:
        self._done[record.number] = record
        self._states.thin_out(self._done, record.number)

    def _begin(self, number: int) -> bool:
        """Begin a segment, unless it is another's; raise JobFailed where there is no room to make it and join all."""
        self._source.file.check_unchanged()
        longest = max((record.bytes for record in self._done.values()), default=0)
        self._store.check_room(sum(record.bare_bytes for record in self._done.values()) + longest)
        return self._store.ledger.begin(
            SegmentStart(
                number,
                self._plan.count,
                self._maker.frames_of(number),
                self._maker.fingerprint,
                replaced=self._refused.get(number),
                helped=self._work.helped,
            )
        )

    def _watch(self, ahead: int) -> Watch:
        """Return what reports the progress of one segment; so many before it are still in the hands of an encoder."""
        return partial(self._job.watch, begin=self._share(ahead), end=self._share(ahead + 1))

    def _share(self, more: int) -> float:
        """Return the progress when so many more segments are finished."""
        return _JOINED * min((len(self._done) + more) / self._plan.count, 1.0) if self._plan.count else 0.0

    def _join(self, target: OutputFile, label: Label) -> tuple[EncodeReport, "Counter[str]"]:
        """Write the result from the segments; what their pictures had is known of each that somebody read."""
        records = [self._done[number] for number in range(len(self._done)) if number in self._done]
        last = next(place for place, record in enumerate(records) if record.next_pts is None)
        records = records[: last + 1]
        self._states.recall(records[-1])
        tally = sum((Counter(record.tally) for record in records), Counter[str]())
        report = join(
            [partial(self._store.open, record) for record in records],
            target,
            self._result,
            label,
            reordered=max(record.reordered for record in records),
            lost=lost_in(tally),
            check=self._job.check,
        )
        self._job.report(1.0)
        return report, tally
