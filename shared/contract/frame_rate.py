"""The type of a field that holds an exact frame rate: a number, or a fraction of two whole numbers."""

import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from pydantic.json_schema import JsonSchemaValue

from shared.contract.fields import FieldType
from shared.contract.json_values import shown
from shared.errors import Rejected

_NUMBER = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")
_FINEST = 1_000_000  # the largest denominator
_FRACTION = re.compile(r"([0-9]{1,9})\s*/\s*([0-9]{1,9})")


@dataclass(frozen=True)
class FrameRate(FieldType):
    """Frames a second from `low` to `high`, both included: 60, 59.94 or "60000/1001"; read as "N" or "N/D"."""

    low: int
    high: int

    def read(self, field: str, value: object) -> str:
        rate = self._exact(value)
        if rate is None or not self.low <= rate <= self.high or rate.denominator > _FINEST:
            raise Rejected("frame_rate_refused", field=field, low=self.low, high=self.high, value=shown(value))
        return str(rate)

    def missing(self, field: str) -> Rejected:
        return Rejected("frame_rate_refused", field=field, low=self.low, high=self.high, value="null")

    def schema(self) -> JsonSchemaValue:
        return {"type": "string", "pattern": r"^[0-9]{1,9}(\.[0-9]{1,6}|/[0-9]{1,9})?$"}

    def _exact(self, value: object) -> Fraction | None:
        """Read a number or a fraction without loss; None where it is neither."""
        if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
            # Compared first: to write out a number with an exponent of a million digits would take the memory of one.
            return Fraction(str(value)) if self.low <= value <= self.high else None
        if not isinstance(value, str):
            return None
        if _NUMBER.fullmatch(value):
            return Fraction(value)
        parts = _FRACTION.fullmatch(value)
        return Fraction(int(parts[1]), int(parts[2])) if parts and int(parts[2]) else None
