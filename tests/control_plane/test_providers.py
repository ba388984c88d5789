"""Accounts at clouds: checked before they are stored, encrypted at rest, never shown again."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from godwit.control_plane.home import Home
from godwit.control_plane.roster import Roster
from godwit.control_plane.services.providers import Accounts
from godwit.control_plane.store import schema
from godwit.control_plane.vault import Vault, new_key
from godwit.domain.errors import Conflict, InvalidRequest, NotFound, ProviderUnavailable
from godwit.domain.ids import ProviderName
from godwit.domain.wire.providers import ProviderIn
from godwit.providers.layers import CallMetrics
from sqlalchemy import select

from tests.control_plane.apis import client_of
from tests.control_plane.world import World
from tests.emulators.emulator import API_KEY
from tests.emulators.lambdalabs.emulator import SHAPES, LambdaEmulator

KEY = new_key()


@pytest.fixture(scope="module")
def cloud() -> Iterator[str]:
    """The address of an emulated Lambda Cloud."""
    with LambdaEmulator(SHAPES).serving() as url:
        yield url


def accounts(world: World, roster: Roster | None = None, key: bytes = KEY) -> Accounts:
    if roster is None:
        roster = Roster(world.context.providers)
    return Accounts(world.context, roster, Vault(key), Path("/nowhere"), CallMetrics())


def account(url: str, api_key: str = API_KEY) -> ProviderIn:
    return ProviderIn(kind="lambda", options={"url": url}, secrets={"api_key": api_key})


def test_an_account_is_checked_stored_and_used_at_once(embedded: World, cloud: str) -> None:
    roster = Roster(embedded.context.providers)
    heard: list[str] = []
    roster.on_add = lambda provider: heard.append(provider.name)
    assert accounts(embedded, roster).add(account(cloud)).name == "lambda"
    assert heard == ["lambda"]
    assert {offer.provider for offer in roster[ProviderName("lambda")].offers()} == {"lambda"}


def test_credentials_are_encrypted_at_rest_and_come_back_after_a_restart(embedded: World, cloud: str) -> None:
    accounts(embedded).add(account(cloud))
    with embedded.db.read() as conn:
        row = conn.execute(select(schema.providers)).one()
    assert API_KEY not in str(tuple(row))
    later = Roster({})
    accounts(embedded, later).load()
    assert later[ProviderName("lambda")].check().permitted


def test_an_account_that_the_provider_rejects_is_not_stored(embedded: World, cloud: str) -> None:
    with pytest.raises(InvalidRequest):
        accounts(embedded).add(account(cloud, "stolen-key"))
    with pytest.raises(ProviderUnavailable):
        accounts(embedded).add(account("http://127.0.0.1:9"))
    with embedded.db.read() as conn:
        assert conn.execute(select(schema.providers)).all() == []


@pytest.mark.parametrize(
    ("request_", "path"),
    [
        (ProviderIn(kind="lamda", secrets={"api_key": "k"}), ("kind",)),
        (ProviderIn(kind="lambda"), ("secrets", "api_key")),
        (ProviderIn(kind="lambda", secrets={"api_key": "k", "token": "k"}), ("secrets", "token")),
        (ProviderIn(kind="lambda", options={"uri": "x"}, secrets={"api_key": "k"}), ("uri",)),
    ],
)
def test_what_is_wrong_is_named(embedded: World, request_: ProviderIn, path: tuple[str, ...]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        accounts(embedded).add(request_)
    assert caught.value.problems[0].path == path


def test_a_name_is_given_once(embedded: World, cloud: str) -> None:
    known = accounts(embedded)
    known.add(account(cloud))
    with pytest.raises(Conflict, match="already"):
        known.add(account(cloud))
    known.add(account(cloud).model_copy(update={"name": "lambda-two"}))


def test_a_check_says_how_an_account_stands_also_when_it_does_not(embedded: World, cloud: str) -> None:
    known = accounts(embedded)
    known.add(account(cloud))
    assert known.check("lambda").reachable
    embedded.clouds["cheap"].set_faults(embedded.clouds["cheap"].faults.model_copy(update={"unavailable": True}))
    away = known.check("cheap")
    assert not away.reachable
    assert "unavailable" in away.detail
    with pytest.raises(NotFound):
        known.check("nobody")


def test_an_account_is_removed_only_when_it_was_added(embedded: World, cloud: str) -> None:
    roster = Roster(embedded.context.providers)
    known = accounts(embedded, roster)
    known.add(account(cloud))
    known.remove("lambda")
    assert ProviderName("lambda") not in roster
    with pytest.raises(NotFound, match=r"config\.yaml"):
        known.remove("cheap")


def test_another_key_does_not_open_what_was_sealed(embedded: World, cloud: str) -> None:
    accounts(embedded).add(account(cloud))
    with pytest.raises(Conflict, match=r"credentials\.key"):
        accounts(embedded, key=Fernet.generate_key()).load()


def test_the_key_is_made_once_for_the_owner_alone_or_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "home")
    sealed = home.vault().seal({"a": "b"})
    assert home.vault().open(sealed) == {"a": "b"}
    assert ((tmp_path / "home" / "credentials.key").stat().st_mode & 0o777) == 0o600
    monkeypatch.setenv("GODWIT_CREDENTIALS_KEY", KEY.decode())
    assert home.vault().open(Vault(KEY).seal({"c": "d"})) == {"c": "d"}
    assert home.vault().open(sealed) == {"a": "b"}, "the home's own opens what it sealed, for as long as it is there"
    assert Vault(KEY).open(home.vault().seal({"e": "f"})) == {"e": "f"}, "and seals nothing more"


def test_a_key_that_is_given_in_a_file_is_the_only_one_and_none_is_made_in_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mounted").write_bytes(KEY + b"\n")
    monkeypatch.setenv("GODWIT_CREDENTIALS_KEY_FILE", str(tmp_path / "mounted"))
    home = Home(tmp_path / "home")
    assert Vault(KEY).open(home.vault().seal({"a": "b"})) == {"a": "b"}
    assert not (tmp_path / "home" / "credentials.key").exists()


@pytest.mark.parametrize(
    ("given", "mounted", "own", "said"),
    [
        ("too short", None, None, "GODWIT_CREDENTIALS_KEY is not a Fernet key"),
        (KEY.decode(), KEY.decode(), None, "both set"),
        (None, "", None, "holds 0 characters"),
        (None, "too short", None, "mounted .GODWIT_CREDENTIALS_KEY_FILE. is not a Fernet key"),
        (None, None, "", "credentials.key is empty"),
        (KEY.decode(), None, "too short", "credentials.key is not a Fernet key"),
    ],
    ids=["short", "two", "empty file", "short in a file", "empty in the home", "short in the home"],
)
def test_a_key_that_cannot_be_meant_is_refused_in_one_clear_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str | None, mounted: str | None, own: str | None, said: str
) -> None:
    home = Home(tmp_path / "home")
    if given is not None:
        monkeypatch.setenv("GODWIT_CREDENTIALS_KEY", given)
    if mounted is not None:
        (tmp_path / "mounted").write_text(mounted)
        monkeypatch.setenv("GODWIT_CREDENTIALS_KEY_FILE", str(tmp_path / "mounted"))
    if own is not None:
        (tmp_path / "home" / "credentials.key").write_text(own)
    with pytest.raises(InvalidRequest, match=said) as refused:
        home.vault()
    assert KEY.decode() not in refused.value.message


def test_the_api_never_answers_a_credential(embedded: World, cloud: str) -> None:
    client = client_of(embedded)
    body = {"kind": "lambda", "options": {"url": cloud}, "secrets": {"api_key": API_KEY}}
    added = client.post("/v1/providers", json=body)
    assert added.status_code == 201
    wrong = client.post("/v1/providers", json={**body, "name": "again", "secrets": {"api_key": "stolen-key"}})
    assert wrong.status_code == 422
    seen = [added.text, wrong.text, client.get("/v1/providers").text, client.get("/v1/provider-kinds").text]
    seen.append(client.post("/v1/providers/lambda/check").text)
    assert not any(API_KEY in text or "stolen-key" in text for text in seen)
    assert client.delete("/v1/providers/lambda").status_code == 204
