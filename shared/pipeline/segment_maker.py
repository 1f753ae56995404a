"""Making one segment: its frames from a pass over the source, its packets into a file that the store keeps."""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from shared.media.decode import VideoSource
from shared.media.encode import writing
from shared.media.frame import Frame
from shared.media.frame_queue import Channel, Handover, depth_for, hand_over
from shared.media.frame_range import FramePass, FrameRange
from shared.media.losses import CAPTIONS
from shared.media.picture_encoder import PictureEncoder
from shared.media.result_format import ResultFormat
from shared.media.segment_file import SegmentWriter
from shared.pipeline.segment_plan import SegmentPlan
from shared.pipeline.segment_store import DamagedSegment, SegmentRecord, SegmentStore
from shared.pipeline.video_work import VideoWork

_LOST, _CAPTIONS, _CAPTIONED = "lost: ", "has captions", "captioned"  # counted beside what the transform counts

Watch = Callable[[Iterator[Frame], int], Iterator[Frame]]  # frames and how many are expected, to the same frames


class SegmentMaker:
    """Makes segments of one result. `fingerprint` is a hash of all that decides what a segment holds, its number and
    how many there are aside; `made_with` says in words what a reader of the log needs of it. `identity` is what of the
    request decides pixels.
    """

    def __init__(
        self,
        source: VideoSource,
        work: VideoWork,
        plan: SegmentPlan,
        *,
        result: ResultFormat,
        release: str,
        identity: dict[str, Any],
    ) -> None:
        self._source = source
        self._work = work
        self.plan = plan
        self._result = result
        self.made_with = f"Kinora {release}, {work.model}, {result.encoder.name}"
        with closing(PictureEncoder.alone(result)) as encoder:
            description = encoder.description.hex()
        decisive = [
            self.made_with, identity, source.file.stamp, plan.length, plan.lead, result.size,
            str(result.frame_rate), str(result.time_base), result.visible_label,
            result.encoder.options, result.encoder.pixel_format, description, work.basis,
        ]  # fmt: skip
        self.fingerprint = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()

    def make(self, number: int, passing: FramePass, store: SegmentStore, watch: Watch) -> Handover[SegmentRecord]:
        """Make the frames of one segment, seen by `watch`; return when all are in the hands of its encoder, whose
        thread syncs the file and has the store keep it.
        """  # fmt: skip
        frames = passing.until(self.plan.end(number))
        segment = _Segment(number, frames, begun=time.monotonic())
        made = watch(self._work.transform(frames, segment.tally), self._expected(number))
        work = partial(self._encode, segment=segment, store=store)
        return hand_over(self._remembered(made, segment), work, depth_for(*self._work.size))

    def _remembered(self, frames: Iterator[Frame], segment: "_Segment") -> Iterator[Frame]:
        """Pass all frames on, then note what the next segment is to know."""
        yield from frames
        if self._work.memory:
            segment.state = self._work.memory.state()
            # Also this attempt goes on from the bytes: none can tell whether it has made the segment before itself.
            self._work.memory.begin(segment.state)

    def check(self, record: SegmentRecord, before: SegmentRecord | None) -> None:
        """Raise DamagedSegment for what cannot be a part of the result; `before` is the last one that can."""
        if record.fingerprint != self.fingerprint:
            raise DamagedSegment(record.number, f"made with {record.made_with}, now {self.made_with}")
        if before and before.number + 1 == record.number and before.next_pts != record.begins_with:
            raise DamagedSegment(record.number, "does not go on where the one before ends")

    def frames_of(self, number: int) -> tuple[int, int | None]:
        """Return the first and the last frame of a segment, as they would be numbered at a constant rate."""
        step = 1 / (self._source.frame_rate * self._source.time_base)
        end = self.plan.end(number)
        return round(self.plan.begin(number) / step), None if end is None else round(end / step) - 1

    def _expected(self, number: int) -> int:
        """Return about how many frames of the result a segment has."""
        seconds = float(self.plan.length * self._source.time_base)
        if self.plan.end(number) is None:
            seconds = max(self._source.duration_seconds - number * seconds, 0.0)
        return round(seconds * float(self._source.frame_rate) * self._work.multiple)

    def _encode(self, channel: Channel[Frame], *, segment: "_Segment", store: SegmentStore) -> SegmentRecord:
        """Encode one segment in the calling thread, sync its file and have the ledger keep it."""
        with store.create(segment.number) as file, writing(file.name):
            with (
                closing(PictureEncoder.alone(self._result)) as encoder,
                closing(SegmentWriter(file, encoder.timing)) as writer,
            ):
                for frame in channel:
                    writer.write(encoder.encode(frame))
                if channel.closed:  # the segment is no longer wanted
                    raise CancelledError
                if encoder.frames:
                    writer.write(encoder.flush())
                if segment.state is not None:
                    writer.write_state(segment.state)
                made = writer.finish()
                segment.tally.update(_noted(self._source, captioned=encoder.captioned))
            record = SegmentRecord(
                number=segment.number,
                fingerprint=self.fingerprint,
                made_with=self.made_with,
                source=self._source.file.stamp,
                bytes=made.bytes,
                sha256=made.sha256,
                bare_bytes=made.bare_bytes,
                bare_sha256=made.bare_sha256,
                frames=made.frames,
                reordered=made.reordered,
                first_pts=segment.frames.first,
                next_pts=None if segment.frames.following is None else segment.frames.following.pts,
                seconds=time.monotonic() - segment.begun,
                tally=dict(segment.tally),
            )
            store.keep(file, record)
            return record


@dataclass
class _Segment:
    """A segment that is being made: written by the thread that makes its frames, until its encoder has all of them."""

    number: int
    frames: FrameRange
    begun: float  # monotonic seconds
    tally: "Counter[str]" = field(default_factory=Counter)
    state: bytes | None = None


def _noted(source: VideoSource, *, captioned: bool) -> dict[str, int]:
    """Return what is to be counted of a segment's pictures, so that a later attempt knows it without reading them."""
    noted = {f"{_LOST}{name}": 1 for name in source.lost}
    return noted | ({_CAPTIONS: 1} if source.has_captions else {}) | ({_CAPTIONED: 1} if captioned else {})


def lost_in(tally: "Counter[str]") -> list[str]:
    """Return what the pictures of all segments had and the result has not."""
    lost = [name.removeprefix(_LOST) for name in tally if name.startswith(_LOST)]
    return lost + ([CAPTIONS] if tally[_CAPTIONS] and not tally[_CAPTIONED] else [])
