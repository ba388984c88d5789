"""The adapter to Nebius AI Cloud by its SDK, over gRPC."""

import hashlib
import re
import threading
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from godwit.domain import errors
from godwit.domain.errors import InvalidRequest, Problem
from godwit.domain.ids import InstanceId, ProviderName
from godwit.domain.offers import Instance, InstanceState, Offer
from godwit.providers import tags
from godwit.providers.kinds import Setup
from godwit.providers.nebius import market, words
from godwit.providers.nebius.account import PAGE_SIZE, Account
from godwit.providers.protocol import Capabilities, LaunchRequest, Quota, Standing
from nebius.api.nebius.common.v1 import GetByNameRequest, ResourceMetadata
from nebius.api.nebius.compute.v1 import (
    AttachedDiskSpec,
    CreateInstanceRequest,
    DeleteInstanceRequest,
    DiskSpec,
    InstanceGpuClusterSpec,
    InstanceServiceClient,
    InstanceSpec,
    IPAddress,
    ListInstancesRequest,
    ManagedDisk,
    NetworkInterfaceSpec,
    PublicIPAddress,
    SourceImageFamily,
)
from nebius.api.nebius.iam.v1 import GetProjectRequest, ProjectServiceClient
from nebius.api.nebius.quotas.v1 import ListQuotaAllowancesRequest, QuotaAllowanceServiceClient
from nebius.api.nebius.vpc.v1 import ListSubnetsRequest, SubnetServiceClient

IMAGE_FAMILY = "ubuntu24.04-cuda12"
DISK_GIB = 200.0

PRICE_LABEL = "godwit-price"
"""What the machine cost an hour when it was bought: the listing does not say."""

_NAME = re.compile(r"[a-z][a-z0-9-]{2,62}")
"""Names of this form are safe; a token of another goes in as its digest."""


