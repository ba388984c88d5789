"""The pod that a launch becomes, and how its container starts."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from godwit.domain.errors import RequestRejected
from godwit.domain.ids import ProviderName
from godwit.domain.offers import Offer
from godwit.providers.kubernetes_pods import machine
from godwit.providers.kubernetes_pods.options import parse
from godwit.providers.protocol import LaunchRequest

OFFER = Offer(ProviderName("k8s"), "east", None, "NVIDIA-A10:1", "A10", 1, 24.0, 8, 32.0, 0.75)
OPTIONS = parse({"image": "godwit:1", "prices": {"A10": 0.75}}, {})


def _request(script: str = "true", token: str = "token-1", owner: str = "owner-1") -> LaunchRequest:
    return LaunchRequest(OFFER, token, owner, script)


def test_the_container_runs_the_script_as_it_was_given_and_hides_it_from_what_comes_later(tmp_path: Path) -> None:
    script = '#!/bin/sh\ntries=$((1 + 1))\necho "$tries of $$ ${GODWIT_STARTUP-hidden} $(umask)"\n'
    start = machine.START.replace("/gw/", f"{tmp_path}/")
    env = {**os.environ, "GODWIT_STARTUP": machine.escaped(script).replace("$$", "$")}  # as the kubelet reads it
    mask = os.umask(0o022)
    os.umask(mask)
    ran = subprocess.run(["/bin/sh", "-c", start], env=env, capture_output=True, text=True, check=True, timeout=10)
    tries, of, pid, seen, umask = ran.stdout.split()
    assert (tries, of, seen) == ("2", "of", "hidden")
    assert pid.isdecimal()
    assert int(umask, 8) == mask, "jobs keep the usual umask"
    assert (tmp_path / "startup").read_text() == script
    assert (tmp_path / "startup").stat().st_mode & 0o077 == 0, "it holds a join token"


def test_a_name_is_one_that_kubernetes_takes_and_differs_with_the_token() -> None:
    assert machine.name_of("intent-0abc") == "gw-intent-0abc"
    odd = [machine.name_of(token) for token in ("Token", "token.1", "x" * 200, "-x", "")]
    assert len(set(odd)) == len(odd)
    assert all(len(name) <= 63 and name == name.lower() and "." not in name for name in odd)


@pytest.mark.parametrize(
    "wrong",
    [
        _request(token="no label/value"),
        _request(owner=""),
        replace(_request(), offer=replace(OFFER, instance_type="h900.1024x")),
        replace(_request(), offer=replace(OFFER, gpu_count=2)),
        replace(_request(), offer=replace(OFFER, gpu_model=None)),
    ],
    ids=["token", "owner", "type", "size", "no GPU"],
)
def test_what_no_pod_can_be_is_rejected_before_anything_is_sent(wrong: LaunchRequest) -> None:
    with pytest.raises(RequestRejected):
        machine.manifest(wrong, OPTIONS)


def test_a_spot_pod_goes_to_spot_nodes_of_any_cloud_and_another_to_none_of_them() -> None:
    for spot, operator in ((True, "In"), (False, "NotIn")):
        pod = machine.manifest(replace(_request(), offer=replace(OFFER, spot=spot)), OPTIONS)
        required = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        for term in required["nodeSelectorTerms"]:
            product, *market = term["matchExpressions"]
            assert (product["operator"], product["values"]) == ("In", ["NVIDIA-A10"])
            assert {each["operator"] for each in market} == {operator}
            assert len(market) == (1 if spot else len(OPTIONS.spot_labels))
