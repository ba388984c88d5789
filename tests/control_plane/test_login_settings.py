"""The `login:` section is read strictly, and what a provider says becomes a person or a refusal."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from godwit.control_plane.login import claims as said
from godwit.control_plane.login import section
from godwit.control_plane.login.claims import Person, Refused
from godwit.control_plane.login.section import Line, LoginSettings
from godwit.domain.access import Role
from godwit.domain.errors import InvalidRequest
from hypothesis import given, settings
from hypothesis import strategies as st

PATH = Path("config.yaml")
LEAST = {"issuer": "https://id.example.com/tenant", "client_id": "godwit", "default_role": "viewer"}


def read(env: dict[str, str] | None = None, **changes: Any) -> LoginSettings:
    known = section.read({key: value for key, value in (LEAST | changes).items() if value is not None}, env or {}, PATH)
    assert known is not None
    return known


def test_without_the_section_there_are_tokens_only() -> None:
    assert section.read(None, {}, PATH) is None


def test_the_least_that_is_needed_has_good_defaults() -> None:
    known = read()
    assert (known.name, known.scopes, known.person, known.groups) == (
        "id.example.com", ("openid", "profile", "email"), "email", "groups",
    )  # fmt: skip
    assert (known.default_role, known.client_secret, known.session_s) == (Role.VIEWER, "", 12 * 3600.0)


def test_everything_that_can_be_said_is_taken() -> None:
    lines = [{"group": "ml-admins", "role": "admin"}, {"group": "vision", "role": "member", "project": "vision"}]
    known = read(
        {"OIDC": "s3cret"}, name="Example", client_secret_env="OIDC", scopes=["groups"], person="name", groups="a.b",
        map=lines, default_role="none", domains=["Example.com".lower()], trust_email=True, session_h=1,
    )  # fmt: skip
    assert known.map == (Line("ml-admins", Role.ADMIN), Line("vision", Role.MEMBER, "vision"))
    assert (known.client_secret, known.scopes, known.default_role) == ("s3cret", ("openid", "groups"), None)
    assert (known.domains, known.trust_email, known.session_s) == (("example.com",), True, 3600.0)
    assert "s3cret" not in repr(known)


def test_a_secret_lies_in_the_environment_or_a_file_and_never_in_the_settings(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of-the-file\n")
    assert read(client_secret_file=str(tmp_path / "secret")).client_secret == "of-the-file"
    with pytest.raises(InvalidRequest, match="client_secret_env or client_secret_file") as refused:
        read(client_secret="in-the-open")
    assert "in-the-open" not in refused.value.message


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"isuer": "x"}, "did you mean issuer"),
        ({"issuer": None}, "login.issuer is missing"),
        ({"client_id": None}, "login.client_id is missing"),
        ({"issuer": "http://id.example.com"}, "login.issuer must be https"),
        ({"issuer": "https://u:p@id.example.com"}, "login.issuer must be https"),
        ({"issuer": "https://id.example.com/?tenant=1"}, "login.issuer must be https"),
        ({"issuer": "https://[::1"}, "login.issuer must be https"),
        ({"issuer": 7}, "login.issuer must be a text"),
        ({"person": ""}, "login.person must be a text"),
        ({"default_role": "none"}, "nobody could log in"),
        ({"default_role": "root"}, "login.default_role must be"),
        ({"map": {"ml": "admin"}}, "login.map must be a list"),
        ({"map": ["admins"]}, "login.map.0 must hold keys"),
        ({"map": [{"group": "x", "role": "root"}]}, "login.map.0.role must be"),
        ({"map": [{"role": "admin"}]}, "login.map.0.group must be"),
        ({"map": [{"group": "x", "role": "admin", "project": "No Name"}]}, "login.map.0.project must be"),
        ({"map": [{"group": "x", "rôle": "admin"}]}, "is not known"),
        ({"scopes": "openid"}, "login.scopes must be a list"),
        ({"domains": ["@example.com"]}, "login.domains must be a list"),
        ({"domains": []}, "login.domains must be a list"),
        ({"trust_email": "yes"}, "login.trust_email must be"),
        ({"session_h": 0}, "login.session_h must be"),
        ({"session_h": 1_000}, "login.session_h must be"),
        ({"session_h": True}, "login.session_h must be"),
        ({"client_secret_env": "UNSET"}, "the environment variable UNSET"),
        ({"client_secret_file": "/nowhere"}, "cannot be read"),
        ({"client_secret_env": "A", "client_secret_file": "b"}, "named twice"),
    ],
    ids=str,
)
def test_what_is_wrong_is_told_where_it_stands(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidRequest, match=told):
        read(**changes)


def test_an_issuer_on_this_machine_may_go_without_tls() -> None:
    assert read(issuer="http://127.0.0.1:8080/realms/x").issuer == "http://127.0.0.1:8080/realms/x"


def test_groups_are_a_list_or_one_word_and_may_lie_deeper() -> None:
    assert said.groups({"groups": ["a", 7, "b"]}, "groups") == {"a", "b"}
    assert said.groups({"groups": "a"}, "groups") == {"a"}
    assert said.groups({"realm_access": {"roles": ["a"]}}, "realm_access.roles") == {"a"}
    assert said.groups({"https://x.example/roles": ["a"], "https://x": {}}, "https://x.example/roles") == {"a"}


IN_DOMAIN = LoginSettings("x", "https://id", "godwit", default_role=Role.VIEWER, domains=("example.com",))


@pytest.mark.parametrize(
    ("says", "trusted", "why"),
    [
        ({"email": "ann@evil.example", "email_verified": True}, False, "domain"),
        ({"email": "ann@example.com.evil.example", "email_verified": True}, False, "domain"),
        ({"email": "example.com", "email_verified": True}, False, "domain"),
        ({"email": 7, "email_verified": True}, False, "domain"),
        ({"email": "ann@example.com"}, False, "unverified"),
        ({"email": "ann@example.com", "email_verified": False}, True, "unverified"),
        ({"email": "ann@example.com", "email_verified": "true"}, False, "unverified"),
        ({"email": "Ann@Example.COM", "email_verified": True}, False, None),
        ({"email": "ann@example.com"}, True, None),
    ],
)
def test_an_address_must_be_of_an_allowed_domain_and_verified(
    says: dict[str, Any], trusted: bool, why: str | None
) -> None:
    known = replace(IN_DOMAIN, trust_email=trusted)
    if why is None:
        assert said.person({"sub": "s", **says}, known).email == says["email"]
        return
    with pytest.raises(Refused) as refused:
        said.person({"sub": "s", **says}, known)
    assert refused.value.reason == why


_ANY = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=4,
)


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(["sub", "email", "email_verified", "groups", "a", "name"]), _ANY))
def test_whatever_a_provider_says_is_a_person_or_a_refusal(claims: dict[str, Any]) -> None:
    known = LoginSettings(
        "x", "https://id", "godwit", groups="a.b", map=(Line("admins", Role.ADMIN),), default_role=Role.VIEWER
    )
    try:
        person = said.person(claims, known)
    except Refused:
        return
    assert isinstance(person, Person)
    assert 0 < len(person.name) <= said.NAME_MAX
    assert person.name.isprintable()
    assert person.role is Role.VIEWER or said.groups(claims, "a.b") == {"admins"} or "admins" in str(claims)


@given(st.text(max_size=40))
def test_no_address_beside_the_allowed_domains_comes_in(email: str) -> None:
    claims = {"sub": "s", "email": email, "email_verified": True}
    if not email.lower().endswith("@example.com"):
        with pytest.raises(Refused):
            said.person(claims, IN_DOMAIN)
