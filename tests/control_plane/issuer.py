"""A small identity provider: a real HTTP server on loopback that signs what it is told to, also what it must not."""

import base64
import hashlib
import json
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
from godwit.control_plane.login.section import Line, LoginSettings
from godwit.domain.access import Role
from joserfc import jwt
from joserfc.jwk import ECKey, Key

CLIENT, SECRET = "godwit", "of-the-client"

Claims = dict[str, Any]


@dataclass
class Issuer:
    """What it says of itself and of people. `alter` changes the claims of an ID token, `sign` makes its text."""

    now: Callable[[], float]
    url: str = ""
    people: dict[str, Claims] = field(
        default_factory=lambda: {"subject-ann": {"email": "ann@example.com", "groups": ["vision"]}}
    )
    logged_in: str = "subject-ann"
    keys: list[Key] = field(default_factory=lambda: [ECKey.generate_key("P-256", {"kid": "key-1"})])
    published: list[Mapping[str, Any]] | None = None
    alter: Callable[[Claims], None] = lambda _claims: None
    sign: Callable[[Claims], str] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    userinfo: Claims | None = None
    status: int = 200
    asked: list[str] = field(default_factory=list)
    waits: threading.Event = field(default_factory=threading.Event)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.waits.set()

    def settings(self, **changes: Any) -> LoginSettings:
        """How a control plane is told of it."""
        known = {
            "name": "Example", "issuer": self.url, "client_id": CLIENT, "client_secret": SECRET,
            "map": (Line("admins", Role.ADMIN), Line("vision", Role.MEMBER)),
        }  # fmt: skip
        return LoginSettings(**{**known, **changes})

    def rotate(self) -> None:
        """From now on another key signs, and only that one is published."""
        self.keys = [ECKey.generate_key("P-256", {"kid": f"key-{len(self.asked)}-{secrets.token_hex(2)}"})]

    def answer(self, method: str, path: str, query: Mapping[str, str], form: Mapping[str, str], auth: str) -> Any:
        """The JSON of a path, or where to go from it as a text. None: there is no such path."""
        self.asked.append(f"{method} {path}")
        if path == "/.well-known/openid-configuration":
            at = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
            more = {"userinfo_endpoint": f"{self.url}/userinfo"} if self.userinfo is not None else {}
            return {
                "issuer": self.url,
                **{name: f"{self.url}/{to}" for name, to in at.items()},
                **more,
                **self.metadata,
            }
        if path == "/keys":
            return {
                "keys": [key.as_dict(private=False) for key in self.keys] if self.published is None else self.published
            }
        if path == "/authorize":
            return self._authorize(query)
        if path == "/userinfo":
            return self.userinfo
        return self._token(form, auth) if path == "/token" else None

    def _authorize(self, query: Mapping[str, str]) -> str:
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self.codes[code] = dict(query)
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state'], 'iss': self.url})}"

    def _token(self, form: Mapping[str, str], auth: str) -> Any:
        asked = self.codes.pop(form.get("code", ""), None)
        expected = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if asked is None or auth != expected or form.get("redirect_uri") != asked["redirect_uri"]:
            return {"error": "invalid_grant"}
        challenge = (
            base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).decode().rstrip("=")
        )
        if challenge != asked["code_challenge"]:
            return {"error": "invalid_grant"}
        return {"access_token": "of-userinfo", "token_type": "Bearer", "id_token": self.id_token(asked["nonce"])}

    def id_token(self, nonce: str) -> str:
        """What it says of who is logged in there."""
        now = int(self.now())
        claims: Claims = {
            "iss": self.url, "sub": self.logged_in, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": nonce,
            **self.people[self.logged_in],
        }  # fmt: skip
        self.alter(claims)
        if self.sign is not None:
            return self.sign(claims)
        key = self.keys[0]
        return jwt.encode({"alg": "ES256", "kid": key.kid}, claims, key, algorithms=["ES256"])


@contextmanager
def issuing(now: Callable[[], float]) -> Iterator[Issuer]:
    """An issuer that serves until the end of the block."""
    issuer = Issuer(now)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer("GET", {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            self._answer("POST", {key: value[0] for key, value in parse_qs(body).items()})

        def _answer(self, method: str, form: Mapping[str, str]) -> None:
            issuer.waits.wait(30.0)
            parts = urlsplit(self.path)
            query = {key: value[0] for key, value in parse_qs(parts.query).items()}
            found = issuer.answer(method, parts.path, query, form, self.headers.get("Authorization", ""))
            status = (
                302 if isinstance(found, str) else 404 if found is None else 400 if "error" in found else issuer.status
            )
            body = b"" if isinstance(found, str) else json.dumps(found).encode()
            self.send_response(status)
            if isinstance(found, str):
                self.send_header("Location", found)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    issuer.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        issuer.waits.set()
        server.shutdown()
        server.server_close()
        thread.join(20.0)


def at_the_provider(address: str) -> Mapping[str, str]:
    """What a browser brings back that is sent to `address`."""
    # Nothing of it is encrypted, and loading the certificates of the machine takes longer than all else.
    sent = httpx.get(address, follow_redirects=False, trust_env=False, timeout=30.0, verify=False)
    return {key: value[0] for key, value in parse_qs(urlsplit(sent.headers["location"]).query).items()}
