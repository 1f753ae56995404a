"""Where in a trace something happens, as W3C Trace Context writes it: `00-{trace id}-{span id}-{flags}`."""

import re
from dataclasses import dataclass
from typing import Self

HEADER = "traceparent"
_SHAPE = re.compile(
    r"(?P<version>(?!ff)[0-9a-f]{2})-(?P<trace_id>(?!0{32})[0-9a-f]{32})-(?P<span_id>(?!0{16})[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)


@dataclass(frozen=True)
class TraceParent:
    """A span of anybody's: both ids are lower-case hexadecimal, of 32 and 16 digits, and not zero."""

    trace_id: str
    span_id: str
    sampled: bool

    @classmethod
    def read(cls, header: str | None) -> Self | None:
        """Read a header; None for one that the specification has a receiver ignore. Later versions may add fields."""
        found = _SHAPE.fullmatch(header.strip()) if header else None
        if found is None or (found["version"] == "00" and found["more"]):
            return None
        return cls(found["trace_id"], found["span_id"], sampled=bool(int(found["flags"], 16) & 1))

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"
