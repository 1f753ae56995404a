"""Test clips, made on the spot: every odd thing that real files do, none of them downloaded.

Each function writes one file and returns its path. Small ones by default: 160x90, a second, 25 frames.
"""

import os
import struct
import subprocess
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import numpy as np
import numpy.typing as npt
from av.packet import Packet
from av.video.stream import VideoStream

from shared.files.handles import InputFile, OutputDir, OutputFile

Pixels = npt.NDArray[Any]

BARS = np.array(  # 100 % and 75 % colour bars and two greys, RGB
    [
        (255, 255, 255), (191, 191, 0), (0, 191, 191), (0, 191, 0),
        (191, 0, 191), (191, 0, 0), (0, 0, 191), (128, 128, 128),
    ],
    np.uint8,
)  # fmt: skip
LUMA = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}  # Kr, Kb
CODES = {"bt601": 6, "bt709": 1, "bt2020": 9}  # H.273 matrix coefficients
UNTAGGED = 2
IRREGULAR = (0, 40, 80, 200, 210, 333, 500, 501, 700, 1000, 1040, 1500)  # milliseconds


def opened(path: Path) -> InputFile:
    """Open a file as a job gets it; a context manager."""
    descriptor = os.open(path, os.O_RDONLY)
    status = os.fstat(descriptor)
    return InputFile(descriptor, path.name, status.st_size, status.st_mtime_ns)


def output_in(folder: Path, stem: str = "result", suffix: str = ".mp4") -> OutputFile:
    """Create an output as a job does; a context manager that discards what was not published."""
    with OutputDir(os.open(folder, os.O_RDONLY | os.O_DIRECTORY), folder) as directory:
        return directory.create(stem, suffix)


