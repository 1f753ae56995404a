"""Sources as callers send them: videos, animations, odd pictures, odd faces."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from services.facefusion.nsfw import NsfwGate
from services.facefusion.portrait import LEAST_SIZE, Portrait, frontality, portrait_of, quality
from shared import weights
from shared.arrays import Image
from shared.errors import JobFailed
from shared.media.probe_worker import read_header
from tests.services.facefusion.test_pipeline import write_video
from tests.support.clips import ffmpeg, opened
from tests.support.faces import largest, man, model, pair, save, woman

NOBODY = np.full((360, 640, 3), 90, np.uint8)
UNCHECKED = NsfwGate(None, 1.0, 1.0)


def found(path: Path, field: str = "source_file") -> Portrait:
    with opened(path) as file:
        return portrait_of(file, field, model(), UNCHECKED)


def blurred(image: Image) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 6), np.uint8)


def cosine(portrait: Portrait, image: Image) -> float:
    """How much a portrait looks like the person of a picture."""
    embed = model().embed
    one, other = embed(portrait.image, portrait.face.landmarks5), embed(image, largest(image).face.landmarks5)
    return float(one @ other)


# Videos and animations


def test_of_a_video_the_best_face_of_its_frames_is_taken(tmp_path: Path) -> None:
    frames = [NOBODY] * 3 + [blurred(man())] * 3 + [man()] + [blurred(man())] * 3
    portrait = found(write_video(tmp_path / "film.mp4", frames))

    assert portrait.frame == 6
    assert cosine(portrait, man()) > 0.9


def test_a_video_that_a_player_turns_is_seen_as_it_is_shown(tmp_path: Path) -> None:
    stored = write_video(tmp_path / "stored.mp4", [np.ascontiguousarray(np.rot90(man()))] * 2)
    target = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", "-90", "-i", stored, "-c", "copy", target)

    assert found(target).image.shape == man().shape


def save_animation(path: Path, images: list[Image]) -> Path:
    pictures = [Pillow.fromarray(image) for image in images]
    how: dict[str, Any] = {"lossless": True} if path.suffix == ".webp" else {}
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=40, **how)
    return path


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
def test_of_an_animation_the_best_face_of_its_frames_is_taken(tmp_path: Path, suffix: str) -> None:
    path = save_animation(tmp_path / f"moving{suffix}", [NOBODY, blurred(woman()), woman()])

    with opened(path) as file:
        header = read_header(file, "portrait")
    assert (header.kind, header.width, header.height) == ("image", 640, 360)
    portrait = found(path)
    assert portrait.frame == 2
    assert cosine(portrait, woman()) > 0.85


def test_a_video_is_as_good_as_a_picture_to_whoever_asks_what_a_source_is() -> None:
    """Its frames are no work, and need no room for segments."""
    with opened(weights.path("clip-single-face")) as file:
        header = read_header(file, "portrait")
    assert (header.kind, header.frame_count, header.duration_seconds) == ("image", None, 0.0)


def test_quality_prefers_the_sharp_the_large_and_the_frontal() -> None:
    face = largest(man()).face
    assert quality(man(), face) > 2 * quality(blurred(man()), face)
    small = np.asarray(cv2.resize(man(), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
    assert quality(man(), face) > quality(small, largest(small).face)
    points = face.landmarks5.copy()
    assert frontality(points) > 0.5
    points[2] = points[1]
    assert frontality(points) == 0


# Odd pictures


def turned_by_exif(folder: Path) -> Path:
    exif = Pillow.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    path = folder / "exif.jpg"
    Pillow.fromarray(np.ascontiguousarray(np.rot90(man()))).save(path, exif=exif, quality=95)
    return path


def cmyk(folder: Path) -> Path:
    path = folder / "cmyk.jpg"
    Pillow.fromarray(man()).convert("CMYK").save(path, quality=95)
    return path


def sixteen_bit(folder: Path) -> Path:
    path = folder / "deep.png"
    cv2.imwrite(str(path), man()[..., ::-1].astype(np.uint16) * 257)
    return path


def sixteen_bit_grey(folder: Path) -> Path:
    path = folder / "grey.png"
    cv2.imwrite(str(path), cv2.cvtColor(man(), cv2.COLOR_RGB2GRAY).astype(np.uint16) * 257)
    return path


def upside_down(folder: Path) -> Path:
    return save(folder / "down.png", np.ascontiguousarray(np.rot90(man(), 2)))


def at_the_border(folder: Path) -> Path:
    """The picture ends in the middle of his forehead and through his cheek."""
    x1, y1, x2, y2 = (int(value) for value in largest(man()).face.bbox)
    return save(folder / "border.png", man()[y1 + (y2 - y1) // 6 :, x1 + (x2 - x1) // 8 :])


@pytest.mark.parametrize("make", [turned_by_exif, cmyk, sixteen_bit, sixteen_bit_grey, upside_down, at_the_border])
def test_an_odd_picture_shows_the_same_man(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    portrait = found(make(tmp_path))
    assert portrait.frame is None
    assert cosine(portrait, man()) > 0.5


def test_of_several_people_in_a_picture_the_largest_face_is_the_source(tmp_path: Path) -> None:
    small = np.asarray(cv2.resize(woman()[:, 160:], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
    both = np.hstack([man()[:, 40:520], np.vstack([small, np.zeros_like(small)])])
    assert cosine(found(save(tmp_path / "both.png", both)), man()) > 0.9


# What cannot be used


def test_a_source_without_a_face_is_named(tmp_path: Path) -> None:
    for path in (save(tmp_path / "nobody.png", NOBODY), write_video(tmp_path / "nobody.mp4", [NOBODY] * 3)):
        with pytest.raises(JobFailed, match=r"faces\[3\]\.source_file shows no face"):
            found(path, "faces[3].source_file")


@pytest.mark.parametrize("pixels", [12, LEAST_SIZE - 4])
def test_a_face_too_small_to_take_anything_of_it_is_named_with_its_size(tmp_path: Path, pixels: int) -> None:
    scale = pixels / float(largest(man()).face.size.max())
    small = cv2.resize(man(), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    with pytest.raises(JobFailed, match=rf"source_file shows (no face|only a face of \d\d pixels: .* {LEAST_SIZE})"):
        found(save(tmp_path / "small.png", np.asarray(small, np.uint8)))


def test_the_best_of_a_pair_is_a_face_of_the_pair(tmp_path: Path) -> None:
    portrait = found(write_video(tmp_path / "pair.mp4", [pair()] * 2))
    assert max(cosine(portrait, man()), cosine(portrait, woman())) > 0.85


def test_only_the_first_hundred_frames_are_looked_at(tmp_path: Path) -> None:
    tiny = [np.asarray(cv2.resize(NOBODY, (160, 90)), np.uint8)] * 100
    late = np.asarray(cv2.resize(man(), (160, 90), interpolation=cv2.INTER_AREA), np.uint8)
    with pytest.raises(JobFailed, match="shows no face"):
        found(write_video(tmp_path / "late.mp4", [*tiny, late]))
