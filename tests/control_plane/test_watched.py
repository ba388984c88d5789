"""What a worker shows of itself, and what becomes of a message that names nothing."""

from pathlib import Path

import httpx
import pytest
from godwit.control_plane.executors.claims import Claims
from godwit.control_plane.executors.database_clock import DatabaseClock
from godwit.control_plane.executors.watched import Watched
from godwit.control_plane.metrics.reading import Exposition
from godwit.control_plane.roster import Roster
from godwit.control_plane.services.providers import Accounts
from godwit.control_plane.store.database import Database, open_engine
from godwit.control_plane.vault import Vault, new_key
from godwit.control_plane.working import Worker
from godwit.domain.clock import SystemClock
from godwit.domain.errors import Conflict
from godwit.domain.ids import IntentId
from godwit.providers.layers import CallMetrics

from tests.control_plane.world import World


def get(url: str) -> httpx.Response:
    return httpx.get(url, timeout=60.0)


class Wellness:
    well = True

    def __call__(self) -> bool:
        return self.well


def test_it_says_how_it_does_and_shows_metrics_only_where_they_are_open(embedded: World) -> None:
    well = Wellness()
    exposition = Exposition(embedded.context, CallMetrics(), dict, lambda: False)
    for shows, code in ((False, 403), (True, 200)):
        watched = Watched("127.0.0.1", 0, exposition, well)
        watched.start(shows_metrics=shows)
        try:
            url = f"http://127.0.0.1:{watched.port}"
            assert get(f"{url}/healthz").status_code == 200
            assert get(f"{url}/metrics").status_code == code
            assert get(f"{url}/v1/jobs").status_code == 404
            with pytest.raises(Conflict, match="give --port another"):
                Watched("127.0.0.1", watched.port, exposition, well).start(shows_metrics=shows)
            well.well = False
            assert get(f"{url}/healthz").status_code == 503
            well.well = True
        finally:
            watched.stop()


def test_a_message_of_an_intent_that_is_unknown_or_done_is_counted_and_does_nothing(embedded: World) -> None:
    context = embedded.context
    accounts = Accounts(context, Roster(embedded.providers), Vault(new_key()), Path("/nowhere"), CallMetrics())
    worker = Worker(context, accounts, Claims(context.db, "w-1", embedded.clock.now), _no_clock())
    embedded.submit()
    embedded.plan_only()
    (node,) = embedded.nodes()
    with context.db.read() as conn:
        intent_id = IntentId(conn.exec_driver_sql("SELECT id FROM intents").scalar_one())
    for one in (IntentId("intent-of-before-a-restore"), intent_id, intent_id):
        worker.carry_out(one)
    text = Exposition(context, CallMetrics(), dict, lambda: False).text().decode()
    assert 'godwit_tasks_total{outcome="carried"} 1.0' in text
    assert 'godwit_tasks_total{outcome="nothing"} 2.0' in text
    assert embedded.node(node.id).instance_id == embedded.machines()[0]


def _no_clock() -> DatabaseClock:
    return DatabaseClock.__new__(DatabaseClock)  # not asked: the context's own is


def test_all_workers_have_the_clock_of_the_database(postgres_database_of_module: str) -> None:
    db = Database(open_engine(postgres_database_of_module))
    clock, here = DatabaseClock(db), SystemClock()
    assert abs(clock.now() - here.now()) < 60.0, "the same machine, however slow"
    clock._ahead_s -= 3_600.0
    clock.set()
    assert abs(clock.now() - here.now()) < 60.0
    db.close()
