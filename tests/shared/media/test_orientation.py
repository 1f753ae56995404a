"""All eight ways to show a stored picture: what we make of them is what ffmpeg itself shows, and files keep them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.media.decode import open_video
from shared.media.encode import encode
from shared.media.orientation import Orientation, as_stored, upright
from shared.media.provenance import Label
from shared.settings import Settings
from tests.support import clips
from tests.support.clips import Pixels, ffmpeg, opened, output_in

EIGHT = [Orientation(degrees, mirrored) for mirrored in (False, True) for degrees in (0, 90, 180, 270)]
TOLERANCE = 10  # of 255, on average: ffmpeg interpolates the halved chroma otherwise; a wrong one is 64 or more away
all_eight = pytest.mark.parametrize("orientation", EIGHT, ids=str)


def shown_by_ffmpeg(path: Path) -> Pixels:
    """Render the first picture with ffmpeg's own turning and mirroring."""
    still = path.with_suffix(".png")
    ffmpeg("-i", path, "-frames:v", "1", still)
    return np.array(Image.open(still).convert("RGB"))


def difference(one: Pixels, other: Pixels) -> float:
    return float(np.abs(one.astype(float) - other).mean()) if one.shape == other.shape else np.inf


@all_eight
def test_every_orientation_is_shown_as_ffmpeg_shows_it(tmp_path: Path, orientation: Orientation) -> None:
    path = clips.oriented(tmp_path / "phone.mp4", orientation.rotation, mirrored=orientation.mirrored)
    with opened(path) as file, open_video(file) as video:
        assert video.orientation == orientation
        stored = video.frame_at(0).image
    reference = shown_by_ffmpeg(path)
    fitting = [other for other in EIGHT if difference(upright(stored, other), reference) < TOLERANCE]
    assert fitting == [orientation]


@all_eight
def test_every_orientation_can_be_undone(orientation: Orientation) -> None:
    stored = np.random.default_rng(7).integers(0, 256, (6, 10, 3), np.uint8)
    shown = upright(stored, orientation)
    assert shown.shape[:2] == ((10, 6) if orientation.swaps_sides else (6, 10))
    assert np.array_equal(as_stored(shown, orientation), stored)


@all_eight
def test_a_result_keeps_the_orientation_of_its_source(tmp_path: Path, orientation: Orientation) -> None:
    path = clips.oriented(tmp_path / "phone.mp4", orientation.rotation, mirrored=orientation.mirrored)
    with opened(path) as file, open_video(file) as video, output_in(tmp_path) as target:
        size = video.width, video.height
        encode(video.frames(), target, like=video, size=size, settings=Settings(), label=Label("tests", "turn"))
        result = tmp_path / target.publish()
    with opened(result) as file, open_video(file) as video:
        assert (video.width, video.height, video.orientation) == (*size, orientation)
    assert difference(shown_by_ffmpeg(result), shown_by_ffmpeg(path)) < TOLERANCE


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((0,) * 9, Orientation()),
        ((2 << 16, 0, 0, 0, 2 << 16, 0, 0, 0, 1 << 30), Orientation()),
        ((-(2 << 16), 0, 0, 0, 1 << 16, 0, 160, 0, 1 << 30), Orientation(0, mirrored=True)),
        ((65270, -5712, 0, 5712, 65270, 0, 0, 0, 1 << 30), Orientation()),
        ((5712, 65270, 0, -65270, 5712, 0, 0, 0, 1 << 30), Orientation(90)),
    ],
    ids=["zeros", "enlarged", "mirrored and stretched", "turned by 5 degrees back", "turned by 85 degrees"],
)
def test_odd_matrices_go_to_the_nearest_of_the_eight(matrix: tuple[int, ...], expected: Orientation) -> None:
    assert Orientation.of_display_matrix(matrix) == expected
