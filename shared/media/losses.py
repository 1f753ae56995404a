"""What a decoded picture has beside its colours, and which of it an RGB frame cannot carry to an encoder."""

import struct

from av.sidedata.sidedata import SideData
from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame

from shared.media.colour import bit_depth

CAPTIONS = "closed captions"
TRANSPARENCY = "transparency"

_DEEPEST = 10  # bits that every encoder here can write
_GREY_AND_ALPHA = 2  # components
_NOT_WRITTEN = {  # what PyAV cannot give to an encoder
    SideDataType.MASTERING_DISPLAY_METADATA: "HDR mastering metadata",
    SideDataType.DYNAMIC_HDR_PLUS: "HDR10+ metadata",
    SideDataType.DOVI_METADATA: "Dolby Vision metadata",
    SideDataType.STEREO3D: "the mark that it is stereoscopic",
    SideDataType.SPHERICAL: "the mark that it is spherical",
    SideDataType.ICC_PROFILE: "colour profile",
}


def display_matrix(frame: VideoFrame) -> tuple[int, ...] | None:
    """Return the nine numbers that say how a player turns and flips the picture."""
    data = _side_data(frame, SideDataType.DISPLAYMATRIX)
    return None if data is None else struct.unpack("=9i", bytes(data)[:36])


def _side_data(frame: VideoFrame, kind: SideDataType) -> SideData | None:
    kinds: list[SideData] = list(frame.side_data)  # type: ignore[arg-type]  # the stubs call its items str
    return next((data for data in kinds if data.type is kind), None)


def not_carried(frame: VideoFrame) -> list[str]:
    """Name what a decoded picture has and an RGB frame has not."""
    lost = [name for kind, name in _NOT_WRITTEN.items() if _side_data(frame, kind) is not None]
    if frame.interlaced_frame:
        lost.append("interlacing: fields are woven into whole frames")
    has_chroma = (
        not (frame.format.is_rgb or frame.format.has_palette) and len(frame.format.components) > _GREY_AND_ALPHA
    )
    if has_chroma and frame.format.chroma_width(2) * frame.format.chroma_height(2) > 1:
        lost.append("colour finer than one sample for four pixels")
    if bit_depth(frame) > _DEEPEST:
        lost.append(f"bits of a colour beyond {_DEEPEST}")
    return lost
