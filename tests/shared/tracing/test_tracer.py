"""Spans: which are parts of which, what they may tell, and that without an endpoint there are none."""

import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from shared import logs
from shared.errors import JobFailed
from shared.settings import Settings
from shared.tracing import span as tracing
from shared.tracing import tracer as tracer_module
from shared.tracing.traceparent import TraceParent
from shared.tracing.tracer import Tracer, attempt_span_id
from tests.support.spans import SpanMemory

ROOT = Path(__file__).parents[3]
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = CALLER.removesuffix("01") + "00"
RUN = UUID(int=7)


def test_a_span_is_a_part_of_the_callers() -> None:
    memory = SpanMemory()
    with memory.tracer.span("outer", CALLER, "server", {"kinora.task_id": 7}) as outer, tracing.span("inner") as inner:
        assert tracing.current() is inner
        assert outer.trace_id == "0af7651916cd43dd8448eb211c80319c"
    told = memory.named("outer"), memory.named("inner")
    assert [span.trace_id for span in told] == ["0af7651916cd43dd8448eb211c80319c"] * 2
    assert [span.parent_id for span in told] == ["b7ad6b7169203331", told[0].span_id]
    assert told[0].facts == {"kinora.task_id": 7}
    assert str(outer.traceparent) == f"00-{told[0].trace_id}-{told[0].span_id}-01"
    assert not tracing.current().recorded


@pytest.mark.parametrize("parent", [None, "", "nonsense", "00-" + "0" * 32 + "-b7ad6b7169203331-01"])
def test_without_a_usable_caller_a_trace_begins(parent: str | None) -> None:
    memory = SpanMemory()
    with memory.tracer.span("outer", parent):
        pass
    assert memory.named("outer").parent_id == ""


def test_a_caller_that_does_not_sample_has_no_spans_recorded_and_its_trace_goes_on() -> None:
    memory = SpanMemory()
    with memory.tracer.span("outer", UNSAMPLED) as span:
        assert span.traceparent
        assert span.traceparent.startswith("00-0af7651916cd43dd8448eb211c80319c-")
        assert span.traceparent.endswith("-00")
    assert memory.spans == []


def test_a_failure_is_told_by_its_kind_and_never_by_its_words() -> None:
    memory = SpanMemory()
    with pytest.raises(FileNotFoundError), memory.tracer.span("a", None):
        raise FileNotFoundError("/media/secret.mp4")
    with pytest.raises(JobFailed), memory.tracer.span("b", None):
        raise JobFailed("no_room", name="secret.mp4")
    assert [(span.failed, span.facts) for span in memory.spans] == [
        (True, {"error.type": "FileNotFoundError"}),
        (True, {"error.type": "no_room"}),
    ]


def test_only_the_first_failure_and_the_first_end_count() -> None:
    memory = SpanMemory()
    span = memory.tracer.begin("a", None)
    span.fail("refused")
    span.fail(RuntimeError())
    span.end(datetime(2030, 1, 1, tzinfo=UTC))
    span.end()
    told = memory.named("a")
    assert (told.facts, told.ended) == ({"error.type": "refused"}, 1893456000)


def test_a_discarded_span_is_not_told() -> None:
    memory = SpanMemory()
    with memory.tracer.span("a", None) as span:
        span.discard()
    assert memory.spans == []


def test_an_attempts_span_has_the_same_id_whoever_records_it() -> None:
    ids = {attempt_span_id(RUN, 1), attempt_span_id(RUN, 2), attempt_span_id(UUID(int=8), 1)}
    assert len(ids) == 3
    memory = SpanMemory()
    for _ in range(2):
        memory.tracer.begin("attempt", CALLER, span_id=attempt_span_id(RUN, 1)).end()
    with memory.tracer.span("other", CALLER):
        pass
    first, second, other = memory.spans
    assert first.span_id == second.span_id == f"{attempt_span_id(RUN, 1):016x}"
    assert other.span_id != first.span_id


def test_without_an_endpoint_nothing_is_recorded_and_the_callers_place_is_handed_on() -> None:
    tracer = Tracer.of(Settings(), "upscale")
    with tracer.span("outer", CALLER) as span, tracing.span("inner") as inner:
        assert not span.recorded
        assert span.traceparent == inner.traceparent == CALLER
    with tracer.span("outer", None) as span:
        assert span.traceparent is None
    tracer.close()


def test_log_lines_inside_a_span_have_its_trace_id(caplog: pytest.LogCaptureFixture) -> None:
    lines = logs.JsonLines({}, ())
    with Tracer().span("outer", CALLER):
        tracer_module.logger.warning("inside")
        inside = lines.format(caplog.records[-1])
    tracer_module.logger.warning("outside")
    assert '"trace_id": "0af7651916cd43dd8448eb211c80319c"' in inside
    assert "trace_id" not in lines.format(caplog.records[-1])


def test_an_endpoint_without_the_exporter_only_warns(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    tracer = Tracer.of(Settings(traces_endpoint="http://127.0.0.1:4318"), "upscale")
    with tracer.span("outer", CALLER) as span:
        assert not span.recorded
    assert "install kinora[tracing]" in caplog.text


@pytest.mark.needs_otlp
def test_a_collector_that_is_away_delays_a_stop_by_seconds_only() -> None:
    tracer = Tracer.of(Settings(traces_endpoint="http://127.0.0.1:9"), "upscale")
    with tracer.span("a", None) as span:
        assert span.recorded
    begun = time.monotonic()
    tracer.close()
    assert time.monotonic() - begun < 60  # OpenTelemetry alone tries for as long as its time limit allows


@pytest.mark.parametrize("module", ["shared.serving.task_service", "shared.runner.process", "shared.media.encode"])
def test_what_is_not_used_is_not_imported(module: str) -> None:
    script = f"import sys, {module}\nprint([name for name in sys.modules if name.startswith('opentelemetry')])"
    loaded = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("header", "read"),
    [
        (CALLER, CALLER),
        (f" {CALLER} ", CALLER),
        (UNSAMPLED, UNSAMPLED),
        (CALLER.replace("-01", "-03"), CALLER),  # a flag that is not known yet
        (CALLER.replace("00-", "01-", 1) + "-more", CALLER),  # a later version is read as this one
        (CALLER + "-more", None),
        (CALLER.replace("00-", "ff-", 1), None),
        (CALLER.upper(), None),
        (CALLER.replace("b7ad6b7169203331", "0" * 16), None),
        ("", None),
        (None, None),
    ],
)
def test_a_traceparent_is_read_as_the_specification_says(header: str | None, read: str | None) -> None:
    place = TraceParent.read(header)
    assert (str(place) if place else None) == read
