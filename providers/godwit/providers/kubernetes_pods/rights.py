"""What the account must be allowed, by what godwit does with it: deploy/kubernetes/rbac.yaml grants just that."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Right:
    """One verb on one resource: in the namespace, or `everywhere` in the cluster."""

    verb: str
    resource: str
    everywhere: bool = False


RIGHTS: Mapping[str, tuple[Right, ...]] = {
    "list": (Right("list", "nodes", everywhere=True), Right("list", "pods", everywhere=True)),
    # Without a watch a launch does not hear of the scheduler's refusal: it is found out later, from the listing.
    "launch": (Right("create", "pods"), Right("get", "pods"), Right("watch", "pods")),
    "terminate": (Right("delete", "pods"),),
    "read quotas": (Right("list", "resourcequotas"),),
}
