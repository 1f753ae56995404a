"""Fetching one file from an allowed host into a file that outlives the attempt.

What a hostile server could try is bounded: its address is looked up once, checked, and connected to as that number; a
redirect is followed only to an allowed host, by the same rules; size and time have limits, whatever is told of them; an
answer is taken as it is, never unpacked. No proxy of the environment is used, which would look names up itself.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import httpx

from shared.errors import JobFailed
from shared.fetching.continuation import Continuation, OtherPart, TooLong
from shared.fetching.partial_file import PartialFile
from shared.fetching.public_addresses import Lookup, is_public, look_up
from shared.fetching.web_address import AllowedHosts, NoWebAddress, WebAddress
from shared.settings import FetchSettings

CHUNK = 1 << 20  # bytes that are written at a time
CONNECT_SECONDS = 10.0
SILENT_SECONDS = 30.0  # without a single byte
MOST_REDIRECTS = 5
MOST_FAILURES = 6  # in a row without any progress
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0  # seconds after a failure
_REDIRECTS = {301, 302, 303, 307, 308}
_PASSING = {408, 425, 429}  # and all above 499: another try may succeed

logger = logging.getLogger(__name__)


class Interrupted(Exception):
    """This try has failed; the next one may go on."""


class Fetcher:
    """Fetches files as the settings allow."""

    def __init__(
        self,
        settings: FetchSettings,
        *,
        look_up: Lookup = look_up,
        trusted: Callable[[], ssl.SSLContext] = httpx.create_ssl_context,
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        self._settings = settings
        self._hosts = AllowedHosts(settings)
        self._look_up = look_up
        self._trusted = trusted
        self._first_pause = first_pause

    async def fetch(self, address: WebAddress, file: PartialFile, check_room: Callable[[int], None]) -> None:
        """Bring the file to its end, however often the connection breaks.

        `check_room` gets how many bytes are still to come and raises a Problem where there is no room for them. Raises
        JobFailed with one sentence; what has come by then stays in the file.
        """
        limit = self._settings.timeout_seconds
        try:
            async with asyncio.timeout(limit):
                await self._try_on(address, file, check_room)
        except TimeoutError as error:
            raise JobFailed("fetch_too_slow", name=address.name, seconds=round(limit)) from error

    async def _try_on(self, address: WebAddress, file: PartialFile, check_room: Callable[[int], None]) -> None:
        failures = 0
        while True:
            before = file.size
            try:
                await self._try(address, file, check_room)
            except Interrupted as reason:
                failures = 1 if file.size > before else failures + 1
                if failures >= MOST_FAILURES:
                    facts = {"name": address.name, "host": address.authority, "reason": str(reason)}
                    raise JobFailed("fetch_unreachable", **facts) from reason
                logger.info("%s: %s after %s bytes; trying again", address, reason, file.size)
                await asyncio.sleep(min(self._first_pause * 2 ** (failures - 1), LONGEST_PAUSE))
            else:
                return

    async def _try(self, address: WebAddress, file: PartialFile, check_room: Callable[[int], None]) -> None:
        """Follow redirects to the file and read it; raise Interrupted or JobFailed."""
        asked = address
        for _ in range(MOST_REDIRECTS + 1):
            continuation = Continuation(file.size if file.validator else 0, self._settings.max_mb << 20, file.validator)
            async with self._answer(asked, continuation) as answer:
                if answer.status_code not in _REDIRECTS:
                    await _receive(answer, file, continuation, partial(_refuse, address, self._settings), check_room)
                    return
                asked = self._next(asked, answer.headers.get("location", ""), address)
        raise JobFailed("fetch_redirects", name=address.name, limit=MOST_REDIRECTS)

    def _next(self, asked: WebAddress, location: str, first: WebAddress) -> WebAddress:
        try:
            address = asked.follow(location)
        except NoWebAddress as error:
            raise JobFailed("fetch_redirected_badly", name=first.name, host=asked.authority) from error
        if not self._hosts.allows(address):
            raise JobFailed("fetch_redirected_out", name=first.name, host=address.authority)
        return address

    @asynccontextmanager
    async def _answer(self, address: WebAddress, continuation: Continuation) -> AsyncIterator[httpx.Response]:
        """Yield the answer of one host, connected to at a checked address; its certificate must be that of its name."""
        # A client for each: a connection that was made for one name must not serve another at the same address.
        client = httpx.AsyncClient(
            verify=self._trusted() if address.scheme == "https" else False,
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(SILENT_SECONDS, connect=CONNECT_SECONDS),
        )
        headers = {
            "host": address.authority,
            "accept": "*/*",
            "accept-encoding": "identity",
            "user-agent": "kinora",
            **continuation.headers,
        }
        # The target stands beside the URL, exactly as it was written, and so in no log line of the client.
        extensions = {"target": address.target.encode(), "sni_hostname": address.host.strip("[]")}
        async with client:
            answer = None
            for number in await self._addresses(address):
                url = httpx.URL(scheme=address.scheme, host=number, port=address.port, path="/")
                request = client.build_request("GET", url, headers=headers, extensions=extensions)
                try:
                    answer = await client.send(request, stream=True)
                    break
                except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                    failure = _reason(error)
                except httpx.HTTPError as error:
                    raise Interrupted(_reason(error)) from error
            if answer is None:
                raise Interrupted(failure)
            try:
                yield answer
            except httpx.HTTPError as error:
                raise Interrupted(_reason(error)) from error
            finally:
                await answer.aclose()

    async def _addresses(self, address: WebAddress) -> list[str]:
        """Look the host up, once for each request; return those of its addresses that may be connected to."""
        try:
            found = await self._look_up(address.host.strip("[]"), address.port)
        except OSError as error:
            raise Interrupted(f"its name cannot be looked up ({error.strerror or error})") from error
        allowed = [number for number in found if self._settings.private or is_public(number)]
        if not allowed:
            raise JobFailed("fetch_private", name=address.name, host=address.authority)
        return allowed


async def _receive(
    answer: httpx.Response,
    file: PartialFile,
    continuation: Continuation,
    refuse: Callable[[str, int], JobFailed],
    check_room: Callable[[int], None],
) -> None:
    """Write the body of an answer behind what is there, or over it; raise Interrupted or JobFailed."""
    try:
        await _begin(answer, file, continuation, refuse)
        told = answer.headers.get("content-length", "")
        if told.isdecimal():
            continuation.expect(int(told))
            await asyncio.to_thread(check_room, int(told))
        async for chunk in answer.aiter_raw(CHUNK):
            continuation.take(len(chunk))
            await asyncio.to_thread(check_room, len(chunk))
            await asyncio.to_thread(file.write, chunk)
    except TooLong:
        raise refuse("fetch_too_large", answer.status_code) from None
    except OtherPart:
        await asyncio.to_thread(file.restart, "")
        raise Interrupted("it has changed meanwhile") from None


async def _begin(
    answer: httpx.Response,
    file: PartialFile,
    continuation: Continuation,
    refuse: Callable[[str, int], JobFailed],
) -> None:
    """Read the head of an answer and make the file ready for its body; raise OtherPart, Interrupted or JobFailed."""
    status = answer.status_code
    if status in _PASSING or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise Interrupted(f"HTTP {status}")
    if status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and continuation.headers:
        raise OtherPart  # it has become shorter
    if status not in {httpx.codes.OK, httpx.codes.PARTIAL_CONTENT}:
        raise refuse("fetch_refused", status)
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        raise refuse("fetch_packed", status)
    if status == httpx.codes.PARTIAL_CONTENT and not continuation.headers:
        raise OtherPart  # nobody asked for a part
    if not continuation.begin(status, answer.headers.get("content-range", "")):
        await asyncio.to_thread(file.restart, _validator(answer.headers))
    elif _is_another(answer.headers, file.validator):
        raise OtherPart


def _refuse(address: WebAddress, settings: FetchSettings, key: str, status: int) -> JobFailed:
    return JobFailed(key, name=address.name, host=address.authority, status=status, limit=settings.max_mb)


def _validator(headers: httpx.Headers) -> str:
    """Return what a later request can name this version of the file by: a strong ETag, else its date, else nothing."""
    etag = str(headers.get("etag", ""))
    return etag if etag.startswith('"') else str(headers.get("last-modified", ""))


def _is_another(headers: httpx.Headers, validator: str) -> bool:
    """Whether a part says that it is of another version than the one that was asked for; it need not repeat a date."""
    header = "etag" if validator.startswith('"') else "last-modified"
    return bool(headers.get(header, validator) != validator)


def _reason(error: httpx.HTTPError) -> str:
    return str(error) or type(error).__name__
