"""The audit log has a row for each change that is made, and for each that is refused, whenever its writer dies."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fastapi.testclient import TestClient
from godwit.control_plane.api.access import DASHBOARD_HEADER
from godwit.control_plane.api.app import create_app
from godwit.control_plane.api.state import State
from godwit.control_plane.hints import Hints
from godwit.control_plane.services import audit, tokens
from godwit.control_plane.services.audit import Entry
from godwit.control_plane.store import access
from godwit.control_plane.store.database import Database, Transaction, open_engine
from godwit.domain.errors import Conflict
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from tests.control_plane.apis import BEARER, TOKEN, accounts_of, app_of, client_of
from tests.control_plane.world import World

GONE = OperationalError("INSERT", {}, psycopg.OperationalError("the server closed the connection"))
WANTED = {"name": "alice", "role": "member"}


class Died(BaseException):
    """The process is gone: what is not committed by now never is, and no answer leaves."""


def dies(*_args: object) -> None:
    raise Died


def names(world: World) -> set[str]:
    """The tokens that there are, but for the one that every test has."""
    return {token.name for token in tokens.listed(world.context, 100, None)} - {""}


def written(world: World) -> list[tuple[str, int]]:
    """Routes and statuses in the log, the oldest first."""
    assert audit.check(world.context).is_intact
    return [(row.route, row.status) for row in reversed(audit.page(world.context, 100, None, None))]


def before_the_row(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Entry, "write", dies)


def between_the_row_and_the_commit(patch: pytest.MonkeyPatch) -> None:
    write = Entry.write

    def dying(entry: Entry, conn: Any) -> None:
        write(entry, conn)
        raise Died

    patch.setattr(Entry, "write", dying)


def after_the_commit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Entry, "committed", dies)


def before_the_answer(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Entry, "settle", dies)


@pytest.mark.parametrize(
    ("step", "is_made"),
    [
        (before_the_row, False),
        (between_the_row_and_the_commit, False),
        (after_the_commit, True),
        (before_the_answer, True),
    ],
)
def test_a_change_has_its_row_at_whatever_step_the_process_dies(
    world: World, step: Callable[[pytest.MonkeyPatch], None], is_made: bool
) -> None:
    admin = TestClient(app_of(world), headers=BEARER)
    with pytest.MonkeyPatch.context() as patch:
        step(patch)
        with pytest.raises(Died):
            admin.post("/v1/tokens", json=WANTED)
    assert names(world) == ({"alice"} if is_made else set())
    assert written(world) == ([("/v1/tokens", 201)] if is_made else [])
    assert admin.post("/v1/tokens", json={**WANTED, "name": "bob"}).status_code == 201
    assert written(world)[-1] == ("/v1/tokens", 201), "and the chain goes on"


def test_a_change_is_not_made_while_it_cannot_be_written_down(world: World) -> None:
    admin = client_of(world)
    with pytest.MonkeyPatch.context() as away:
        away.setattr(access, "add_audited", lambda _conn, _fields: (_ for _ in ()).throw(GONE))
        answers = [admin.post("/v1/tokens", json=WANTED) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [503, 503]
    assert all(answer.json()["code"] == "database-away" for answer in answers), "a whole answer, and only one"
    assert names(world) == set()
    assert written(world) == []


def test_an_answer_that_is_another_than_the_change_promised_is_written_too(world: World) -> None:
    admin = client_of(world)
    make = tokens.make

    def broken(*args: Any) -> Any:
        make(*args)
        raise Conflict("after the change")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "make", broken)
        assert admin.post("/v1/tokens", json=WANTED).status_code == 409
    assert names(world) == {"alice"}
    assert written(world) == [("/v1/tokens", 201), ("/v1/tokens", 409)]


def test_what_is_refused_changes_nothing_and_is_written_once(world: World) -> None:
    admin = client_of(world)
    assert admin.post("/v1/tokens", json={**WANTED, "project": "nowhere"}).status_code == 404
    assert admin.delete("/v1/tokens/token-test").status_code == 409
    assert written(world) == [("/v1/tokens", 404), ("/v1/tokens/{token}", 409)]


def test_a_change_of_several_transactions_is_one_row(world: World) -> None:
    admin = client_of(world)
    make = tokens.make

    def twice(context: Any, wanted: Any) -> Any:
        make(context, wanted.model_copy(update={"name": "first"}))
        return make(context, wanted)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "make", twice)
        assert admin.post("/v1/tokens", json=WANTED).status_code == 201
    assert names(world) == {"alice", "first"}
    assert written(world) == [("/v1/tokens", 201)]


def test_a_session_that_is_opened_is_written_with_whom_it_speaks_for(world: World) -> None:
    chrome = TestClient(app_of(world))
    with pytest.MonkeyPatch.context() as patch:
        before_the_answer(patch)
        with pytest.raises(Died):
            chrome.post("/v1/sessions", json={"token": TOKEN}, headers={DASHBOARD_HEADER: "1"})
    assert world.rows(access.sessions) == 1
    assert written(world) == [("/v1/sessions", 201)]


def test_what_loops_write_is_in_no_row(world: World) -> None:
    client = client_of(world)
    assert client.get("/v1/jobs").status_code == 200
    world.submit()
    world.plan()
    assert written(world) == []


@pytest.fixture
def other(postgres_urls: Iterator[str], tmp_path: Path) -> Iterator[tuple[World, World]]:
    """Two control planes on one PostgreSQL."""
    url = next(postgres_urls)
    here, there = Database(open_engine(url)), Database(open_engine(url))
    world, second = World(here, Hints(), tmp_path), World(there, Hints(), tmp_path)
    second.context = replace(world.context, db=there)
    yield world, second
    here.close()
    there.close()


def test_the_chain_is_whole_when_two_control_planes_write_at_once_and_one_dies_in_between(
    other: tuple[World, World],
) -> None:
    world, second = other
    first = client_of(world)
    state = State(second.context, second.shelf, second.logs, accounts_of(second), dict)
    clients = [first, TestClient(create_app(state), raise_server_exceptions=False, headers=BEARER)]

    def ask(number: int) -> int:
        body = {"name": f"t-{number}", "role": "viewer"}
        return clients[number % 2].post("/v1/tokens", json=body).status_code

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask, number) for number in range(40)]
        with pytest.raises(Died), second.db.write() as tx:
            hold_and_die(tx)
        assert {one.result() for one in asked} == {201}
    assert len(names(world)) == 40
    assert written(world) == [("/v1/tokens", 201)] * 40


def hold_and_die(tx: Transaction) -> None:
    """Take the next number of the chain, and die with it while others wait."""
    access.add_audited(tx.conn, {
        "at": time.time(), "actor": "nobody", "role": "admin", "project": None, "method": "POST", "route": "/",
        "path": "/", "source": "", "status": 201,
    })  # fmt: skip
    tx.conn.execute(text("SELECT pg_sleep(0.05)"))
    raise Died
