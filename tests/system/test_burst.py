"""Very many requests at once, and very many different ones, through router and services as a user starts them."""

import asyncio
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from benchmarks.clips import write_clip
from shared.errors import Busy
from shared.testing.callback_receiver import Receiver
from shared.testing.stack import Stack

MAX_QUEUED = 20

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("burst").resolve()
    write_clip(home / "clip.mp4", size=(48, 32), frames=12, sound=False)
    with Receiver() as receiver:
        environment = {"KINORA_MAX_QUEUED": str(MAX_QUEUED), "KINORA_SERVICES": "upscale"}
        stack = Stack(home / "state", (home,), receiver.url, environment=environment)
        with stack.running():
            yield stack


async def _all_at_once(client: httpx.AsyncClient, bodies: list[dict[str, object]]) -> list[httpx.Response]:
    return await asyncio.gather(*(client.post("/api/ai/upscale", json=body) for body in bodies))


def test_a_burst_through_the_router_is_accepted_or_busy(crowded: Stack) -> None:
    home = crowded.state_dir.parent
    common = {"video_url": str(home / "clip.mp4"), "dist_dir": str(home / "out"), "ratio": 2}
    bodies = [common | {"task_id": number} for number in range(1, 201)]

    async def burst() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=crowded.url, trust_env=False, timeout=120) as client:
            return await _all_at_once(client, bodies)

    answers = asyncio.run(burst())
    said = Counter((answer.status_code, answer.json()["err_msg"]) for answer in answers)
    accepted = said.pop((200, ""))
    assert set(said) <= {(200, str(Busy("queue_full", limit=MAX_QUEUED)))}
    assert accepted >= MAX_QUEUED
    with crowded.client() as client:
        assert client.get("/readyz").is_success


def test_a_thousand_ids_and_paths_leave_the_figures_as_small_as_they_were(crowded: Stack) -> None:
    with crowded.client() as client:
        for number in range(1000):
            client.get(f"/api/ai/tasks/{number + 10_000}?service=upscale")
            client.get(f"/nowhere/{number}")
        page = client.get("/metrics").text
    assert len(page) < 200_000
    assert "kinora_tasks_accepted_total" in page
    assert "/nowhere" not in page
    assert "/api/ai/tasks/{task_id}" in page
