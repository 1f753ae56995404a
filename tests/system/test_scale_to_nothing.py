"""Faces without runners, and runners that the manifests' own queries start from nothing, end again, and start anew.

Real PostgreSQL, real services and runner processes; what stands in for KEDA and its pods is `tests/support/scaler.py`.
"""

import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from psycopg.rows import dict_row

from shared.testing.callback_receiver import Receiver
from tests.deploy.test_manifests import KUBERNETES, kustomize, of
from tests.support.scaler import RunnerPool, scale_until
from tests.support.task_store import started_storage
from tests.support.tiny_service import PATIENCE_SECONDS, TinyService

STABLE, CANARY = "1.0", "2.0"
DRAIN_SECONDS = 30

pytestmark = [pytest.mark.slow, pytest.mark.needs_kubectl, pytest.mark.timeout(600)]


@dataclass
class Cluster:
    """A face of each version, and their pools of runners."""

    stable: TinyService
    canary: TinyService
    generations: RunnerPool  # of the stable version, as the two that follow
    previews: RunnerPool
    canaries: RunnerPool  # generations of the canary
    receiver: Receiver
    url: str

    @property
    def pools(self) -> list[RunnerPool]:
        return [self.generations, self.previews, self.canaries]

    def sql(self, query: str) -> list[dict[str, Any]]:
        with psycopg.connect(self.url, row_factory=dict_row) as connection:
            return connection.execute(query).fetchall()

    def scale_until_ended(self, *task_ids: int) -> None:
        def ended() -> bool:
            return not self.sql(
                f"SELECT 1 FROM kinora_tasks WHERE finished_at IS NULL AND task_id IN ({ids})"
            )  # numbers

        ids = ", ".join(map(str, task_ids))
        scale_until(self.pools, ended, f"the end of {ids}")
        for task_id in task_ids:
            assert self.receiver.wait_for(task_id, timeout_seconds=PATIENCE_SECONDS).payload["err_code"] == 0

    def scale_to_nothing(self) -> None:
        scale_until(self.pools, lambda: not any(pool.alive for pool in self.pools), "no runner")

    def signatures(self) -> dict[int, str]:
        """Return which runner has made what."""
        files = [path for path in self.stable.out.iterdir() if not path.name.startswith(".")]
        return {int(path.name.split("_")[0]): path.read_text().split()[0] for path in files}


def scaled_objects(tmp_path: Path) -> dict[str, dict[str, Any]]:
    """Return the ScaledObjects of face fusion in two versions, asking for the tiny service's tasks."""
    shutil.copytree(KUBERNETES, tmp_path / "k8s")
    release = tmp_path / "k8s" / "facefusion" / "release.yaml"
    content = yaml.safe_load(release.read_text())
    content["data"] |= {"stable": STABLE, "canary": CANARY}
    release.write_text(yaml.dump(content))
    manifests = kustomize(tmp_path / "k8s")
    names = ("facefusion-runners-stable", "facefusion-preview-runners-stable", "facefusion-runners-canary")
    specs = {name: of(manifests, "ScaledObject", name)["spec"] for name in names}
    for spec in specs.values():
        metadata = spec["triggers"][0]["metadata"]
        metadata["query"] = metadata["query"].replace("'facefusion'", "'upscale'")
    return specs


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    media = tmp_path / "media"
    (media / "out").mkdir(parents=True)
    specs = scaled_objects(tmp_path)
    with started_storage(tmp_path / "database") as storage, Receiver() as receiver:

        def face(version: str) -> TinyService:
            home = tmp_path / f"face-{version}"
            home.mkdir()
            service = TinyService(
                home, receiver, database_url=storage.uri, media_roots=media, version=version, own_runners="false"
            )
            service.out = media / "out"
            return service

        def pool(name: str, version: str, kind: str) -> RunnerPool:
            settings = {"version": version, "media_roots": media, "drain_seconds": DRAIN_SECONDS}
            return RunnerPool(tmp_path / "pods", specs[name], kind, storage.uri, settings)

        pools = (
            pool("facefusion-runners-stable", STABLE, "generate"),
            pool("facefusion-preview-runners-stable", STABLE, "preview"),
            pool("facefusion-runners-canary", CANARY, "generate"),
        )
        try:
            with face(STABLE) as stable, face(CANARY) as canary:
                yield Cluster(stable, canary, *pools, receiver, storage.uri)
        finally:
            for one in pools:
                one.kill()


