"""Three clouds by their own adapters: the cheapest refuses, the job lands on the next, and `explain` tells it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from godwit.domain.clock import SystemClock
from godwit.providers.hosted import HostedMachines
from godwit.providers.simulated.faults import Faults

from tests.emulators.digitalocean.emulator import SHAPES as DIGITALOCEAN_SHAPES
from tests.emulators.digitalocean.emulator import DigitalOceanEmulator
from tests.emulators.emulator import API_KEY
from tests.emulators.hyperstack.emulator import HyperstackEmulator
from tests.emulators.lambdalabs.emulator import SHAPES as LAMBDA_SHAPES
from tests.emulators.lambdalabs.emulator import LambdaEmulator
from tests.end_to_end.conftest import System, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.ray, pytest.mark.xdist_group("ray"), pytest.mark.timeout(540)]


@pytest.fixture
def urls(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Hyperstack, the cheapest, which refuses; Lambda, whose machines are real here; DigitalOcean, the dearest."""
    machines = HostedMachines(tmp_path / "lambda")
    lambda_cloud = LambdaEmulator(LAMBDA_SHAPES, clock=SystemClock(), machines=machines)
    hyperstack = HyperstackEmulator()
    hyperstack.cloud.set_faults(Faults(refuse_capacity={"*": -1}))
    digitalocean = DigitalOceanEmulator(DIGITALOCEAN_SHAPES)
    with lambda_cloud.serving() as first, hyperstack.serving() as second, digitalocean.serving() as third:
        yield {"lambda": first, "hyperstack": second, "digitalocean": third}
        left = lambda_cloud.cloud.live()
        for instance_id in left:
            machines.cut(instance_id)
        wait_for("the end of the machines", 20, lambda: all(machines.is_gone(instance_id) for instance_id in left))


def test_a_job_lands_on_the_second_cheapest_cloud_when_the_first_refuses(
    system: System, urls: dict[str, str], tmp_path: Path
) -> None:
    for kind, url in urls.items():
        added = system.godwit("providers", "add", kind, "--set", f"url={url}", keys=[API_KEY])
        assert added.returncode == 0, added.stderr
    spec = tmp_path / "job.yaml"
    spec.write_text(
        "name: landed\nrun: echo landed on $GODWIT_JOB_NAME\n"
        f"resources: {{gpus: 'H100:1', spot: never, infra: [{', '.join(urls)}]}}\n"
    )
    wait_for("offers of all three", 30, lambda: _sells(system) >= set(urls))
    ran = system.godwit("run", "-y", str(spec))
    assert ran.returncode == 0, ran.stderr
    assert "landed on landed" in ran.stdout
    known = system.read("nodes", "-a")
    sold_by = {node["id"]: node["provider"] for node in known}
    events = system.read("explain", "landed")["events"]
    bought = [sold_by[event["node_id"]] for event in events if event["new"] == "requested"]
    assert (bought[0], bought[-1]) == ("hyperstack", "lambda")
    refused = [node for node in known if node["state"] == "failed"]
    assert {node["provider"] for node in refused} == {"hyperstack"}
    assert all(node["detail"] for node in refused)


def _sells(system: System) -> set[str]:
    return {offer["provider"] for offer in system.read("offers", "--gpus", "H100:1")}
