"""The contract check itself: it must be able to fail."""

from types import SimpleNamespace

import pytest

from contract import Contract

DOCUMENT = {
    "openapi": "3.1.0",
    "info": {"title": "t", "version": "1"},
    "paths": {
        "/things/{id}": {
            "get": {
                "responses": {
                    "200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}},
                    "404": {"description": "none"},
                }
            }
        },
        "/things/all": {"get": {"responses": {"200": {"content": {"application/json": {"schema": {"type": "array"}}}}}}},
    },
    "components": {
        "schemas": {
            "Thing": {
                "type": "object",
                "required": ["size"],
                "properties": {
                    "size": {"type": "string"},
                    "row": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]},
                },
            }
        }
    },
}


def answer(path, body, status=200, method="GET"):
    return SimpleNamespace(
        request=SimpleNamespace(method=method, url=f"http://h{path}"), status_code=status, json=lambda: body, text=""
    )


@pytest.mark.parametrize(
    ("given", "violations"),
    [
        (answer("/things/7", {"size": "1"}), 0),
        (answer("/things/7?x=y", {"size": "1", "row": [1, "a"]}), 0),
        (answer("/things/7", {"size": 1}), 1),
        (answer("/things/7", {"size": "1", "row": ["a", 1]}), 2),
        (answer("/things/7", {}), 1),
        (answer("/things/7", {}, status=404), 0),
        (answer("/things/7", {}, status=500), 1),
        (answer("/things/all", []), 0),
        (answer("/things/all", {"size": "1"}), 1),
        (answer("/others", {}), 1),
        (answer("/others", {}, status=404), 0),
        (answer("/things/7", {}, method="DELETE"), 1),
    ],
)
def test_what_differs_from_the_document_is_noted(given, violations):
    contract = Contract(DOCUMENT)
    contract.check(given)
    assert len(contract.violations) == violations, contract.violations
