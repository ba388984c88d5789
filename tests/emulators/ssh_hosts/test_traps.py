"""What machines of one's own do that clouds do not."""

import base64
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest
from godwit.domain.errors import (
    CredentialsRejected,
    InvalidRequest,
    NoCapacity,
    ProviderUnavailable,
    RequestRejected,
    UnknownOutcome,
)
from godwit.domain.offers import Instance, InstanceState
from godwit.providers.ssh_hosts import hosts

from tests.contract.rigs import Rig
from tests.emulators.ssh_hosts.pool import Pool, PoolHost
from tests.emulators.ssh_hosts.rig import H100, L4, adapter, rig_of

SPRAWLING = """#!/bin/sh
setsid sh -c 'trap "" TERM; while :; do sleep 1; done' &
setsid env -u GODWIT_INSTANCE_MARK sleep 1001 &
exec sleep 1002
"""
"""Children in sessions of their own: one deaf to SIGTERM, one without the mark."""

SLOW_TO_CRASH = """#!/bin/sh
setsid sh -c 'trap "sleep 1; exit" TERM; while :; do sleep 0.1; done' &
sleep 0.3
exit 3
"""


@pytest.fixture
def pool() -> Iterator[Pool]:
    with Pool(((), (L4, L4, H100))).serving() as pool:
        yield pool


@pytest.fixture
def rig(pool: Pool, tmp_path: Path) -> Iterator[Rig]:
    rig = rig_of(pool, tmp_path)
    yield rig
    rig.end_all()


def _base(host: PoolHost) -> Path:
    return next((host.home / ".godwit-host").iterdir())


def _state(rig: Rig, instance: Instance) -> InstanceState:
    listed = rig.listed(instance.id)
    assert listed is not None
    return listed.state


def test_a_host_is_offered_as_what_it_has_at_its_owners_price(rig: Rig) -> None:
    plain, mixed = rig.provider.offers()
    assert (plain.gpu_model, plain.price_usd_per_hour, plain.capacity) == (None, 1.0, 1)
    assert plain.cpus >= 1
    assert plain.memory_gib > 0
    assert (mixed.instance_type, mixed.gpu_count, mixed.gpu_memory_gib) == ("2xL4", 2, 22.5), "the first of its models"


def test_a_host_whose_gpus_do_not_answer_is_not_offered(pool: Pool, rig: Rig) -> None:
    pool.hosts[1].tool("nvidia-smi", "#!/bin/sh\nexit 9\n")
    assert [offer.price_usd_per_hour for offer in rig.provider.offers()] == [1.0]


def test_a_start_up_file_that_talks_is_not_taken_for_an_answer(pool: Pool, rig: Rig) -> None:
    pool.hosts[0].says = "Welcome to gpu-1!\nmachine running {}\n"
    assert rig.running().state is InstanceState.PROVISIONING


def test_everything_works_for_a_host_that_has_dashes_quotes_and_secrets_in_its_script(pool: Pool, rig: Rig) -> None:
    script = '#!/bin/sh\nprintf \'%s\\n\' "it\'s \\\\ -n" "$HOME"\nexec sleep 1000\n'
    instance = rig.running(script=script)
    kept = _base(pool.hosts[0]) / "machines" / str(instance.token)
    assert (kept / "script").read_text() == script + "\n"
    rig.wait_for(lambda: (kept / "log").read_text() == f"it's \\ -n\n{pool.hosts[0].home}\n")
    assert (kept / "script").stat().st_mode & 0o077 == 0
    arguments = [" ".join(process.cmdline()) for process in pool.processes()]
    assert not any("it's" in line for line in arguments), "every user of the host can read these"


def test_what_a_machine_installs_outlasts_its_folder(pool: Pool, rig: Rig) -> None:
    instance = rig.running(script='#!/bin/sh\necho "$GODWIT_AGENT_DIR"\nexec sleep 1000\n')
    kept = _base(pool.hosts[0])
    log = kept / "machines" / str(instance.token) / "log"
    rig.wait_for(lambda: log.read_text() == f"{kept}\n")


