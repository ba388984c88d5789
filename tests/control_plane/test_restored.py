"""After a restore: nothing runs twice, no machine is lost or paid for unseen, and what still runs goes on."""

from pathlib import Path

import pytest
from godwit.control_plane.leading import Lease
from godwit.control_plane.services import drills, returning
from godwit.control_plane.store import restored
from godwit.control_plane.store.leases import LeaseLost
from godwit.domain.drills import Drill
from godwit.domain.errors import Gone, ProviderUnavailable, Unauthenticated
from godwit.domain.intents import IntentKind
from godwit.domain.wire.views import DrillRequest

from tests.control_plane.restored import END_AFTER_S, Backup
from tests.control_plane.world import Agent, World

HOUR_S = 3600.0


def pass_quietly(world: World, agents: list[Agent], seconds: float = 25.0) -> None:
    """Time passes, agents are heard, and clouds are listed; more than a lease."""
    for _ in range(int(seconds)):
        world.clock.advance(1.0)
        for agent in agents:
            agent.beat()
    world.watch()


def floor_of(world: World) -> int:
    """The least epoch that jobs of the backup get."""
    with world.db.read() as conn:
        known = restored.find(conn)
    assert known is not None
    return known.epoch_floor


def bought_and_started_since(world: World, folder: Path) -> tuple[World, str, Agent, str]:
    """A job waited when the backup was taken; then a node was bought for it, and it started there an hour ago.

    Returns the control plane that came back, the job, its agent, and the join token of its machine.
    """
    job_id = world.submit("digits")
    backup = Backup(world, folder)
    (agent,) = world.boot()
    agent.take_on()
    assert world.job(job_id).state == "running"
    token = world.join_token(agent.node_id)
    world.clock.advance(HOUR_S)
    return backup.restore(world), job_id, agent, token


def test_a_job_that_started_after_the_backup_does_not_start_again_before_its_node_must_have_ended_it(
    embedded: World, tmp_path: Path
) -> None:
    later, job_id, agent, _ = bought_and_started_since(embedded, tmp_path)
    policy = later.context.policy
    later.turn()
    assert later.job(job_id).state == "queued"
    later.clock.advance(policy.lease_s + policy.lease_margin_s - 0.5)
    later.turn()
    assert len(later.machines()) == 1, "nothing is planned while the guard may not have ended it yet"
    with pytest.raises(Unauthenticated):  # which its agent takes as an order to end everything
        agent.beat()
    later.clock.advance(1.0)
    later.turn()
    assert len(later.machines()) == 2, "bought anew, since the first did not come back"
    assert [event.kind for event in later.events() if event.subject == "database"] == [
        "database.restored",
        "database.settled",
    ]


def test_a_machine_bought_after_the_backup_becomes_a_node_again_and_takes_the_job(
    embedded: World, tmp_path: Path
) -> None:
    later, job_id, agent, token = bought_and_started_since(embedded, tmp_path)
    with pytest.raises(ProviderUnavailable):  # whose it is can be told once its provider was listed
        agent.join(token=token)
    later.read_offers()
    later.watch()
    agent.live = []  # it was told that its credential is not known, and stopped everything
    agent.join(token=token)
    node = later.node(agent.node_id)
    assert (node.state, node.offer.provider, node.offer.price_usd_per_hour) == ("ready", "cheap", 20.0)
    pass_quietly(later, [agent])
    later.plan()
    (start,) = agent.take_on()
    assert (start.job_id, start.epoch) == (job_id, floor_of(later))
    assert len(later.machines()) == 1
    assert later.events("node.orphan") == []


def test_a_token_that_was_never_given_out_makes_no_node(embedded: World, tmp_path: Path) -> None:
    later, _, agent, token = bought_and_started_since(embedded, tmp_path)
    later.watch()
    with pytest.raises(Unauthenticated):
        agent.join(token=f"{token[:-8]}00000000")
    assert later.nodes() == []


