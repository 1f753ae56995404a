"""`kinora submit`: a task for those who have no backend yet, posted to the running router and followed to its end."""

from pathlib import Path
from typing import Annotated

import typer

from shared.cli.following import follow
from shared.cli.request_options import add_commands
from shared.cli.router_client import RouterClient, router_url
from shared.cli.spoken import spoken
from shared.contract.request import TaskRequest
from shared.settings import Settings
from shared.vocabulary import SERVICES, ServiceName

app = typer.Typer(help="Post a task to the running router, follow it, and print the result's path.")


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    url: Annotated[str, typer.Option(help="The router; by default KINORA_HOST and KINORA_PORT.")] = "",
    watch: Annotated[int | None, typer.Option(min=1, metavar="ID", help="Follow a task that is there already.")] = None,
    service: Annotated[str | None, typer.Option(help="With --watch: the task's service.")] = None,
    *,
    detach: Annotated[bool, typer.Option(help="Do not wait for the end; print the task_id.")] = False,
) -> None:
    """Post a task to the running router, follow it, and print the result's path; exit 0 only if there is one."""
    settings = Settings.load()
    router = RouterClient(url or router_url(settings), settings)
    context.obj = (router, detach)
    if watch is not None:
        if service and service not in SERVICES:
            raise typer.BadParameter(f"--service must be one of {', '.join(SERVICES)}")
        with spoken():
            follow(router, lambda: router.newest(watch, service), None)
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


def post(context: typer.Context, service: ServiceName, request: TaskRequest) -> None:
    """Post a valid request and follow it."""
    router: RouterClient
    router, detach = context.obj
    router.submit(service, request.model_dump(exclude_unset=True))
    if detach:
        typer.echo(request.task_id)
        return
    follow(router, lambda: router.newest(request.task_id, service), Path(request.dist_dir))


add_commands(app, post)
