"""Several hosts, one database, shared media: one host is cut off and one killed in mid-job, and the others go on.

The hosts are network namespaces of this machine, with real links and a real PostgreSQL over TCP between them. What runs
on them is real but for the model: services, runners, callback workers; `tests/support/tiny_runner.py` is the pipeline.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psycopg
import pytest
from psycopg.rows import dict_row

from shared.queue.client import run_queue
from shared.queue.worker_slot import Slot
from shared.testing.callback_receiver import Receiver
from shared.testing.network_namespaces import Network, external_postgres
from tests.shared.runner.test_segments import contents
from tests.support.clips import clip
from tests.support.tiny_service import PATIENCE_SECONDS, ROOT, TinyService

VERSION = "1.0"
PASSWORD = "of the farm"
FACES, RUNNERS = ("alder", "birch"), ("cedar", "dogwood")  # a whole service each, and a runner alone each
KILLED, CUT = "birch", "cedar"
CUTTING: dict[str, Any] = {"segment_seconds": 0.4, "preset": "ultrafast"}  # of films
HANG_SECONDS = 90.0  # tells a takeover that never comes from one on a busy machine; the promise is in test_takeover.py

pytestmark = [pytest.mark.slow, pytest.mark.needs_netns, pytest.mark.timeout(400)]


@dataclass
class Farm:
    """The hosts, their database and the backend that is called back."""

    home: Path
    network: Network
    url: str
    own_url: str
    receiver: Receiver
    media: Path
    services: dict[str, TinyService] = field(default_factory=dict)
    runners: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def start(self) -> Self:
        for name in FACES:
            self.start_service(name)
        for name in RUNNERS:
            self.start_runner(name)
        self.wait(lambda: all(self.worker(name) for name in (*FACES, *RUNNERS)), "all runners at work")
        return self

    def start_service(self, name: str) -> None:
        home = self.home / name
        home.mkdir(exist_ok=True)
        self.services[name] = TinyService(
            home, self.receiver, prefix=self.network.command(name), database_url=self.url, version=VERSION,
            media_roots=self.media, **CUTTING,
        )  # fmt: skip
        self.services[name].out = self.media / "out"
        self.services[name].start()

    def start_runner(self, name: str) -> None:
        """Start what a host needs that only computes: one process, told where the database and the media are."""
        state = self.home / name / "state"
        state.mkdir(parents=True)
        environment = {key: value for key, value in os.environ.items() if not key.startswith("KINORA_")} | {
            "KINORA_DATABASE_URL": self.url, "KINORA_VERSION": VERSION, "KINORA_MEDIA_ROOTS": str(self.media),
            "KINORA_STATE_DIR": str(state), "KINORA_DEVICE": "cuda",
            **{f"KINORA_{name.upper()}": str(value) for name, value in CUTTING.items()},
        }  # fmt: skip
        command = [*self.network.command(name), sys.executable, "-m", "tests.support.tiny_runner", "--kind", "generate"]
        with (self.home / name / "log").open("ab") as log:
            self.runners[name] = subprocess.Popen(
                command, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def kill(self, name: str) -> None:
        """End every process of a host without a word."""
        self.network.kill(name)
        if name in self.services:
            self.services[name].kill()
        else:
            self.runners[name].wait()

    def worker(self, name: str) -> int | None:
        """Return the id of the worker that takes generations on a host."""
        return Slot(self.home / name / "state", f"{run_queue('upscale', 'generate', VERSION)}.0").worker

    def sql(self, query: str, *values: object) -> list[dict[str, Any]]:
        with psycopg.connect(self.own_url, row_factory=dict_row) as connection:
            cursor = connection.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def task(self, task_id: int) -> dict[str, Any]:
        [row] = self.sql("SELECT * FROM kinora_tasks WHERE task_id = %s", task_id)
        return row

    def task_at(self, name: str) -> int | None:
        """Return the task that a host's runner has in hand, once it has begun."""
        rows = self.sql(
            "SELECT task_id FROM kinora_tasks t JOIN procrastinate_jobs j ON j.id = t.job_id"
            " WHERE j.worker_id = %s AND j.status = 'doing' AND t.state = 'running' AND t.progress > 0.05",
            self.worker(name),
        )
        return rows[0]["task_id"] if rows else None

    def signatures(self) -> dict[str, list[int]]:
        """Return which host has made what, by the signatures in the published files."""
        found: dict[str, list[int]] = {}
        for path in (self.media / "out").glob("[!.]*"):
            name, version = path.read_text().split()
            assert version == VERSION
            found.setdefault(name, []).append(int(path.name.split("_")[0]))
        return found

    def wait(self, until: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < deadline, f"not in time: {what}\n{self.logs()}"
            time.sleep(0.1)

    def logs(self) -> str:
        return "\n".join(
            f"--- {path.parent.name}\n{path.read_text(errors='replace')[-3000:]}" for path in self.home.glob("*/log")
        )

    def post(self, face: str, task_ids: range, *, seconds: float) -> None:
        for task_id in task_ids:
            assert self.services[face].post(task_id, behaviour="sign", seconds=seconds) == ""

    def segments(self, task_id: int) -> list[dict[str, Any]]:
        return self.sql(
            "SELECT segment.* FROM kinora_segments segment JOIN kinora_tasks run ON run.id = task WHERE task_id = %s",
            task_id,
        )

    def makers(self, task_id: int, state: str) -> set[str]:
        return {one["made_by"] for one in self.segments(task_id) if one["state"] == state}

    def done(self, task_ids: range, *, seconds: float = PATIENCE_SECONDS) -> None:
        self.wait(lambda: all(self.task(n)["state"] == "succeeded" for n in task_ids), f"{task_ids} done", seconds)


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Farm]:
    media = tmp_path / "media"
    (media / "out").mkdir(parents=True)
    with Network() as network:
        for name in ("database", "backend", *FACES, *RUNNERS):
            network.join(name)
        with external_postgres(network, "database", PASSWORD.replace(" ", "")) as (url, own_url):
            receiver = network.inside("backend", lambda: Receiver(host=network.address("backend")))
            with receiver:
                farm = Farm(tmp_path, network, url, own_url, receiver, media)
                try:
                    yield farm.start()
                finally:
                    for name in (*farm.services, *farm.runners):
                        farm.kill(name)


