"""What a caller may write into `camera`, and what it means.

Directions are those of the camera: pan right moves the content left, rotate clockwise turns it counter-clockwise.
"""

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import product
from typing import Any, Self

SEPARATORS = re.compile("[,、+]")  # after NFKC, which turns `，` into `,` and `＋` into `+`
CHINESE_SUBJECTS = ("镜头", "相机", "摄像机", "摄影机", "画面")


class UnknownCamera(ValueError):
    """A word that names no camera motion."""


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
            motion = _VOCABULARY.get(_compact(phrase))
            if motion is None:
                raise UnknownCamera(phrase.strip())
            for axis, direction in motion.items():
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
        motions: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnknownCamera(text) from error
    for verb, direction in motions.items():
        if direction is None or direction == "" or _compact(str(direction)) in _STILL:
            continue
        yield f"{verb} {direction}"


def _compact(phrase: str) -> str:
    """Drop spaces, hyphens and the subject of a Chinese phrase, which callers write in many ways."""
    word = "".join(c for c in phrase if c.isalnum())
    for subject in CHINESE_SUBJECTS:
        word = word.removeprefix(subject)
    return word or phrase.strip()


def _sideways(direction: int) -> str | None:
    return {1: "right", -1: "left"}.get(direction)


_STILL = ("none", "static", "fixed", "still", "无", "没有", "固定", "静止", "不动", "固定镜头", "静止镜头")

# The English words of the contract, and those that Chinese film makers use for the same motions.
_ZOOM = {
    1: ("zoom in", "推", "推近", "推进", "推镜头", "拉近", "放大", "变焦推进", "向前", "前推", "缩放放大"),
    -1: ("zoom out", "拉", "拉远", "拉镜头", "推远", "缩小", "变焦拉远", "向后", "后拉", "缩放缩小"),
}
_TILT = {
    1: ("tilt up", "上摇", "向上摇", "上仰", "仰", "仰拍", "向上倾斜", "上倾", "向上仰", "倾斜向上"),
    -1: ("tilt down", "下摇", "向下摇", "下俯", "俯", "俯拍", "向下倾斜", "下倾", "向下俯", "倾斜向下"),
}
_ROTATE = {
    1: ("rotate cw", "rotate clockwise", "顺时针", "顺时针旋转", "旋转顺时针", "顺时针转"),
    -1: (
        "rotate ccw",
        "rotate counterclockwise",
        "rotate anticlockwise",
        "逆时针",
        "逆时针旋转",
        "旋转逆时针",
        "逆时针转",
    ),
}
_ENGLISH_X, _ENGLISH_Y = {-1: "left", 1: "right"}, {1: "up", -1: "down"}
_CHINESE_X, _CHINESE_Y = {-1: "左", 1: "右"}, {1: "上", -1: "下"}
_CHINESE_PAN = ("{}移", "{}移动", "向{}", "向{}移", "向{}移动", "向{}平移", "{}平移", "平移向{}", "往{}", "往{}移")
_CHINESE_TURN = ("{}摇", "向{}摇", "向{}转")  # 摇 is a pan sideways and a tilt upright


def _vocabulary() -> dict[str, dict[str, int]]:
    words: dict[str, dict[str, int]] = {_compact(word): {} for word in _STILL}
    for axis, directions in (("zoom", _ZOOM), ("tilt", _TILT), ("rotate", _ROTATE)):
        for direction, names in directions.items():
            words |= {_compact(name): {axis: direction} for name in names}
    for x, y in product((-1, 0, 1), repeat=2):
        motion = {axis: direction for axis, direction in (("pan_x", x), ("pan_y", y)) if direction}
        if motion:
            words |= dict.fromkeys(_pan_words(x, y), motion)
    return words


def _pan_words(x: int, y: int) -> Iterator[str]:
    """Yield the compact words for a pan; a diagonal may name its directions in either order."""
    sideways, upright = _ENGLISH_X.get(x, ""), _ENGLISH_Y.get(y, "")
    yield from ("pan" + upright + sideways, "pan" + sideways + upright)
    left_right, up_down = _CHINESE_X.get(x, ""), _CHINESE_Y.get(y, "")
    for direction in (left_right + up_down, up_down + left_right):
        yield from (pattern.format(direction) for pattern in _CHINESE_PAN)
        if x:
            yield from (pattern.format(direction) for pattern in _CHINESE_TURN)


_VOCABULARY = _vocabulary()