def test_a_changed_host_key_is_refused_with_what_to_do_and_the_machine_there_is_not_given_up(
    pool: Pool, rig: Rig, tmp_path: Path
) -> None:
    instance = rig.running()
    pool.run(pool.hosts[0].close())
    pool.hosts[0].host_key = asyncssh.generate_private_key("ssh-ed25519")
    pool.run(pool.hosts[0].open())
    assert _state(rig, instance) is InstanceState.UNKNOWN
    with pytest.raises(CredentialsRejected, match=r"replace its line in .*known_hosts"):
        rig.provider.terminate(instance.id)
    assert "1 of 2 hosts answer" in rig.provider.check().account
    recorded = tmp_path / "home" / "ssh_hosts" / "emulated" / "known_hosts"
    kept = [line for line in recorded.read_text().splitlines() if f":{pool.hosts[0].port} " not in line]
    recorded.write_text("\n".join(kept) + "\n")
    assert _state(rig, instance) is InstanceState.RUNNING


def test_a_host_key_of_another_sort_is_a_changed_one(pool: Pool, rig: Rig) -> None:
    instance = rig.running()
    before = pool.hosts[0].host_key
    pool.run(pool.hosts[0].close())
    pool.hosts[0].host_key = asyncssh.generate_private_key("ecdsa-sha2-nistp256")
    pool.run(pool.hosts[0].open())
    with pytest.raises(CredentialsRejected, match="another host key"):
        rig.provider.terminate(instance.id)
    pool.run(pool.hosts[0].close())
    pool.hosts[0].host_key = before
    pool.run(pool.hosts[0].open())


def test_with_pinned_keys_a_host_that_is_not_among_them_is_refused(pool: Pool, tmp_path: Path) -> None:
    pinned = tmp_path / "pinned"
    first = pool.hosts[0]
    pinned.write_text(f"[127.0.0.1]:{first.port} {first.host_key.export_public_key('openssh').decode()}")
    provider = adapter(pool, tmp_path, known_hosts=str(pinned))
    assert [offer.price_usd_per_hour for offer in provider.offers()] == [1.0]
    assert "add what ssh-keyscan shows" in provider.check().account
    assert not (tmp_path / "ssh_hosts" / "emulated" / "known_hosts").exists()
    provider.close()


def test_a_machine_on_a_host_that_is_away_is_unknown_with_its_last_facts_also_after_a_restart(
    pool: Pool, rig: Rig, tmp_path: Path
) -> None:
    instance = rig.running()
    pool.run(pool.hosts[0].close())
    restarted = adapter(pool, tmp_path / "home")
    for provider in (rig.provider, restarted):
        (away,) = provider.instances()
        assert (away.id, away.token, away.state) == (instance.id, instance.token, InstanceState.UNKNOWN)
        assert away.owner == "control-plane-1"
        with pytest.raises(ProviderUnavailable):
            provider.terminate(instance.id)
    restarted.close()
    assert [offer.price_usd_per_hour for offer in rig.provider.offers()] == [2.0]
    pool.run(pool.hosts[0].open())
    assert _state(rig, instance) is InstanceState.RUNNING


def test_a_launch_that_a_host_never_heard_is_unavailable_and_leaves_no_trace(pool: Pool, rig: Rig) -> None:
    request = rig.request("token-unheard")
    pool.run(pool.hosts[0].close())
    with pytest.raises(ProviderUnavailable):
        rig.provider.launch(request)
    assert rig.provider.instances() == []
    pool.run(pool.hosts[0].open())


def test_a_host_that_goes_away_in_mid_launch_keeps_its_machine_in_the_list_until_it_says_otherwise(
    pool: Pool, rig: Rig
) -> None:
    request = rig.request("token-mid-launch")
    pool.hosts[0].cut_after = 3_000
    with pytest.raises(UnknownOutcome):
        rig.provider.launch(request)
    pool.run(pool.hosts[0].close())
    (pending,) = rig.provider.instances()
    assert (pending.token, pending.state) == ("token-mid-launch", InstanceState.UNKNOWN)
    pool.hosts[0].cut_after = 0
    pool.run(pool.hosts[0].open())
    assert rig.provider.instances() == [], "half a program runs nothing"
    assert rig.provider.launch(request).token == "token-mid-launch"


