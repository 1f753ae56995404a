"""One service in one or several versions: each task goes to its version, lists include all of them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar

import httpx

from services.router.metrics import LOCAL, RouterMetrics, target_of
from services.router.split import key_of, ranked
from services.router.upstream import Unreachable, Upstream
from shared.contract.messages import Answer, TaskList, TaskView
from shared.errors import Rejected
from shared.http.responses import BAD_UPSTREAM, HttpProblem, is_answer
from shared.upstreams import WeightedUpstream
from shared.vocabulary import ServiceName

T = TypeVar("T")
_KEYS = {"id", "service", "task_id", "created_at", "eta_seconds", "request"}  # that the console reads of a record
FALLBACKS = 1  # how many other versions a submission tries when its own cannot be reached


class ServiceVersions:
    """The versions of one service. They share one database: any of them can list and cancel the tasks of all."""

    def __init__(self, service: ServiceName, shares: Iterable[WeightedUpstream], metrics: RouterMetrics) -> None:
        self._service = service
        self._shares = tuple(shares)
        self._upstreams = {share.url: Upstream(service, share.url, metrics) for share in self._shares}

    async def close(self) -> None:
        await asyncio.gather(*(upstream.close() for upstream in self._upstreams.values()))

    async def submit(self, body: bytes, headers: Mapping[str, str]) -> httpx.Response:
        """Pass a submission to its task's version, or, when that one cannot be reached, to the next; else raise.

        A version that cannot be reached has usually not seen the request. If its connection broke (it was killed in
        between), it may have accepted the task: then the fallback finds the same body under the same task_id in
        their database and accepts it only once. If a version is slow or refuses, no other one is tried.
        """
        accepting = [share for share in self._shares if share.weight]
        if len(accepting) > 1:
            accepting = ranked(self._service, key_of(body), accepting)[: 1 + FALLBACKS]
        *others, last = accepting
        for share in others:
            try:
                return await self._upstreams[share.url].submit(body, headers)
            except Unreachable:
                continue
        return await self._upstreams[last.url].submit(body, headers)

    async def cancel(
        self, path: str, query: Mapping[str, str], headers: Mapping[str, str], *, task_id: int
    ) -> httpx.Response:
        """Ask the task's version to cancel, then the others until one accepts; return the best answer or raise."""
        answers: list[httpx.Response] = []
        problems: list[HttpProblem] = []
        for share in ranked(self._service, str(task_id), self._shares):
            try:
                answers.append(await self._upstreams[share.url].cancel(path, query, headers))
            except HttpProblem as problem:
                problems.append(problem)
                continue
            if answers[-1].json()["err_code"] == 0:
                return answers[-1]
        if not answers:
            raise problems[0]
        return min(answers, key=lambda answer: answer.status_code)

    async def tasks(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> TaskList | Answer:
        """Return the tasks of all versions, each once, or the refusal if all refused."""
        answers = await self._ask_all(lambda upstream: upstream.tasks(path, query, headers))
        lists = [answer for answer in answers if isinstance(answer, TaskList)]
        if not lists:
            return answers[0]
        newest: dict[object, TaskView] = {}
        for task in (task for found in lists for task in found.tasks):
            # A task that ran again between two answers is still one task; a task may have several previews.
            job = task.task_id if task.kind == "generate" else task.id
            if job not in newest or newest[job].created_at < task.created_at:
                newest[job] = task
        return TaskList(tasks=list(newest.values()))

    async def ask(
        self, path: str, query: Mapping[str, str], headers: Mapping[str, str], *, method: str = "GET"
    ) -> dict[str, Any]:
        """Return the answer of one version, that with the largest weight first: one database is behind all of them.

        Raises the first problem when none answers.
        """
        problems: list[HttpProblem] = []
        for share in sorted(self._shares, key=lambda share: -share.weight):
            try:
                return await self._upstreams[share.url].ask(path, query, headers, method=method)
            except HttpProblem as problem:
                problems.append(problem)
        raise problems[0]

    async def records(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return the records that one version answers with; raise Rejected for its refusal, or HttpProblem."""
        answer = await self.ask(path, query, headers)
        if is_answer(answer):
            raise Rejected("said_by_service", sentence=answer["err_msg"])
        records = answer.get("records")
        if not isinstance(records, list) or not all(
            isinstance(found, dict) and found.keys() >= _KEYS for found in records
        ):
            raise HttpProblem(BAD_UPSTREAM, "service_strange", service=self._service)
        return records

    async def ask_each(
        self, path: str, headers: Mapping[str, str]
    ) -> list[tuple[WeightedUpstream, dict[str, Any] | HttpProblem]]:
        """Return what every version answers, or why it does not."""

        async def ask(share: WeightedUpstream) -> dict[str, Any] | HttpProblem:
            try:
                return await self._upstreams[share.url].ask(path, {}, headers)
            except HttpProblem as problem:
                return problem

        answers = await asyncio.gather(*(ask(share) for share in self._shares))
        return list(zip(self._shares, answers, strict=True))

    async def document(self, path: str, headers: Mapping[str, str]) -> dict[str, Any]:
        """Return the OpenAPI document of the version with the largest weight."""
        by_weight = sorted(self._shares, key=lambda share: -share.weight)
        problem: HttpProblem | None = None
        for share in by_weight:
            try:
                return await self._upstreams[share.url].document(path, headers)
            except HttpProblem as error:
                problem = problem or error
        assert problem
        raise problem

    async def local_metrics(self, headers: Mapping[str, str]) -> list[str]:
        """Return the metrics of services that run beside the router on a socket, which only the router can reach."""
        here = [upstream for url, upstream in self._upstreams.items() if target_of(url) == LOCAL]
        return await asyncio.gather(*(upstream.metrics(headers) for upstream in here))

    async def ready(self) -> bool:
        """Whether any version that takes new tasks is ready: a task then reaches it."""
        accepting = [self._upstreams[share.url] for share in self._shares if share.weight]
        return any(await asyncio.gather(*(upstream.ready() for upstream in accepting)))

    async def _ask_all(self, ask: Callable[[Upstream], Awaitable[T]]) -> list[T]:
        """Ask every version at once; return the answers, or raise the problem if there are none."""
        outcomes = await asyncio.gather(
            *(ask(upstream) for upstream in self._upstreams.values()), return_exceptions=True
        )
        answers: list[T] = []
        problems: list[HttpProblem] = []
        for outcome in outcomes:
            if isinstance(outcome, HttpProblem):
                problems.append(outcome)
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                answers.append(outcome)
        if not answers:
            raise problems[0]
        return answers
