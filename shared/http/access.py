"""Who may call: bearer tokens, known host names, and no foreign web pages."""

import hmac
import re
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from shared.http.responses import FORBIDDEN, UNAUTHORIZED, HttpProblem
from shared.settings import LOOPBACK_NAMES, Settings

# Probes come from an orchestrator that knows neither token nor name; `/` is the console's static page.
OPEN_PATHS = frozenset({"/livez", "/readyz", "/"})
_NOT_A_HOST = re.compile(r"[^\w.:\[\]-]")  # else it would be read as `user@host`, or as a host and a path
_PROBES = frozenset({"/livez", "/readyz"})


class AccessPolicy:
    """The rules of one settings object."""

    def __init__(self, settings: Settings) -> None:
        self._tokens = tuple(token.encode() for token in settings.access.tokens)
        # After DNS rebinding a browser sends the foreign name as Host, never a loopback one.
        self._named = frozenset(name.lower() for name in settings.access.allowed_hosts)
        self._hosts = self._named | LOOPBACK_NAMES | {settings.access.host.lower()}

    def check(self, path: str, headers: Headers) -> None:
        """Raise HttpProblem with 401 or 403 unless this caller is allowed."""
        if path not in _PROBES:
            self.check_page(headers)
        if path not in OPEN_PATHS:
            self._check_token(headers)

    def check_page(self, headers: Headers) -> None:
        """Raise HttpProblem with 403 for a foreign name of this machine, or a foreign page that calls."""
        self._check_host(headers)
        self._check_origin(headers)

    def is_token(self, sent: str) -> bool:
        """Whether this is one of the tokens; every one is compared, each in constant time: the time reveals nothing."""
        known = [hmac.compare_digest(sent.strip().encode(), token) for token in self._tokens]
        return any(known)

    def _check_host(self, headers: Headers) -> None:
        host = headers.get("host", "")
        if "*" not in self._named and _name(host) not in self._hosts:
            raise HttpProblem(FORBIDDEN, "foreign_host", host=host)

    def _check_origin(self, headers: Headers) -> None:
        """Accept a page of this very server, or of a host that the settings name."""
        origin = headers.get("origin")
        if origin is None:  # not a browser, or a plain GET that no script can read
            return
        host = origin.partition("://")[2]
        if host != headers.get("host") and _name(host) not in self._named:
            raise HttpProblem(FORBIDDEN, "foreign_origin", origin=origin)

    def _check_token(self, headers: Headers) -> None:
        if not self._tokens:
            return
        scheme, _, sent = headers.get("authorization", "").partition(" ")
        known = self.is_token(sent)
        if scheme.lower() != "bearer" or not known:
            raise HttpProblem(UNAUTHORIZED, "unauthorized")


def _name(host: str) -> str:
    """Return the lower-case name of `name:port`, `[::1]:port` or a bare name; empty when it is none."""
    if _NOT_A_HOST.search(host):
        return ""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""
