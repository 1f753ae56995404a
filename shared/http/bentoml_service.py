"""A BentoML service that speaks the contract: its requests, its errors, its metrics, its OpenAPI document."""

import functools
import os
from collections.abc import Awaitable, Callable
from typing import Any

from _bentoml_sdk import IODescriptor, Service
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from shared import logs
from shared.contract.request import TaskRequest
from shared.errors import Problem
from shared.http.access_log import Refusals
from shared.http.control_port import close_control_port
from shared.http.master_exit import tell_loss_at_exit
from shared.http.middleware import ContractMiddleware
from shared.http.openapi import DOCUMENT_PATH, Document, describe
from shared.http.request_tracing import TracedRequests
from shared.http.responses import answer_to
from shared.http.route_labels import RouteLabels, TruePath
from shared.settings import Settings
from shared.tracing.tracer import Tracer
from shared.vocabulary import Language


class ContractService(Service[Any]):  # type: ignore[misc]  # BentoML's SDK has no types
    """A BentoML service whose every answer, those of the framework included, is the contract's.

    Pass it as `service_class=`. The bodies of its APIs are read by the `TaskRequest` that each API declares.
    """

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        close_control_port()  # here: BentoML's master, too, declares the service before it starts anything
        # Its allocator would hide the only GPU of a machine from all services but the first that asks for one.
        os.environ.setdefault("BENTOML_DISABLE_GPU_ALLOCATION", "1")
        # BentoML's access lines have no task_id, and a page that refreshes fills the log: the middleware writes ours.
        self.config.setdefault("logging", {"access": {"enabled": False}})
        settings = Settings.load()
        tell_loss_at_exit(settings)
        logs.configure_bentoml(settings, service=self.name)

    def to_asgi(self, is_main: bool = True) -> ASGIApp:  # noqa: FBT001, FBT002  # BentoML's own signature
        settings = Settings.load()
        logs.configure_bentoml(settings, service=self.name)  # again: the router's process has imported every service
        refusals = Refusals(self.name)
        self.inner.__metrics__ = _showing(refusals, getattr(self.inner, "__metrics__", None))
        requests: dict[str, type[TaskRequest]] = {}
        for api in self.apis.values():
            # BentoML derives its own class from an API's model; the contract is the model as written.
            written = [kind for kind in api.input_spec.__mro__ if not issubclass(kind, IODescriptor)]
            if issubclass(written[0], TaskRequest):
                requests[api.route] = written[0]
            api.func = _answering(api.func, settings.language, refusals)
        if requests:
            self.mount_asgi_app(_document_app(describe(requests, fetches=bool(settings.fetch.hosts))))
        self.add_asgi_middleware(TruePath)
        app = super().to_asgi(is_main)
        routes = RouteLabels(app, app.routes)
        contract = ContractMiddleware(routes, settings, requests, refusals)
        return TracedRequests(contract, Tracer.of(settings, self.name), routes.label)


def _document_app(document: Document) -> Starlette:
    async def show(_request: Request) -> Response:
        return JSONResponse(document)

    return Starlette(routes=[Route(DOCUMENT_PATH, show)])


def _answering(
    function: Callable[..., Awaitable[Any]], language: Language, refusals: Refusals
) -> Callable[..., Awaitable[Any]]:
    """Let an API raise problems: BentoML would turn them into its own errors before the middleware sees them."""

    @functools.wraps(function)
    async def answering(*args: Any, **kwargs: Any) -> Any:
        try:
            return await function(*args, **kwargs)
        except Problem as problem:
            refusals.note(problem)
            return answer_to(problem, language)

    return answering


def _showing(refusals: Refusals, own: Callable[..., Awaitable[str]] | None) -> Callable[..., Awaitable[str]]:
    """Let a service's part of `/metrics` show its refusals, which it does not see; BentoML asks its class for it."""
    written = getattr(own, "__wrapped__", own)  # if the class gets a second application, it counts from 0 again

    async def metrics(service: Any, page: str) -> str:
        shown = await written(service, page) if written else page
        return shown + refusals.page()

    metrics.__wrapped__ = written  # type: ignore[attr-defined]  # as functools.wraps does; there may be none
    return metrics
