"""Which services run on this machine beside the router, and where they listen."""

import logging
from collections.abc import Container
from importlib import import_module
from importlib.resources import files
from typing import Any

import bentoml
from _bentoml_sdk import Service
from _bentoml_sdk.service.dependency import Dependency

from services.router.upstream import absent
from shared.settings import Settings
from shared.vocabulary import ServiceName

logger = logging.getLogger("bentoml.kinora.router")


def start_here(name: ServiceName) -> "Dependency[Any] | None":
    """Have `bentoml serve` start this service with the router; None when it runs elsewhere or is not installed.

    The dependency only starts it. Requests never go through BentoML's client, which drops unfinished ones whenever it
    renews its session.
    """
    settings = Settings.load()
    installed = (files("services") / name / "service.py").is_file()
    if not installed or name not in settings.services or settings.upstreams.of(name):
        return None
    try:
        found = vars(import_module(f"services.{name}.service")).values()
    except ImportError:
        logger.exception("the service %s is left out: it cannot be imported", name)
        return None
    return bentoml.depends(next(value for value in found if isinstance(value, Service)))


def listening_at(dependency: "Dependency[Any] | None") -> str | None:
    """Return the URL of a service that was started here (`file://` means a unix socket)."""
    return dependency.on.url if dependency else None


def report_absent(settings: Settings, known: Container[ServiceName]) -> None:
    """Log once, when the router starts, which wanted services cannot be reached: their paths answer 503.

    An image of the router contains no service, so there every service needs its URL. Leave one that is not wanted out
    of `KINORA_SERVICES`. The others are served in any case.
    """
    for name in settings.services:
        if name not in known:
            logger.error("%s", absent(name))
