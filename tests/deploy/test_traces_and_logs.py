"""A request's trace reaches a real collector's door, and its log line is JSON where that was asked for."""

import json
import logging
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from deploy.endpoint import logs, traces
from tlg.errors import SpecError

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def collector(monkeypatch):
    """What OpenTelemetry's exporter sends, over HTTP."""
    spans = []

    class Door(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                spans.extend(span for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr(traces, "_tracers", [])
        yield spans
        server.shutdown()


def test_a_request_is_a_span_below_its_callers(collector, client, make_picture, make_exemplars):
    traces.start("api")
    asked = {"files": {"image": make_picture(1)}, "data": {"exemplars": "animals"}}
    client.post("/v1/annotate", **asked, headers={"traceparent": CALLER}).raise_for_status()
    with traces.span("elsewhere", CALLER):
        carried = traces.carried()
    assert carried.split("-")[1] == CALLER.split("-")[1]
    traces._tracers[0].span_processor.force_flush()
    (request,) = [span for span in collector if span.name == "request"]
    assert request.trace_id.hex() == CALLER.split("-")[1]
    assert request.parent_span_id.hex() == CALLER.split("-")[2]
    told = {one.key: one.value.string_value or one.value.int_value for one in request.attributes}
    assert (told["http.route"], told["http.response.status"]) == ("/v1/annotate", 200)


def test_without_a_collector_there_are_no_traces(client, make_picture, monkeypatch):
    monkeypatch.setattr(traces, "_tracers", [])
    for name in traces.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    traces.start("api")
    assert not traces._tracers
    with traces.span("request", CALLER) as span:
        span.tell(http_route="/")
        assert traces.carried() == ""


def test_a_missing_exporter_says_the_way_out(collector, monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SpecError, match=r'pip install "tlg\[traces\]"'):
        traces.start("api")


def test_log_lines_are_objects_with_their_facts(client, caplog):
    with caplog.at_level(logging.INFO, "tlg.serve"):
        logs.logger.addHandler(caplog.handler)
        client.get("/healthz", headers={"x-request-id": "r-1"})
        logs.logger.removeHandler(caplog.handler)
    line = json.loads(logs.JsonFormatter().format(caplog.records[-1]))
    assert (line["request"], line["route"], line["status"], line["level"]) == ("r-1", "/healthz", 200, "info")
    assert isinstance(line["milliseconds"], int)
    try:
        raise KeyError("x")
    except KeyError:
        record = logging.LogRecord("tlg.serve", logging.ERROR, "", 0, "broken", None, sys.exc_info())
    assert "KeyError" in json.loads(logs.JsonFormatter().format(record))["exception"]
