"""How far the reading of a video has come, honestly: also of one whose header tells no length, or a wrong one."""

from fractions import Fraction

_MOST_BEHIND = 64  # packets that a decoder may hold back: for its threads and its order


class ReadingProgress:
    """Follows one pass over a video's frames. One thread reads the file and asks for `share_read`, another `takes`.

    `frame_count` is a count that can be relied upon, None where there is none; `duration_seconds` 0.0 if unknown.
    """

    def __init__(self, frame_count: int | None, duration_seconds: float, size: int) -> None:
        self._frame_count = frame_count
        self._duration_seconds = duration_seconds
        self._size = size
        self.frames = 0  # that were taken
        self._share_read = 0.0  # at the last of them

    def share_read(self, *, frames: int, packets: int, bytes_read: int, end: Fraction) -> float:
        """Return how much has been read when so many `frames` of as many `packets` have come, the last until `end` s.

        It is the smaller of two shares, of bytes and of the time that the header promises: either may be wrong.
        """
        behind = min(max(packets - frames, 0), _MOST_BEHIND)
        share = bytes_read / self._size * (packets - behind) / max(packets, 1)
        if self._duration_seconds > 0:
            share = min(share, float(end) / self._duration_seconds)
        return min(max(share, 0.0), 1.0)

    def take(self, share_read: float) -> None:
        """Note that another frame has been taken, with what `share_read` said of it."""
        self.frames += 1
        self._share_read = max(share_read, self._share_read)

    def share(self, done: float) -> float:
        """Return which share of the video its first `done` frames are, 0-1; a part of a frame counts."""
        if self._frame_count:
            return min(done / self._frame_count, 1.0)
        return min(done / self.frames * self._share_read, 1.0) if self.frames else 0.0
