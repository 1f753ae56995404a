"""Colours come out as they went in, whatever matrix, range and depth the file uses."""

from pathlib import Path

import av
import numpy as np
import pytest
from av.video.stream import VideoStream

from shared.media.colour import Colour, ToRgb, ToYuv
from shared.media.decode import open_video
from shared.media.encode import encode
from shared.media.provenance import Label
from shared.settings import Settings
from tests.support.clips import BARS, CODES, Pixels, clip, colour_bars, opened, output_in, rgb_of

KINDS = [
    (matrix, full_range, bits)
    for matrix, bits in (("bt601", 8), ("bt709", 8), ("bt709", 10), ("bt2020", 10))
    for full_range in (False, True)
]
LABEL = Label("tests", "colour")


def centres(picture: Pixels) -> Pixels:
    """The colour in the middle of each bar."""
    return picture[picture.shape[0] // 2, 16::32]


def stored_rgb(path: Path, matrix: str, *, full_range: bool, bits: int) -> Pixels:
    """The first picture of a file by the standards' equations alone, RGB 0-255."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    dtype = np.uint8 if bits == 8 else np.uint16
    planes = [
        np.frombuffer(bytes(plane), dtype).reshape(plane.height, -1)[:, : plane.width].repeat(n, 0).repeat(n, 1)
        for plane, n in zip(frame.planes, (1, 2, 2), strict=True)
    ]
    return rgb_of((planes[0], planes[1], planes[2]), matrix, full_range=full_range, bits=bits)


def rewritten(source: Path, folder: Path) -> Path:
    """The file after one pass through decoder and encoder, nothing in between."""
    with opened(source) as file, open_video(file) as video, output_in(folder, "again") as target:
        encode(video.frames(), target, like=video, size=(video.width, video.height), settings=Settings(), label=LABEL)
        return folder / target.publish()


@pytest.mark.parametrize(("matrix", "full_range", "bits"), KINDS)
def test_colour_bars_are_read_within_two_of_255(tmp_path: Path, matrix: str, *, full_range: bool, bits: int) -> None:
    path = colour_bars(tmp_path / "bars.mp4", matrix=matrix, full_range=full_range, bits=bits)
    with opened(path) as file, open_video(file) as video:
        image = video.frame_at(0).image
    assert image.dtype == (np.uint8 if bits == 8 else np.uint16)
    read = centres(image) / (1 if bits == 8 else 257)
    assert np.abs(read - BARS).max() <= 2


@pytest.mark.parametrize(("matrix", "full_range", "bits"), KINDS)
def test_colour_bars_survive_a_round_trip_within_two_of_255(
    tmp_path: Path, matrix: str, *, full_range: bool, bits: int
) -> None:
    source = colour_bars(tmp_path / "bars.mp4", matrix=matrix, full_range=full_range, bits=bits)
    result = rewritten(source, tmp_path)
    shown = centres(stored_rgb(result, matrix, full_range=full_range, bits=bits)).round()  # as an 8-bit screen has it
    assert np.abs(shown - BARS).max() <= 2
    with av.open(str(result)) as container:
        stream = container.streams.video[0]
        assert isinstance(stream, VideoStream)
        assert stream.codec_context.colorspace == CODES[matrix]
        assert stream.codec_context.color_primaries == CODES[matrix]
        assert stream.codec_context.color_range == (2 if full_range else 1)
        eight = "yuvj420p" if full_range else "yuv420p"  # one format under two names
        assert stream.codec_context.pix_fmt == (eight if bits == 8 else "yuv420p10le")


@pytest.mark.parametrize(("height", "matrix"), [(96, "bt601"), (720, "bt709")])
def test_an_untagged_stream_is_read_as_players_do_and_the_result_says_so(
    tmp_path: Path, height: int, matrix: str
) -> None:
    source = colour_bars(tmp_path / "bars.mp4", matrix=matrix, tagged=False, height=height)
    with opened(source) as file, open_video(file) as video:
        assert np.abs(centres(video.frame_at(0).image) - BARS.astype(int)).max() <= 2
    with opened(rewritten(source, tmp_path)) as file, open_video(file) as video:
        code = CODES[matrix]
        assert video.colour == Colour(matrix=code, primaries=code, transfer=code, full_range=False)


def test_hdr_tags_are_kept(tmp_path: Path) -> None:
    source = clip(
        tmp_path / "hlg.mp4",
        options=[
            "-vf",
            "format=yuv420p10le,setparams=color_primaries=bt2020:color_trc=arib-std-b67:colorspace=bt2020nc",
        ],
    )
    with opened(rewritten(source, tmp_path)) as file, open_video(file) as video:
        assert (video.colour.matrix, video.colour.primaries, video.colour.transfer) == (9, 9, 18)
        assert video.bit_depth == 10


@pytest.mark.parametrize("full_range", [False, True])
def test_ten_bits_keep_every_level_and_white_is_white(*, full_range: bool) -> None:
    colour = Colour(full_range=full_range)
    levels = np.linspace(0, 65535, 1024).round().astype(np.uint16)
    image = np.broadcast_to(levels[None, :, None], (16, 1024, 3)).copy()
    back = ToRgb(colour)(ToYuv(colour, "yuv420p10le")(image))
    assert back[8, 0].max() <= 64  # one 10-bit step
    error = np.abs(back.astype(int) - image)
    assert error[8, 1023].max() <= 128
    assert error.max() < 257  # an 8-bit step; in full range libswscale's chroma is one 10-bit step off
    assert len(np.unique(back[8, :, 1])) > 800


def test_eight_bit_pictures_fill_a_ten_bit_encoder() -> None:
    frame = ToYuv(Colour(), "yuv420p10le")(np.full((16, 16, 3), 255, np.uint8))
    assert abs(int(np.frombuffer(bytes(frame.planes[0]), np.uint16)[0]) - 940) <= 1
