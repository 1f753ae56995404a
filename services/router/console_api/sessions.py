"""Sessions of the console: signed, kept by the browser alone, ended by time, by the operator, or with the token."""

import hashlib
import hmac
import logging
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from shared.settings import Settings

COOKIE = "kinora_session"
KEY_FILE = "console.key"
LONGEST_SECONDS = 7 * 86400.0  # from its beginning, however often it is renewed
_KEY_BYTES = 32
_MOST_ENDED = 10_000  # sessions that were ended early and are remembered until their time is over

logger = logging.getLogger("bentoml.kinora.console")


@dataclass(frozen=True)
class Session:
    """A session that lives; times in seconds since 1970."""

    id: str
    begun: int
    expires: int
    csrf: str


class Sessions:
    """Begins, reads, renews and ends sessions. What a cookie says counts only with a signature of our key."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._path = settings.state_dir / KEY_FILE
        self._seconds = settings.console.session_hours * 3600
        self._clock = clock
        # A session that a token opened ends with that token, and is known to every router that has it.
        self._tokens = "\0".join(settings.access.tokens).encode()
        self._key = b""
        self._ended: dict[str, int] = {}

    def begin(self) -> Session:
        """Return a new session."""
        now = int(self._clock())
        return self._session(secrets.token_urlsafe(18), now, now + int(self._seconds))

    def read(self, cookie: str | None) -> Session | None:
        """Return the session of a cookie; None for one that is not ours, is over or was ended."""
        parts = (cookie or "").split(".")
        if len(parts) != 4 or not (parts[1].isdecimal() and parts[2].isdecimal()):  # noqa: PLR2004  # as `write` writes
            return None
        if len(parts[1]) + len(parts[2]) > 24:  # noqa: PLR2004  # digits of two times
            return None
        session = self._session(parts[0], int(parts[1]), int(parts[2]))
        if not hmac.compare_digest(self.write(session).encode(), (cookie or "").encode()):
            return None
        return None if session.expires <= self._clock() or session.id in self._ended else session

    def renewed(self, session: Session) -> Session | None:
        """Return the same session with more time once half of its time is over; None before that."""
        now = self._clock()
        expires = int(min(now + self._seconds, session.begun + LONGEST_SECONDS))
        if session.expires - now > self._seconds / 2 or expires <= session.expires:
            return None
        return self._session(session.id, session.begun, expires)

    def end(self, session: Session) -> None:
        """Refuse a session from now on, whoever has a copy of its cookie."""
        now = self._clock()
        self._ended = {id_: until for id_, until in self._ended.items() if until > now}
        if len(self._ended) >= _MOST_ENDED:
            del self._ended[next(iter(self._ended))]
        self._ended[session.id] = int(session.begun + LONGEST_SECONDS)

    def write(self, session: Session) -> str:
        """Return the value of the session's cookie."""
        said = f"{session.id}.{session.begun}.{session.expires}"
        return f"{said}.{self._sign('session', said)}"

    def _session(self, id_: str, begun: int, expires: int) -> Session:
        return Session(id_, begun, expires, self._sign("csrf", id_))

    def _sign(self, purpose: str, said: str) -> str:
        if not self._key:
            self._key = _key_of_tokens(self._tokens) if self._tokens else _key_of(self._path)
        return hmac.new(self._key, f"{purpose}|{said}".encode(), hashlib.sha256).hexdigest()


def _key_of_tokens(tokens: bytes) -> bytes:
    """Return the key that follows from the tokens; so slowly that no cookie helps to guess one."""
    return hashlib.scrypt(tokens, salt=b"kinora.console", n=2**15, r=8, p=1, maxmem=64 << 20, dklen=_KEY_BYTES)


def _key_of(path: Path) -> bytes:
    """Return the key in the state folder, made if it is missing; one that cannot be kept lasts as long as the process.

    A key that others may read is replaced: whoever read it could make sessions.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            if path.stat().st_mode & 0o077 or path.stat().st_size < _KEY_BYTES:
                logger.warning("%s is replaced: it must be readable by its owner alone", path)
                path.unlink()
        part = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(_KEY_BYTES))
            with suppress(FileExistsError):  # the first of several processes wins, and all of them use its key
                path.hardlink_to(part)
        finally:
            part.unlink()
        return path.read_bytes()
    except OSError as error:
        logger.warning("the console's sessions end with this process: %s cannot be kept (%s)", path, error.strerror)
        return secrets.token_bytes(_KEY_BYTES)
