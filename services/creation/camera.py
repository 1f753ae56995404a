"""What a caller may write into `camera`, and what it means.

Directions are those of the camera: pan right moves the content left, rotate clockwise turns it counter-clockwise.
"""

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Self

from services.creation.camera_words import is_still, motions, nearest

SEPARATORS = re.compile("[,;、+]")  # after NFKC, which turns `，` into `,`, `；` into `;` and `＋` into `+`


class UnknownCamera(ValueError):
    """A word that names no camera motion; `nearest` names those that come closest to it, empty where none does."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.nearest = nearest(word)


class OppositeCamera(ValueError):
    """Two motions that cancel each other."""


@dataclass(frozen=True)
class Camera:
    """Directions of a camera move, each -1, 0 or 1; all zero is a camera that stands still."""

    zoom: int = 0  # 1 in
    pan_x: int = 0  # 1 right
    pan_y: int = 0  # 1 up
    tilt: int = 0  # 1 up
    rotate: int = 0  # 1 clockwise

    def __bool__(self) -> bool:
        return self != Camera()

    def __str__(self) -> str:
        """Return the canonical words, such as `zoom in, pan up-left`; empty for a still camera."""
        pan = "-".join(part for part in ({1: "up", -1: "down"}.get(self.pan_y), _sideways(self.pan_x)) if part)
        words = (
            {1: "zoom in", -1: "zoom out"}.get(self.zoom),
            f"pan {pan}" if pan else None,
            {1: "tilt up", -1: "tilt down"}.get(self.tilt),
            {1: "rotate cw", -1: "rotate ccw"}.get(self.rotate),
        )
        return ", ".join(word for word in words if word)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read one or several motions, or a JSON object of them. Raises UnknownCamera, OppositeCamera."""
        axes = {axis.name: 0 for axis in fields(cls)}
        for phrase in _phrases(unicodedata.normalize("NFKC", text).casefold()):
            found = motions(phrase)
            if found is None:
                raise UnknownCamera(phrase.strip())
            for axis, direction in found:
                if axes[axis] == -direction:
                    raise OppositeCamera(text)
                axes[axis] = direction
        return cls(**axes)


def _phrases(text: str) -> Iterator[str]:
    if text.lstrip().startswith("{"):
        yield from _object_phrases(text)
        return
    yield from (phrase for phrase in SEPARATORS.split(text) if phrase.strip())


def _object_phrases(text: str) -> Iterator[str]:
    try:
        asked: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnknownCamera(text) from error
    for verb, direction in asked.items():
        if direction is None or direction == "" or is_still(str(direction)):
            continue
        yield f"{verb} {direction}"


def _sideways(direction: int) -> str | None:
    return {1: "right", -1: "left"}.get(direction)
