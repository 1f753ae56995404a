"""One service rolled out behind real gateways: two versions share the tasks, and the old one leaves when it is done.

2,000 submissions go half through nginx and half through HAProxy, with the configurations of deploy/gateway. The shares
change twice while callers keep posting.
"""

import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from benchmarks.clips import write_clip
from benchmarks.swaps.fleet import QUICK, Fleet
from benchmarks.swaps.gateways import Haproxy, Nginx, Version
from benchmarks.swaps.load import Callers, Told
from services.router.split import ranked
from shared.testing.callback_receiver import Receiver
from shared.testing.stack import Stack
from shared.upstreams import WeightedUpstream
from tests.support.fake_upstream import refused

pytestmark = [pytest.mark.needs_gateways, pytest.mark.slow]

OLD, NEW = "1.0.0", "2.0.0"
STEPS = ((90, 10), (50, 50), (0, 100))
SUBMISSIONS = 2000
CHANGING = 40  # submissions that go on while the weights change, and are in no step's share
STEP = (SUBMISSIONS - CHANGING * (len(STEPS) - 1)) // len(STEPS)
THROUGH_ROUTER = range(10_001, 10_041)
PATIENCE_SECONDS = 240.0


@dataclass
class Rollout:
    """What there was to see of it."""

    told: Told
    rows: list[dict[str, Any]]
    received: Counter[int]  # task_id -> callbacks that arrived
    old: Stack
    new: Stack
    exit_status: int | None
    left_over: list[Any]
    listed: list[dict[str, Any]] = field(default_factory=list)
    answers: dict[str, httpx.Response] = field(default_factory=dict)
    via_router: Told = field(default_factory=Told)

    def begun(self, instance: Stack) -> list[int]:
        """Return the tasks whose attempts the runner of an instance wrote into its log."""
        return [int(number) for number in re.findall(r"task (\d+): attempt \d+ begins", instance.log.read_text())]


def steps_of(task_ids: range) -> list[range]:
    """Return the task ids of each step; those in between belong to none."""
    return [task_ids[begin : begin + STEP] for begin in range(0, SUBMISSIONS, STEP + CHANGING)]


@pytest.fixture(scope="module")
def rollout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rollout]:
    home = tmp_path_factory.mktemp("canary")
    # The quick pipeline needs no cores: as on a GPU, its priority stays.
    settings: dict[str, object] = {"device": "cuda", "max_queued": 2 * SUBMISSIONS}
    with (
        Receiver() as receiver,
        Fleet(home / "fleet", receiver, settings, target=QUICK) as fleet,
    ):
        old, new = fleet.instance("old", version=OLD), fleet.instance("new", version=NEW)
        router = fleet.router(upscale_url=f"{old.url}=50,{new.url}=50")
        for instance in (old, new, router):
            instance.wait_ready()
        versions = [[Version(address(old), first), Version(address(new), second)] for first, second in STEPS]
        with (
            Nginx(home / "nginx", versions[0], address(router)) as nginx,
            Haproxy(home / "haproxy", versions[0], address(router)) as haproxy,
        ):
            clip = write_clip(fleet.media / "in.mp4", size=(16, 16), frames=2)
            told = post_while_weights_change(nginx, haproxy, versions, clip, fleet.media / "out")
            via_router = Callers([router.url], clip, fleet.media / "out", iter(THROUGH_ROUTER))
            via_router.start()
            via_router.join()
            wait_until_ended(fleet, OLD)
            exit_status, left_over = old.stop(), old.processes()
            wait_until_ended(fleet, NEW)
            received = wait_for_callbacks(receiver, SUBMISSIONS + len(THROUGH_ROUTER))
            yield Rollout(
                told=told,
                rows=fleet.sql("SELECT * FROM kinora_tasks"),
                received=received,
                old=old,
                new=new,
                exit_status=exit_status,
                left_over=left_over,
                listed=httpx.get(f"{nginx.url}/api/ai/tasks?limit=500", trust_env=False).json()["tasks"],
                answers={name: answer for gateway in (nginx, haproxy) for name, answer in odd_answers(gateway).items()},
                via_router=via_router.told,
            )


def post_while_weights_change(
    nginx: Nginx, haproxy: Haproxy, versions: list[list[Version]], clip: Path, out: Path
) -> Told:
    """Post all tasks; a step's first one waits until its weights are in force, those before it do not."""
    steps = steps_of(range(1, SUBMISSIONS + 1))
    in_force = [Event() for _ in steps]
    in_force[0].set()

    def wait_for_step(task_id: int) -> None:
        for step, event in zip(steps, in_force, strict=True):
            if task_id in step:
                assert event.wait(60)

    callers = Callers([haproxy.url, nginx.url], clip, out, iter(range(1, SUBMISSIONS + 1)), before=wait_for_step)
    callers.start()
    for before, weights, event in zip(steps, versions[1:], in_force[1:], strict=False):
        while callers.posted < before[-1]:  # all before this step's end have been sent, others follow
            time.sleep(0.01)
        nginx.split(weights)
        haproxy.split(weights)
        event.set()
    return callers.join()