def test_tasks_wait_for_runners_that_come_from_nothing_and_leave_again(cluster: Cluster) -> None:
    stable, canary = cluster.stable, cluster.canary
    assert [pool.wanted() for pool in cluster.pools] == [0, 0, 0]
    for task_id in (1, 2):
        assert stable.post(task_id, behaviour="sign", seconds=0.2) == ""
    assert stable.post(3, kind="preview", behaviour="sign") == ""
    assert canary.post(4, behaviour="sign") == ""
    assert [pool.wanted() for pool in cluster.pools] == [2, 1, 1]
    assert {task["state"] for task in stable.tasks()} == {"queued"}
    assert stable.ask("ready")
    assert stable.task(1)["eta_seconds"] is None  # nothing was ever measured

    cluster.scale_until_ended(1, 2, 3, 4)
    made = cluster.signatures()
    assert {made[1].rpartition("-")[0], made[2].rpartition("-")[0]} == {f"{STABLE}-generate"}
    assert made[3].startswith(f"{STABLE}-preview-")
    assert made[4].startswith(f"{CANARY}-generate-")

    cluster.scale_to_nothing()
    assert [pool.wanted() for pool in cluster.pools] == [0, 0, 0]
    ended = {name: status for pool in cluster.pools for name, status in pool.ended.items()}
    # One that had no task may have been told to end before it could hear that.
    assert {ended[name] for name in made.values()} == {0}
    starts = cluster.sql("SELECT * FROM kinora_versions WHERE version = '1.0' AND kind = 'generate'")
    assert 0 < starts[0]["start_seconds"] < PATIENCE_SECONDS
    assert starts[0]["load_seconds"] >= 0
    assert starts[0]["arrival_seconds"] >= 0

    # The next task waits for a start like that one, and its ETA says so.
    cluster.sql(
        "UPDATE kinora_versions SET arrival_seconds = 100, beat_at = 'epoch' WHERE kind = 'generate' RETURNING 1"
    )
    assert stable.ask("ready")
    assert stable.post(5, behaviour="sign") == ""
    assert stable.task(5)["eta_seconds"] > 50
    cluster.scale_until_ended(5)


def test_a_runner_in_mid_task_is_wanted_drains_when_stopped_and_is_replaced_when_its_node_is_lost(
    cluster: Cluster,
) -> None:
    pool = cluster.generations
    assert cluster.stable.post(1, behaviour="sign", seconds=4) == ""
    scale_until([pool], lambda: cluster.stable.task(1)["progress"] > 0.1, "a runner at work")
    assert pool.wanted() == 1
    [(name, runner)] = pool.alive.items()
    os.kill(runner.pid, signal.SIGTERM)  # a drain of its node
    cluster.scale_until_ended(1)
    scale_until([pool], lambda: name in pool.ended, "the end of what drained")
    assert pool.ended[name] == 0
    assert cluster.stable.task(1)["attempt"] == 1

    assert cluster.stable.post(2, behaviour="sign", seconds=4) == ""
    scale_until([pool], lambda: cluster.stable.task(2)["progress"] > 0.1, "a runner at work")
    lost = set(pool.alive)
    pool.kill()
    assert pool.wanted() == 1  # it still counts as running: another starts, and takes it over
    cluster.scale_until_ended(2)
    task = cluster.stable.task(2)
    assert task["attempt"] == 2
    assert cluster.signatures()[2] not in lost
    assert len({delivery.key for delivery in cluster.receiver.of(2)}) == 1
    assert cluster.sql("SELECT count(*) AS tasks FROM kinora_tasks") == [{"tasks": 2}]
