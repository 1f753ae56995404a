"""Paths that a caller draws over a picture: how they may be written, and what is refused."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic.json_schema import JsonSchemaValue

from shared.contract.fields import FieldType
from shared.contract.json_values import read_number, shown
from shared.errors import Rejected

Point = tuple[float, float]  # x, y
Paths = tuple[tuple[Point, ...], ...]  # in pixels of the picture as a viewer shows it, or all in 0-1 of its sides

MOST_PATHS, MOST_POINTS = 32, 1000


@dataclass(frozen=True)
class TrackingPoints(FieldType):
    """One path or several, each a list of points `[x, y]` or `{"x": x, "y": y}`; also in a string of JSON."""

    def read(self, field: str, value: object) -> Paths:
        try:
            paths = _paths(json.loads(value) if isinstance(value, str) else value)
        except (ValueError, RecursionError) as error:
            raise Rejected("creation_points_refused", field=field, value=shown(value)) from error
        if len(paths) > MOST_PATHS or sum(len(path) for path in paths) > MOST_POINTS:
            raise Rejected("creation_points_too_many", field=field, paths=MOST_PATHS, points=MOST_POINTS)
        if all(math.dist(path[0], point) == 0 for path in paths for point in path):
            raise Rejected("creation_points_still", field=field)
        return paths

    def missing(self, field: str) -> Rejected:
        return Rejected("creation_points_missing", field=field)

    def not_given(self, value: object) -> bool:
        return value is None or value in ("", "[]", "null") or (isinstance(value, list | tuple) and not any(value))

    def schema(self) -> JsonSchemaValue:
        point = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
        return {
            "type": "array",
            "items": {"type": "array", "items": point, "minItems": 1},
            "description": "paths of points [x, y] in pixels of the picture, or all between 0 and 1 as parts of its "
            "sides; what lies where a path begins moves along it, and a path of one point holds its place still",
        }


def in_pixels(paths: Paths, width: int, height: int) -> Paths:
    """Return the paths in pixels of a picture of this size."""
    if all(0 <= number <= 1 for path in paths for point in path for number in point):
        return tuple(tuple((x * width, y * height) for x, y in path) for path in paths)
    return paths


def check_paths(field: str, paths: Paths, width: int, height: int) -> None:
    """Raise Rejected for a path that begins outside of the picture: nothing is there that could move."""
    for number, path in enumerate(in_pixels(paths, width, height), start=1):
        x, y = path[0]
        if not (0 <= x <= width and 0 <= y <= height):
            facts = {"number": number, "x": x, "y": y, "width": width, "height": height}
            raise Rejected("creation_points_outside", field=field, **facts)


def _paths(value: object) -> Paths:
    """Read a list of paths, or one path alone. Raises ValueError."""
    items = _list(value)
    if items and all(_is_point(item) for item in items):
        return (tuple(_point(item) for item in items),)
    return tuple(tuple(_point(point) for point in _list(path)) for path in items if path)


def _list(value: object) -> Sequence[object]:
    """Return the items of a list, or of the list that an object holds as `points`."""
    found = value.get("points") if isinstance(value, Mapping) else value
    if not isinstance(found, list | tuple):
        raise ValueError(value)  # noqa: TRY004  # any other form is a refused value
    return found


def _is_point(item: object) -> bool:
    if isinstance(item, Mapping):
        return "x" in item and "y" in item
    return isinstance(item, list | tuple) and len(item) == 2 and all(read_number(part) is not None for part in item)  # noqa: PLR2004


def _point(item: object) -> Point:
    if not _is_point(item):
        raise ValueError(item)
    x, y = (read_number(part) for part in ((item["x"], item["y"]) if isinstance(item, Mapping) else item))  # type: ignore[attr-defined]  # a sequence of two, see above
    if x is None or y is None:
        raise ValueError(item)
    return x, y
