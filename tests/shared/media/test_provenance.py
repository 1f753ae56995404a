"""Every result says once, in its metadata, that a machine made it; and on the picture, if the operator wants that."""

import json
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree as ET

import av
import numpy as np
import pytest
from PIL import Image

from shared.arrays import Picture
from shared.media.decode import open_video
from shared.media.encode import encode
from shared.media.frame import Frame
from shared.media.image import write_picture
from shared.media.orientation import Orientation, upright
from shared.media.provenance import Label
from shared.media.watermark import stamp
from shared.settings import EncodingSettings, Settings
from tests.support import clips
from tests.support.clips import clip, opened, output_in

FIELDS = ["Label", "ContentProducer", "ProduceID", "ReservedCode1", "ContentPropagator", "PropagateID", "ReservedCode2"]
NAMESPACE = "{http://www.tc260.org.cn/ns/AIGC/1.0/}AIGC"


def labels_in(path: Path) -> list[str]:
    with av.open(str(path)) as container:
        return [text for key, text in container.metadata.items() if key.upper() == "AIGC"]


def check(value: str, producer: str, produce_id: str) -> None:
    """The rules for the value, each as it is written down."""
    assert re.fullmatch(r"[!-~]+", value), "printable ASCII without spaces"
    said = json.loads(value)
    assert list(said) == FIELDS
    assert all(isinstance(text, str) for text in said.values())
    assert (said["Label"], said["ContentProducer"], said["ProduceID"]) == ("1", producer, produce_id)


def grey(count: int, size: tuple[int, int]) -> Iterator[Frame]:
    for number in range(count):
        yield Frame(np.full((size[1], size[0], 3), 60, np.uint8), number, 1)


def changed(picture: Picture, ground: int = 60) -> Picture:
    changes: Picture = np.abs(picture.astype(int) - ground).max(-1) > 20
    return changes


def test_a_video_carries_exactly_one_label_and_keeps_its_other_metadata(tmp_path: Path) -> None:
    source = clip(tmp_path / "clip.mp4", metadata={"title": "标题", "comment": "kept"})
    settings = Settings(encoding=EncodingSettings(content_producer="studio-7"))
    with opened(source) as file, open_video(file) as video, output_in(tmp_path, "7_upscale_0badcafe-1") as target:
        label = Label.of(settings, target)
        encode(video.frames(), target, like=video, size=(160, 90), settings=settings, label=label)
        result = tmp_path / target.publish()
    (value,) = labels_in(result)
    check(value, "studio-7", "7_upscale_0badcafe-1")
    with av.open(str(result)) as container:
        assert container.metadata["title"] == "标题"
        assert container.metadata["comment"] == "kept"
    assert result.read_bytes().count(b'{"Label":"1"') == 1


def test_an_earlier_label_is_replaced(tmp_path: Path) -> None:
    old = tmp_path / "old.mp4"
    clips.ffmpeg(
        "-i", clip(tmp_path / "clip.mp4"), "-c", "copy", "-movflags", "use_metadata_tags",
        "-metadata", 'AIGC={"Label":"1","ContentProducer":"other"}', old,
    )  # fmt: skip
    assert len(labels_in(old)) == 1
    with opened(old) as file, open_video(file) as video, output_in(tmp_path, "new") as target:
        encode(video.frames(), target, like=video, size=(160, 90), settings=Settings(), label=Label("us", "1"))
        result = tmp_path / target.publish()
    (value,) = labels_in(result)
    check(value, "us", "1")
    assert b"other" not in result.read_bytes()


def test_the_number_is_ascii_whatever_the_file_is_called(tmp_path: Path) -> None:
    with output_in(tmp_path, "任务 9_x") as target:
        check(Label.of(Settings(), target).implicit(), "kinora", "9_x")
    with output_in(tmp_path, "任务") as target:
        check(Label.of(Settings(), target).implicit(), "kinora", "unnamed")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_a_picture_carries_exactly_one_label(tmp_path: Path, suffix: str) -> None:
    with output_in(tmp_path, "picture", suffix) as target:
        write_picture(np.zeros((32, 48, 3), np.uint8), target, label=Label("a&b<c>", "9_x"))
        path = tmp_path / target.publish()
    with Image.open(path) as image:
        xmp = image.info["xmp"]
    text = xmp.decode() if isinstance(xmp, bytes) else xmp
    packet = text[text.index("?>") + 2 : text.rindex("<?xpacket")]
    (element,) = ET.fromstring(packet).iter(NAMESPACE)
    assert element.text is not None
    check(element.text, "a&b<c>", "9_x")


