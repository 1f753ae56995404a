"""The router: the documented URLs on one port, in front of services that run here or elsewhere."""

import bentoml
from starlette.types import ASGIApp

from services.router.console_api.document import describe_console
from services.router.console_api.front import ConsoleFront
from services.router.local import listening_at, report_absent, start_here
from services.router.proxy import Proxy
from shared.http.bentoml_service import ContractService
from shared.http.deployment_needs import needs_of_the_router
from shared.process.lifetime import die_with_parent
from shared.settings import Settings
from shared.upstreams import WeightedUpstream
from shared.vocabulary import SERVICES, ServiceName

LOCAL = {name: start_here(name) for name in SERVICES}


def addresses(settings: Settings) -> dict[ServiceName, tuple[WeightedUpstream, ...]]:
    """Return the addresses of all versions of every service, those on other machines included."""
    here = {name: (WeightedUpstream(url, 1),) for name in SERVICES if (url := listening_at(LOCAL[name]))}
    elsewhere = {name: shares for name in SERVICES if (shares := settings.upstreams.of(name))}
    report_absent(settings, here | elsewhere)
    return here | elsewhere


proxy = Proxy(addresses, describe_console)


class RouterService(ContractService):
    """The router's BentoML service, with the console in front."""

    def to_asgi(self, is_main: bool = True) -> ASGIApp:  # noqa: FBT001, FBT002  # BentoML's own signature
        return ConsoleFront(super().to_asgi(is_main), Settings.load(), proxy)


@bentoml.asgi_app(proxy.app)
@bentoml.service(
    name="router",
    workers=1,
    traffic={"timeout": 60},
    runner_probe={"enabled": False},  # BentoML's own probe hangs on a dead service
    service_class=RouterService,
    **needs_of_the_router(),
)
class Router:
    """Passes requests on, merges the task lists, serves the console."""

    creation = LOCAL["creation"]
    facefusion = LOCAL["facefusion"]
    interpo = LOCAL["interpo"]
    upscale = LOCAL["upscale"]

    @bentoml.on_startup
    def start(self) -> None:
        die_with_parent(Settings.load().master_pid)

    async def __is_ready__(self) -> bool:
        """Ready when every service of this machine is; those on other machines have their own probes."""
        return await proxy.ready(name for name in SERVICES if LOCAL[name])

    async def __metrics__(self, page: str) -> str:
        return page + await proxy.metrics()
