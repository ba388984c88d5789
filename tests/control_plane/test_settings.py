"""Settings: written down at the first start, read whole, and wrong ones refused with what was meant."""

import re
from pathlib import Path

import pytest
from godwit.control_plane import settings
from godwit.control_plane.first_config import FIRST_CONFIG
from godwit.control_plane.version import AGENT_PACKAGE
from godwit.domain.errors import InvalidRequest
from godwit.domain.jobs import Resources, Spot
from godwit.domain.resources import GpuAsk, parse_infra
from godwit.scheduler.bounds import Bounds, Warm
from godwit.scheduler.snapshot import Policy


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


def test_the_bounds_of_the_fleet_are_read(tmp_path: Path) -> None:
    text = """
        fleet:
          min_nodes: 1
          max_nodes: 16
          max_usd_per_hour: 400
          idle_s: 120
          warm:
            - {gpus: H100:8, count: 2}
            - {gpus: [A100:1, L40S:1], spot: never, infra: [lambda/us-east], cpus: 8}
        """
    one = Resources(GpuAsk(1, ("A100", "L40S")), cpus=8, infra=(parse_infra("lambda/us-east"),), spot=Spot.NEVER)
    policy = read(tmp_path, text).policy
    assert policy.idle_after_s == 120.0
    assert policy.bounds == Bounds(1, 16, 400.0, (Warm(Resources(GpuAsk(8, ("H100",))), 2), Warm(one)))


def test_the_bounds_that_the_documentation_and_the_first_file_show_are_accepted(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "fleet.md").read_text()
    (shown,) = re.findall(r"```yaml\n(fleet:.*?)```", page, re.DOTALL)
    assert read(tmp_path, shown).policy.bounds.max_nodes == 16
    (line,) = re.findall(r"^# (fleet: .*)$", FIRST_CONFIG, re.MULTILINE)
    assert read(tmp_path, line).policy.bounds.warm == (Warm(Resources(GpuAsk(8, ("H100",)))),)


@pytest.mark.parametrize("text", ["", "fleet:", "fleet: {}", "fleet: {max_nodes: , warm: , idle_s: }"])
def test_without_bounds_nothing_is_bounded(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text).policy == Policy()


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ("[]", "fleet must hold keys and values, such as {max_nodes: 16}, not []"),
        ("{max_node: 4}", "fleet.max_node is not known; did you mean max_nodes?"),
        ("{1: 4}", "fleet.1 is not known; known are min_nodes, max_nodes, max_usd_per_hour, idle_s, warm"),
        ("{min_nodes: -1}", "fleet.min_nodes must be a whole number from 0 to 100000, not -1"),
        ("{max_nodes: 1.5}", "fleet.max_nodes must be a whole number from 0 to 100000, not 1.5"),
        ("{max_nodes: yes}", "fleet.max_nodes must be a whole number from 0 to 100000, not True"),
        ("{max_usd_per_hour: .inf}", "fleet.max_usd_per_hour must be a number that is not negative, not inf"),
        ("{idle_s: soon}", "fleet.idle_s must be a number that is not negative, not 'soon'"),
        ("{min_nodes: 3, max_nodes: 2}", "fleet.min_nodes is 3, more than fleet.max_nodes, which is 2"),
        ("{warm: H100}", "fleet.warm must be a list of at most 16 entries such as {gpus: H100:8, count: 1}"),
        ("{warm: [H100:8]}", "fleet.warm[0] must name gpus, such as {gpus: H100:8, count: 1}, not 'H100:8'"),
        ("{warm: [{count: 1}]}", "fleet.warm[0] must name gpus, such as {gpus: H100:8, count: 1}, not {'count': 1}"),
        ("{warm: [{gpus: H100, counts: 2}]}", "fleet.warm[0].counts is not known; did you mean count?"),
        ("{warm: [{gpus: H100, count: 0}]}", "fleet.warm[0].count must be a whole number from 1 to 256, not 0"),
        ("{warm: [{gpus: H1000:8}]}", "fleet.warm[0].gpus: no GPU model is called 'H1000'"),
        ("{warm: [{gpus: H100, infra: [/x]}]}", "fleet.warm[0].infra: cannot read '/x' as infra; "
            "write provider, provider/region or provider/region/zone"),
        ("{warm: [{gpus: 1.5}]}", "fleet.warm[0].gpus is 1.5: Input should be a valid string"),
        ("{warm: [{gpus: H100, spot: maybe}]}",
            "fleet.warm[0].spot is 'maybe': Input should be 'auto', 'never' or 'only'"),
        ("{warm: [{gpus: H100, count: 200}, {gpus: A100, count: 57}]}",
            "fleet.warm keeps 257 nodes ready; 256 is the most"),
        ("{max_nodes: 1, warm: [{gpus: H100, count: 2}]}",
            "fleet.warm keeps 2 nodes ready, more than fleet.max_nodes, which is 1"),
    ],
)  # fmt: skip
def test_each_wrong_bound_is_told_in_one_sentence(tmp_path: Path, section: str, told: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(tmp_path, f"fleet: {section}")
    assert [problem.message for problem in refused.value.problems] == [told]
    assert refused.value.message == f"{tmp_path}/config.yaml: {told}"


def test_all_that_is_wrong_with_the_bounds_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(tmp_path, "fleet: {min_nodes: -1, idle_s: .nan, warm: [{gpus: H100, count: 0, spot: 3}, 7]}")
    assert [problem.path for problem in refused.value.problems] == [
        ("fleet", "min_nodes"),
        ("fleet", "idle_s"),
        ("fleet", "warm", 0, "count"),
        ("fleet", "warm", 0, "spot"),
        ("fleet", "warm", 1),
    ]


def test_the_idle_time_is_given_in_one_place(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="keep only this one"):
        read(tmp_path, "{policy: {idle_after_s: 5}, fleet: {idle_s: 6}}")
    assert read(tmp_path, "{policy: {idle_after_s: 5}, fleet: {max_nodes: 6}}").policy.idle_after_s == 5.0
    with pytest.raises(InvalidRequest, match="unknown key 'bounds'"):
        read(tmp_path, "policy: {bounds: 5}")


def test_a_machine_without_the_agent_installs_our_version_or_what_is_set(tmp_path: Path) -> None:
    assert read(tmp_path, "").agent_package == AGENT_PACKAGE
    wheel = "godwit[agent] @ https://example.com/godwit-0.1.0-py3-none-any.whl"
    assert read(tmp_path, f"agent_package: '{wheel}'").agent_package == wheel


@pytest.mark.parametrize(
    ("package", "why"),
    [
        ("3", "one line"), ("''", "one line"), ('"a\\nb"', "one line"), ("--index-url=x", "one line"),
        ("é", "one line"), ("x" * 161, "160 characters"),
        ("godwit @ https://user:key@example.com/x.whl", "no credentials"),
    ],
)  # fmt: skip
def test_what_cannot_stand_in_a_startup_script_is_refused(tmp_path: Path, package: str, why: str) -> None:
    with pytest.raises(InvalidRequest, match=why):
        read(tmp_path, f"agent_package: {package}")
    with pytest.raises(InvalidRequest, match="200 characters"):
        read(tmp_path, f"url: https://{'u' * 200}")
