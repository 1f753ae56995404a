"""Windows cover a picture exactly once, have one shape, and know enough of their surroundings."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shared.networks.tiles import SMALLEST_CORE, plan

sides = st.integers(1, 400)
overlaps = st.integers(0, 40)
budgets = st.integers(1, 200_000)


@given(height=sides, width=sides, budget=budgets, overlap=overlaps)
def test_every_pixel_lies_in_exactly_one_core(height: int, width: int, budget: int, overlap: int) -> None:
    count = np.zeros((height, width), int)
    for tile in plan(height, width, window_pixels=budget, overlap=overlap):
        count[tile.top : tile.bottom, tile.left : tile.right] += 1
    assert (count == 1).all()


@given(height=sides, width=sides, budget=budgets, overlap=overlaps)
def test_a_window_holds_its_core_with_the_overlap_or_the_edge(
    height: int, width: int, budget: int, overlap: int
) -> None:
    for tile in plan(height, width, window_pixels=budget, overlap=overlap):
        bottom, right = tile.window_top + tile.window_height, tile.window_left + tile.window_width
        assert 0 <= tile.window_top <= max(tile.top - overlap, 0)
        assert 0 <= tile.window_left <= max(tile.left - overlap, 0)
        assert min(tile.bottom + overlap, height) <= bottom <= height
        assert min(tile.right + overlap, width) <= right <= width


@given(height=sides, width=sides, budget=budgets, overlap=overlaps)
def test_all_windows_have_one_shape_within_the_budget_where_the_smallest_core_fits(
    height: int, width: int, budget: int, overlap: int
) -> None:
    tiles = plan(height, width, window_pixels=budget, overlap=overlap)
    assert len({(tile.window_height, tile.window_width) for tile in tiles}) == 1
    if budget >= (2 * SMALLEST_CORE + 2 * overlap) ** 2:
        assert tiles[0].window_height * tiles[0].window_width <= budget


def test_a_picture_that_fits_is_one_window() -> None:
    (tile,) = plan(180, 320, window_pixels=180 * 320, overlap=18)
    assert (tile.window_height, tile.window_width) == (180, 320)


def test_the_grid_that_computes_least_is_taken() -> None:
    tiles = plan(100, 400, window_pixels=100 * 220, overlap=10)
    assert len(tiles) == 2
    assert (tiles[0].window_height, tiles[0].window_width) == (100, 220)
