"""The `agents:` section: how often agents report, and the times that follow from it."""

from pathlib import Path

import pytest
from godwit.control_plane import settings
from godwit.control_plane.dialling import Dialling
from godwit.domain.errors import InvalidRequest


def read(folder: Path, config: str) -> settings.Settings:
    (folder / "config.yaml").write_text(config)
    return settings.read(folder)


def test_without_the_section_agents_report_each_second_and_their_credentials_live_a_day(tmp_path: Path) -> None:
    found = read(tmp_path, "port: 0\n")
    assert found.agents == Dialling(1.0, 86_400.0)
    assert (found.policy.missed_after_s, found.policy.lease_s) == (4.0, 15.0)


def test_slower_heartbeats_make_nodes_late_later_and_leases_longer(tmp_path: Path) -> None:
    found = read(tmp_path, "agents: {heartbeat_s: 5}\n")
    assert (found.policy.missed_after_s, found.policy.lease_s) == (20.0, 30.0)


def test_times_that_the_policy_gives_stand(tmp_path: Path) -> None:
    found = read(tmp_path, "agents: {heartbeat_s: 5}\npolicy: {missed_after_s: 12, lease_s: 60}\n")
    assert (found.policy.missed_after_s, found.policy.lease_s) == (12.0, 60.0)


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ("agents: {heartbeat: 5}", ("agents", "heartbeat")),
        ("agents: {heartbeat_s: 0}", ("agents", "heartbeat_s")),
        ("agents: {heartbeat_s: yes}", ("agents", "heartbeat_s")),
        ("agents: {heartbeat_s: .nan}", ("agents", "heartbeat_s")),
        ("agents: {credential_s: 10}", ("agents", "credential_s")),
        ("agents: {heartbeat_s: 5}\npolicy: {missed_after_s: 6}", ("policy", "missed_after_s")),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(tmp_path: Path, config: str, path: tuple[str, ...]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(tmp_path, config)
    assert [problem.path for problem in refused.value.problems] == [path]


def test_a_section_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="agents must hold"):
        read(tmp_path, "agents: [5]\n")
