"""The process that reads headers for `shared.media.probe`: one file at a time, by descriptor, under limits.

`python -m shared.media.probe_worker SOCKET PARENT`
"""

import json
import resource
import signal
import socket
import sys
from typing import Any

from shared.errors import UnreadableMedia
from shared.files.handles import InputFile
from shared.media.decode import open_video
from shared.media.image import is_picture, picture_header
from shared.media.media_info import MediaHeader, MediaKind
from shared.media.thumbnail import thumbnail
from shared.process.lifetime import die_with_parent

_IDLE_SECONDS = 300
_MEMORY_BYTES = 4 << 30  # of addresses; a file that asks for more breaks this process alone
_REQUEST_BYTES = 8192
_PATIENCE = 0.5  # seconds to look for a length that no header tells, well within a probe's limit


def main() -> None:
    """Answer requests until the parent has ended or has sent none for minutes."""
    die_with_parent(int(sys.argv[2]), by=signal.SIGKILL)  # it is deaf to SIGTERM
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with socket.socket(fileno=int(sys.argv[1])) as link:
        link.settimeout(_IDLE_SECONDS)
        link.send(b"{}")
        while True:
            try:
                request, descriptors, _, _ = socket.recv_fds(link, _REQUEST_BYTES, 2)
            except TimeoutError:
                return
            if not request:
                return
            link.send(json.dumps(answer(json.loads(request), *descriptors)).encode())


def answer(request: dict[str, Any], descriptor: int, picture: int = -1) -> dict[str, Any]:
    """Return {"header": …}, or {"problem": key, "facts": …} for a file of another kind.

    With a second descriptor, a thumbnail is written to it and the answer is {"bytes": …}.
    """
    with InputFile(descriptor, request["name"], request["size"], request["mtime_ns"]) as file:
        try:
            if picture >= 0:
                with open(picture, "wb") as output:  # a descriptor
                    made = thumbnail(file, request["width"], at=request["at"], frame=request["frame"])
                    return {"bytes": output.write(made)}
            return {"header": read_header(file, request["kind"]).to_json()}
        except UnreadableMedia as problem:
            return {"problem": problem.key, "facts": {name: str(fact) for name, fact in problem.facts.items()}}


def read_header(file: InputFile, kind: MediaKind) -> MediaHeader:
    """Read enough to know that the file is of that kind and can be decoded: for a video its first picture."""
    if kind == "image" or (kind == "picture_or_video" and is_picture(file)):
        return picture_header(file)
    if kind == "portrait":
        return portrait_header(file)
    with open_video(file, patience=_PATIENCE) as source:
        return MediaHeader(
            kind="video",
            width=source.width,
            height=source.height,
            bit_depth=source.bit_depth,
            rotation=source.orientation.rotation,
            mirrored=source.orientation.mirrored,
            frame_rate=source.frame_rate,
            frame_count=source.frame_count,
            duration_seconds=source.duration_seconds,
            has_audio=source.has_audio,
        )


def portrait_header(file: InputFile) -> MediaHeader:
    """Read the header of the picture that a picture, an animation or a video is, or has."""
    if is_picture(file):
        return picture_header(file, animated=True)
    with open_video(file, patience=_PATIENCE) as source:
        return MediaHeader(kind="image", width=source.width, height=source.height, bit_depth=source.bit_depth)


if __name__ == "__main__":
    main()
