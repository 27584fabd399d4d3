"""Holds every answer that the suite sees to the OpenAPI document that the gateway serves."""

import json
import re
from urllib.parse import urlsplit

from openapi_schema_validator import OAS30Validator, OAS31Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012


class Contract:
    """An OpenAPI document, and what was found to differ from it."""

    def __init__(self, document: dict):
        self.document = document
        self.violations = []
        self.seen = set()
        version = document["openapi"]
        self.validator = OAS30Validator if version.startswith("3.0") else OAS31Validator
        self.registry = Registry().with_resource(
            "urn:document", Resource(contents=document, specification=DRAFT202012)
        )
        self.routes = []
        for template, item in document["paths"].items():
            pattern = re.compile("^" + re.sub(r"\\\{[^/]+?\\\}", "[^/]+", re.escape(template)) + "$")
            self.routes.append((template.count("{"), template, pattern, item))
        # A fixed path wins over one with a parameter in its place.
        self.routes.sort(key=lambda route: route[0])

    def check(self, response, *args, **kwargs):
        """A response hook: notes what does not agree, raises nothing into the client."""
        request = response.request
        path = urlsplit(request.url).path
        where = f"{request.method} {path} -> {response.status_code}"
        found = self._operation(request.method.lower(), path)
        if found is None:
            # Asking for what does not exist is itself a test; a success outside the document is not.
            if response.status_code < 400:
                self.violations.append(f"{where}: not in the document")
            return response
        template, operation = found
        self.seen.add((request.method, template))
        answers = operation["responses"]
        status = str(response.status_code)
        answer = answers.get(status) or answers.get(f"{status[0]}XX") or answers.get("default")
        if answer is None:
            self.violations.append(f"{where}: the document does not know this status")
            return response
        schema = self._resolve(answer).get("content", {}).get("application/json", {}).get("schema")
        if schema is None:
            return response
        try:
            body = response.json()
        except json.JSONDecodeError:
            self.violations.append(f"{where}: not JSON: {response.text[:200]!r}")
            return response
        validator = self.validator(self._absolute(schema), registry=self.registry)
        for error in list(validator.iter_errors(body))[:3]:
            at = "/".join(str(part) for part in error.absolute_path)
            self.violations.append(f"{where}: at {at!r}: {error.message[:300]}")
        return response

    def _operation(self, method: str, path: str):
        for _, template, pattern, item in self.routes:
            if pattern.match(path) and method in item:
                return template, item[method]
        return None

    def _resolve(self, node: dict) -> dict:
        while "$ref" in node:
            target = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part.replace("~1", "/").replace("~0", "~")]
            node = target
        return node

    def _absolute(self, schema):
        """The schema with references into the document, so that it can be used apart from it."""
        if isinstance(schema, dict):
            return {
                key: "urn:document" + value
                if key == "$ref" and isinstance(value, str) and value.startswith("#")
                else self._absolute(value)
                for key, value in schema.items()
            }
        if isinstance(schema, list):
            return [self._absolute(part) for part in schema]
        return schema
