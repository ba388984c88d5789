"""What each refusal of an API server asks of the caller. The texts are those of kube-apiserver v1.36.2."""

import pytest
from godwit.domain.errors import (
    CredentialsRejected,
    ProviderError,
    ProviderUnavailable,
    QuotaExceeded,
    RateLimited,
    RequestRejected,
    UnknownOutcome,
)
from godwit.providers.kubernetes_pods import refusals

RIGHTS = (
    'pods "gw-1" is forbidden: User "system:serviceaccount:godwit:godwit" cannot get resource "pods" in API group ""'
    ' in the namespace "godwit"'
)
ALL = (
    'nodes is forbidden: User "system:serviceaccount:godwit:godwit" cannot list resource "nodes" in API group ""'
    " at the cluster scope"
)
QUOTA = (
    'pods "gw-1" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=8,'
    " used: requests.nvidia.com/gpu=4, limited: requests.nvidia.com/gpu=8"
)
NO_LIMIT = 'pods "gw-1" is forbidden: failed quota: cpu: must specify limits.cpu for: agent'
POLICY = (
    "pods \"gw-1\" is forbidden: ValidatingAdmissionPolicy 'p1' with binding 'b1' denied request: images cannot be"
    " unpinned"
)
SECURITY = (
    'pods "gw-1" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true (pod or container "agent"'
    " must set securityContext.runAsNonRoot=true)"
)
ENDING = 'pods "gw-1" is forbidden: unable to create new content in namespace godwit because it is being terminated'
ACCOUNT = (
    'pods "gw-1" is forbidden: error looking up service account godwit/default: serviceaccount "default" not found'
)
PRIORITY = 'pods "gw-1" is forbidden: no PriorityClass with name gpus was found'


@pytest.mark.parametrize(
    ("status", "reason", "said", "means"),
    [
        (401, "Unauthorized", "Unauthorized", CredentialsRejected),
        (403, "Forbidden", RIGHTS, CredentialsRejected),
        (403, "Forbidden", ALL, CredentialsRejected),
        (403, "Forbidden", "", CredentialsRejected),
        (403, "Forbidden", QUOTA, QuotaExceeded),
        (403, "Forbidden", NO_LIMIT, RequestRejected),
        (403, "Forbidden", POLICY, RequestRejected),
        (403, "Forbidden", SECURITY, RequestRejected),
        (403, "Forbidden", ENDING, RequestRejected),
        (403, "Forbidden", ACCOUNT, RequestRejected),
        (403, "Forbidden", PRIORITY, RequestRejected),
        (404, "NotFound", 'namespaces "godwit" not found', RequestRejected),
        (404, "", "", RequestRejected),
        (409, "AlreadyExists", 'pods "gw-1" already exists', refusals.Exists),
        (409, "Conflict", 'Operation cannot be fulfilled on Pod "gw-1": the UID in the precondition', refusals.Changed),
        (410, "Expired", "The provided continue parameter is too old to display a consistent list", refusals.Expired),
        (422, "Invalid", 'Pod "gw-1" is invalid: spec.containers: Required value', RequestRejected),
        (500, "", "strconv.ParseUint: parsing", ProviderUnavailable),
        (504, "Timeout", "Timeout: Too large resource version: 99, current: 7", ProviderUnavailable),
    ],
)
def test_a_refusal_is_sorted_by_what_to_do_next(
    status: int, reason: str, said: str, means: type[ProviderError]
) -> None:
    body = {"kind": "Status", "message": said, **({"reason": reason} if reason else {})}
    refused = refusals.read("k8s", status, body, {})
    assert type(refused) is means
    assert " ".join(said.split()) in str(refused)


def test_a_launch_that_a_server_fails_at_may_have_made_its_pod() -> None:
    assert type(refusals.read("k8s", 500, {}, {}, launching=True)) is UnknownOutcome
    assert type(refusals.read("k8s", 504, {"reason": "Timeout"}, {}, launching=True)) is UnknownOutcome


@pytest.mark.parametrize(("header", "wait_s"), [("3", 3.0), ("-1", 0.0), ("soon", 1.0), (None, 1.0)])
def test_a_server_that_is_busy_says_for_how_long(header: str | None, wait_s: float) -> None:
    refused = refusals.read("k8s", 429, {}, {} if header is None else {"Retry-After": header})
    assert isinstance(refused, RateLimited)
    assert refused.retry_after_s == wait_s
