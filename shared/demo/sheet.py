"""The contact sheet: inputs and results side by side, with crops at 100 %."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WIDTH = 1600  # pixels
MARGIN = 48
GAP = 20
PAPER, INK, FAINT, ACCENT = (16, 18, 24), (236, 238, 242), (146, 152, 166), (255, 184, 76)
ROW_GAP = 56
TITLE_SIZE, HEADING_SIZE, CAPTION_SIZE = 40, 26, 17


@dataclass(frozen=True)
class Panel:
    """One picture with its caption; pictures of a row share a height unless `exact` forbids scaling."""

    image: Image.Image
    caption: str
    exact: bool = False  # a crop at 100 %: shown pixel for pixel
    accent: bool = False  # the result, framed


@dataclass(frozen=True)
class Row:
    """One capability."""

    title: str
    subtitle: str
    panels: Sequence[Panel] = field(default_factory=tuple)


def draw(title: str, subtitle: str, rows: Sequence[Row], target: Path) -> Path:
    """Paint the sheet and write it as PNG."""
    painted = [_row(row) for row in rows]
    head = MARGIN + TITLE_SIZE + 2 * CAPTION_SIZE + ROW_GAP
    height = head + sum(image.height + ROW_GAP for image in painted)
    sheet = Image.new("RGB", (WIDTH, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.rectangle((MARGIN, MARGIN + 2, MARGIN + 6, MARGIN + TITLE_SIZE + 2 * CAPTION_SIZE), fill=ACCENT)
    pen.text((MARGIN + 24, MARGIN - 6), title, INK, _font(TITLE_SIZE))
    pen.text((MARGIN + 24, MARGIN + TITLE_SIZE + 12), subtitle, FAINT, _font(CAPTION_SIZE))
    top = head
    for image in painted:
        sheet.paste(image, (0, top))
        top += image.height + ROW_GAP
    target.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(target, optimize=True)
    return target


def _row(row: Row) -> Image.Image:
    """Paint heading and panels, the scalable ones at the one height that fills the width."""
    room = WIDTH - 2 * MARGIN - GAP * (len(row.panels) - 1)
    fixed = [panel.image for panel in row.panels if panel.exact]
    loose = [panel.image for panel in row.panels if not panel.exact]
    room -= sum(image.width for image in fixed)
    height = max((image.height for image in fixed), default=0)
    if loose:
        filling = room / sum(image.width / image.height for image in loose)
        height = round(min(filling, max(height, 420)))
    top = HEADING_SIZE + 20 + CAPTION_SIZE + 24
    tallest = max([height, *(image.height for image in fixed)], default=0)
    canvas = Image.new("RGB", (WIDTH, top + tallest + CAPTION_SIZE + 20), PAPER)
    pen = ImageDraw.Draw(canvas)
    pen.line((MARGIN, 0, WIDTH - MARGIN, 0), fill=(44, 48, 58))
    pen.text((MARGIN, 18), row.title, INK, _font(HEADING_SIZE))
    pen.text((MARGIN, 18 + HEADING_SIZE + 8), row.subtitle, FAINT, _font(CAPTION_SIZE))
    left, top = MARGIN, top + 8
    for panel in row.panels:
        image = panel.image
        if not panel.exact:
            image = image.resize((round(image.width * height / image.height), height), Image.Resampling.LANCZOS)
        canvas.paste(image, (left, top))
        if panel.accent:
            pen.rectangle((left - 2, top - 2, left + image.width + 1, top + image.height + 1), outline=ACCENT, width=2)
        pen.text((left, top + image.height + 8), panel.caption, ACCENT if panel.accent else FAINT, _font(CAPTION_SIZE))
        left += image.width + GAP
    return canvas


def busiest(image: Image.Image, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the box of `size` (width, height) with the most fine detail, where a difference shows."""
    grey = np.asarray(image.convert("L"), dtype=np.float32)
    detail = np.abs(np.diff(grey, axis=0))[:, :-1] + np.abs(np.diff(grey, axis=1))[:-1]
    total = np.pad(np.minimum(detail, 40).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    width, height = min(size[0], detail.shape[1]), min(size[1], detail.shape[0])
    sums = total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    top, left = (int(index) for index in np.unravel_index(int(np.argmax(sums)), sums.shape))
    return left, top, left + width, top + height


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
