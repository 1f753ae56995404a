"""Which kind of media a file is by its first bytes: enough to name its type, without any codec.

Only types that a browser shows as nothing but pictures, sound and film are named: no HTML, no SVG, no PDF.
"""

from typing import Final

HEAD_BYTES: Final = 512  # as much of a file as is looked at

_ISO_BRANDS: Final = {
    b"avif": "image/avif", b"avis": "image/avif", b"heic": "image/heic", b"heix": "image/heic", b"mif1": "image/heic",
    b"msf1": "image/heic", b"qt  ": "video/quicktime", b"M4A ": "audio/mp4",
}  # fmt: skip
_BEGINNINGS: Final = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"\x00\x00\x00\x0cjP  ", "image/jp2"),
    (b"OggS", "video/ogg"),
    (b"FLV\x01", "video/x-flv"),
    (b"\x00\x00\x01\xba", "video/mpeg"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video/x-ms-asf"),
    (b"\x06\x0e\x2b\x34\x02\x05\x01\x01", "application/mxf"),
    (b"nut/multimedia container\x00", "video/x-nut"),
    (b"DKIF", "video/x-ivf"),
)
_QUICKTIME_ATOMS: Final = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})
_TS_PACKET: Final = 188


def media_type(head: bytes) -> str | None:
    """Return the type of a file that begins with `head`, its first `HEAD_BYTES`; None for anything else."""
    if head[4:8] == b"ftyp":
        return _ISO_BRANDS.get(head[8:12], "video/mp4")
    if head[:4] == b"RIFF":
        return {b"AVI ": "video/x-msvideo", b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(head[8:12])
    if head[:4] == b"\x1aE\xdf\xa3":
        return "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    if head[4:8] in _QUICKTIME_ATOMS:
        return "video/quicktime"
    if any(head[at : at + 1] == b"G" == head[at + step : at + step + 1] for at, step in ((0, _TS_PACKET), (4, 192))):
        return "video/mp2t"
    return next((found for beginning, found in _BEGINNINGS if head.startswith(beginning)), None)
