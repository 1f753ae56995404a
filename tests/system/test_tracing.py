"""One trace a task, as a collector gets it: from the post to the callback, across a kill, and nothing private in it."""

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from benchmarks.clips import write_clip
from shared.testing.callback_receiver import ReceivedCallback, Receiver
from shared.testing.stack import Stack
from tests.support.spans import Told
from tests.support.tiny_service import PATIENCE_SECONDS, TinyService
from tests.support.trace_receiver import TraceReceiver

pytestmark = pytest.mark.needs_otlp

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE, CALLERS_SPAN = CALLER.split("-")[1:3]
MODEL_SECONDS = 600  # a runner without a GPU steps aside for everybody: on a busy machine torch takes minutes
STAGES = ("decode", "model", "encode")
TOKEN = "not-to-be-told-8d1f"


def tree(spans: list[Told], parent: str, depth: int = 0) -> list[str]:
    """Return the names of a trace's spans, each indented below its parent, in the order of their begins."""
    lines = []
    for span in sorted((span for span in spans if span.parent_id == parent), key=lambda span: span.begun):
        lines += ["  " * depth + span.name, *tree(spans, span.span_id, depth + 1)]
    return lines


def of_task(spans: list[Told], task_id: int) -> list[Told]:
    """Return the spans of a task's trace, or none before its end has come and its callback was taken."""
    own = [span for span in spans if span.facts.get("kinora.task_id") == task_id]
    ended = {span.name for span in own if span.facts.get("kinora.outcome") == "succeeded" or span.name == "callback"}
    return [span for span in spans if span.trace_id == own[0].trace_id] if len(ended) > 1 else []


@dataclass(frozen=True)
class Traced:
    """A service whose spans, callbacks and log lines can be looked at."""

    service: TinyService
    backend: Receiver
    collector: TraceReceiver

    def run(self, task_id: int) -> tuple[list[Told], ReceivedCallback]:
        """Wait for the end of a task; return its trace and its callback."""
        callback = self.backend.wait_for(task_id, timeout_seconds=PATIENCE_SECONDS)
        self.collector.wait_for(lambda spans: of_task(spans, task_id) != [])
        return of_task(self.collector.spans, task_id), callback

    def assert_nothing_private(self, *words: str) -> None:
        told = b"".join(self.collector.bodies)
        assert told
        for word in (str(self.service.home), *words):
            assert word.encode() not in told


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    with Receiver() as backend, TraceReceiver() as collector:
        service = TinyService(tmp_path_factory.mktemp("traced"), backend, log_format="json", preset="ultrafast")
        service.environment |= collector.environment
        with service:
            yield Traced(service, backend, collector)


def test_a_killed_attempt_and_the_next_one_are_parts_of_one_trace(traced: Traced) -> None:
    service = traced.service
    service.post(1, seconds=3, note="a prompt that nobody else may read")
    service.wait_until(1, "running", progress=0.2)
    os.kill(service.runner_pid(), signal.SIGKILL)
    spans, callback = traced.run(1)
    [accept] = [span for span in spans if span.name == "accept"]
    attempt = ["  wait", "  attempt", "    load model"]  # the first one's model was told before its process died
    assert tree(spans, "") == ["accept", *attempt, *attempt, "  callback"]
    attempts = sorted((span for span in spans if span.name == "attempt"), key=lambda span: span.begun)
    assert [span.facts["kinora.outcome"] for span in attempts] == ["lost", "succeeded"]
    assert [span.failed for span in attempts] == [True, False]
    assert attempts[0].ended <= attempts[1].begun
    [tried] = [span for span in spans if span.name == "callback"]
    assert callback.headers["traceparent"] == f"00-{accept.trace_id}-{tried.span_id}-01"
    lines = [json.loads(line) for line in (service.home / "log").read_text().splitlines() if line.startswith("{")]
    for words in ("attempt 1 begins", "lost its runner", "attempt 2 begins", "1: succeeded", "delivered"):
        assert [line.get("trace_id") for line in lines if words in line["message"]] == [accept.trace_id], words
    traced.assert_nothing_private("a prompt that nobody else may read")


def test_the_stages_of_a_video_are_parts_of_its_attempt(traced: Traced) -> None:
    clip = write_clip(traced.service.home / "private.mp4", size=(48, 32), frames=12)
    traced.service.post(2, behaviour="video", note=str(clip), seconds=0.02)
    spans, _ = traced.run(2)
    [attempt] = [span for span in spans if span.name == "attempt"]
    stages = {span.name: span for span in spans if span.parent_id == attempt.span_id}
    assert stages.keys() - {"load model"} == set(STAGES)
    assert stages["decode"].facts["kinora.items"] == stages["model"].facts["kinora.items"] == 12
    busy = {name: span.facts["kinora.busy_seconds"] for name, span in stages.items() if name in STAGES}
    assert busy["model"] >= 12 * 0.02
    assert all(0 < busy[name] <= stages[name].ended - stages[name].begun for name in busy)
    traced.assert_nothing_private("private.mp4")


@pytest.mark.slow
@pytest.mark.timeout(MODEL_SECONDS + 120)
def test_a_task_through_the_router_is_one_trace_under_the_callers(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in" / "private.mp4", size=(48, 32), frames=12, sound=True)
    environment = {"KINORA_PRESET": "ultrafast", "KINORA_SERVICES": "upscale", "KINORA_TOKEN": TOKEN}
    body = {"task_id": 7, "video_url": str(clip), "dist_dir": str(tmp_path / "out"), "ratio": 2}
    with Receiver() as backend, TraceReceiver() as collector:
        stack = Stack(tmp_path / "state", (tmp_path,), backend.url, environment=environment | collector.environment)
        with stack.running():
            headers = {"authorization": f"Bearer {TOKEN}", "traceparent": CALLER}
            answer = httpx.post(f"{stack.url}/api/ai/upscale", json=body, headers=headers, trust_env=False)
            assert answer.json()["err_code"] == 0
            callback = backend.wait_for(7, timeout_seconds=MODEL_SECONDS)
            assert callback.payload["err_code"] == 0
        spans = of_task(collector.wait_for(lambda spans: of_task(spans, 7) != []), 7)
    assert {span.trace_id for span in spans} == {TRACE}
    lines = tree(spans, CALLERS_SPAN)
    post = ["POST /api/ai/upscale", "  POST /api/ai/upscale", "    accept"]
    assert lines[:4] == [*post, "      wait"]
    within = ["      attempt", "      callback", *(f"        {name}" for name in ("load model", *STAGES))]
    assert sorted(lines[4:]) == sorted(within)
    assert [span.service for span in spans if span.name.startswith("POST")].count("kinora-router") == 1
    made = next(span for span in spans if span.name == "model")
    assert made.facts["kinora.items"] == 12
    assert 0 < made.facts["kinora.busy_seconds"] <= made.ended - made.begun
    assert callback.headers["traceparent"].startswith(f"00-{TRACE}-")
    told = b"".join(collector.bodies)
    assert not [word for word in (TOKEN, "private.mp4", str(tmp_path)) if word.encode() in told]
