"""Where notifications go: settings with all problems and no secret, allowed addresses, and signed messages."""

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from godwit.control_plane import addresses
from godwit.control_plane.addresses import Forbidden
from godwit.control_plane.notifying import sending, targets
from godwit.control_plane.notifying.sending import Sender
from godwit.control_plane.notifying.targets import Kind, Target, Topic
from godwit.domain.errors import InvalidRequest
from hypothesis import given
from hypothesis import strategies as st

PATH = Path("config.yaml")
SECRET = "0123456789abcdef-secret"


def test_targets_are_read_with_their_secrets_from_the_environment() -> None:
    section = [
        {"name": "ops", "kind": "slack", "url_env": "OPS_URL", "topics": ["incidents"]},
        {"name": "ci", "url": "https://ci.example/hook", "secret_env": "CI_SECRET", "projects": ["vision"]},
    ]
    env = {"OPS_URL": "https://hooks.slack.example/services/T0/B0/xyz", "CI_SECRET": SECRET}
    ops, ci = targets.read(section, env, PATH)
    assert (ops.kind, ops.topics, ops.host) == (Kind.SLACK, frozenset({Topic.INCIDENTS}), "hooks.slack.example")
    assert (ci.secret, ci.projects, ci.topics) == (SECRET, ("vision",), frozenset(Topic))
    assert "xyz" not in repr(ops)
    assert SECRET not in repr(ci)
    assert targets.read(None, env, PATH) == ()


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"name": "x"}, "url is missing"),
        ({"name": "x", "url": "http://x.example"}, "must be an https:// address"),
        ({"name": "x", "url": "https://u:hunter2@x.example"}, "no user and no password"),
        ({"name": "x", "url_env": "NOT_SET"}, "NOT_SET, which is not set"),
        ({"name": "x", "url": "https://x.example", "secret": "short"}, "16 characters at least"),
        ({"name": "x", "url": "https://x.example", "secret_env": "NOT_SET"}, "NOT_SET, which is not set"),
        ({"name": "X y", "url": "https://x.example"}, "lower-case letters"),
        ({"name": "x", "url": "https://x.example", "topic": ["incidents"]}, "did you mean topics"),
        ({"name": "x", "url": "https://x.example", "topics": ["weather"]}, "incidents, budgets, job-ends"),
        ({"name": "x", "url": "https://x.example", "kind": "pigeon"}, "webhook or slack"),
        ({"name": "x", "url": "https://x.example", "allow_private": "yes"}, "true or false"),
        ({"name": "x", "url": "https://x.example:99999"}, "must be an https:// address"),
        ("x", "must hold keys and values"),
    ],
)
def test_a_wrong_target_is_refused_with_what_is_accepted_and_without_its_secret(entry: object, says: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        targets.read([entry], {}, PATH)
    assert says in refused.value.message
    assert "hunter2" not in refused.value.message


def test_two_targets_of_one_name_and_too_many_are_refused() -> None:
    entry = {"name": "x", "url": "https://x.example"}
    with pytest.raises(InvalidRequest, match="there twice"):
        targets.read([entry, entry], {}, PATH)
    with pytest.raises(InvalidRequest, match="at most 16"):
        targets.read([entry] * 17, {}, PATH)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "0.0.0.0", "::1", "fc00::1", "fe80::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "169.254.169.254", "224.0.0.1",
        "ff02::1", "fd00:ec2::254", "255.255.255.255", "::10.0.0.1", "64:ff9b:1::a00:1",
    ],
)  # fmt: skip
def test_nothing_is_sent_into_private_networks_by_itself(address: str) -> None:
    with pytest.raises(Forbidden):
        addresses.allowed("x.example", 443, private=False, lookup=lambda *_: [address])


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "fe80::1%eth0", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fd00:ec2::254"]
)
def test_link_local_addresses_are_never_dialled_whatever_the_settings_say(address: str) -> None:
    with pytest.raises(Forbidden, match="link-local"):
        addresses.allowed("x.example", 443, private=True, lookup=lambda *_: [address])


def test_a_name_with_one_forbidden_address_is_forbidden() -> None:
    with pytest.raises(Forbidden):
        addresses.allowed("x.example", 443, private=False, lookup=lambda *_: ["93.184.215.14", "10.0.0.1"])
    assert addresses.allowed("x.example", 443, private=False, lookup=lambda *_: ["93.184.215.14"]) == "93.184.215.14"
    assert addresses.allowed("x.example", 443, private=True, lookup=lambda *_: ["10.0.0.1"]) == "10.0.0.1"


@given(st.ip_addresses())
def test_whatever_is_dialled_without_leave_is_an_address_of_the_open_internet(address: object) -> None:
    why = addresses.refusal(address, private=False)  # type: ignore[arg-type]
    if why is None:
        assert address.is_global  # type: ignore[attr-defined]
        assert not address.is_multicast  # type: ignore[attr-defined]