class NebiusProvider:
    """A `Provider` over the configured projects of one tenant. Ended machines leave the lists, so absent means gone."""

    def __init__(self, setup: Setup) -> None:
        self._name = ProviderName(setup.name)
        self._clock = setup.clock
        self._project_ids = _projects(setup)
        self._gpu_clusters = _gpu_clusters(setup)
        self._image_family = str(setup.options.get("image_family", IMAGE_FAMILY))
        self._disk_gib = int(setup.positive("disk_gib", DISK_GIB, "number of GiB"))
        timeout_s = setup.seconds("timeout_s", 20.0)
        self._account = Account(setup.name, setup.secrets, setup.options.get("url"), timeout_s, setup.clock)
        self._known: dict[str, market.Project] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"NebiusProvider({self._name!r}, {self._project_ids})"

    @property
    def name(self) -> ProviderName:
        """The name under which it is configured."""
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        """Dedupes launches; preemptible machines; InfiniBand in a GPU cluster; 32,768 characters of user data."""
        return Capabilities(spot=True, fabric=bool(self._gpu_clusters), client_token=True, startup_limit_bytes=32_768)

    def close(self) -> None:
        """Close its connections."""
        self._account.close()

    def check(self) -> Standing:
        """Read the projects, and the quotas of GPUs where that is allowed."""
        projects = [self._read_project(project_id) for project_id in self._project_ids]
        quotas: list[Quota] = []
        try:
            for tenant in dict.fromkeys(project.tenant for project in projects):
                quotas += self._quotas(tenant)
        except errors.CredentialsRejected:
            return Standing(", ".join(self._project_ids), ("read projects",))
        return Standing(", ".join(self._project_ids), ("read projects", "read quotas"), tuple(quotas))

    def offers(self) -> Sequence[Offer]:
        """One offer per type with GPUs, region and market, with what is to be had as its capacity advisor says."""
        now = self._clock.now()
        found: list[Offer] = []
        for project_id in self._project_ids:
            project = self._project(project_id)
            with words.translated(self._name):
                found += market.offers(self._account, self._name, project, now)
        return found

    def launch(self, request: LaunchRequest) -> Instance:
        """Buy one machine with its boot disk, under a key and a name made from the token: it is bought once."""
        if len(request.startup_script.encode()) > self.capabilities.startup_limit_bytes:
            raise errors.RequestRejected(f"{self._name}: the startup script exceeds Nebius' 32768 characters")
        project = self._project_in(request.offer.region)
        order = self._order(project, request)
        key = str(uuid.uuid5(uuid.NAMESPACE_URL, f"godwit:{request.owner}:{request.token}"))
        try:
            operation = self._account.ask(InstanceServiceClient, "create", order, launching=True, key=key)
        except words.NameTaken as taken:
            return self._bought_before(project, request, taken)
        with words.translated(self._name, launching=True):
            if operation.done() and not operation.successful():
                raise words.refusal(self._name, operation.status(), launching=True)
            instance_id = InstanceId(operation.resource_id)
        offer = request.offer
        return Instance(
            instance_id, self._name, InstanceState.PROVISIONING, offer.region, None, offer.instance_type, request.token,
            request.owner, offer.spot, offer.price_usd_per_hour, self._clock.now(), "CREATING",
        )  # fmt: skip

    def instances(self) -> Sequence[Instance]:
        """Every machine of the configured projects."""
        return [instance for project_id in self._project_ids for instance in self._machines(self._project(project_id))]

    def terminate(self, instance_id: InstanceId) -> None:
        """Delete a machine and the boot disk that it brought; an unknown one is no error."""
        try:
            self._account.ask(InstanceServiceClient, "delete", DeleteInstanceRequest(id=instance_id))
        except errors.RequestRejected as rejected:
            if not words.is_not_found(rejected):
                raise

    def _machines(self, project: market.Project) -> list[Instance]:
        rows = self._account.every(
            InstanceServiceClient,
            lambda token: ListInstancesRequest(parent_id=project.id, page_size=PAGE_SIZE, page_token=token),
        )
        with words.translated(self._name):
            return [self._instance(project, row) for row in rows]

    def _bought_before(self, project: market.Project, request: LaunchRequest, taken: words.NameTaken) -> Instance:
        """The machine that has the name already, if it is what is asked for now."""
        asked = GetByNameRequest(parent_id=project.id, name=_name(request.token))
        row = self._account.ask(InstanceServiceClient, "get_by_name", asked, launching=True)
        with words.translated(self._name, launching=True):
            found = self._instance(project, row)
        if (found.token, found.instance_type, found.spot) != (
            request.token, request.offer.instance_type, request.offer.spot
        ):  # fmt: skip
            raise taken
        return found

    def _order(self, project: market.Project, request: LaunchRequest) -> CreateInstanceRequest:
        name = _name(request.token)
        labels = {
            tags.TOKEN: request.token, tags.OWNER: request.owner, PRICE_LABEL: repr(request.offer.price_usd_per_hour)
        }  # fmt: skip
        spec = market.bare_spec(request.offer)
        spec.boot_disk = self._boot_disk(name, labels)
        spec.network_interfaces = [
            NetworkInterfaceSpec(
                name="eth0", subnet_id=project.subnet, ip_address=IPAddress(), public_ip_address=PublicIPAddress()
            )
        ]
        spec.cloud_init_user_data = request.startup_script
        if request.offer.fabric_domain is not None:
            spec.gpu_cluster = InstanceGpuClusterSpec(id=request.offer.fabric_domain)
        return CreateInstanceRequest(
            metadata=ResourceMetadata(parent_id=project.id, name=name, labels=labels), spec=spec
        )

    def _boot_disk(self, name: str, labels: Mapping[str, str]) -> AttachedDiskSpec:
        """A disk that is made and deleted with the machine: one of its own would stay behind, on the bill."""
        disk = DiskSpec(
            type=DiskSpec.DiskType.NETWORK_SSD,
            size_gibibytes=self._disk_gib,
            source_image_family=SourceImageFamily(image_family=self._image_family),
        )
        return AttachedDiskSpec(
            attach_mode=AttachedDiskSpec.AttachMode.READ_WRITE,
            managed_disk=ManagedDisk(name=f"{name[:58]}-boot", labels=labels, spec=disk),
        )

    def _instance(self, project: market.Project, row: Any) -> Instance:
        spec: InstanceSpec = row.spec
        labels = row.metadata.labels
        word = row.status.state.name
        state = words.STATES.get(word, InstanceState.UNKNOWN)
        if state is InstanceState.STOPPED and row.status.reconciling:
            state = InstanceState.PROVISIONING  # how a machine that has just been ordered looks at first
        created_at = row.metadata.created_at
        return Instance(
            id=InstanceId(row.metadata.id),
            provider=self._name,
            state=state,
            region=project.region,
            zone=None,
            instance_type=f"{spec.resources.platform}{market.BETWEEN}{spec.resources.preset}",
            token=labels.get(tags.TOKEN),
            owner=labels.get(tags.OWNER),
            spot=spec.check_presence("preemptible"),
            price_usd_per_hour=_price(labels.get(PRICE_LABEL)),
            created_at=created_at.timestamp() if created_at is not None else 0.0,
            detail=word,
        )

    def _project_in(self, region: str) -> market.Project:
        for project_id in self._project_ids:
            project = self._project(project_id)
            if project.region == region:
                return project
        raise errors.RequestRejected(f"{self._name}: none of the configured projects is in {region}")

    def _project(self, project_id: str) -> market.Project:
        """A project; neither its region nor its subnet changes, so it is read once."""
        with self._lock:
            known = self._known.get(project_id)
        if known is None:
            known = self._read_project(project_id)
            with self._lock:
                self._known[project_id] = known
        return known

    def _read_project(self, project_id: str) -> market.Project:
        row = self._account.ask(ProjectServiceClient, "get", GetProjectRequest(id=project_id))
        subnets = self._account.every(
            SubnetServiceClient,
            lambda token: ListSubnetsRequest(parent_id=project_id, page_size=PAGE_SIZE, page_token=token),
        )
        if not subnets:
            raise errors.CredentialsRejected(f"{self._name}: {project_id} has no subnet for machines; make one there")
        with words.translated(self._name):
            return market.Project(
                project_id, row.status.region, row.metadata.parent_id, subnets[0].metadata.id,
                self._gpu_clusters.get(project_id),
            )  # fmt: skip

    def _quotas(self, tenant: str) -> list[Quota]:
        rows = self._account.every(
            QuotaAllowanceServiceClient,
            lambda token: ListQuotaAllowancesRequest(parent_id=tenant, page_size=PAGE_SIZE, page_token=token),
        )
        with words.translated(self._name):
            return [
                Quota(f"{row.spec.region}: {row.metadata.name}", row.spec.limit, row.spec.limit - row.status.usage)
                for row in rows
                if "gpu" in row.metadata.name
            ]


def _name(token: str) -> str:
    return token if _NAME.fullmatch(token) else "gw-" + hashlib.sha256(token.encode()).hexdigest()[:40]


def _price(text: str | None) -> float:
    """The price in a label; 0 for a machine of somebody else, or when a person has changed the label."""
    try:
        return float(text or 0.0)
    except ValueError:
        return 0.0


def _projects(setup: Setup) -> tuple[str, ...]:
    value = setup.options.get("projects")
    if not isinstance(value, list | tuple) or not value or not all(isinstance(name, str) and name for name in value):
        what = f"projects must be a list of project ids, not {value!r}"
        raise InvalidRequest(problems=[Problem(("projects",), what, ("[project-e00...]",))])
    return tuple(dict.fromkeys(value))


def _gpu_clusters(setup: Setup) -> dict[str, str]:
    value = setup.options.get("gpu_clusters", {})
    if not isinstance(value, Mapping):
        what = f"gpu_clusters must map projects to ids of GPU clusters, not {value!r}"
        raise InvalidRequest(problems=[Problem(("gpu_clusters",), what)])
    return {str(key): str(cluster) for key, cluster in value.items()}
