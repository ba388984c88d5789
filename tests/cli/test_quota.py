"""`godwit projects` and `godwit quota`: tables that fit, and changes that keep what is not named."""

import json
from typing import Any

import pytest

from tests.cli.scripted import Godwit, ScriptedControlPlane, page, problem


def limit(nominal: int, **changes: Any) -> dict[str, Any]:
    return {"nominal": nominal, "borrow": None, "lend": None, "used": 0.0, "borrowed": 0.0, "lent": 0.0} | changes


def project(name: str = "vision", **changes: Any) -> dict[str, Any]:
    return {
        "name": name, "cohort": "research", "weight": 1.0, "limits": {"H100": limit(16, borrow=8)}, "running": 2,
        "waiting": 1, "version": 3, "lately": {"any": 12.34, "cpus": 64.0, "memory_gib": 0.0}, "share": 0.0625,
    } | changes  # fmt: skip


def put_of(scripted: ScriptedControlPlane) -> Any:
    return json.loads(next(request for request in scripted.asked if request.method == "PUT").content)


def test_the_tables_fit_eighty_columns_with_the_longest_names(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    long = project("v" * 63, cohort="c" * 63, limits={"A100-80GB-PCIe": limit(10**7, borrow=10**7, used=10.0**7)})
    scripted.on("GET", "/v1/projects", page(long, project()))
    for command in ("projects", "quota"):
        assert godwit(command) == 0
        lines = capsys.readouterr().out.splitlines()
        assert max(len(line) for line in lines) <= 80
        assert len(lines) == 3


def test_a_quota_tells_what_is_used_borrowed_and_lent(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    vision = project(limits={"H100": limit(16, borrow=8, used=20.0, borrowed=4.0)})
    speech = project("speech", limits={"H100": limit(16, used=4.0, lent=2.5), "cpus": limit(64, borrow=0)})
    scripted.on("GET", "/v1/projects", page(vision, speech))
    assert godwit("quota") == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()[1:]] == [
        ["vision", "research", "H100", "16+8", "20", "4", "-"],
        ["speech", "research", "H100", "16+", "4", "-", "2.5"],
        ["speech", "research", "cpus", "64", "-", "-", "-"],
    ]


def test_projects_tell_what_they_held_lately_and_their_share(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/projects", page(project()))
    assert godwit("projects") == 0
    header, row = (line.split() for line in capsys.readouterr().out.splitlines())
    assert dict(zip(header, row, strict=True)) == {
        "NAME": "vision", "COHORT": "research", "WEIGHT": "1", "RUNNING": "2", "WAITING": "1", "LATELY": "12.3",
        "SHARE": "6.2%", "QUOTA": "H100=16",
    }  # fmt: skip


def test_setting_a_quota_makes_the_project_that_is_not_there(scripted: ScriptedControlPlane, godwit: Godwit) -> None:
    scripted.on("PUT", "/v1/projects/vision", project())
    words = ("--gpus", "h100=16,any=32", "--cohort", "research", "--borrow", "H100=8,any=0", "--cpus", "512")
    assert godwit("quota", "set", "vision", *words) == 0
    wanted = put_of(scripted)
    assert wanted["limits"] == {
        "H100": {"nominal": 16, "borrow": 8, "lend": None},
        "any": {"nominal": 32, "borrow": 0, "lend": None},
        "cpus": {"nominal": 512, "borrow": None, "lend": None},
    }
    assert (wanted["cohort"], wanted["version"]) == ("research", None)


def test_what_is_not_named_stays_as_it_was_and_the_version_that_was_read_is_sent(
    scripted: ScriptedControlPlane, godwit: Godwit
) -> None:
    scripted.on("GET", "/v1/projects/vision", project())
    scripted.on("PUT", "/v1/projects/vision", project())
    assert godwit("quota", "set", "vision", "--lend", "4", "--weight", "2") == 0
    assert put_of(scripted) == {
        "limits": {"H100": {"nominal": 16, "borrow": 8, "lend": 4}}, "cohort": "research", "weight": 2.0, "version": 3
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "limits", "cohort"),
    [
        (("--gpus", "none"), {}, "research"),
        (("--gpus", "H100=none"), {}, "research"),
        (("--borrow", "none"), {"H100": {"nominal": 16, "borrow": None, "lend": None}}, "research"),
        (("--borrow", "none", "--cohort", "none"), {"H100": {"nominal": 16, "borrow": None, "lend": None}}, None),
    ],
)
def test_none_takes_a_limit_away(
    scripted: ScriptedControlPlane, godwit: Godwit, words: tuple[str, ...], limits: dict[str, Any], cohort: str | None
) -> None:
    scripted.on("GET", "/v1/projects/vision", project())
    scripted.on("PUT", "/v1/projects/vision", project())
    assert godwit("quota", "set", "vision", *words) == 0
    assert (put_of(scripted)["limits"], put_of(scripted)["cohort"]) == (limits, cohort)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--gpus", "16"), "say of what, such as H100=16"),
        (("--gpus", "H10=16"), "did you mean H100?"),
        (("--gpus", "H100=-1"), "'-1' is neither a whole number nor `none`"),
        (("--gpus", "H100=99999999"), "less than or equal to 10000000"),
        (("--borrow", "L4=1"), "no quota of L4 to begin with"),
        (("--lend", "17"), "more than its own 16"),
        (("--cohort", "none"), "in none"),
        (("--weight", "0"), "greater than or equal to 0.001"),
    ],
)
def test_a_wrong_quota_is_refused_before_anything_is_sent(
    scripted: ScriptedControlPlane,
    godwit: Godwit,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    says: str,
) -> None:
    scripted.on("GET", "/v1/projects/vision", project())
    assert godwit("quota", "set", "vision", *words) == 2
    assert says in capsys.readouterr().err
    assert all(request.method == "GET" for request in scripted.asked)


def test_a_change_that_somebody_else_made_meanwhile_is_told(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/projects/vision", project())
    scripted.on("PUT", "/v1/projects/vision", problem("conflict", "read it again and repeat", 409), 409)
    assert godwit("quota", "set", "vision", "--gpus", "H100=8") == 5
    assert "read it again" in capsys.readouterr().err


def test_a_project_is_added_once_and_removed(scripted: ScriptedControlPlane, godwit: Godwit) -> None:
    scripted.on("PUT", "/v1/projects/new", project("new"))
    assert godwit("projects", "add", "new") == 0
    scripted.on("GET", "/v1/projects/new", project("new"))
    assert godwit("projects", "add", "new") == 0
    assert scripted.paths().count("PUT /v1/projects/new") == 1
    scripted.on("DELETE", "/v1/projects/new", "", 204)
    assert godwit("projects", "remove", "new") == 0
