"""The adapter to Kubernetes clusters: a launch is a pod, and the scheduler's verdict on it is the answer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from godwit.domain import errors
from godwit.domain.ids import InstanceId, ProviderName
from godwit.domain.offers import Instance, Offer
from godwit.providers import tags
from godwit.providers.kinds import Setup
from godwit.providers.kubernetes_pods import machine, room
from godwit.providers.kubernetes_pods.cluster import Cluster
from godwit.providers.kubernetes_pods.options import COREWEAVE, parse
from godwit.providers.kubernetes_pods.refusals import Changed, Exists
from godwit.providers.kubernetes_pods.rights import RIGHTS
from godwit.providers.protocol import Capabilities, LaunchRequest, Quota, Standing, StartupHook

Parsed = TypeVar("Parsed")

STARTUP_LIMIT_BYTES = 100_000
"""Linux passes at most 128 KiB (MAX_ARG_STRLEN, execve(2)) in one variable, and the script travels in one."""


def kubernetes_provider(setup: Setup) -> "KubernetesProvider":
    """Any conformant cluster."""
    return KubernetesProvider(setup, {})


def coreweave_provider(setup: Setup) -> "KubernetesProvider":
    """A cluster of CoreWeave's, with its labels and its InfiniBand."""
    return KubernetesProvider(setup, COREWEAVE)


class KubernetesProvider:
    """A `Provider` over one namespace of one cluster. Its instances are the pods there that carry our labels: whatever
    else runs in the cluster is no machine, and only takes up room."""

    def __init__(self, setup: Setup, usual: Mapping[str, Any]) -> None:
        self._name = ProviderName(setup.name)
        self._clock = setup.clock
        self._options = parse(setup.options, usual)
        self._cluster = Cluster(setup.name, self._options, setup.secrets.get("access", ""))

    def __repr__(self) -> str:
        return f"KubernetesProvider({self._cluster!r})"

    @property
    def name(self) -> ProviderName:
        """The name under which it is configured."""
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        """The pod's name makes a repeated launch harmless; spot, fabric and volumes are as configured."""
        options = self._options
        return Capabilities(
            spot=bool(options.spot_prices), fabric=options.fabric_label is not None,
            volumes=options.cache_claim is not None, client_token=True, startup=StartupHook.CONTAINER,
            startup_limit_bytes=STARTUP_LIMIT_BYTES,
        )  # fmt: skip

    def close(self) -> None:
        """Close its connections."""
        self._cluster.close()

    def check(self) -> Standing:
        """Read the namespace's quotas, and ask for each thing that godwit does whether the account may do it."""
        quotas = [
            Quota(resource, float(limit), float(limit - room.quantity((status.get("used") or {}).get(resource))))
            for status in (row.get("status") or {} for row in self._cluster.quotas())
            for resource, limit in ((name, room.quantity(text)) for name, text in (status.get("hard") or {}).items())
        ]
        account = f"namespace {self._cluster.namespace} at {self._cluster.host}"
        return Standing(account, self._permitted(), tuple(quotas))

    def offers(self) -> Sequence[Offer]:
        """What the nodes have free now; a size that fits nowhere at present has capacity 0."""
        nodes, pods = self._cluster.nodes(), self._cluster.live_pods()
        return self._read(lambda: room.offers(self._name, nodes, pods, self._options, self._clock.now()))

    def launch(self, request: LaunchRequest) -> Instance:
        """Make the pod and wait shortly for the scheduler: a pod that it refuses is taken back, and is no capacity."""
        if len(request.startup_script.encode()) > STARTUP_LIMIT_BYTES:
            raise errors.RequestRejected(f"{self._name}: the startup script exceeds {STARTUP_LIMIT_BYTES} bytes")
        wanted = machine.manifest(request, self._options)
        try:
            pod = self._cluster.create(wanted)
        except Exists:
            return self._made_before(wanted)
        except (errors.QuotaExceeded, errors.RequestRejected):
            # Names are compared last: a repeated launch is refused for the quota that its first one has taken up.
            if self._cluster.pod(wanted["metadata"]["name"]) is None:
                raise
            return self._made_before(wanted)
        if self._options.wait_s == 0:
            pod = self._judged(pod)
        return self._instance(pod)

    def instances(self) -> Sequence[Instance]:
        """Every pod of the namespace with a launch token, oldest first as far as whole seconds tell; ended ones stay
        until they are deleted."""
        pods = self._cluster.pods(tags.TOKEN)
        # After the pods, so that a node that is missing here is gone and not just new. Only where one is in doubt:
        # a cluster has thousands of nodes, and the list of them is large.
        doubtful = any(machine.in_doubt(pod) for pod in pods)
        nodes = {node["metadata"]["name"]: node for node in self._cluster.nodes()} if doubtful else None
        listed = [self._instance(pod, nodes) for pod in pods]
        return sorted(listed, key=lambda instance: (instance.created_at, instance.id))

    def terminate(self, instance_id: InstanceId) -> None:
        """Delete the pod; the kubelet gives it the configured grace."""
        self._cluster.delete(instance_id)

    def _permitted(self) -> tuple[str, ...]:
        try:
            return tuple(what for what, rights in RIGHTS.items() if all(map(self._cluster.allows, rights)))
        except (errors.CredentialsRejected, errors.RequestRejected):
            return ("read quotas",)  # nobody may ask here, and the quotas were read

    def _made_before(self, wanted: Mapping[str, Any]) -> Instance:
        name = wanted["metadata"]["name"]
        pod = self._cluster.pod(name)
        if pod is None:
            raise errors.UnknownOutcome(f"{self._name}: {name} was made before and has ended since")
        for marks, key in (("labels", tags.TOKEN), ("labels", tags.OWNER), ("annotations", machine.SHAPE)):
            if (pod["metadata"].get(marks) or {}).get(key) != wanted["metadata"][marks][key]:
                raise errors.RequestRejected(f"{self._name}: {name} was made before, for a different launch")
        return self._instance(pod)

    def _judged(self, pod: dict[str, Any]) -> dict[str, Any]:
        """The pod once it has a node or the verdict took too long. Raises `NoCapacity` once it is taken back."""
        for seen in self._cluster.changes(pod, self._options.verdict_s):
            why = machine.unschedulable(seen)
            if why is not None:
                return self._taken_back(seen, why)
            if machine.scheduled(seen):
                return seen
        return pod

    def _taken_back(self, pod: dict[str, Any], why: str) -> dict[str, Any]:
        name = pod["metadata"]["name"]
        try:
            self._cluster.delete(name, unchanged=pod)
        except Changed:
            return pod  # it found a node just now, perhaps: listings will tell
        except errors.ProviderError as exc:
            message = f"{self._name}: no capacity ({why}), but {name} may be left: {exc.message}"
            raise errors.UnknownOutcome(message) from exc
        raise errors.NoCapacity(f"{self._name}: no capacity: {why}")

    def _instance(self, pod: Mapping[str, Any], nodes: Mapping[str, Mapping[str, Any]] | None = None) -> Instance:
        now, wait_s = self._clock.now(), self._options.wait_s
        return self._read(lambda: machine.instance_of(self._name, pod, nodes, now, wait_s))

    def _read(self, read: Callable[[], Parsed]) -> Parsed:
        try:
            return read()
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise errors.ProviderUnavailable(f"{self._name} sent an object that cannot be read: {exc}") from exc
