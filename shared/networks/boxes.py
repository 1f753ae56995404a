"""Rectangles of a picture, and few of them with little area around all that is marked in a mask. Pure geometry."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

DEEPEST = 4  # cuts behind one another, so at most 16 rectangles

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Box:
    """A rectangle of a frame, in input pixels."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def area(self) -> int:
        return (self.bottom - self.top) * (self.right - self.left)

    def grown(self, by: int, height: int, width: int) -> "Box":
        """Return the rectangle with so many pixels more on each side, as far as the frame goes."""
        return Box(
            max(self.top - by, 0), max(self.left - by, 0), min(self.bottom + by, height), min(self.right + by, width)
        )

    def begun_on(self, grid: int) -> "Box":
        """Return the rectangle with as many more rows and columns before it as let it begin on multiples of `grid`."""
        return Box(self.top - self.top % grid, self.left - self.left % grid, self.bottom, self.right)

    def of(self, picture: npt.NDArray[Any], ratio: int = 1) -> npt.NDArray[Any]:
        """Return this part of a picture that is `ratio` times the frame, as a view."""
        return picture[self.top * ratio : self.bottom * ratio, self.left * ratio : self.right * ratio]

    def within(self, outer: "Box") -> "Box":
        """Return the rectangle as seen from another one around it."""
        return Box(self.top - outer.top, self.left - outer.left, self.bottom - outer.top, self.right - outer.left)


def changed_boxes(changed: Mask, *, margin: int) -> Iterator[Box]:
    """Cover the true pixels of a mask with few rectangles, so that all of them grown by `margin` have little area.

    Rectangles are cut in two along the widest empty band between their pixels (a recursive XY cut) where that saves
    area.
    """
    whole = _tight(changed, Box(0, 0, *changed.shape))
    if whole is not None:
        yield from _cut(changed, whole, margin, DEEPEST)


def _cut(changed: Mask, box: Box, margin: int, depth: int) -> list[Box]:
    best = [box]
    if depth:
        for halves in _halves(changed, box, margin):
            boxes = [piece for half in halves for piece in _cut(changed, half, margin, depth - 1)]
            if _cost(boxes, margin, changed) < _cost(best, margin, changed):
                best = boxes
    return best


def _halves(changed: Mask, box: Box, margin: int) -> Iterator[list[Box]]:
    """Yield the two sides of the widest empty band across, and of the one downwards, each cut to its own pixels."""
    part = box.of(changed)
    if band := _widest_gap(np.flatnonzero(part.any(1)), margin):
        above, below = (box.top + edge for edge in band)
        yield _tight_ones(
            changed, Box(box.top, box.left, above, box.right), Box(below, box.left, box.bottom, box.right)
        )
    if band := _widest_gap(np.flatnonzero(part.any(0)), margin):
        before, after = (box.left + edge for edge in band)
        yield _tight_ones(
            changed, Box(box.top, box.left, box.bottom, before), Box(box.top, after, box.bottom, box.right)
        )


def _widest_gap(places: npt.NDArray[np.intp], margin: int) -> tuple[int, int] | None:
    """Return where the widest empty band between ascending places begins and ends; None where it is below `margin`."""
    begin, end = max(pairwise(places.tolist()), key=lambda pair: pair[1] - pair[0], default=(0, 0))
    return (begin + 1, end) if end - begin - 1 >= margin else None


def _tight_ones(changed: Mask, *boxes: Box) -> list[Box]:
    return [tight for box in boxes if (tight := _tight(changed, box)) is not None]


def _tight(changed: Mask, box: Box) -> Box | None:
    """Return the smallest rectangle around the true pixels of a box; None where there is none."""
    part = box.of(changed)
    rows, columns = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
    if not len(rows):
        return None
    return Box(
        box.top + int(rows[0]), box.left + int(columns[0]), box.top + int(rows[-1]) + 1, box.left + int(columns[-1]) + 1
    )


def _cost(boxes: list[Box], margin: int, changed: Mask) -> int:
    return sum(box.grown(margin, *changed.shape).area for box in boxes)
