"""What a node tells one control plane of its GPUs, all of them show."""

from dataclasses import dataclass, replace

import pytest
from godwit.control_plane.api.app import create_app
from godwit.control_plane.api.state import State
from godwit.control_plane.context import Context
from godwit.control_plane.loads import FRESH_S, MINUTE_S, Loads
from godwit.control_plane.store import told_loads
from godwit.control_plane.telling import Telling
from godwit.domain.wire.fleet import FleetView
from godwit.domain.wire.loads import GpuLoad, NodeLoad
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event
from starlette.testclient import TestClient

from tests.control_plane.apis import BEARER, accounts_of, app_of
from tests.control_plane.test_loads import load, tell
from tests.control_plane.world import World

NODES, GPUS = 5_000, 8


@dataclass
class Both:
    """Two control planes on one database; agents tell `here`, and people ask `there`."""

    world: World
    there: Context

    def __post_init__(self) -> None:
        self.tells, self.hears = Telling(self.world.context, "a"), Telling(self.there, "b")

    def turn(self) -> None:
        self.tells.step()
        self.hears.step()

    def busy(self, node_id: str, of: Context | None = None) -> list[float]:
        """What a control plane shows of a node, the other one if none is named."""
        of = of or self.there
        return [gpu.busy_percent for gpu in of.loads.newest(of.now()).get(node_id, {}).values()]


@pytest.fixture
def both(world: World) -> Both:
    return Both(world, replace(world.context, loads=Loads()))


def test_the_dashboard_of_either_shows_the_same(both: Both) -> None:
    world = both.world
    job_id, (agent,) = world.run()
    app_of(world)
    state = State(both.there, world.shelf, world.logs, accounts_of(world), dict)
    client = TestClient(create_app(state), headers=BEARER)
    before = FleetView.model_validate_json(client.get("/v1/fleet").content)
    tell(world, agent, world.attempt(job_id).id, 0, 50, 100)
    both.turn()
    shown = FleetView.model_validate_json(client.get("/v1/fleet").content)
    assert shown.gpus.utilization == [0, 128, 255, -1, -1, -1, -1, -1]
    assert shown.version != before.version
    gpus = client.get(f"/v1/nodes/{agent.node_id}").json()["gpus"]
    assert [gpu["busy_percent"] for gpu in gpus[:3]] == [0, 50, 100]


def test_a_node_that_goes_on_to_the_other_is_shown_as_it_is_now(both: Both) -> None:
    now = both.world.clock.now
    both.world.context.loads.hear("n", load(now(), None, 10), now())
    both.turn()
    assert both.busy("n") == [10]
    both.world.clock.advance(5.0)
    both.there.loads.hear("n", load(now(), None, 90), now())
    both.turn()
    both.turn()
    both.tells.step()
    assert both.busy("n") == [90]
    assert both.busy("n", both.world.context) == [90]


def test_a_node_that_fell_silent_or_whose_control_plane_died_is_forgotten_in_time(both: Both) -> None:
    clock = both.world.clock
    both.world.context.loads.hear("n", load(clock.now(), None, 10), clock.now())
    clock.advance(FRESH_S / 2)
    both.turn()
    assert both.busy("n") == [10]
    clock.advance(FRESH_S / 2 + 1)
    both.hears.step()
    assert both.busy("n") == [], "what was told is as old there as here"


def test_what_others_heard_is_neither_told_on_nor_summed(both: Both) -> None:
    clock = both.world.clock
    both.world.context.loads.hear("n", load(clock.now(), "attempt", 10), clock.now())
    both.turn()
    assert both.there.loads.here(clock.now()) == {}
    assert both.there.loads.closed(clock.now() + 2 * MINUTE_S) == []


def test_one_that_ends_takes_back_what_it_told_and_who_died_is_swept_away(both: Both) -> None:
    clock, table = both.world.clock, told_loads.told_loads
    both.world.context.loads.hear("n", load(clock.now(), None, 10), clock.now())
    both.tells.step()
    assert both.world.rows(table) == 1
    clock.advance(told_loads.KEPT_S + 1)
    both.there.loads.hear("m", load(clock.now(), None, 10), clock.now())
    both.hears.step()
    assert both.world.rows(table) == 1, "a died an hour ago"
    both.hears.start()
    both.hears.stop()
    assert both.world.rows(table) == 0


def test_it_costs_three_statements_for_five_thousand_nodes_and_one_when_nothing_is_new(both: Both) -> None:
    clock = both.world.clock
    both.turn()
    for node in range(NODES):
        both.world.context.loads.hear(
            f"node-{node:012}", load(clock.now(), f"attempt-{node:012}", *[50.5] * GPUS), clock.now()
        )
    said: list[str] = []
    listen = lambda *args: said.append(args[2]) if args[2] != "BEGIN" else None  # noqa: E731
    event.listen(both.world.db.engine, "before_cursor_execute", listen)
    both.hears.step()
    assert len(said) == 1
    both.tells.step()
    assert len(said) <= 1 + 4, "the first time its row is made, and those of the dead are dropped"
    said.clear()
    both.hears.step()
    assert len(said) == 2
    said.clear()
    both.turn()
    assert len(said) == 2, "nothing is new"
    clock.advance(10.0)
    both.world.context.loads.hear("node-0", load(clock.now(), None, 1), clock.now())
    said.clear()
    both.tells.step()
    assert len(said) == 2
    event.remove(both.world.db.engine, "before_cursor_execute", listen)
    with both.world.db.read() as conn:
        data = conn.execute(told_loads.told_loads.select()).one().data
    assert len(data) < 40 * NODES * GPUS


PERCENTS = st.floats(0, 100)
LOADS = st.builds(
    NodeLoad,
    read_at=st.floats(0, 1e9).map(lambda at: round(at, 1)),
    gpus=st.lists(
        st.builds(
            GpuLoad,
            index=st.integers(0, 1_023),
            busy_percent=PERCENTS,
            memory_percent=st.none() | PERCENTS,
            power_watts=st.none() | st.floats(0, 1e5),
            attempt_id=st.none() | st.text(max_size=64),
        ),
        max_size=3,
    ),
)


@given(st.dictionaries(st.text(max_size=20), st.tuples(st.integers(0, 45).map(float), LOADS), max_size=3))
def test_what_is_packed_comes_out_as_it_was(told: dict[str, tuple[float, NodeLoad]]) -> None:
    assert told_loads.unpacked(told_loads.packed(told)) == told
