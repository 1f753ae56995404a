"""Captions come out with the pictures that they came in with, or are named as lost; so is transparency."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from av.sidedata.sidedata import SideData
from av.sidedata.sidedata import Type as SideDataType

from shared.media.decode import VideoSource, open_video
from shared.media.encode import encode
from shared.media.frame import Frame
from shared.media.provenance import Label
from shared.settings import EncodingSettings, Settings
from tests.support.clips import ffmpeg, opened, output_in, with_captions

Pictures = Callable[[VideoSource], Iterator[Frame]]


def frames_as_they_are(video: VideoSource) -> Iterator[Frame]:
    return video.frames()


def frames_made_anew(video: VideoSource) -> Iterator[Frame]:
    return (replace(frame, captions=None) for frame in video.frames())


def rewrite(
    source: Path, folder: Path, encoder: str = "x264", frames: Pictures = frames_as_they_are
) -> tuple[Path, list[str]]:
    settings = Settings(encoding=EncodingSettings(preset="ultrafast", encoder=encoder))
    with opened(source) as file, open_video(file) as video, output_in(folder) as target:
        size, label = (video.width, video.height), Label("tests", "captions")
        report = encode(frames(video), target, like=video, size=size, settings=settings, label=label)
        return folder / target.publish(), report.lost


def captions_of(path: Path) -> dict[float, bytes]:
    """The captions of each picture by its time, told by libav alone."""
    found: dict[float, bytes] = {}
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            kinds: list[SideData] = list(frame.side_data)  # type: ignore[arg-type]  # the stubs call its items str
            found |= {round(frame.time or 0, 3): bytes(data) for data in kinds if data.type is SideDataType.A53_CC}
    return found


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize("encoder", ["x264", "x265"])
@pytest.mark.parametrize("begin", [0, 9])
def test_captions_stay_with_their_pictures(tmp_path: Path, suffix: str, encoder: str, begin: int) -> None:
    source = with_captions(tmp_path / f"captioned{suffix}", begin=begin)
    result, lost = rewrite(source, tmp_path, encoder)
    wanted = captions_of(source)
    start = min(captions_of(source)) - min(captions_of(result))
    assert len(set(wanted.values())) == 25 - begin
    assert {round(time + start, 3): said for time, said in captions_of(result).items()} == wanted
    assert "closed captions" not in lost


def test_captions_that_the_encoder_or_a_new_picture_has_no_place_for_are_named(tmp_path: Path) -> None:
    source = with_captions(tmp_path / "captioned.mp4", begin=9)
    for number, (encoder, frames) in enumerate((("svtav1", frames_as_they_are), ("x264", frames_made_anew))):
        (folder := tmp_path / str(number)).mkdir()
        result, lost = rewrite(source, folder, encoder, frames)
        assert captions_of(result) == {}
        assert lost == ["closed captions"]


def test_a_captioned_picture_is_the_same_picture(tmp_path: Path) -> None:
    source = with_captions(tmp_path / "captioned.mp4")
    (tmp_path / "without").mkdir()
    paths = [rewrite(source, tmp_path)[0], rewrite(source, tmp_path / "without", frames=frames_made_anew)[0]]
    pictures = []
    for path in paths:
        with opened(path) as file, open_video(file) as video:
            pictures.append([frame.image for frame in video.frames()])
    assert np.array_equal(np.array(pictures[0]), np.array(pictures[1]))


@pytest.mark.parametrize(
    ("suffix", "codec", "pixels"),
    [
        (".mov", "prores_ks", "yuva444p10le"),
        (".mov", "png", "rgba"),
        (".mov", "qtrle", "argb"),
        (".webm", "libvpx-vp9", "yuva420p"),
        (".webm", "libvpx", "yuva420p"),
        (".mkv", "ffv1", "yuva420p"),
        (".gif", "gif", None),
        (".png", "apng", "rgba"),
    ],
)
@pytest.mark.parametrize("transparent", [True, False])
def test_transparency_is_named_wherever_it_begins(
    tmp_path: Path, suffix: str, codec: str, pixels: str | None, *, transparent: bool
) -> None:
    source = tmp_path / f"alpha{suffix}"
    shown = ("1" if codec == "gif" else "gte(N,5)") if transparent else "0"  # no GIF encoder opens a hole later
    filters = f"format=rgba,geq=r='r(X,Y)':g='g(X,Y)':b='b(X,Y)':a='if({shown}*lt(X,20),0,255)'"
    if codec == "gif":
        filters += ",split[a][b];[a]palettegen[p];[b][p]paletteuse"
    options = {"apng": ["-f", "apng"], "libvpx": ["-auto-alt-ref", "0"]}.get(codec, [])
    form = ["-pix_fmt", pixels] if pixels else []
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x36:r=10:d=1", "-vf", filters, "-c:v", codec, *form, *options, source)
    _, lost = rewrite(source, tmp_path)
    held_apart = suffix == ".webm"  # libav does not decode it, so nobody knows what is in it
    assert ("transparency" in lost) == (transparent or held_apart)
