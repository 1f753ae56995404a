"""The console: one page without external assets, which uses only the task paths."""

import base64
import hashlib
import re
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import HTMLResponse

_PAGE = (files("services.router") / "console.html").read_text(encoding="utf-8")


def _hashes(element: str) -> str:
    """Return the sources of a content security policy that allow exactly the page's own inline elements."""
    bodies = re.findall(rf"<{element}>(.*?)</{element}>", _PAGE, re.DOTALL)
    digests = (hashlib.sha256(body.encode()).digest() for body in bodies)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


_HEADERS = {
    "content-security-policy": (
        f"default-src 'none'; script-src {_hashes('script')}; style-src {_hashes('style')}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cache-control": "no-cache",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


async def console(_request: Request) -> HTMLResponse:
    """Serve the page; it reads its content from the task paths, with the token that the user enters."""
    return HTMLResponse(_PAGE, headers=_HEADERS)
