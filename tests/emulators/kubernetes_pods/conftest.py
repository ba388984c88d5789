"""The cluster of the tests here: a real API server where GODWIT_TEST_KUBECONFIG points to one, else our own."""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from godwit.domain.clock import SystemClock
from godwit.providers.kinds import Setup
from godwit.providers.kubernetes_pods.access import configured
from godwit.providers.kubernetes_pods.options import parse
from godwit.providers.kubernetes_pods.provider import KubernetesProvider, coreweave_provider, kubernetes_provider
from kubernetes import client

from tests.emulators.emulator import API_KEY
from tests.emulators.kubernetes_pods.cluster import TestCluster
from tests.emulators.kubernetes_pods.emulator import KubernetesEmulator

OPTIONS = {"image": "godwit:1", "prices": {"H100-SXM": 2.5}, "verdict_s": 0.1, "timeout_s": 5.0}


@pytest.fixture(scope="module")
def server() -> KubernetesEmulator | None:
    """Our own API server, one for all tests of a module: each has a namespace. None while a real one is used."""
    return None if os.environ.get("GODWIT_TEST_KUBECONFIG") else KubernetesEmulator(page_limit=2)


@pytest.fixture(scope="module")
def account(server: KubernetesEmulator | None) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    """Options and secrets that lead to it."""
    if server is None:
        yield {}, {"access": Path(os.environ["GODWIT_TEST_KUBECONFIG"]).read_text()}
        return
    with server.serving() as url:
        yield {"url": url}, {"access": API_KEY}


@pytest.fixture
def forget(server: KubernetesEmulator | None, cluster: TestCluster) -> Callable[[], None]:
    """Makes the server forget its history, as it does by itself every five minutes.

    A real one does only where GODWIT_TEST_ETCD is the address of its etcd, and it runs with --watch-cache=false.
    """
    if server is not None:
        return server.store.compact
    etcd = os.environ.get("GODWIT_TEST_ETCD")
    if not etcd:
        pytest.skip("a real API server forgets after minutes, unless GODWIT_TEST_ETCD is set")

    def compact() -> None:
        body = {"revision": cluster.version(), "physical": True}
        httpx.post(f"{etcd}/v3/kv/compaction", json=body).raise_for_status()

    return compact


@pytest.fixture
def cluster(account: tuple[dict[str, Any], dict[str, str]]) -> Iterator[TestCluster]:
    """A namespace to play in."""
    yield from _cluster(*account)


def _cluster(where: dict[str, Any], secrets: dict[str, str]) -> Iterator[TestCluster]:
    core: Any = client.CoreV1Api(client.ApiClient(configured(parse({**OPTIONS, **where}, {}), secrets["access"])))
    namespace = str(core.create_namespace({"metadata": {"generateName": "godwit-test-"}}).metadata.name)
    core.create_namespaced_service_account(namespace, {"metadata": {"name": "default"}})
    built: list[KubernetesProvider] = []

    def build(coreweave: bool = False, **options: Any) -> KubernetesProvider:
        chosen = {**OPTIONS, **where, "namespace": namespace, **options}
        make: Callable[[Setup], KubernetesProvider] = coreweave_provider if coreweave else kubernetes_provider
        built.append(make(Setup("k8s", Path("/nowhere"), SystemClock(), random.Random(7), chosen, secrets)))
        return built[-1]

    made = TestCluster(core, namespace, build)
    try:
        yield made
    finally:
        made.end()
        for provider in built:
            provider.close()
        core.api_client.rest_client.pool_manager.clear()
