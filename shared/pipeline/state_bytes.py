"""What a pipeline remembers, as bytes from which exactly the same values come back.

JSON for the structure and for plain values, whose floats it keeps to the last bit, and behind it the arrays as they lie
in memory. Only bytes whose hash was found right are read: what is no state raises whatever it leads to.
"""

import json
import math
import struct
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_HEAD = struct.Struct("<I")  # length of the JSON


def to_bytes(value: object) -> bytes:
    """Write None, numbers, texts, arrays and dataclasses, in lists, in tuples, and in dicts by any of them, any depth.

    Raises TypeError for anything else. A dataclass is written field by field, under the name of its class.
    """
    arrays: list[npt.NDArray[Any]] = []
    structure = json.dumps(_plain(value, arrays), separators=(",", ":")).encode()
    return b"".join([_HEAD.pack(len(structure)), structure, *(array.tobytes() for array in arrays)])


def from_bytes(content: bytes, classes: Iterable[type[Any]]) -> Any:
    """Read what `to_bytes` wrote; `classes` are all dataclasses that may be among it."""
    begin = _HEAD.size + _HEAD.unpack_from(content)[0]
    return _Reader(content, begin, classes).value(json.loads(content[_HEAD.size : begin]))


def _plain(value: Any, arrays: list[npt.NDArray[Any]]) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [_plain(item, arrays) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [_plain(item, arrays) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[_plain(key, arrays), _plain(item, arrays)] for key, item in value.items()]}
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"array": value.dtype.str, "shape": value.shape}
    if is_dataclass(value) and not isinstance(value, type):
        held = {one.name: _plain(getattr(value, one.name), arrays) for one in fields(value)}
        return {"class": type(value).__name__, "fields": held}
    raise TypeError(f"no state holds a {type(value).__name__}")


class _Reader:
    """Takes the arrays one after another, in the order in which they were written."""

    def __init__(self, content: bytes, begin: int, classes: Iterable[type[Any]]) -> None:
        self._content = content
        self._place = begin
        self._classes = {one.__name__: one for one in classes}

    def value(self, plain: Any) -> Any:
        if isinstance(plain, list):
            return [self.value(item) for item in plain]
        if not isinstance(plain, dict):
            return plain
        if "tuple" in plain:
            return tuple(self.value(item) for item in plain["tuple"])
        if "dict" in plain:
            return {self.value(key): self.value(item) for key, item in plain["dict"]}
        if "array" in plain:
            return self._array(np.dtype(plain["array"]), plain["shape"])
        held = {name: self.value(item) for name, item in plain["fields"].items()}
        return self._classes[plain["class"]](**held)

    def _array(self, dtype: "np.dtype[Any]", shape: list[int]) -> npt.NDArray[Any]:
        count = math.prod(shape)
        found = np.frombuffer(self._content, dtype, count, self._place).reshape(shape).copy()
        self._place += found.nbytes
        return found
