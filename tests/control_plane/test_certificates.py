"""Certificates are made with the time that is given, say whose they are, signed for keys that prove themselves."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from godwit.agents import certificates as of_agents
from godwit.control_plane import certificates
from godwit.control_plane.certificates import EARLIER_S, SERVER_S, Pair
from godwit.domain.errors import InvalidRequest
from hypothesis import given, settings
from hypothesis import strategies as st

NOW, LIFE_S = 1_800_000_000.0, 86_400.0
AUTHORITY = certificates.make_authority("godwit-test", NOW)
_, CSR = of_agents.new_key()


@settings(max_examples=25, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=8, max_size=64))
def test_a_certificate_names_its_node_and_agent_whatever_that_is_called(agent_id: str) -> None:
    shown = certificates.presented(certificates.certify(AUTHORITY, CSR, "node-1", agent_id, NOW, LIFE_S))
    assert shown is not None
    assert (shown.node_id, shown.agent_id) == ("node-1", agent_id)
    assert (shown.begins_at, shown.ends_at) == (NOW - EARLIER_S, NOW + LIFE_S)
    assert shown.authority == certificates.key_of(AUTHORITY.certificate)


def test_what_a_request_says_of_itself_is_not_believed() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    victim = x509.UniformResourceIdentifier("godwit://nodes/node-2/agents/agent-0002")
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node-2")])
    )
    builder = builder.add_extension(x509.SubjectAlternativeName([victim]), critical=True)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    csr = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    made = certificates.certify(AUTHORITY, csr, "node-1", "agent-0001", NOW, LIFE_S)
    shown = certificates.presented(made)
    assert shown is not None
    assert shown.node_id == "node-1"
    parsed = x509.load_pem_x509_certificate(made.encode())
    assert not parsed.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def _of_rsa() -> str:
    key = rsa.generate_private_key(65537, 2048)
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def _forged() -> str:
    other = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    der = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    point = serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    der = der.replace(key.public_key().public_bytes(*point), other.public_key().public_bytes(*point))
    return x509.load_der_x509_csr(der).public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize(
    "csr",
    [
        pytest.param("", id="nothing"),
        pytest.param("x", id="no PEM"),
        pytest.param(CSR[:200], id="cut off"),
        pytest.param(AUTHORITY.certificate, id="a certificate"),
        pytest.param(_of_rsa(), id="of RSA"),
        pytest.param(_forged(), id="forged"),
    ],
)
def test_what_is_no_request_of_its_own_key_on_p256_is_refused(csr: str) -> None:
    with pytest.raises(InvalidRequest):
        certificates.certify(AUTHORITY, csr, "node-1", "agent-0001", NOW, LIFE_S)


def test_neither_an_authority_nor_a_server_passes_for_an_agent() -> None:
    assert certificates.presented(AUTHORITY.certificate) is None
    assert certificates.presented(certificates.make_server(AUTHORITY, ["127.0.0.1"], NOW).certificate) is None


def test_a_server_is_what_it_is_called_and_where_it_is_reached() -> None:
    made = certificates.make_server(AUTHORITY, ["godwit.example.com", "10.0.0.7"], NOW)
    names = x509.load_pem_x509_certificate(made.certificate.encode()).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert names.value.get_values_for_type(x509.DNSName) == ["godwit.example.com"]
    assert [str(ip) for ip in names.value.get_values_for_type(x509.IPAddress)] == ["10.0.0.7"]
    assert certificates.ends_at(made.certificate) == NOW + SERVER_S


def test_no_key_is_shown_by_accident() -> None:
    assert "PRIVATE" not in f"{AUTHORITY} {Pair('c', 'PRIVATE')!r}"
