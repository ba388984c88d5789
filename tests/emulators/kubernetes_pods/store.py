"""What an API server keeps: objects under versions, their history for watches, and the rules of writing them.

As kube-apiserver v1.36.2 was seen to have it: a version counter for everything, names that are taken once, writes that
may say which version they mean, and lists that are one snapshot however they are paged.
"""

import base64
import json
import uuid
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from tests.emulators.kubernetes_pods import failures, objects, validation
from tests.emulators.kubernetes_pods.copying import copied
from tests.emulators.kubernetes_pods.failures import KINDS, Failure
from tests.emulators.kubernetes_pods.selecting import Selection, patched

Json = dict[str, Any]
Key = tuple[str, str, str]

KEPT = (
    "uid",
    "creationTimestamp",
    "namespace",
    "name",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
)
"""Metadata that no write changes."""

MAPS = ("labels", "annotations", "finalizers")
"""Metadata that is left out when it is empty."""

GENERATED = "bcdfghjklmnpqrstvwxz2456789"

TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without"
    " the continue parameter, or use the continue token in this response to retrieve the remainder of the results."
    " Continuing with the provided token results in an inconsistent list - objects that were created, modified, or"
    " deleted between the time the first chunk was returned and now may show up in the list."
)


class Store:
    """The objects. `events` is what has happened since `forgotten`; older versions cannot be watched from."""

    def __init__(self, now: Callable[[], float], page_limit: int) -> None:
        self.version, self.forgotten = 0, 0
        self.events: list[tuple[int, Key, Json | None, Json | None]] = []
        """Version, key, what was before and what is after."""
        self._now, self._page_limit = now, page_limit
        self._objects: dict[Key, Json] = {}
        self._snapshots: dict[int, dict[Key, Json]] = {}

    def get(self, key: Key) -> Json:
        """A copy of one object."""
        if key not in self._objects:
            raise failures.not_found(key[0], key[2])
        return copied(self._objects[key])

    def all(self, resource: str, namespace: str = "") -> list[Json]:
        """Copies of all objects of a resource, ordered by namespace and name."""
        return [each for _, each in _of(self._objects, resource, namespace)]

    def create(self, resource: str, namespace: str, body: Json) -> Json:
        """A new object; the server gives it its identity."""
        made = copied(body)
        meta = made["metadata"]
        key = (resource, namespace, meta["name"])
        if key in self._objects:
            ending = "deletionTimestamp" in self._objects[key]["metadata"]
            raise failures.exists(resource, meta["name"], "object is being deleted: " if ending else "")
        meta.update(uid=str(uuid.uuid4()), creationTimestamp=self.stamp())
        if namespace:
            meta["namespace"] = namespace
        return self.put("ADDED", key, made)

    def update(self, key: Key, body: Json, part: str) -> Json:
        """Replace an object's `part`: "", or "status", with which labels and annotations change too.

        Who names an old version is refused.
        """
        old, new = self.get(key), copied(body)
        meta = new.setdefault("metadata", {})
        self._same(key[0], old, meta)
        for mark in KEPT:
            if mark in old["metadata"]:
                meta[mark] = old["metadata"][mark]
        if part == "status":
            status = objects.timed(key[0], new.get("status") or {})
            if key[0] == "pods":
                validation.check_status(old, status)
                status = {"qosClass": old["status"]["qosClass"], **status}
            return self.put("MODIFIED", key, {**old, "metadata": meta, "status": status})
        new = {**new, "status": old["status"]} if "status" in old else new
        validation.check_change(key[0], old, new)
        if key[0] == "pods" and new["spec"] != old["spec"]:
            meta["generation"] += 1
        finished = meta.get("deletionTimestamp") and not meta.get("finalizers")
        if finished and not meta.get("deletionGracePeriodSeconds"):
            return self.put("DELETED", key, new)
        return self.put("MODIFIED", key, new)

    def patch(self, key: Key, change: Any, part: str, strategic: bool) -> Json:
        """Change an object's `part`; a version in the patch must be the present one."""
        new = patched(self.get(key), change, strategic)
        if new["metadata"]["uid"] != self._objects[key]["metadata"]["uid"]:
            cause = failures.wrong("metadata.uid", new["metadata"]["uid"], "field is immutable")
            raise failures.invalid(KINDS[key[0]], key[2], [cause])
        validation.addressed(key[1], key[2], new["metadata"])
        return self.update(key, new, part)

    def delete(self, key: Key, options: Mapping[str, Any]) -> Json:
        """End an object. A pod with a node is told first, and stays until its kubelet says that it is gone."""
        old = self.get(key)
        _meant(key, old, options.get("preconditions") or {})
        if key[0] == "pods":
            return self._ended(key, old, options.get("gracePeriodSeconds"))
        if key[0] == "namespaces":  # a controller empties it first
            old["metadata"]["deletionTimestamp"] = self.stamp()
            return self.put("MODIFIED", key, {**old, "status": {"phase": "Terminating"}})
        return self.put("DELETED", key, old)

    def put(self, event: str, key: Key, new: Json) -> Json:
        """Write a new version; nothing happens when it says the same as before."""
        old = self._objects.get(key)
        new = {**new, "metadata": {mark: value for mark, value in new["metadata"].items() if value or mark not in MAPS}}
        if event == "MODIFIED" and old is not None and _bare(old) == _bare(new):
            return copied(old)
        self.version += 1
        new["metadata"]["resourceVersion"] = str(self.version)
        self.events.append((self.version, key, old, None if event == "DELETED" else copied(new)))
        if event == "DELETED":
            del self._objects[key]
        else:
            self._objects[key] = new
        return copied(new)

    def compact(self) -> None:
        """Forget the history, as etcd does every five minutes: watches and continue tokens of before have expired."""
        self.forgotten = self.version
        self.events.clear()
        self._snapshots.clear()

    def page(self, resource: str, namespace: str, query: Mapping[str, str], hidden: Collection[str] = ()) -> Json:
        """One page of a list without the `hidden` names. A continue token goes on in the first page's snapshot."""
        chosen, limit = Selection.of(resource, query), _whole("limit", query.get("limit") or "0")
        version, start, objects = self._begun(query)
        left = [(place, each) for place, each in _of(objects, resource, namespace) if place >= start]
        rows = [row for row in left if row[1] in chosen and row[1]["metadata"]["name"] not in hidden]
        size = min(limit, self._page_limit) if limit > 0 else len(rows)
        meta: Json = {"resourceVersion": str(version)}
        # With a selector nobody has looked at the rest yet: the page after a full one may turn out to be empty.
        if rows and limit > 0 and size <= len(rows) and rows[size - 1][0] != left[-1][0]:
            self._snapshots.setdefault(version, dict(self._objects))
            meta["continue"] = _token(version, rows[size - 1][0] + "\0")
            if not query.get("labelSelector") and not query.get("fieldSelector"):
                meta["remainingItemCount"] = len(rows) - size
        items = [{k: v for k, v in each.items() if k not in {"kind", "apiVersion"}} for _, each in rows[:size]]
        return {"kind": f"{KINDS[resource]}List", "apiVersion": "v1", "metadata": meta, "items": items}

    def since(self, version: int, resource: str, namespace: str, chosen: Selection) -> list[Json]:
        """The events of a watch after `version`: what leaves the selection is deleted, as far as the watch can tell.

        Raises `Failure` 410 when that version is forgotten.
        """
        if version < self.forgotten:
            raise Failure(410, f"too old resource version: {version} ({self.forgotten})")
        found: list[Json] = []
        for at, key, old, new in self.events:
            if at <= version or key[0] != resource or namespace not in {"", key[1]}:
                continue
            before, after = old is not None and old in chosen, new is not None and new in chosen
            if after:
                found.append({"type": "MODIFIED" if before else "ADDED", "object": new})
            elif before and old is not None:
                meta = {**old["metadata"], "resourceVersion": str(at)}
                found.append({"type": "DELETED", "object": {**old, "metadata": meta}})
        return found

    def stamp(self, later_s: float = 0.0) -> str:
        """A time, now or `later_s`, in whole seconds, as the API server writes it."""
        return datetime.fromtimestamp(self._now() + later_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def wanted(self, query: Mapping[str, str], code: int = 400) -> int:
        """The version that a list or a watch asks for; 0 is any. Raises `Failure` with `code` for what is none."""
        asked = query.get("resourceVersion") or "0"
        if not asked.isdecimal():
            why = f'resourceVersion: Invalid value: "{asked}": strconv.ParseUint: parsing "{asked}": invalid syntax'
            raise Failure(code, f"invalid resource version: {why}" if code == 400 else why)
        return int(asked)

    def _begun(self, query: Mapping[str, str]) -> tuple[int, str, Mapping[Key, Json]]:
        """The version, the first place and the objects of a page."""
        asked, token = self.wanted(query), query.get("continue")
        if asked > self.version:
            cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
            told = f"Timeout: Too large resource version: {asked}, current: {self.version}"
            raise Failure(504, told, details={"causes": [cause], "retryAfterSeconds": 1})
        if not token:
            return self.version, "", self._objects
        if asked:
            raise Failure(400, "specifying resource version is not allowed when using continue")
        version, start = _opened(token)
        if version == -1:
            return self.version, start, self._objects
        if version not in self._snapshots:
            raise Failure(410, TOO_OLD, metadata={"continue": _token(-1, start)})
        return version, start, self._snapshots[version]

    def _same(self, resource: str, old: Json, meta: Json) -> None:
        version, name = meta.get("resourceVersion") or old["metadata"]["resourceVersion"], old["metadata"]["name"]
        if not version.isdecimal():
            raise Failure(500, f'strconv.ParseUint: parsing "{version}": invalid syntax')
        if meta.get("uid") not in {None, "", old["metadata"]["uid"]}:
            told = f"UID in precondition: {meta['uid']}, UID in object meta: {old['metadata']['uid']}"
            raise failures.conflict(resource, name, f"StorageError: invalid object, Precondition failed: {told}")
        if version != old["metadata"]["resourceVersion"]:
            raise failures.conflict(resource, name)

    def _ended(self, key: Key, pod: Json, grace_s: int | None) -> Json:
        """Only a pod on a node has grace, unless it has ended; a later request can make it shorter, never longer."""
        meta, grace_s = pod["metadata"], 1 if grace_s is not None and grace_s < 0 else grace_s
        had_s = meta.get("deletionGracePeriodSeconds")
        if had_s:
            if grace_s is None or grace_s >= had_s:
                return pod
            begun = datetime.fromisoformat(meta["deletionTimestamp"]).timestamp() - had_s
            later_s = max(0.0, begun + grace_s - self._now())
        else:
            if not pod["spec"].get("nodeName") or pod["status"].get("phase") in {"Succeeded", "Failed"}:
                grace_s = 0
            grace_s = pod["spec"]["terminationGracePeriodSeconds"] if grace_s is None else grace_s
            later_s, meta["generation"] = grace_s, meta["generation"] + (had_s is None)
        meta.update(deletionTimestamp=self.stamp(later_s), deletionGracePeriodSeconds=grace_s)
        told = self.put("MODIFIED", key, pod)
        return told if grace_s or meta.get("finalizers") else self.put("DELETED", key, told)


def generated(prefix: str) -> str:
    """A name that begins so."""
    number = uuid.uuid4().int
    return prefix + "".join(GENERATED[(number >> 5 * place) % len(GENERATED)] for place in range(5))


def _of(objects: Mapping[Key, Json], resource: str, namespace: str) -> list[tuple[str, Json]]:
    keys = sorted(key for key in objects if key[0] == resource and namespace in {"", key[1]})
    return [(f"{key[1]}/{key[2]}", copied(objects[key])) for key in keys]


def _meant(key: Key, old: Json, meant: Mapping[str, str]) -> None:
    """The preconditions of a delete: unlike writes, these name the kind and both values."""
    ends = (
        ("uid", "UID", "deleted and then recreated"),
        ("resourceVersion", "ResourceVersion", "modified"),
    )
    for mark, word, became in ends:
        own = old["metadata"][mark]
        if meant.get(mark) not in {None, own}:
            told = f"the {word} in the precondition ({meant[mark]}) does not match the {word} in record ({own})."
            raise failures.conflict(KINDS[key[0]], key[2], f"{told} The object might have been {became}")


def _whole(what: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise Failure(400, f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def _token(version: int, start: str) -> str:
    told = {"v": "meta.k8s.io/v1", "rv": version, "start": start}
    return base64.urlsafe_b64encode(json.dumps(told).encode()).decode().rstrip("=")


def _opened(token: str) -> tuple[int, str]:
    try:
        told = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return int(told["rv"]), str(told["start"])
    except (ValueError, KeyError, TypeError):
        raise Failure(400, "invalid continue token: continue key is not valid") from None


def _bare(each: Json) -> Json:
    return {**each, "metadata": {k: v for k, v in each["metadata"].items() if k != "resourceVersion"}}
