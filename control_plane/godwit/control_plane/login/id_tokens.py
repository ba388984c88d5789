"""Whether an ID token is to be believed: OpenID Connect Core 1.0, section 3.1.3.7, with Authlib and its joserfc."""

from collections.abc import Mapping
from typing import Any

from authlib.oidc.core import CodeIDToken
from godwit.control_plane.login.claims import Reason, Refused
from godwit.control_plane.login.section import LoginSettings
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import JWKRegistry, Key, KeySet, OctKey
from joserfc.jws import JWSRegistry

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
"""Signatures with a private key only. `none` proves nothing, and with HMAC a public key would do for a secret."""

TOKEN_CHARACTERS_MAX = 200_000
KEYS_MAX = 100


class UnknownKey(Exception):
    """A token is signed with a key that the set does not hold: the provider may have changed its keys."""


def keys(answer: Mapping[str, Any]) -> KeySet:
    """The public keys of a JWKS document, as far as we understand them. Raises `Refused` where that is none."""
    listed, found = answer.get("keys"), list[Key]()
    for one in listed[:KEYS_MAX] if isinstance(listed, list) else []:
        if not isinstance(one, dict) or one.get("use") == "enc":
            continue
        try:
            key = JWKRegistry.import_key(one)
        except (JoseError, ValueError, TypeError, KeyError):
            continue  # RFC 7517, section 5: what is not understood is passed over
        if not isinstance(key, OctKey):
            found.append(key)
    if not found:
        raise Refused(Reason.UNREACHABLE, "the provider publishes no key that signatures can be checked with")
    return KeySet(found)


def believed(
    text: object, key_set: KeySet, settings: LoginSettings, nonce: str, access_token: object, now: float
) -> Mapping[str, Any]:
    """The claims of an ID token that is signed, meant for us, fresh, and an answer to what this browser asked.

    Raises `UnknownKey`, and `Refused` for all else that is wrong with it.
    """
    if not isinstance(text, str) or len(text) > TOKEN_CHARACTERS_MAX:
        raise Refused(Reason.NOT_BELIEVED, "the provider's answer holds no ID token")
    wanted = {
        "iss": {"essential": True, "value": settings.issuer},
        "aud": {"essential": True, "value": settings.client_id},
    }
    asked = {"nonce": nonce, "client_id": settings.client_id, "access_token": access_token}
    try:
        token = jwt.decode(text, key_set, registry=JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False))
        claims = CodeIDToken(token.claims, token.header, wanted, asked)
        claims.validate(int(now), int(settings.leeway_s))
    except InvalidKeyIdError as exc:
        raise UnknownKey from exc
    except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
        # Whatever a token is made of: one that cannot be read is not believed, and the log says why.
        raise Refused(
            Reason.NOT_BELIEVED, f"the ID token is not valid: {type(exc).__name__}: {str(exc)[:200]}"
        ) from exc
    return dict(claims)
