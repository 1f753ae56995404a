"""What a pipeline remembers behind each segment of a film: taken up again, and dropped where it is superseded."""

from collections.abc import Mapping

from shared.media.segment_file import SegmentReader
from shared.pipeline.kept_states import is_kept
from shared.pipeline.segment_store import SegmentRecord, SegmentStore
from shared.pipeline.video_work import Memory


class SegmentStates:
    """The states in the segments of one attempt; where the pipeline has no `memory` there are none."""

    def __init__(self, store: SegmentStore, memory: Memory | None) -> None:
        self._store = store
        self._memory = memory
        self._dropped: set[int] = set()  # numbers of segments

    def recall(self, record: SegmentRecord | None) -> None:
        """Have the pipeline remember what it did behind a segment, None: nothing; raise DamagedSegment as the store."""
        if self._memory is None:
            return
        state = None
        if record is not None:
            with self._store.open(record) as file:
                state = SegmentReader(file).state()
        self._memory.begin(state)

    def lacks(self, record: SegmentRecord) -> bool:
        """Whether what follows a segment cannot be made from it any more."""
        return self._memory is not None and not self._store.has_state(record)

    def thin_out(self, finished: Mapping[int, SegmentRecord], newest: int) -> None:
        """Drop what is superseded now that the segment `newest` is finished, also what a killed attempt left of it."""
        if self._memory is None:
            return
        self._dropped.discard(newest)  # it may have been made again
        for number in finished.keys() - self._dropped:
            if not is_kept(number, newest) and self._store.drop_state(finished[number]):
                self._dropped.add(number)
