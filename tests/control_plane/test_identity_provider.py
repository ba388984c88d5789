"""An identity provider is asked over a real connection, and believed only for what it signs, for us, now, as asked."""

import base64
import hmac
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from godwit.control_plane.login.claims import Reason, Refused
from godwit.control_plane.login.fetching import Fetcher
from godwit.control_plane.login.provider import KEPT_S, KEYS_AGAIN_S, UNDER_WAY_MAX, Provider
from godwit.domain.clock import ManualClock
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from tests.control_plane.issuer import Claims, Issuer, at_the_provider, issuing

BACK, NONCE, VERIFIER = "http://127.0.0.1:7461/v1/login/callback", "n" * 64, "v" * 64


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def issuer(clock: ManualClock) -> Iterator[Issuer]:
    with issuing(clock.now) as found:
        yield found


def asked(issuer: Issuer, provider: Provider | None = None, nonce: str = NONCE) -> dict[str, Any]:
    """Send a browser there and take what it brings back to the provider: the claims."""
    provider = provider or Provider(issuer.settings(), issuer.now)
    back = at_the_provider(provider.address(BACK, "the-state", nonce, VERIFIER))
    assert back["state"] == "the-state"
    return dict(provider.claims(back["code"], BACK, NONCE, VERIFIER))


def test_who_comes_back_with_a_code_is_whom_the_provider_says(issuer: Issuer) -> None:
    claims = asked(issuer)
    assert (claims["sub"], claims["email"], claims["groups"]) == ("subject-ann", "ann@example.com", ["vision"])


def changing(**changes: Any) -> Callable[[Claims], None]:
    def alter(claims: Claims) -> None:
        for key, value in changes.items():
            if value is None:
                del claims[key]
            else:
                claims[key] = value

    return alter


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example.com"},
        {"aud": "another-client"},
        {"aud": ["godwit", "another-client"]},
        {"aud": ["godwit", "another-client"], "azp": "another-client"},
        {"aud": "godwit", "azp": "another-client"},
        {"aud": None},
        {"exp": 1},
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": float("nan")},
        {"iat": 32_503_680_000},
        {"nbf": 32_503_680_000},
        {"nonce": "of another login"},
        {"nonce": None},
        {"sub": None},
        {"at_hash": "of-another-token"},
    ],
    ids=str,
)
def test_an_id_token_that_is_wrong_in_one_claim_is_not_believed(issuer: Issuer, changes: Claims) -> None:
    issuer.alter = changing(**changes)
    with pytest.raises(Refused) as refused:
        asked(issuer)
    assert refused.value.reason is Reason.NOT_BELIEVED


@pytest.mark.parametrize("off_s", [-50, 50])
def test_a_clock_that_is_a_little_off_is_forgiven(issuer: Issuer, clock: ManualClock, off_s: int) -> None:
    now = int(clock.now()) + off_s
    issuer.alter = changing(iat=now, exp=now + 1)
    assert asked(issuer)["sub"] == "subject-ann"


def _by_hand(claims: Claims, alg: str, secret: bytes = b"") -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(one).encode()) for one in ({"alg": alg, "kid": "key-1"}, claims)]
    signed = b".".join(part.rstrip(b"=") for part in parts)
    mark = base64.urlsafe_b64encode(hmac.digest(secret, signed, "sha256")).rstrip(b"=") if secret else b""
    return (signed + b"." + mark).decode()


@pytest.mark.parametrize("alg", ["none", "None", "NONE"])
def test_an_id_token_without_a_signature_is_not_believed(issuer: Issuer, alg: str) -> None:
    issuer.sign = lambda claims: _by_hand(claims, alg)
    with pytest.raises(Refused, match="UnsupportedAlgorithm"):
        asked(issuer)


def test_a_public_key_is_no_secret_to_sign_with(issuer: Issuer) -> None:
    """The old confusion: HMAC with the text of the public key, which everybody has."""
    public = RSAKey.generate_key(2048, {"kid": "key-1"})
    issuer.keys = [public]
    issuer.sign = lambda claims: _by_hand(claims, "HS256", public.as_pem(private=False))
    with pytest.raises(Refused, match="UnsupportedAlgorithm"):
        asked(issuer)


def test_a_symmetric_key_that_is_published_is_not_used(issuer: Issuer) -> None:
    secret = OctKey.import_key("a published secret, 32 bytes long", {"kid": "shared"})
    issuer.published = [{**secret.as_dict(private=True)}]
    issuer.sign = lambda claims: jwt.encode({"alg": "HS256", "kid": "shared"}, claims, secret, algorithms=["HS256"])
    with pytest.raises(Refused):
        asked(issuer)


def test_the_key_of_somebody_else_under_the_same_name_is_not_believed(issuer: Issuer) -> None:
    other = ECKey.generate_key("P-256", {"kid": "key-1"})
    issuer.sign = lambda claims: jwt.encode({"alg": "ES256", "kid": "key-1"}, claims, other, algorithms=["ES256"])
    with pytest.raises(Refused, match="BadSignature"):
        asked(issuer)


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "a.b", "....", "é" * 50, "a" * 300_000, 7, None], ids=repr)
def test_what_is_no_token_at_all_is_not_believed(issuer: Issuer, text: Any) -> None:
    issuer.sign = lambda _claims: text
    with pytest.raises(Refused) as refused:
        asked(issuer)
    assert refused.value.reason is Reason.NOT_BELIEVED


