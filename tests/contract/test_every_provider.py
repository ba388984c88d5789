"""What every provider keeps, whatever stands behind it."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import cast

import psutil
import pytest
from godwit.domain.drills import Drill
from godwit.domain.errors import GodwitError, NoCapacity, RequestRejected
from godwit.domain.ids import InstanceId
from godwit.domain.offers import InstanceState
from godwit.providers.processes import MARK
from godwit.providers.protocol import FaultPanel, Provider

from tests.contract.rigs import Rig
from tests.control_plane.machines import longest_script

SPRAWLING = """#!/bin/sh
setsid sh -c 'trap "" TERM; echo inner $$; while :; do sleep 1; done' &
setsid env -i sleep 1001 &
echo ready
exec sleep 1002
"""
"""Children in sessions of their own: one deaf to SIGTERM, one without the mark."""


def test_offers_are_complete_and_priced(any_rig: Rig) -> None:
    offers = any_rig.provider.offers()
    assert len({offer.key for offer in offers}) == len(offers) >= 1
    for offer in offers:
        assert offer.provider == any_rig.provider.name
        assert offer.price_usd_per_hour >= 0
        assert offer.capacity is None or offer.capacity >= 0
        assert (offer.gpu_model is None) == (offer.gpu_count == 0)
        assert offer.seen_at > 0


def test_a_launched_machine_is_listed_with_its_token_and_owner_until_it_runs(any_rig: Rig) -> None:
    request = any_rig.request("token-of-its-own")
    instance = any_rig.provider.launch(request)
    assert instance.state in (InstanceState.PROVISIONING, InstanceState.RUNNING)
    listed = any_rig.listed(instance.id)
    assert listed is not None
    assert (listed.token, listed.owner) == ("token-of-its-own", "control-plane-1")
    assert listed.instance_type == request.offer.instance_type
    if any_rig.lists_price:
        assert listed.price_usd_per_hour == request.offer.price_usd_per_hour
    any_rig.wait_for(lambda: any_rig.listed(instance.id).state is InstanceState.RUNNING)  # type: ignore[union-attr]


def test_launching_again_with_the_same_token_answers_the_same_machine_where_that_is_declared(any_rig: Rig) -> None:
    if not any_rig.provider.capabilities.client_token:
        return
    request = any_rig.request("token-twice")
    first, second = any_rig.provider.launch(request), any_rig.provider.launch(request)
    assert first.id == second.id
    assert len([i for i in any_rig.provider.instances() if i.token == "token-twice"]) == 1


def test_a_terminated_machine_is_gone_in_the_end_and_terminating_again_is_no_error(any_rig: Rig) -> None:
    instance = any_rig.running()
    any_rig.end(instance.id)
    any_rig.end(instance.id)
    any_rig.wait_for(lambda: any_rig.is_gone(instance.id))
    any_rig.end(instance.id)
    assert any_rig.is_gone(instance.id)


def test_terminating_a_machine_nobody_knows_is_no_error(any_rig: Rig) -> None:
    any_rig.provider.terminate(InstanceId("i-never-was"))


def test_a_machine_terminated_before_it_booted_never_comes_up(any_rig: Rig) -> None:
    instance = any_rig.provider.launch(any_rig.request())
    any_rig.end(instance.id)
    any_rig.wait_for(lambda: any_rig.is_gone(instance.id))


def test_what_is_sold_out_is_refused_with_no_capacity(any_rig: Rig) -> None:
    request = any_rig.request()
    with pytest.raises(NoCapacity):
        any_rig.launch_many(request, 20)
    if any_rig.shows_capacity:
        left = [o.capacity for o in any_rig.provider.offers() if o.key == request.offer.key]
        assert left in ([0], []), "a sold-out offer says so, or is not offered"


def test_a_type_that_is_not_sold_is_rejected_not_repeated(any_rig: Rig) -> None:
    request = any_rig.request()
    with pytest.raises(RequestRejected):
        any_rig.provider.launch(replace(request, offer=replace(request.offer, instance_type="h900.1024x")))


def test_a_startup_script_beyond_the_limit_is_rejected(any_rig: Rig) -> None:
    limit = any_rig.provider.capabilities.startup_limit_bytes
    any_rig.provider.launch(any_rig.request(script="#" * limit))
    with pytest.raises(RequestRejected):
        any_rig.provider.launch(any_rig.request(script="#" * (limit + 1)))


def test_the_longest_startup_script_that_a_control_plane_sends_fits(any_rig: Rig) -> None:
    assert len(longest_script().encode()) <= any_rig.provider.capabilities.startup_limit_bytes


def test_a_lost_machine_is_in_the_end_listed_as_failed(own_rig: Rig) -> None:
    instance = own_rig.running()
    _panel(own_rig.provider).drill(instance.id, Drill.NODE_LOSS)
    own_rig.wait_for(lambda: own_rig.is_gone(instance.id))
    listed = own_rig.listed(instance.id)
    assert listed is not None
    assert listed.state is InstanceState.FAILED


def test_a_failed_machine_that_is_terminated_is_terminated(drilled_rig: Rig) -> None:
    instance = drilled_rig.running()
    _panel(drilled_rig.provider).drill(instance.id, Drill.NODE_LOSS)
    drilled_rig.wait_for(lambda: drilled_rig.is_gone(instance.id))
    drilled_rig.end(instance.id)
    listed = drilled_rig.listed(instance.id)
    assert listed is not None
    assert listed.state is InstanceState.TERMINATED


def test_losing_a_machine_nobody_knows_says_so(drilled_rig: Rig) -> None:
    with pytest.raises(GodwitError, match="i-never-was"):
        _panel(drilled_rig.provider).drill(InstanceId("i-never-was"), Drill.NODE_LOSS)


def test_the_startup_script_sees_its_machine_and_no_secret_of_ours(
    real_rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GODWIT_TOKEN", "admin-token-of-the-control-plane")
    instance = real_rig.running(script='#!/bin/sh\nenv\nls -ld "$GODWIT_NODE_DIR"\necho done\nexec sleep 1000\n')
    lines = _log_until(real_rig, instance.id, "done").splitlines()
    seen = dict(line.split("=", 1) for line in lines if "=" in line)
    assert Path(seen["GODWIT_PYTHON"]).exists()
    assert seen["GODWIT_NODE_ADDRESS"].startswith("127.")
    assert seen["GODWIT_NODE_ADDRESS"] != "127.0.0.1"
    assert len(seen["GODWIT_NODE_DIR"]) < 40
    assert any(line.startswith("drwx------") and line.endswith(seen["GODWIT_NODE_DIR"]) for line in lines)
    assert seen["PATH"].split(":")[0] == str(Path(seen["GODWIT_PYTHON"]).parent)
    assert not {"GODWIT_TOKEN", "GODWIT_HOME", "GODWIT_URL"} & set(seen)
    assert "admin-token-of-the-control-plane" not in "\n".join(lines)


@pytest.mark.parametrize("how", ["lose", "terminate"])
def test_no_process_and_no_folder_survives_the_end_of_a_machine(real_rig: Rig, how: str) -> None:
    instance = real_rig.running(script=SPRAWLING)
    log = _log_until(real_rig, instance.id, "inner")
    root = _member(instance.id)
    folder = Path(root.environ()["GODWIT_NODE_DIR"])
    family = [root, *root.children(recursive=True)]
    assert len({os.getsid(process.pid) for process in family}) >= 3, log
    if how == "lose":
        _panel(real_rig.provider).drill(instance.id, Drill.NODE_LOSS)
    else:
        real_rig.provider.terminate(instance.id)
        real_rig.wait_for(lambda: real_rig.is_gone(instance.id))
        assert not any(_lives(process) for process in family), "gone is said only once nothing of it is left"
    real_rig.wait_for(lambda: not any(_lives(process) for process in family))
    real_rig.wait_for(lambda: not folder.exists())


def test_a_machine_whose_processes_are_killed_from_outside_is_listed_as_failed(real_rig: Rig) -> None:
    instance = real_rig.running(script=SPRAWLING.replace("env -i ", ""))
    _log_until(real_rig, instance.id, "inner")
    root = _member(instance.id)
    family = [root, *root.children(recursive=True)]
    os.killpg(root.pid, 9)
    real_rig.wait_for(lambda: real_rig.is_gone(instance.id))
    listed = real_rig.listed(instance.id)
    assert listed is not None
    assert listed.state is InstanceState.FAILED
    assert [process for process in family if _lives(process)] == []


def test_a_machine_whose_startup_script_ends_well_stays_up(real_rig: Rig) -> None:
    instance = real_rig.running(script="#!/bin/sh\necho done\n")
    _log_until(real_rig, instance.id, "done")
    root_ended = lambda: not _members(instance.id)  # noqa: E731
    real_rig.wait_for(root_ended)
    real_rig.pass_time(0.6)  # longer than the host takes to look at its machines
    listed = real_rig.listed(instance.id)
    assert listed is not None
    assert listed.state is InstanceState.RUNNING


def _panel(provider: Provider) -> FaultPanel:
    assert provider.capabilities.drills
    return cast("FaultPanel", provider)


def _log_until(rig: Rig, instance_id: str, word: str) -> str:
    assert rig.boot_log is not None
    log = rig.boot_log(instance_id)
    rig.wait_for(lambda: log.exists() and word in log.read_text())
    return log.read_text()


def _members(instance_id: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK, "").endswith(f"-{instance_id}"):
                found.append(process)
        except psutil.Error:
            continue  # it ended while we looked
    return found


def _member(instance_id: str) -> psutil.Process:
    """The first process: the one that leads a session and has no parent of the machine."""
    members = _members(instance_id)
    pids = {process.pid for process in members}
    return next(process for process in members if process.ppid() not in pids)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_calls_from_several_threads_do_not_disturb_each_other(real_rig: Rig) -> None:
    request = real_rig.request("token-of-eight-threads")

    def launch_and_list(_number: int) -> str:
        launched = real_rig.provider.launch(request)
        assert launched.id in [instance.id for instance in real_rig.provider.instances()]
        return launched.id

    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(launch_and_list, range(16)))
    assert len(ids) == 1
