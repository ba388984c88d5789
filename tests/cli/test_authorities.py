"""`godwit authorities` against a scripted control plane."""

import time

import pytest

from tests.cli.scripted import AT, Godwit, ScriptedControlPlane, page


def authority(**changes: object) -> dict[str, object]:
    """An AuthorityView as JSON."""
    return {"number": 1, "state": "signs", "key": "ab" * 32, "created_at": AT, "signs_from": AT, **changes}


def test_they_are_listed_with_who_signs_and_who_will(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    now = time.time()
    coming = authority(number=2, state="coming", key="cd" * 32, created_at=now - 3600, signs_from=now + 7_205)
    scripted.on("GET", "/v1/authorities", page(authority(), coming))
    assert godwit("authorities") == 0
    first, second = (line.split() for line in capsys.readouterr().out.splitlines()[1:])
    assert (first[:2], first[-2:]) == (["1", "signs"], ["now", "ab" * 8])
    assert (second[:2], second[-3:-1]) == (["2", "coming"], ["in", "2h"])


def test_where_agents_show_none_it_says_so(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/authorities", page())
    assert godwit("authorities", "list") == 0
    assert "agents show no certificates here" in "".join(capsys.readouterr())


def test_another_one_begins_and_when_it_signs_is_told(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    made = authority(number=2, state="coming", signs_from=time.time() + 86_405)
    scripted.on("POST", "/v1/authorities", made, status=201)
    assert godwit("authorities", "rotate") == 0
    assert "authority 2 is believed now, signs in 1d" in capsys.readouterr().err
