"""Who is shut out loses at once what they had open, at whichever control plane: streams, logs, terminals."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from godwit.control_plane import hints as topics
from godwit.control_plane import keyring
from godwit.control_plane.api import standing as api_standing
from godwit.control_plane.api.access import COOKIE, DASHBOARD_HEADER, Doorkeeper
from godwit.control_plane.api.app import create_app
from godwit.control_plane.api.standing import Standing
from godwit.control_plane.api.state import State
from godwit.control_plane.hints import Hints
from godwit.control_plane.login.claims import Person
from godwit.control_plane.services import sessions, tokens, users
from godwit.control_plane.services.terminals import Terminals
from godwit.control_plane.store import access
from godwit.control_plane.store.database import Database, open_engine
from godwit.control_plane.wakes import Listener
from godwit.domain.access import Role
from godwit.domain.wire.access import TokenWanted
from sqlalchemy import update
from sqlalchemy.exc import OperationalError
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.control_plane.apis import BEARER, accounts_of, app_of, served
from tests.control_plane.test_any_replica import until_heard
from tests.control_plane.world import World

PATIENCE_S = 60.0
NEVER_S = 1_000.0
"""Until it would be looked without a word: longer than any test lasts."""


@dataclass
class Planes:
    """Two control planes: people ask `here`, and have things open `there`."""

    world: World
    here: str
    there: str
    hears: Hints

    def shut_out(self, token: dict[str, Any]) -> None:
        """Revoke a token, and wait until that is known `there`."""
        seen = self.hears.count(topics.ACCESS)
        self.ask("DELETE", f"/tokens/{token['id']}")
        assert self.hears.wait(topics.ACCESS, seen, PATIENCE_S)

    def ask(self, method: str, path: str, **more: Any) -> Any:
        answer = httpx.request(method, f"{self.here}/v1{path}", headers=BEARER, timeout=PATIENCE_S, **more)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def token(self, **wanted: Any) -> dict[str, Any]:
        return dict(self.ask("POST", "/tokens", json={"name": "reader", "role": "member", **wanted}))


@pytest.fixture(params=["one", "two"])
def planes(
    request: pytest.FixtureRequest, tmp_path: Path, hints: Hints, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Planes]:
    """One control plane on either side, or two on one PostgreSQL."""
    monkeypatch.setattr(api_standing, "LOOK_S", NEVER_S)
    if request.param == "one":
        world = request.getfixturevalue("embedded")
        with served(app_of(world)) as url:
            yield Planes(world, url, url, hints)
        return
    url, far = next(request.getfixturevalue("postgres_urls")), Hints()
    first, second = Database(open_engine(url), hints.announce, "a"), Database(open_engine(url), far.announce, "b")
    listener = Listener(url, "b", far.announce)
    listener.start()
    until_heard(first, far)
    world = World(first, hints, tmp_path)
    context = replace(world.context, db=second, hints=far)
    state = State(context, world.shelf, world.logs, accounts_of(world), dict, terminals=Terminals())
    with served(app_of(world)) as here, served(create_app(state)) as there:
        yield Planes(world, here, there, far)
    listener.stop()
    first.close()
    second.close()


def shown(token: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {token['secret']}"}


def rest_of(planes: Planes, path: str, headers: dict[str, str], shut_out: Callable[[], object]) -> str:
    """What a stream still says once its reader is shut out, to its end."""
    with httpx.stream("GET", f"{planes.there}/v1{path}", headers=headers, timeout=PATIENCE_S) as response:
        assert response.status_code == 200, response.read()
        pieces = response.iter_text()
        next(pieces)
        shut_out()
        return "".join(pieces)


@pytest.mark.parametrize("path", ["/events/stream", "/changes/stream", "/jobs/first/logs/stream"])
def test_a_stream_ends_when_its_token_is_revoked(planes: Planes, path: str) -> None:
    job_id = planes.world.submit("first")
    planes.world.logs.append(job_id, 1, 0, b"line\n") if "logs" in path else None
    reader = planes.token()
    rest = rest_of(planes, path, shown(reader), lambda: planes.ask("DELETE", f"/tokens/{reader['id']}"))
    assert "second" not in rest


def test_a_stream_ends_with_the_session_of_its_browser(planes: Planes) -> None:
    planes.world.submit("first")
    chrome = httpx.Client(base_url=planes.here, headers={DASHBOARD_HEADER: "1"}, timeout=PATIENCE_S)
    chrome.post("/v1/sessions", json={"token": planes.token()["secret"]}).raise_for_status()
    cookie = {"Cookie": f"{COOKIE}={chrome.cookies[COOKIE]}"}
    rest_of(planes, "/events/stream", cookie, lambda: chrome.delete("/v1/sessions/current"))


def person(role: Role = Role.ADMIN, project: str | None = None) -> Person:
    return Person("https://id", "s-1", "alice", "alice@example.org", role, project)


def arrive(world: World, who: Person) -> str:
    """Somebody logs in; the secret of their session."""
    with world.db.write() as tx:
        caller = users.arrive(world.context, tx, who, world.clock.now())
        return sessions.opened(world.context, tx, caller, world.clock.now())[1]


@pytest.mark.parametrize("how", ["disabled", "bound to a project"])
def test_a_stream_ends_when_its_person_may_not_see_it_any_more(planes: Planes, how: str) -> None:
    world = planes.world
    world.submit("first")
    cookie = {"Cookie": f"{COOKIE}={arrive(world, person())}"}
    (alice,) = planes.ask("GET", "/users")["items"]

    def shut_out() -> None:
        if how == "disabled":
            planes.ask("POST", f"/users/{alice['id']}/disable")
        else:
            arrive(world, person(Role.MEMBER, "default"))

    rest_of(planes, "/events/stream", cookie, shut_out)


def test_what_others_have_open_goes_on(planes: Planes) -> None:
    planes.world.submit("first")
    reader, other = planes.token(), planes.token(name="other")
    with httpx.stream("GET", f"{planes.there}/v1/events/stream", headers=shown(reader), timeout=PATIENCE_S) as response:
        pieces = response.iter_text()
        next(pieces)
        planes.ask("DELETE", f"/tokens/{other['id']}")
        second = planes.world.submit("second")
        assert second in next(pieces)


def opened(planes: Planes, job_id: str, reader: dict[str, Any]) -> tuple[str, dict[str, str]]:
    asked = httpx.post(f"{planes.there}/v1/jobs/{job_id}/terminals", json={}, headers=shown(reader), timeout=PATIENCE_S)
    terminal = asked.raise_for_status().json()
    return terminal["id"], {"Authorization": f"Bearer {terminal['token']}"}


def test_both_ends_of_a_terminal_are_closed_when_its_token_is_revoked(planes: Planes) -> None:
    job_id, (agent,) = planes.world.run("box", kind="dev", run=":")
    reader = planes.token()
    terminal_id, token = opened(planes, job_id, reader)
    base = planes.there.replace("http", "ws", 1)
    credential = {"Authorization": f"Bearer {agent.credential}"}
    with (
        connect(f"{base}/v1/terminals/{terminal_id}", additional_headers=token) as person_end,
        connect(f"{base}/v1/agent/terminals/{terminal_id}", additional_headers=credential) as agent_end,
    ):
        agent_end.send(b"$ ")
        assert person_end.recv(PATIENCE_S) == b"$ "
        planes.ask("DELETE", f"/tokens/{reader['id']}")
        with pytest.raises(ConnectionClosed) as closed:
            person_end.recv(PATIENCE_S)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, "log in again" in closed.value.rcvd.reason) == (1008, True)
        with pytest.raises(ConnectionClosed):
            agent_end.recv(PATIENCE_S)


def test_a_terminal_that_was_asked_for_is_not_open_to_who_was_shut_out_since(planes: Planes) -> None:
    job_id, _ = planes.world.run("box", kind="dev", run=":")
    reader = planes.token()
    terminal_id, token = opened(planes, job_id, reader)
    planes.shut_out(reader)
    url = f"{planes.there.replace('http', 'ws', 1)}/v1/terminals/{terminal_id}"
    with pytest.raises(InvalidStatus), connect(url, additional_headers=token):
        pass


def standing_of(world: World, secret: str) -> Standing:
    state = State(world.context, world.shelf, world.logs, accounts_of(world), dict)
    digest = keyring.digest(secret)
    return Standing(state, Doorkeeper(world.context), digest, False, "GET", "/v1/events/stream", {}, {})


def test_a_word_that_is_lost_is_made_up_for_by_looking(embedded: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_standing, "LOOK_S", 0.01)
    monkeypatch.setattr("godwit.control_plane.api.access.CACHE_S", 0.0)
    made = tokens.make(embedded.context, TokenWanted(name="alice", role=Role.MEMBER))
    standing = standing_of(embedded, made.secret)

    async def waited() -> None:
        over = asyncio.create_task(standing.over())
        await asyncio.sleep(0)
        assert not over.done()
        with embedded.db.write() as tx:  # and no hint
            tx.conn.execute(update(access.tokens).where(access.tokens.c.id == made.id).values(revoked_at=1.0))
        await asyncio.wait_for(over, PATIENCE_S)

    asyncio.run(waited())


def test_nobody_is_shut_out_by_a_database_that_is_away(embedded: World, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tokens.make(embedded.context, TokenWanted(name="alice", role=Role.MEMBER))
    standing = standing_of(embedded, made.secret)
    gone = OperationalError("SELECT", {}, psycopg.OperationalError("the server closed the connection"))
    monkeypatch.setattr(tokens, "behind_token", lambda *_: (_ for _ in ()).throw(gone))
    assert asyncio.run(standing.lasts())