def test_what_a_known_node_runs_and_the_database_forgot_is_ended_before_anything_starts(
    embedded: World, tmp_path: Path
) -> None:
    first, (agent,) = embedded.run("first")
    second = embedded.submit("second", gpus="H100:8")
    backup = Backup(embedded, tmp_path)
    agent.beat(agent.stopped(embedded.attempt(first).id, 1, "succeeded"))
    embedded.plan()
    agent.take_on()
    assert embedded.job(second).state == "running"
    later = backup.restore(embedded)
    forgotten = agent.live[0].attempt_id
    assert agent.beat().fenced == [forgotten]
    pass_quietly(later, [agent])
    later.plan()
    assert later.job(second).state == "queued", "its node still says that something of the time that is lost runs there"
    (told,) = later.events("node.stray")
    assert told.data == {"attempts": [forgotten]}
    agent.live = []
    pass_quietly(later, [agent])
    later.plan()
    agent.take_on()
    running = [job_id for job_id in (first, second) if later.job(job_id).state == "running"]
    assert len(running) == 1
    assert later.attempt(running[0]).epoch == floor_of(later) > 2


def test_a_node_that_does_not_end_what_it_was_told_to_is_sent_away(embedded: World, tmp_path: Path) -> None:
    job_id, (agent,) = embedded.run("digits")
    backup = Backup(embedded, tmp_path)
    agent.beat(agent.stopped(embedded.attempt(job_id).id, 1, "interrupted"))
    embedded.plan()
    agent.take_on()
    assert agent.live[0].epoch == 2
    later = backup.restore(embedded)
    agent.beat()
    later.clock.advance(returning.STRAYS_END_S + 1)
    with pytest.raises(Gone, match="was told to stop"):
        agent.beat()
    later.clock.advance(30.0)
    later.plan()
    assert later.node(agent.node_id).state == "lost"


def test_a_job_that_ran_all_the_time_goes_on_undisturbed(embedded: World, tmp_path: Path) -> None:
    job_id, (agent,) = embedded.run("digits")
    backup = Backup(embedded, tmp_path)
    later = backup.restore(embedded)
    pass_quietly(later, [agent])
    later.plan()
    agent.report_step(later.attempt(job_id), 7)
    assert (later.job(job_id).state, later.attempt(job_id).epoch) == ("running", 1)
    progress = later.job(job_id).progress
    assert progress is not None
    assert progress.step == 7


def test_a_job_that_ended_after_the_backup_runs_again_once_with_an_epoch_above_all_of_the_lost_time(
    embedded: World, tmp_path: Path
) -> None:
    job_id, (agent,) = embedded.run("digits")
    backup = Backup(embedded, tmp_path)
    agent.beat(agent.stopped(embedded.attempt(job_id).id, 1, "succeeded"))
    embedded.clock.advance(HOUR_S)
    later = backup.restore(embedded)
    pass_quietly(later, [agent])
    later.plan()
    (start,) = agent.take_on()
    assert (start.epoch, later.job(job_id).state) == (floor_of(later), "running")


def test_a_job_that_was_starting_is_stopped_where_it_may_have_started_and_starts_above(
    embedded: World, tmp_path: Path
) -> None:
    job_id = embedded.submit("digits")
    (agent,) = embedded.boot()
    assert embedded.attempt(job_id).state == "starting"
    backup = Backup(embedded, tmp_path)
    agent.take_on()
    assert embedded.job(job_id).state == "running"
    later = backup.restore(embedded)
    (stop,) = agent.take_on()
    assert (stop.type, agent.live) == ("stop-attempt", [])
    pass_quietly(later, [agent])
    later.plan()
    (start,) = agent.take_on()
    assert (start.epoch, later.job(job_id).interruptions) == (floor_of(later), 0)


def test_a_purchase_that_was_owed_and_was_made_since_is_found_not_made_again(embedded: World, tmp_path: Path) -> None:
    embedded.submit("digits")
    embedded.plan_only()
    backup = Backup(embedded, tmp_path)
    embedded.execute()
    (machine,) = embedded.machines()
    later = backup.restore(embedded)
    later.execute()
    later.watch()
    (node,) = later.nodes()
    assert (node.instance_id, later.machines()) == (machine, [machine])


