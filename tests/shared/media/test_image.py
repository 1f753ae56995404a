"""Pictures are read as a viewer shows them and refused in one sentence when they cannot be."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from shared.arrays import Picture
from shared.errors import JobFailed, UnreadableMedia
from shared.files.handles import OutputFile
from shared.media.image import (
    MAX_PICTURE_PIXELS,
    is_picture,
    picture_header,
    picture_suffix,
    read_picture,
    write_picture,
)
from shared.media.provenance import Label
from tests.support.clips import BARS, clip, opened, output_in, renamed_text

# Red and green over blue and white.
QUARTERS = (
    np.array([[(255, 0, 0), (0, 255, 0)], [(0, 0, 255), (255, 255, 255)]], np.uint8)
    .repeat(16, axis=0)
    .repeat(32, axis=1)
)


def read(path: Path) -> Picture:
    with opened(path) as file:
        return read_picture(file)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tiff", ".gif", ".avif", ".jp2"])
def test_every_usual_format_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"图片 😀{suffix}"
    Image.fromarray(QUARTERS).save(path)
    picture = read(path)
    assert picture.shape == (32, 64, 3)
    assert picture.dtype == np.uint8
    assert np.abs(picture[8::16, 16::32].astype(int) - QUARTERS[8::16, 16::32]).max() < 12
    with opened(path) as file:
        assert is_picture(file)
        header = picture_header(file)
        assert (header.kind, header.width, header.height, header.has_audio) == ("image", 64, 32, False)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright_whichever_way_the_camera_was_held(tmp_path: Path, orientation: int) -> None:
    turns = {
        1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, 1), 7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "phone.png"
    Image.fromarray(np.ascontiguousarray(turns[orientation](QUARTERS))).save(path, exif=exif)
    assert np.array_equal(read(path), QUARTERS)
    with opened(path) as file:
        assert (picture_header(file).width, picture_header(file).height) == (64, 32)


def test_print_colours_are_converted(tmp_path: Path) -> None:
    path = tmp_path / "print.jpg"
    Image.fromarray(QUARTERS).convert("CMYK").save(path, quality=95)
    assert np.abs(read(path)[8::16, 16::32].astype(int) - QUARTERS[8::16, 16::32]).max() < 12


def test_a_colour_profile_is_honoured(tmp_path: Path) -> None:
    """A profile of our own swaps red and blue: only who applies it sees the colours as they were."""
    path = tmp_path / "profile.png"
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = profile.index(b"rXYZ"), profile.index(b"bXYZ")
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    Image.fromarray(QUARTERS[..., ::-1].copy()).save(path, icc_profile=bytes(profile))
    assert np.abs(read(path).astype(int) - QUARTERS).max() <= 3


def test_a_broken_colour_profile_is_as_good_as_none(tmp_path: Path) -> None:
    path = tmp_path / "broken.png"
    Image.fromarray(QUARTERS).save(path, icc_profile=b"not a profile")
    assert np.array_equal(read(path), QUARTERS)


def test_sixteen_bit_grey_keeps_its_shades(tmp_path: Path) -> None:
    path = tmp_path / "scan.png"
    Image.fromarray(np.linspace(0, 65535, 64 * 32).astype(np.uint16).reshape(32, 64)).save(path)
    picture = read(path)
    assert (int(picture[0, 0, 0]), int(picture[-1, -1, 0])) == (0, 255)
    assert len(np.unique(picture)) > 250
    with opened(path) as file:
        assert picture_header(file).bit_depth == 16


def test_transparency_lies_on_white(tmp_path: Path) -> None:
    path = tmp_path / "logo.png"
    Image.fromarray(np.dstack([QUARTERS, np.full((32, 64), 0, np.uint8)])).save(path)
    assert read(path).min() == 255
    Image.new("P", (8, 8)).save(tmp_path / "palette.gif", transparency=0)
    assert read(tmp_path / "palette.gif").min() == 255


@pytest.mark.parametrize(("suffix", "is_film"), [(".gif", True), (".png", True), (".webp", False), (".avif", False)])
def test_an_animation_is_no_picture(tmp_path: Path, suffix: str, *, is_film: bool) -> None:
    path = tmp_path / f"animation{suffix}"
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with opened(path) as file:
        assert is_picture(file) == (not is_film)
        for reading in (read_picture, picture_header):
            with pytest.raises(UnreadableMedia) as problem:
                reading(file)
            assert problem.value.key == "picture_animated"


def test_pages_are_no_animation(tmp_path: Path) -> None:
    path = tmp_path / "pages.tiff"
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert read(path)[0, 0].tolist() == [255, 0, 0]


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    for path in (renamed_text(tmp_path / "text.jpg"), clip(tmp_path / "film.jpg.mp4")):
        with opened(path) as file:
            assert not is_picture(file)
            with pytest.raises(UnreadableMedia) as problem:
                read_picture(file)
        assert problem.value.key == "media_not_a_picture"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_truncated_picture_is_refused(tmp_path: Path, suffix: str) -> None:
    whole = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 256, (200, 200, 3), np.uint8)
    Image.fromarray(noise).save(whole, {".jpg": "JPEG"}.get(suffix, suffix[1:]))
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    with pytest.raises(UnreadableMedia) as problem:
        read(path)
    assert problem.value.key == "media_not_a_picture"


@pytest.mark.parametrize(("width", "height"), [(10_000, 9_000), (60_000, 60_000), (20_000, 5_000)])
def test_a_decompression_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, width: int, height: int) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    path = tmp_path / "bomb.png"
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)))
    assert width * height > MAX_PICTURE_PIXELS
    with opened(path) as file:
        for reader in (read_picture, picture_header):
            with pytest.raises(UnreadableMedia) as problem:
                reader(file)
            assert problem.value.key == "picture_too_large"


@pytest.mark.parametrize(
    ("given", "suffix"),
    [
        (".jpg", ".jpg"),
        (".jpeg", ".jpg"),
        (".png", ".png"),
        (".webp", ".webp"),
        (".bmp", ".png"),
        (".gif", ".png"),
    ],
)
def test_a_result_has_the_format_of_its_source_where_we_write_it(tmp_path: Path, given: str, suffix: str) -> None:
    path = tmp_path / f"source{given}"
    Image.fromarray(QUARTERS).save(path)
    with opened(path) as file:
        assert picture_suffix(file) == suffix


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_what_is_written_is_what_is_read(tmp_path: Path, suffix: str) -> None:
    bars = BARS.repeat(16, 0)[None].repeat(64, 0)
    with output_in(tmp_path, "结果", suffix) as target:
        write_picture(bars, target, label=Label("us", "1"))
        path = tmp_path / target.publish()
    assert np.abs(read(path)[:, 8::16].astype(int) - bars[:, 8::16]).max() <= (0 if suffix == ".png" else 8)


def test_a_full_disk_is_one_clear_sentence(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    with (
        OutputFile(os.open("/dev/full", os.O_RDWR), "full", ".png", folder=folder) as target,
        pytest.raises(JobFailed) as problem,
    ):
        write_picture(QUARTERS, target, label=None)
    assert problem.value.key == "no_room"
