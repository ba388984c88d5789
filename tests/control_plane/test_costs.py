"""What the fleet cost is told whole, from closed hours and open ones; an hour is closed once, whatever happens."""

import pytest
from godwit.control_plane.reconcilers.posting import Bookkeeping
from godwit.control_plane.services import costs, routes
from godwit.control_plane.services.costs import Window
from godwit.control_plane.store import bills, ledger_days, ledger_sums
from godwit.control_plane.store.ledger_days import DAY_S
from godwit.control_plane.store.ledger_tables import ledger_hours
from godwit.domain.errors import InvalidRequest
from godwit.domain.wire.costs import By, CostsView
from godwit.domain.wire.routes import GatewaySignals, ServiceSignals
from sqlalchemy import select

from tests.control_plane.apis import client_of
from tests.control_plane.world import World

HOUR_S = 3_600.0


def metered(world: World) -> float:
    """What the clouds' own meters say by now."""
    return sum(float(cloud.billing()["total_usd"]) for cloud in world.clouds.values())


def total(world: World) -> float:
    """What the ledger says by now."""
    return costs.show(world.context, By.REASON).total.usd


def close(world: World) -> int:
    """Close every hour that is due."""
    return Bookkeeping(world.context).step()


def rows(world: World) -> list[tuple[object, ...]]:
    """Every closed hour."""
    with world.db.read() as conn:
        return [tuple(row) for row in conn.execute(select(ledger_hours).order_by(*ledger_hours.primary_key))]


def test_costs_are_the_clouds_meters_by_whatever_they_are_asked(world: World) -> None:
    job_id, _ = world.run()
    world.clock.advance(5 * HOUR_S)
    for _ in range(2):
        for by, key in [(By.PROJECT, "default"), (By.USER, "token t"), (By.JOB, job_id), (By.PROVIDER, "cheap")]:
            view = costs.show(world.context, by)
            assert view.total.usd == pytest.approx(metered(world), rel=1e-3)
            assert view.rows[0].key == key
            assert view.rows[0].gpu_s["busy"] == pytest.approx(8 * 5 * HOUR_S, rel=0.01)
            assert sum(row.usd for row in view.rows) == pytest.approx(view.total.usd, abs=0.01)
            assert sum(sum(line) for line in view.series.usd.values()) == pytest.approx(view.total.usd, abs=0.01)
        assert close(world) in {0, 1}
    assert costs.show(world.context, By.JOB).rows[0].label == "digits"
    assert len(rows(world)) >= 4


def test_an_hour_that_is_closed_twice_is_there_once(world: World) -> None:
    world.run()
    world.clock.advance(3 * HOUR_S)
    before = total(world)
    assert close(world) == 1
    once = rows(world)
    assert close(world) == 0
    assert rows(world) == once
    assert total(world) == pytest.approx(before)


