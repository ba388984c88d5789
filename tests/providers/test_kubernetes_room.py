"""What a cluster's nodes and pods say about what can be bought. Labels and taints as the clouds set them in 2026."""

from typing import Any

import pytest
from godwit.domain.errors import InvalidRequest
from godwit.domain.ids import ProviderName
from godwit.domain.offers import Offer
from godwit.providers import kubernetes_pods
from godwit.providers.kubernetes_pods import room
from godwit.providers.kubernetes_pods.options import COREWEAVE, Options, parse

PRICES = {"H100-SXM": 2.0, "A100-80GB-SXM": 1.0, "MI300X": 3.0}


def _options(**given: Any) -> Options:
    return parse({"image": "godwit:1", "prices": PRICES, **given}, {})


def _node(labels: dict[str, str], name: str = "n1", gpus: int = 8, resource: str = room.NVIDIA) -> dict[str, Any]:
    allocatable = {"cpu": "127500m", "memory": "1056964608Ki", resource: str(gpus)}
    status = {"allocatable": allocatable, "conditions": [{"type": "Ready", "status": "True"}]}
    return {"metadata": {"name": name, "labels": labels}, "spec": {}, "status": status}


def _pod(node: str, *containers: dict[str, str], init: dict[str, str] | None = None) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "nodeName": node,
        "containers": [{"resources": {"requests": asked}} for asked in containers],
    }
    if init is not None:
        spec["initContainers"] = [{"resources": {"requests": init}}]
    return {"metadata": {"name": "p"}, "spec": spec, "status": {"phase": "Running"}}


def _offers(nodes: list[Any], pods: list[Any] | None = None, options: Options | None = None) -> list[Offer]:
    return room.offers(ProviderName("k8s"), nodes, pods or [], options or _options(), 7.0)


H100 = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}


def test_a_node_is_offered_in_every_size_with_its_share_of_the_machine() -> None:
    offers = {offer.gpu_count: offer for offer in _offers([_node(H100)])}
    assert sorted(offers) == [1, 2, 4, 8]
    assert [offers[n].capacity for n in (1, 2, 4, 8)] == [8, 4, 2, 1]
    assert [offers[n].price_usd_per_hour for n in (1, 8)] == [2.0, 16.0]
    assert (offers[8].cpus, offers[8].memory_gib) == (114, 907.0), "nine tenths of 127.5 CPUs and 1008 GiB"
    assert {offer.gpu_model for offer in offers.values()} == {"H100-SXM"}
    assert offers[8].region == room.NOWHERE


def test_nodes_of_a_kind_count_together_and_an_odd_one_is_sold_whole() -> None:
    offers = {o.gpu_count: o for o in _offers([_node(H100), _node(H100, "n2", 6)])}
    assert {count: offer.capacity for count, offer in offers.items()} == {1: 14, 2: 7, 4: 3, 8: 1}
    assert [offer.gpu_count for offer in _offers([_node(H100, gpus=6)])] == [1, 2, 4, 6]


