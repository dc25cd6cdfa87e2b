"""Traces for OpenTelemetry, where its own variables name a collector (OTEL_EXPORTER_OTLP_ENDPOINT); else nothing.

A request's span begins where its caller's `traceparent` ends, and goes on in the replica that answers.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from tlg.errors import SpecError

VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
PARENT = "traceparent"
_tracers: list[Any] = []  # this process's tracer, once it was asked for


class Span:
    """What a span is told; nothing where there are no traces."""

    def tell(self, **attributes: str | int | float) -> None:
        pass


class _RealSpan(Span):
    def __init__(self, span: Any):
        self._span = span

    def tell(self, **attributes: str | int | float) -> None:
        for name, value in attributes.items():
            self._span.set_attribute(name.replace("_", "."), value)


def start(process: str) -> None:
    """Call it once in every process that answers. `process` tells the kinds apart: `api`, `annotators`."""
    if _tracers or not any(os.environ.get(name) for name in VARIABLES):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise SpecError(
            f"{' or '.join(VARIABLES)} is set, but OpenTelemetry's exporter is not installed; "
            'pip install "tlg[traces]", or unset it'
        ) from None
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES go before what is said here.
    provider = TracerProvider(resource=Resource.create({"service.namespace": "tlg", "service.name": f"tlg-{process}"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracers.append(provider.get_tracer("tlg"))


@contextlib.contextmanager
def span(name: str, parent: str = "") -> Iterator[Span]:
    """`parent` is a `traceparent`; without one the span is below the current one."""
    if not _tracers:
        yield Span()
        return
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = TraceContextTextMapPropagator().extract({PARENT: parent}) if parent else None
    with _tracers[0].start_as_current_span(name, context=context) as current:
        yield _RealSpan(current)


def carried() -> str:
    """The current span, as another process takes it for a parent; empty where there is none."""
    if not _tracers:
        return ""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get(PARENT, "")
