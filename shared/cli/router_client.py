"""The running router as a command of this machine talks to it."""

from collections.abc import Mapping
from typing import Any

import httpx

from shared.contract.messages import TaskList, TaskView
from shared.settings import Settings

_SECONDS = 45.0  # longer than the router waits for a service


class RouterSilent(Exception):
    """Nothing answers as a router does; the message says where."""


class Refused(Exception):
    """The router or the service refused; the message is its own sentence."""


class RouterClient:
    """Posts, follows and cancels tasks over the documented paths."""

    def __init__(self, url: str, settings: Settings) -> None:
        headers = {"authorization": f"Bearer {settings.access.tokens[0]}"} if settings.access.tokens else {}
        self._url = url
        self._client = httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=_SECONDS)

    def submit(self, service: str, body: Mapping[str, Any]) -> None:
        """Post a task; it is durable once this returns. Raises Refused and RouterSilent."""
        self._ask("POST", f"/api/ai/{service}", json=dict(body))

    def cancel(self, task: TaskView) -> None:
        """Ask for the end of one run. Raises Refused and RouterSilent."""
        self._ask("POST", f"/api/ai/tasks/{task.task_id}/cancel", params={"service": task.service, "id": task.id})

    def newest(self, task_id: int, service: str | None = None) -> TaskView:
        """Return the newest run under a task_id. Raises Refused and RouterSilent."""
        answer = self._ask("GET", f"/api/ai/tasks/{task_id}", params={"service": service or ""})
        return TaskList.model_validate(answer).tasks[0]

    def _ask(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        try:
            answer = self._client.request(method, path, **content)
            found: dict[str, Any] = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise RouterSilent(f"no router answers at {self._url}: {error}") from error
        if found.get("err_code", 0) != 0:
            raise Refused(found.get("err_msg", ""))
        return found


def router_url(settings: Settings) -> str:
    """Return where the router of these settings can be reached from this machine."""
    host = settings.access.host
    here = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104  # compared
    return f"http://{here}:{settings.access.port}"