def test_what_no_machine_made_is_not_labelled(tmp_path: Path) -> None:
    for suffix in (".jpg", ".png", ".webp"):
        with output_in(tmp_path, "crop", suffix) as target:
            write_picture(np.zeros((32, 48, 3), np.uint8), target, label=None)
            assert b"AIGC" not in (tmp_path / target.publish()).read_bytes()


@pytest.mark.parametrize("size", [(1920, 1080), (1080, 1920), (640, 360), (320, 320)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_characters_are_a_twentieth_of_the_shortest_side_high(size: tuple[int, int], dtype: type) -> None:
    black: Picture = np.zeros((size[1], size[0], 3), dtype)
    stamped = stamp(black)
    white = np.all(stamped > np.iinfo(dtype).max * 0.8, axis=-1)
    rows = np.flatnonzero(white.any(1))
    assert rows[-1] - rows[0] + 1 >= min(size) / 20
    assert rows[0] > size[1] * 0.8
    assert np.flatnonzero(white.any(0))[0] > size[0] / 2
    assert not black.any(), "the given picture is not written to"


def test_even_the_smallest_picture_can_be_stamped() -> None:
    for size in ((1, 1), (2, 9), (16, 16), (400, 3)):
        assert stamp(np.zeros((*size, 3), np.uint8)).shape == (*size, 3)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_the_visible_label_is_upright_for_the_viewer(rotation: int, *, mirrored: bool) -> None:
    orientation = Orientation(rotation, mirrored)
    stored = np.full((180, 320, 3), 60, np.uint8)
    shown = upright(stamp(stored, orientation), orientation)
    direct = stamp(upright(stored, orientation))
    assert np.array_equal(shown, direct)


@pytest.mark.parametrize("visible", [True, False])
def test_the_visible_label_stands_for_at_least_two_seconds_at_the_start(tmp_path: Path, *, visible: bool) -> None:
    settings = Settings(encoding=EncodingSettings(visible_label=visible, preset="ultrafast"))
    with output_in(tmp_path) as target:
        label = Label.of(settings, target)
        encode(
            grey(40, (320, 180)), target, like=None, size=(320, 180), settings=settings, label=label,
            frame_rate=Fraction(8),
        )  # fmt: skip
        result = tmp_path / target.publish()
    with opened(result) as file, open_video(file) as video:
        labelled = [float(frame.pts * video.time_base) for frame in video.frames() if changed(frame.image).any()]
    if visible:
        assert labelled[0] == 0
        assert 2 <= labelled[-1] < 4
    else:
        assert labelled == []


def test_presented_frames_of_a_turned_source_are_labelled_as_they_stand(tmp_path: Path) -> None:
    settings = Settings(encoding=EncodingSettings(visible_label=True, preset="ultrafast", crf=0))
    turned = clips.rotated(tmp_path / "turned.mp4", 90)
    with opened(turned) as file, open_video(file) as source, output_in(tmp_path) as target:
        encode(
            grey(8, (320, 180)), target, like=source, size=(320, 180), settings=settings,
            label=Label.of(settings, target), frame_rate=Fraction(8), time_base=Fraction(1, 8), display_oriented=True,
        )  # fmt: skip
        result = tmp_path / target.publish()
    with opened(result) as file, open_video(file) as video:
        assert video.orientation == Orientation()
        written = next(video.frames()).image
    expected = stamp(np.full_like(written, 60))
    assert np.abs(written.astype(int) - expected).mean() < 2


def test_a_picture_shows_the_visible_label_always(tmp_path: Path) -> None:
    with output_in(tmp_path, "picture", ".png") as target:
        write_picture(np.full((180, 320, 3), 60, np.uint8), target, label=Label("us", "1", visible=True))
        path = tmp_path / target.publish()
    with Image.open(path) as image:
        assert changed(np.array(image)).any()
