"""The route of a request in place of its path, for what BentoML counts: as many series as routes, whatever is asked.

BentoML labels its own figures with `scope["path"]`. A path holds a task's id or whatever a caller invents, and each
new one would add some twenty series that are kept, and rendered at every scrape, until the process ends.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from starlette.routing import BaseRoute, Mount, Route, compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

UNKNOWN = "unknown"  # the one label of every path that leads nowhere
_PATH = "kinora.path"  # where the true path waits in the scope


class RouteLabels:
    """Goes around BentoML's application, whose layers then see the route's template as the path of a request.

    `TruePath` has to be its innermost layer: it gives the path back before the request is routed.
    """

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._templates = list(_templates(routes))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "path": self.label(scope["path"]), _PATH: scope["path"]}
        await self._app(scope, receive, send)

    def label(self, path: str) -> str:
        """Return the template of the route that a path leads to, as `/api/ai/tasks/{task_id}`, or UNKNOWN."""
        return next((template for pattern, template in self._templates if pattern.match(path)), UNKNOWN)


class TruePath:
    """Gives the application inside the path that was asked for."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app({**scope, "path": scope[_PATH]} if _PATH in scope else scope, receive, send)


def _templates(routes: Sequence[BaseRoute], prefix: str = "") -> Iterator[tuple[re.Pattern[str], str]]:
    """Return the pattern and the template of every route, those of mounted applications included."""
    for route in routes:
        if isinstance(route, Route):
            yield compile_path(prefix + route.path)[0], prefix + route.path
        elif isinstance(route, Mount):
            inside: Any = getattr(route.app, "routes", None)
            if inside is None:  # files, say: one label for all of them
                yield re.compile(re.escape(prefix + route.path) + "/"), f"{prefix}{route.path}/{{path}}"
            else:
                yield from _templates(inside, prefix + route.path)
