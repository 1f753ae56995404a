"""The whole table."""

from tests.shared.media.corpus import (
    rows_clocks,
    rows_companions,
    rows_containers,
    rows_pictures,
    rows_rare,
    rows_sounds,
)

ROWS = [
    *rows_containers.ROWS,
    *rows_pictures.ROWS,
    *rows_clocks.ROWS,
    *rows_sounds.ROWS,
    *rows_companions.ROWS,
    *rows_rare.ROWS,
]
