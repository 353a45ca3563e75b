"""Requests that schemathesis makes from the OpenAPI document: no 5xx, none hangs, and answers are as it says."""

import pytest
from installed_clients import need_client

need_client("schemathesis")

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

HUNG_S = 600
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
# of each operation; the long form is for hours without other work
EXAMPLES, MANY_EXAMPLES = 12, 500


def ask(operation, mode, examples):
    bounded = settings(
        max_examples=examples, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )

    @bounded
    @given(operation.as_strategy(generation_mode=mode))
    def ask_once(case):
        statuses.add(case.call_and_validate(checks=CHECKS, timeout=HUNG_S).status_code)

    statuses = set()
    ask_once()
    return statuses


@pytest.fixture(scope="session")
def operations(open_url):
    found = [each.ok() for each in schemathesis.openapi.from_url(f"{open_url}/openapi.json").get_all_operations()]
    assert {"/v1/rerank", "/v2/rerank", "/rerank", "/score", "/encode"} <= {each.path for each in found}
    return found


def ask_all(operations, examples):
    good, bad = set(), set()
    for operation in operations:
        good |= ask(operation, GenerationMode.POSITIVE, examples)
        if operation.method == "post":
            bad |= ask(operation, GenerationMode.NEGATIVE, examples)
    assert 200 in good
    assert {400, 422} & bad


def test_some_requests(operations):
    ask_all(operations, EXAMPLES)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_requests(operations):
    ask_all(operations, MANY_EXAMPLES)
