"""The words for camera motions: those of the contract, and those that film makers and other programs use for the same.

A phrase may hold several motions without a comma between them, and a direction without its verb is a pan.
"""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from itertools import product

Motion = tuple[str, int]  # a field of `Camera` and the direction along it, -1 or 1

SUBJECTS = ("镜头", "相机", "摄像机", "摄影机", "画面")  # of a Chinese phrase; says nothing about the motion
JOINTS = ("and", "then", "with", "并且", "并", "和", "再", "然后", "同时")
LONGEST_PHRASE = 200  # letters of a phrase of several motions


def motions(phrase: str) -> Sequence[Motion] | None:
    """Return what a phrase in lower case asks for, nothing for a camera that stands still; None where it is unknown."""
    word = _compact(phrase)
    if word in _VOCABULARY:
        return _VOCABULARY[word]
    return _several(word) if len(word) <= LONGEST_PHRASE else None


def is_still(word: str) -> bool:
    """Whether a word says that there is no motion."""
    return _compact(word.casefold()) in _STILL


def nearest(phrase: str) -> str:
    """Name the motions of the contract that come closest to an unknown phrase, empty where none does."""
    word = _compact(phrase.casefold())
    for motion, names in _NEAREST.items():
        if any(name in word for name in names):
            return motion
    for motion, names in _FAMILIES.items():
        if word in names:
            return motion
    close = get_close_matches(word[:LONGEST_PHRASE], _SPELLING, n=1, cutoff=0.75)
    return _SPELLING[close[0]] if close else ""


def _several(word: str) -> Sequence[Motion] | None:
    """Read a word from its beginning as a row of known ones, each as long as it can be."""
    found: list[Motion] = []
    place = 0
    while place < len(word):
        known = next((end for end in _ends(place, len(word)) if word[place:end] in _KNOWN), None)
        if known is None:
            return None
        found += _VOCABULARY.get(word[place:known], ())
        place = known
    return found or None


def _ends(place: int, length: int) -> range:
    """Return where a word that begins at `place` may end, the farthest first."""
    return range(min(length, place + _LONGEST), place, -1)


def _compact(phrase: str) -> str:
    """Drop spaces, hyphens and the subject of a Chinese phrase, which callers write in many ways."""
    word = "".join(c for c in phrase if c.isalnum())
    for subject in SUBJECTS:
        word = word.removeprefix(subject)
    return word or phrase.strip()


_STILL = ("none", "static", "fixed", "still", "无", "没有", "固定", "静止", "不动", "固定镜头", "静止镜头")

# The English words of the contract, and those that Chinese film makers use for the same motions.
_ZOOM = {
    1: (
        "zoom in",
        "dolly in",
        "push in",
        "推",
        "推近",
        "推进",
        "推镜头",
        "拉近",
        "放大",
        "变焦推进",
        "向前",
        "前推",
        "缩放放大",
    ),
    -1: (
        "zoom out",
        "dolly out",
        "pull out",
        "pull back",
        "拉",
        "拉远",
        "拉镜头",
        "推远",
        "缩小",
        "变焦拉远",
        "向后",
        "后拉",
        "缩放缩小",
    ),
}
_TILT = {
    1: ("tilt up", "上摇", "向上摇", "上仰", "仰", "仰拍", "向上倾斜", "上倾", "向上仰", "倾斜向上"),
    -1: ("tilt down", "下摇", "向下摇", "下俯", "俯", "俯拍", "向下倾斜", "下倾", "向下俯", "倾斜向下"),
}
_ROTATE = {
    1: (
        "rotate cw",
        "rotate clockwise",
        "cw",
        "clockwise",
        "roll cw",
        "roll clockwise",
        "顺时针",
        "顺时针旋转",
        "旋转顺时针",
        "顺时针转",
    ),
    -1: (
        "rotate ccw",
        "rotate counterclockwise",
        "rotate anticlockwise",
        "ccw",
        "counterclockwise",
        "anticlockwise",
        "roll ccw",
        "roll counterclockwise",
        "逆时针",
        "逆时针旋转",
        "旋转逆时针",
        "逆时针转",
    ),
}
_ENGLISH_X, _ENGLISH_Y = {-1: "left", 1: "right"}, {1: "up", -1: "down"}
_CHINESE_X, _CHINESE_Y = {-1: "左", 1: "右"}, {1: "上", -1: "下"}
_ENGLISH_PAN = ("pan", "", "truck", "dolly", "move", "pedestal")  # "" is a direction alone
_CHINESE_PAN = (
    "{}",
    "{}移",
    "{}移动",
    "向{}",
    "向{}移",
    "向{}移动",
    "向{}平移",
    "{}平移",
    "平移向{}",
    "往{}",
    "往{}移",
)
_CHINESE_TURN = ("{}摇", "向{}摇", "向{}转")  # 摇 is a pan sideways and a tilt upright


