"""`kinora tasks`: accepted tasks, their progress, and how to cancel or delete them."""

from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.table import Column, Table

from shared.cli.with_storage import console, with_storage
from shared.contract.messages import TaskView
from shared.database.pool import Pool
from shared.errors import Rejected
from shared.queue.client import Queue
from shared.settings import Settings
from shared.tasks import views
from shared.tasks.cancellation import cancel_all
from shared.tasks.recovery import TaskRecovery
from shared.vocabulary import SERVICES, TASK_STATES, ServiceName, TaskState

app = typer.Typer(help="List, show, cancel and purge tasks.", no_args_is_help=True)

Service = Annotated[str | None, typer.Option("--service", help=f"One of {', '.join(SERVICES)}; all without it.")]
TaskId = Annotated[int, typer.Argument(help="The caller's task_id.")]


@app.command("list")
def list_tasks(
    service: Service = None,
    state: Annotated[str | None, typer.Option(help=f"One of {', '.join(TASK_STATES)}.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 50,
) -> None:
    """Show the newest run of each job and preview, newest first."""
    found = _find(service, limit=limit, state=_state(state))
    names = ("service", "task", "kind", "state", "done", "place", "eta s", "created", "callback")
    table = Table(*(Column(name, no_wrap=True) for name in names), box=SIMPLE, padding=(0, 1, 0, 0))
    for task in found:
        table.add_row(
            task.service,
            str(task.task_id),
            task.kind,
            task.state,
            f"{task.progress:.0%}",
            "" if task.queue_position is None else str(task.queue_position),
            "" if task.eta_seconds is None else f"{task.eta_seconds:.0f}",
            f"{task.created_at:%m-%d %H:%M}",
            task.callback.state,
        )
    console.print(table)


@app.command()
def show(task_id: TaskId, service: Service = None) -> None:
    """Show all data of one task, as JSON."""
    found = _find(service, task_id=task_id)
    for task in found:
        console.print_json(task.model_dump_json())
    if not found:
        raise typer.Exit(1)


@app.command()
def cancel(task_id: TaskId, service: Service = None) -> None:
    """Cancel what is queued or running under a task_id; its callback says so."""

    async def work(settings: Settings, pool: Pool) -> int:
        queue = Queue()
        async with pool.transaction() as connection:
            stopped = [
                row
                for name in _services(service)
                for row in await cancel_all(connection, queue, name, task_id, settings.language)
            ]
        if not stopped:
            raise Rejected("task_not_active", task_id=task_id)
        return len(stopped)

    console.print(f"cancelled: {with_storage(work)}")


@app.command()
def purge() -> None:
    """Delete task records and faces that are older than their limit (KINORA_KEEP_DAYS, KINORA_FACES_KEEP_DAYS)."""

    async def work(settings: Settings, pool: Pool) -> tuple[int, int]:
        return await TaskRecovery(settings, pool, Queue()).purge()

    records, faces = with_storage(work)
    console.print(f"deleted {records} task records, and the faces of {faces}")


def _find(
    service: str | None, *, task_id: int | None = None, state: TaskState | None = None, limit: int = 50
) -> list[TaskView]:
    async def work(_settings: Settings, pool: Pool) -> list[TaskView]:
        async with pool.transaction(snapshot=True) as connection:
            return [
                view
                for name in _services(service)
                for view in await views.newest_runs(connection, name, task_id=task_id, state=state, limit=limit)
            ]

    found = with_storage(work)
    return sorted(found, key=lambda task: task.created_at, reverse=True)[:limit]


def _services(service: str | None) -> tuple[ServiceName, ...]:
    chosen = tuple(name for name in SERVICES if service in {None, name})
    if not chosen:
        raise typer.BadParameter(f"service must be one of {', '.join(SERVICES)}")
    return chosen


def _state(state: str | None) -> TaskState | None:
    for known in TASK_STATES:
        if known == state:
            return known
    if state:
        raise typer.BadParameter(f"state must be one of {', '.join(TASK_STATES)}")
    return None
