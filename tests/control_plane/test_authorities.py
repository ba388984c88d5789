"""Authorities: one for all replicas, sealed, kept by backups, and followed by the next without anybody's doing."""

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from godwit.control_plane.agents_tls import AgentsTls
from godwit.control_plane.backup import backing, restoring
from godwit.control_plane.backup.restoring import Wish
from godwit.control_plane.envelope import Envelope, Sealed
from godwit.control_plane.home import Home
from godwit.control_plane.services import authorities, rekeying
from godwit.control_plane.store import authorities as stored
from godwit.control_plane.store import writes
from godwit.control_plane.store.authorities import Authority
from godwit.control_plane.store.database import Database, open_engine
from godwit.control_plane.vault import Vault, new_key
from godwit.domain.errors import Conflict
from hypothesis import given
from hypothesis import strategies as st

from tests.control_plane.apis import client_of
from tests.control_plane.world import World

LIFE_S = 86_400.0


def made_at(*times: float) -> list[Authority]:
    return [Authority(number, "", Sealed("", "", ""), at) for number, at in enumerate(times, start=1)]


def numbers(found: list[Authority]) -> list[int]:
    return [one.number for one in found]


@pytest.mark.parametrize(
    ("age_in_lives", "signer", "trusted"),
    [(0.0, 1, [1, 2]), (0.99, 1, [1, 2]), (1.0, 2, [1, 2]), (1.99, 2, [1, 2]), (2.0, 2, [2])],
)
def test_a_new_one_is_believed_at_once_signs_after_a_life_and_stands_alone_after_two(
    age_in_lives: float, signer: int, trusted: list[int]
) -> None:
    known = made_at(0.0, 100 * LIFE_S)
    now = (100 + age_in_lives) * LIFE_S
    assert authorities.signing(known, now, LIFE_S).number == signer
    assert numbers(authorities.trusted(known, now, LIFE_S)) == trusted


@given(st.lists(st.floats(0, 1e7), min_size=1, max_size=5).map(sorted), st.floats(0, 2e7), st.floats(300, 1e6))
def test_whoever_signed_what_may_live_is_believed_and_whoever_signs_was_believed_for_a_life(
    times: list[float], now: float, life_s: float
) -> None:
    known = made_at(*times)
    believed = numbers(authorities.trusted(known, now, life_s))
    for earlier in (now, now - life_s / 2, now - life_s + 1):
        assert authorities.signing(known, earlier, life_s).number in believed
    then = authorities.signing(known, now, life_s).number
    assert then == 1 or then in numbers(authorities.trusted(known, now - life_s + 1, life_s))


def test_replicas_that_start_at_once_have_the_same_one(world: World) -> None:
    found: list[str] = []
    start = threading.Barrier(6)

    def begin() -> None:
        start.wait()
        found.append(authorities.ensure(world.context)[0].certificate)

    threads = [threading.Thread(target=begin) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1
    assert world.rows(stored.authorities) == 1


def test_its_key_lies_sealed_and_no_other_home_opens_it(embedded: World) -> None:
    (one,) = authorities.ensure(embedded.context)
    assert "PRIVATE" in authorities.opened(embedded.context, one).key
    assert "PRIVATE" not in json.dumps([one.key.text, one.key.wrapped, one.certificate])
    other = replace(embedded.context, envelope=Envelope([b"o" * 32]))
    with pytest.raises(Conflict, match=r"restore credentials\.key"):
        authorities.ensure(other)


def test_the_key_of_one_does_not_open_as_that_of_another(embedded: World) -> None:
    (one,) = authorities.ensure(embedded.context)
    with pytest.raises(Conflict):
        authorities.opened(embedded.context, replace(one, number=2))


def test_a_new_key_of_the_home_seals_it_anew_once(embedded: World) -> None:
    (one,) = authorities.ensure(embedded.context)
    context = replace(embedded.context, envelope=Envelope([b"n" * 32, b"e" * 32]))
    vault = Vault(new_key())
    assert [rekeying.to_present_key(context, vault) for _ in range(2)] == [1, 0]
    later = replace(context, envelope=Envelope([b"n" * 32]))
    assert authorities.ensure(later)[0].certificate == one.certificate


def test_another_is_not_begun_while_agents_move_to_one(embedded: World) -> None:
    authorities.ensure(embedded.context)
    assert authorities.rotate(embedded.context).number == 2
    with pytest.raises(Conflict, match="moving to another authority already"):
        authorities.rotate(embedded.context)
    embedded.clock.advance(2 * LIFE_S)
    assert authorities.rotate(embedded.context).number == 3


def test_a_backup_has_it_sealed_and_a_restore_brings_it_back(world: World, tmp_path: Path) -> None:
    home = tmp_path / "home"
    Home(home).keyring()
    Home(home).token()
    url = world.db.engine.url.render_as_string(hide_password=False)
    (home / "config.yaml").write_text(f"database: {url}\nproviders: []\n")
    with world.db.write() as tx:
        writes.set_meta(tx, "identity", "godwit-test")
    context = replace(world.context, envelope=Home(home).envelope())
    (one,) = authorities.ensure(context)
    key = authorities.opened(context, one).key
    backing.backup(home, tmp_path / "b", world.clock.now())
    assert key.splitlines()[1].encode() not in (tmp_path / "b").read_bytes()
    with world.db.write() as tx:
        tx.conn.execute(stored.authorities.delete())
    restoring.restore(home, tmp_path / "b", world.clock.now(), Wish(over_newer=True))
    db = Database(open_engine(url))
    (back,) = authorities.ensure(replace(context, db=db))
    assert (back.certificate, authorities.opened(context, back).key) == (one.certificate, key)
    db.close()


def test_people_see_who_signs_and_administrators_begin_the_next(embedded: World) -> None:
    embedded.context = replace(embedded.context, agents_tls=AgentsTls("https://127.0.0.1:7465"))
    client = client_of(embedded)
    assert client.get("/v1/authorities").json()["items"] == []
    authorities.ensure(embedded.context)
    begun = client.post("/v1/authorities")
    assert (begun.status_code, begun.json()["number"], begun.json()["state"]) == (201, 2, "coming")
    assert client.post("/v1/authorities").status_code == 409
    seen = []
    for _ in range(3):
        seen.append([one["state"] for one in client.get("/v1/authorities").json()["items"]])
        embedded.clock.advance(LIFE_S)
    assert seen == [["signs", "coming"], ["trusted", "signs"], ["over", "signs"]]
    assert "PRIVATE" not in client.get("/v1/authorities").text


def test_without_the_listener_there_is_nothing_to_begin(embedded: World) -> None:
    answer = client_of(embedded).post("/v1/authorities")
    assert (answer.status_code, "set `agents_tls`" in answer.json()["detail"]) == (409, True)
