"""URLs of inputs, read strictly: what a lenient reader would repair, or two readers would read differently, is refused.

Nothing here looks anything up. Whether a host's name leads to a public address is checked when it is connected to.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import quote, unquote, urljoin

from shared.contract.json_values import read_text
from shared.errors import Rejected
from shared.settings import FetchSettings

LONGEST = 2048  # characters
_LONGEST_NAME = 80  # of a file, in messages
_PORTS = {"http": 80, "https": 443}
_SCHEME = re.compile(r"https?:", re.IGNORECASE)
_FORM = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<target>(?:/[^?#]*)?(?:\?[^#]*)?)",
    re.IGNORECASE | re.ASCII,
)
_NEVER_IN_A_URL = frozenset(' "<>\\^`{|}')


class NoWebAddress(ValueError):
    """A text that is no URL in the one form that is read here."""


@dataclass(frozen=True)
class WebAddress:
    """`http(s)://HOST[:PORT]/PATH[?QUERY]`, without a user, a password or a fragment.

    The query may hold a signature: `str()` of an address, which gets into logs and messages, is without it.
    """

    scheme: str
    host: str  # in lower case; a literal IPv6 address in brackets
    port: int
    target: str = field(repr=False)  # path and query as they are sent, all ASCII

    @classmethod
    def read(cls, text: str) -> Self:
        """Read a URL; raise NoWebAddress for any other form. Letters beyond ASCII may stand behind the host only."""
        if len(text) > LONGEST or not text.isprintable() or _NEVER_IN_A_URL & set(text):
            raise NoWebAddress
        found = _FORM.fullmatch(text)
        if found is None:
            raise NoWebAddress
        scheme = found["scheme"].lower()
        port = int(found["port"] or _PORTS[scheme])
        if not 0 < port < 1 << 16:
            raise NoWebAddress
        target = "".join(letter if letter.isascii() else quote(letter) for letter in found["target"])
        return cls(scheme, found["host"].lower(), port, target if target.startswith("/") else f"/{target}")

    def follow(self, location: str) -> Self:
        """Return where a redirect leads; raise NoWebAddress for what is no address, or no longer https."""
        there = self.read(urljoin(self.url, location.partition("#")[0]))
        if self.scheme == "https" and there.scheme != "https":
            raise NoWebAddress
        return there

    @property
    def authority(self) -> str:
        """Return the host, with the port unless it is the scheme's own: what the header Host says."""
        return self.host if self.port == _PORTS[self.scheme] else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Return the whole of it, query included. Never for a log, a message or a span."""
        return f"{self.scheme}://{self.authority}{self.target}"

    @property
    def name(self) -> str:
        """Return the bare name of the file, for messages; the host's where the path has none."""
        name = unquote(self._path.rpartition("/")[2])
        return name[-_LONGEST_NAME:] if name and name.isprintable() else self.host

    @property
    def _path(self) -> str:
        return self.target.partition("?")[0]

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self._path}"


def is_web_address(text: str) -> bool:
    """Whether a field holds a URL of the web, well-formed or not, and no path."""
    return _SCHEME.match(text) is not None


class AllowedHosts:
    """The hosts that inputs may be fetched from."""

    def __init__(self, settings: FetchSettings) -> None:
        self._hosts: Collection[str] = frozenset(settings.hosts)

    @property
    def any(self) -> bool:
        """Whether there are any."""
        return bool(self._hosts)

    def allows(self, address: WebAddress) -> bool:
        """Whether an address is on an allowed host: at the scheme's own port, or at a port that is named with it."""
        return not {address.authority, f"{address.host}:{address.port}"}.isdisjoint(self._hosts)

    def address(self, field: str, value: str) -> WebAddress:
        """Return the address that a request names; raise Rejected for what is none, or is on another host."""
        try:
            address = WebAddress.read(read_text(field, value))
        except NoWebAddress as error:
            raise Rejected("url_refused", field=field, limit=LONGEST) from error
        if not self.allows(address):
            raise Rejected("url_host", field=field, host=address.authority)
        return address
