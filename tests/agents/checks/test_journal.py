"""Kernel lines from systemd's journal, by a `journalctl` that the test wrote."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from godwit.agents.checks import monitor
from godwit.agents.checks.kernel import journal
from godwit.agents.checks.kernel.journal import AGAIN_S, Journal
from godwit.agents.checks.kernel.records import Record
from godwit.agents.checks.kernel.watch import KernelWatch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.agents.conftest import eventually

XID = "NVRM: Xid (PCI:0000:91:00): 79, GPU has fallen off the bus."

FAKE = """#!{python}
import json, pathlib, sys, time
folder = pathlib.Path(__file__).parent
with (folder / "asked").open("a") as asked:
    asked.write(" ".join(sys.argv[1:]) + "\\n")
lines = (folder / "lines").read_text().splitlines()
if "--lines=1" in sys.argv:
    print(*lines[-1:])
    sys.exit(0 if lines else "No journal files were opened due to insufficient permissions.")
after = [word.split("=", 1)[1] for word in sys.argv if word.startswith("--after-cursor=")]
known = [json.loads(line)["__CURSOR"] for line in lines].index(after[0]) + 1 if after else 0
print(*lines[known:], sep="\\n", flush=True)
if not (folder / "ends").exists():
    time.sleep(600)
"""


def entry(at_us: int, message: Any, **more: Any) -> str:
    """A line as `journalctl -o json` writes it (systemd 252)."""
    fields = {
        "__CURSOR": f"s=1;i={at_us}", "__REALTIME_TIMESTAMP": "1795000000000000", "__MONOTONIC_TIMESTAMP": str(at_us),
        "_BOOT_ID": "0d9ec4", "_TRANSPORT": "kernel", "PRIORITY": "4", "SYSLOG_IDENTIFIER": "kernel",
        "MESSAGE": message,
    }  # fmt: skip
    return json.dumps(fields | more)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine takes its time to start what stands for journalctl."""
    monkeypatch.setattr(journal, "TRY_S", 120.0)


@pytest.fixture
def journalctl(tmp_path: Path) -> Callable[..., list[str]]:
    """Writes a `journalctl` that shows these lines; returns its command."""

    def write(*lines: str) -> list[str]:
        path = tmp_path / "journalctl"
        path.write_text(FAKE.replace("{python}", sys.executable))
        path.chmod(0o755)
        (tmp_path / "lines").write_text("\n".join(lines))
        return [str(path), "--dmesg"]

    return write


def read_all(source: Journal, count: int) -> list[Record]:
    found: list[Record] = []

    def more() -> bool:
        found.extend(source.read(0.2))
        return len(found) >= count

    eventually(more, 120)
    return found


def test_lines_of_the_journal_are_records_with_their_age_and_a_place_that_grows(
    journalctl: Callable[..., list[str]],
) -> None:
    argv = journalctl(
        entry(7_000_000, XID, _SOURCE_MONOTONIC_TIMESTAMP="6500000"), entry(7_000_000, list(b"caf\xc3\xa9 \xff")),
        "no JSON", json.dumps({"MESSAGE": "without a stamp"}), entry(9_000_000, "last"),
    )  # fmt: skip
    source = Journal(argv, now=lambda: 10.0)
    found = read_all(source, 3)
    source.stop()
    assert found == [
        Record(7_000_000, XID, 3.5), Record(7_000_001, "café \ufffd", 3.0), Record(9_000_000, "last", 1.0),
    ]  # fmt: skip


def test_an_agent_that_starts_again_tells_nothing_twice(journalctl: Callable[..., list[str]], tmp_path: Path) -> None:
    stamp = int(time.monotonic() * 1e6)
    told: list[str] = []

    def follow(*lines: str) -> None:
        source = Journal(journalctl(*lines))
        watch = KernelWatch(source, tmp_path / "place.json", "boot-1", lambda sign: told.append(sign.pci))
        wanted = len(told) + 1
        eventually(lambda: watch.step(0.2) >= 0 and len(told) >= wanted, 120)
        source.stop()

    first, second = entry(stamp, XID), entry(stamp + 1, XID.replace("91", "92"))
    follow(first)
    follow(first, second)
    assert told == ["0000:91:00", "0000:92:00"]


def test_a_follower_that_ends_is_started_again_after_a_while_and_goes_on_where_it_was(
    journalctl: Callable[..., list[str]], tmp_path: Path
) -> None:
    clock = [100.0]
    (tmp_path / "ends").touch()
    source = Journal(journalctl(entry(5, "one")), now=lambda: clock[0])
    assert [record.text for record in read_all(source, 1)] == ["one"]
    eventually(lambda: source.read(0.05) == [] and source._process is None, 120)
    journalctl(entry(5, "one"), entry(6, "two"))
    assert source.read(0.0) == []
    clock[0] += AGAIN_S + 1.0
    assert [record.text for record in read_all(source, 1)] == ["two"]
    source.stop()
    assert (tmp_path / "asked").read_text().splitlines()[-1] == "--dmesg --follow --after-cursor=s=1;i=5"


def test_who_may_not_read_the_journal_is_told_why(journalctl: Callable[..., list[str]]) -> None:
    with pytest.raises(OSError, match="insufficient permissions"):
        Journal(journalctl())
    with pytest.raises(OSError, match="godwit-no-such"):
        Journal(["/godwit-no-such/journalctl"])


def test_where_the_device_may_not_be_read_the_journal_is(
    journalctl: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise PermissionError("Operation not permitted: '/dev/kmsg'")

    monkeypatch.setattr(monitor, "KernelDevice", refuse)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    journalctl(entry(5, "one"))
    watching = monitor.Monitor(tmp_path / "node", [], simulated=False, report=lambda _found: None)
    source = watching._lines()
    assert isinstance(source, Journal)
    assert [record.text for record in read_all(source, 1)] == ["one"]
    watching.stop()
    assert source._process is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_no_bytes_break_the_reading_of_the_journal(line: bytes) -> None:
    source = Journal.__new__(Journal)
    source._now, source._cursor, source._position = time.monotonic, "", 0
    source._record(line)
    source._record(b'{"MESSAGE": [1, 300], "__MONOTONIC_TIMESTAMP": "5"}')
    source._record(b'{"MESSAGE": null, "__MONOTONIC_TIMESTAMP": "5"}')


def test_the_journal_is_asked_for_this_boots_kernel_as_json() -> None:
    assert set(journal.JOURNALCTL[1:]) >= {"--dmesg", "--output=json"}