@pytest.mark.parametrize(
    ("labels", "model"),
    [
        ({"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}, "A100-80GB-SXM"),
        ({"gpu.nvidia.com/class": "H100_NVLINK_80GB"}, "H100-SXM"),
        ({"cloud.google.com/gke-accelerator": "nvidia-h100-80gb"}, "H100-SXM"),
        ({"skypilot.co/accelerator": "h100"}, "H100-SXM"),
    ],
)
def test_the_model_is_read_from_whichever_label_names_it(labels: dict[str, str], model: str) -> None:
    assert {offer.gpu_model for offer in _offers([_node(labels)])} == {model}


def test_gpus_of_amd_are_another_resource() -> None:
    node = _node({"amd.com/gpu.product-name": "AMD_Instinct_MI300X"}, resource="amd.com/gpu")
    assert {offer.gpu_model for offer in _offers([node])} == {"MI300X"}
    assert room.resource_of("MI300X") == "amd.com/gpu"
    assert room.resource_of("H100-SXM") == "nvidia.com/gpu"


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {"nvidia.com/gpu.product": "NVIDIA-A10"},
        {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3-SHARED"},
        {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3-MIG-1g.10gb"},
        {**H100, "node.coreweave.cloud/state": "triage"},
    ],
    ids=["no label", "no price", "time slices", "parts", "being repaired"],
)
def test_what_is_no_whole_gpu_with_a_price_in_good_order_is_not_offered(labels: dict[str, str]) -> None:
    assert _offers([_node(labels)]) == []


def test_cpus_and_memory_bound_what_fits_as_much_as_gpus_do() -> None:
    greedy = _pod("n1", {"cpu": "100", "memory": "10Gi"})
    assert [offer.capacity for offer in _offers([_node(H100)], [greedy])] == [1, 0, 0, 0]
    fat = _pod("n1", {"cpu": "1", "memory": "500Gi"})
    assert [offer.capacity for offer in _offers([_node(H100)], [fat])] == [4, 2, 1, 0]
    modest = _options(cpus_per_gpu=2, memory_gib_per_gpu=16)
    assert [offer.capacity for offer in _offers([_node(H100)], [fat], modest)] == [8, 4, 2, 1]


def test_a_pod_takes_what_its_containers_need_together_or_its_largest_init_container_if_more() -> None:
    pods = [
        _pod("n1", {"nvidia.com/gpu": "1", "cpu": "500m"}, {"nvidia.com/gpu": "1", "cpu": "1500m"}, init={"cpu": "3"})
    ]
    assert room.requested(pods)["n1"] == room.Free(2, 3.0, 0.0)


def test_sidecars_stay_and_what_starts_after_them_needs_room_beside_them() -> None:
    pod = _pod("n1", {"cpu": "1"})
    sidecar = {"restartPolicy": "Always", "resources": {"requests": {"cpu": "2"}}}
    pod["spec"]["initContainers"] = [{"resources": {"requests": {"cpu": "4"}}}, sidecar]
    assert room.requested([pod])["n1"].cpus == 4.0, "the first one starts alone, and 1 + 2 is less"
    pod["spec"]["initContainers"].reverse()
    assert room.requested([pod])["n1"].cpus == 6.0, "it starts beside the sidecar"


def test_a_pod_as_a_whole_may_say_what_it_needs_and_its_runtime_adds_to_that() -> None:
    pod = _pod("n1", {"nvidia.com/gpu": "2", "cpu": "1", "memory": "1Gi"})
    pod["spec"] |= {"resources": {"requests": {"cpu": "8"}}, "overhead": {"cpu": "250m", "memory": "2Gi"}}
    assert room.requested([pod])["n1"] == room.Free(2, 8.25, 3.0)


def test_limits_count_where_no_request_is_told() -> None:
    pod = {"spec": {"nodeName": "n1", "containers": [{"resources": {"limits": {"nvidia.com/gpu": "4"}}}]}}
    assert room.requested([pod])["n1"].gpus == 4


@pytest.mark.parametrize(
    "labels",
    [
        {"cloud.google.com/gke-spot": "true"},
        {"karpenter.sh/capacity-type": "spot"},
        {"eks.amazonaws.com/capacityType": "SPOT"},
    ],
)
def test_spot_nodes_are_offered_as_spot_at_their_own_price_only(labels: dict[str, str]) -> None:
    node = _node({**H100, **labels})
    assert _offers([node]) == [], "a spot node is never sold as one that stays"
    offers = _offers([node], options=_options(spot_prices={"H100-SXM": 0.9}))
    assert {(offer.spot, offer.price_usd_per_gpu_hour) for offer in offers} == {(True, 0.9)}


def test_nodes_of_one_fabric_are_one_fabric_domain_and_offers_of_two_fabrics_are_two() -> None:
    options = parse({"image": "i", "prices": PRICES}, COREWEAVE)
    nodes = [_node({**H100, "ib.coreweave.cloud/fabric": f"f{n}"}, f"n{n}") for n in (1, 2)]
    offers = _offers(nodes, options=options)
    assert {offer.fabric_domain for offer in offers} == {"k8s/f1", "k8s/f2"}
    assert len({offer.key for offer in offers}) == len(offers) == 8


def test_a_type_says_product_size_and_fabric_and_is_read_again() -> None:
    kind = room.NodeKind("NVIDIA-H100", "H100-SXM", "r", None, "f.1", False)
    assert room.parse_type(room.type_of(kind, 8)) == ("NVIDIA-H100", 8, "f.1")
    for wrong in ("h900.1024x", "H100:many", "H100:0", ":8", "H100:8:f:more"):
        with pytest.raises(ValueError, match="not a type of this cluster"):
            room.parse_type(wrong)


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "team", "operator": "Exists"}, True),
        ({"key": "team", "value": "b"}, True),
        ({"key": "team", "value": "c"}, False),
        ({"key": "team", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_a_taint_keeps_offers_away_unless_it_is_tolerated(toleration: dict[str, str], tolerated: bool) -> None:
    node = _node(H100)
    node["spec"]["taints"] = [
        {"key": "team", "value": "b", "effect": "NoSchedule"},
        {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"},
        {"key": "anything", "effect": "PreferNoSchedule"},
    ]
    assert bool(_offers([node], options=_options(tolerations=[toleration]))) is tolerated


def test_options_can_be_told_as_text_as_the_command_line_does() -> None:
    told = _options(prices="{H100-SXM: 2.5}", pull_secrets="[registry]", tolerations="[{key: team, operator: Exists}]")
    assert told.prices == {"H100-SXM": 2.5}
    assert told.pull_secrets == ["registry"]
    assert told.tolerations == [{"key": "team", "operator": "Exists"}]
    with pytest.raises(InvalidRequest, match=r"not YAML: line 1.*: prices"):
        _options(prices="{")


def test_the_listed_options_are_those_that_are_read() -> None:
    assert set(kubernetes_pods.OPTIONS) == set(Options.model_fields)
