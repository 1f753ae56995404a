"""Going on with a download where it stopped, within a limit: what to ask for, and what an answer's body is.

Without input or output of its own: whoever reads the answer and writes the file calls it.
"""

import re
from http import HTTPStatus

_RANGE = re.compile(r"bytes (?P<first>\d+)-\d+/(?:\d+|\*)")


class OtherPart(Exception):
    """The answer holds another part of the file than the one that was asked for."""


class TooLong(Exception):
    """More bytes come than there may be."""


class Continuation:
    """One request for what is missing of a file of which `have` bytes are here."""

    def __init__(self, have: int, limit: int | None, validator: str = "") -> None:
        """`limit`: the most bytes of the whole file. `validator`: the ETag or the date of the version that is here.

        Without a validator another version's rest may come, so the whole must be compared with a hash.
        """
        self.done = have  # bytes of the file, once the answer has begun
        self._have = have
        self._limit = limit
        self._validator = validator

    @property
    def headers(self) -> dict[str, str]:
        """The request's headers: nothing where the file is fetched from its beginning."""
        if not self._have:
            return {}
        wanted = {"Range": f"bytes={self._have}-"}
        return wanted | ({"If-Range": self._validator} if self._validator else {})

    def begin(self, status: int, content_range: str | None) -> bool:
        """Take a successful answer; whether its body goes on where the file ends, else it is the whole.

        Raises OtherPart where the header of that name says that it is neither.
        """
        goes_on = status == HTTPStatus.PARTIAL_CONTENT
        if goes_on and content_range is not None:
            found = _RANGE.fullmatch(content_range)
            if found is None or int(found["first"]) != self._have:
                raise OtherPart
        self.done = self._have if goes_on else 0
        return goes_on

    def expect(self, length: int) -> None:
        """Take the length that the answer tells of its body; raise TooLong."""
        self._check(self.done + length)

    def take(self, count: int) -> None:
        """Count bytes that have come, before they are written; raise TooLong."""
        self.done += count
        self._check(self.done)

    def _check(self, size: int) -> None:
        if self._limit is not None and size > self._limit:
            raise TooLong
