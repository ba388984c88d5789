"""Credentials of nodes: short-lived, renewed by heartbeats, bound to one agent of one node, over when the node is."""

import pytest
from godwit.control_plane import credentials, keyring
from godwit.control_plane.credentials import LIFE_S, Claim
from godwit.control_plane.keyring import Keyring
from godwit.control_plane.services import agents, node_access
from godwit.control_plane.store import schema
from godwit.domain.errors import Gone, Unauthenticated
from godwit.domain.wire import agents as wire
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from tests.control_plane.world import Agent, World

KEYRING, OTHER = Keyring(b"k" * 32), Keyring(b"o" * 32)
NOW = 1_700_000_000.0


@given(st.text(min_size=8, max_size=64), st.floats(0, LIFE_S - 2))
def test_a_credential_says_whose_it_is_for_as_long_as_it_lives(agent_id: str, passed_s: float) -> None:
    text = credentials.issue(KEYRING, "node-1", agent_id, NOW, LIFE_S)
    assert credentials.read(KEYRING, text, NOW + passed_s) == Claim("node-1", agent_id, NOW + LIFE_S)
    assert len(text) <= credentials.CHARACTERS_MAX
    assert text.isascii()


@given(st.data())
def test_a_credential_of_which_one_character_was_changed_is_refused(data: st.DataObject) -> None:
    text = credentials.issue(KEYRING, "node-1", "agent-0001", NOW, LIFE_S)
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda character: character != text[place]))
    with pytest.raises(Unauthenticated):
        credentials.read(KEYRING, text[:place] + other + text[place + 1 :], NOW)


@pytest.mark.parametrize("text", ["", ".", "node-1." + "0" * 64, "x" * 10_000, "é.é.1.00000000." + "0" * 64])
def test_what_is_no_credential_is_refused(text: str) -> None:
    with pytest.raises(Unauthenticated):
        credentials.read(KEYRING, text, NOW)


def test_a_credential_of_another_key_or_that_is_over_is_refused() -> None:
    text = credentials.issue(KEYRING, "node-1", "agent-0001", NOW, LIFE_S)
    with pytest.raises(Unauthenticated, match="another key"):
        credentials.read(OTHER, text, NOW)
    with pytest.raises(Unauthenticated, match="is over"):
        credentials.read(KEYRING, text, NOW + LIFE_S)


def beat(world: World, agent: Agent, *, renews: bool = True, agent_id: str = "") -> wire.HeartbeatReply:
    """A heartbeat as today's agents send it; the credential of the answer is used from then on."""
    request = wire.HeartbeatRequest(
        agent_id=agent_id or agent.agent_id, sent_at=world.clock.now(), attempts=agent.live, renews=renews
    )
    reply = agents.heartbeat(world.context, agent.credential, request)
    agent.credential = reply.credential or agent.credential
    return reply


def test_a_heartbeat_brings_a_new_credential_once_half_of_the_old_ones_life_is_gone(embedded: World) -> None:
    _, (agent,) = embedded.run()
    first = agent.credential
    embedded.clock.advance(LIFE_S / 2 - 60)
    assert beat(embedded, agent).credential is None
    embedded.clock.advance(60)
    assert beat(embedded, agent).credential not in {None, first}
    embedded.clock.advance(LIFE_S / 2 - 60)
    agent.credential, renewed = first, agent.credential
    assert beat(embedded, agent).lease_s  # the old one is good until its end: the answer may have been lost
    agent.credential = renewed
    embedded.clock.advance(120)
    assert beat(embedded, agent).lease_s
    agent.credential = first
    with pytest.raises(Unauthenticated, match="is over"):
        beat(embedded, agent)


def test_an_agent_whose_credential_is_over_joins_again_with_its_machines_token(embedded: World) -> None:
    _, (agent,) = embedded.run()
    embedded.clock.advance(LIFE_S + 1)
    with pytest.raises(Unauthenticated):
        beat(embedded, agent)
    agent.join()
    assert beat(embedded, agent).lease_s


def test_an_agent_from_before_is_sent_no_key_that_it_does_not_know(embedded: World) -> None:
    _, (agent,) = embedded.run()
    embedded.clock.advance(LIFE_S - 1)
    assert beat(embedded, agent, renews=False).credential is None


def test_a_credential_is_good_for_one_agent_only(embedded: World) -> None:
    _, (agent,) = embedded.run()
    with pytest.raises(Unauthenticated, match="another agent"):
        beat(embedded, agent, agent_id="agent-0002")
    stranger = credentials.issue(embedded.context.keyring, agent.node_id, "agent-0002", embedded.clock.now(), LIFE_S)
    agent.credential = stranger
    with pytest.raises(Unauthenticated):
        beat(embedded, agent)


def test_a_credential_opens_nothing_once_its_node_has_ended(embedded: World) -> None:
    _, (agent,) = embedded.run()
    embedded.clouds["cheap"].lose(embedded.machines()[0])
    embedded.clock.advance(30)
    embedded.watch()
    embedded.plan()
    embedded.turn()
    assert embedded.node(agent.node_id).state == "terminated"
    with embedded.db.write() as tx, pytest.raises(Gone):
        node_access.authenticate(embedded.context, tx, agent.credential)


def test_a_credential_from_before_they_expired_is_good_until_its_agent_shows_a_renewed_one(embedded: World) -> None:
    _, (agent,) = embedded.run()
    former = f"{agent.node_id}.{'a' * 64}"
    with embedded.db.write() as tx:
        tx.conn.execute(update(schema.agents).values(credential_hash=keyring.digest(former)))
    agent.credential = former
    embedded.clock.advance(30 * LIFE_S)
    assert beat(embedded, agent, renews=False).lease_s
    assert beat(embedded, agent).credential == agent.credential
    assert credentials.is_derived(agent.credential)
    agent.credential, renewed = former, agent.credential
    assert beat(embedded, agent).lease_s  # its answer was lost, and the agent does not know the new one
    agent.credential = renewed
    assert beat(embedded, agent).lease_s
    agent.credential = former
    with pytest.raises(Unauthenticated):
        beat(embedded, agent)
