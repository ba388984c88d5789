"""A small Kubernetes API server: identity, versions, conflicts, validation, selectors, paging, status, watches, quotas.

With shapes it is a whole cluster on paper: each unit of a shape's capacity is a node, the `Cloud` behind it schedules
pods and runs them. Without, it only keeps objects, and whoever uses it plays scheduler and kubelet, as with a real API
server on its own. Held against kube-apiserver v1.36.2; not here: the fields of pods that nobody sets, JSON patches,
managed fields, and rights, though it says which there are. Traps: creating a pod that fits nowhere succeeds; a page may
be shorter than asked for; continue tokens and watches expire (410); a bound pod's deletion is only a beginning; 403
means three things; quotas come before names; two dollars in a variable's value become one.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from godwit.providers.simulated.catalogue import Shape
from godwit.providers.simulated.vendor import Refused
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.emulators.emulator import Emulator, answer
from tests.emulators.kubernetes_pods import admission, failures, objects, validation
from tests.emulators.kubernetes_pods.failures import KINDS, Failure
from tests.emulators.kubernetes_pods.paper import Paper
from tests.emulators.kubernetes_pods.selecting import Selection
from tests.emulators.kubernetes_pods.store import Json, Key, Store, generated

BOOKMARK_EVERY_S = 0.2
"""A real server sends one about every minute."""

REVIEWS = "/apis/authorization.k8s.io/v1"

PATCHES = {"application/merge-patch+json": False, "application/strategic-merge-patch+json": True}
"""By content type, whether lists are merged by their items' keys."""