class Hook(HTTPServer):
    """A receiver on loopback."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.status, self.more = 200, {"X": "y"}
        super().__init__(("127.0.0.1", 0), Answers)


class Answers(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((dict(self.headers), body))
        self.send_response(self.server.status)
        for name, value in self.server.more.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.server.requests.append((dict(self.headers), b""))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving() -> Iterator[Hook]:
    """A receiver that listens."""
    server = Hook()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    with serving() as server:
        yield server


def target_of(hook: Hook) -> Target:
    url = f"http://hook.example:{hook.server_port}/in?key=1"
    return Target("hook", Kind.WEBHOOK, url, SECRET, allow_private=True)


def here(*_: object) -> list[str]:
    return ["127.0.0.1"]


def test_a_message_arrives_signed_under_its_own_name_at_the_address_that_was_judged(hook: Hook) -> None:
    told = json.dumps({"id": "notice-1", "state": "open"})
    answer = Sender(here).send(target_of(hook), "notice-1", told, 1_700_000_000.5)
    assert answer.delivered
    ((headers, body),) = hook.requests
    assert json.loads(body) == json.loads(told)
    assert headers["Host"] == f"hook.example:{hook.server_port}"
    assert headers["X-Godwit-Delivery"] == "notice-1"
    stamp, mac = (part.partition("=")[2] for part in headers["X-Godwit-Signature"].split(","))
    assert stamp == "1700000000"
    assert mac == hmac.new(SECRET.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()


@pytest.mark.parametrize("status", [301, 404, 500])
def test_a_refusal_and_a_redirect_are_told_by_their_number_and_not_followed(hook: Hook, status: int) -> None:
    hook.status, hook.more = status, {"Location": "http://169.254.169.254/", "Retry-After": "7"}
    answer = Sender(here).send(target_of(hook), "n", "{}", 0.0)
    assert (answer.delivered, answer.detail, answer.retry_after_s) == (False, f"HTTP {status}", 7.0)
    assert len(hook.requests) == 1


def test_a_receiver_without_leave_for_private_networks_is_not_dialled(hook: Hook) -> None:
    answer = Sender(here).send(replace(target_of(hook), allow_private=False), "n", "{}", 0.0)
    assert not answer.delivered
    assert "private network" in answer.detail
    assert hook.requests == []


@pytest.mark.parametrize("leave", [True, False])
@pytest.mark.parametrize("address", ["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254"])
def test_a_receiver_whose_name_has_the_metadata_services_address_is_told_nothing(
    hook: Hook, address: str, leave: bool
) -> None:
    target = replace(target_of(hook), allow_private=leave)
    for found in ([address], ["127.0.0.1", address]):
        answer = Sender(lambda *_, found=found: found, timeout_s=2.0).send(target, "n", "{}", 0.0)
        assert not answer.delivered
        assert "link-local" in answer.detail or not leave
        assert address not in answer.detail
    assert hook.requests == []


def test_a_name_that_means_another_address_a_moment_later_changes_nothing(hook: Hook) -> None:
    looked = list[str]()

    def rebinding(host: str, _port: int) -> list[str]:
        looked.append(host)
        return ["127.0.0.1"] if len(looked) == 1 else ["169.254.169.254"]

    assert Sender(rebinding, timeout_s=5.0).send(target_of(hook), "n", "{}", 0.0).delivered
    assert (looked, len(hook.requests)) == (["hook.example"], 1)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_what_a_receiver_is_told_goes_to_no_other_to_which_it_points(hook: Hook, status: int) -> None:
    with serving() as other:
        hook.status, hook.more = status, {"Location": f"http://other.example:{other.server_port}/"}
        answer = Sender(here, timeout_s=5.0).send(target_of(hook), "n", "{}", 0.0)
        assert (answer.delivered, answer.detail) == (False, f"HTTP {status}")
        assert (len(hook.requests), len(other.requests)) == (1, 0)


def test_by_itself_a_sender_asks_the_machine_what_a_name_means_and_dials_nothing_private(hook: Hook) -> None:
    target = replace(target_of(hook), url=f"http://localhost:{hook.server_port}/in")
    assert "private network" in Sender().send(replace(target, allow_private=False), "n", "{}", 0.0).detail
    assert hook.requests == []
    assert Sender().send(target, "n", "{}", 0.0).delivered


def test_a_receiver_that_is_not_there_is_told_without_its_url(hook: Hook) -> None:
    gone = replace(target_of(hook), url="http://hook.example:9/in?key=1")
    answer = Sender(here, timeout_s=5.0).send(gone, "n", "{}", 0.0)
    assert not answer.delivered
    assert "key" not in answer.detail

    def unknown(*_: object) -> list[str]:
        raise OSError("no such name")

    assert "has no address" in Sender(unknown).send(gone, "n", "{}", 0.0).detail


def test_the_same_body_at_another_time_has_another_signature() -> None:
    assert sending.signature(SECRET, 1, b"x") != sending.signature(SECRET, 2, b"x")
