"""What people do with secrets of projects, and how the nodes of an attempt get them. People never get a value."""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import structlog
from godwit.control_plane.context import Context
from godwit.control_plane.envelope import About
from godwit.control_plane.services import node_access
from godwit.control_plane.store import entities, queries, sealed, tenancy
from godwit.control_plane.store.database import Transaction
from godwit.domain.errors import Conflict, Forbidden, InvalidRequest, NotFound, Problem
from godwit.domain.events import Event
from godwit.domain.jobs import AttemptState, Job, JobSpec
from godwit.domain.secrets import CHARACTERS_MIN
from godwit.domain.wire.secrets import VALUE_BYTES_MAX, AttemptSecrets, SecretView, VersionView
from sqlalchemy import Row

log = structlog.get_logger()

SECRETS_MAX = 1_000
"""Secrets of one project; a page of a list has a hundred."""

VERSIONS_MAX = 100
"""Versions of one secret that have a value: a change a day for a quarter. Old ones are removed by hand, since jobs may
name them."""

REACH = "agents reach this control plane over plain HTTP, in which secrets would pass in the clear"


def put(context: Context, project: str, name: str, value: str, actor: str) -> SecretView:
    """Write a new version of a secret. Raises `NotFound` for the project, `InvalidRequest`, `Conflict` when full."""
    _refuse_unfit(value)
    now = context.now()
    with context.db.write() as tx:
        tenancy.project(tx.conn, project)
        known = len(sealed.versions(tx.conn, project, name))
        if known >= VERSIONS_MAX:
            raise Conflict(
                f"secret {name} has {known} versions, the most that there can be; remove old ones first "
                f"(`godwit secrets delete {name} --version N`)"
            )
        if not known and sealed.counted(tx.conn, project) >= SECRETS_MAX:
            raise Conflict(f"project {project} has {SECRETS_MAX} secrets, the most that there can be; remove one first")
        version = sealed.next_version(tx.conn, project, name)
        box = context.envelope.seal(value, About(project, name, version))
        sealed.add(tx, project, name, version, box, actor, now)
        _tell(tx, "secret.set", project, f"version {version} of secret {name} was set by {actor}", actor, now)
        newest = sealed.versions(tx.conn, project, name)
        return _view(newest[0], len(newest))


def listed(context: Context, project: str, limit: int, after: str | None) -> list[SecretView]:
    """A page of a project's secrets by name. Raises `NotFound` for the project."""
    with context.db.read() as conn:
        tenancy.project(conn, project)
        return [_view(row, count) for row, count in sealed.newest(conn, project, limit, after)]


def versions(context: Context, project: str, name: str) -> list[VersionView]:
    """The versions of a secret, newest first, and which attempts have them. Raises `NotFound`."""
    with context.db.read() as conn:
        rows, users = sealed.versions(conn, project, name), sealed.users(conn, project, name)
    if not rows:
        raise _unknown(project, name)
    return [
        VersionView(
            version=row.version,
            created_at=row.created_at,
            created_by=row.created_by,
            attempts=users.get(row.version, []),
        )
        for row in rows
    ]


def remove(context: Context, project: str, name: str, version: int | None, actor: str) -> None:
    """Destroy the values of a secret, or of one version. Raises `NotFound`.

    What runs with it runs on; whatever needs it waits and says so.
    """
    now = context.now()
    with context.db.write() as tx:
        if not sealed.remove(tx, project, name, version, now):
            raise _unknown(project, name if version is None else f"{name}@{version}")
        what = f"secret {name}" if version is None else f"version {version} of secret {name}"
        _tell(tx, "secret.removed", project, f"{what} was removed by {actor}", actor, now)


def remove_all(tx: Transaction, project: str, now: float) -> None:
    """Destroy every secret of a project that is forgotten."""
    sealed.remove(tx, project, None, None, now)


def problems(context: Context, spec: JobSpec) -> list[Problem]:
    """Why a job cannot have the secrets that it names: one that there is not, or no way to bring it to a node."""
    if not spec.secrets:
        return []
    with context.db.read() as conn:
        gone = sealed.missing(conn, spec.project, spec.secrets)
    found = [
        Problem(
            ("secrets", variable),
            f"project {spec.project} has no secret {ref}; `godwit secrets set {ref.name} --project {spec.project}` "
            "makes one",
        )
        for variable, ref in gone.items()
    ]
    if not reaches_privately(context):
        message = f"{REACH}; put TLS before it and set `url` to https://... in config.yaml"
        found.append(Problem(("secrets",), message))
    return found


