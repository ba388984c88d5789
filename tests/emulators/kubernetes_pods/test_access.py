"""The access rules in deploy/ are what the provider needs: all of it, and nothing else."""

from pathlib import Path

import pytest
import yaml
from godwit.domain.errors import NoCapacity
from godwit.domain.ids import InstanceId
from godwit.providers.kubernetes_pods.provider import kubernetes_provider

from tests.contract.rigs import SLEEP
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