def test_who_dies_while_hours_are_closed_goes_on_where_the_bill_stands(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run(nodes=2)
    world.clock.advance(3 * HOUR_S)
    before, posted = total(world), bills.posted

    def dies(*args: object) -> bool:
        posted(*args)  # type: ignore[arg-type]
        raise RuntimeError("killed")

    monkeypatch.setattr(bills, "posted", dies)
    with pytest.raises(RuntimeError):
        close(world)
    monkeypatch.undo()
    assert rows(world) == [], "what was begun was not kept"
    assert close(world) == 2
    assert total(world) == pytest.approx(before)


def test_a_late_word_about_a_meter_opens_the_hours_of_that_bill_again(world: World) -> None:
    _, (agent,) = world.run()
    cloud, node = world.clouds["cheap"], world.node(agent.node_id)
    world.clock.advance(HOUR_S)
    cloud.lose(str(node.instance_id))
    lost_usd = metered(world)
    with world.db.write() as tx:  # nobody hears of it for hours, in which the machine counts as paid for
        bills.end(tx, "cheap", str(node.instance_id), None, is_told=False)
    world.clock.advance(4 * HOUR_S)
    close(world)
    assert total(world) > lost_usd * 3
    cloud.tick()
    world.watch()
    close(world)
    assert total(world) == pytest.approx(lost_usd, rel=1e-3)


def test_weeks_are_told_from_days_which_a_late_word_opens_again(world: World) -> None:
    _, (agent,) = world.run()
    began = world.clock.now()
    world.clock.advance(4 * DAY_S)
    before = costs.show(world.context, By.JOB)
    close(world)
    with world.db.read() as conn:
        assert ledger_days.summed_until(conn) >= began + 2 * DAY_S
    after = costs.show(world.context, By.JOB)
    assert after.total.usd == pytest.approx(before.total.usd)
    part = costs.show(world.context, By.JOB, Window(since=bills.hour_of(began) + 5 * HOUR_S))
    assert part.total.usd == pytest.approx(after.total.usd - (5 * HOUR_S - began % HOUR_S) / HOUR_S * 20.0, rel=0.01)
    assert sum(part.series.usd["busy"]) == pytest.approx(part.total.usd, rel=0.01)
    assert after.series.bucket_s == DAY_S
    assert sum(after.series.usd["busy"]) == pytest.approx(4 * 24 * 20.0, rel=0.01)
    with world.db.write() as tx:  # it was off since its second day, and nobody knew
        bills.end(tx, "cheap", str(world.node(agent.node_id).instance_id), began + DAY_S, is_told=True)
    assert total(world) == pytest.approx(24 * 20.0, rel=0.01)
    close(world)
    assert total(world) == pytest.approx(24 * 20.0, rel=0.01)


def test_a_part_of_the_past_can_be_asked_about_and_pages_hold_all_of_it(world: World) -> None:
    for name in ("one", "two"):
        world.run(name)
    world.clock.advance(6 * HOUR_S)
    close(world)
    now = world.clock.now()
    whole = costs.show(world.context, By.JOB, Window(now - 4 * HOUR_S, now - 2 * HOUR_S))
    assert whole.total.usd == pytest.approx(2 * 2 * 20.0, rel=0.01)
    first = costs.show(world.context, By.JOB, Window(now - 4 * HOUR_S, now - 2 * HOUR_S), limit=1)
    assert (len(first.rows), first.next_cursor) == (1, "1")
    with pytest.raises(InvalidRequest):
        costs.show(world.context, By.JOB, Window(now, now - HOUR_S))


def test_what_was_lost_says_to_what_and_what_would_have_avoided_it(world: World) -> None:
    job_id, (agent,) = world.run()
    agent.beat(agent.stopped(world.attempt(job_id).id, 1, "succeeded"))
    world.plan()
    world.clock.advance(2 * HOUR_S)
    found = costs.show(world.context, By.REASON).waste
    assert (found[0].kind, found[0].subject) == ("idle", "cheap")
    assert found[0].usd == pytest.approx(40.0, rel=0.02)
    assert "300 s" in found[0].would_avoid


def test_tokens_are_counted_once_and_priced(world: World) -> None:
    world.run()
    world.clock.advance(HOUR_S)
    at = world.clock.now()
    said = ServiceSignals(
        name="chat", project="default", in_flight=0, queued=0, requests=10, shed=0, failed=0,
        tokens_in=400_000, tokens_out=600_000,
    )  # fmt: skip
    signals = GatewaySignals(gateway="g1", version=1, at=at, window_s=10.0, services=[said])
    for _ in range(3):
        routes.told(world.context, signals)  # its answers were lost
    row = costs.show(world.context, By.PROJECT).rows[0]
    assert row.tokens == 1_000_000
    assert row.usd_per_million_tokens == pytest.approx(row.usd)
    assert [s.key for s in costs.show(world.context, By.JOB).services] == ["default/chat"]
    with world.db.read() as conn:
        assert ledger_sums.served(conn, 0.0, at + 1)[0].requests == 10


def test_over_http_costs_and_their_budget_are_told(world: World) -> None:
    world.run()
    world.clock.advance(HOUR_S)
    client = client_of(world)
    reply = client.put("/v1/projects/default/budget", json={"budget_usd": 100, "on_spent": "stop-new"})
    assert (reply.status_code, reply.json()["spent_usd"]) == (200, pytest.approx(20.0, rel=0.02))
    view = CostsView.model_validate(client.get("/v1/costs?by=provider&bucket=3600").json())
    assert view.rows[0].key == "cheap"
    assert view.budgets[0].on_spent == "stop-new"
    assert client.get("/v1/budgets").json()["budgets"][0]["key"] == "default"
    assert client.get("/v1/costs?by=colour").status_code == 422
