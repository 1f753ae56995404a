"""Reading a video: what it is, its frames in order, and any one frame by its number."""

import contextvars
import math
import threading
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from functools import partial
from itertools import chain
from types import TracebackType
from typing import Self

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from shared.errors import UnreadableMedia
from shared.files.handles import InputFile
from shared.media.captions import Captions
from shared.media.colour import Colour, ToRgb, bit_depth, is_transparent
from shared.media.container import duration_seconds, frame_rate, open_container, origin_seconds, video_stream
from shared.media.continuity import may_jump
from shared.media.demux import Reader
from shared.media.frame import Frame
from shared.media.frame_index import pts_of_frame
from shared.media.frame_queue import Channel, depth_for
from shared.media.losses import CAPTIONS, TRANSPARENCY, display_matrix, not_carried
from shared.media.measured_length import measured_seconds
from shared.media.orientation import Orientation
from shared.media.reading_progress import ReadingProgress
from shared.tracing.stages import staged

_TIMED_FORMATS = ("mov", "matroska", "mpegts", "flv")  # every packet says when its picture is shown
_SOUGHT_FORMATS = ("mov", "matroska")  # their index leads to key frames, and no other clock jumps inside them
_BACK_SECONDS = (0, 1, 5, 30)  # how much further back a key frame is looked for, where the nearest does not serve
_FINE_SECONDS = Fraction(1, 10_000)  # on a coarser grid than this sound and picture would visibly part
_PATIENCE = 10.0  # seconds
_USUAL_RATE = Fraction(25)  # where a container tells none

Timed = tuple[VideoFrame, int, int]  # a decoded picture, its pts and its duration on our clock
_Read = tuple[Frame, float]  # and which share of the file had been read