def test_keys_are_fetched_again_for_one_that_is_unknown_and_not_for_each(issuer: Issuer, clock: ManualClock) -> None:
    provider = Provider(issuer.settings(), clock.now)
    asked(issuer, provider)
    clock.advance(KEYS_AGAIN_S)
    issuer.rotate()
    assert asked(issuer, provider)["sub"] == "subject-ann"
    assert issuer.asked.count("GET /keys") == 2
    stranger = ECKey.generate_key("P-256", {"kid": "made-up"})
    issuer.sign = lambda claims: jwt.encode({"alg": "ES256", "kid": "made-up"}, claims, stranger, algorithms=["ES256"])
    for _ in range(3):
        with pytest.raises(Refused, match="does not publish"):
            asked(issuer, provider)
    assert issuer.asked.count("GET /keys") == 2


def test_a_key_that_the_provider_took_back_is_good_for_an_hour_at_most(issuer: Issuer, clock: ManualClock) -> None:
    provider = Provider(issuer.settings(), clock.now)
    asked(issuer, provider)
    old = issuer.keys[0]
    issuer.rotate()
    issuer.sign = lambda claims: jwt.encode({"alg": "ES256", "kid": "key-1"}, claims, old, algorithms=["ES256"])
    assert asked(issuer, provider)["sub"] == "subject-ann"
    clock.advance(KEPT_S)
    with pytest.raises(Refused, match="does not publish"):
        asked(issuer, provider)


def test_a_key_of_a_kind_that_nobody_knows_is_passed_over(issuer: Issuer) -> None:
    known = issuer.keys[0].as_dict(private=False)
    issuer.published = [{"kty": "PQ", "kid": "new"}, {"kty": "EC", "kid": "broken"}, known]
    assert asked(issuer)["sub"] == "subject-ann"


def test_a_provider_that_calls_itself_otherwise_is_not_asked(issuer: Issuer, clock: ManualClock) -> None:
    issuer.metadata = {"issuer": "https://evil.example.com"}
    with pytest.raises(Refused, match="just like that"):
        Provider(issuer.settings(), clock.now).address(BACK, "s", NONCE, VERIFIER)


@pytest.mark.parametrize(
    "to", ["file:///etc/passwd", "http://evil.example.com/authorize", "https://u:p@evil.example.com", 7, None]
)
def test_a_published_address_that_may_not_be_asked_is_not(issuer: Issuer, clock: ManualClock, to: Any) -> None:
    issuer.metadata = {"authorization_endpoint": to}
    with pytest.raises(Refused, match="authorization_endpoint"):
        Provider(issuer.settings(), clock.now).address(BACK, "s", NONCE, VERIFIER)


def test_a_provider_that_is_down_is_told_so(clock: ManualClock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with issuing(clock.now) as issuer:
        settings = issuer.settings(issuer=url)
    with pytest.raises(Refused, match="does not answer") as refused:
        Provider(settings, clock.now).address(BACK, "s", NONCE, VERIFIER)
    assert refused.value.reason is Reason.UNREACHABLE


def test_a_provider_that_is_slow_holds_nobody_for_long(issuer: Issuer, clock: ManualClock) -> None:
    issuer.waits.clear()
    provider = Provider(issuer.settings(), clock.now, Fetcher(timeout_s=0.2))
    with pytest.raises(Refused, match="does not answer"):
        provider.address(BACK, "s", NONCE, VERIFIER)


def test_only_so_many_are_at_a_slow_provider_at_once(issuer: Issuer, clock: ManualClock) -> None:
    provider = Provider(issuer.settings(), clock.now)
    for _ in range(UNDER_WAY_MAX):
        provider._turn().__enter__()
    with pytest.raises(Refused) as refused:
        provider.address(BACK, "s", NONCE, VERIFIER)
    assert refused.value.reason is Reason.BUSY


@pytest.mark.parametrize("status", [302, 500])
def test_an_answer_that_is_none_is_no_login(issuer: Issuer, clock: ManualClock, status: int) -> None:
    issuer.status = status
    with pytest.raises(Refused, match=str(status)):
        Provider(issuer.settings(), clock.now).address(BACK, "s", NONCE, VERIFIER)


def test_an_answer_without_end_is_cut_off(issuer: Issuer, clock: ManualClock) -> None:
    issuer.metadata = {"more": "x" * 600_000}
    with pytest.raises(Refused, match="bytes"):
        Provider(issuer.settings(), clock.now).address(BACK, "s", NONCE, VERIFIER)


def test_a_code_is_good_with_the_verifier_of_the_browser_that_began(issuer: Issuer, clock: ManualClock) -> None:
    provider = Provider(issuer.settings(), clock.now)
    back = at_the_provider(provider.address(BACK, "s", NONCE, VERIFIER))
    with pytest.raises(Refused, match="invalid_grant"):
        provider.claims(back["code"], BACK, NONCE, "w" * 64)


def test_a_client_without_a_secret_and_one_that_sends_it_in_the_body_are_told_apart(issuer: Issuer) -> None:
    issuer.metadata = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    with pytest.raises(Refused, match="invalid_grant"):  # this issuer wants the header
        asked(issuer)
    issuer.metadata = {}
    with pytest.raises(Refused, match="invalid_grant"):
        asked(issuer, Provider(issuer.settings(client_secret=""), issuer.now))


def test_what_the_id_token_lacks_is_asked_for_once_and_must_be_of_the_same_person(issuer: Issuer) -> None:
    issuer.people["subject-ann"] = {}
    issuer.userinfo = {"sub": "subject-ann", "email": "ann@example.com", "groups": ["vision"], "aud": "nobody"}
    claims = asked(issuer)
    assert (claims["groups"], claims["aud"]) == (["vision"], "godwit")
    issuer.userinfo["sub"] = "subject-bob"
    with pytest.raises(Refused, match="somebody else"):
        asked(issuer)
