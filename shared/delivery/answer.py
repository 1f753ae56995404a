"""What a receiver answered to a callback: read within a bound, and whether it means that the callback was taken."""

import json
import re
import zlib

import httpx

from shared.tasks.tries import Outcome

ANSWER_BYTES = 64 * 1024  # as much of an answer as is read
_ERR_CODE = re.compile(rb'"err_code"\s*:\s*"?\s*(-?[0-9]+)')


class Undelivered(Exception):
    """The receiver did not take a callback; `wish` is its Retry-After in seconds.

    `away`: it is not there, or what stands before it says so; other callbacks have the same reason to wait. `status` is
    that of its answer, None where there was none.
    """

    outcome: Outcome = "refused"  # as it is counted

    def __init__(
        self, reason: str, wish: float | None = None, *, away: bool = False, status: int | None = None
    ) -> None:
        super().__init__(reason)
        self.wish = wish
        self.away = away
        self.status = status


class Unreached(Undelivered):
    """There was no receiver, or it did not answer."""

    outcome: Outcome = "unreachable"

    def __init__(self, reason: str) -> None:
        super().__init__(reason, away=True)


async def read_answer(response: httpx.Response) -> bytes:
    """Return the first `ANSWER_BYTES` of an answer, unpacked if it was packed though nobody asked for that.

    Nothing beyond is read or held: httpx would first unpack a thousand times what has come. Raises Undelivered for an
    encoding that cannot be unpacked.
    """
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity", "gzip", "x-gzip", "deflate"}:
        raise Undelivered(f"the receiver's answer is encoded as {encoding[:40]}, which nobody asked for")
    unpacking = None if encoding in {"", "identity"} else zlib.decompressobj(zlib.MAX_WBITS | 32)  # either of the two
    answer = b""
    async for part in response.aiter_raw():
        try:
            answer += part if unpacking is None else unpacking.decompress(part, ANSWER_BYTES - len(answer))
        except zlib.error as error:
            raise Undelivered(f"the receiver's answer cannot be unpacked: {error}") from error
        if len(answer) >= ANSWER_BYTES:
            return answer[:ANSWER_BYTES]
    return answer


def check_answer(answer: bytes) -> None:
    """Accept no JSON at all, or an object whose err_code is 0 or "0"; raise Undelivered for any other JSON.

    Of an answer that is longer than what is read, the first err_code counts; without one it is not accepted.
    """
    if len(answer) >= ANSWER_BYTES:
        found = _ERR_CODE.search(answer)
        code: object = int(found[1]) if found else None
    else:
        try:
            payload = json.loads(answer)
        except ValueError:
            return
        except RecursionError:
            raise Undelivered("the receiver answered with JSON nested without end") from None
        code = payload.get("err_code") if isinstance(payload, dict) else None
    if isinstance(code, str) and code.strip() == "0":
        return
    if isinstance(code, bool) or code != 0:
        raise Undelivered(f"the receiver answered {answer[:120].decode(errors='replace')}")
