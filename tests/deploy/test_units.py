"""Units of systemd: what they say of themselves fits together."""

from pathlib import Path

import pytest

UNITS = sorted((Path(__file__).parents[2] / "deploy" / "systemd").glob("*.service"))


def settings(unit: Path) -> dict[str, str]:
    lines = (line for line in unit.read_text().splitlines() if "=" in line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_what_outlives_a_service_keeps_its_folders(unit: Path) -> None:
    """With PrivateTmp a restart takes /tmp from machines that run on this one: they die, and none boots any more."""
    found = settings(unit)
    if found.get("KillMode") == "process":
        assert "PrivateTmp" not in found
        assert "/tmp" in found["ReadWritePaths"].split()


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_each_runs_as_nobody_in_particular(unit: Path) -> None:
    found = settings(unit)
    assert (found["User"], found["NoNewPrivileges"], found["ProtectSystem"]) == ("godwit", "true", "strict")
