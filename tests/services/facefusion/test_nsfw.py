"""The nudity check."""

import numpy as np
import pytest

from services.facefusion.nsfw import NsfwGate
from shared.errors import JobFailed
from tests.support.faces import frames_of, man, model, woman

PICTURE = np.zeros((8, 8, 3), np.uint8)


def gate_of(scores: list[float], *, share: float = 0.1, expected: int | None = 1) -> NsfwGate:
    found = iter(scores)
    return NsfwGate(lambda _image: next(found), 0.8, share, expected=expected)


def test_ordinary_pictures_score_low() -> None:
    score = model().nsfw
    assert score is not None
    for picture in (man(), woman(), frames_of("clip-no-face", count=1)[0]):
        assert score(picture) < 0.1


def test_a_single_picture_over_the_threshold_ends_the_job() -> None:
    with pytest.raises(JobFailed, match="1 of 1"):
        gate_of([0.9]).check(PICTURE)


def test_a_video_may_have_a_share_of_them() -> None:
    gate = gate_of([0.9] + [0.1] * 19, expected=20)
    for _ in range(20):
        gate.check(PICTURE)
    gate.finish()

    assert gate.report() == {"checked": True, "samples": 20, "over": 1, "highest": 0.9}


def test_a_video_ends_as_soon_as_its_share_is_certain() -> None:
    gate = gate_of([0.9, 0.9, 0.9], expected=20)
    gate.check(PICTURE)
    gate.check(PICTURE)

    with pytest.raises(JobFailed, match="3 of 3"):
        gate.check(PICTURE)


def test_a_video_of_unknown_length_is_not_judged_by_its_first_pictures() -> None:
    gate = gate_of([0.9] + [0.1] * 19, expected=None)
    for _ in range(20):
        gate.check(PICTURE)
    gate.finish()

    refused = gate_of([0.1, 0.9], expected=None)
    for _ in range(2):
        refused.check(PICTURE)
    with pytest.raises(JobFailed, match="1 of 2"):
        refused.finish()


def test_a_video_shorter_than_announced_is_checked_at_its_end() -> None:
    gate = gate_of([0.9, 0.1], expected=100)
    gate.check(PICTURE)
    gate.check(PICTURE)

    with pytest.raises(JobFailed):
        gate.finish()


def test_without_a_scorer_nothing_is_checked_and_the_report_says_so() -> None:
    gate = NsfwGate(None, 0.8, 0.1)
    gate.check(PICTURE)
    gate.finish()

    assert gate.report() == {"checked": False}