def test_the_others_take_over_from_a_host_that_is_cut_off_and_one_that_is_killed(
    farm: Farm, record_property: Callable[[str, object], None]
) -> None:
    short, long, late = range(1, 13), range(21, 25), range(41, 49)

    farm.post("alder", short[:6], seconds=1.5)
    farm.post("birch", short[6:], seconds=1.5)
    farm.done(short)
    assert set(farm.signatures()) == {*FACES, *RUNNERS}

    farm.post("alder", long, seconds=8)
    farm.wait(lambda: all(farm.task_at(name) for name in (*FACES, *RUNNERS)), "a long task on every host")
    lost = {name: farm.task_at(name) for name in (KILLED, CUT)}
    farm.network.cut(CUT)
    farm.kill(KILLED)
    [moment] = farm.sql("SELECT clock_timestamp() AS now")

    again = "SELECT task_id, resumed_at FROM kinora_tasks WHERE attempt > 1"
    farm.wait(lambda: len(farm.sql(again)) == len(lost), "both lost tasks taken over", HANG_SECONDS)
    taken = {row["task_id"]: (row["resumed_at"] - moment["now"]).total_seconds() for row in farm.sql(again)}
    assert set(taken) == set(lost.values())
    measured = {f"{how}_seconds": round(taken[lost[name]], 1) for how, name in (("cut", CUT), ("killed", KILLED))}
    record_property("takeover", json.dumps(measured))
    sys.stdout.write(f"takeover {measured}\n")

    farm.network.heal(CUT)  # it has long finished, comes back while its successor still works, and must not publish
    farm.done(long)
    assert {farm.task(task_id)["crashes"] for task_id in taken} == {1}
    assert not {KILLED, CUT} & {name for name, made in farm.signatures().items() if set(made) & set(taken)}
    assert farm.runners[CUT].poll() is None  # no need to start it again

    farm.start_service(KILLED)
    farm.wait(lambda: farm.worker(KILLED), "the killed host's new runner")
    before = farm.signatures()
    farm.post(KILLED, late, seconds=2)
    farm.done(late)
    after = farm.signatures()
    assert all(set(after[name]) > set(before[name]) for name in (KILLED, CUT))

    everything = [*short, *long, *late]
    for task_id in everything:
        farm.receiver.wait_for(task_id, timeout_seconds=PATIENCE_SECONDS)
    time.sleep(1)
    assert sorted(number for made in after.values() for number in made) == everything  # one file each
    assert [path.name for path in (farm.media / "out").glob(".*")] == []
    for task_id in everything:
        deliveries = farm.receiver.of(task_id)
        assert len({delivery.key for delivery in deliveries}) == 1
        assert {delivery.payload["err_code"] for delivery in deliveries} == {0}
        assert (farm.media / "out" / deliveries[0].payload["video_url"]).exists()
    assert farm.sql("SELECT count(*) AS rows FROM kinora_tasks")[0]["rows"] == len(everything)


def test_four_hosts_make_one_film_and_the_loss_of_two_costs_two_segments(farm: Farm) -> None:
    film = str(clip(farm.media / "film.mp4", seconds=16, size=(64, 48), options=["-g", "15"]))
    alder = farm.services["alder"]
    assert alder.post(1, behaviour="video", note=film, seconds=0.02) == ""
    farm.done(range(1, 2))
    assert alder.post(2, behaviour="video", note=film, seconds=0.2) == ""
    for state in ("done", "running"):
        farm.wait(lambda: len(farm.makers(2, state)) == 4, f"{state} segments of every host")  # noqa: B023  # at once
    farm.network.cut(CUT)
    farm.kill(KILLED)
    farm.wait(lambda: any(one["begun"] > 1 for one in farm.segments(2)), "a lost segment taken over", HANG_SECONDS)
    farm.network.heal(CUT)  # it comes back while the others are at work, and must not publish
    farm.done(range(2, 3), seconds=3 * HANG_SECONDS)

    found = []
    for task_id in (1, 2):
        farm.receiver.wait_for(task_id, timeout_seconds=PATIENCE_SECONDS)
        deliveries = farm.receiver.of(task_id)
        assert len({delivery.key for delivery in deliveries}) == 1
        assert {delivery.payload["err_code"] for delivery in deliveries} == {0}
        found.append(contents(farm.media / "out" / deliveries[0].payload["video_url"]))
    assert found[0] == found[1]
    made = farm.task(2)["details"]["segments"]
    assert made["done"] == made["total"] == 40
    assert made["repeated"] <= 2
    assert len(made["by"]) >= 4
    farm.wait(lambda: [path.name for path in (farm.media / "out").glob(".*")] == [], "everything hidden swept")
    assert len(list((farm.media / "out").iterdir())) == 2