def ffmpeg(*arguments: str | Path) -> None:
    """Run ffmpeg, quietly; raise with what it said when it fails."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def clip(
    path: Path,
    *,
    size: tuple[int, int] = (160, 90),
    rate: str = "25",
    seconds: float = 1,
    source: str = "testsrc2",
    sound: str | None = "aac",
    codec: str = "libx264",
    options: Sequence[str] = (),
    metadata: dict[str, str] | None = None,
) -> Path:
    """Write a moving test picture with a tone; `sound` None is mute. x264 gives it B-frames."""
    picture = ["-f", "lavfi", "-i", f"{source}=s={size[0]}x{size[1]}:r={rate}:d={seconds}"]
    tone = ["-f", "lavfi", "-i", f"sine=440:d={seconds}", "-c:a", sound] if sound else []
    said = [part for key, value in (metadata or {}).items() for part in ("-metadata", f"{key}={value}")]
    ffmpeg(*picture, *tone, "-c:v", codec, *_quick(codec), *options, *said, path)
    return path


def mute(path: Path) -> Path:
    """Write a clip without any sound."""
    return clip(path, sound=None)


def rotated(path: Path, degrees: int, *, size: tuple[int, int] = (160, 90)) -> Path:
    """Write a clip that a player turns clockwise by `degrees`, as phones do."""
    return oriented(path, degrees, size=size)


def oriented(path: Path, degrees: int, *, mirrored: bool = False, size: tuple[int, int] = (160, 90)) -> Path:
    """Write a clip that a player mirrors left to right, as front cameras do, and then turns clockwise by `degrees`."""
    stored = clip(path.with_suffix(".stored.mp4"), size=size)
    # The option turns the other way, and ffmpeg mirrors what it has turned: so it has to turn the other way again.
    turn = degrees if mirrored else -degrees
    mirror = ["-display_hflip"] if mirrored else []
    ffmpeg("-display_rotation", str(turn), *mirror, "-i", stored, "-c", "copy", path)
    return path


def variable_rate(path: Path, *, milliseconds: Sequence[int] = IRREGULAR, last: int = 300, b_frames: int = 2) -> Path:
    """Write frames shown at the given instants, the last one for `last` milliseconds; B-frames in between."""
    pictures = [np.full((90, 160, 3), 20 * (n % 12), np.uint8) for n in range(len(milliseconds))]
    for n, picture in enumerate(pictures):
        picture[:, 10 * n % 150 : 10 * n % 150 + 10] = 255
    return from_pictures(
        path, pictures, times=milliseconds, time_base=Fraction(1, 1000), last=last, options={"bf": str(b_frames)}
    )


def ten_bit(path: Path, *, size: tuple[int, int] = (160, 90)) -> Path:
    """Write 10-bit HEVC with the tags of HDR10: BT.2020, PQ, limited range."""
    tags = "setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc:range=tv"
    return clip(path, size=size, codec="libx265", options=["-vf", f"format=yuv420p10le,{tags}"])


def odd_sized(path: Path, *, size: tuple[int, int] = (175, 143)) -> Path:
    """Write 4:4:4, which has odd sizes."""
    return clip(path, size=size, source="testsrc", options=["-pix_fmt", "yuv444p"])


def with_companions(path: Path) -> Path:
    """Write Matroska with two sound tracks, two subtitle tracks, chapters, a title, a cover and a font."""
    folder = path.parent
    subtitles = folder / "subtitles.srt"
    subtitles.write_text(
        "1\n00:00:00,200 --> 00:00:00,600\n你好，世界\n\n2\n00:00:01,000 --> 00:00:01,500\n<i>second</i> line\n",
        encoding="utf-8",
    )
    chapters = folder / "chapters.txt"
    chapters.write_text(
        ";FFMETADATA1\ntitle=标题 title\nartist=someone\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=1000\ntitle=一\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=1000\nEND=2000\ntitle=two\n",
        encoding="utf-8",
    )
    cover = folder / "cover.png"
    ffmpeg("-f", "lavfi", "-i", "color=red:s=64x64", "-frames:v", "1", cover)
    base = clip(folder / "base.mkv", seconds=2)
    ffmpeg(
        "-i", base, "-f", "lavfi", "-i", "sine=880:d=2", "-i", subtitles, "-i", subtitles, "-i", chapters,
        "-map", "0:v", "-map", "0:a", "-map", "1:a", "-map", "2", "-map", "3", "-map_metadata", "4",
        "-c", "copy", "-c:a:1", "pcm_s16le", "-c:s:0", "srt", "-c:s:1", "ass",
        "-metadata:s:a:0", "language=chi", "-metadata:s:a:1", "language=eng", "-metadata:s:s:0", "language=chi",
        "-disposition:a:1", "0",
        "-attach", cover, "-metadata:s:t", "mimetype=image/png", "-metadata:s:t", "filename=cover.png", path,
    )  # fmt: skip
    return path


def with_cover(path: Path) -> Path:
    """Write MP4 with an attached cover picture."""
    cover = path.with_suffix(".cover.png")
    ffmpeg("-f", "lavfi", "-i", "color=red:s=64x64", "-frames:v", "1", cover)
    base = clip(path.with_suffix(".base.mp4"))
    ffmpeg("-i", base, "-i", cover, "-map", "0", "-map", "1", "-c", "copy", "-disposition:v:1", "attached_pic", path)
    return path


def with_mov_text(path: Path) -> Path:
    """Write MP4 with timed text of its own."""
    subtitles = path.with_suffix(".srt")
    subtitles.write_text("1\n00:00:00,200 --> 00:00:00,600\n字幕\n", encoding="utf-8")
    base = clip(path.with_suffix(".base.mp4"))
    ffmpeg("-i", base, "-i", subtitles, "-c", "copy", "-c:s", "mov_text", path)
    return path


def with_captions(path: Path, *, begin: int = 0) -> Path:
    """Write H.264 with CEA-608 captions from picture `begin` on, other bytes for each picture."""
    base = clip(path.with_suffix(".base.mp4"), sound=None, size=(64, 36), options=["-pix_fmt", "yuv420p"])
    with av.open(str(base)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(packet for packet in source.demux(video=0) if packet.size):
            # ITU-T T.35: the United States, ATSC; then one construct of line 21, field 1.
            said = b"\xb5\x00\x31GA94\x03\xc1\xff\xfc" + bytes((33 + number, 64)) + b"\xff"
            message = b"\x06\x04" + bytes([len(said)]) + said + b"\x80"
            new = Packet((len(message).to_bytes(4, "big") + message if number >= begin else b"") + bytes(packet))
            new.pts, new.dts, new.duration, new.time_base = packet.pts, packet.dts, packet.duration, packet.time_base
            new.is_keyframe, new.stream = packet.is_keyframe, stream
            target.mux(new)
    return path


def late_picture(path: Path, *, milliseconds: int = 120) -> Path:
    """Write a clip whose picture starts after its sound, through an empty edit."""
    base = clip(path.with_suffix(".base.mp4"))
    ffmpeg(
        "-i", base, "-itsoffset", str(milliseconds / 1000), "-i", base, "-map", "1:v", "-map", "0:a", "-c", "copy", path
    )
    return path


def trimmed_by_edit_list(path: Path, *, seconds: float = 0.5) -> Path:
    """Write a clip that starts in the middle of a group of pictures; an edit list hides the first half."""
    base = clip(path.with_suffix(".base.mp4"), seconds=2, options=["-g", "50"])
    ffmpeg("-ss", str(seconds), "-i", base, "-c", "copy", path)
    return path


def open_gop(path: Path, *, seconds: float = 2) -> Path:
    """Write a clip whose key frames are followed by pictures shown before them."""
    return clip(
        path, seconds=seconds, options=["-x264-params", "open-gop=1:keyint=10:min-keyint=10:bframes=3:scenecut=0"]
    )


def scene_cuts(path: Path, *, frames: int = 24, cut_at: int = 12, size: tuple[int, int] = (160, 96)) -> Path:
    """Write two still scenes without anything in common, the second from frame `cut_at` on."""
    scenes = [_noise(size, seed) for seed in (1, 2)]
    return from_pictures(path, [scenes[n >= cut_at] for n in range(frames)])


def affine_pan(
    path: Path, *, frames: int = 9, step: float = 4.0, size: tuple[int, int] = (192, 128), every: int = 1
) -> Path:
    """Write a smooth texture that moves left by `step` pixels a frame, rendered at exact positions."""
    return from_pictures(path, [pan_picture(n * every * step, size) for n in range(frames)])


def pan_picture(shift: float, size: tuple[int, int] = (192, 128)) -> Pixels:
    """Render the texture of `affine_pan` moved left by `shift` pixels; any fraction is exact."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]].astype(np.float64)
    x = x + shift
    waves = [np.sin(x / 5.0) * np.cos(y / 7.0), np.sin((x + y) / 9.0), np.cos(x / 11.0 - y / 6.0)]
    return np.stack([127.5 + 100 * wave for wave in waves], -1).round().astype(np.uint8)


