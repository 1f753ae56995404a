"""A canary with another model: two versions of one service, each with its own network, share the tasks of a router."""

from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.clips import write_clip
from benchmarks.swaps.fleet import Fleet
from services.router.split import ranked
from shared.testing.callback_receiver import Receiver
from shared.testing.stack import Stack
from shared.upstreams import WeightedUpstream

pytestmark = pytest.mark.slow

MODELS = {"1.0.0": "animevideov3", "2.0.0": "x4plus-anime"}
NAMES = {"1.0.0": "realesr-animevideov3", "2.0.0": "realesrgan-x4plus-anime"}
TASKS_EACH = 2
CALLBACK_SECONDS = 280


def test_each_task_is_made_by_the_model_of_the_version_that_accepted_it(tmp_path: Path) -> None:
    with Receiver() as receiver, Fleet(tmp_path / "fleet", receiver, {"device": "cpu"}) as fleet:
        versions = {
            version: fleet.instance(version, version=version, upscale_model=model) for version, model in MODELS.items()
        }
        router = fleet.router(upscale_url=",".join(f"{stack.url}=50" for stack in versions.values()))
        for stack in (*versions.values(), router):
            stack.wait_ready()
        clip = write_clip(fleet.media / "in.mp4", size=(16, 16), frames=2)
        with router.client() as client:
            expected = tasks_of(versions)
            for task_id in expected:
                body = {"task_id": task_id, "video_url": str(clip), "dist_dir": str(fleet.media / "out"), "ratio": 2}
                assert client.post("/api/ai/upscale", json=body).json() == {"err_code": 0, "err_msg": ""}
            for task_id in expected:
                assert receiver.wait_for(task_id, timeout_seconds=CALLBACK_SECONDS).payload["err_code"] == 0
            made = {task_id: row(client, task_id)["details"]["model"] for task_id in expected}
        accepted = {line["task_id"]: line["version"] for line in fleet.sql("SELECT task_id, version FROM kinora_tasks")}
    assert accepted == expected
    assert made == {task_id: NAMES[version] for task_id, version in expected.items()}
    assert set(made.values()) == set(NAMES.values())


def row(client: httpx.Client, task_id: int) -> dict[str, Any]:
    rows: dict[str, Any] = client.get(f"/api/ai/tasks/{task_id}").raise_for_status().json()
    return rows["tasks"][0]  # type: ignore[no-any-return]


def tasks_of(versions: dict[str, Stack]) -> dict[int, str]:
    """Return task ids with the version that the router gives them to, as many for each."""
    upstreams = {WeightedUpstream(stack.url, 50): version for version, stack in versions.items()}
    tasks: dict[int, str] = {}
    for task_id in count(1):
        version = upstreams[ranked("upscale", str(task_id), upstreams)[0]]
        if list(tasks.values()).count(version) < TASKS_EACH:
            tasks[task_id] = version
        if len(tasks) == TASKS_EACH * len(versions):
            break
    return tasks
