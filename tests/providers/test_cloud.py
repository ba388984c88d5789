"""A simulated cloud's books: capacity, meters, tokens, states. All on a manual clock, with machines on paper."""

import json
import random
from typing import Any

import pytest
from godwit.domain.clock import ManualClock
from godwit.providers.machines import Machine
from godwit.providers.simulated.catalogue import BUILT_IN
from godwit.providers.simulated.cloud import Cloud
from godwit.providers.simulated.faults import Faults
from godwit.providers.simulated.paper import PaperMachines
from godwit.providers.simulated.sales import CloudSettings
from godwit.providers.simulated.vendor import Refused

from tests.providers.clouds import LARGE, SMALL, make, order


def state(cloud: Cloud, instance_id: str) -> str:
    return str(cloud.instance(instance_id)["state"])


def meter(cloud: Cloud, instance_id: str) -> dict[str, Any]:
    return next(m for m in cloud.billing()["meters"] if m["id"] == instance_id)


def test_a_machine_boots_after_its_delay_with_its_gpus_and_an_address_of_its_own() -> None:
    cloud, clock, machines = make()
    first, second = cloud.launch(order("a"))["id"], cloud.launch(order("b"))["id"]
    assert (state(cloud, first), machines.up) == ("provisioning", {})
    clock.advance(0.2)
    assert state(cloud, first) == "running"
    booted = machines.up[first]
    assert (booted.address, machines.up[second].address) == ("127.16.1.1", "127.16.1.2")
    assert booted.slot == "1-1"
    assert booted.gpus is not None
    assert [gpu.model for gpu in booted.gpus] == ["H100-SXM"]
    assert booted.gpus[0].uuid.startswith("GPU-")
    assert booted.gpus[0].uuid != machines.up[second].gpus[0].uuid  # type: ignore[index]


def test_the_meter_runs_from_the_launch_to_the_request_to_terminate() -> None:
    cloud, clock, _ = make()
    instance_id = cloud.launch(order())["id"]
    clock.advance(9.4)
    assert meter(cloud, instance_id)["seconds"] == 10, "a begun second counts whole"
    cloud.terminate(instance_id)
    clock.advance(1000)
    assert meter(cloud, instance_id) == {"id": instance_id, "seconds": 10, "usd": 10 * 3.6 / 3600, "running": False}


def test_a_lost_machine_is_billed_until_the_loss_and_listed_as_running_for_a_while() -> None:
    cloud, clock, machines = make()
    instance_id = cloud.launch(order())["id"]
    clock.advance(10)
    cloud.tick()
    cloud.lose(instance_id)
    assert machines.up == {}
    clock.advance(4.9)
    assert state(cloud, instance_id) == "running"
    clock.advance(0.1)
    assert state(cloud, instance_id) == "failed"
    assert meter(cloud, instance_id)["seconds"] == 10


def test_a_crashed_machine_is_cut_and_listed_as_failed_at_once() -> None:
    cloud, clock, machines = make()
    instance_id = cloud.launch(order())["id"]
    clock.advance(1)
    cloud.tick()
    machines.crash(instance_id)
    assert state(cloud, instance_id) == "failed"
    assert machines.up == {}


def test_a_machine_that_vanished_while_nobody_looked_is_listed_as_failed() -> None:
    cloud, clock, machines = make()
    instance_id = cloud.launch(order())["id"]
    clock.advance(1)
    cloud.tick()
    machines.cut(instance_id)
    assert state(cloud, instance_id) == "failed"


def test_a_spot_machine_is_taken_at_the_end_of_its_notice_and_billed_until_then() -> None:
    cloud, clock, machines = make()
    instance_id = cloud.launch(order(spot=True))["id"]
    clock.advance(10)
    cloud.give_notice(instance_id, after_s=120)
    assert [n["taken_at"] - n["noticed_at"] for n in cloud.notices()] == [120]
    clock.advance(119)
    assert state(cloud, instance_id) == "running"
    clock.advance(30)
    assert state(cloud, instance_id) == "terminated"
    assert (cloud.notices(), machines.up) == ([], {})
    assert meter(cloud, instance_id)["usd"] == pytest.approx(130 * 1.8 / 3600)


def test_a_machine_bought_on_demand_gets_no_notice() -> None:
    cloud, _, _ = make()
    with pytest.raises(Refused, match="on demand"):
        cloud.give_notice(cloud.launch(order())["id"], after_s=1)