def colour_bars(
    path: Path, *, matrix: str = "bt709", full_range: bool = False, bits: int = 8, tagged: bool = True, height: int = 96
) -> Path:
    """Write `BARS`, 32 pixels each, computed from the standards and coded without loss in x264."""
    planes = yuv_of(np.repeat(BARS, 32, axis=0)[None].repeat(height, 0), matrix, full_range=full_range, bits=bits)
    pixel_format = "yuv420p" if bits == 8 else "yuv420p10le"
    dtype = np.uint8 if bits == 8 else np.uint16
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0", "preset": "ultrafast"})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = planes[0].shape[1], planes[0].shape[0], pixel_format
        stream.codec_context.color_range = 2 if full_range else 1
        code = CODES[matrix] if tagged else UNTAGGED
        for tag in ("colorspace", "color_primaries", "color_trc"):
            setattr(stream.codec_context, tag, code if code != 9 or tag != "color_trc" else 14)
        for number in range(5):
            frame = av.VideoFrame(planes[0].shape[1], planes[0].shape[0], pixel_format)
            for plane, values in zip(frame.planes, [planes[0], planes[1][::2, ::2], planes[2][::2, ::2]], strict=True):
                padded = np.zeros((plane.height, plane.line_size // dtype().itemsize), dtype)
                padded[:, : plane.width] = values
                plane.update(padded.tobytes())
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def yuv_of(rgb: Pixels, matrix: str, *, full_range: bool, bits: int) -> tuple[Pixels, Pixels, Pixels]:
    """Convert 8-bit RGB to Y, Cb, Cr codes straight from the equations of BT.601, 709 and 2020; no subsampling."""
    kr, kb = LUMA[matrix]
    red, green, blue = np.moveaxis(rgb / 255.0, -1, 0)
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    blueness, redness = (blue - luma) / (2 * (1 - kb)), (red - luma) / (2 * (1 - kr))
    unit, top = 2 ** (bits - 8), 2**bits - 1
    scale, offset, chroma = (top, 0, top) if full_range else (219 * unit, 16 * unit, 224 * unit)
    dtype = np.uint8 if bits == 8 else np.uint16
    return tuple(
        np.clip(np.round(plane), 0, top).astype(dtype)
        for plane in (offset + scale * luma, 128 * unit + chroma * blueness, 128 * unit + chroma * redness)
    )


def rgb_of(planes: tuple[Pixels, Pixels, Pixels], matrix: str, *, full_range: bool, bits: int) -> Pixels:
    """Undo `yuv_of`, in floating point 0-255."""
    kr, kb = LUMA[matrix]
    unit, top = 2 ** (bits - 8), 2**bits - 1
    scale, offset, chroma = (top, 0, top) if full_range else (219 * unit, 16 * unit, 224 * unit)
    luma = (planes[0].astype(np.float64) - offset) / scale
    blueness, redness = ((plane.astype(np.float64) - 128 * unit) / chroma for plane in planes[1:])
    red, blue = luma + 2 * (1 - kr) * redness, luma + 2 * (1 - kb) * blueness
    green = (luma - kr * red - kb * blue) / (1 - kr - kb)
    rgb: Pixels = 255 * np.clip(np.stack([red, green, blue], -1), 0, 1)
    return rgb


def from_pictures(
    path: Path,
    pictures: Iterable[Pixels],
    *,
    rate: Fraction | int = 25,
    times: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    last: int = 1,
    crf: int = 10,
    options: dict[str, str] | None = None,
) -> Path:
    """Write RGB pictures with x264, at a constant rate or at `times` in `time_base`."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": str(crf), **(options or {})})
        assert isinstance(stream, VideoStream)
        unit = time_base or 1 / Fraction(rate)
        stream.codec_context.time_base = unit
        stream.pix_fmt = "yuv420p"
        instants = dict(enumerate(times or ()))
        final = max(instants.values(), default=None)
        for number, picture in enumerate(pictures):
            if number == 0:
                stream.height, stream.width = picture.shape[:2]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
            frame.pts, frame.time_base = instants.get(number, number), unit
            container.mux(_lasting(stream.encode(frame), instants, final, last))
        container.mux(_lasting(stream.encode(None), instants, final, last))
    return path


def tiny_gif(path: Path, *, frames: int, canvas: tuple[int, int] = (1, 1), hundredths: int = 1) -> Path:
    """A GIF whose every frame, black and white in turn, changes one pixel: 23 bytes a frame, whatever its canvas."""
    black, white = b"\x02\x02\x44\x01\x00", b"\x02\x02\x4c\x01\x00"
    head = b"GIF89a" + struct.pack("<HHBBB", *canvas, 0x80, 0, 0) + b"\x00\x00\x00\xff\xff\xff"
    shown = b"\x21\xf9\x04\x00" + struct.pack("<H", hundredths) + b"\x00\x00"
    place = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0)
    pair = shown + place + black + shown + place + white
    path.write_bytes(head + pair * (frames // 2) + (shown + place + black) * (frames % 2) + b";")
    return path


def without_length(path: Path, *, frames: int = 48, size: tuple[int, int] = (64, 36)) -> Path:
    """A Matroska file as it is written while it is recorded: its header tells neither length nor number of frames."""
    picture = f"testsrc2=s={size[0]}x{size[1]}:r=24:d={frames / 24}"
    ffmpeg("-f", "lavfi", "-i", picture, *_quick("libx264"), "-f", "matroska", "-live", "1", path)
    return path


def truncated(whole: Path, path: Path, *, share: float = 0.6) -> Path:
    """Cut a file off. An MP4 keeps its index when `whole` was written with `-movflags +faststart`."""
    data = whole.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def corrupted(path: Path, *, packet: int = 12) -> Path:
    """Write a clip of which one packet is noise."""
    clip(path, seconds=2, options=["-g", "12"])
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(container.streams.video[0]) if packet.size]
        position, size = packets[packet].pos, packets[packet].size
    assert position is not None
    data = bytearray(path.read_bytes())
    data[position + 8 : position + size] = np.random.default_rng(5).bytes(size - 8)
    path.write_bytes(data)
    return path


def ruined(path: Path) -> Path:
    """Write a clip with a good first picture and noise in place of all others."""
    clip(path, seconds=2)
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(container.streams.video[0]) if p.size][1:]
    data = bytearray(path.read_bytes())
    for position, size in packets:
        assert position is not None
        data[position : position + size] = np.random.default_rng(size).bytes(size)
    path.write_bytes(data)
    return path


def audio_only(path: Path) -> Path:
    """Write sound in a video container."""
    ffmpeg("-f", "lavfi", "-i", "sine=440:d=1", "-c:a", "aac", path)
    return path


def without_frames(path: Path) -> Path:
    """Write a well-formed MP4 with a video track that holds no frame."""
    base = mute(path.with_suffix(".base.mp4"))
    ffmpeg("-i", base, "-c", "copy", "-frames:v", "0", "-movflags", "+empty_moov+default_base_moof", path)
    return path


def gigantic(path: Path) -> Path:
    """Write a tiny file that decodes to 20000x16 pixels."""
    ffmpeg("-f", "lavfi", "-i", "color=black:s=20000x16:r=5:d=0.4", "-c:v", "ffv1", path)
    return path


def encrypted(path: Path) -> Path:
    """Write MP4 under Common Encryption, as shops sell it."""
    base = clip(path.with_suffix(".base.mp4"))
    key = ["-encryption_key", "76a6c65c5ea762046bd749a2e632ccbb", "-encryption_kid", "a7e61c373e219033c21091fa607bf3b8"]
    ffmpeg("-i", base, "-c", "copy", "-encryption_scheme", "cenc-aes-ctr", *key, path)
    return path


def playlist(path: Path, *entries: Path | str) -> Path:
    """Write an endless HLS playlist that names other files."""
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1"]
    lines += [line for entry in entries for line in ("#EXTINF:1.0,", str(entry))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")  # no ENDLIST: more may come for ever
    return path


def renamed_text(path: Path) -> Path:
    """Write text under a video's name."""
    path.write_text("This is not a video.\n" * 100, encoding="utf-8")
    return path


def _lasting(packets: list[Any], instants: dict[int, int], final: int | None, last: int) -> list[Any]:
    """Give the packets of irregular times the duration up to the next instant, which the encoder does not know."""
    ordered = sorted(instants.values())
    following = dict(zip(ordered, [*ordered[1:], (final or 0) + last], strict=True)) if ordered else {}
    for packet in packets:
        if packet.pts in following:
            packet.duration = following[packet.pts] - packet.pts
    return packets


def _noise(size: tuple[int, int], seed: int) -> Pixels:
    """Return coarse coloured noise."""
    cells = np.random.default_rng(seed).integers(0, 256, (size[1] // 16, size[0] // 16, 3), np.uint8)
    return cells.repeat(16, axis=0).repeat(16, axis=1)


def _quick(codec: str) -> list[str]:
    """Options that make an encoder fast enough for tests."""
    return {
        "libx264": ["-preset", "veryfast"],
        "libx265": ["-preset", "ultrafast", "-x265-params", "log-level=error"],
        "libvpx-vp9": ["-deadline", "realtime", "-cpu-used", "8"],
    }.get(codec, [])
