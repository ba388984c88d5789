"""The Helm chart gives what Kubernetes takes: locked pods, with all of docker-compose.yml that is godwit's."""

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from godwit.control_plane import settings

from tests.deploy import charts

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "godwit"
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())


@pytest.fixture(scope="module")
def objects() -> list[dict[str, Any]]:
    """What a release named `prod` consists of."""
    return charts.render(CHART, VALUES, "prod")


def _pods(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one["spec"]["template"]["spec"] for one in objects if one["kind"] in {"Deployment", "StatefulSet"}]


def test_every_object_is_what_kubernetes_takes(objects: list[dict[str, Any]]) -> None:
    assert [fault for one in objects for fault in charts.faults(one)] == []
    kinds = sorted(one["kind"] for one in objects)
    assert kinds == [
        "ConfigMap",
        *["Deployment"] * 2,
        "PersistentVolumeClaim",
        *["PodDisruptionBudget"] * 3,
        *["Service"] * 2,
        "StatefulSet",
    ]


def test_a_field_that_kubernetes_does_not_know_is_found(objects: list[dict[str, Any]]) -> None:
    wrong = copy.deepcopy(next(one for one in objects if one["kind"] == "Deployment"))
    wrong["spec"]["template"]["spec"]["containers"][0]["imagePullpolicy"] = "Always"
    wrong["spec"]["replicas"] = "two"
    assert charts.faults(wrong) == [
        "Deployment.spec.replicas is 'two', no int",
        "Deployment.spec.template.spec.containers[0].imagePullpolicy is not known",
    ]


def test_no_pod_runs_as_root_writes_its_own_files_or_knows_the_cluster(objects: list[dict[str, Any]]) -> None:
    for pod in _pods(objects):
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            locked = container["securityContext"]
            assert locked["readOnlyRootFilesystem"]
            assert not locked["allowPrivilegeEscalation"]
            assert locked["capabilities"] == {"drop": ["ALL"]}
            assert {"readinessProbe", "livenessProbe", "resources"} <= container.keys()
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_services_lead_to_pods(objects: list[dict[str, Any]]) -> None:
    labels = [
        one["spec"]["template"]["metadata"]["labels"] for one in objects if one["kind"] in {"Deployment", "StatefulSet"}
    ]
    chosen = [one["spec"]["selector"] for one in objects if one["kind"] == "Service"]
    # Nobody calls workers: they fetch what there is to do.
    called = [one for one in labels if one["app.kubernetes.io/component"] != "worker"]
    assert sorted(map(str, chosen)) == sorted(map(str, called))


def test_secrets_come_from_secrets(objects: list[dict[str, Any]]) -> None:
    variables = {v["name"]: v for pod in _pods(objects) for c in pod["containers"] for v in c["env"]}
    assert variables["GODWIT_DATABASE_URL"]["valueFrom"] == {"secretKeyRef": {"name": "godwit-database", "key": "url"}}
    assert variables["GODWIT_BROKER_URL"]["valueFrom"]["secretKeyRef"]["name"] == "godwit-broker"
    keys = [v["valueFrom"]["secretKeyRef"] for pod in _pods(objects) for c in pod["containers"] for v in c["env"]
            if v["name"] == "GODWIT_CREDENTIALS_KEY"]  # fmt: skip
    assert keys == [{"name": "godwit-credentials", "key": "key", "optional": True}] * 2, "control planes and workers"
    assert variables["GODWIT_TOKEN"]["valueFrom"] == {"secretKeyRef": {"name": "godwit-gateway", "key": "token"}}


def test_the_control_plane_takes_its_configuration(
    objects: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (config,) = (one for one in objects if one["kind"] == "ConfigMap")
    (tmp_path / "config.yaml").write_text(config["data"]["config.yaml"])
    monkeypatch.setenv("GODWIT_REPLICA", "prod-control-plane-0")
    read = settings.read(tmp_path)
    assert (read.url, read.replica) == (VALUES["url"], "prod-control-plane-0")


def test_a_volume_is_of_the_clusters_default_class_unless_another_is_named(objects: list[dict[str, Any]]) -> None:
    """An empty name would be no class at all, and the volume would never come."""
    (claim,) = (one for one in objects if one["kind"] == "PersistentVolumeClaim")
    assert claim["spec"]["storageClassName"] is None


def test_values_that_make_no_sense_are_refused_by_their_schema() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.validate(VALUES, SCHEMA)
    for path, wrong in ((("controlPlane", "replicas"), 0), (("url",), "godwit.example.com"), (("gatway",), {})):
        values: dict[str, Any] = copy.deepcopy(VALUES)
        inner = values
        for name in path[:-1]:
            inner = inner[name]
        inner[path[-1]] = wrong
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(values, SCHEMA)
