"""In front of everything: agents' routes are for those who show certificate and credential of the same node.

The listener with TLS serves agents only, and the other one serves them not at all, but for what comes before there is a
certificate. Which certificate TLS saw stands in the scope (`connection`); whether it is good now is looked at here, by
the control plane's clock. What the credential opens, the routes say.
"""

from collections.abc import Callable, Sequence, Set
from http import HTTPStatus

from godwit.control_plane import certificates, credentials, vouching
from godwit.control_plane.agents_tls import AgentsTls
from godwit.control_plane.api.errors import problem
from godwit.control_plane.api.relays import CARRIED
from godwit.control_plane.certificates import Presented
from godwit.control_plane.context import Context
from godwit.control_plane.credentials import Claim
from godwit.domain.errors import Unauthenticated
from starlette.types import ASGIApp, Receive, Scope, Send

AGENTS, VERSION = "/v1/agent/", "/v1/version"
BEFORE = frozenset({"/v1/agent/authorities", "/v1/agent/startup-failure"})
"""What a machine asks or says before it has joined; the second with its join token, which is worth nothing then."""

JOIN = "/v1/agent/join"
NOT_YOURS = 1008  # RFC 6455, section 7.4.1

AGAIN = "; start the agent again, and it joins with the token of its machine"

UNCERTIFIED = "uncertified"
"""As which route refusals count in metrics: before their path is known to be one."""

Refusal = tuple[HTTPStatus, str, str]


class Certified:
    """Around the whole application. `trusted` are the keys of the authorities that are believed now."""

    def __init__(self, app: ASGIApp, context: Context, tls: AgentsTls, trusted: Callable[[], Set[str]]) -> None:
        self._app, self._context, self._tls, self._trusted = app, context, tls, trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it with the reason."""
        refusal = self._refusal(scope) if scope["type"] in {"http", "websocket"} else None
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()  # the request to connect
            await send({"type": "websocket.close", "code": NOT_YOURS, "reason": refusal[2][:120]})
        else:
            answer = problem(*refusal)
            if refusal[0] is HTTPStatus.UPGRADE_REQUIRED:
                answer.headers["Upgrade"] = "TLS/1.3"
            self._context.instruments.answered(UNCERTIFIED, scope["method"], refusal[0], 0.0)
            await answer(scope, receive, send)

    def _refusal(self, scope: Scope) -> Refusal | None:
        path, tls = scope["path"], (scope.get("extensions") or {}).get("tls")
        if not path.startswith(AGENTS):
            return None if tls is None or path == VERSION else _for_agents_only()
        if path in BEFORE or (path == JOIN and (tls is not None or not self._tls.required)):
            return None
        credential = _credential(scope)
        claim = self._claim(credential)
        if tls is None:
            return self._without_tls(scope, credential, claim)
        why = self._mismatch(tls["client_cert_chain"], credential, claim)
        return None if why is None else (HTTPStatus.UNAUTHORIZED, "unauthenticated", why + AGAIN)

    def _without_tls(self, scope: Scope, credential: str, claim: Claim | None) -> Refusal | None:
        said = _header(scope, CARRIED.encode())
        if said and vouching.is_vouched(self._context.keyring, credential, said, self._context.now()):
            return None
        if not self._tls.required and (claim is None or not claim.certified):
            return None
        why = (
            f"agents reach this control plane at {self._tls.url} only, with the certificate of their node; a node that "
            "was launched before that was so is to be ended (`godwit nodes terminate`), or `agents_tls` in config.yaml "
            "to say `required: false` until it is gone"
        )
        return HTTPStatus.UPGRADE_REQUIRED, "certificate-required", why

    def _mismatch(self, chain: Sequence[str], credential: str, claim: Claim | None) -> str | None:
        """Say why the certificate does not go with the credential, or None."""
        shown = certificates.presented(chain[0]) if chain else None
        if shown is None:
            return "no certificate of a node was shown" if not chain else "the certificate that was shown is no node's"
        now = self._context.now()
        if not shown.begins_at <= now < shown.ends_at:
            return f"the certificate of node {shown.node_id} is over, it was not renewed in time"
        if shown.authority not in self._trusted():
            return f"the certificate of node {shown.node_id} was signed by an authority that is not believed any more"
        if not _is_of(shown, credential, claim):
            return f"the certificate is of node {shown.node_id}, and the credential of another, or of another agent"
        return None

    def _claim(self, credential: str) -> Claim | None:
        try:
            return credentials.read(self._context.keyring, credential, self._context.now())
        except Unauthenticated:
            return None  # the route says what is wrong with it


def _is_of(shown: Presented, credential: str, claim: Claim | None) -> bool:
    if claim is None:
        return credential.partition(".")[0] == shown.node_id
    return (claim.node_id, claim.agent_id) == (shown.node_id, shown.agent_id)


def _for_agents_only() -> Refusal:
    return HTTPStatus.NOT_FOUND, "not-found", "this listener is for agents; people use the address under `url`"


def _credential(scope: Scope) -> str:
    given = _header(scope, b"authorization")
    kind, _, text = given.partition(" ")
    # Whatever any route takes for a credential is one here.
    return (text if kind.lower() == "bearer" else given).strip()


def _header(scope: Scope, name: bytes) -> str:
    return next((value for key, value in scope["headers"] if key == name), b"").decode("latin-1")