def odd_answers(gateway: Nginx | Haproxy) -> dict[str, httpx.Response]:
    with httpx.Client(base_url=gateway.url, trust_env=False, timeout=30) as client:
        name = type(gateway).__name__.lower()
        return {
            f"{name} alias": client.post("/api/ai/upcale", json={}),
            f"{name} slash": client.post("/api/ai/upscale/", json={}),
            f"{name} long": client.post("/api/ai/upscale", content=b"x" * 70_000),
            f"{name} other": client.post("/api/ai/interpo", json={}),
            f"{name} unknown": client.get("/api/ai/tasks/99999"),
        }


def address(stack: Stack) -> str:
    return stack.url.removeprefix("http://")


def wait_until_ended(fleet: Fleet, version: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    query = "SELECT count(*) AS n FROM kinora_tasks WHERE version = %s AND state IN ('queued', 'running')"
    while waiting := fleet.sql(query, version)[0]["n"]:
        assert time.monotonic() < deadline, f"{waiting} tasks of {version} have not ended"
        time.sleep(0.2)


def wait_for_callbacks(receiver: Receiver, tasks: int) -> Counter[int]:
    deadline = time.monotonic() + 60
    while len(received := Counter(delivery.payload["task_id"] for delivery in receiver.deliveries)) < tasks:
        assert time.monotonic() < deadline, f"{len(received)} of {tasks} callbacks"
        time.sleep(0.2)
    return received


@pytest.mark.timeout(600)
def test_every_submission_is_accepted_at_its_first_try(rollout: Rollout) -> None:
    assert rollout.told.refused == []
    assert sorted(rollout.told.accepted) == list(range(1, SUBMISSIONS + 1))


def test_every_task_ends_once_and_its_callback_arrives_once(rollout: Rollout) -> None:
    assert Counter(row["state"] for row in rollout.rows) == {"succeeded": SUBMISSIONS + len(THROUGH_ROUTER)}
    assert len({row["task_id"] for row in rollout.rows}) == len(rollout.rows)
    assert {row["attempt"] for row in rollout.rows} == {1}
    assert set(rollout.received.values()) == {1}
    assert set(rollout.received) == {row["task_id"] for row in rollout.rows}


@pytest.mark.parametrize("gateway", [0, 1], ids=["haproxy", "nginx"])
def test_each_step_gives_the_new_version_its_share_within_three_points(rollout: Rollout, gateway: int) -> None:
    """Both gateways take exact turns, so the measured share is off by less than one task in a hundred."""
    version = {row["task_id"]: row["version"] for row in rollout.rows}
    for step, (_, weight) in zip(steps_of(range(1, SUBMISSIONS + 1)), STEPS, strict=True):
        posted = [version[task_id] for task_id in step if task_id % 2 == gateway]
        share = 100 * posted.count(NEW) / len(posted)
        assert abs(share - weight) <= 3, f"{share:.1f} % in place of {weight} %"
        assert weight < 100 or share == 100  # who is drained gets nothing at all


def test_each_version_runs_what_it_accepted(rollout: Rollout) -> None:
    for instance, version in ((rollout.old, OLD), (rollout.new, NEW)):
        accepted = {row["task_id"] for row in rollout.rows if row["version"] == version}
        assert len(accepted) > SUBMISSIONS / 5
        assert set(rollout.begun(instance)) == accepted


def test_the_old_version_leaves_in_order_when_it_has_finished(rollout: Rollout) -> None:
    assert rollout.exit_status == 0
    assert rollout.left_over == []


def test_the_routers_list_shows_each_task_once_although_both_versions_know_them_all(rollout: Rollout) -> None:
    assert len(rollout.listed) == 500
    assert len({task["task_id"] for task in rollout.listed}) == 500


def test_the_router_itself_gives_each_task_the_version_of_its_hash(rollout: Rollout) -> None:
    assert rollout.via_router.refused == []
    shares = [WeightedUpstream(rollout.old.url, 50), WeightedUpstream(rollout.new.url, 50)]
    version = {row["task_id"]: row["version"] for row in rollout.rows}
    named = {rollout.old.url: OLD, rollout.new.url: NEW}
    expected = {task_id: named[ranked("upscale", str(task_id), shares)[0].url] for task_id in THROUGH_ROUTER}
    assert {task_id: version[task_id] for task_id in THROUGH_ROUTER} == expected
    assert len(set(expected.values())) == 2


@pytest.mark.parametrize("gateway", ["nginx", "haproxy"])
def test_a_gateway_keeps_the_contract(rollout: Rollout, gateway: str) -> None:
    answers = {name.partition(" ")[2]: answer for name, answer in rollout.answers.items() if name.startswith(gateway)}
    for path in ("alias", "slash"):
        assert refused(answers[path], 200).startswith("task_id is required")
    assert refused(answers["long"], 413) == "the request body must not be longer than 65536 bytes"
    assert "KINORA_INTERPO_URL" in refused(answers["other"], 503)
    assert refused(answers["unknown"], 404) == "no task 99999 is known"
