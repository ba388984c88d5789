"""What a release is made of is written down whole and valid; known holes are told, and what was not looked at too."""

import json
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from deploy.supply import audit, sbom
from deploy.supply.audit import Said, Verdict

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SERIAL = "3e671687-395b-41f5-a30f-a58921a69b79"

PIP = {"dependencies": [{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "unknown"}]}
SKIPPED = {"dependencies": [{"name": "a", "skip_reason": "not found"}, {"name": "b", "skip_reason": "not found"}]}
HOLE = {"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]}]}
NPM = {"vulnerabilities": {"x": {"severity": "critical"}, "y": {"severity": "moderate"}}}


@pytest.fixture(scope="module")
def made() -> dict[str, object]:
    """The document of this environment."""
    return sbom.document(json.loads(sbom.LOCK.read_text()), AT, SERIAL)


def test_the_document_is_cyclonedx(made: dict[str, object]) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(made)) is None


def test_it_names_what_runs_with_its_versions_and_leaves_tools_of_tests_out(made: dict[str, object]) -> None:
    components = {one["name"]: one for one in made["components"]}  # type: ignore[attr-defined]
    assert {"fastapi", "sqlalchemy", "ray", "aiohttp", "starlette", "react"} <= set(components)
    assert not {"pytest", "hypothesis", "ruff", "mypy"} & set(components)
    assert components["vite"]["scope"] == "excluded"
    assert components["react"]["hashes"][0]["alg"] == "SHA-512"
    assert components["fastapi"]["purl"].startswith("pkg:pypi/fastapi@")
    assert components["fastapi"]["licenses"]


def test_every_dependency_is_a_component(made: dict[str, object]) -> None:
    known = {"godwit", *(one["bom-ref"] for one in made["components"])}  # type: ignore[attr-defined]
    named = {ref for one in made["dependencies"] for ref in (one["ref"], *one["dependsOn"])}  # type: ignore[attr-defined]
    assert named <= known


def test_a_scoped_package_of_npm_has_its_purl_and_each_version_comes_once() -> None:
    entry = {"version": "7.0.0", "integrity": "sha512-AAAA", "license": "MIT"}
    lock = {"packages": {"": {"version": "0"}, "node_modules/@a/b": entry, "node_modules/c/node_modules/@a/b": entry}}
    (found,) = sbom.locked(lock)
    assert (found["purl"], found["name"]) == ("pkg:npm/%40a/b@7.0.0", "@a/b")
    assert found["hashes"] == [{"alg": "SHA-512", "content": "000000"}]


def says(out: object, err: str = "") -> audit.Run:
    return lambda _argv, _folder: Said(out if isinstance(out, str) else json.dumps(out), err)


def raises(error: Exception) -> audit.Run:
    def run(_argv: Sequence[str], _folder: Path) -> Said:
        raise error

    return run


@pytest.mark.parametrize(
    ("run", "verdict"),
    [
        (says(PIP), Verdict("Python packages", left_out=1)),
        (
            says(SKIPPED, "No known vulnerabilities found"),
            Verdict("Python packages", (), "none of 2 packages was found in the database (not found)"),
        ),
        (says(HOLE), Verdict("Python packages", ("a 1: PYSEC-1, mended in 2",))),
        (says("", "Traceback\nConnectionError: no route"), Verdict("Python packages", (), "ConnectionError: no route")),
        (says("", "No module named pip_audit"), Verdict("Python packages", (), "No module named pip_audit")),
        (says("<html>"), Verdict("Python packages", (), "it printed nothing that can be read")),
    ],
    ids=["whole", "an index without a database", "a hole", "offline", "not installed", "a proxy's page"],
)
def test_packages_are_whole_or_have_a_hole_or_were_not_checked(run: audit.Run, verdict: Verdict) -> None:
    assert audit.python_packages(run) == verdict


@pytest.mark.parametrize("error", [FileNotFoundError(), subprocess.TimeoutExpired("npm", 1.0)])
def test_a_program_that_is_not_there_or_does_not_end_was_not_asked(error: Exception) -> None:
    assert "cannot be run" in audit.dashboard_packages(raises(error)).not_checked


def test_of_the_dashboard_only_grave_findings_fail() -> None:
    assert audit.dashboard_packages(says(NPM)).holes == ("x: critical",)
    said = "npm error network\nnpm error A complete log of this run can be found in: /root/.npm/_logs/x.log"
    offline = audit.dashboard_packages(says({"error": {"code": "ENOTFOUND"}}, said))
    assert offline == Verdict("dashboard", (), "npm error network")


def test_what_was_not_checked_is_said_and_fails_nothing() -> None:
    text, code = audit.report([Verdict("a", (), "no network"), Verdict("b", left_out=2)])
    first, second, last = text.splitlines()
    assert (first, code) == ("a: NOT CHECKED: no network", 0)
    assert second == "b: no known holes; 2 packages are NOT CHECKED: the database does not know them"
    assert last.startswith("This says nothing of what was not checked")
    assert audit.report([Verdict("a", ("x: high",))])[1] == 1