@pytest.mark.parametrize("tokens", [("token-a", "token-b"), ("token-same", "token-same")])
def test_of_launches_for_one_host_at_once_one_machine_comes(
    pool: Pool, rig: Rig, tmp_path: Path, tokens: tuple[str, str]
) -> None:
    request = rig.request()
    planes = [adapter(pool, tmp_path / name) for name in ("one", "other")]
    gate = threading.Barrier(8)

    def launch(number: int) -> str | None:
        gate.wait()
        try:
            return planes[number % 2].launch(replace(request, token=tokens[number % 2])).token
        except NoCapacity:
            return None

    with ThreadPoolExecutor(8) as threads:
        won = set(threads.map(launch, range(8))) - {None}
    assert len(won) == 1
    listed = rig.provider.instances()
    assert {instance.token for instance in listed} == won
    assert len(list((_base(pool.hosts[0]) / "machines").iterdir())) == 1
    for plane in planes:
        plane.close()


def test_a_lock_without_anything_in_it_was_left_by_somebody_who_died_and_is_taken(pool: Pool, rig: Rig) -> None:
    rig.end(rig.running().id)
    rig.wait_for(lambda: not (_base(pool.hosts[0]) / "lock").exists())
    (_base(pool.hosts[0]) / "lock").mkdir()
    assert rig.running().region == f"127.0.0.1:{pool.hosts[0].port}"


def test_a_lock_whose_machine_is_gone_is_failed_and_the_next_launch_takes_the_host(
    pool: Pool, rig: Rig, tmp_path: Path
) -> None:
    theirs = adapter(pool, tmp_path / "theirs")
    request = replace(rig.request("token-theirs"), owner="control-plane-that-is-gone")
    left = theirs.launch(request)
    rig.wait_for(lambda: _state(rig, left) is InstanceState.RUNNING)
    theirs.close()
    for process in pool.processes(pool.hosts[0].home):
        process.kill()  # as a power cut does
    rig.wait_for(lambda: _state(rig, left) is InstanceState.FAILED)
    assert rig.offer().region == left.region, "it is offered again"
    rig.running("token-ours")
    assert [instance.token for instance in rig.provider.instances()] == ["token-ours"]


def test_a_launch_that_died_before_its_machine_began_is_failed_after_a_minute(pool: Pool, rig: Rig) -> None:
    instance = rig.running()
    kept = _base(pool.hosts[0])
    for process in pool.processes(pool.hosts[0].home):
        process.kill()
    (kept / "machines" / str(instance.token) / "first").unlink()
    assert _state(rig, instance) is InstanceState.PROVISIONING
    lock = kept / "lock" / str(instance.token)
    facts, _, rest = lock.read_text().partition("\n")
    mark, at = rest.split()
    lock.write_text(f"{facts}\n{mark} {int(at) - 61}\n")
    assert _state(rig, instance) is InstanceState.FAILED


def test_the_end_of_a_machine_takes_everything_that_it_started(pool: Pool, rig: Rig) -> None:
    home = pool.hosts[0].home
    instance = rig.running(script=SPRAWLING)
    rig.wait_for(lambda: len(pool.processes(home)) >= 4)
    node_dir = Path((_base(pool.hosts[0]) / "machines" / str(instance.token) / "node_dir").read_text().strip())
    assert node_dir.stat().st_mode & 0o077 == 0
    rig.end(instance.id)
    assert _state(rig, instance) is InstanceState.STOPPING, "one of them does not listen"
    rig.wait_for(lambda: rig.is_gone(instance.id))
    pool.wait_for_calm()
    assert not node_dir.exists()


def test_a_machine_that_crashed_is_failed_once_what_it_started_is_gone(pool: Pool, rig: Rig) -> None:
    instance = rig.running(script="#!/bin/sh\nsetsid sleep 1001 &\nsleep 0.3\nexit 3\n")
    rig.wait_for(lambda: _state(rig, instance) is InstanceState.FAILED)
    pool.wait_for_calm()
    log = _base(pool.hosts[0]) / "machines" / str(instance.token) / "log"
    assert log.exists(), "a person may want to know why"