# What is asked for and not there, with the contract's motions that show most of it.
_NEAREST = {
    "pan left, pan right": ("orbit", "arc", "revolve", "环绕", "围绕", "绕", "环拍", "弧形"),
    "pan up-left, zoom in": ("fly", "drone", "航拍", "飞"),
    "none": ("handheld", "shake", "手持", "晃动", "抖动"),
}
_FAMILIES = {
    "zoom in, zoom out": ("zoom", "dolly", "push", "pull", "in", "out", "变焦", "缩放", "推拉"),
    "pan left, pan right, pan up, pan down": ("pan", "truck", "move", "slide", "平移", "移", "移动", "横移"),
    "pan up, pan down": ("pedestal", "crane", "boom", "升降"),
    "tilt up, tilt down": ("tilt", "摇", "俯仰", "倾斜"),
    "rotate cw, rotate ccw": ("rotate", "roll", "spin", "turn", "旋转", "转"),
}


def _vocabulary() -> dict[str, tuple[Motion, ...]]:
    words: dict[str, tuple[Motion, ...]] = {_compact(word): () for word in _STILL}
    for axis, directions in (("zoom", _ZOOM), ("tilt", _TILT), ("rotate", _ROTATE)):
        for direction, names in directions.items():
            words |= {_compact(name): ((axis, direction),) for name in names}
    for x, y in product((-1, 0, 1), repeat=2):
        motion = tuple((axis, direction) for axis, direction in (("pan_x", x), ("pan_y", y)) if direction)
        if motion:
            words |= dict.fromkeys(_pan_words(x, y), motion)
    return words


def _pan_words(x: int, y: int) -> Iterator[str]:
    """Yield the compact words for a pan; a diagonal may name its directions in either order."""
    sideways, upright = _ENGLISH_X.get(x, ""), _ENGLISH_Y.get(y, "")
    for verb in _ENGLISH_PAN:
        yield from (verb + upright + sideways, verb + sideways + upright)
    left_right, up_down = _CHINESE_X.get(x, ""), _CHINESE_Y.get(y, "")
    for direction in (left_right + up_down, up_down + left_right):
        yield from (pattern.format(direction) for pattern in _CHINESE_PAN)
        if x:
            yield from (pattern.format(direction) for pattern in _CHINESE_TURN)
    yield from {(0, 1): ("升", "上升"), (0, -1): ("降", "下降")}.get((x, y), ())


def _spelling() -> dict[str, str]:
    """Map the compact English words of the contract to how they are written."""
    written = [f"{verb} {way}" for verb, ways in _CONTRACT.items() for way in ways]
    return {_compact(words): words for words in written}


_CONTRACT = {
    "zoom": ("in", "out"),
    "pan": ("left", "right", "up", "down", "up-left", "up-right", "down-left", "down-right"),
    "tilt": ("up", "down"),
    "rotate": ("cw", "ccw"),
}
_SPELLING = _spelling()
_VOCABULARY = _vocabulary()
_KNOWN = frozenset(_VOCABULARY) | frozenset(JOINTS) | frozenset(SUBJECTS)
_LONGEST = max(len(word) for word in _KNOWN)
