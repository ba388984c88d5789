"""Agents come by TLS and show a certificate: real connections over loopback, with agents' own code at the other end."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from godwit.agents import certificates as of_agents
from godwit.agents import joining
from godwit.agents.link import Forgotten, Link, Unreachable
from godwit.agents.renewing import Renewal
from godwit.control_plane import certificates, credentials
from godwit.control_plane.certificates import Pair
from godwit.control_plane.services import authorities
from godwit.control_plane.store import queries
from godwit.domain.wire.agents import CommandsRequest

from tests.control_plane.tls import Machine, Plane, served
from tests.control_plane.world import World

DAY_S = credentials.LIFE_S


@pytest.fixture
def plane(embedded: World, tmp_path: Path) -> Iterator[Plane]:
    with served(embedded, tmp_path) as plane:
        yield plane


def beat_with(machine: Machine, pair: Pair | None, plane: Plane) -> httpx.Response:
    """A heartbeat with the machine's credential and another certificate, or none."""
    trusted = machine.kept.authorities or []
    shown = (None, "") if pair is None else (pair.certificate, pair.key)
    verify = of_agents.tls(trusted, machine.chosen.node_dir, *shown)
    headers = {"Authorization": f"Bearer {machine.kept.credential}"}
    body = {"agent_id": "agent-0001"}
    return httpx.post(f"{plane.url}/v1/agent/heartbeat", json=body, headers=headers, verify=verify, timeout=20)


def test_a_machine_joins_by_tls_and_is_heard(plane: Plane) -> None:
    machine = plane.joined()
    assert plane.world.node(machine.node_id).state == "ready"
    assert machine.kept.url == plane.url
    assert machine.beat().lease_s > 0
    assert machine.link().commands(CommandsRequest(wait_s=0)).commands != []


def test_its_key_and_credential_lie_where_only_it_reads_them_and_the_key_is_nowhere_else(plane: Plane) -> None:
    machine = plane.joined()
    assert (machine.chosen.node_dir / "credential").stat().st_mode & 0o777 == 0o600
    files = [path for path in machine.chosen.node_dir.rglob("*") if path.is_file() and "PRIVATE" in path.read_text()]
    assert [path.name for path in files] == ["credential"]
    assert machine.kept.key not in Path(str(plane.world.db.engine.url.database)).read_bytes().decode("latin-1")


def test_without_a_certificate_a_credential_opens_nothing_and_the_agent_joins_again(plane: Plane) -> None:
    machine = plane.joined()
    trusting = of_agents.tls(machine.kept.authorities or [], machine.chosen.node_dir)
    with pytest.raises(Forgotten, match="no certificate of a node was shown; start the agent again"):
        machine.beat(Link(plane.url, machine.kept.credential, trusting))


def test_the_certificate_of_one_node_with_the_credential_of_another_opens_neither(plane: Plane) -> None:
    first, second = plane.joined(0), plane.joined(1)
    stolen = Pair(first.kept.certificate or "", first.kept.key)
    answer = beat_with(second, stolen, plane)
    assert answer.status_code == 401
    assert f"the certificate is of node {first.node_id}, and the credential of another" in answer.json()["detail"]


def test_a_certificate_that_is_over_is_refused_by_the_control_planes_clock_and_joining_helps(plane: Plane) -> None:
    machine = plane.joined()
    plane.world.clock.advance(DAY_S - 1)
    assert machine.beat().credential is not None
    plane.world.clock.advance(1)
    with pytest.raises(Forgotten, match="is over, it was not renewed in time; start the agent again"):
        machine.beat()
    (machine.chosen.node_dir / "credential").unlink()
    machine.join()
    assert machine.beat().lease_s > 0


def test_a_certificate_of_another_authority_is_refused_in_the_handshake_and_the_agent_says_what_to_do(
    plane: Plane,
) -> None:
    machine, now = plane.joined(), plane.world.clock.now()
    other = certificates.make_authority("another", now)
    key, csr = of_agents.new_key()
    agent_id = "agent-0001"
    machine.keep(key=key, certificate=certificates.certify(other, csr, machine.node_id, agent_id, now, DAY_S))
    with pytest.raises(Unreachable, match="does not believe the authority of this node's certificate"):
        machine.beat()


def test_who_is_not_this_nodes_control_plane_is_shown_nothing(plane: Plane) -> None:
    machine = plane.joined()
    machine.keep(authorities=[certificates.make_authority("another", plane.world.clock.now()).certificate])
    with pytest.raises(Unreachable, match="no certificate of an authority that this node knows"):
        machine.beat()


