"""`godwit audit` against a scripted control plane."""

import time

import pytest
from godwit.cli.exits import ExitCode

from tests.cli.scripted import Godwit, ScriptedControlPlane, page

HASH = "ab" * 32


def row(seq: int, **changes: object) -> dict[str, object]:
    """An AuditView as JSON."""
    return {
        "seq": seq, "at": time.time() - 185, "actor": "ada", "role": "member", "project": "vision", "method": "POST",
        "route": "/v1/jobs/{job}/cancel", "path": "/v1/jobs/digits/cancel", "source": "127.0.0.1", "status": 403,
        **changes,
    }  # fmt: skip


def checked(**changes: object) -> dict[str, object]:
    """An AuditCheck as JSON."""
    return {"rows": 7, "is_intact": True, "broken_at": None, "last_hash": HASH, **changes}


def test_who_did_what_from_where_and_what_came_of_it_is_listed(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/audit", page(row(7), row(6, actor="bob", status=200)))
    assert godwit("audit", "--limit", "1", "--actor", "ada") == 0
    (_titles, line) = capsys.readouterr().out.splitlines()
    assert line.split() == ["3m", "ada", "127.0.0.1", "403", "POST", "/v1/jobs/digits/cancel"]
    (asked,) = scripted.asked
    assert dict(asked.url.params) == {"limit": "1", "actor": "ada"}


def test_a_whole_log_prints_what_the_next_check_should_know(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/audit/check", checked())
    assert godwit("audit", "check", "--known", f"5:{HASH}") == 0
    said = capsys.readouterr()
    assert said.out == f"7:{HASH}\n"
    assert "7 rows, all as they were written, with those known before" in said.err
    assert scripted.asked[-1].url.params["known"] == f"5:{HASH}"


def test_a_log_that_is_not_whole_fails_and_names_the_row(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/audit/check", checked(rows=3, is_intact=False, broken_at=4))
    assert godwit("audit", "check") == ExitCode.FAILED
    said = capsys.readouterr()
    assert said.out == ""
    assert "row 4 of the audit log is missing, or is not as it was written; 3 rows before it are whole" in said.err


def test_of_a_log_without_rows_there_is_nothing_to_keep(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/audit/check", checked(rows=0, last_hash=""))
    assert godwit("audit", "check") == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "known", ["", "7", HASH, f"7:{HASH[1:]}", f"-1:{HASH}"], ids=["none", "rows", "hash", "short", "less"]
)
def test_what_no_check_printed_is_refused_before_anything_is_asked(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str], known: str
) -> None:
    assert godwit("audit", "check", f"--known={known}") == ExitCode.USAGE
    assert "ROWS:HASH" in capsys.readouterr().err
    assert scripted.asked == []
