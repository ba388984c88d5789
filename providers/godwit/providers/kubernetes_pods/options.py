"""What an entry of the configuration says about one cluster, and what differs between clouds that sell clusters."""

from collections.abc import Mapping
from typing import Annotated, Any

from godwit.domain.errors import InvalidRequest, Problem
from godwit.domain.wire import plain_yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1)]


def _told(value: Any) -> Any:
    """What the command line hands over as text is YAML, such as "{H100-SXM: 2.5}"."""
    try:
        return plain_yaml.load(value) if isinstance(value, str) else value
    except plain_yaml.NotPlain as wrong:
        raise ValueError(f"this is not YAML: {wrong}") from wrong


Written = BeforeValidator(_told)
Labels = Annotated[dict[Name, str], Written]
Prices = Annotated[dict[Name, Price], Written]
Names = Annotated[list[Name], Written]

GPU_LABELS = (
    "nvidia.com/gpu.product",
    "amd.com/gpu.product-name",
    "gpu.nvidia.com/class",
    "cloud.google.com/gke-accelerator",
    "karpenter.k8s.aws/instance-gpu-name",
    "nebius.com/gpu-name",
    "skypilot.co/accelerator",
)
"""Node labels that name the GPU model: GPU feature discovery's, then those of clouds. The first found counts."""

SPOT_LABELS: Mapping[str, str] = {
    "cloud.google.com/gke-spot": "true",
    "karpenter.sh/capacity-type": "spot",
    "eks.amazonaws.com/capacityType": "SPOT",
    "kubernetes.azure.com/scalesetpriority": "spot",
}
"""How clouds mark nodes that they may take back."""


class Options(BaseModel):
    """One cluster's options, as `kubernetes_pods.OPTIONS` explains them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str | None = None
    context: str | None = None
    ca_file: str | None = None
    timeout_s: Positive = 20.0
    verdict_s: Positive = 3.0
    wait_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    namespace: Name = "godwit"
    image: Name
    prices: Prices
    spot_prices: Prices = {}
    gpu_labels: Names = []
    selectors: Annotated[dict[Name, Labels], Written] = {}
    tolerations: Annotated[list[dict[str, Any]], Written] = []
    spot_labels: Labels = dict(SPOT_LABELS)
    fabric_label: str | None = None
    rdma: str | None = None
    cpus_per_gpu: Positive | None = None
    memory_gib_per_gpu: Positive | None = None
    shared_memory_gib_per_gpu: Positive = 8.0
    priority_class: str | None = None
    pull_secrets: Names = []
    cache_claim: str | None = None
    labels: Labels = {}
    grace_s: Annotated[int, Field(ge=0)] = 30

    def price_usd_per_hour(self, model: str, gpus: int, *, spot: bool) -> float | None:
        """What that many GPUs cost; None when no price is given, and so nothing is offered."""
        price = (self.spot_prices if spot else self.prices).get(model)
        return None if price is None else round(price * gpus, 6)

    def model_labels(self) -> tuple[str, ...]:
        """The node labels that name the GPU model, the operator's own first."""
        return (*self.gpu_labels, *(label for label in GPU_LABELS if label not in self.gpu_labels))


COREWEAVE: Mapping[str, Any] = {
    "fabric_label": "ib.coreweave.cloud/fabric",
    "rdma": "rdma/ib",
    # CoreWeave labels spot nodes in no way of its own (docs.coreweave.com, Spot Node Pools, 2026-08), so a node pool
    # with `computeClass: spot` is to carry this one under `spec.nodeLabels`.
    "spot_labels": {"godwit-spot": "true"},
}
"""What CoreWeave's clusters have unless the configuration says otherwise."""


def parse(given: Mapping[str, Any], usual: Mapping[str, Any]) -> Options:
    """The options with a cloud's usual ones beneath. Raises `InvalidRequest` with the path of what is wrong."""
    try:
        return Options.model_validate({**usual, **given})
    except ValidationError as wrong:
        problems = [Problem(tuple(error["loc"]), f"{error['msg']}: {_path(error['loc'])}") for error in wrong.errors()]
        raise InvalidRequest(problems=problems) from None  # pydantic's own text quotes the values


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)
