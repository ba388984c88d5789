"""A startup script that gives up: its node ends at once, for the reason it gave, and its token opens nothing else."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from godwit.control_plane.executors.bootstrap import startup_script
from godwit.control_plane.services import startups
from godwit.control_plane.store import queries
from godwit.domain.errors import Gone, Unauthenticated
from godwit.domain.intents import IntentKind
from godwit.domain.nodes import NodeState
from godwit.providers.simulated.faults import Faults
from hypothesis import given
from hypothesis import strategies as st

from tests.control_plane.apis import TOKEN, app_of, served
from tests.control_plane.machines import Machine
from tests.control_plane.world import CHEAP, Agent, World

LOG = b"E: Unable to locate package\ngodwit: gave up: no Python 3.11 or later has venv and pip\n"
REASON = "its startup script gave up: no Python 3.11 or later has venv and pip"


@pytest.fixture
def node_id(world: World) -> str:
    """A node whose machine runs and whose agent has not joined yet."""
    world.submit()
    world.turn()
    world.clock.advance(1)
    world.watch()
    (node,) = world.nodes()
    assert node.state is NodeState.JOINING
    return node.id


def report(world: World, node_id: str, log: bytes = LOG) -> None:
    startups.failed(world.context, world.join_token(node_id), log)


def told(world: World) -> list[tuple[str, list[str]]]:
    """What was heard of startup scripts: reason and last lines."""
    return [(event.reason, event.data["last_lines"]) for event in world.events(startups.EVENT)]


def test_the_node_ends_at_once_and_the_next_offer_is_bought(world: World, node_id: str) -> None:
    report(world, node_id)
    world.turn()
    failed, replacement = world.nodes(final=True)
    assert (failed.id, failed.state) == (node_id, NodeState.TERMINATING)
    assert failed.detail == f"its machine cannot be used: {REASON}"
    world.clock.advance(1)
    world.watch()
    assert failed.instance_id not in world.machines()
    assert (failed.offer.provider, replacement.offer.provider) == ("cheap", "dear")


def test_a_machine_without_python_ends_its_node_by_itself(embedded: World, tmp_path: Path) -> None:
    embedded.submit()
    embedded.turn()
    (node,) = embedded.nodes()
    (tmp_path / "machine").mkdir()
    with served(app_of(embedded)) as url:
        script = startup_script(url, embedded.join_token(node.id), embedded.context.agent_package)
        Machine(tmp_path / "machine", "curl").boot(["sh"], script)
    embedded.plan()
    assert embedded.node(node.id).state is NodeState.TERMINATING
    ((reason, lines),) = told(embedded)
    assert reason.startswith(f"its startup script gave up: cannot install {embedded.context.agent_package}: no Python")
    assert lines[0].startswith("godwit: no Python here has the agent")


def test_its_offer_is_passed_over_and_trusted_less(world: World, node_id: str) -> None:
    report(world, node_id)
    with world.db.read() as conn:
        (hold,) = queries.holds(conn, world.clock.now())
        record = queries.records(conn)[hold.offer_key]
    assert (CHEAP.instance_type in hold.offer_key, hold.reason, record.failures) == (True, REASON, 1)


def test_the_story_of_node_and_job_holds_the_reason_and_the_last_lines(world: World, node_id: str) -> None:
    report(world, node_id)
    (event,) = world.events(startups.EVENT)
    assert (event.subject_id, event.node_id, event.actor) == (node_id, node_id, f"startup script of {node_id}")
    assert event.job_id == world.node(node_id).reserved_for is not None
    assert told(world) == [(REASON, LOG.decode().splitlines())]


def test_twice_is_once(world: World, node_id: str) -> None:
    report(world, node_id)
    before = (world.events(), world.node(node_id))
    report(world, node_id, b"something else")
    assert (world.events(), world.node(node_id)) == before


def test_a_machine_that_gave_up_cannot_join_any_more(world: World, node_id: str) -> None:
    report(world, node_id)
    world.plan()
    with pytest.raises(Gone):
        Agent(world, node_id).join()


def test_a_report_uses_the_token_up_for_nobody(world: World, node_id: str) -> None:
    """Its agent may be starting at this very moment: then it joins, and is sent away like any other."""
    report(world, node_id)
    Agent(world, node_id).join()
    world.plan()
    assert world.node(node_id).state is NodeState.TERMINATING


def test_a_node_that_had_joined_is_left_to_its_lease(world: World) -> None:
    job_id, (agent,) = world.run()
    report(world, agent.node_id, b"godwit: gave up: the agent died 40 times")
    world.plan()
    assert world.node(agent.node_id).state is NodeState.READY
    assert world.job(job_id).state == "running"
    assert [reason for reason, _ in told(world)] == ["its startup script gave up: the agent died 40 times"]


def test_a_report_before_the_launch_was_answered_ends_what_was_launched(world: World) -> None:
    world.clouds["cheap"].set_faults(Faults(lose_answers=1))
    world.submit()
    world.plan_only()
    world.execute()
    (node,) = world.nodes()
    assert node.state is NodeState.REQUESTED
    report(world, node.id)
    world.plan()
    assert world.intents(IntentKind.LAUNCH_NODE, node.id)[0].state == "cancelled"
    for _ in range(5):
        world.clock.advance(1)
        world.execute()
        world.watch()
    assert world.node(node.id).state is NodeState.TERMINATED
    assert all(machine not in world.clouds["cheap"].live() for machine in world.machines())


def test_a_report_after_the_end_is_kept_for_whoever_asks_why(world: World, node_id: str) -> None:
    world.clock.advance(601)
    world.plan()
    report(world, node_id)
    assert world.node(node_id).detail == "it was joining for too long"
    assert told(world) == [(REASON, LOG.decode().splitlines())]


@pytest.mark.parametrize("wrong", ["", "x", "node-x.00", "é.é", "{node}", "{node}.", "{node}.é", "{node}.{other}"])
def test_a_wrong_token_changes_nothing(world: World, node_id: str, wrong: str) -> None:
    before = len(world.events())
    token = wrong.format(node=node_id, other=world.context.keyring.join_token(node_id, "intent-x").partition(".")[2])
    with pytest.raises(Unauthenticated):
        startups.failed(world.context, token, LOG)
    assert (len(world.events()), world.node(node_id).gone) == (before, False)


def test_the_tokens_of_people_and_of_agents_are_no_join_tokens(embedded: World) -> None:
    client = TestClient(app_of(embedded))
    _, (agent,) = embedded.run()
    for token in (TOKEN, agent.credential):
        headers = {"Authorization": f"Bearer {token}"}
        assert client.post("/v1/agent/startup-failure", content=LOG, headers=headers).status_code == 401


def test_a_join_token_opens_nothing_but_joining_and_this(embedded: World) -> None:
    embedded.submit()
    embedded.turn()
    headers = {"Authorization": f"Bearer {embedded.join_token(embedded.nodes()[0].id)}"}
    client = TestClient(app_of(embedded), headers=headers)
    assert client.get("/v1/nodes").status_code == 401
    assert client.post("/v1/agent/heartbeat", json={"agent_id": "agent-0001"}).status_code == 401
    assert client.post("/v1/agent/startup-failure", content=LOG).status_code == 204
    assert client.post("/v1/agent/startup-failure", content=LOG).status_code == 204


def test_more_than_the_end_of_a_log_is_refused(embedded: World) -> None:
    embedded.submit()
    embedded.turn()
    node = embedded.nodes()[0]
    client = TestClient(app_of(embedded), headers={"Authorization": f"Bearer {embedded.join_token(node.id)}"})
    response = client.post("/v1/agent/startup-failure", content=b"x" * (startups.LOG_BYTES_MAX + 1))
    assert (response.status_code, response.json()["code"]) == (413, "too-large")
    assert not embedded.node(node.id).gone


def test_a_log_that_holds_the_token_is_stored_without_it(embedded: World) -> None:
    embedded.submit()
    embedded.turn()
    token = embedded.join_token(embedded.nodes()[0].id)
    startups.failed(embedded.context, token, f"+ GODWIT_JOIN_TOKEN={token}\ngodwit: gave up: with {token}\n".encode())
    (event,) = embedded.events(startups.EVENT)
    assert token.partition(".")[2] not in str(event)
    assert event.reason.endswith("gave up: with (the join token)")


@given(st.binary(max_size=startups.LOG_BYTES_MAX))
def test_whatever_a_machine_says_is_kept_short_and_harmless_to_read(log: bytes) -> None:
    lines = startups.readable(log, "node-1.secret")
    assert len(lines) <= startups.LINES_MAX
    assert all(line.isprintable() and 0 < len(line) <= startups.LINE_CHARACTERS_MAX for line in lines)


def test_the_reason_is_found_behind_words_that_did_not_end_their_line(embedded: World) -> None:
    embedded.submit()
    embedded.turn()
    startups.failed(embedded.context, embedded.join_token(embedded.nodes()[0].id), b"Killedgodwit: gave up: why\n")
    assert told(embedded) == [("its startup script gave up: why", ["Killedgodwit: gave up: why"])]


def test_an_empty_report_is_one_too(embedded: World) -> None:
    embedded.submit()
    embedded.turn()
    startups.failed(embedded.context, embedded.join_token(embedded.nodes()[0].id), b"\n \n")
    assert told(embedded) == [("its startup script gave up: it gave no reason", [])]
