"""JSON as callers really send it: exact numbers, digits in strings, nothing that PostgreSQL cannot store."""

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any

from shared.errors import Rejected

INT64 = (-(2**63), 2**63 - 1)
_LONGEST_INT64 = 20  # characters of the longest int64, its sign included
_DIGITS = re.compile(r"-?[0-9]+")
_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_SHOWN_LIMIT = 40  # characters of a refused value that an answer repeats


def parse_object(body: bytes) -> dict[str, Any]:
    """Parse a request body, numbers without loss (as int or Decimal), or raise Rejected.

    NaN, Infinity and numbers of any length are accepted here: they may be in a field that is not used.
    """
    try:
        data = json.loads(body, parse_float=_exact, parse_int=_bounded)
    except (ValueError, RecursionError) as error:
        raise Rejected("body_not_json") from error
    if not isinstance(data, dict):
        raise Rejected("body_not_an_object")
    return data


def read_whole(value: object) -> int | None:
    """Read 2, 2.0 and "2" as 2; booleans, 2.5, NaN, Infinity and numbers beyond int64 as None."""
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = _bounded(value)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    if not INT64[0] <= value <= INT64[1]:  # false for every NaN; first, for int(Decimal("1e999999")) never ends
        return None
    return int(value) if value == int(value) else None


def read_number(value: object) -> float | None:
    """Read 0.5, 1 and "0.5" as a finite float; anything else as None."""
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        value = _exact(value)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    return float(value) if INT64[0] <= value <= INT64[1] else None


def read_text(field: str, value: object) -> str:
    """Return a string that a database and a file system can hold, or raise Rejected."""
    if not isinstance(value, str):
        raise Rejected("text_refused", field=field, value=shown(value))
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise Rejected("text_unstorable", field=field)
    return value


def shown(value: object) -> str:
    """Return a refused value as JSON, cut to a length that fits a sentence."""
    text = json.dumps(value, ensure_ascii=False, default=float)
    return text if len(text) <= _SHOWN_LIMIT else text[: _SHOWN_LIMIT - 1] + "…"


def _exact(text: str) -> Decimal | float:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent beyond even Decimal: infinite or nothing
        return float(text)


def _bounded(text: str) -> int | float:
    """Read an integer; too many digits become an infinity instead of Python's ValueError."""
    digits = text.lstrip("-0")  # without zeros: Python counts them too
    if len(digits) > _LONGEST_INT64:
        return float(text)
    return -int(digits or 0) if text.startswith("-") else int(digits or 0)
