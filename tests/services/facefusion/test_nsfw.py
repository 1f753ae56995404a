"""The gate against nudity."""

import numpy as np
import pytest

from services.facefusion.nsfw import NsfwGate
from shared.errors import JobFailed
from tests.support.faces import frames_of, man, model, woman

PICTURE = np.zeros((8, 8, 3), np.uint8)


def gate(scores: list[float], *, share: float = 0.1, expected: int = 1) -> NsfwGate:
    found = iter(scores)
    return NsfwGate(lambda _image: next(found), 0.8, share, expected=expected)


def test_ordinary_pictures_score_low() -> None:
    score = model().nsfw
    assert score is not None
    for picture in (man(), woman(), frames_of("clip-no-face", count=1)[0]):
        assert score(picture) < 0.1


def test_a_single_picture_over_the_threshold_ends_the_job() -> None:
    with pytest.raises(JobFailed, match="1 of 1"):
        gate([0.9]).look(PICTURE)


def test_a_video_may_have_a_share_of_them() -> None:
    guard = gate([0.9] + [0.1] * 19, expected=20)
    for _ in range(20):
        guard.look(PICTURE)
    guard.close()

    assert guard.report() == {"checked": True, "samples": 20, "over": 1, "highest": 0.9}


def test_a_video_ends_as_soon_as_its_share_is_certain() -> None:
    guard = gate([0.9, 0.9, 0.9], expected=20)
    guard.look(PICTURE)
    guard.look(PICTURE)

    with pytest.raises(JobFailed, match="3 of 3"):
        guard.look(PICTURE)


def test_a_video_shorter_than_it_promised_is_judged_at_its_end() -> None:
    guard = gate([0.9, 0.1], expected=100)
    guard.look(PICTURE)
    guard.look(PICTURE)

    with pytest.raises(JobFailed):
        guard.close()


def test_without_a_scorer_nothing_is_looked_at_and_the_report_says_so() -> None:
    guard = NsfwGate(None, 0.8, 0.1)
    guard.look(PICTURE)
    guard.close()

    assert guard.report() == {"checked": False}
