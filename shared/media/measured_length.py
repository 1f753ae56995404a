"""How long a track is where its container cannot know: found by walking over all packets, without decoding."""

import time
from fractions import Fraction

from av.container import InputContainer
from av.video.stream import VideoStream

from shared.media.continuity import Continuity


def measured_seconds(container: InputContainer, stream: VideoStream, patience: float) -> Fraction | None:
    """Return for how long the pictures of a freshly opened file are shown; None if that takes over `patience` seconds.

    Where the clock jumps, what libav tells is the distance of the first time from the last one, or anything else. A
    recording that was joined in the middle is shown from its first key frame on.
    """
    deadline = time.monotonic() + patience
    begin: Fraction | None = None
    has_key, end = False, Fraction(0)
    for packet in Continuity.of(container, stream.index).running(container.demux()):
        if time.monotonic() > deadline:
            return None
        if packet.stream is stream and packet.size and packet.pts is not None:
            shown = packet.pts * packet.time_base
            if begin is None or (packet.is_keyframe and not has_key):
                begin, has_key = shown, packet.is_keyframe
            elif not has_key:
                begin = min(begin, shown)
            end = max(end, shown + (packet.duration or 0) * packet.time_base)
    return None if begin is None else end - begin
