"""This node's certificate: a key that never leaves it, the request that is sent, and TLS that shows what came back.

Imported only where the control plane has a listener of its own for agents: most nodes need none of it.
"""

import hmac
import secrets
import ssl
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from godwit.agents.link import Link, Unreachable
from godwit.domain.wire.certificates import Authorities, proof


def new_key() -> tuple[str, str]:
    """A private key and a request for a certificate of it, in PEM. Whose it is says who signs."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "godwit agent")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    form = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return pem.decode(), csr.public_bytes(serialization.Encoding.PEM).decode()


def discovered(link: Link, join_token: str) -> Authorities:
    """Where the control plane's listener is and whom to believe there, if whoever answers knows our join token.

    The token is not shown for that. Raises `Unreachable` for an answer without proof, and as `Link` does.
    """
    nonce = secrets.token_hex(16)
    found = link.authorities(join_token.partition(".")[0], nonce)
    expected = proof(join_token, nonce, found.url, found.certificates)
    if not any(hmac.compare_digest(expected.encode(), given.encode()) for given in found.proofs):
        raise Unreachable(
            "whoever answers at GODWIT_URL does not know the join token of this machine, and so is not its control "
            "plane; nothing was shown to it. Look at what lies between, and at the `url` of the control plane"
        )
    return found


def tls(authorities: Sequence[str], node_dir: Path, certificate: str | None = None, key: str = "") -> ssl.SSLContext:
    """TLS that believes only these authorities, and shows the certificate, if there is one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # which checks the name, too
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata="".join(authorities))
    if certificate is not None:
        _show(context, certificate, key, node_dir)
    return context


def _show(context: ssl.SSLContext, certificate: str, key: str, node_dir: Path) -> None:
    # `ssl` reads files only. There the key is for a moment, under a password that is nowhere else.
    password = secrets.token_hex(32).encode()
    locked = serialization.load_pem_private_key(key.encode(), None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password),
    )
    path = node_dir / f".certificate.{secrets.token_hex(8)}"
    path.touch(mode=0o600)
    try:
        path.write_bytes(certificate.encode() + locked)
        context.load_cert_chain(path, password=password)
    finally:
        path.unlink()