class VideoSource:
    """A video that is open for reading. A context manager: leaving it ends the threads that decode for it.

    Pictures are as stored: not brought into the `orientation` in which a player shows them, and not stretched by
    `sample_aspect_ratio`. Times count `time_base` units from the start of the earliest stream; where that does not lie
    on the picture track's own coarse grid, they are parts of the track's unit. `frame_count` is the container's own
    count or an estimate, for progress; None when nothing is known. `lost` and `has_captions` are complete when all
    frames have been read: captions and transparency may begin anywhere.
    """

    def __init__(self, file: InputFile, *, patience: float = _PATIENCE) -> None:
        self.file = file
        self._decoding: list[tuple[Channel[_Read], threading.Thread]] = []
        with open_container(file) as container:
            stream = video_stream(container, file.name)
            stream.thread_count = 1  # for one picture, threads cost more than they save
            first = next(Reader(container, stream, file.name).frames(), None)
            if first is None:
                raise UnreadableMedia("media_without_frames", name=file.name)
            self.width, self.height = first.width, first.height
            self.origin_seconds = origin_seconds(container)
            told_unit = stream.time_base or Fraction(1, av.time_base)
            self._parts = _parts(told_unit, self.origin_seconds)
            self.time_base = told_unit / self._parts
            self.frame_rate = frame_rate(stream) or _USUAL_RATE
            told_seconds = duration_seconds(container, stream)
            self.duration_seconds = self._measured(patience) if may_jump(container) else told_seconds
            is_mov = "mov" in container.format.name
            counted = (stream.frames if is_mov else 0) or None  # AVI counts in its own way; an estimate is nearer there
            self.frame_count = counted or round((self.duration_seconds or told_seconds) * self.frame_rate) or None
            self._new_progress = partial(ReadingProgress, counted, self.duration_seconds, file.size)
            self._progress = self._new_progress()
            self.display_matrix = display_matrix(first)
            self.orientation = Orientation.of_display_matrix(self.display_matrix)
            # The container's word, else the codec's: many codecs have no place for it, and players go by the container.
            self.sample_aspect_ratio = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
            self.colour = Colour.of(first)
            self.bit_depth = bit_depth(first)
            self.has_audio = bool(container.streams.audio)
            self.has_captions = False
            self.lost = not_carried(first)
            if stream.metadata.get("alpha_mode") == "1":  # VP8 and VP9: a second picture, which libav does not decode
                self.lost.append(TRANSPARENCY)
            self._note(first)

    def frames(self, begin: int = 0, *, first: int | None = None) -> Generator[Frame]:
        """Yield every frame from `begin` on (pts on our clock) in order of presentation, decoded ahead in a thread.

        They are those that a pass from the beginning yields: decoding begins at a key frame where the container leads
        to it exactly, else at the beginning. `first` is the pts of the first of them, where an earlier pass has told.

        Raises UnreadableMedia where the file turns out truncated, encrypted or broken beyond concealment. A single
        broken packet is concealed or left out, and the frame before it is shown for its time.
        """
        progress = self._progress = self._new_progress()
        channel: Channel[_Read] = Channel(depth_for(self.width, self.height))
        decode = (self._decode_into, channel, progress, begin, first)
        thread = threading.Thread(target=contextvars.copy_context().run, args=decode, name="decode", daemon=True)
        self._decoding.append((channel, thread))
        thread.start()
        try:
            for frame, share_read in channel:
                progress.take(share_read)
                yield frame
        finally:
            channel.close()
            thread.join()
            self._decoding.remove((channel, thread))

    def share(self, done: float) -> float:
        """Return which share of the video its first `done` frames are, 0-1, for progress; a part of a frame counts.

        Where the container does not count its frames, this is an estimate from what the latest `frames` has read.
        """
        return self._progress.share(done)

    def frame_at(self, index: int) -> Frame:
        """Return the frame that `frames` yields as its `index`-th (0-based); past the end, the last one."""
        timed = self._sought(index) or self._counted(index)
        if timed is None:
            raise UnreadableMedia("media_without_frames", name=self.file.name)
        return Frame(ToRgb(self.colour, (self.width, self.height))(timed[0]), timed[1], timed[2])

    def losses(self, *, captioned: bool) -> list[str]:
        """Name what the pictures read so far had and the result has not; `captioned`: their captions are kept."""
        return [*self.lost, *([CAPTIONS] if self.has_captions and not captioned else [])]

    def close(self) -> None:
        """End the decoding threads; iterators that are still in use end too."""
        for channel, thread in list(self._decoding):
            channel.close()
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _decode_into(self, channel: Channel[_Read], progress: ReadingProgress, begin: int, first: int | None) -> None:
        """Run in the decoding thread: pass the frames on until the receiver closes the queue."""
        to_rgb = ToRgb(self.colour, (self.width, self.height))
        pictures = staged("decode", self._timed_from(begin, first))
        try:
            for count, (reader, (decoded, pts, duration)) in enumerate(pictures, start=1):
                captions = self._note(decoded)
                end = (pts + duration) * self.time_base
                share_read = progress.share_read(
                    frames=count, packets=reader.packets, bytes_read=reader.bytes_read, end=end
                )
                if not channel.put((Frame(to_rgb(decoded), pts, duration, captions), share_read)):
                    return
        except BaseException as failure:  # noqa: BLE001  # raised again where frames are consumed
            channel.finish(failure)
        else:
            channel.finish()

    def _measured(self, patience: float) -> float:
        """Return the length of a file whose clock may jump; 0.0 when it cannot be found soon."""
        with self._opened() as (container, stream):
            try:
                return float(measured_seconds(container, stream, patience) or 0)
            except av.FFmpegError:  # how far it can be read is found when it is
                return 0.0

    def _note(self, decoded: VideoFrame) -> Captions | None:
        """Keep what this picture has and an RGB frame has not; return its captions."""
        if TRANSPARENCY not in self.lost and is_transparent(decoded):
            self.lost.append(TRANSPARENCY)
        captions = Captions.of(decoded)
        self.has_captions |= captions is not None
        return captions

    def _timed_from(self, begin: int, first: int | None) -> Iterator[tuple[Reader, Timed]]:
        """Yield the pictures from `begin` on, each with what reads them; raise UnreadableMedia at an end too early."""
        with ExitStack() as stack:
            found = self._seek(begin, first, stack) if begin > 0 else None
            if found is None:
                container, stream = stack.enter_context(self._opened())
                reader = Reader(container, stream, self.file.name)
                found = reader, self._timed(container, stream, reader)
            reader, pictures = found
            for timed in pictures:
                if timed[1] >= begin:
                    yield reader, timed
            reader.check_complete()

    def _seek(self, begin: int, first: int | None, stack: ExitStack) -> tuple[Reader, Iterator[Timed]] | None:
        """Go to a key frame before `begin`; None where none leads there exactly: then only the whole file does.

        Pictures shown before the key frame that decoding began with may lack their references. So that frame must not
        lie behind `begin`, and must be the first to come out of the decoder, with a time of its own.
        """
        for back in _BACK_SECONDS:
            with ExitStack() as opened:
                container, stream = opened.enter_context(self._opened())
                if not any(name in container.format.name for name in _SOUGHT_FORMATS) or stream.time_base is None:
                    return None
                try:
                    container.seek(self._on_its_clock(begin) - round(back / stream.time_base), stream=stream)
                except av.FFmpegError:
                    return None
                reader = Reader(container, stream, self.file.name)
                pictures = self._timed(container, stream, reader)
                lead = next(pictures, None)
                key = None if reader.first_pts is None else self._on_our_clock(reader.first_pts)
                if lead is None or lead[0].pts is None or key is None or max(key, lead[1]) > begin:
                    continue
                reached: Timed | None = lead
                while reached is not None and reached[1] < begin:
                    reached = next(pictures, None)
                if first is not None and (reached is None or reached[1] != first):
                    return None
                stack.push(opened.pop_all())
                return reader, chain([] if reached is None else [reached], pictures)
        return None

    @contextmanager
    def _opened(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        with open_container(self.file) as container:
            yield container, video_stream(container, self.file.name)

    def _on_its_clock(self, pts: int) -> int:
        """Turn a time of ours into one in the track's unit, not later."""
        return (pts + round(self.origin_seconds / self.time_base)) // self._parts

    def _on_our_clock(self, told: int) -> int:
        """Turn a time in the track's unit into one of ours."""
        return told * self._parts - round(self.origin_seconds / self.time_base)

    def _timed(self, container: InputContainer, stream: VideoStream, reader: Reader) -> Iterator[Timed]:
        """Put the decoded pictures on our clock, each shown until the next one comes.

        Containers give durations in decoding order or not at all, so only the last one's is used. Times that stand
        still or jump back are made to increase: no encoder accepts any others.
        """
        step = max(round(1 / (self.frame_rate * self.time_base)), 1)
        waiting: tuple[VideoFrame, int] | None = None
        for decoded in reader.frames():
            told = None if decoded.pts is None else self._on_our_clock(decoded.pts)
            if waiting is None:
                waiting = decoded, told or 0
                continue
            pts = waiting[1] + step if told is None else max(told, waiting[1] + 1)
            yield *waiting, pts - waiting[1]
            waiting = decoded, pts
        if waiting is not None:
            usual = waiting[0].duration * self._parts or step
            ends = [self._on_our_clock(end) - waiting[1] for end in _track_ends(container, stream)]
            rest = min((end for end in ends if end > 0), key=lambda end: abs(end - usual), default=usual)
            yield *waiting, rest

    def _sought(self, index: int) -> Timed | None:
        """Go to the frame by its time; None where its time is not unique or the format cannot seek."""
        with self._opened() as (container, stream):
            timed_packets = any(name in container.format.name for name in _TIMED_FORMATS)
            pts = pts_of_frame(container, stream, index) if timed_packets else None
        if pts is None:
            return None
        wanted = self._on_our_clock(pts)
        back, second = 0, round(1 / (self.time_base * self._parts))
        while back <= self.duration_seconds * second:
            with self._opened() as (container, stream):
                try:
                    container.seek(pts - back, stream=stream)
                except av.FFmpegError:
                    return None
                reader = Reader(container, stream, self.file.name)
                for timed in self._timed(container, stream, reader):
                    # Pictures shown before the key frame that decoding began with may lack their references.
                    if timed[1] == wanted and reader.first_pts is not None and reader.first_pts <= pts:
                        return timed
                    if timed[1] >= wanted:
                        break
            back = back * 4 or second
        return None

    def _counted(self, index: int) -> Timed | None:
        """Decode from the beginning and count."""
        last = None
        with self._opened() as (container, stream):
            for position, timed in enumerate(self._timed(container, stream, Reader(container, stream, self.file.name))):
                last = timed
                if position == index:
                    break
        return last


def open_video(file: InputFile, *, patience: float = _PATIENCE) -> VideoSource:
    """Open a video by its checked descriptor; raise UnreadableMedia if no picture can be decoded.

    Where the clock may jump, `patience` is for how many seconds its length is looked for; it is 0.0, unknown, after.
    """
    return VideoSource(file, patience=patience)


def _parts(unit: Fraction, origin: Fraction) -> int:
    """Into how many parts a track's unit of seconds must be divided for a time to lie on its grid, nearly."""
    return 1 if (origin / unit).denominator == 1 else math.ceil(unit / _FINE_SECONDS)


def _track_ends(container: InputContainer, stream: VideoStream) -> list[int]:
    """Return in stream time when the last picture may end, where the container tells it for this track.

    The told duration counts from the first picture, in fragmented files from zero.
    """
    if "mov" not in container.format.name or stream.duration is None:
        return []
    return [(stream.start_time or 0) + stream.duration, stream.duration]
