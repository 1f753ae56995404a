"""Detail is averaged where the face looks as before, and taken at once where it does not."""

from itertools import pairwise

import numpy as np
import pytest

from services.facefusion.face import Float
from services.facefusion.restoration.detail_memory import DetailMemory
from shared.pipeline.state_bytes import from_bytes, to_bytes

SIDE = 128
FACE = np.random.default_rng(1).uniform(60, 180, (SIDE, SIDE, 3)).astype(np.float32)


def noise(number: int) -> Float:
    return np.random.default_rng(number).normal(0, 10, (SIDE, SIDE, 3)).astype(np.float32)


def test_the_first_frame_has_its_own_detail() -> None:
    assert np.array_equal(DetailMemory().smooth(noise(0), FACE), noise(0))


def test_what_changes_in_a_still_face_hardly_flickers() -> None:
    memory = DetailMemory()
    shown = [memory.smooth(noise(number), FACE) for number in range(20)]
    steps = [np.abs(one - other).mean() for one, other in pairwise(shown[10:])]
    plain = np.abs(noise(3) - noise(4)).mean()
    assert max(steps) < 0.2 * plain


def test_detail_that_stays_is_shown_in_full() -> None:
    memory = DetailMemory()
    memory.smooth(np.zeros_like(FACE), FACE)
    for _ in range(60):
        shown = memory.smooth(np.full_like(FACE, 8), FACE)
    assert shown == pytest.approx(8, abs=0.2)


def test_where_the_face_changes_the_new_detail_is_taken_at_once_and_only_there() -> None:
    memory = DetailMemory()
    memory.smooth(np.full_like(FACE, 20), FACE)
    moved = FACE.copy()
    moved[:64] += 40

    shown = memory.smooth(np.full_like(FACE, -20), moved)

    assert shown[:40] == pytest.approx(-20, abs=0.5)
    assert shown[90:].min() > 10


def test_a_slow_change_does_not_drag_old_detail_along() -> None:
    """One level a frame is below what counts as a change, several of them are not: without that 3.5 would be left."""
    memory = DetailMemory()
    memory.smooth(np.full_like(FACE, 20), FACE)
    for number in range(1, 16):
        shown = memory.smooth(np.full_like(FACE, -20), FACE + number)
    assert shown == pytest.approx(-20, abs=1.5)


def test_what_is_remembered_survives_as_bytes_bit_for_bit() -> None:
    one = DetailMemory()
    other = DetailMemory()
    for number in range(6):
        expected = one.smooth(noise(number), FACE + number)
        found = other.smooth(noise(number), FACE + number)
        assert np.array_equal(found, expected)
        other = from_bytes(to_bytes(other), [DetailMemory])
    assert to_bytes(one) == to_bytes(other)
