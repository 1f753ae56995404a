"""Bodies of small requests, read within a bound and a time, as the contract's middleware reads its own."""

from typing import Any

from starlette.requests import Request

from shared.contract.json_values import parse_object
from shared.http.middleware import read_body


async def read_small(request: Request) -> bytes:
    """Return a body of at most 64 KB; raise HttpProblem for one that is longer or slow."""
    return await read_body(request.receive)


async def read_json(request: Request) -> dict[str, Any]:
    """Return the body's object, empty for an empty body; raise Rejected for anything else."""
    body = await read_small(request)
    return parse_object(body) if body.strip() else {}
