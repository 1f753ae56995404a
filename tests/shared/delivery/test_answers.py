"""What a receiver answers is read within a bound, packed or not."""

import asyncio
import gzip
import json
import tracemalloc
import zlib
from collections.abc import AsyncIterator

import httpx
import pytest

from shared.delivery.sender import ANSWER_BYTES, Undelivered, _bounded, check_answer

YES = json.dumps({"err_code": 0}).encode()


def read(content: bytes, encoding: str | None = None) -> bytes:
    headers = {"content-encoding": encoding} if encoding else {}

    async def receive() -> bytes:
        transport = httpx.MockTransport(lambda _request: httpx.Response(200, headers=headers, stream=_Stream(content)))
        async with (
            httpx.AsyncClient(transport=transport) as client,
            client.stream("POST", "http://backend") as response,
        ):
            return await _bounded(response)

    return asyncio.run(receive())


class _Stream(httpx.AsyncByteStream):
    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for begin in range(0, len(self._content), 4096):
            yield self._content[begin : begin + 4096]


@pytest.mark.parametrize(
    ("content", "encoding"),
    [(YES, None), (YES, "identity"), (gzip.compress(YES), "gzip"), (zlib.compress(YES), "deflate")],
)
def test_an_answer_is_understood_though_it_was_packed_unasked(content: bytes, encoding: str | None) -> None:
    assert read(content, encoding) == YES
    check_answer(read(content, encoding))


def test_a_small_answer_that_would_unpack_to_very_much_is_refused_before_it_is_held() -> None:
    bomb = gzip.compress(b" " * (40 << 20))
    assert len(bomb) < ANSWER_BYTES
    tracemalloc.start()
    try:
        with pytest.raises(Undelivered, match="longer than 65536 bytes"):
            read(bomb, "gzip")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 << 20


@pytest.mark.parametrize(
    ("content", "encoding", "reason"),
    [
        (b"x" * (ANSWER_BYTES + 1), None, "longer than"),
        (b"no gzip", "gzip", "cannot be unpacked"),
        (YES, "br", "nobody asked for"),
        (YES, "gzip, gzip", "nobody asked for"),
    ],
)
def test_an_answer_that_cannot_be_read_says_why(content: bytes, encoding: str | None, reason: str) -> None:
    with pytest.raises(Undelivered, match=reason):
        read(content, encoding)
