"""What an API server keeps: objects under versions, their history for watches, and the rules of writing them.

As Kubernetes has it ("API concepts" and "API conventions", v1.32): a version counter for everything, names that are
taken once, writes that may say which version they mean, and lists that are one snapshot however they are paged.
"""

import base64
import copy
import json
import uuid
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from tests.emulators.kubernetes_pods.selecting import matches, patched

Json = dict[str, Any]
Key = tuple[str, str, str]

WORDS = {
    400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 410: "Expired", 422: "Invalid",
    429: "TooManyRequests", 503: "ServiceUnavailable",
}  # fmt: skip

GENERATED = "bcdfghjklmnpqrstvwxz2456789"


class Failure(Exception):
    """A request that the API server refuses, with the `Status` that says so."""

    def __init__(self, code: int, message: str, reason: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.retry_after_s = code, reason or WORDS[code], retry_after_s

    def status(self) -> Json:
        """The body of the answer, and of a watch's ERROR event."""
        return {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": str(self),
            "reason": self.reason, "code": self.code,
        }  # fmt: skip


class Store:
    """The objects. `events` is what has happened since `forgotten`; older versions cannot be watched from."""

    def __init__(self, now: Callable[[], float], page_limit: int) -> None:
        self.version, self.forgotten = 0, 0
        self.events: list[tuple[int, Key, str, Json]] = []
        self._now, self._page_limit = now, page_limit
        self._objects: dict[Key, Json] = {}
        self._snapshots: dict[str, list[Json]] = {}

    def get(self, key: Key) -> Json:
        """A copy of one object."""
        if key not in self._objects:
            raise Failure(404, f'{key[0]} "{key[2]}" not found')
        return copy.deepcopy(self._objects[key])

    def all(self, resource: str, namespace: str = "") -> list[Json]:
        """Copies of all objects of a resource, ordered by namespace and name."""
        keys = sorted(key for key in self._objects if key[0] == resource and namespace in {"", key[1]})
        return [copy.deepcopy(self._objects[key]) for key in keys]

    def create(self, resource: str, namespace: str, body: Json) -> Json:
        """A new object; the server gives it its identity."""
        made = copy.deepcopy(body)
        meta = made.setdefault("metadata", {})
        if not meta.get("name"):
            if not meta.get("generateName"):
                raise Failure(422, "metadata.name: Required value: name or generateName is required")
            meta["name"] = meta["generateName"] + _random()
        key = (resource, namespace, meta["name"])
        if key in self._objects:
            raise Failure(409, f'{resource} "{meta["name"]}" already exists', "AlreadyExists")
        meta.update(uid=str(uuid.uuid4()), creationTimestamp=self.stamp())
        if namespace:
            meta["namespace"] = namespace
        return self.put("ADDED", key, made)

    def update(self, key: Key, body: Json, part: str) -> Json:
        """Replace an object's `part`, "" or "status"; the other stays. Who names an old version is refused."""
        old, new = self.get(key), copy.deepcopy(body)
        meta = new.get("metadata") or {}
        for mark in ("resourceVersion", "uid"):
            if meta.get(mark) not in {None, "", old["metadata"][mark]}:
                raise _conflict(key)
        if part == "status":
            return self.put("MODIFIED", key, {**old, "status": new.get("status", {})})
        for mark in ("uid", "creationTimestamp", "namespace", "name", "deletionTimestamp"):
            if mark in old["metadata"]:
                new["metadata"][mark] = old["metadata"][mark]
        return self.put("MODIFIED", key, {**new, "status": old.get("status", {})})

    def patch(self, key: Key, change: Any, part: str, strategic: bool) -> Json:
        """Change an object's `part`; a version in the patch must be the present one."""
        return self.update(key, patched(self.get(key), change, strategic), part)

    def delete(self, key: Key, options: Mapping[str, Any]) -> Json:
        """End an object. A pod with a node is told first, and stays until its kubelet says that it is gone."""
        old = self.get(key)
        meant = options.get("preconditions") or {}
        if any(meant.get(mark) not in {None, old["metadata"][mark]} for mark in ("uid", "resourceVersion")):
            raise _conflict(key)
        grace = options.get("gracePeriodSeconds")
        if grace is None:
            grace = old.get("spec", {}).get("terminationGracePeriodSeconds", 30)
        if key[0] == "pods" and old["spec"].get("nodeName") and grace:
            if old["metadata"].get("deletionTimestamp"):
                return old
            old["metadata"].update(deletionTimestamp=self.stamp(), deletionGracePeriodSeconds=grace)
            return self.put("MODIFIED", key, old)
        return self.put("DELETED", key, old)

    def put(self, event: str, key: Key, new: Json) -> Json:
        """Write a new version; nothing happens when it says the same as before."""
        old = self._objects.get(key)
        if event == "MODIFIED" and old is not None and _bare(old) == _bare(new):
            return copy.deepcopy(old)
        self.version += 1
        new["metadata"]["resourceVersion"] = str(self.version)
        self.events.append((self.version, key, event, copy.deepcopy(new)))
        if event == "DELETED":
            del self._objects[key]
        else:
            self._objects[key] = new
        return copy.deepcopy(new)

    def compact(self) -> None:
        """Forget the history, as etcd does every five minutes: watches and continue tokens of before have expired."""
        self.forgotten = self.version
        self.events.clear()
        self._snapshots.clear()

    def page(self, resource: str, namespace: str, query: Mapping[str, str], hidden: Collection[str] = ()) -> Json:
        """One page of a list without the `hidden` names. A continue token goes on in the first page's snapshot."""
        token = query.get("continue")
        if token:
            version, start = json.loads(base64.b64decode(token))
            if version not in self._snapshots:
                raise Failure(410, "The provided continue parameter is too old to display a consistent list result.")
            found = self._snapshots[version]
        else:
            version, start = str(self.version), 0
            labels, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
            seen = [each for each in self.all(resource, namespace) if each["metadata"]["name"] not in hidden]
            found = [each for each in seen if matches(each, labels, fields)]
        limit = min(int(query["limit"]), self._page_limit) if query.get("limit") else len(found)
        meta: Json = {"resourceVersion": version}
        if start + limit < len(found):
            self._snapshots[version] = found
            meta["continue"] = base64.b64encode(json.dumps([version, start + limit]).encode()).decode()
            meta["remainingItemCount"] = len(found) - start - limit
        return {"kind": "List", "apiVersion": "v1", "metadata": meta, "items": found[start : start + limit]}

    def since(self, version: int, resource: str, namespace: str, query: Mapping[str, str]) -> list[Json]:
        """The events of a watch after `version`. Raises `Failure` 410 when that is forgotten."""
        if version < self.forgotten:
            raise Failure(410, f"too old resource version: {version} ({self.forgotten})")
        labels, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
        return [
            {"type": event, "object": seen}
            for at, key, event, seen in self.events
            if at > version and key[0] == resource and namespace in {"", key[1]} and matches(seen, labels, fields)
        ]

    def stamp(self) -> str:
        """Now, in whole seconds, as the API server writes it."""
        return datetime.fromtimestamp(self._now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _conflict(key: Key) -> Failure:
    what = f'Operation cannot be fulfilled on {key[0]} "{key[2]}": the object has been modified'
    return Failure(409, what, "Conflict")


def _bare(each: Json) -> Json:
    return {**each, "metadata": {k: v for k, v in each["metadata"].items() if k != "resourceVersion"}}


def _random() -> str:
    number = uuid.uuid4().int
    return "".join(GENERATED[(number >> 5 * place) % len(GENERATED)] for place in range(5))