def test_a_machine_stays_stopping_until_its_processes_are_gone() -> None:
    class Slow(PaperMachines):
        def stop(self, instance_id: str) -> None:
            """Takes its time."""

    machines, clock = Slow(), ManualClock()
    cloud = Cloud(CloudSettings("sim", 1, "127.16.1", (SMALL,)), clock, random.Random(1), machines)
    instance_id = cloud.launch(order())["id"]
    clock.advance(1)
    cloud.tick()
    cloud.terminate(instance_id)
    clock.advance(60)
    assert state(cloud, instance_id) == "stopping"
    machines.cut(instance_id)
    assert state(cloud, instance_id) == "terminated"


def test_a_host_that_cannot_boot_the_machine_fails_it() -> None:
    def refuse(_machine: Machine) -> None:
        raise OSError("no space left on device")

    clock, machines = ManualClock(), PaperMachines(on_boot=refuse)
    cloud = Cloud(CloudSettings("sim", 1, "127.16.1", (SMALL,)), clock, random.Random(1), machines)
    instance_id = cloud.launch(order())["id"]
    clock.advance(1)
    assert state(cloud, instance_id) == "failed"
    assert "no space left" in cloud.instance(instance_id)["detail"]


def test_the_quota_bounds_the_gpus_rented_at_once() -> None:
    cloud, _, _ = make(quota_gpus=8)
    cloud.launch(order("a"))
    with pytest.raises(Refused) as refused:
        cloud.launch(order("b", LARGE))
    assert refused.value.code == "quota_exceeded"


def test_a_token_still_answers_the_same_machine_after_that_one_has_ended() -> None:
    cloud, clock, _ = make()
    instance_id = cloud.launch(order())["id"]
    cloud.terminate(instance_id)
    clock.advance(1)
    cloud.tick()
    clock.advance(400)
    assert cloud.instances()["instances"] == [], "it is no longer listed"
    assert cloud.launch(order())["id"] == instance_id


def test_forgotten_machines_stay_on_the_bill() -> None:
    cloud, clock, _ = make(known_max=1)
    for token in ("a", "b", "c"):
        instance_id = cloud.launch(order(token))["id"]
        clock.advance(100)
        cloud.terminate(instance_id)
        clock.advance(1)
    bill = cloud.billing()
    assert len(bill["meters"]) == 1
    assert bill["total_usd"] == pytest.approx(3 * 100 * 3.6 / 3600)


def test_the_stored_state_holds_no_startup_script_once_the_machine_runs() -> None:
    cloud, clock, _ = make()
    cloud.launch(order(user_data="export GODWIT_JOIN_TOKEN=secret"))
    assert "secret" in json.dumps(cloud.to_json())
    clock.advance(1)
    cloud.tick()
    assert "secret" not in json.dumps(cloud.to_json())


def test_a_cloud_loaded_from_its_stored_state_goes_on_where_it_was() -> None:
    cloud, clock, machines = make()
    cloud.launch(order("a"))
    cloud.launch(order("b", spot=True))
    clock.advance(1)
    cloud.tick()
    cloud.set_faults(Faults(refuse_capacity={"*": -1}, delay_s=1))
    stored = json.loads(json.dumps(cloud.to_json()))
    again = Cloud(cloud.settings, clock, random.Random(2), machines)
    again.load(stored)
    assert json.loads(json.dumps(again.to_json())) == stored
    assert again.instances() == cloud.instances()
    assert machines.boots == again.running()


def test_the_same_seed_gives_the_same_cloud() -> None:
    runs = []
    for _ in range(2):
        cloud, clock, _ = make(boot_s=(0.2, 0.5))
        cloud.launch(order("a"))
        clock.advance(0.3)
        runs.append(cloud.to_json() | {"seen": cloud.instances()})
    assert runs[0] == runs[1]


def test_the_cheapest_h100_on_demand_is_aurora_with_four_then_borealis() -> None:
    rows = [
        (shape.price_usd_per_hour, name, shape.capacity)
        for name, spec in BUILT_IN.items()
        for shape in spec.shapes
        if shape.instance_type == "h100.1x"
    ]
    assert [row[1:] for row in sorted(rows)][:2] == [("sim-aurora", 4), ("sim-borealis", 8)]
