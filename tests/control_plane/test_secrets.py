"""Secrets of projects: written and never read, given to the nodes of an attempt, missed with a reason."""

import base64
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from fastapi.testclient import TestClient
from godwit.control_plane.envelope import Envelope
from godwit.control_plane.home import Home
from godwit.control_plane.services import jobs, project_secrets, projects, rekeying
from godwit.control_plane.store import sealed
from godwit.control_plane.vault import Vault
from godwit.domain.errors import Conflict, Forbidden, InvalidRequest, NotFound
from godwit.domain.wire.projects import ProjectIn
from godwit.domain.wire.secrets import AttemptSecrets
from sqlalchemy import select

from tests.control_plane.apis import client_of
from tests.control_plane.world import Agent, World, spec

VALUE = "hf_wJ4kq-Zr8+secret/value"
WANTS = {"secrets": {"HF_TOKEN": "hf-token"}}


def put(world: World, value: str = VALUE, name: str = "hf-token", project: str = "default") -> int:
    return project_secrets.put(world.context, project, name, value, "token t").version


def given(world: World, agent: Agent, job_id: str) -> AttemptSecrets:
    return project_secrets.of_attempt(world.context, agent.credential, world.attempt(job_id).id)


def url_of(world: World, url: str) -> None:
    object.__setattr__(world.context, "url", url)


def test_it_is_written_versioned_and_listed_and_no_answer_has_its_value(embedded: World) -> None:
    client = client_of(embedded)
    at = "/v1/projects/default/secrets"
    answers = [client.post(f"{at}/hf-token/versions", json={"value": value}) for value in (VALUE, VALUE + "2")]
    assert [(one.status_code, one.json()["version"]) for one in answers] == [(201, 1), (201, 2)]
    answers += [client.get(at), client.get(f"{at}/hf-token/versions")]
    assert [one["version"] for one in answers[-1].json()["items"]] == [2, 1]
    assert answers[-2].json()["items"][0] | {"created_at": 0.0} == {
        "name": "hf-token", "version": 2, "versions": 2, "created_at": 0.0, "created_by": "token token-test",
    }  # fmt: skip
    assert client.delete(f"{at}/hf-token/versions/1").status_code == 204
    assert client.delete(f"{at}/hf-token").status_code == 204
    answers += [
        client.get(at),
        client.get(f"{at}/hf-token/versions"),
        client.get("/v1/audit"),
        client.get("/v1/events"),
    ]
    assert VALUE not in "".join(one.text for one in answers)


@pytest.mark.parametrize(
    "value", ["", "x" * 32_769, "ä" * 16_385, "a\0bcdefg"], ids=["empty", "long", "many bytes", "zero"]
)
def test_a_value_that_no_variable_holds_is_refused_without_being_repeated(embedded: World, value: str) -> None:
    refused = client_of(embedded).post("/v1/projects/default/secrets/s/versions", json={"value": value})
    assert refused.status_code == 422
    assert len(value) < 10 or value[:10] not in refused.text


@pytest.mark.parametrize("value", ["a", "12345", "  12345  \t"])
def test_a_value_that_no_node_can_cover_in_output_is_refused(embedded: World, value: str) -> None:
    refused = client_of(embedded).post("/v1/projects/default/secrets/s/versions", json={"value": value})
    assert refused.status_code == 422
    assert "at least 6 characters" in refused.json()["detail"]
    assert put(embedded, "123456") == 1


