"""Instances that come and go: a stopping one refuses at once, finishes or requeues its task, and nothing is lost."""

import itertools
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.clips import write_clip
from benchmarks.swaps.fleet import QUICK, Fleet
from benchmarks.swaps.gateways import Nginx, Version, missing
from benchmarks.swaps.load import PATH, Callers
from benchmarks.swaps.swapping import swap_under_load, wait_until_busy
from shared.testing.callback_receiver import Receiver
from shared.testing.stack import Stack, free_port


@pytest.fixture
def fleet(tmp_path: Path, receiver: Receiver) -> Iterator[Fleet]:
    with Fleet(tmp_path / "fleet", receiver, {"device": "cuda"}, target=QUICK) as fleet:
        yield fleet


@pytest.fixture
def small(fleet: Fleet) -> Path:
    return write_clip(fleet.media / "in.mp4", size=(16, 16), frames=2)


def refuses(stack: Stack) -> bool:
    try:
        socket.create_connection(("127.0.0.1", stack.port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_stopping_service_refuses_at_once_and_still_ends_its_task(
    fleet: Fleet, small: Path, receiver: Receiver, task_id: int
) -> None:
    """Its first process keeps the port until the task has ended: callers would wait there for nobody."""
    service = fleet.instance("only").wait_ready()
    body = {"task_id": task_id, "video_url": str(small), "dist_dir": str(fleet.media / "out"), "ratio": 4}
    assert httpx.post(service.url + PATH, json=body, trust_env=False).json()["err_code"] == 0
    assert wait_until_busy(service)
    assert service.process
    service.process.send_signal(signal.SIGTERM)
    while not refuses(service):
        assert service.process.poll() is None, "it ended before it ever refused"
        time.sleep(0.02)
    assert fleet.sql("SELECT state FROM kinora_tasks") == [{"state": "running"}]
    assert service.process.wait(60) == 0
    assert receiver.of(task_id)[0].payload["err_code"] == 0
    assert fleet.sql("SELECT state, attempt FROM kinora_tasks") == [{"state": "succeeded", "attempt": 1}]


def test_a_request_that_was_taken_before_the_stop_is_answered(fleet: Fleet, small: Path, task_id: int) -> None:
    service = fleet.instance("only").wait_ready()
    body = httpx.Request(
        "POST",
        service.url + PATH,
        json={"task_id": task_id, "video_url": str(small), "dist_dir": str(fleet.media / "out"), "ratio": 1},
    )
    head = f"POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body.content)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as caller:
        caller.sendall(head)
        time.sleep(0.5)  # until it has been read, and the body is waited for
        assert service.process
        service.process.send_signal(signal.SIGTERM)
        while not refuses(service):
            time.sleep(0.02)
        caller.sendall(body.content)
        assert b'{"err_code":0,"err_msg":""}' in b"".join(iter(lambda: caller.recv(65536), b""))
    assert service.process.wait(60) == 0
    assert len(fleet.sql("SELECT 1 FROM kinora_tasks")) == 1


@pytest.mark.slow
@pytest.mark.needs_gateways
def test_routers_with_new_weights_replace_the_old_ones_and_no_submission_notices(
    tmp_path: Path, fleet: Fleet, small: Path
) -> None:
    """Two routers behind a gateway, replaced one after the other, move all new tasks to the new version."""
    old, new = fleet.instance("old", version="1"), fleet.instance("new", version="2")
    ports = [free_port(), free_port()]
    routers = [fleet.router(f"router-{port}", port=port, upscale_url=f"{old.url}=1,{new.url}=0") for port in ports]
    for stack in (old, new, *routers):
        stack.wait_ready()
    stopping = threading.Event()
    task_ids = itertools.takewhile(lambda _number: not stopping.is_set(), itertools.count(1))
    with Nginx(tmp_path / "nginx", [Version(f"127.0.0.1:{port}", 1) for port in ports], "127.0.0.1:9") as gateway:
        callers = Callers([gateway.url], small, fleet.media / "out", task_ids, before=lambda _: time.sleep(0.2))
        callers.start()
        for number, port in enumerate(ports):
            assert routers[number].stop() == 0
            fleet.router(f"next-{port}", port=port, upscale_url=f"{old.url}=0,{new.url}=1").wait_ready()
        moved = max(callers.told.accepted)
        while callers.posted < moved + 50:
            time.sleep(0.02)
        stopping.set()
        told = callers.join()
    assert told.refused == []
    version = {row["task_id"]: row["version"] for row in fleet.sql("SELECT task_id, version FROM kinora_tasks")}
    assert version.keys() == set(told.accepted)
    assert version[1] == "1"
    late = [task_id for task_id in version if task_id > moved + 8]  # a caller may have held one back
    assert late
    assert {version[task_id] for task_id in late} == {"2"}


@pytest.mark.slow
def test_nothing_is_lost_when_the_only_instance_is_replaced_again_and_again_under_load(tmp_path: Path) -> None:
    result = swap_under_load(tmp_path, 3, quick=True, gateways=not missing())
    assert result.kept, result.findings
    assert result.mid_task == 3
    assert result.accepted > 3
