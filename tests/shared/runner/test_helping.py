"""Several runners on one film: one task, one file, one callback, whoever dies or comes late."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from shared.testing.callback_receiver import Receiver
from tests.shared.runner.test_segments import contents, film_in, hidden, post, result, segments, wait_for_segments
from tests.support.tiny_service import PATIENCE_SECONDS, ROOT, RUNNER, TinyService, callbacks


class Helpers:
    """Runners beside the one that the service has, over the same database and folders."""

    def __init__(self, service: TinyService) -> None:
        self._service = service
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, slot: int) -> "subprocess.Popen[bytes]":
        """Start a runner and wait until it takes tasks."""
        uri = f"postgresql://postgres@/postgres?host={self._service.state / 'postgres'}"
        environment = self._service.environment | {"KINORA_DATABASE_URL": uri}
        command = [sys.executable, "-m", RUNNER, "--kind", "generate", "--slot", str(slot)]
        with (self._service.home / f"log-{slot}").open("ab") as log:
            process = subprocess.Popen(
                command, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._processes.append(process)
        wait_for(lambda: len(self.workers()) > slot)
        return process

    def workers(self) -> list[dict[str, Any]]:
        return self._service.sql(
            "SELECT id FROM procrastinate_workers WHERE last_heartbeat > now() - interval '8 seconds'"
        )

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def farm(
    home: Path, receiver: Receiver, runners: int, *, helpers: int | None = None
) -> Iterator[tuple[TinyService, Helpers]]:
    limit: dict[str, Any] = {} if helpers is None else {"helpers": helpers}
    with TinyService(home, receiver, segment_seconds=0.4, preset="ultrafast", drain_seconds=60, **limit) as service:
        film_in(service)
        beside = Helpers(service)
        try:
            for slot in range(1, runners):
                beside.start(slot)
            yield service, beside
        finally:
            beside.stop()


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[tuple[TinyService, Helpers]]:
    with farm(tmp_path_factory.mktemp("four"), receiver, 4) as found:
        yield found


@pytest.fixture(scope="module")
def undisturbed(four: tuple[TinyService, Helpers], receiver: Receiver) -> list[Any]:
    service, _ = four
    post(service, 1, seconds=0)
    return contents(result(service, receiver, 1))


def helping(service: TinyService, task_id: int) -> list[dict[str, Any]]:
    """Return the segments that helpers make."""
    return service.sql(
        "SELECT number, made_by, helper FROM kinora_segments segment JOIN kinora_tasks run ON run.id = segment.task"
        " WHERE task_id = %s AND helper IS NOT NULL AND segment.state = 'running'"
        " AND segment.beat_at > now() - interval '20 seconds' ORDER BY number",
        task_id,
    )


def pid_of(helper: dict[str, Any]) -> int:
    return int(helper["made_by"].rpartition(":")[2])


def test_idle_runners_help_and_there_is_one_file_and_one_callback(
    four: tuple[TinyService, Helpers], receiver: Receiver, undisturbed: list[Any]
) -> None:
    service, _ = four
    post(service, 2, seconds=0.2)
    wait_for(lambda: segments(service, 2).get("running", 0) >= 3)
    assert contents(result(service, receiver, 2)) == undisturbed
    made = service.task(2)["details"]["segments"]
    assert made["done"] == made["total"] == 8
    assert len(made["by"]) >= 3
    assert made["repeated"] == 0
    assert len([name for name in service.files() if name.startswith("2_")]) == 1
    assert hidden(service, 2) == []


def test_a_cancel_stops_all_who_help(four: tuple[TinyService, Helpers], receiver: Receiver) -> None:
    service, _ = four
    post(service, 3, seconds=2)
    wait_for(lambda: len(helping(service, 3)) == 3)
    begun = time.monotonic()
    service.cancel(3)
    [callback] = callbacks(receiver, 3)
    assert callback["err_msg"] == "cancelled"
    wait_for(
        lambda: not service.sql("SELECT 1 FROM procrastinate_jobs WHERE task_name = 'kinora.help' AND status = 'doing'")
    )
    assert time.monotonic() - begun < PATIENCE_SECONDS / 2
    wait_for(lambda: not [name for name in service.files() if name.startswith(".3_")])


def test_a_whole_task_goes_before_help(four: tuple[TinyService, Helpers], receiver: Receiver) -> None:
    service, _ = four
    post(service, 4, seconds=0.3)
    wait_for(lambda: len(helping(service, 4)) == 3)
    for task_id in (5, 6, 7):
        service.post(task_id)
    for task_id in (5, 6, 7):
        assert callbacks(receiver, task_id)[0]["err_code"] == 0
    assert not receiver.of(4)  # they did not wait for the film
    result(service, receiver, 4)


@pytest.mark.slow
def test_a_killed_helper_costs_its_segment_and_no_more(
    four: tuple[TinyService, Helpers], receiver: Receiver, undisturbed: list[Any]
) -> None:
    service, _ = four
    post(service, 8, seconds=0.3)
    wait_for(lambda: len(helping(service, 8)) == 3)
    own = service.runner_pid()
    victim = next(helper for helper in helping(service, 8) if pid_of(helper) != own)
    os.kill(pid_of(victim), signal.SIGKILL)
    assert contents(result(service, receiver, 8)) == undisturbed
    made = service.task(8)["details"]["segments"]
    assert made["repeated"] == 1
    assert service.task(8)["attempt"] == 1
    assert hidden(service, 8) == []


@pytest.mark.slow
def test_helpers_outlive_the_task_s_own_runner(
    tmp_path_factory: pytest.TempPathFactory, receiver: Receiver, undisturbed: list[Any]
) -> None:
    with farm(tmp_path_factory.mktemp("owner"), receiver, 2) as (service, _):
        post(service, 9, seconds=0.15)
        wait_for_segments(service, 9, 3)
        [owner] = service.sql(
            "SELECT made_by FROM kinora_segments WHERE helper IS NULL AND state = 'running' ORDER BY number LIMIT 1"
        )
        os.kill(pid_of(owner), signal.SIGKILL)
        assert contents(result(service, receiver, 9)) == undisturbed
        assert service.task(9)["attempt"] == 2
        assert service.task(9)["details"]["segments"]["repeated"] <= 2


@pytest.mark.slow
def test_nobody_helps_where_the_setting_says_so_and_no_more_than_it_says(
    tmp_path_factory: pytest.TempPathFactory, receiver: Receiver
) -> None:
    for most, makers in ((0, 1), (1, 2)):
        with farm(tmp_path_factory.mktemp("most"), receiver, 3, helpers=most) as (service, _):
            post(service, 10 + most, seconds=0.1)
            result(service, receiver, 10 + most)
            assert len(service.task(10 + most)["details"]["segments"]["by"]) == makers
