"""Routes for agents; each presents its own node's credential, and gets nothing of any other node."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from godwit.control_plane import hints, vouching
from godwit.control_plane.api import relays
from godwit.control_plane.api.access import Credential
from godwit.control_plane.api.state import Godwit, State
from godwit.control_plane.services import agents, authorities, node_access, startups
from godwit.control_plane.store import queries
from godwit.control_plane.store.database import Transaction
from godwit.domain.errors import Forbidden, TooLarge
from godwit.domain.jobs import Attempt
from godwit.domain.wire import agents as wire
from godwit.domain.wire.certificates import Authorities, CertificateReply, CertificateRequest, Nonce
from godwit.domain.wire.dev import OpenTerminal
from godwit.domain.wire.logs import LogChunk, LogReply
from godwit.domain.wire.specs import Digest

router = APIRouter(prefix="/v1/agent")

_LINES = {"requestBody": {"content": {"text/plain": {"schema": {"type": "string"}}}}}


@router.get("/authorities")
def authorities_of(state: Godwit, node: Annotated[str, Query(max_length=64)], nonce: Nonce) -> Authorities:
    """Where agents reach this control plane by TLS, and whom to believe; needs no token, and proves to know it."""
    return authorities.discovered(state.context, node, nonce)


@router.post("/certificate")
def certificate(state: Godwit, credential: Credential, request: CertificateRequest) -> CertificateReply:
    """The next certificate of an agent, for a new key."""
    return authorities.renewed(state.context, credential, request.csr)


@router.post("/join", response_model_exclude_none=True)
def join(state: Godwit, credential: Credential, request: wire.JoinRequest) -> wire.JoinReply:
    """A booted machine becomes a node; the bearer token is its join token."""
    return agents.join(state.context, credential, request)


@router.post("/startup-failure", status_code=HTTPStatus.NO_CONTENT, openapi_extra=_LINES)
async def startup_failure(state: Godwit, credential: Credential, request: Request) -> None:
    """A startup script gave up; the body is the end of its log, the bearer token its join token. Twice is once."""
    log = b""
    async for chunk in request.stream():
        log += chunk
        if len(log) > startups.LOG_BYTES_MAX:
            raise TooLarge(f"send the last {startups.LOG_BYTES_MAX} bytes of the log, not all of it")
    await run_in_threadpool(startups.failed, state.context, credential, log)


@router.post("/heartbeat", response_model_exclude_none=True)
def heartbeat(state: Godwit, credential: Credential, request: wire.HeartbeatRequest) -> wire.HeartbeatReply:
    """The agent is heard."""
    return agents.heartbeat(state.context, credential, request)


@router.post("/commands")
async def commands(
    state: Godwit, credential: Credential, request: wire.CommandsRequest, http: Request
) -> wire.CommandsReply:
    """Commands owed to the node; waits for one up to `wait_s`."""
    known = set(request.known)
    topic = hints.commands_of(credential.partition(".")[0])
    deadline, is_told = state.context.now() + request.wait_s, True
    while True:
        seen = state.context.hints.count(topic)
        node_id, owed = await run_in_threadpool(agents.commands, state.context, credential, known)
        now = state.context.now()
        terminals, left_s = state.terminals.owed(node_id, known, now), deadline - now
        if is_told and state.terminals.url and relays.CARRIED not in http.headers:
            terminals += await run_in_threadpool(_terminals_elsewhere, state, node_id, credential, known)
        if owed or terminals or left_s <= 0:
            return wire.CommandsReply(commands=owed, terminals=terminals)
        # A hint may be lost; then the next poll finds what people asked of another control plane, and in time.
        is_told = await state.context.hints.wait_async(topic, seen, min(left_s, 5.0))


def _terminals_elsewhere(state: State, node_id: str, credential: str, known: set[str]) -> list[OpenTerminal]:
    """What people asked of other control planes for this node; those say it to the node itself."""
    with state.context.db.read() as conn:
        urls = state.terminals.elsewhere(conn, node_id, known, state.context.now())
    vouched = vouching.vouch(state.context.keyring, credential, state.context.now())
    return [order for url in sorted(urls) for order in relays.owed_there(url, credential, sorted(known), vouched)]


@router.post("/logs")
def logs(state: Godwit, credential: Credential, chunk: LogChunk) -> LogReply:
    """Output of an attempt that this node heads."""
    attempt = _headed_attempt(state, credential, chunk.attempt_id)
    stored = state.logs.append(attempt.job_id, attempt.epoch, chunk.offset, chunk.text.encode())
    state.context.hints.announce(hints.log_of(attempt.job_id))
    return LogReply(next_offset=stored)


@router.get("/archives/{digest}", response_class=FileResponse)
def archive(state: Godwit, credential: Credential, digest: Annotated[Digest, Path()]) -> FileResponse:
    """The workdir of a job that this node has a part in."""
    with state.context.db.read() as conn:
        node, _ = node_access.authenticate(state.context, Transaction(conn), credential)
        jobs = [
            queries.job(conn, attempt.job_id)
            for attempt in queries.live_attempts(conn)
            if any(slot.node_id == node.id for slot in attempt.slots)
        ]
    if not any(job.spec.workdir_digest == digest for job in jobs):
        raise Forbidden("no job on this node uses that archive")
    return FileResponse(state.shelf.path(digest), media_type="application/gzip")


def _headed_attempt(state: State, credential: str, attempt_id: str) -> Attempt:
    with state.context.db.read() as conn:
        node, _ = node_access.authenticate(state.context, Transaction(conn), credential)
        attempt = queries.attempt(conn, attempt_id)
    if attempt.head.node_id != node.id:
        raise Forbidden("this node is not the head of that attempt")
    return attempt
