"""How an API server says no: the `Status` bodies of kube-apiserver v1.36.2, word for word where somebody reads them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

KINDS = {
    "namespaces": "Namespace",
    "nodes": "Node",
    "pods": "Pod",
    "resourcequotas": "ResourceQuota",
    "serviceaccounts": "ServiceAccount",
}

WORDS = {
    400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 405: "MethodNotAllowed",
    409: "Conflict", 410: "Expired", 415: "UnsupportedMediaType", 422: "Invalid", 429: "TooManyRequests",
    503: "ServiceUnavailable", 504: "Timeout",
}  # fmt: skip
"""The reason that goes with a code; a 500 has none."""

OUT_OF_DATE = "the object has been modified; please apply your changes to the latest version and try again"


class Failure(Exception):
    """A request that the API server refuses, with the `Status` that says so."""

    def __init__(
        self,
        code: int,
        message: str,
        reason: str = "",
        retry_after_s: float | None = None,
        details: Json | None = None,
        metadata: Json | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.reason, self.retry_after_s = code, reason or WORDS.get(code, ""), retry_after_s
        self.details, self.metadata = details, metadata or {}

    def status(self) -> Json:
        """The body of the answer, and of a watch's ERROR event."""
        told: Json = {"kind": "Status", "apiVersion": "v1", "metadata": self.metadata, "status": "Failure"}
        told |= {"message": str(self), "code": self.code}
        told |= {"reason": self.reason} if self.reason else {}
        return told | ({"details": self.details} if self.details is not None else {})


@dataclass(frozen=True)
class Cause:
    """One field that is wrong, and why."""

    reason: str
    field: str
    told: str


def wrong(field: str, value: str, why: str) -> Cause:
    """A value that does not do."""
    return Cause("FieldValueInvalid", field, f'Invalid value: "{value}": {why}')


def missing(field: str, why: str = "") -> Cause:
    """A value that is not there."""
    return Cause("FieldValueRequired", field, f"Required value: {why}" if why else "Required value")


def unsupported(field: str, value: str, supported: Sequence[str]) -> Cause:
    """A word that is none of those known."""
    words = ", ".join(f'"{word}"' for word in supported)
    return Cause("FieldValueNotSupported", field, f'Unsupported value: "{value}": supported values: {words}')


def invalid(kind: str, name: str, causes: Sequence[Cause]) -> Failure:
    """422: the object is understood, and wrong."""
    told = [f"{cause.field}: {cause.told}" for cause in causes]
    message = f'{kind} "{name}" is invalid: {told[0] if len(told) == 1 else "[" + ", ".join(told) + "]"}'
    listed = [{"reason": cause.reason, "message": cause.told, "field": cause.field} for cause in causes]
    named = {"name": name} if name else {}
    return Failure(422, message, details={**named, "kind": kind, "causes": listed})


def not_understood(kind: str, why: str) -> Failure:
    """400: the body cannot be read as that kind."""
    return Failure(400, f'{kind} in version "v1" cannot be handled as a {kind}: {why}')


def not_found(resource: str, name: str) -> Failure:
    """404: no such object."""
    return Failure(404, f'{resource} "{name}" not found', details={"name": name, "kind": resource})


def no_such_path() -> Failure:
    """404: no such resource."""
    return Failure(404, "the server could not find the requested resource", details={})


def exists(resource: str, name: str, begins: str = "") -> Failure:
    """409: the name is taken."""
    details = {"name": name, "kind": resource}
    return Failure(409, f'{begins}{resource} "{name}" already exists', "AlreadyExists", details=details)


def conflict(what: str, name: str, why: str = OUT_OF_DATE) -> Failure:
    """409: another writer was first, or the caller means another object. `what`: a resource, or for deletes a kind."""
    details = {"name": name, "kind": what}
    return Failure(409, f'Operation cannot be fulfilled on {what} "{name}": {why}', details=details)


def forbidden(resource: str, name: str, why: str, causes: Sequence[Json] = ()) -> Failure:
    """403: admission does not like it."""
    details: Json = {"name": name, "kind": resource, **({"causes": list(causes)} if causes else {})}
    return Failure(403, f'{resource} "{name}" is forbidden: {why}', details=details)
