"""Spans as a test reads them, from OpenTelemetry's memory or from its wire format."""

from dataclasses import dataclass
from typing import Any, Self

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shared.tracing.recorder import SpanRecorder
from shared.tracing.tracer import Tracer

ERROR = 2  # the status code of both


@dataclass(frozen=True)
class Told:
    """One span: ids in hexadecimal, times in seconds since the epoch."""

    name: str
    service: str
    trace_id: str
    span_id: str
    parent_id: str
    begun: float
    ended: float
    failed: bool
    facts: dict[str, Any]

    @classmethod
    def of_proto(cls, span: Any, service: str) -> Self:
        facts = {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in span.attributes}
        return cls(
            span.name, service, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(),
            span.start_time_unix_nano / 1e9, span.end_time_unix_nano / 1e9, span.status.code == ERROR, facts,
        )  # fmt: skip

    @classmethod
    def of_memory(cls, span: ReadableSpan) -> Self:
        context = span.get_span_context()
        assert context
        assert span.start_time
        assert span.end_time
        return cls(
            span.name,
            str(span.resource.attributes["service.name"]),
            f"{context.trace_id:032x}",
            f"{context.span_id:016x}",
            f"{span.parent.span_id:016x}" if span.parent else "",
            span.start_time / 1e9,
            span.end_time / 1e9,
            not span.status.is_unset and not span.status.is_ok,
            dict(span.attributes or {}),
        )


class SpanMemory:
    """A tracer whose spans stay in memory, in the order of their ends."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracer = Tracer(SpanRecorder(SimpleSpanProcessor(self._exporter), service="tests", version="1.0"))

    @property
    def spans(self) -> list[Told]:
        return [Told.of_memory(span) for span in self._exporter.get_finished_spans()]

    def named(self, name: str) -> Told:
        """Return the only span of this name."""
        [found] = [span for span in self.spans if span.name == name]
        return found