def reaches_privately(context: Context) -> bool:
    """Whether all agents come by a way on which nobody listens."""
    return is_private(context.url) or (context.agents_tls is not None and context.agents_tls.required)


def is_private(url: str) -> bool:
    """Whether nobody between listens: TLS, or the machine itself."""
    parts = urlsplit(url)
    if parts.scheme == "https" or parts.hostname == "localhost":
        return True
    try:
        return ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False  # a name, which may lead anywhere


def of_attempt(context: Context, credential: str, attempt_id: str) -> AttemptSecrets:
    """The secrets of an attempt for a node that runs it: the newest when the first node asked, or those named.

    Raises `Unauthenticated`, `NotFound`, and `Forbidden` for an attempt that has no part here, or has ended.
    """
    if not reaches_privately(context):
        raise Forbidden(REACH)
    with context.db.write() as tx:
        node, _ = node_access.authenticate(context, tx, credential)
        attempt = queries.attempt(tx.conn, attempt_id)
        if attempt.state is AttemptState.ENDED or all(
            slot.node_id != node.id or slot.released for slot in attempt.slots
        ):
            raise Forbidden(f"attempt {attempt_id} does not run on this node")
        job = queries.job(tx.conn, attempt.job_id)
        rows = sealed.given(tx.conn, attempt_id) or _chosen(context, tx, job, attempt_id)
        return _opened(context, tx, rows)


def _chosen(context: Context, tx: Transaction, job: Job, attempt_id: str) -> Sequence[Row[Any]]:
    chosen: dict[str, tuple[str, int]] = {}
    for variable, ref in job.spec.secrets.items():
        there = sealed.versions(tx.conn, job.project, ref.name)
        # Of one that is gone the number does not matter: none will be found under it.
        chosen[variable] = (ref.name, ref.version or (there[0].version if there else 0))
    sealed.give(tx, attempt_id, job.project, chosen)
    names = sorted({f"{name}@{version}" for name, version in chosen.values()})
    reason = f"attempt {attempt_id} was given {', '.join(names)}"
    event = Event(context.now(), "secret.given", "attempt", attempt_id, reason, "godwit", job_id=job.id)
    entities.append(tx, event)
    return sealed.given(tx.conn, attempt_id)


def _opened(context: Context, tx: Transaction, rows: Sequence[Row[Any]]) -> AttemptSecrets:
    values, gone = dict[str, str](), list[str]()
    for row in rows:
        of = {found.version: found for found in sealed.versions(tx.conn, row.project, row.name)}
        try:
            box = sealed.sealed_of(of[row.version])
            values[row.variable] = context.envelope.open(box, About(row.project, row.name, row.version))
        except KeyError:
            gone.append(row.variable)
        except Conflict as exc:
            log.error("a secret cannot be opened", project=row.project, secret=row.name, reason=exc.message)
            gone.append(row.variable)
    return AttemptSecrets(values=values, gone=gone)


def _refuse_unfit(value: str) -> None:
    if len(value.strip()) < CHARACTERS_MIN:
        message = (
            f"a secret has at least {CHARACTERS_MIN} characters: shorter ones cannot be covered in the output of jobs, "
            "of which any text is full; make it longer, or put what is no secret into `env`"
        )
        raise InvalidRequest(problems=[Problem(("value",), message)])
    size = len(value.encode("utf-8", "surrogatepass"))
    if size > VALUE_BYTES_MAX:
        message = f"a secret has at most {VALUE_BYTES_MAX} bytes, and this one has {size}; keep files in a store"
        raise InvalidRequest(problems=[Problem(("value",), message)])
    if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
        message = "a secret is text without zero bytes: it becomes an environment variable; encode it in base64"
        raise InvalidRequest(problems=[Problem(("value",), message)])


def _unknown(project: str, name: str) -> NotFound:
    return NotFound(f"project {project} has no secret {name!r}; `godwit secrets --project {project}` lists them")


def _tell(tx: Transaction, kind: str, project: str, reason: str, actor: str, now: float) -> None:
    entities.append(tx, Event(now, kind, "project", project, reason, actor))


def _view(row: Row[Any], count: int) -> SecretView:
    return SecretView(
        name=row.name, version=row.version, versions=count, created_at=row.created_at, created_by=row.created_by
    )
