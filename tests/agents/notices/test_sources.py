"""Each way in which a provider gives notice, and that each notice is told once."""

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from godwit.agents.effects import Noticed
from godwit.agents.notices import ec2
from godwit.agents.notices.ec2 import Ec2
from godwit.agents.notices.file import DEFAULT_S, NoticeFile
from godwit.agents.notices.sigterm import Sigterm
from godwit.agents.notices.watch import NEARER_S, NoticeWatch

ACTION, REBALANCE = "/latest/meta-data/spot/instance-action", "/latest/meta-data/events/recommendations/rebalance"
TIME = "2026-11-21T08:22:00Z"
TIME_S = 1_795_249_320.0


class Metadata:
    """The instance metadata service, version 2: whoever has no token that is good gets nothing."""

    def __init__(self) -> None:
        self.said: dict[str, str] = {}
        self.good_token = "first"
        handler = type("Handler", (_Handler,), {"metadata": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    metadata: Metadata

    def log_message(self, *_args: object) -> None:
        return

    def do_PUT(self) -> None:
        is_asked = self.path == "/latest/api/token" and self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
        self._answer(200 if is_asked else 400, self.metadata.good_token)

    def do_GET(self) -> None:
        is_known = self.headers["X-aws-ec2-metadata-token"] == self.metadata.good_token
        text = self.metadata.said.get(self.path)
        self._answer(401 if not is_known else 404 if text is None else 200, text or "")

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    serving = Metadata()
    yield serving
    serving.close()


@pytest.fixture
def service(metadata: Metadata) -> Ec2:
    source = Ec2(metadata.url, wall_s=lambda: TIME_S - 119.0)
    source._client.timeout = 30.0  # a busy machine is not what is tried here
    return source


def test_ec2_says_nothing_until_there_is_an_interruption(metadata: Metadata, service: Ec2) -> None:
    assert service.look() is None
    metadata.said[ACTION] = json.dumps({"action": "terminate", "time": TIME})
    said = service.look()
    assert said is not None
    assert (said.source, said.within_s) == ("ec2", 119.0)
    assert "terminate" in said.reason


def test_a_session_token_that_has_expired_is_renewed(metadata: Metadata, service: Ec2) -> None:
    assert service.look() is None
    metadata.good_token = "second"
    metadata.said[ACTION] = json.dumps({"action": "stop", "time": TIME})
    assert service.look() is not None


def test_a_rebalance_recommendation_is_a_notice_without_a_time(metadata: Metadata, service: Ec2) -> None:
    metadata.said[REBALANCE] = json.dumps({"noticeTime": TIME})
    said = service.look()
    assert said is not None
    assert said.within_s is None


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "{}", '{"action": "stop", "time": "soon"}', "null"])
def test_metadata_that_makes_no_sense_is_no_notice(metadata: Metadata, service: Ec2, text: str) -> None:
    metadata.said[ACTION] = text
    assert service.look() is None


def test_a_metadata_service_that_is_not_there_says_nothing() -> None:
    assert Ec2("http://127.0.0.1:9").look() is None


def test_ec2_is_known_by_its_vendor_or_by_the_variable_of_amazons_tools(tmp_path: Path) -> None:
    vendor = tmp_path / "sys_vendor"
    assert not ec2.is_here({}, vendor)
    vendor.write_text("Amazon EC2\n")
    assert ec2.is_here({}, vendor)
    vendor.write_text("QEMU\n")
    assert not ec2.is_here({}, vendor)
    assert ec2.is_here({ec2.URL_NAME: "http://127.0.0.1:1"}, vendor)


@pytest.mark.parametrize(
    ("text", "within_s", "reason"),
    [
        ("300\n", 300.0, "its notice file was written"),
        ('{"within_s": 90, "reason": "maintenance"}', 90.0, "maintenance"),
        ("", DEFAULT_S, "its notice file was written"),
        ("soon", DEFAULT_S, "its notice file was written"),
        ("-5", 0.0, "its notice file was written"),
        ("true", DEFAULT_S, "its notice file was written"),
    ],
)
def test_the_notice_file_says_how_long_from_when_it_was_written(
    tmp_path: Path, text: str, within_s: float, reason: str
) -> None:
    path = tmp_path / "notice"
    source = NoticeFile(tmp_path, wall_s=lambda: path.stat().st_mtime)
    assert source.look() is None
    path.write_text(text)
    assert source.look() == Noticed("file", within_s, reason)
    later = NoticeFile(tmp_path, wall_s=lambda: path.stat().st_mtime + 10)
    assert later.look() == Noticed("file", max(0.0, within_s - 10), reason)


def test_sigterm_is_a_notice_for_as_long_as_the_provider_leaves() -> None:
    now = 100.0
    source = Sigterm(60.0, monotonic_s=lambda: now)
    before = signal.getsignal(signal.SIGTERM)
    try:
        source.listen()
        assert source.look() is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert source.heard.wait(10)
        now = 115.0
        assert source.look() == Noticed("sigterm", 45.0, "the machine is being shut down")
    finally:
        signal.signal(signal.SIGTERM, before)


class Scripted:
    """A source that says what a test wants."""

    every_s = 1.0

    def __init__(self) -> None:
        self.says: Noticed | None = None

    def look(self) -> Noticed | None:
        return self.says


def watched(*sources: Scripted) -> tuple[list[Noticed], Callable[[float], None]]:
    now, told = [0.0], list[Noticed]()
    watch = NoticeWatch(sources, told.append, monotonic_s=lambda: now[0])

    def look_at(at: float) -> None:
        now[0] = at
        watch.step()

    return told, look_at


def test_a_notice_is_told_once_and_again_only_when_it_comes_much_nearer() -> None:
    source = Scripted()
    told, look_at = watched(source)
    look_at(0.0)
    source.says = first = Noticed("ec2", 120.0)
    look_at(1.0)
    source.says = Noticed("ec2", 119.0)
    look_at(2.0)
    source.says = Noticed("ec2", 119.0 - 3 - NEARER_S)
    look_at(3.0)
    assert told == [first, source.says]


def test_a_warning_without_a_time_is_told_once_and_never_after_a_notice() -> None:
    one, other = Scripted(), Scripted()
    told, look_at = watched(one, other)
    one.says = warning = Noticed("ec2", None)
    look_at(0.0)
    look_at(1.0)
    other.says = notice = Noticed("sigterm", 60.0)
    look_at(2.0)
    other.says = Noticed("other", None)
    look_at(3.0)
    assert told == [warning, notice]


def test_a_source_is_looked_at_no_more_often_than_it_is_worth() -> None:
    source = Scripted()
    told, look_at = watched(source)
    look_at(0.0)
    source.says = Noticed("file", 30.0)
    look_at(0.5)
    assert told == []
    look_at(1.0)
    assert len(told) == 1


def test_a_watch_that_is_started_hears_a_file_by_itself(tmp_path: Path) -> None:
    heard, told = threading.Event(), list[Noticed]()

    def hear(said: Noticed) -> None:
        told.append(said)
        heard.set()

    watch = NoticeWatch([NoticeFile(tmp_path)], hear)
    watch.start()
    (tmp_path / "draft").write_text("300")
    (tmp_path / "draft").rename(tmp_path / "notice")
    assert heard.wait(60)
    watch.stop()
    assert told[0].source == "file"
