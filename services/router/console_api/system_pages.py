"""What the system says of itself: services, runners, queues, machines, weights, safety, and the doctor's findings."""

import asyncio
import json
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.router.console_api.guard import ROOT
from services.router.metrics import target_of
from services.router.proxy import Proxy
from shared import weights
from shared.http.languages import language_asked
from shared.http.record_routes import STATUS_PATH
from shared.http.responses import TOO_SLOW, UNAVAILABLE, HttpProblem
from shared.settings import Settings
from shared.upstreams import WeightedUpstream
from shared.vocabulary import Language, ServiceName

DOCTOR_SECONDS = 120.0
_KEPT_SECONDS = 60.0  # findings that are younger are shown again


class SystemPages:
    """The endpoints `/api/console/system` and `/api/console/doctor`."""

    def __init__(self, settings: Settings, proxy: Proxy) -> None:
        self._settings = settings
        self._proxy = proxy
        self._examining = asyncio.Lock()
        self._examined: tuple[float, dict[str, Any]] | None = None
        self.routes = [Route(f"{ROOT}/system", self._show), Route(f"{ROOT}/doctor", self._examine)]

    async def _show(self, request: Request) -> Response:
        settings = self._settings
        language = language_asked(request.headers.get("accept-language", "")) or settings.language
        services, catalogue = await asyncio.gather(
            asyncio.gather(*(self._service(name, language) for name in self._proxy.names)), asyncio.to_thread(_weights)
        )
        return JSONResponse(
            {
                "version": settings.version,
                "language": settings.language,
                "host": settings.access.host,
                "port": settings.access.port,
                "token": bool(settings.access.tokens),
                "device": settings.device,
                "services": services,
                "safety": {
                    "visible_label": settings.encoding.visible_label,
                    "content_producer": settings.encoding.content_producer,
                    "nsfw_check": settings.facefusion.nsfw_check,
                    "nsfw_threshold": settings.facefusion.nsfw_threshold,
                },
                "weights": catalogue,
            },
            headers={"cache-control": "no-store"},
        )

    async def _service(self, name: ServiceName, language: Language) -> dict[str, Any]:
        answers = await self._proxy.service(name).ask_each(STATUS_PATH, self._proxy.own_headers)
        versions = [_version(share, answer, language) for share, answer in answers]
        problem = next((version["problem"] for version in versions if version["problem"]), "")
        reachable = any(not version["problem"] for version in versions)
        accepting = [version for version in versions if version["weight"]]
        ready = any(version["ready"] for version in accepting)
        return {"service": name, "reachable": reachable, "ready": ready, "problem": problem, "versions": versions}

    async def _examine(self, _request: Request) -> Response:
        async with self._examining:
            if self._examined is None or time.monotonic() - self._examined[0] > _KEPT_SECONDS:
                found = await _doctor()
                at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
                self._examined = time.monotonic(), {"at": at, **found}
            return JSONResponse(self._examined[1], headers={"cache-control": "no-store"})


def _version(share: WeightedUpstream, answer: dict[str, Any] | HttpProblem, language: Language) -> dict[str, Any]:
    about = {"url": target_of(share.url), "weight": share.weight}
    if isinstance(answer, HttpProblem):
        empty: dict[str, Any] = {key: [] for key in ("runners", "queues", "running", "callbacks", "gpus", "disks")}
        return {**about, "problem": answer.sentence(language), "version": None, "ready": False, **empty}
    return {**about, "problem": "", **{key: value for key, value in answer.items() if key != "service"}}


async def _doctor() -> dict[str, Any]:
    """Run the checks of `kinora doctor` in a process of their own: they import large libraries, and drivers hang."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from shared.cli.app import app; app()", "doctor", "--json",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(DOCTOR_SECONDS):
            said, _ = await process.communicate()
        found: dict[str, Any] = json.loads(said)
    except TimeoutError as error:
        raise HttpProblem(TOO_SLOW, "doctor_silent") from error
    except ValueError as error:
        raise HttpProblem(UNAVAILABLE, "doctor_silent") from error
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    return found


def _weights() -> list[dict[str, Any]]:
    """Return the catalogue, and what of it is on this machine."""
    return [
        {
            "name": entry.name,
            "purpose": entry.purpose,
            "licence": entry.licence,
            "origin": entry.origin,
            "commercial": entry.commercial,
            "needs_consent": entry.needs_consent,
            "default": entry.default,
            "installed": weights.exists(entry.name),
            "bytes": entry.size,
        }
        for entry in weights.entries().values()
        if entry.kind == "weights"
    ]
