"""The log of requests: one line about the request's task, and a counter of refusals."""

import json
import logging
import re
import time

from starlette.types import Message, Scope, Send

from shared.contract.json_values import parse_object, read_whole
from shared.errors import Problem, Rejected, one_line
from shared.http.responses import is_answer
from shared.metrics.instruments import Counter, render

_UNTOLD_PATHS = frozenset({"/livez", "/readyz", "/metrics"})  # asked all the time, not logged
_TASK_PATH = re.compile(r"/api/ai/tasks/(\d{1,19})(?:/|$)", re.ASCII)
_ANSWER_BYTES = 1024  # an answer of the contract is shorter
_FIRST_ERROR = 400

access = logging.getLogger("bentoml.kinora.access")


class RequestLog:
    """One request, from its head to its one log line."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.target = one_line(f"{scope['method']} {scope['path']}")
        self.remark = ""  # when there was no answer
        self._method: str = scope["method"]
        self._path: str = scope["path"]
        self._begun = time.monotonic()
        self._send = send
        self._status: int | None = None
        self._answer = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
        elif len(self._answer) < _ANSWER_BYTES:
            self._answer += message.get("body", b"")
        await self._send(message)

    def emit(self) -> None:
        """Log the request; probes, and successful GETs, are counted elsewhere and not logged."""
        plain = self._method in {"GET", "HEAD"} and self._status is not None and self._status < _FIRST_ERROR
        if plain or self._path.rstrip("/") in _UNTOLD_PATHS:
            return
        seconds = round(time.monotonic() - self._begun, 4)
        facts = {"method": self._method, "path": one_line(self._path), "status": self._status, "seconds": seconds}
        access.info("%s: %s", self.target, self.remark or self._verdict(), extra={"access": facts})

    def _verdict(self) -> str:
        try:
            answer = json.loads(self._answer)
        except ValueError:
            answer = None
        if not is_answer(answer):
            return f"HTTP {self._status}"
        return "accepted" if answer["err_code"] == 0 else f"refused: {answer['err_msg']}"


class Refusals:
    """Counts refusals by the key of their sentence: a small fixed set, whatever callers send."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._counter = Counter("kinora_requests_refused_total", "Requests refused, by reason", ("service", "reason"))
        self._counter.add(service, "queue_full", amount=0)

    def note(self, problem: Problem) -> None:
        """Count a refusal."""
        self._counter.add(self._service, problem.key)

    def page(self) -> str:
        return render([self._counter.family()])


def task_id_of(method: str, path: str, body: bytes) -> int | None:
    """Return the task that a request is about, for its log lines; None when it names none that can be read."""
    try:
        if match := _TASK_PATH.match(path):
            return read_whole(match[1])
        return read_whole(parse_object(body).get("task_id")) if method == "POST" and body else None
    except Rejected:
        return None
