"""Links of the API's description (OpenAPI 3.1, section 4.8.20): what to do next with that which a route has made.

Each route that makes something leads to all routes of that thing; generators of clients and of tests follow them.
"""

from collections.abc import Mapping
from typing import Any

MAKES: Mapping[str, Mapping[str, str]] = {
    "POST /v1/jobs": {"job": "$response.body#/id"},
    "POST /v1/services": {"service": "$response.body#/id"},
    "POST /v1/tokens": {"token": "$response.body#/id"},
    "POST /v1/tokens/{token}/rotate": {"token": "$response.body#/id"},
    "POST /v1/keys": {"key": "$response.body#/id"},
    "PUT /v1/projects/{project}": {"project": "$response.body#/name"},
    "POST /v1/projects/{project}/secrets/{secret}/versions": {
        "project": "$request.path.project",
        "secret": "$request.path.secret",
    },
}
"""Of each route that makes something: the parameters that name it in paths, and where their values are found."""


def add(description: dict[str, Any]) -> dict[str, Any]:
    """The description with its links; done twice is once."""
    paths = description["paths"]
    for route, names in MAKES.items():
        method, path = route.lower().split()
        answers = paths[path][method]["responses"]
        made = next(code for code in answers if code.startswith("2"))
        answers[made]["links"] = _to(paths, names, route)
    return description


def _to(paths: Mapping[str, Any], names: Mapping[str, str], maker: str) -> dict[str, Any]:
    return {
        operation["operationId"]: {"operationId": operation["operationId"], "parameters": dict(names)}
        for path, operations in paths.items()
        for method, operation in operations.items()
        if f"{method.upper()} {path}" != maker
        and {one["name"] for one in operation.get("parameters", ()) if one["in"] == "path"} == set(names)
    }
