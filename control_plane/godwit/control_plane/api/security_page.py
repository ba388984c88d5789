"""Prints docs/security.md: `python -m godwit.control_plane.api.security_page > docs/security.md`."""

import sys
from collections.abc import Iterator

from godwit.control_plane.api.access import CACHE_S, DASHBOARD_HEADER
from godwit.control_plane.api.roles import RULES, Door, Reach, Rule
from godwit.control_plane.services.tokens import CODE_S, SESSION_S
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

## Tokens

A token has a name, a role, and if wanted a project and an end. `godwit up` writes an administrator's into its home; an
administrator makes others:

    godwit tokens create ci --role member --project vision --expires 90d
    godwit tokens
    godwit tokens revoke TOKEN-ID

Its text is printed once; only its SHA-256 is kept. A token that is revoked ends at once where it was revoked, and
within {CACHE_S:g} s at other replicas of the API. Stories, events and the audit log call people by their tokens' names.

## Sessions of browsers

`godwit dashboard` opens the dashboard with a one-time code, good for {CODE_S:g} s and for one use; the login form takes
a token as well. Either becomes a session of {SESSION_S / 3600:g} hours in a cookie that no script reads (`HttpOnly`)
and that other sites cannot send (`SameSite=Strict`). A session has the role and the project of its token, and ends with
it. A request that changes something by a cookie must carry `{DASHBOARD_HEADER}: 1`, which a page of another origin
cannot send.

## Roles

Each role may do all that the ones before it may.

"""

_BOUND = """
## Tokens that are bound to a project

The last column of the table says what such a token may do with a route. What belongs to another project is answered as
if it were not there.

"""

_AUDIT = """
## The audit log

Every request of a person or a program that may change something is written down before its answer leaves: when, who, by
which role, what, from where, and the status it got, be it refused. Bodies, queries and headers are not, so that no
secret is in it. Previews and the signals of gateways are left out, as is what comes without a valid token. Rows are
only added; each holds a hash of itself and of the row before, so that `GET /v1/audit/check` finds a change or a gap.
Whoever can write to the database can also write a whole new chain: keep copies of the newest hash elsewhere if that
matters to you.

## Every route

| route | least role | a token that is bound to a project |
|---|---|---|
"""


def page() -> Iterator[str]:
    """The page in pieces."""
    yield _TEXT
    yield from (f"- **{role}** {may}.\n" for role, may in _ROLES.items())
    yield _BOUND
    yield from (f"- *{reach.value}*: {may}.\n" for reach, may in _REACHES.items())
    yield _AUDIT
    for route, rule in RULES.items():
        yield f"| `{route}` | {_least(rule)} | {'' if isinstance(rule.least, Door) else rule.reach.value} |\n"


def _least(rule: Rule) -> str:
    if rule.least is Door.ANYBODY:
        return "none"
    return "an agent's own credential" if rule.least is Door.MACHINE else str(rule.least)


if __name__ == "__main__":
    sys.stdout.writelines(page())
