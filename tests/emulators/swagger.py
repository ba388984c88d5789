"""A description in Swagger 2.0 as one in OpenAPI 3.0, which the validator reads; only what clouds' descriptions use."""

import json
from collections.abc import Mapping
from typing import Any

_SCHEMA = ("type", "format", "items", "enum", "default", "minimum", "maximum", "pattern")
_METHODS = ("get", "put", "post", "delete", "patch")
_JSON = "application/json"


def upgraded(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The same API in the newer words. Paths go without the base path, as the older ones do."""
    moved = json.loads(
        json.dumps(spec)
        .replace("#/definitions/", "#/components/schemas/")
        .replace("#/responses/", "#/components/responses/")
    )
    paths = {path: _item(item) for path, item in moved["paths"].items()}
    responses = {name: _response(response) for name, response in moved.get("responses", {}).items()}
    components = {"schemas": moved.get("definitions", {}), "responses": responses}
    return {"openapi": "3.0.3", "info": moved["info"], "paths": paths, "components": components}


def _item(item: Mapping[str, Any]) -> dict[str, Any]:
    return {method: _operation(item[method]) for method in _METHODS if method in item}


def _operation(operation: Mapping[str, Any]) -> dict[str, Any]:
    given = operation.get("parameters", [])
    bodies = [parameter for parameter in given if parameter["in"] == "body"]
    new: dict[str, Any] = {
        "operationId": operation["operationId"],
        "parameters": [_parameter(parameter) for parameter in given if parameter["in"] != "body"],
        "responses": {code: _response(response) for code, response in operation["responses"].items()},
    }
    if bodies:
        content = {_JSON: {"schema": bodies[0]["schema"]}}
        new["requestBody"] = {"required": bodies[0].get("required", False), "content": content}
    return new


def _parameter(parameter: Mapping[str, Any]) -> dict[str, Any]:
    schema = {key: parameter[key] for key in _SCHEMA if key in parameter}
    return {key: parameter[key] for key in ("in", "name", "required") if key in parameter} | {"schema": schema}


def _response(response: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" in response:
        return dict(response)
    content = {"content": {_JSON: {"schema": response["schema"]}}} if "schema" in response else {}
    return {"description": response.get("description", "")} | content