def test_a_purchase_that_was_owed_and_was_not_made_is_made_once_lists_have_caught_up(
    embedded: World, tmp_path: Path
) -> None:
    embedded.submit("digits")
    embedded.plan_only()
    later = Backup(embedded, tmp_path).restore(embedded)
    later.execute()
    assert later.machines() == []
    later.clock.advance(31.0)
    later.execute()
    assert len(later.machines()) == 1


def test_a_node_that_ended_after_the_backup_is_found_gone(embedded: World, tmp_path: Path) -> None:
    job_id, (agent,) = embedded.run("digits")
    backup = Backup(embedded, tmp_path)
    embedded.forget_machine(agent.node_id)
    embedded.clock.advance(HOUR_S)
    later = backup.restore(embedded)
    for _ in range(3):
        later.watch()
        later.clock.advance(12.0)
    assert later.node(agent.node_id).state == "terminated"
    later.turn()
    assert later.job(job_id).state == "recovering"
    assert len(later.machines()) == 1, "bought for the job, which goes on"


def test_orphans_are_told_of_and_kept_where_nobody_said_otherwise(embedded: World, tmp_path: Path) -> None:
    later, _, _, _ = bought_and_started_since(embedded, tmp_path)
    machine = later.machines()
    for _ in range(3):
        later.watch()
        later.clock.advance(END_AFTER_S)
    assert later.machines() == machine
    (told,) = later.events("node.unknown")
    assert told.data == {"count": 1, "instances": machine}
    with later.db.read() as conn:
        assert [one.id for one in restored.all_orphans(conn)["cheap"]] == machine


def test_orphans_that_do_not_come_back_are_ended_where_that_was_asked_for(embedded: World, tmp_path: Path) -> None:
    job_id = embedded.submit("digits")
    backup = Backup(embedded, tmp_path)
    embedded.boot()
    (machine,) = embedded.machines()
    later = backup.restore(embedded, end_orphans=True)
    later.watch()
    assert later.machines() == [machine], "they have time to come back"
    later.clock.advance(END_AFTER_S)
    later.watch()
    later.clock.advance(5.0)
    later.watch()
    assert machine not in later.machines()
    assert [event.subject_id for event in later.events("node.orphan")] == [machine]
    assert later.job(job_id).state == "queued"


def test_a_fault_that_was_owed_is_not_injected_twice(embedded: World, tmp_path: Path) -> None:
    _, (agent,) = embedded.run("digits")
    drills.order(embedded.context, DrillRequest(kind=Drill.NODE_LOSS, node_id=agent.node_id), "token t")
    later = Backup(embedded, tmp_path).restore(embedded)
    assert [intent.state for intent in later.intents(IntentKind.DRILL, agent.node_id)] == ["cancelled"]


def test_whoever_follows_events_by_number_sees_those_after_the_restore(embedded: World, tmp_path: Path) -> None:
    backup = Backup(embedded, tmp_path)
    embedded.run("digits")
    seen = embedded.events()[-1].seq
    later = backup.restore(embedded)
    assert all(event.seq > seen for event in later.events() if event.kind == "database.restored")
    later.submit("next")
    assert later.events()[-1].seq > seen


def test_who_ran_the_loops_in_the_time_that_is_lost_writes_nothing_after_it(embedded: World, tmp_path: Path) -> None:
    before = Lease(embedded.db, "before", alone=True)
    before.step()
    backup = Backup(embedded, tmp_path)
    lost = Lease(embedded.db, "lost", alone=True)
    lost.step()
    later = backup.restore(embedded)
    Lease(later.db, "after", alone=False).step()
    with pytest.raises(LeaseLost), later.db.fenced(lost.fence()).write():
        pass


def test_the_same_backup_restored_twice_is_above_what_came_of_the_first(embedded: World, tmp_path: Path) -> None:
    job_id = embedded.submit("digits")
    backup = Backup(embedded, tmp_path)
    first = backup.restore(embedded)
    pass_quietly(first, [])
    (agent,) = first.boot()
    agent.take_on()
    given, seen = first.attempt(job_id).epoch, first.events()[-1].seq
    second = backup.restore(first)
    assert floor_of(second) > given
    assert second.events()[-1].seq > seen
