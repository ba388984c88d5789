"""Settings: written down at the first start, read whole, and wrong ones refused with what was meant."""

from pathlib import Path

import pytest
from godwit.control_plane import settings
from godwit.domain.errors import InvalidRequest


def read(home: Path, text: str) -> settings.Settings:
    home.mkdir(exist_ok=True)
    (home / "config.yaml").write_text(text)
    return settings.read(home)


def test_the_first_start_writes_down_what_it_runs_with(tmp_path: Path) -> None:
    first = settings.read(tmp_path / "home")
    assert (tmp_path / "home" / "config.yaml").exists()
    assert settings.read(tmp_path / "home") == first
    assert [entry["name"] for entry in first.providers] == ["local", "sim-aurora", "sim-borealis", "sim-cascade"]
    assert first.database_url == f"sqlite:///{tmp_path}/home/godwit.db"
    assert first.store_url == f"file://{tmp_path}/home/checkpoints"
    assert first.simulated


def test_an_empty_file_means_the_defaults_and_no_providers(tmp_path: Path) -> None:
    found = read(tmp_path, "")
    assert (found.port, found.providers, found.simulated) == (0, (), False)


def test_an_unknown_key_is_refused_with_the_nearest_known_one(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(tmp_path, "provider: []")
    (problem,) = refused.value.problems
    assert problem.did_you_mean == "providers"
    assert "did you mean providers" in refused.value.message
    with pytest.raises(InvalidRequest, match="did you mean lease_s"):
        read(tmp_path, "policy: {leases: 3}")


def test_the_environment_names_another_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GODWIT_DATABASE_URL", "postgresql://host/name")
    assert read(tmp_path, "database: sqlite:///elsewhere").database_url == "postgresql://host/name"


def test_times_of_the_policy_are_seconds(tmp_path: Path) -> None:
    assert read(tmp_path, "policy: {idle_after_s: 5, lease_s: 7.5}").policy.lease_s == 7.5


@pytest.mark.parametrize(
    "text",
    [
        "{", "[]", "text", "port: -1", "port: 65536", "port: 1.5", "port: yes", "port: .nan", "port: .inf",
        "port: '80'", "policy: []", "policy: 3", "policy: {lease_s: .nan}", "policy: {lease_s: -1}", "policy: {1: 2}",
        "providers: {}", "providers: local", "providers: [local]", "\x00", "a: *b", "1: 2",
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_naming_it(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(tmp_path, text)
    assert str(tmp_path) in refused.value.message


def test_where_nodes_reach_it_is_a_plain_address(tmp_path: Path) -> None:
    assert read(tmp_path, "url: https://godwit.example.com:8443\n").url == "https://godwit.example.com:8443"
    with pytest.raises(InvalidRequest, match="url must be"):
        read(tmp_path, "url: godwit.example.com/path\n")