def test_who_does_not_know_the_join_token_is_shown_nothing(plane: Plane) -> None:
    machine = plane.machine()
    node_id, _, _ = machine.chosen.join_token.partition(".")
    with pytest.raises(Unreachable, match="does not know the join token of this machine"):
        of_agents.discovered(Link(plane.plain), f"{node_id}.{'0' * 64}")
    assert plane.world.node(machine.node_id).state == "joining"


def test_a_proof_answers_one_question_only(plane: Plane) -> None:
    machine = plane.machine()
    ask = {"node": machine.node_id, "nonce": "0" * 32}
    first = httpx.get(f"{plane.plain}/v1/agent/authorities", params=ask).json()
    second = httpx.get(f"{plane.plain}/v1/agent/authorities", params={**ask, "nonce": "1" * 32}).json()
    assert first["certificates"] == second["certificates"]
    assert set(first["proofs"]) & set(second["proofs"]) == set()
    assert machine.chosen.join_token not in str(first)


def test_the_plain_listener_takes_no_agent_and_says_where_to_go(plane: Plane) -> None:
    machine = plane.joined()
    with pytest.raises(Unreachable, match=f"agents reach this control plane at {plane.url} only"):
        machine.beat(Link(plane.plain, machine.kept.credential))
    answer = httpx.post(f"{plane.plain}/v1/agent/join", headers={"Authorization": "Bearer x"}, json={})
    assert (answer.status_code, answer.headers["upgrade"]) == (426, "TLS/1.3")
    refused, instruments = {"route": "uncertified", "method": "POST", "code": "426"}, plane.world.context.instruments
    assert instruments.registry.get_sample_value("godwit_api_requests_total", refused) == 2


def test_the_listener_for_agents_has_nothing_for_people(plane: Plane) -> None:
    with plane.joined().client() as client:
        assert client.get("/v1/jobs").status_code == 404
        assert client.get("/ui/").status_code == 404
        assert client.get("/v1/version").status_code == 200


def test_while_agents_move_those_from_before_come_by_the_plain_way_and_no_others(
    embedded: World, tmp_path: Path
) -> None:
    with served(embedded, tmp_path, required=False) as plane:
        _, (agent,) = embedded.run("before")
        before = Link(plane.plain, agent.credential)
        assert before.commands(CommandsRequest(wait_s=0)).commands == []
        machine = plane.joined()
        with pytest.raises(Unreachable, match="with the certificate of their node"):
            machine.beat(Link(plane.plain, machine.kept.credential))
        plane.world.clock.advance(DAY_S / 2)
        renewed = machine.beat().credential
        assert renewed is not None
        with pytest.raises(Unreachable, match="with the certificate of their node"):
            machine.beat(Link(plane.plain, renewed))
        raw = {"Authorization": machine.kept.credential}  # as a WebSocket's route would take it
        assert httpx.post(f"{plane.plain}/v1/agent/heartbeat", headers=raw, json={}).status_code == 426


def test_nothing_older_than_tls_1_3_is_spoken(plane: Plane) -> None:
    context = ssl.create_default_context(cadata=plane.joined().kept.authorities[0])  # type: ignore[index]
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(httpx.ConnectError, match=r"EOF|PROTOCOL_VERSION"):
        httpx.get(f"{plane.url}/v1/version", verify=context)


class Ends:
    """Ends of terminals that only remember by which certificate they would dial."""

    def __init__(self) -> None:
        self.shown: list[ssl.SSLContext | None] = []

    def renew(self, credential: str) -> None:
        self.credential = credential

    def show(self, tls: ssl.SSLContext | None) -> None:
        self.shown.append(tls)


def test_a_heartbeat_brings_a_new_credential_and_then_a_new_key_gets_a_new_certificate(plane: Plane) -> None:
    machine, ends = plane.joined(), Ends()
    link, first = machine.link(), machine.kept
    renewal = Renewal(machine.chosen.node_dir, first, link, ends, lambda: 0.0)  # type: ignore[arg-type]
    plane.world.clock.advance(DAY_S / 2)
    renewal.answered(machine.beat(link).credential)
    second = machine.kept
    assert second.credential != first.credential
    assert second.key != first.key
    assert certificates.ends_at(second.certificate or "") == pytest.approx(plane.world.clock.now() + DAY_S, abs=2)
    assert len(ends.shown) == 1
    plane.world.clock.advance(DAY_S / 2 + 1)  # the first ones are over: what is used is what was renewed
    assert machine.beat(link).lease_s > 0


def test_a_certificate_that_did_not_come_is_asked_for_again_a_minute_later(plane: Plane) -> None:
    machine, ends, at = plane.joined(), Ends(), [0.0]
    nobody = Link("https://127.0.0.1:9", machine.kept.credential, machine.tls())
    renewal = Renewal(machine.chosen.node_dir, machine.kept, nobody, ends, lambda: at[0])  # type: ignore[arg-type]
    renewal.answered(None)
    renewal._link = machine.link()
    at[0] = 59.0
    renewal.answered(None)
    assert ends.shown == []
    at[0] = 60.0
    renewal.answered(None)
    assert len(ends.shown) == 1


