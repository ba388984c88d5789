"""Certificates by which agents and their control plane know each other: made here, and read. No clock, no database.

Keys are on P-256 (NIST SP 800-186): every TLS library has it, and a handshake costs a fraction of one with RSA. What an
agent's certificate says is `godwit://nodes/<node id>/agents/<agent id>`, its one alternative name.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from urllib.parse import quote, unquote

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from godwit.domain.errors import InvalidRequest

AUTHORITY_S = 20 * 365 * 86_400.0
"""How long an authority could sign; it is replaced when its operator says so."""

SERVER_S = 7 * 86_400.0
"""How long a control plane shows one certificate at most; it makes the next when half of that is over."""

EARLIER_S = 3_600.0
"""How long before it was made a certificate is good: nodes look at their own clocks for that of the server."""

_PREFIX = "godwit://nodes/"
_NO_REQUEST = "this is no certificate request that its own key signed; send a PKCS #10 in PEM"
_COMMON_NAME_CHARACTERS_MAX = 64  # RFC 5280, appendix A.1: ub-common-name


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, both in PEM."""

    certificate: str
    key: str

    def __repr__(self) -> str:
        return "Pair(...)"


@dataclass(frozen=True)
class Presented:
    """What an agent's certificate says. `authority` tells by whose key it was signed; times are s since the epoch."""

    node_id: str
    agent_id: str
    begins_at: float
    ends_at: float
    authority: str


def make_authority(identity: str, now: float) -> Pair:
    """A new authority, with a key of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    named = _name(f"godwit agents of {identity}")
    builder = _begun(key.public_key(), named, named, now, AUTHORITY_S)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return Pair(_pem(builder.sign(key, hashes.SHA256())), _key_pem(key))


def make_server(authority: Pair, names: Sequence[str], now: float) -> Pair:
    """A certificate for a listener that is reached by these names and addresses, with a key of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    of = x509.SubjectAlternativeName([_host(name) for name in names])
    usage = ExtendedKeyUsageOID.SERVER_AUTH
    return Pair(_leaf(authority, key.public_key(), "godwit control plane", of, usage, now, SERVER_S), _key_pem(key))


def certify(authority: Pair, csr: str, node_id: str, agent_id: str, now: float, life_s: float) -> str:
    """A certificate for an agent that lives for `life_s`; of the request only the key counts.

    Raises `InvalidRequest` for what is no request, or has another kind of key.
    """
    try:
        request = x509.load_pem_x509_csr(csr.encode())
        key = request.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise InvalidRequest("the key of a certificate request must be on P-256")
        is_signed = request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise InvalidRequest(_NO_REQUEST) from exc
    if not is_signed:
        raise InvalidRequest(_NO_REQUEST)
    uri = f"{_PREFIX}{quote(node_id, safe='')}/agents/{quote(agent_id, safe='')}"
    of = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
    return _leaf(authority, key, node_id, of, ExtendedKeyUsageOID.CLIENT_AUTH, now, life_s)


@lru_cache(maxsize=16_384)
@lru_cache(maxsize=8_192)
def presented(certificate: str) -> Presented | None:
    """What a certificate says that an authority signed; None where that is not of an agent. Who verifies is TLS.

    A node shows the same with each request, so that those of 8,192 are remembered.
    """
    parsed = x509.load_pem_x509_certificate(certificate.encode())
    try:
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        usage = parsed.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return None
    node, _, agent = uris[0].removeprefix(_PREFIX).partition("/agents/") if uris else ("", "", "")
    if len(uris) != 1 or not agent or ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        return None
    begins, ends = parsed.not_valid_before_utc.timestamp(), parsed.not_valid_after_utc.timestamp()
    return Presented(unquote(node), unquote(agent), begins, ends, _signer(parsed))


def ends_at(certificate: str) -> float:
    """When a certificate is over, in seconds since the epoch."""
    return x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc.timestamp()


def key_of(authority: str) -> str:
    """What tells an authority's key from others: what is `Presented.authority` of those that it signed."""
    parsed = x509.load_pem_x509_certificate(authority.encode())
    return parsed.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest.hex()


def _signer(parsed: x509.Certificate) -> str:
    found = parsed.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    return "" if found is None else found.hex()


def _leaf(
    authority: Pair, key: ec.EllipticCurvePublicKey, name: str, of: x509.SubjectAlternativeName,
    usage: x509.ObjectIdentifier, now: float, life_s: float,
) -> str:  # fmt: skip
    by = x509.load_pem_x509_certificate(authority.certificate.encode())
    signing = serialization.load_pem_private_key(authority.key.encode(), None)
    if not isinstance(signing, ec.EllipticCurvePrivateKey):
        raise TypeError("the key of an authority is on P-256")
    builder = _begun(key, _name(name), by.subject, now, life_s)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    builder = builder.add_extension(of, critical=False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key())
    return _pem(builder.add_extension(identifier, critical=False).sign(signing, hashes.SHA256()))


def _begun(
    key: ec.EllipticCurvePublicKey, subject: x509.Name, issuer: x509.Name, now: float, life_s: float
) -> x509.CertificateBuilder:
    at = datetime.fromtimestamp(now, UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(at - timedelta(seconds=EARLIER_S)).not_valid_after(at + timedelta(seconds=life_s))


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs, key_cert_sign=signs, crl_sign=signs, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:_COMMON_NAME_CHARACTERS_MAX])])


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
