"""A video through an engine, range by range of its frames, with what the engine remembers between two of them."""

import math
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction

from services.creation.engine import ClipSpec, Engine, OnProgress, Windows
from services.creation.memory import Memory
from services.creation.source_frames import DecodedSourceFrames, Interpolate
from shared.errors import JobFailed
from shared.media.decode import VideoSource
from shared.media.frame import Frame
from shared.media.frame_range import FrameRange
from shared.pipeline.segment_plan import SegmentPlan
from shared.pipeline.video_work import Limited, VideoWork


class Redrawing:
    """One video being restyled; a result that gets longer than `max_seconds` raises JobFailed."""

    def __init__(
        self,
        video: VideoSource,
        spec: ClipSpec,
        engine: Engine,
        interpolate: Interpolate,
        on_progress: OnProgress,
        *,
        max_seconds: float,
    ) -> None:
        self._video = video
        self._spec = spec
        self._engine = engine
        self._interpolate = interpolate
        self._on_progress = on_progress
        self._max_seconds = max_seconds
        self._memory = Memory()

    def work(self, limited: Limited) -> VideoWork:
        """Return what is to be made of the video."""
        rate = Fraction(self._spec.frame_rate)
        windows = self._engine.windows(self._spec)
        return VideoWork(
            self._redrawn,
            self._spec.size,
            self._engine.made_with,
            basis=(f"seed {self._spec.seed}",),
            multiple=float(rate / self._video.frame_rate),
            frame_rate=rate,
            time_base=1 / rate,
            display_oriented=True,
            plan=plan_of(windows, self._video) if windows else None,
            memory=self._memory,
            limited=limited,
        )

    def _redrawn(self, frames: FrameRange, _tally: "Counter[str]") -> Iterator[Frame]:
        source = DecodedSourceFrames(self._video, self._spec, self._interpolate, frames, self._memory)
        images = self._engine.from_video(self._spec, source, self._on_progress, self._memory)
        for index, image in self._memory.numbered("made", images):
            if index > self._max_seconds * self._spec.frame_rate + 1:  # one frame beyond the limit is rounding
                seconds = index / self._spec.frame_rate
                raise JobFailed("creation_video_too_long", seconds=seconds, limit=self._max_seconds)
            yield Frame(image, index, 1)
        if source.ends:
            self._memory.begin(None)  # nothing follows that would need it


def plan_of(windows: Windows, video: VideoSource) -> SegmentPlan:
    """Return a segment for each window, long enough that all frames of the source which it needs are in it."""
    tick = video.time_base * windows.frame_rate  # in frames
    length, lead = math.ceil(windows.step / tick), math.ceil((windows.size - windows.step) / tick)
    frames = round(video.duration_seconds * windows.frame_rate)
    return SegmentPlan(length, windows.count(frames) if frames else None, lead)