def test_another_authority_takes_over_while_agents_and_connections_go_on(plane: Plane) -> None:
    world, machine, ends = plane.world, plane.joined(), Ends()
    link = machine.link()
    renewal = Renewal(machine.chosen.node_dir, machine.kept, link, ends, lambda: 0.0)  # type: ignore[arg-type]
    authorities.rotate(world.context)
    for _ in range(6):  # half a day each
        plane.listener.show(plane.listener._read())
        renewal.answered(machine.beat(link).credential)
        assert machine.beat().lease_s > 0, "by a connection of its own"
        world.clock.advance(DAY_S / 2)
    known = plane.listener._read()
    assert [one.number for one in authorities.trusted(known, world.clock.now(), DAY_S)] == [2]
    (signer,) = plane.listener.trusted()
    shown = certificates.presented(machine.kept.certificate or "")
    assert shown is not None
    assert shown.authority == signer


def test_a_certificate_of_an_authority_that_is_believed_no_more_opens_nothing(plane: Plane) -> None:
    world, machine = plane.world, plane.joined()
    authorities.rotate(world.context)
    world.clock.advance(2 * DAY_S)
    plane.listener.show(plane.listener._read())
    now = world.clock.now()
    former = authorities.opened(world.context, plane.listener._read()[0])
    key, csr = of_agents.new_key()
    forged = Pair(certificates.certify(former, csr, machine.node_id, "agent-0001", now, DAY_S), key)
    machine.keep(authorities=[plane.listener._read()[1].certificate])
    answer = beat_with(machine, forged, plane)
    assert answer.status_code == 401
    assert "an authority that is not believed any more" in answer.json()["detail"]


def test_a_node_that_ended_opens_nothing_with_a_certificate_that_lives(plane: Plane) -> None:
    machine, world = plane.joined(), plane.world
    for cloud in world.clouds.values():
        for one in list(cloud.live()):
            cloud.lose(one)
    world.clock.advance(30)
    world.watch()
    world.turn()
    assert world.node(machine.node_id).state == "terminated"
    with machine.client() as client:
        body = {"agent_id": "agent-0001"}
        answers = [client.post("/v1/agent/heartbeat", json=body), client.post("/v1/agent/commands", json={"wait_s": 0})]
        answers.append(client.post("/v1/agent/certificate", json={"csr": of_agents.new_key()[1]}))
    assert [answer.status_code for answer in answers] == [410, 410, 410]


def test_all_that_was_stolen_of_one_node_opens_nothing_of_another_on_any_route(plane: Plane) -> None:
    thief, victim = plane.joined(0), plane.joined(1)
    world = plane.world
    with world.db.read() as conn:
        (attempt,) = [a for a in queries.live_attempts(conn) if a.head.node_id == victim.node_id]
    of = {"attempt_id": attempt.id, "epoch": attempt.epoch}
    facts = {"hostname": "h", "address": "a", "agent_version": "1", "cpus": 1, "memory_gib": 1.0, "gpus": []}
    agent_id = joining.agent_id(thief.chosen.node_dir)
    calls: dict[str, tuple[dict[str, object] | None, int]] = {
        "POST /v1/agent/join": ({"agent_id": agent_id, **facts, "csr": of_agents.new_key()[1]}, 401),
        "POST /v1/agent/startup-failure": (None, 401),
        "POST /v1/agent/heartbeat": ({"agent_id": agent_id, "attempts": [of]}, 200),
        "POST /v1/agent/commands": ({"wait_s": 0}, 200),
        "POST /v1/agent/logs": ({**of, "offset": 0, "text": "x"}, 403),
        "POST /v1/agent/secrets": ({"attempt_id": attempt.id}, 403),
        "POST /v1/agent/certificate": ({"csr": of_agents.new_key()[1]}, 200),
        "GET /v1/agent/authorities": (None, 422),
        f"GET /v1/agent/archives/{'0' * 64}": (None, 403),
    }
    with thief.client() as client:
        for route, (body, status) in calls.items():
            method, path = route.split()
            answer = client.request(method, path, json=body)
            assert answer.status_code == status, (route, answer.text)
            assert victim.node_id not in answer.text, route
            if path.endswith("certificate"):
                shown = certificates.presented(answer.json()["certificate"])
                assert shown is not None
                assert shown.node_id == thief.node_id
    assert world.attempt(attempt.job_id).id == attempt.id
