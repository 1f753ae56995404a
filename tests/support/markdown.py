"""A Markdown document as its parts: sections with their prose, tables and fenced blocks."""

import re
from dataclasses import dataclass, field
from itertools import groupby

_FENCE = re.compile(r"^ *```([a-z]*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#+) +(.+)$")
_RULE = re.compile(r"^\|[\s|:-]+\|$")
_CELLS = re.compile(r"(?:`[^`]*`|[^|`])*")  # a bar in backticks is text


@dataclass
class Section:
    """What stands below one heading, up to the next one of any level."""

    level: int
    heading: str
    prose: str = ""
    tables: list[list[list[str]]] = field(default_factory=list)
    """Each table as rows of cells, its head first."""
    blocks: list[tuple[str, str]] = field(default_factory=list)
    """Each fenced block as its language, empty for a drawing, and its text."""


def sections(text: str) -> list[Section]:
    """Return the sections of a document in their order; what precedes the first heading is ignored."""
    blocks = _FENCE.findall(text)
    found: list[Section] = []
    lines = _FENCE.sub("```", text).splitlines()
    for in_table, group in groupby(lines, key=lambda line: line.startswith("|")):
        part = list(group)
        if in_table:
            found[-1].tables.append([_cells(line) for line in part if not _RULE.match(line)])
            continue
        for line in part:
            if heading := _HEADING.match(line):
                found.append(Section(len(heading[1]), heading[2]))
            elif line == "```":
                found[-1].blocks.append(blocks.pop(0))
            elif found:
                found[-1].prose += line + "\n"
    return found


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in _CELLS.findall(line.strip().strip("|")) if cell]
