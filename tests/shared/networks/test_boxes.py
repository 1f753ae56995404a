"""Rectangles cover what is marked, and little else."""

import numpy as np

from shared.networks.boxes import DEEPEST, Box, changed_boxes


def test_rectangles_cover_every_change_with_little_area() -> None:
    rng = np.random.default_rng(7)
    for count in (1, 2, 5, 40, 2000):
        changed = np.zeros((200, 300), np.bool_)
        changed.ravel()[rng.integers(0, changed.size, count)] = True
        boxes = list(changed_boxes(changed, margin=12))
        left = changed.copy()
        for box in boxes:
            box.of(left)[:] = False
        assert not left.any()
        assert len(boxes) <= 2**DEEPEST
    cursor_and_clock = np.zeros((200, 300), np.bool_)
    cursor_and_clock[100:110, 20:30] = cursor_and_clock[5:15, 260:290] = True
    assert sorted(changed_boxes(cursor_and_clock, margin=12), key=lambda box: box.top) == [
        Box(5, 260, 15, 290),
        Box(100, 20, 110, 30),
    ]
    assert list(changed_boxes(np.zeros((20, 30), np.bool_), margin=12)) == []
