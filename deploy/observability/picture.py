"""Draws the dashboard with Pillow: no Grafana, the same panels at the same places, from the same answers."""

import math
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import cache
from itertools import groupby

from PIL import Image, ImageDraw, ImageFont

from deploy.observability.scale import steps, words
from deploy.observability.series import Panel, Range, Series

COLUMN, ROW = 66, 24  # pixels of the grid's units
GAP = 4
FINE = 2  # drawn so much larger, then reduced: smooth lines
PAGE, SURFACE, GRID, TEXT, FAINT = "#111217", "#181b1f", "#2c3037", "#d8d9da", "#9a9ba0"
COLOURS = (
    "#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#c4a7e7", "#37872d", "#fade2a",
    "#1f60c4", "#fa6400", "#c4162a", "#8f3bb8", "#56a64b", "#e0b400",
)  # fmt: skip
LEGEND_LINES = 2
TICKS = 4


def picture(panels: Iterable[Panel], shown: Range) -> Image.Image:
    """Return the dashboard as one picture."""
    panels = list(panels)
    height = max(y + h for _, y, _, h in (panel.place for panel in panels)) * ROW
    page = Image.new("RGB", (24 * COLUMN * FINE, height * FINE), PAGE)
    pen = ImageDraw.Draw(page, "RGBA")
    for panel in panels:
        x, y, w, h = panel.place
        box = (x * COLUMN + GAP, y * ROW + GAP, (x + w) * COLUMN - GAP, (y + h) * ROW - GAP)
        if panel.kind == "row":
            _write(pen, (box[0] + 4, box[1]), f"v  {panel.title}", 13, TEXT)
            continue
        pen.rectangle(_fine(box), fill=SURFACE, outline=GRID)
        _write(pen, (box[0] + 8, box[1] + 6), panel.title, 12, TEXT)
        inner = (box[0] + 8, box[1] + 28, box[2] - 8, box[3] - 6)
        if not panel.series:
            _write(pen, (inner[0], inner[1] + 20), "No data", 12, FAINT)
        elif panel.kind == "stat":
            _stat(pen, panel, inner)
        else:
            _lines(pen, panel, inner, shown)
    return page.resize((page.width // FINE, page.height // FINE), Image.Resampling.LANCZOS)


Box = tuple[float, float, float, float]


def _stat(pen: ImageDraw.ImageDraw, panel: Panel, box: Box) -> None:
    """Write the last value of each series below its name, in as many columns as fit."""
    width = max(_width(series.name, 10) for series in panel.series) + 14
    across = max(1, int((box[2] - box[0]) // width))
    for number, series in enumerate(panel.series):
        x = box[0] + number % across * (box[2] - box[0]) / across
        y = box[1] + number // across * 38
        if y + 34 > box[3]:
            break
        value = [value for _, value in series.points if math.isfinite(value)][-1]
        _write(pen, (x, y), series.name, 10, FAINT)
        _write(pen, (x, y + 12), words(value, panel.unit), 17, COLOURS[0])


def _lines(pen: ImageDraw.ImageDraw, panel: Panel, box: Box, shown: Range) -> None:
    """Draw axes, lines and a legend."""
    finite = [value for series in panel.series for _, value in series.points if math.isfinite(value)]
    scale = steps(max(finite), panel.unit)
    left = box[0] + max(_width(words(step, panel.unit), 10) for step in scale) + 6
    plot = (left, box[1], box[2], box[3] - 18 - LEGEND_LINES * 14)

    def across(at: float) -> float:
        return plot[0] + (at - shown.start) / (shown.end - shown.start) * (plot[2] - plot[0])

    def up(value: float) -> float:
        return plot[3] - value / scale[-1] * (plot[3] - plot[1])

    for step in scale:
        pen.line(_fine((plot[0], up(step), plot[2], up(step))), fill=GRID, width=FINE)
        _write(pen, (box[0], up(step) - 7), words(step, panel.unit), 10, FAINT)
    for tick in range(TICKS):
        at = shown.start + (tick + 0.5) * (shown.end - shown.start) / TICKS
        clock = f"{datetime.fromtimestamp(at, UTC):%H:%M:%S}"
        _write(pen, (across(at) - _width(clock, 10) / 2, plot[3] + 3), clock, 10, FAINT)
    for number, series in enumerate(panel.series):
        colour = COLOURS[number % len(COLOURS)]
        for piece in _pieces(series):
            corners = [(across(at) * FINE, up(value) * FINE) for at, value in piece]
            ground = plot[3] * FINE
            if len(corners) > 1:
                pen.polygon([(corners[0][0], ground), *corners, (corners[-1][0], ground)], fill=f"{colour}14")
            pen.line(corners or [(0, 0)], fill=colour, width=round(1.4 * FINE), joint="curve")
    _legend(pen, panel, (box[0], plot[3] + 20, box[2], box[3]))


def _pieces(series: Series) -> Iterator[list[tuple[float, float]]]:
    """Yield the parts of a line between its gaps."""
    for whole, points in groupby(series.points, key=lambda point: math.isfinite(point[1])):
        if whole:
            yield list(points)


def _legend(pen: ImageDraw.ImageDraw, panel: Panel, box: Box) -> None:
    """Name the lines as far as there is room, then say how many more there are."""
    x, line = box[0], 0
    for number, series in enumerate(panel.series):
        left = len(panel.series) - number
        width = 16 + _width(series.name, 10) + 10
        room = box[2] - (_width(f"+{left}", 10) + 8 if line == LEGEND_LINES - 1 and left > 1 else 0)
        if x > box[0] and x + width > room:
            if line == LEGEND_LINES - 1:
                _write(pen, (x, box[1] + line * 14), f"+{left}", 10, FAINT)
                return
            x, line = box[0], line + 1
        y = box[1] + line * 14
        pen.rectangle(_fine((x, y + 5, x + 11, y + 7)), fill=COLOURS[number % len(COLOURS)])
        _write(pen, (x + 15, y), series.name, 10, TEXT)
        x += width


def _write(pen: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: int, colour: str) -> None:
    pen.text((at[0] * FINE, at[1] * FINE), text, font=_font(size * FINE), fill=colour)


def _width(text: str, size: int) -> float:
    return float(_font(size * FINE).getlength(text)) / FINE


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def _fine(box: Box) -> Box:
    return (box[0] * FINE, box[1] * FINE, box[2] * FINE, box[3] * FINE)