def test_two_that_end_a_crashed_machine_leave_what_one_would(pool: Pool, rig: Rig) -> None:
    instance = rig.running(script=SLOW_TO_CRASH)
    room = _base(pool.hosts[0]) / "machines" / str(instance.token)
    rig.wait_for(lambda: _state(rig, instance) is InstanceState.STOPPING)
    (room / "ender").unlink()  # as when somebody looks between the word and the one who ends it
    assert _state(rig, instance) is InstanceState.STOPPING
    rig.wait_for(lambda: _state(rig, instance) is InstanceState.FAILED)
    pool.wait_for_calm()
    assert _state(rig, instance) is InstanceState.FAILED
    assert (room / "log").exists()


def test_a_machine_whose_agent_was_sent_away_has_ended_and_its_host_is_free(rig: Rig) -> None:
    instance = rig.provider.launch(rig.request(script="#!/bin/sh\nexit 0\n"))
    rig.wait_for(lambda: _state(rig, instance) is InstanceState.TERMINATED)
    assert rig.offer().region == instance.region


def test_an_end_that_somebody_began_and_did_not_finish_is_taken_up_by_whoever_looks(pool: Pool, rig: Rig) -> None:
    instance = rig.running()
    (_base(pool.hosts[0]) / "machines" / str(instance.token) / "ending").write_text("terminated\n")
    rig.wait_for(lambda: rig.listed(instance.id) is None)
    pool.wait_for_calm()


def test_a_log_that_grows_without_end_is_cut(pool: Pool, rig: Rig) -> None:
    instance = rig.running()
    log = _base(pool.hosts[0]) / "machines" / str(instance.token) / "log"
    log.write_bytes(b"x" * 3_000_000)
    rig.provider.instances()
    assert log.stat().st_size == 524_288


def test_a_host_under_two_names_has_its_machine_once(pool: Pool, rig: Rig, tmp_path: Path) -> None:
    instance = rig.running()
    twice = adapter(pool, tmp_path / "twice", hosts=f"{pool.option},ada@localhost:{pool.hosts[0].port}=1")
    assert [listed.id for listed in twice.instances()] == [instance.id]
    assert [offer.price_usd_per_hour for offer in twice.offers()] == [2.0]
    twice.close()


def test_a_token_that_is_no_name_for_a_file_is_rejected(rig: Rig) -> None:
    with pytest.raises(RequestRejected, match="token"):
        rig.provider.launch(rig.request("../../etc"))


@pytest.mark.parametrize(
    "text", ["", "gpu-1", "ada@gpu-1:0", "ada@gpu-1:70000", "ada@gpu-1=free", "a@b,a@b:22", "-x@h", "a@-oProxy=1", 7]
)
def test_a_pool_that_cannot_be_read_says_how_to_write_it(text: object) -> None:
    with pytest.raises(InvalidRequest, match="usd_per_hour"):
        hosts.parse(text)


def test_a_pool_is_users_addresses_ports_and_prices() -> None:
    assert hosts.parse("ada@gpu-1=2.5, root@[::1]:2222,") == (
        hosts.Host("ada", "gpu-1", 22, 2.5),
        hosts.Host("root", "::1", 2222, 0.0),
    )


def test_a_key_may_come_in_one_line_as_a_prompt_takes_it(pool: Pool, tmp_path: Path) -> None:
    provider = adapter(pool, tmp_path, key=base64.b64encode(pool.private_key.encode()).decode())
    assert provider.check().account == "2 of 2 hosts answer"
    provider.close()


def test_a_key_that_cannot_be_read_is_refused_before_any_call_and_not_shown(pool: Pool, tmp_path: Path) -> None:
    locked = pool.key.export_private_key("pkcs8-pem", "open sesame").decode()
    for text in ("not-a-key", locked):
        with pytest.raises(InvalidRequest, match="ssh-keygen") as caught:
            adapter(pool, tmp_path, key=text)
        assert text not in str(caught.value)