def test_a_short_value_of_before_is_given_as_it_was(embedded: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as before:
        before.setattr(project_secrets, "CHARACTERS_MIN", 1)
        put(embedded, "abc")
    job_id, (agent,) = embedded.run(**WANTS)
    assert given(embedded, agent, job_id).values == {"HF_TOKEN": "abc"}


def test_a_job_that_names_what_is_not_there_is_refused_with_what_would_make_it(embedded: World) -> None:
    embedded.read_offers()
    with pytest.raises(InvalidRequest) as refused:
        embedded.submit(**WANTS)
    (problem,) = refused.value.problems
    assert problem.path == ("secrets", "HF_TOKEN")
    assert "`godwit secrets set hf-token --project default` makes one" in problem.message
    put(embedded)
    assert embedded.submit(**WANTS)
    with pytest.raises(InvalidRequest):
        embedded.submit("pinned", secrets={"HF_TOKEN": "hf-token@2"})


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"secrets": {"GODWIT_JOB_ID": "s"}}, "godwit or Ray sets it"),
        ({"secrets": {"A": "s"}, "env": {"A": "b"}}, "`env` sets it, too"),
        ({"secrets": {"A": "s"}, "checkpoint": {"mode": "process"}}, "into the store"),
    ],
)
def test_what_would_hide_or_leak_a_secret_is_refused(more: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        spec(**more).to_domain(0.0)
    assert said in refused.value.problems[0].message


def test_it_is_for_the_jobs_of_its_project_alone(embedded: World) -> None:
    projects.put(embedded.context, "vision", ProjectIn(), "test")
    put(embedded, project="vision")
    embedded.read_offers()
    with pytest.raises(InvalidRequest):
        embedded.submit(**WANTS)
    assert embedded.submit(project="vision", **WANTS)


def test_the_nodes_of_an_attempt_get_what_was_newest_when_the_first_asked_and_its_command_has_nothing(
    world: World,
) -> None:
    put(world)
    world.submit(nodes=2, **WANTS)
    agents = world.boot()
    job_id = world.job("digits").id
    (command,) = agents[0].commands()
    assert command.has_secrets
    assert VALUE not in command.model_dump_json()
    first = given(world, agents[0], job_id)
    put(world, "another")
    assert first.values == given(world, agents[1], job_id).values == {"HF_TOKEN": VALUE}
    (told,) = world.events("secret.given")
    assert told.reason.endswith("was given hf-token@1")
    assert [one.attempts for one in project_secrets.versions(world.context, "default", "hf-token")] == [
        [], [world.attempt(job_id).id],
    ]  # fmt: skip


def test_a_version_that_is_named_stays_that_one(embedded: World) -> None:
    put(embedded, "the first")
    put(embedded, "the second")
    job_id, (agent,) = embedded.run(secrets={"HF_TOKEN": "hf-token@1"})
    assert given(embedded, agent, job_id).values == {"HF_TOKEN": "the first"}


def test_no_node_gets_the_secrets_of_an_attempt_of_others_or_of_one_that_ended(embedded: World) -> None:
    put(embedded)
    job_id, (agent,) = embedded.run(**WANTS)
    embedded.submit("other")
    (stranger,) = embedded.boot()
    with pytest.raises(Forbidden):
        given(embedded, stranger, job_id)
    attempt = embedded.attempt(job_id)
    agent.beat(agent.stopped(attempt.id, attempt.epoch, "succeeded"))
    with pytest.raises(Forbidden):
        given(embedded, agent, job_id)


def test_a_job_whose_secret_was_removed_waits_and_says_so_until_it_is_set_again(embedded: World) -> None:
    put(embedded)
    job_id = embedded.submit(**WANTS)
    project_secrets.remove(embedded.context, "default", "hf-token", None, "token t")
    embedded.plan_only()
    why = jobs.explain(embedded.context, job_id).refusals[0]
    assert (why.code, why.subject, why.message) == ("no-secret", "secret hf-token", "of project default was removed")
    assert embedded.nodes() == []
    assert put(embedded) == 2, "the number of a version is never used again"
    embedded.boot()
    assert embedded.job(job_id).state == "starting"


def test_what_runs_with_a_removed_secret_runs_on_and_is_told_that_it_is_gone(embedded: World) -> None:
    put(embedded)
    job_id, (agent,) = embedded.run(**WANTS)
    given(embedded, agent, job_id)
    project_secrets.remove(embedded.context, "default", "hf-token", 1, "token t")
    assert given(embedded, agent, job_id) == AttemptSecrets(values={}, gone=["HF_TOKEN"])
    assert embedded.job(job_id).state == "running"
    with pytest.raises(NotFound):
        project_secrets.remove(embedded.context, "default", "hf-token", 1, "token t")


def test_nothing_passes_over_plain_http(embedded: World) -> None:
    put(embedded)
    job_id, (agent,) = embedded.run(**WANTS)
    url_of(embedded, "http://10.0.0.1:7461")
    with pytest.raises(Forbidden, match="in the clear"):
        given(embedded, agent, job_id)
    with pytest.raises(InvalidRequest) as refused:
        embedded.submit("next", **WANTS)
    assert "put TLS before it" in refused.value.problems[0].message
    for url in ("https://godwit.example.com", "http://localhost:1", "http://[::1]:7461"):
        assert project_secrets.is_private(url)


def test_bounds_are_kept(embedded: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project_secrets, "VERSIONS_MAX", 2)
    monkeypatch.setattr(project_secrets, "SECRETS_MAX", 1)
    put(embedded)
    put(embedded)
    for name, said in (("hf-token", "--version N"), ("other", "1 secrets")):
        with pytest.raises(Conflict, match=said):
            put(embedded, name=name)


def test_a_project_that_is_forgotten_takes_its_secrets_along(embedded: World) -> None:
    projects.put(embedded.context, "vision", ProjectIn(), "test")
    put(embedded, project="vision")
    projects.remove(embedded.context, "vision", "test")
    projects.put(embedded.context, "vision", ProjectIn(), "test")
    assert project_secrets.listed(embedded.context, "vision", 10, None) == []


def test_no_row_has_a_value_or_a_key(embedded: World) -> None:
    put(embedded)
    with embedded.db.read() as conn:
        rows = [dict(row) for row in conn.execute(select(sealed.secrets)).mappings()]
    assert VALUE not in str(rows)
    assert base64.b64encode(VALUE.encode()).decode() not in str(rows)


def test_a_home_with_a_new_key_before_the_old_one_needs_the_old_one_no_more(embedded: World, tmp_path: Path) -> None:
    home = Home(tmp_path)
    old = home.vault()
    object.__setattr__(embedded.context, "envelope", home.envelope())
    put(embedded)
    keys = tmp_path / "credentials.key"
    new = Fernet.generate_key()
    keys.write_bytes(new + b"\n" + keys.read_bytes())
    object.__setattr__(embedded.context, "envelope", home.envelope())
    assert home.vault().open(old.seal({"a": "b"})) == {"a": "b"}
    assert rekeying.to_present_key(embedded.context, home.vault()) == 1
    assert rekeying.to_present_key(embedded.context, home.vault()) == 0
    keys.write_bytes(new)
    object.__setattr__(embedded.context, "envelope", home.envelope())
    job_id, (agent,) = embedded.run(**WANTS)
    assert given(embedded, agent, job_id).values == {"HF_TOKEN": VALUE}


def test_with_a_lost_key_a_control_plane_starts_and_the_secret_counts_as_gone(embedded: World) -> None:
    put(embedded)
    object.__setattr__(embedded.context, "envelope", Envelope([b"z" * 32]))
    assert rekeying.to_present_key(embedded.context, Vault(Fernet.generate_key())) == 0
    job_id, (agent,) = embedded.run(**WANTS)
    assert given(embedded, agent, job_id).gone == ["HF_TOKEN"]


def test_a_client_of_another_project_is_refused(embedded: World) -> None:
    client: TestClient = client_of(embedded)
    assert client.get("/v1/projects/nobody/secrets").status_code == 404
    assert client.post("/v1/projects/nobody/secrets/s/versions", json={"value": "x" * 6}).status_code == 404
