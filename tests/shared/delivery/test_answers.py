"""What a receiver answers is read within a bound, packed or not."""

import asyncio
import gzip
import json
import tracemalloc
import zlib
from collections.abc import AsyncIterator

import httpx
import pytest

from shared.delivery.answer import ANSWER_BYTES, Undelivered, check_answer, read_answer

YES = json.dumps({"err_code": 0}).encode()


def read(content: bytes, encoding: str | None = None) -> bytes:
    headers = {"content-encoding": encoding} if encoding else {}

    async def receive() -> bytes:
        transport = httpx.MockTransport(lambda _request: httpx.Response(200, headers=headers, stream=_Stream(content)))
        async with (
            httpx.AsyncClient(transport=transport) as client,
            client.stream("POST", "http://backend") as response,
        ):
            return await read_answer(response)

    return asyncio.run(receive())


class _Stream(httpx.AsyncByteStream):
    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for begin in range(0, len(self._content), 4096):
            yield self._content[begin : begin + 4096]


@pytest.mark.parametrize(
    ("content", "encoding"),
    [(YES, None), (YES, "identity"), (gzip.compress(YES, mtime=0), "gzip"), (zlib.compress(YES), "deflate")],
)
def test_an_answer_is_understood_though_it_was_packed_unasked(content: bytes, encoding: str | None) -> None:
    assert read(content, encoding) == YES
    check_answer(read(content, encoding))


def test_of_a_small_answer_that_would_unpack_to_very_much_only_the_beginning_is_held() -> None:
    bomb = gzip.compress(b" " * (40 << 20))
    assert len(bomb) < ANSWER_BYTES
    tracemalloc.start()
    try:
        with pytest.raises(Undelivered):
            check_answer(read(bomb, "gzip"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 << 20


@pytest.mark.parametrize(
    ("content", "encoding", "reason"),
    [
        (b"no gzip", "gzip", "cannot be unpacked"),
        (YES, "br", "nobody asked for"),
        (YES, "gzip, gzip", "nobody asked for"),
    ],
)
def test_an_answer_that_cannot_be_read_says_why(content: bytes, encoding: str | None, reason: str) -> None:
    with pytest.raises(Undelivered, match=reason):
        read(content, encoding)


@pytest.mark.parametrize(("code", "taken"), [(b"0", True), (b'"0"', True), (b"-1", False)])
def test_a_long_answer_is_read_as_far_as_its_code(code: bytes, taken: bool) -> None:  # noqa: FBT001  # a parameter
    content = b'{"err_code": ' + code + b', "data": "' + b"x" * (1 << 20) + b'"}'
    answer = read(content)
    assert len(answer) == ANSWER_BYTES
    if taken:
        check_answer(answer)
    else:
        with pytest.raises(Undelivered):
            check_answer(answer)


def test_a_long_answer_without_a_code_is_not_taken() -> None:
    with pytest.raises(Undelivered):
        check_answer(read(b"<html>" + b"x" * (1 << 20)))
