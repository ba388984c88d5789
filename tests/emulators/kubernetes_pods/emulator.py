"""A small Kubernetes API server: identity, versions, conflicts, selectors, paging, status, watches and quotas.

With shapes it is a whole cluster on paper: each unit of a shape's capacity is a node, the `Cloud` behind it schedules
pods and runs them. Without, it only keeps objects, and whoever uses it plays scheduler and kubelet, as with a real API
server on its own. Traps: creating a pod that fits nowhere succeeds; a page may be shorter than asked for; continue
tokens and watches expire (410); a bound pod's deletion is only a beginning; 403 means three things; two dollars in a
variable's value become one.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence

from godwit.providers.simulated.catalogue import Shape
from godwit.providers.simulated.vendor import Refused
from kubernetes import client
from kubernetes.utils.quantity import parse_quantity
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.emulators.emulator import Emulator, answer
from tests.emulators.kubernetes_pods.store import Failure, Json, Key, Store

NAMESPACED = ("pods", "resourcequotas", "serviceaccounts")
BOOKMARK_EVERY_S = 0.2
"""A real server sends one about every minute."""

_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_PHASES = {"provisioning": "Pending", "running": "Running", "failed": "Failed"}


class KubernetesEmulator(Emulator):
    """The API server; see the module."""

    def __init__(self, shapes: Sequence[Shape] = (), page_limit: int = 2) -> None:
        super().__init__(shapes, page_limit=page_limit)
        self.store = Store(self.clock.now, page_limit)
        self.store.create("namespaces", "", {"metadata": {"name": "godwit"}})
        self.asked: set[tuple[str, str]] = set()
        """Verb and resource of every request, as access rules name them."""
        for shape in shapes:
            for number in range(shape.capacity):
                self.store.create("nodes", "", _node(shape, number))

    def routes(self) -> Sequence[BaseRoute]:
        """The core group's."""
        each, within = "/api/v1/{resource}", "/api/v1/namespaces/{namespace}/{resource}"
        routes: list[BaseRoute] = []
        for path in (within, each):
            routes += [
                Route(path, self.listed, methods=["GET"]),
                Route(path, self.created, methods=["POST"]),
                Route(path + "/{name}", self.one, methods=["GET", "PUT", "PATCH", "DELETE"]),
                Route(path + "/{name}/status", self.one, methods=["GET", "PUT", "PATCH"]),
            ]
        binding = Route(within + "/{name}/binding", self.bound, methods=["POST"])
        return [binding, *routes]

    def refusal(self, refused: Refused) -> Response:
        """A `Status`; the cloud's quota speaks as a resource quota does."""
        words = {"quota_exceeded": f"exceeded quota: {refused}", "unauthorized": "Unauthorized"}
        code = refused.status if refused.status in {401, 403, 404, 429, 503} else 400
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

    async def listed(self, request: Request) -> Response:
        """One page; what a lagging list does not have yet is left out."""
        hidden = self._advance()
        resource, namespace = self._place(request)
        try:
            return answer(self.store.page(resource, namespace, request.query_params, hidden))
        except Failure as failure:
            return _failed(failure)

    async def created(self, request: Request) -> Response:
        """A new object; of a pod in a cluster on paper, the scheduler has seen it when this is answered."""
        self._advance()
        resource, namespace = self._place(request)
        body = await request.json()
        try:
            if namespace and resource != "namespaces":
                self.store.get(("namespaces", "", namespace))
            if resource != "pods":
                return answer(self.store.create(resource, namespace, body), 201)
            return answer(self._made_pod(namespace, body), 201)
        except Failure as failure:
            return _failed(failure)

    async def one(self, request: Request) -> Response:
        """Read, write, patch or delete one object, or its status."""
        self._advance()
        resource, namespace = self._place(request)
        key = (resource, namespace, request.path_params["name"])
        part = "status" if request.url.path.endswith("/status") else ""
        body = await request.body()
        try:
            if request.method == "GET":
                return answer(self.store.get(key))
            if request.method == "PUT":
                return answer(self.store.update(key, json.loads(body), part))
            if request.method == "PATCH":
                strategic = "strategic" in request.headers["content-type"]
                return answer(self.store.patch(key, json.loads(body), part, strategic))
            return answer(self._deleted(key, {**dict(request.query_params), **json.loads(body or b"{}")}))
        except Failure as failure:
            return _failed(failure)

    async def bound(self, request: Request) -> Response:
        """What a scheduler posts: the pod gets its node."""
        _, namespace = self._place(request)
        try:
            self._bind(("pods", namespace, request.path_params["name"]), (await request.json())["target"]["name"])
        except Failure as failure:
            return _failed(failure)
        return answer({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201)

    def _place(self, request: Request) -> tuple[str, str]:
        verb = _VERBS[request.method]
        if verb == "get" and "name" not in request.path_params:
            verb = "list"
        self.asked.add((verb, request.path_params["resource"]))
        return request.path_params["resource"], request.path_params.get("namespace", "")

    def _watch(self, request: Request) -> Response:
        parts = request.url.path.removeprefix("/api/v1/").split("/")
        namespace, resource = (parts[1], parts[2]) if len(parts) == 3 else ("", parts[0])
        query = dict(request.query_params)
        self.asked.add(("watch", resource))

        async def lines() -> AsyncIterator[str]:
            ends = asyncio.get_running_loop().time() + float(query.get("timeoutSeconds") or 60)
            at, quiet_s = int(query.get("resourceVersion") or self.store.version), 0.0
            while asyncio.get_running_loop().time() < ends:
                with self.lock:
                    try:
                        events, upto = self.store.since(at, resource, namespace, query), self.store.version
                    except Failure as failure:
                        yield json.dumps({"type": "ERROR", "object": failure.status()}) + "\n"
                        return
                if not events and quiet_s >= BOOKMARK_EVERY_S and query.get("allowWatchBookmarks"):
                    events = [{"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(upto)}}}]
                quiet_s, at = (0.0 if events else quiet_s + 0.01), upto
                for event in events:
                    yield json.dumps(event) + "\n"
                await asyncio.sleep(0.01)

        return StreamingResponse(lines(), media_type="application/json")

    # Pods.

    def _made_pod(self, namespace: str, body: Json) -> Json:
        """The client's own models say whether it is a pod at all, where they can (from its version 37 on)."""
        if hasattr(client.V1Pod, "from_dict"):
            client.V1Pod.from_dict(body)
        self._check_quota(namespace, body)
        name = body["metadata"].get("name")
        if name and any(pod["metadata"]["name"] == name for pod in self.store.all("pods", namespace)):
            raise Failure(409, f'pods "{name}" already exists', "AlreadyExists")
        placed = self._scheduled(body) if self.cloud.settings.shapes else None
        if self.cloud.settings.shapes:
            self.clock.advance(1.0)  # creation timestamps are whole seconds, and tell which was first
        made = self.store.create("pods", namespace, {**body, "status": {"phase": "Pending", "qosClass": "Burstable"}})
        key = ("pods", namespace, made["metadata"]["name"])
        if isinstance(placed, str):
            self._condition(key, "PodScheduled", "False", "Unschedulable", placed)
        elif placed is not None:
            self.store.patch(key, {"metadata": {"annotations": {"rental": placed["id"]}}}, "", strategic=False)
            self._bind(key, self._free_node(placed["instance_type"].split(":")[0]))
        return made

    def _free_node(self, product: str) -> str:
        taken = {pod["spec"].get("nodeName") for pod in self.store.all("pods")}
        return next(
            str(node["metadata"]["name"])
            for node in self.store.all("nodes")
            if node["metadata"]["name"] not in taken and node["metadata"]["labels"]["nvidia.com/gpu.product"] == product
        )

    def _scheduled(self, body: Json) -> Json | str:
        """The machine that the cloud gives, or why there is none: what no node fits stays pending, as any pod does."""
        terms = body["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        demands = [demand for term in terms["nodeSelectorTerms"] for demand in term["matchExpressions"]]
        wanted = {demand["values"][0] for demand in demands if demand["operator"] == "In"}
        shape = next((s for s in self.cloud.settings.shapes if s.instance_type.split(":")[0] in wanted), None)
        if shape is None:
            self.cloud.offers()
            return "0/5 nodes are available: 5 node(s) didn't match Pod's node affinity/selector."
        try:
            return self.launch(shape, body["metadata"]["labels"])
        except Refused as refused:
            if refused.code != "no_capacity":
                raise
            return "0/5 nodes are available: 5 Insufficient nvidia.com/gpu."

    def _bind(self, key: Key, node: str) -> None:
        self.store.patch(key, {"spec": {"nodeName": node}}, "", strategic=False)
        self._condition(key, "PodScheduled", "True", None, None)

    def _condition(self, key: Key, kind: str, status: str, reason: str | None, said: str | None) -> None:
        told = {"type": kind, "status": status, "lastTransitionTime": self.store.stamp()}
        told |= {} if reason is None or said is None else {"reason": reason, "message": said}
        self.store.patch(key, {"status": {"conditions": [told]}}, "status", strategic=True)

    def _deleted(self, key: Key, options: Json) -> Json:
        """Of a pod with a machine behind it, the machine's end begins too."""
        if "gracePeriodSeconds" in options:
            options["gracePeriodSeconds"] = int(options["gracePeriodSeconds"])
        ended = self.store.delete(key, options)
        rental = (ended["metadata"].get("annotations") or {}).get("rental")
        if rental:
            self.cloud.terminate(rental)
        return ended

    def _check_quota(self, namespace: str, body: Json) -> None:
        """What the admission of resource quotas does, for requests of GPUs."""
        for quota in self.store.all("resourcequotas", namespace):
            name, counted = quota["metadata"]["name"], "requests.nvidia.com/gpu"
            hard = (quota.get("status") or {}).get("hard", {}).get(counted)
            if hard is None:
                continue
            used, asked = sum(_gpus(pod) for pod in self.store.all("pods", namespace)), _gpus(body)
            if used + asked > parse_quantity(hard):
                told = f"requested: {counted}={asked}, used: {counted}={used}, limited: {counted}={hard}"
                raise Failure(403, f'pods "x" is forbidden: exceeded quota: {name}, {told}')

    def _advance(self) -> set[str]:
        """Bring pods in line with the machines behind them, as kubelets do; also where the cloud's faults strike.

        Returns the names of those that are too new for a lagging list.
        """
        hidden: set[str] = set()
        rows = {row["id"]: row for row in self.rows()}
        live = set(self.cloud.live())
        for pod in self.store.all("pods"):
            rental = (pod["metadata"].get("annotations") or {}).get("rental")
            key = ("pods", pod["metadata"]["namespace"], pod["metadata"]["name"])
            if rental is None:
                continue
            if rental not in rows and rental in live:
                hidden.add(pod["metadata"]["name"])
                continue
            state = rows[rental]["state"] if rental in rows else "terminated"
            if state == "terminated":
                self.store.put("DELETED", key, pod)
            elif state != "stopping":
                ready = {"type": "Ready", "status": "True" if state == "running" else "False"}
                status = {"phase": _PHASES.get(state, state), "conditions": [ready]}
                self.store.patch(key, {"status": status}, "status", strategic=True)
        return hidden


def _gpus(pod: Json) -> int:
    containers = pod["spec"]["containers"]
    return sum(int((c.get("resources", {}).get("limits") or {}).get("nvidia.com/gpu", 0)) for c in containers)


def _node(shape: Shape, number: int) -> Json:
    product = shape.instance_type.split(":")[0]
    labels = {"topology.kubernetes.io/region": shape.region, "nvidia.com/gpu.product": product}
    labels["nvidia.com/gpu.memory"] = str(int(shape.gpu_memory_gib * 1024))
    memory = f"{int(shape.memory_gib)}Gi"
    allocatable = {"cpu": str(shape.cpus), "memory": memory, "nvidia.com/gpu": str(shape.gpu_count)}
    status = {"allocatable": allocatable, "conditions": [{"type": "Ready", "status": "True"}]}
    return {"metadata": {"name": f"{product.lower()}-{number}", "labels": labels}, "spec": {}, "status": status}


def _failed(failure: Failure) -> Response:
    headers = {} if failure.retry_after_s is None else {"Retry-After": f"{failure.retry_after_s:g}"}
    return JSONResponse(failure.status(), failure.code, headers)
