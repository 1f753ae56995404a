"""`kinora serve`: the router and every service of this machine, as one `bentoml serve`."""

import ipaddress
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

import typer
from pydantic import ValidationError

import services
from shared.cli.startup_checks import check_startup
from shared.errors import Misconfigured, Problem
from shared.settings import Settings, describe_errors

TARGET = "services.router.service:Router"


def serve() -> None:
    """Start everything for daily use, on KINORA_HOST and KINORA_PORT."""
    try:
        settings = Settings.load()
        address = listen_address(settings.access.host)
    except ValidationError as error:
        for sentence in describe_errors(error):
            typer.echo(sentence, err=True)
        raise typer.Exit(2) from error
    except OSError as error:
        typer.echo(f"KINORA_HOST: {error}", err=True)
        raise typer.Exit(2) from error
    try:
        check_startup(settings, address)
    except Problem as problem:
        typer.echo(problem.sentence(settings.language), err=True)
        raise typer.Exit(2 if isinstance(problem, Misconfigured) else 1) from problem
    if "media_roots" not in settings.model_fields_set:
        with suppress(OSError):  # `kinora doctor` says what is wrong with it
            settings.media_roots[0].mkdir(exist_ok=True)
    command = [sys.executable, "-m", "bentoml", "serve", TARGET, "--host", address, "--port", str(settings.access.port)]
    # This process becomes BentoML's master: ending it ends everything.
    os.chdir(Path(services.__file__).parent.parent)
    os.execve(sys.executable, command, os.environ | environment(settings))  # noqa: S606  # no shell is wanted


def environment(settings: Settings) -> dict[str, str]:
    """Return what BentoML's processes need on top of the caller's environment; paths become absolute."""
    return {
        "BENTOML_DO_NOT_TRACK": "True",
        # BentoML's allocator would hide the only GPU from all services but the first.
        "BENTOML_DISABLE_GPU_ALLOCATION": "1",
        "KINORA_MASTER_PID": str(os.getpid()),  # this very process, before and after it becomes BentoML's master
        "KINORA_MEDIA_ROOTS": ":".join(map(str, settings.media_roots)),
        "KINORA_STATE_DIR": str(settings.state_dir),
        # It is there by now. Whoever is started again after it was removed must not put an empty one in its place.
        "KINORA_STATE_REQUIRED": "true",
    }


def listen_address(host: str) -> str:
    """Return the IP address of a host name, which is all that BentoML takes; raise OSError when there is none."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        families = sorted(found, key=lambda entry: entry[0] != socket.AF_INET)
        return str(families[0][4][0])