_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class KubernetesEmulator(Emulator):
    """The API server; see the module."""

    def __init__(self, shapes: Sequence[Shape] = (), page_limit: int = 2) -> None:
        super().__init__(shapes, page_limit=page_limit)
        self.store = Store(self.clock.now, page_limit)
        self.store.create("namespaces", "", objects.fresh("namespaces", {"metadata": {"name": "godwit"}}))
        account = objects.fresh("serviceaccounts", {"metadata": {"name": "default"}})
        self.store.create("serviceaccounts", "godwit", account)
        self.paper = Paper(self, self.store, shapes)
        self.asked: set[tuple[str, str]] = set()
        """Verb and resource of every request, as access rules name them."""
        self.denied: set[tuple[str, str]] = set()
        """What the account may not do, as far as it asks: requests are let in all the same."""

    def routes(self) -> Sequence[BaseRoute]:
        """The core group's."""
        each, within = "/api/v1/{resource}", "/api/v1/namespaces/{namespace}/{resource}"
        every = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        routes: list[BaseRoute] = [Route(within + "/{name}/binding", self.answered, methods=["POST"])]
        routes.append(Route(f"{REVIEWS}/selfsubjectaccessreviews", self.reviewed, methods=["POST"]))
        for path in (within, each):
            routes += [
                Route(path, self.answered, methods=every),
                Route(path + "/{name}", self.answered, methods=every),
                Route(path + "/{name}/status", self.answered, methods=every),
            ]
        return routes

    def refusal(self, refused: Refused) -> Response:
        """A `Status`; the cloud's quota speaks as a resource quota does."""
        if refused.status == 404:
            return _failed(failures.no_such_path())
        words = {"quota_exceeded": f"exceeded quota: {refused}", "unauthorized": "Unauthorized"}
        code = refused.status if refused.status in {401, 403, 429, 503} else 400
        failure = Failure(code, words.get(refused.code, str(refused)), retry_after_s=refused.retry_after_s)
        return _failed(failure)

    def front(self, app: ASGIApp) -> ASGIApp:
        """Watches go past the base's front, which collects whole answers."""
        usual = super().front(app)

        async def either(scope: Scope, receive: Receive, send: Send) -> None:
            request = Request(scope, receive)
            watching = scope["type"] == "http" and request.query_params.get("watch") in {"true", "True", "1"}
            if watching and self.authorised(request):
                await self._watch(request)(scope, receive, send)
            else:
                await usual(scope, receive, send)

        return either

    # The routes.

    async def answered(self, request: Request) -> Response:
        """Any request but a watch."""
        body = await request.body()
        try:
            hidden = self.paper.advance()
            resource, namespace, name, part = self._place(request)
            if not name and request.method == "GET":
                return answer(self.store.page(resource, namespace, request.query_params, hidden))
            if not name and request.method == "POST":
                return answer(self._created(resource, namespace, _read(resource, body)), 201)
            if part == "binding":
                return answer(self._bound(namespace, name, json.loads(body)), 201)
            if not name or request.method == "POST" or (part and request.method == "DELETE"):
                told = "the server does not allow this method on the requested resource"
                raise Failure(405, told, details={})
            return answer(self._one(request, (resource, namespace, name), part, body))
        except Failure as failure:
            return _failed(failure)

    async def reviewed(self, request: Request) -> Response:
        """Whether the account has a right."""
        self.cloud.offers()  # where the cloud's faults strike
        review = await request.json()
        asked = review["spec"]["resourceAttributes"]
        allowed = (asked["verb"], asked["resource"]) not in self.denied
        return answer({**review, "status": {"allowed": allowed}}, 201)

    def _place(self, request: Request) -> tuple[str, str, str, str]:
        """Resource, namespace, name and part of what a request is about."""
        where = request.path_params
        if where["resource"] not in KINDS:
            raise failures.no_such_path()
        verb = "list" if request.method == "GET" and "name" not in where else _VERBS[request.method]
        self.asked.add((verb, where["resource"]))
        part = request.url.path.split("/")[-1] if "name" in where else ""
        return (
            where["resource"], where.get("namespace", ""), where.get("name", ""),
            part if request.url.path.endswith(f"{where.get('name')}/{part}") and part in {"status", "binding"} else "",
        )  # fmt: skip

    def _created(self, resource: str, namespace: str, body: Json) -> Json:
        validation.addressed(namespace, "", body.get("metadata") or {})
        made = objects.fresh(resource, body)
        meta = made["metadata"]
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = generated(meta["generateName"])
        if resource == "namespaces":
            meta["labels"] = {**(meta.get("labels") or {}), "kubernetes.io/metadata.name": meta["name"]}
        admission.admit(self.store, resource, namespace, made)
        if resource == "pods":
            return self.paper.made(namespace, made)
        return self.store.create(resource, namespace, made)

    def _one(self, request: Request, key: Key, part: str, body: bytes) -> Json:
        """Read, write, patch or delete one object, or its status."""
        if request.method == "GET":
            return self.store.get(key)
        if request.method == "DELETE":
            return self._deleted(key, request.query_params, json.loads(body or b"{}"))
        if request.method == "PUT":
            self.store.get(key)
            new = objects.canonical(_read(key[0], body), KINDS[key[0]])
            validation.addressed(key[1], key[2], new.get("metadata") or {})
            return self.store.update(key, new, part)
        content = request.headers.get("content-type", "")
        if content not in PATCHES:
            raise Failure(415, "415: Unsupported Media Type", details={})
        change = objects.canonical(json.loads(body), KINDS[key[0]])
        return self.store.patch(key, change, part, PATCHES[content])

    def _deleted(self, key: Key, query: Mapping[str, str], body: Json) -> Json:
        options: Json = {key: value for key, value in query.items() if key == "gracePeriodSeconds"} | body
        if options.get("gracePeriodSeconds") is not None:
            options["gracePeriodSeconds"] = int(options["gracePeriodSeconds"])
        ended = self.store.delete(key, options)
        if key[0] == "pods":
            self.paper.ended(ended)
        if key[0] != "nodes":
            return ended
        details = {"name": key[2], "kind": key[0], "uid": ended["metadata"]["uid"]}
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}

    def _bound(self, namespace: str, name: str, body: Json) -> Json:
        """What a scheduler posts: the pod gets its node, once."""
        target, meta = body.get("target") or {}, body.get("metadata") or {}
        if meta.get("name") not in {None, "", name}:
            raise Failure(400, "name in URL does not match name in Binding object")
        if not target.get("name"):
            raise Failure(500, "target.name: Required value")
        if target.get("kind", "Node") not in {"Node", ""}:
            given = target["kind"]
            raise Failure(500, f'target.kind: Unsupported value: "{given}": supported values: "Node", "<empty>"')
        key = ("pods", namespace, name)
        pod = self.store.get(key)
        if pod["metadata"].get("deletionTimestamp"):
            why = f"pod {name} is being deleted, cannot be assigned to a host"
            raise failures.conflict("pods/binding", name, why)
        if pod["spec"].get("nodeName"):
            why = f'pod {name} is already assigned to node "{pod["spec"]["nodeName"]}"'
            raise failures.conflict("pods/binding", name, why)
        self.paper.bind(key, target["name"])
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}

    # Watches.

    def _watch(self, request: Request) -> Response:
        parts = request.url.path.removeprefix("/api/v1/").split("/")
        namespace, resource = (parts[1], parts[2]) if len(parts) == 3 else ("", parts[0])
        query = dict(request.query_params)
        self.asked.add(("watch", resource))
        try:
            chosen, begins = Selection.of(resource, query), self.store.wanted(query, 500)
        except Failure as failure:
            return _failed(failure)
        told = self._told(resource, namespace, query, chosen, begins)
        return StreamingResponse((json.dumps(event) + "\n" async for event in told), media_type="application/json")

    async def _told(
        self, resource: str, namespace: str, query: Mapping[str, str], chosen: Selection, begins: int
    ) -> AsyncIterator[Json]:
        """The events, as they come; first what there is, where no version is named."""
        loop = asyncio.get_running_loop()
        ends, quiet_s, at = loop.time() + float(query.get("timeoutSeconds") or 60), 0.0, begins
        if not begins:
            with self.lock:
                at, present = self.store.version, self.store.all(resource, namespace)
            for each in present:
                if each in chosen:
                    yield {"type": "ADDED", "object": each}
        while loop.time() < ends:
            with self.lock:
                try:
                    events, upto = self.store.since(at, resource, namespace, chosen), self.store.version
                except Failure as failure:
                    yield {"type": "ERROR", "object": failure.status()}
                    return
            if not events and quiet_s >= BOOKMARK_EVERY_S and query.get("allowWatchBookmarks") and upto >= at:
                events = [{"type": "BOOKMARK", "object": _bookmark(resource, upto)}]
            quiet_s, at = (0.0 if events else quiet_s + 0.01), max(at, upto)
            for event in events:
                yield event
            await asyncio.sleep(0.01)


def _read(resource: str, body: bytes) -> Any:
    """The object in a request. Raises `Failure` 400 when it is none of that kind."""
    try:
        told = json.loads(body)
    except ValueError as exc:
        raise Failure(400, f"the object provided is unrecognized (must be of type {KINDS[resource]})") from exc
    validation.understand(resource, told)
    return told


def _bookmark(resource: str, version: int) -> Json:
    """An object with nothing in it but a version, and what its kind writes of nothing."""
    empty: Json = {"spec": {"containers": None}, "status": {}} if resource == "pods" else {}
    return {"kind": KINDS[resource], "apiVersion": "v1", "metadata": {"resourceVersion": str(version)}, **empty}


def _failed(failure: Failure) -> Response:
    headers = {} if failure.retry_after_s is None else {"Retry-After": f"{failure.retry_after_s:g}"}
    return JSONResponse(failure.status(), failure.code, headers)
