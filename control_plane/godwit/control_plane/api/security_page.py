"""Prints docs/security.md: `python -m godwit.control_plane.api.security_page > docs/security.md`."""

import sys
from collections.abc import Iterator

from godwit.control_plane.api.access import CACHE_S, DASHBOARD_HEADER
from godwit.control_plane.api.roles import RULES, SCOPES, UNSCOPED, Door, Reach, Rule, first_word
from godwit.control_plane.api.standing import LOOK_S
from godwit.control_plane.services.device_logins import LOGIN_S, WAITS_S
from godwit.control_plane.services.sessions import CODE_S, SESSION_S
from godwit.domain.access import Role

_ROLES = {
    Role.VIEWER: "reads",
    Role.MEMBER: "also submits, cancels, moves and scales work, and enters its development environments",
    Role.OPERATOR: "also changes nodes, incidents, the breaker, and API keys of services",
    Role.ADMIN: "also changes projects, providers and tokens, and reads the audit log",
}

_REACHES = {
    Reach.SHARED: "all that its role may: nothing of a project is in it",
    Reach.LISTED: "only what belongs to its project",
    Reach.SPEC: "submits to its project, whatever the specification leaves out",
    Reach.JOB: "jobs of its project",
    Reach.ASKED_JOB: "if it asks about one job of its project",
    Reach.ARRAY: "arrays of its project",
    Reach.SERVICE: "services of its project",
    Reach.PROJECT: "its own project",
    Reach.FLEET: "nothing",
}

_TEXT = f"""\
# Who may do what

This page is printed from the table by which requests are checked (`control_plane/api/roles.py`); a test calls every
route with every role and compares.

## People

People log in with an OpenID Connect provider, where `config.yaml` names one:

    login:
      name: Example                     # what the button says
      issuer: https://id.example.com    # as the provider itself writes it
      client_id: godwit
      client_secret_env: OIDC_SECRET    # or client_secret_file; neither for a client without a secret
      scopes: [openid, profile, email, groups]
      person: email                     # the claim that stories and the audit log call people by
      groups: groups                    # the claim with their groups; a.b is b within a
      map:                              # the first line that fits counts
        - {{group: ml-admins, role: admin}}
        - {{group: vision, role: member, project: vision}}
      default_role: none                # for who is in no group of the map: none keeps them out
      domains: [example.com]            # whose verified addresses may come in; left out: all
      session_h: 12

At the provider, register `<url>/v1/login/callback` as the only address to return to; `url` is that of `config.yaml`.
The code flow with PKCE is used, with a state that is tied to the browser by a signed cookie, and a nonce. An ID token
is believed if it is signed with a key that the provider publishes (RSA, ECDSA or EdDSA; never `none`, never HMAC), is
meant for this client, is fresh to the minute, and answers what this browser asked. A key that the provider takes back
is good here for an hour at most.

A person is known by the provider's subject; role and project are those of the last login, so a change of groups
counts from the next one on, for every session that the person has. Who logs in and is in no group of the map any more
loses the sessions and tokens of before. `godwit users` lists people; `godwit users disable ID` ends all that they have
at once. Each login is in the audit log.

`godwit login URL` lets a command line in (OAuth's device flow, RFC 8628, with the control plane's own page): it shows a
code, which a person confirms in the dashboard within {WAITS_S / 60:g} minutes. It gets a token that may do what that
person may, for {LOGIN_S / 3600:g} hours; `godwit logout` ends it, and so does whatever ends the person or the token
that let it in.

## Tokens

A token has a name, a role, and if wanted a project, scopes and an end. `godwit up` writes an administrator's into its
home; an administrator makes others:

    godwit tokens create ci --role member --project vision --scope jobs --expires 90d
    godwit tokens list
    godwit tokens rotate TOKEN-ID --overlap 24h
    godwit tokens revoke TOKEN-ID

Its text is printed once; only its SHA-256 is kept. Rotating gives it another text; the old one is good for the overlap
still. A token that is revoked ends at once where it was revoked, and at other replicas of the API as soon as the
database tells them, within {CACHE_S:g} s should that word be lost. So does what it has open: streams, logs that are
followed, terminals; the same holds for sessions and people, and for who lost the role or the project that it took (or,
should the word be lost, within {LOOK_S:g} s). Its last use is known to the minute. Stories, events
and the audit log call programs by their tokens' names, and no person and token share one.

## Sessions of browsers

`godwit dashboard` opens the dashboard with a one-time code, good for {CODE_S:g} s and for one use; the login form
takes a token as well, and people come by the provider. Each becomes a session of {SESSION_S / 3600:g} hours (a person's
as long as `session_h` says) in a cookie that no script reads (`HttpOnly`) and that other sites cannot send
(`SameSite=Strict`). A session has the role and the project of its person or token, and ends with it. A request that
changes something by a cookie must carry `{DASHBOARD_HEADER}: 1`, which a page of another origin cannot send.

## Roles

Each role may do all that the ones before it may.

"""

_SCOPED = """
## Tokens that are narrowed to scopes

A token with scopes reaches only these groups of routes, within what its role may; what asks about itself is open to
all. A route that is of no scope is reached only by tokens without any.

"""

_BOUND = """
## Tokens that are bound to a project

The last column of the table says what such a token may do with a route. What belongs to another project is answered as
if it were not there.

"""

_AUDIT = """
## The audit log

Every request of a person or a program that may change something is written down: when, who, by which role, what, from
where, and the status it got, be it refused. The row is in the transaction of the change itself, with the status that is
answered when all is well: whenever a control plane dies, a change has its row, and a row has its change. What is
refused, or changes nothing, is written before its answer leaves; an answer other than the change promised (the second
half of a request failed) is one more row. Bodies, queries and headers are not written, so that no secret is in it.
Previews and the signals of gateways are left out, as is what comes without a valid token. Rows are only added: the
database refuses to change or remove one. Each holds a hash of itself and of the row before, so that
`godwit audit check` (`GET /v1/audit/check`) finds a change or a gap. Whoever owns the database can take the refusal
away, cut the newest rows off, or write a whole new chain: keep the `ROWS:HASH` that a check prints elsewhere if that
matters to you, and give it to a later one, `godwit audit check --known ROWS:HASH`. `godwit audit` lists the rows.

## Every route

| route | least role | scope | a token that is bound to a project |
|---|---|---|---|
"""


def page() -> Iterator[str]:
    """The page in pieces."""
    yield _TEXT
    yield from (f"- **{role}** {may}.\n" for role, may in _ROLES.items())
    yield _SCOPED
    for scope, words in SCOPES.items():
        yield f"- *{scope}*: {', '.join(f'`{word}`' for word in words)}.\n"
    yield _BOUND
    yield from (f"- *{reach.value}*: {may}.\n" for reach, may in _REACHES.items())
    yield _AUDIT
    for route, rule in RULES.items():
        reach = "" if isinstance(rule.least, Door) else rule.reach.value
        yield f"| `{route}` | {_least(rule)} | {_scope(route, rule)} | {reach} |\n"


def _least(rule: Rule) -> str:
    if rule.least is Door.ANYBODY:
        return "none"
    return "an agent's own credential" if rule.least is Door.MACHINE else str(rule.least)


def _scope(route: str, rule: Rule) -> str:
    word = first_word(route.split()[1])
    if isinstance(rule.least, Door) or word in UNSCOPED:
        return ""
    return next((scope.value for scope, words in SCOPES.items() if word in words), "none")


if __name__ == "__main__":
    sys.stdout.writelines(page())
