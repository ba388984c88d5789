"""The access rules in deploy/ are what the provider needs: all of it, and nothing else."""

from pathlib import Path

import pytest
import yaml
from godwit.domain.errors import NoCapacity
from godwit.domain.ids import InstanceId
from godwit.providers.kubernetes_pods.provider import kubernetes_provider
from godwit.providers.kubernetes_pods.rights import RIGHTS

from tests.contract.rigs import SLEEP
from tests.emulators.kubernetes_pods.cluster import TestCluster
from tests.emulators.kubernetes_pods.emulator import KubernetesEmulator
from tests.emulators.kubernetes_pods.rig import OPTIONS, SHAPES
from tests.emulators.rigs import emulated

RULES = Path(__file__).parents[3] / "deploy" / "kubernetes" / "rbac.yaml"


def _granted(kind: str) -> set[tuple[str, str]]:
    roles = [each for each in yaml.safe_load_all(RULES.read_text()) if each["kind"] == kind]
    rules = [rule for role in roles for rule in role["rules"]]
    return {(verb, resource) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}


def test_the_rules_grant_what_the_provider_asks_for_and_no_more() -> None:
    emulator = KubernetesEmulator(SHAPES)
    for rig in emulated(emulator, kubernetes_provider, OPTIONS, secret="access"):
        request = rig.request("token-1", SLEEP)
        rig.provider.check()
        rig.provider.launch(request)
        rig.provider.launch(request)
        rig.provider.instances()
        with pytest.raises(NoCapacity):
            rig.launch_many(request, 20)
        rig.provider.terminate(InstanceId("gw-token-1"))
    assert emulator.asked == _granted("Role") | _granted("ClusterRole")
    assert _granted("ClusterRole") == {("list", "nodes"), ("list", "pods")}
    assert not _granted("Role") & _granted("ClusterRole"), "nothing is granted twice"


def test_what_is_checked_is_what_the_rules_grant() -> None:
    rights = [right for rights in RIGHTS.values() for right in rights]
    for kind, everywhere in (("Role", False), ("ClusterRole", True)):
        assert {(r.verb, r.resource) for r in rights if r.everywhere is everywhere} == _granted(kind)


def test_a_check_says_what_the_account_may_do(cluster: TestCluster) -> None:
    assert cluster.build().check().permitted == ("list", "launch", "terminate", "read quotas")


@pytest.mark.parametrize(
    ("denied", "permitted"),
    [
        (("watch", "pods"), ("list", "terminate", "read quotas")),
        (("list", "nodes"), ("launch", "terminate", "read quotas")),
        (("delete", "pods"), ("list", "launch", "read quotas")),
    ],
)
def test_a_right_that_is_missing_shows_in_the_check(denied: tuple[str, str], permitted: tuple[str, ...]) -> None:
    emulator = KubernetesEmulator(SHAPES)
    emulator.denied.add(denied)
    for rig in emulated(emulator, kubernetes_provider, OPTIONS, secret="access"):
        assert rig.provider.check().permitted == permitted
