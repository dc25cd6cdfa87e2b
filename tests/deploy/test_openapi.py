"""Schemathesis makes requests up from our own OpenAPI: none may fail us, every answer is as described."""

import pytest

from deploy.endpoint.schema import AnnotateForm, AnnotateRequest, BatchForm, BatchRequest

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
from hypothesis import HealthCheck, given, settings  # noqa: E402
from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.specs.openapi.checks import (  # noqa: E402
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 25


def test_every_answer_is_as_described(make_client, make_exemplars):
    client = make_client(insecure=True)  # its requests come from no address of this machine
    client.put("/v1/exemplar-sets/animals", **make_exemplars(fox=1)).raise_for_status()
    schema = schemathesis.openapi.from_asgi("/openapi.json", client.app)
    failures, tried = [], 0
    for operation in (result.ok() for result in schema.get_all_operations()):

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def check(case):
            case.call_and_validate(checks=CHECKS)

        tried += 1
        try:
            check()
        except Exception as found:  # a group of failed checks, whose class differs between Python versions
            failures.append(f"{operation.label}: {getattr(found, 'exceptions', found)}")
    assert tried >= 15
    assert not failures, "\n".join(failures)


def references(node):
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for child in node.values():
            yield from references(child)
    elif isinstance(node, list):
        for child in node:
            yield from references(child)


def test_every_body_and_answer_is_one_of_the_models(client):
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    assert {f"#/components/schemas/{name}" for name in schemas} >= set(references(document))
    asked = document["paths"]["/v1/annotate"]["post"]["requestBody"]["content"]
    assert asked["application/json"]["schema"] == {"$ref": "#/components/schemas/AnnotateRequest"}
    assert asked["multipart/form-data"]["schema"] == {"$ref": "#/components/schemas/AnnotateForm"}
    for request, form in ((AnnotateRequest, AnnotateForm), (BatchRequest, BatchForm)):
        # What JSON can say, multipart can.
        assert {name.replace("images", "image") for name in request.model_fields} <= set(form.model_fields)
        assert schemas[form.__name__]["properties"]["image"]
        assert form.model_fields["format"].annotation == request.model_fields["format"].annotation
