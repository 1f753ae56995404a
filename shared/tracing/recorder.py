"""Recording spans with OpenTelemetry; the only module that knows it. Imported only where an endpoint is set."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Self

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from shared.tracing.span import Facts, Recording, Role
from shared.tracing.traceparent import TraceParent

CLOSE_SECONDS = 3.0
KINDS: dict[Role, SpanKind] = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}
_wanted_id: ContextVar[int | None] = ContextVar("wanted_id", default=None)


class SpanRecorder:
    """The spans of one process on their way to a processor, which exports them in a thread of its own.

    The provider is not OpenTelemetry's global one: other libraries of the process do not write into a task's trace.
    """

    def __init__(self, processor: SpanProcessor, *, service: str, version: str) -> None:
        names = {"service.name": f"kinora-{service}", "service.namespace": "kinora", "service.version": version}
        self._provider = TracerProvider(resource=Resource.create(names), id_generator=_Ids(), shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self.tracer = self._provider.get_tracer("kinora")

    @classmethod
    def to(cls, endpoint: str, *, service: str, version: str) -> Self:
        """Return a recorder that sends to an OTLP/HTTP endpoint; raise ImportError without the exporter."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  # optional

        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
        return cls(BatchSpanProcessor(exporter), service=service, version=version)

    def begin(
        self,
        name: str,
        parent: TraceParent | None,
        role: Role,
        facts: Facts,
        *,
        at: datetime | None = None,
        span_id: int | None = None,
    ) -> Recording:
        """Begin a span under another one, or a trace."""
        with _chosen(span_id):
            span = self.tracer.start_span(
                name,
                context=trace.set_span_in_context(NonRecordingSpan(_context(parent))),
                kind=KINDS[role],
                attributes=dict(facts),
                start_time=_nanoseconds(at),
            )
        return _OpenTelemetrySpan(self, span)

    def flush(self) -> None:
        """Send what has ended. Blocks."""
        self._provider.force_flush()

    def close(self) -> None:
        """Send what has ended and stop. Blocks for at most CLOSE_SECONDS: where nobody answers, spans get lost."""
        closing = threading.Thread(target=self._provider.shutdown, name="close-spans", daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)


class _OpenTelemetrySpan:
    """One span of OpenTelemetry's."""

    def __init__(self, recorder: SpanRecorder, span: trace.Span) -> None:
        self._recorder = recorder
        self._span = span
        context = span.get_span_context()
        self.place = (
            TraceParent(f"{context.trace_id:032x}", f"{context.span_id:016x}", sampled=context.trace_flags.sampled)
            if context.is_valid
            else None
        )

    def begin(self, name: str, role: Role, facts: Facts) -> Recording:
        return self._recorder.begin(name, self.place, role, facts)

    def note(self, facts: Facts) -> None:
        self._span.set_attributes(dict(facts))

    def fail(self, reason: str) -> None:
        self._span.set_attribute("error.type", reason)
        self._span.set_status(Status(StatusCode.ERROR))

    def end(self, at: datetime | None) -> None:
        self._span.end(_nanoseconds(at))


class _Ids(IdGenerator):
    """Random ids, but for a span whose id was chosen."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()

    def generate_span_id(self) -> int:
        return _wanted_id.get() or self._random.generate_span_id()

    def generate_trace_id(self) -> int:
        return self._random.generate_trace_id()


@contextmanager
def _chosen(span_id: int | None) -> Iterator[None]:
    token = _wanted_id.set(span_id)
    try:
        yield
    finally:
        _wanted_id.reset(token)


def _context(parent: TraceParent | None) -> SpanContext:
    if parent is None:
        return trace.INVALID_SPAN_CONTEXT
    flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT)
    return SpanContext(int(parent.trace_id, 16), int(parent.span_id, 16), is_remote=True, trace_flags=flags)


def _nanoseconds(at: datetime | None) -> int | None:
    return None if at is None else round(at.timestamp() * 1e6) * 1000
