"""Cut a picture into windows that fit a memory or cache budget, and say which part of each output is used.

Pure geometry. All windows have one shape, so that several may run as one batch. A window
at the picture's edge ends exactly there and has its overlap inside instead: what a network pads there (zeros,
as when it was trained) is then the same with and without tiles.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from shared.networks.boxes import Box

SMALLEST_CORE = 16  # pixels a side: below that a window is hardly more than its overlap


@dataclass(frozen=True)
class Tile:
    """In input pixels of the picture: the window that the network sees and the core that is kept of its output."""

    window_top: int
    window_left: int
    window_height: int
    window_width: int
    top: int
    left: int
    bottom: int
    right: int

    @property
    def window(self) -> Box:
        """What the network sees."""
        return Box(
            self.window_top,
            self.window_left,
            self.window_top + self.window_height,
            self.window_left + self.window_width,
        )

    @property
    def core(self) -> Box:
        """What is kept of it."""
        return Box(self.top, self.left, self.bottom, self.right)


def plan(height: int, width: int, *, window_pixels: int, overlap: int) -> list[Tile]:
    """Cover height x width with cores that do not overlap, each in a window of at most `window_pixels`.

    Every core pixel has `overlap` pixels of its surroundings in its window, or the picture's edge. Of all grids the
    one that computes least is taken. When not even `SMALLEST_CORE` fits the budget, the windows exceed it.
    """
    choices = [(rows, columns) for rows in _counts(height) for columns in _counts(width)]

    def cost(grid: tuple[int, int]) -> tuple[bool, int]:
        window = _window(height, grid[0], overlap) * _window(width, grid[1], overlap)
        too_large = window > window_pixels
        return (too_large, window if too_large else window * grid[0] * grid[1])

    rows, columns = min(choices, key=cost)
    return [
        Tile(
            window_top,
            window_left,
            _window(height, rows, overlap),
            _window(width, columns, overlap),
            top,
            left,
            bottom,
            right,
        )
        for window_top, top, bottom in _spans(height, rows, overlap)
        for window_left, left, right in _spans(width, columns, overlap)
    ]


def _counts(length: int) -> range:
    """How many cores a side may be cut into."""
    return range(1, max(length // SMALLEST_CORE, 1) + 1)


def _window(length: int, count: int, overlap: int) -> int:
    """Return the side of a window that holds the largest of `count` cores and its overlap."""
    return min(length, -(-length // count) + 2 * overlap)


def _spans(length: int, count: int, overlap: int) -> Iterator[tuple[int, int, int]]:
    """Yield (window begin, core begin, core end) along one side."""
    window = _window(length, count, overlap)
    for index in range(count):
        begin, end = length * index // count, length * (index + 1) // count
        yield min(max(begin - overlap, 0), length - window), begin, end
