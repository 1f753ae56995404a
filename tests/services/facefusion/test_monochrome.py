"""Black-and-white targets."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from services.facefusion.monochrome import as_colourful, colour_share
from services.facefusion.swapper import Patch
from shared.arrays import Image, Picture
from tests.services.facefusion.test_pipeline import decode, write_video
from tests.support.faces import difference, man, read, run, save, woman

RED = np.zeros((40, 40, 3), np.float32) + np.array([200, 100, 90], np.float32)
PATCH = Patch(10, 10, RED, np.ones((40, 40), np.float32))


def grey(image: Image) -> Image:
    return np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)


def spread(image: Image) -> int:
    """The largest difference of two channels in any pixel."""
    return int((image.max(2).astype(int) - image.min(2)).max())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_patch_has_the_colour_of_what_it_covers(dtype: type[np.uint8 | np.uint16]) -> None:
    most = np.iinfo(dtype).max
    plain: Picture = np.full((80, 80, 3), most // 2, dtype)
    coloured = plain.copy()
    coloured[..., 0] = most // 3 * 2
    assert colour_share(coloured, PATCH) == 1
    assert as_colourful(coloured, PATCH) is PATCH
    added = replace(PATCH, added=True)
    assert as_colourful(plain, added) is added
    assert colour_share(plain, PATCH) == 0
    assert np.ptp(as_colourful(plain, PATCH).pixels, axis=2).max() < 0.01
    faint = plain.copy()
    faint[..., 0] += most // 255 * 4
    assert 0 < colour_share(faint, PATCH) < 1


def test_only_what_the_mask_shows_is_looked_at() -> None:
    frame = np.full((80, 80, 3), 90, np.uint8)
    frame[:, 30:, 0] = 200
    mask = np.zeros((40, 40), np.float32)
    mask[:, :16] = 1
    assert colour_share(frame, Patch(10, 10, RED, mask)) == 0
    assert colour_share(frame, Patch(10, 10, RED, np.zeros_like(mask))) == 1


def test_a_black_and_white_picture_and_film_stay_black_and_white(tmp_path: Path) -> None:
    source = save(tmp_path / "in" / "woman.png", woman())
    picture = save(tmp_path / "in" / "grey.png", grey(man()))
    film = write_video(tmp_path / "in" / "grey.mp4", [grey(man())] * 3)

    still, _ = run(tmp_path / "out", source, picture, programe=1)
    moving, job = run(tmp_path / "out", source, film, programe=1)

    swapped = read(tmp_path / "out" / still.video)
    assert spread(swapped) <= 1
    assert difference(swapped, grey(man())).mean() > 0.5
    assert job.details["swapped_frames"] == 3
    assert max(map(spread, decode(tmp_path / "out" / moving.video))) <= 4
